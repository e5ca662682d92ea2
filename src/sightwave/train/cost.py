"""What a training costs: parameters that learn, seconds per epoch, and the most memory that was in use."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from threading import Event, Thread

import torch
from torch import nn

from sightwave import files
from sightwave.align import Aligner
from sightwave.errors import MissingFile
from sightwave.train.stages import Solve, Stage

Progress = Callable[[int, int], None]
EVERY_S = 0.02


@dataclass(frozen=True)
class Cost:
    """What one training cost.

    Parameters
    ----------
    parameters : dict of str to int
        As `n_learning` counts them; the same on every machine.
    epoch_s : float
        Median seconds from the end of one epoch to the end of the next, validation included; the whole fit where there
        are no epochs.
    peak_bytes : int or None
        Most memory that was resident while it lasted, of the whole process: the trials in memory, torch itself and what
        was there before; what came and went within a fiftieth of a second may be missed. None other than on Linux.
    cuda_bytes : int or None
        Most memory that tensors took on the GPU; None without one.
    """

    parameters: dict[str, int]
    epoch_s: float
    peak_bytes: int | None
    cuda_bytes: int | None


class Meter:
    """Measure a training: ``with Meter(device) as meter``, with `tick` as its progress, and `read` after it.

    Memory is looked at fifty times a second by a thread of its own, because a process can tell its peak only since it
    began, or make others forget it.

    Parameters
    ----------
    device : str
        As torch names it.
    progress : callable or None
        What is told of each epoch besides.
    """

    def __init__(self, device: str, progress: Progress | None = None):
        self.device, self.progress = device, progress
        self.peak = _resident()
        self._done = Event()
        self._watch = Thread(target=self._look, daemon=True)
        if self._on_gpu:
            torch.cuda.reset_peak_memory_stats(device)
        self.start()

    def __enter__(self) -> Meter:
        self._watch.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._watch.join()

    @property
    def _on_gpu(self) -> bool:
        return self.device.startswith("cuda")

    def _look(self) -> None:
        while self.peak is not None and not self._done.wait(EVERY_S):
            self.peak = max(self.peak, _resident() or 0)

    def start(self) -> None:
        """Count seconds from here on: what is to be trained has been made, its targets have been embedded."""
        self.at = [time.perf_counter()]

    def tick(self, done: int, total: int) -> None:
        """Note that another epoch has ended: so many of so many."""
        self.at.append(time.perf_counter())
        if self.progress:
            self.progress(done, total)

    def read(self, parameters: Mapping[str, int]) -> Cost:
        """Return what the training cost, which had so many parameters."""
        ends = self.at if len(self.at) > 1 else [*self.at, time.perf_counter()]
        took = [b - a for a, b in pairwise(ends)]
        gpu = torch.cuda.max_memory_allocated(self.device) if self._on_gpu else None
        return Cost(dict(parameters), statistics.median(took), self.peak, gpu)


def n_learning(aligner: Aligner, towers: Mapping[str, nn.Module], stages: Sequence[Stage | Solve]) -> dict[str, int]:
    """Count the parameters that some stage changes.

    Parameters
    ----------
    aligner : Aligner
    towers : mapping of str to Module
        Before training: what is tuned requires a gradient.
    stages : sequence of Stage or Solve

    Returns
    -------
    dict of str to int
        ``"encoder"``, ``"heads"`` (of the spaces that are trained, for all subjects) and ``"towers"``. What a loss
        learns, such as a temperature, is not counted.
    """
    descents = [s for s in stages if isinstance(s, Stage)]

    def moves(part: str) -> bool:
        return any(part not in s.freeze for s in descents)

    trained = {space for s in stages if isinstance(s, Solve) or "heads" not in s.freeze for space in s.spaces}
    heads = [h for space, h in zip(aligner.spaces, aligner.heads, strict=True) if space in trained]
    tuned = [p for tower in towers.values() for p in tower.parameters() if p.requires_grad]
    return {
        "encoder": _n(aligner.encoder.parameters()) if moves("encoder") else 0,
        "heads": sum(_n(h.parameters()) for h in heads),
        "towers": _n(tuned) if moves("towers") else 0,
    }


def _n(parameters: Iterable[nn.Parameter]) -> int:
    return sum(p.numel() for p in parameters)


def _resident() -> int | None:
    """Bytes of this process that are in memory; None where the system does not tell (other than Linux)."""
    try:
        return int(files.read_text(Path("/proc/self/statm")).split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except MissingFile:
        return None
