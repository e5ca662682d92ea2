"""How fast the phantom records and paints: ``python benchmarks/phantom_speed.py``. Times are of one thread.

A trial is recorded with all nuisances; the cap is shifted in the second row of each montage, which costs a mixing of
the channels.
"""

from __future__ import annotations

import time

import numpy as np
import torch

from sightwave.datasets.phantom import Phantom
from sightwave.phantom.brain import Brain
from sightwave.phantom.concepts import CATEGORIES, imagine
from sightwave.phantom.features import N_FEATURES, features
from sightwave.phantom.head import MSS122
from sightwave.phantom.pictures import paint_many


def main() -> None:
    torch.set_num_threads(1)
    print("phantom: nothing here was measured from a person\n")
    print(f"{'what':<34}{'wall s':>8}{'cpu s':>8}{'per s':>10}")
    z = np.random.default_rng(0).standard_normal((1024, N_FEATURES)).astype(np.float32)
    for name, brain, n in (
        ("63 x 250", Brain(), 1024),
        ("122 x 500", Brain(ch_names=MSS122, sfreq=1000.0, n_times=500), 256),
    ):
        brain.record(z[:64])  # head, sources and noise factors are made once
        for session in (0, 1):
            row(
                f"trials of {name}, session {session + 1}",
                n,
                lambda b=brain, n=n, s=session: b.record(z[:n], session=s),
            )
    scenes = [imagine(CATEGORIES[i % 20], i // 20) for i in range(400)]
    features(scenes[:1], paint_many(scenes[:1]))
    rgb = row("pictures painted", 400, lambda: paint_many(scenes))
    row("features of pictures", 400, lambda: features(scenes, rgb))
    world = Phantom()
    row("Phantom() with two subjects, trials", 16_000, lambda: world.load(None, ("01", "02"))[0].eeg.nbytes)


def row(name: str, n: int, work):
    wall, cpu = time.perf_counter(), time.process_time()
    result = work()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    print(f"{name:<34}{wall:>8.2f}{cpu:>8.2f}{n / cpu:>10.0f}", flush=True)
    return result


if __name__ == "__main__":
    main()
