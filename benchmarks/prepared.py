"""Print what THINGS-EEG2 costs when it does not fit into memory, beside the naive way. Phantom: the EEG is simulated.

    python benchmarks/prepared.py                                         a twentieth, about a minute
    python benchmarks/prepared.py --pictures 16540 --folder BIG_DISK      21 GB, and as much again while it is prepared

Ten subjects x pictures x 4 repetitions x 63 channels x 250 samples, half precision, as plain arrays of one file per
subject and part; the trials of one recording of the phantom are repeated with other gains. Each way runs in a process
of its own, which has imported everything; "s" is by the clock and "cpu s" of the process, since others may use the
machine. Files that were just written lie in the system's memory: a cold disk adds its own time to both ways.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

CHANNELS, TIMES, REPETITIONS, BATCH = 63, 250, 4, 256


def write(root: Path, n_subjects: int, n_pictures: int, n_times: int) -> None:
    """Write the layout neurobridge, in half precision: every trial is recorded anew, of features drawn per picture."""
    from sightwave import files
    from sightwave.phantom.brain import Brain
    from sightwave.phantom.features import N_FEATURES
    from sightwave.phantom.head import THINGS63

    rng = np.random.default_rng(0)
    counts = {"train": (n_pictures, REPETITIONS), "test": (max(8, round(200 * n_pictures / 16540)), 80)}
    meta: dict[str, list[str]] = {}
    for part, (n, _) in counts.items():
        meta[f"{part}_img_concepts"] = [f"{i // 10 + 1:05d}_{part}{i // 10}" for i in range(n)]
        meta[f"{part}_img_files"] = [f"{i:05d}.jpg" for i in range(n)]
    files.save_pickle(root / "image_metadata.npy", meta, wrapped=True)
    info = {"ch_names": list(THINGS63), "times": (np.arange(n_times) / 250).round(3).tolist()}
    shown = {part: rng.standard_normal((n, N_FEATURES)).astype(np.float32) for part, (n, _) in counts.items()}
    for subject in range(1, n_subjects + 1):
        brain = Brain(subject, THINGS63, 250.0, n_times, drift_uv=0.0)
        scale = brain.record(shown["train"][:256]).std()
        folder = root / "preprocessed_eeg" / f"sub-{subject:02d}"
        files.write_json(folder / "info.json", info)
        for part, (n, repetitions) in counts.items():
            with files.replacing(folder / f"{part}.npy") as path, path.open("wb") as f:
                shape = (n, repetitions, CHANNELS, n_times)
                head = {"descr": "<f2", "fortran_order": False, "shape": shape}
                np.lib.format.write_array_header_2_0(f, head)
                for start in range(0, n, 64 * REPETITIONS // repetitions):
                    z = shown[part][start : start + 64 * REPETITIONS // repetitions].repeat(repetitions, 0)
                    block = brain.record(z, seed=2 * start + (part == "test"))
                    f.write((block / scale).astype(np.float16).data)
    files.write_text(root / "PHANTOM.txt", "Simulated.\n")


def subjects_of(root: Path) -> list[Path]:
    return sorted((root / "preprocessed_eeg").glob("sub-*"))


def naive_average(root: Path) -> dict[str, float]:
    n_bytes = 0
    for sub in subjects_of(root)[:1]:
        eeg = np.load(sub / "train.npy")
        n_bytes += eeg.nbytes
        eeg.mean(1, dtype=np.float32)
    return {"bytes": n_bytes}


def our_average(root: Path) -> dict[str, float]:
    from sightwave.datasets.things_eeg2 import ThingsEeg2

    trials, _ = ThingsEeg2("neurobridge", average=True).load(root, ("01",))
    assert len(trials)
    return {"bytes": (subjects_of(root)[0] / "train.npy").stat().st_size}


def naive_training(root: Path) -> dict[str, float]:
    """All but one subject in memory, single precision, standardised, as published code has it."""
    subs = subjects_of(root)[1:]
    eeg = np.concatenate([np.load(s / "train.npy").reshape(-1, CHANNELS, _times(root)) for s in subs])
    eeg = eeg.astype(np.float32)
    eeg -= eeg.mean((0, 2), keepdims=True)
    eeg /= eeg.std((0, 2), keepdims=True)
    return {"bytes": eeg.nbytes, "first": float(eeg[np.random.default_rng(0).permutation(len(eeg))[:BATCH]].mean())}


def our_recipe(n_bins: int) -> Any:
    """Categories from all but one subject's single trials, standardised: an epoch of a small network."""
    from sightwave.datasets.things_eeg2 import ThingsEeg2
    from sightwave.decode.classify import Classify
    from sightwave.encoders.time_bins import TimeBins
    from sightwave.losses.labels import CrossEntropy
    from sightwave.preprocess import Standardise
    from sightwave.recipe import Recipe
    from sightwave.splits import LeaveOneSubjectOut
    from sightwave.targets.labels import Labels
    from sightwave.train import Stage

    return Recipe(
        dataset=ThingsEeg2("neurobridge"), split=LeaveOneSubjectOut(), steps=(Standardise(),), targets=(Labels(),),
        encoder=partial(TimeBins, n_bins=n_bins), stages=(Stage(losses=(CrossEntropy,), epochs=1),),
        tasks=(Classify(),),
    )  # fmt: skip


def our_training(root: Path) -> dict[str, float]:
    """All but one subject, standardised, by the package; a hundred random batches are taken."""
    import torch

    from sightwave.fold import Fold

    torch.set_num_threads(1)
    recipe, start, cpu = our_recipe(10), time.perf_counter(), time.process_time()
    subjects = recipe.dataset.subjects(root)
    trials, stimuli = recipe.dataset.load(root, subjects)
    opened = time.perf_counter() - start, time.process_time() - cpu
    fold = Fold(recipe, recipe.split(trials)[0], stimuli, subjects=subjects, device="cpu")
    data = fold._trial_set(fold._train)
    rows = torch.randperm(len(data))
    data.batch(rows[:BATCH], "cpu")
    first = time.perf_counter() - start, time.process_time() - cpu
    start, cpu = time.perf_counter(), time.process_time()
    batches = rows.repeat(1 + 100 * BATCH // len(rows))[: 100 * BATCH].split(BATCH)
    for some in batches:
        data.batch(some, "cpu")
    took = time.perf_counter() - start, time.process_time() - cpu
    n = 100 * BATCH
    return {"open": opened[0], "open_cpu": opened[1], "first": first[0], "first_cpu": first[1], "n_trials": len(data),
            "bytes": data.eeg.nbytes, "rate": n / took[0], "rate_cpu": n / took[1]}  # fmt: skip


def our_epoch(root: Path) -> dict[str, float]:
    """Train an epoch on all but one subject, under a limit of 4 GB for all that the process itself holds."""
    import torch

    from sightwave.fold import Fold

    resource.setrlimit(resource.RLIMIT_DATA, (4_000_000_000, 4_000_000_000))  # file maps count in the peak alone
    torch.set_num_threads(1)
    recipe = our_recipe(min(10, _times(root) // 4))
    subjects = recipe.dataset.subjects(root)
    trials, stimuli = recipe.dataset.load(root, subjects)
    fold = Fold(recipe, recipe.split(trials)[0], stimuli, subjects=subjects, device="cpu")
    start, cpu = time.perf_counter(), time.process_time()
    loss = fold.train(0).history["loss"][0]
    n = len(fold._train)
    return {"n_trials": n, "loss": loss, "bytes": fold._train.eeg.nbytes,
            "rate": n / (time.perf_counter() - start), "rate_cpu": n / (time.process_time() - cpu)}  # fmt: skip


def gathering(root: Path) -> dict[str, float]:
    """Random batches from one file, by numpy's own memory map and by OnDisk; and from nine files."""
    from sightwave.ondisk import OnDisk

    maps = [np.load(s / "train.npy", mmap_mode="r").reshape(-1, CHANNELS, _times(root)) for s in subjects_of(root)]
    ways: dict[str, Any] = {"memmap": maps[0], "one": OnDisk.of(maps[:1], "one"), "nine": OnDisk.of(maps[1:], "nine")}
    out, rng = {}, np.random.default_rng(0)
    for name, eeg in ways.items():
        for start in range(0, len(eeg), 4096):  # the pages are in the system's memory for every way
            eeg[start : start + 4096].max()
        best = []
        for _ in range(5):
            rows = [rng.integers(0, len(eeg), BATCH) for _ in range(40)]
            start, cpu = time.perf_counter(), time.process_time()
            for some in rows:
                eeg[some]
            best.append((40 * BATCH / (time.perf_counter() - start), 40 * BATCH / (time.process_time() - cpu)))
        out[name], out[f"{name}_cpu"] = (max(values) for values in zip(*best, strict=True))
    return out


def _times(root: Path) -> int:
    return int(np.load(subjects_of(root)[0] / "test.npy", mmap_mode="r").shape[-1])


def child(way: Any, root: Path) -> dict[str, float]:
    """Run one way in a fresh process; seconds are without the start of Python."""
    command = [sys.executable, __file__, "--child", way.__name__, "--folder", str(root)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{way.__name__} failed:\n{done.stderr}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=827, help="of each subject; 16540 is the real number")
    parser.add_argument("--subjects", type=int, default=10)
    parser.add_argument(
        "--times", type=int, default=TIMES, help="samples of a trial; fewer make more trials affordable"
    )
    parser.add_argument("--memory", type=float, default=None, help="MB that count as fitting into memory")
    parser.add_argument("--folder", type=Path, default=None, help="where the files are written, and removed")
    parser.add_argument("--keep", type=Path, default=None, help="data that are written once and stay, for the next run")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    a = parser.parse_args()
    if a.child:
        from sightwave import ondisk, story  # noqa: F401  all that the package imports, before the clock starts
        from sightwave.reading import prepared

        ondisk.IN_MEMORY = int(float(os.environ["BENCHMARK_MB"]) * 1e6)
        prepared.SMALL = ondisk.IN_MEMORY // 16
        start, cpu = time.perf_counter(), time.process_time()
        out = globals()[a.child](a.folder)
        out |= {"s": time.perf_counter() - start, "cpu": time.process_time() - cpu}
        print(json.dumps(out | {"peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}))
        return
    with tempfile.TemporaryDirectory(dir=a.folder) as folder:
        root = Path(folder)
        os.environ["SIGHTWAVE_CACHE"] = str(root / "cache")
        share = a.pictures / 16540
        # what counts as large is scaled down with the data, so that a small run goes the way of a large one
        os.environ["BENCHMARK_MB"] = str(a.memory if a.memory is not None else 1074 * min(1.0, share * a.times / TIMES))
        root = a.keep or root
        if not (root / "PHANTOM.txt").exists():
            write(root, a.subjects, a.pictures, a.times)
        size = sum(f.stat().st_size for f in root.rglob("*.npy"))
        load = os.getloadavg()[0]
        print(f"phantom, {a.subjects} x {a.pictures:,} x {REPETITIONS} x {CHANNELS} x {a.times} float16: "
              f"{size / 1e9:.2f} GB; load {load:.1f} on {os.cpu_count()} cores")  # fmt: skip

        print(f"\n{'one subject, averaged':44}{'s':>8}{'cpu s':>8}{'MB/s':>8}{'peak GB':>9}")
        for name, way in (("np.load + mean", naive_average), ("sightwave: read, check, write", our_average),
                          ("sightwave: the second time", our_average)):  # fmt: skip
            r = child(way, root)
            print(f"{name:44}{r['s']:8.2f}{r['cpu']:8.2f}{r['bytes'] / 1e6 / r['s']:8.0f}{r['peak'] / 1e9:9.2f}")

        print(f"\n{f'random batches of {BATCH}, trials/s':44}{'clock':>10}{'cpu':>10}")
        r = child(gathering, root)
        for name, field in (("np.memmap, one file", "memmap"), ("sightwave, one file", "one"),
                            (f"sightwave, {a.subjects - 1} files", "nine")):  # fmt: skip
            print(f"{name:44}{r[field]:10,.0f}{r[field + '_cpu']:10,.0f}")

        what = f"train on {a.subjects - 1} subjects, single trials"
        print(f"\n{what:44}{'s':>8}{'cpu s':>8}{'data GB':>9}{'peak GB':>9}")
        n_bytes = sum((s / "train.npy").stat().st_size for s in subjects_of(root)[1:]) * 2
        name, there = "numpy, in memory, float32", os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        if 2 * n_bytes > there:  # what it takes at its peak would be taken from others
            print(f"{name:44}{'does not fit':>16}{n_bytes / 1e9:9.2f}{n_bytes * 2 / 1e9:8.0f}?")
        else:
            r = child(naive_training, root)
            print(f"{name:44}{r['s']:8.2f}{r['cpu']:8.2f}{r['bytes'] / 1e9:9.2f}{r['peak'] / 1e9:9.2f}")
        for name in ("sightwave: prepare, 100 batches", "sightwave: prepared, 100 batches"):
            r = child(our_training, root)
            print(f"{name:44}{r['s']:8.2f}{r['cpu']:8.2f}{r['bytes'] / 1e9:9.2f}{r['peak'] / 1e9:9.2f}")
        print(
            f"  prepared: opened in {r['open']:.2f} s ({r['open_cpu']:.2f} cpu), first batch after {r['first']:.2f} s"
        )
        print(f"  ({r['first_cpu']:.2f} cpu); {r['n_trials']:,} trials, batches as float32 tensors {r['rate']:,.0f} "
              f"trials/s ({r['rate_cpu']:,.0f} cpu)")  # fmt: skip
        r = child(our_epoch, root)
        name = "sightwave: open, train one epoch (10 bins)"
        print(f"{name:44}{r['s']:8.2f}{r['cpu']:8.2f}{r['bytes'] / 1e9:9.2f}{r['peak'] / 1e9:9.2f}")
        print(f"  {r['n_trials']:,} trials, {r['rate']:,.0f} trials/s ({r['rate_cpu']:,.0f} cpu), loss {r['loss']:.3f}")


if __name__ == "__main__":
    main()
