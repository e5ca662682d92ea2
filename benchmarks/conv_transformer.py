"""Seconds per epoch of `ConvTransformer` with heads per subject, beside the naive loop, one forward per subject.

    python benchmarks/conv_transformer.py                            # 13 subjects, 1,040 trials: minutes on one core
    python benchmarks/conv_transformer.py --trials 15600 --epochs 1  # MSS: 13 subjects x 1,200 training trials

All sides train the same weights on the same random trials of 122 electrodes, by the same loop: sightwave passes a
mixed batch through the encoder once and hands each trial to its own subject's head; the naive way runs encoder and head
once per subject of the batch, and its front end is torch's layers, one after the other ("plain"). They take turns,
epoch by epoch, in one process. Without attention (depth 0), what the front end and the heads take is left. "s" is by
the clock and "cpu s" of the process, since others may use the machine; the ratio is of the latter. ``--only`` runs one
side alone, for the peak of its memory, which is printed last.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from sightwave.align import Aligner
from sightwave.encoders.conv_transformer import ConvTransformer, TemporalConv
from sightwave.losses.labels import CrossEntropy
from sightwave.train import Stage, TrialSet, fit

N_CLASSES = 20


class Naive(Aligner):
    """The same aligner, run once per subject."""

    def forward(self, eeg_BCT: Tensor, subject_B: Tensor) -> dict[str, Tensor]:
        """Return what `Aligner` returns."""
        parts, order = [], []
        for s in range(self.heads[0].n_subjects):
            mine = torch.nonzero(subject_B == s)[:, 0]
            if len(mine):
                parts.append(super().forward(eeg_BCT[mine], subject_B[mine]))
                order.append(mine)
        back = torch.cat(order).argsort()
        return {space: torch.cat([p[space] for p in parts])[back] for space in parts[0]}


class Plain(TemporalConv):
    """The same front end, layer by layer."""

    def forward(self, eeg_ST: Tensor) -> Tensor:
        """Return what `TemporalConv` returns."""
        z_SW: Tensor = self.project(self.pooled.layers(eeg_ST[:, None]).transpose(1, 2).flatten(1))
        return z_SW


NAIVE = "naive: by subject, plain"
SIDES: dict[str, tuple[type[Aligner], type[TemporalConv], int]] = {
    "heads per subject, one pass": (Aligner, TemporalConv, 2),
    "one pass, plain": (Aligner, Plain, 2),
    NAIVE: (Naive, Plain, 2),
    "one pass, no attention": (Aligner, TemporalConv, 0),
    "naive, no attention": (Naive, Plain, 0),
}


def main() -> None:
    ask = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    ask.add_argument("--trials", type=int, default=1040)
    ask.add_argument("--subjects", type=int, default=13)
    ask.add_argument("--times", type=int, default=500)
    ask.add_argument("--batch", type=int, default=128)
    ask.add_argument("--epochs", type=int, default=3)
    ask.add_argument("--threads", type=int, default=1)
    ask.add_argument("--only", choices=SIDES)
    a = ask.parse_args()
    torch.set_num_threads(a.threads)
    rng = np.random.default_rng(0)
    eeg = rng.standard_normal((a.trials, 122, a.times), dtype=np.float32)
    subject, label = torch.arange(a.trials) % a.subjects, torch.from_numpy(rng.integers(0, N_CLASSES, a.trials))
    data, towers = TrialSet(eeg, subject, label), {"label": nn.Embedding.from_pretrained(torch.eye(N_CLASSES))}
    stage = Stage(losses=(CrossEntropy,), epochs=1, batch_size=a.batch)
    few = 2 * a.subjects
    first = TrialSet(eeg[:few], subject[:few], label[:few])

    def build(kind: type[Aligner], front: type[TemporalConv], depth: int) -> Aligner:
        torch.manual_seed(0)
        return kind(ConvTransformer(122, a.times, front=front, depth=depth), {"label": N_CLASSES}, a.subjects)

    made = {name: build(*side) for name, side in SIDES.items() if a.only in (None, name)}
    with torch.no_grad():
        logits = [aligner.eval()(*first.batch(torch.arange(few), "cpu")[:2])["label"] for aligner in made.values()]
    difference = max((logits[0] - other).abs().max().item() for other in logits[:3])
    sides: dict[str, Callable[[TrialSet], object]] = {
        name: lambda some, aligner=aligner: fit(aligner, [stage], some, towers) for name, aligner in made.items()
    }
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in sides}
    for epoch in sides.values():
        epoch(first)
    for _ in range(a.epochs):
        for name, epoch in sides.items():
            start = time.process_time(), time.perf_counter()
            epoch(data)
            seconds[name].append((time.process_time() - start[0], time.perf_counter() - start[1]))

    n = sum(p.numel() for p in next(iter(made.values())).parameters())
    print(f"{a.trials} trials of 122 x {a.times}, {a.subjects} subjects, batch {a.batch}, {a.threads} thread(s), {n:,} "
          f"weights, torch {torch.__version__}; largest difference of logits {difference:.1e}")  # fmt: skip
    print(f"{'per epoch, median':30}{'cpu s':>9}{'s':>9}{'trials/cpu s':>14}{'ratio':>7}")
    middle = {name: [statistics.median(v) for v in zip(*values, strict=True)] for name, values in seconds.items()}
    for name, (cpu, clock) in middle.items():
        ratio = cpu / middle.get(NAIVE, (cpu,))[0]
        print(f"{name:30}{cpu:9.2f}{clock:9.2f}{a.trials / cpu:14.0f}{ratio:7.2f}")
    print(f"peak memory of the process {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")


if __name__ == "__main__":
    main()
