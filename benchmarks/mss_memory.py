"""Train on the low-speed task of MSS from disk, and print the most memory that it took. Phantom: the EEG is simulated.

    python benchmarks/mss_memory.py                                    one subject, 2,000 trials of 122 x 500, 0.5 GB
    python benchmarks/mss_memory.py --subjects 13 --folder BIG_DISK    all of it, 26,000 trials, 6.3 GB; hours to write

The phantom writes the files, run by run; a process of its own reads them, standardises per subject and channel, and
trains `ConvTransformer` on sessions 1 to 3, one epoch. Whatever the size, the trials stay on disk, as they do when they
are larger than a gigabyte (``--limit 0`` of `ondisk.IN_MEMORY`), so that what grows with the number of subjects is only
what is kept per trial: events, caption vectors, scores, and the page cache, which the system takes back when needed.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def child(folder: Path, epochs: int) -> None:
    """Read, prepare and train; print what it took as JSON."""
    from dataclasses import replace

    import torch

    from sightwave import ondisk
    from sightwave.fold import Fold
    from sightwave.preprocess import Standardise
    from sightwave.recipes import category_heads

    torch.set_num_threads(1)
    ondisk.IN_MEMORY = 0
    recipe = category_heads.mss()
    recipe = replace(recipe, steps=(Standardise(),), stages=(replace(recipe.stages[0], epochs=epochs),))
    start = time.perf_counter()
    subjects = recipe.dataset.subjects(folder)
    trials, stimuli = recipe.dataset.load(folder, subjects)
    loaded = time.perf_counter()
    fold = Fold(recipe, recipe.split(trials)[0], stimuli, subjects=subjects, device="cpu")
    prepared = time.perf_counter()
    before = peak_mb()
    decoder = fold.train(0)
    print(json.dumps({
        "trials": len(trials), "train": len(fold._train), "on_disk": isinstance(fold._train.eeg, ondisk.OnDisk),
        "gb": trials.eeg.size * 4 / 1e9, "load_s": loaded - start, "prepare_s": prepared - loaded,
        "epoch_s": decoder.cost.epoch_s, "before_mb": before, "train_mb": (decoder.cost.peak_bytes or 0) / 1e6,
    }))  # fmt: skip


def peak_mb() -> float:
    """Most memory of this process so far, in megabytes."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def main() -> None:
    ask = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    ask.add_argument("--subjects", type=int, default=1)
    ask.add_argument("--runs", type=int, default=4)
    ask.add_argument("--epochs", type=int, default=1)
    ask.add_argument("--folder", type=Path, default=None, help="where to write; a temporary folder when left out")
    ask.add_argument("--child", type=Path, default=None, help=argparse.SUPPRESS)
    a = ask.parse_args()
    if a.child:
        child(a.child, a.epochs)
        return
    from sightwave.phantom.layouts import write_mss

    with tempfile.TemporaryDirectory(dir=a.folder) as folder:
        start = time.perf_counter()
        write_mss(Path(folder), subjects=tuple(range(2, 2 + a.subjects)), runs=a.runs)
        print(f"written in {time.perf_counter() - start:.0f} s")
        cache = Path(folder) / "cache"
        command = [sys.executable, __file__, "--child", folder, "--epochs", str(a.epochs)]
        environment = {**os.environ, "SIGHTWAVE_CACHE": str(cache)}
        done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
        found = json.loads(done.stdout.splitlines()[-1])
    print(f"{found['trials']:,} trials, {found['gb']:.2f} GB in single precision, on disk: {found['on_disk']}")
    print(f"load {found['load_s']:.0f} s, prepare {found['prepare_s']:.0f} s, "
          f"epoch of {found['train']:,} trials {found['epoch_s']:.0f} s")  # fmt: skip
    print(f"peak memory: {found['before_mb']:.0f} MB until training, {found['train_mb']:.0f} MB in training")


if __name__ == "__main__":
    main()
