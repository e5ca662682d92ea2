"""How fast the phantom records and paints: ``python benchmarks/phantom_speed.py [--full [SHARE]]``.

All of it in one thread. A trial is recorded with all nuisances; in the second session the cap is shifted. Rates are per
second of processor time, of the best of three, since a machine that has other things to do slows both clocks.
``--full`` makes a world like THINGS-EEG2, 16,740 pictures and 82,160 trials of one subject (8 GB of memory), from
nothing to embeddings, once; a share, say 0.1, makes that part of it.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time

import numpy as np
import torch

from sightwave.datasets.phantom import Phantom
from sightwave.phantom import album
from sightwave.phantom.brain import Brain
from sightwave.phantom.concepts import CATEGORIES, imagine
from sightwave.phantom.features import N_FEATURES, features
from sightwave.phantom.head import MSS122
from sightwave.phantom.pictures import paint_many
from sightwave.recipes.demo import recipe as demo
from sightwave.targets.clip import ClipImage, ClipText


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--full", nargs="?", type=float, const=1.0, metavar="SHARE", help="a world like THINGS-EEG2")
    full = parser.parse_args().full
    print("phantom: nothing here was measured from a person")
    print(f"load of the machine before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores\n")
    print(f"{'what':<44}{'number':>8}{'wall s':>9}{'cpu s':>9}{'per cpu s':>11}")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["SIGHTWAVE_CACHE"] = folder  # a cache of other days would make it look fast
        torch.set_num_threads(1)
        if full is None:
            parts()
            world("demo world", demo.dataset, ("01", "02"))
        else:
            counts = {"categories": round(1654 * full), "test_categories": round(200 * full)}
            world(f"THINGS-like world x {full:g}", Phantom.like("things-eeg2", **counts), ("01",))


def parts() -> None:
    z = np.random.default_rng(0).standard_normal((4096, N_FEATURES)).astype(np.float32)
    for name, brain, n in (
        ("63 x 250", Brain(), 4096),
        ("122 x 500", Brain(ch_names=MSS122, sfreq=1000.0, n_times=500), 1024),
    ):
        brain.record(z[:64])  # head, sources and noise factors are made once
        for session in (0, 1):
            row(
                f"trials of {name}, session {session + 1}",
                n,
                lambda b=brain, n=n, s=session: b.record(z[:n], session=s),
                times=3,
            )
    for name, kinds in (("category", CATEGORIES), ("nameless", [f"shape{i:04d}" for i in range(20)])):
        scenes = [imagine(kinds[i % 20], i // 20) for i in range(400)]
        features(scenes[:1], paint_many(scenes[:1]))
        rgb = row(f"pictures painted, {name}", 400, lambda s=scenes: paint_many(s), times=3)
        row(f"features of pictures, {name}", 400, lambda s=scenes, rgb=rgb: features(s, rgb), times=3)


def world(name: str, phantom: Phantom, subjects: tuple[str, ...]) -> None:
    wall, cpu, shown = time.perf_counter(), time.process_time(), phantom._world()
    ids, n_trials = tuple(shown["stimulus"]), len(subjects) * shown["repetitions"].sum()
    row(f"{name}: pictures and features", len(ids), lambda: album.features_of(ids))
    trials, stimuli = row(f"{name}: trials", n_trials, lambda: phantom.load(None, subjects))
    row(f"{name}: image embeddings", len(ids), lambda: ClipImage().embed(stimuli, ()))
    row(f"{name}: text embeddings", len(ids), lambda: ClipText().embed(stimuli, ()))
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    print(f"{name + f': all of it, {trials.eeg.nbytes / 1e9:.1f} GB':<52}{wall:>9.2f}{cpu:>9.2f}")
    album.features_of.cache_clear()
    row(f"{name}: features, from the cache", len(ids), lambda: album.features_of(ids))


def row(name: str, n: int, work, *, times: int = 1):
    best = (np.inf, np.inf)
    for _ in range(times):
        wall, cpu = time.perf_counter(), time.process_time()
        result = work()
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        best = min(best, (cpu, wall))
    print(f"{name:<44}{n:>8}{best[1]:>9.2f}{best[0]:>9.2f}{n / best[0]:>11.0f}", flush=True)
    return result


if __name__ == "__main__":
    main()
