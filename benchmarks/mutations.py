"""500 mutated files per reader: none may crash, hang or raise anything but an error of ours that names the file.

    python benchmarks/mutations.py [--n 500] [--seed 0] [READER ...]

Files are written by the phantom, MNE, pybv, edfio, eeglabio, scipy, h5py and pyarrow. Each mutant has one to four of:
flipped bits, random bytes, other digits, a length that is far too large, a cut, and a block that is zeroed, swapped,
doubled or lost; most of them are near the start, where headers are. A reader is what a user calls, a data set where
there is one. Each reader runs in a process of its own with at most 3 GB and a minute per file; "else" must be 0.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import signal
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sightwave import files
from sightwave.datasets.cvpr40 import Cvpr40
from sightwave.datasets.mss import Mss
from sightwave.datasets.n170 import CHANNELS, N170
from sightwave.datasets.own import Own, write_own
from sightwave.datasets.things_eeg2 import ThingsEeg2
from sightwave.errors import SightwaveError
from sightwave.phantom.layouts import write_cvpr40, write_mss, write_things_eeg2
from sightwave.reading import worker
from sightwave.reading.tree import Run, read_header, read_samples
from sightwave.reading.unpickle import load_pickle
from sightwave.reading.worker import in_worker
from sightwave.results import SCORE_COLUMNS, Result
from sightwave.stimuli import Stimuli
from sightwave.trials import Trials

WORST_S = 60
worker.SECONDS = 10.0  # 60 s is what a sound file may take; here it would be waited for in vain
LARGE = (0x7FFFFFFF, 0xFFFFFFFF, 0x7FFFFFF0, 0x10000000, 2**40, 2**62, 2**64 - 1)


# ---- files to mutate: each function fills a folder and returns the file


def array(folder: Path) -> Path:
    files.save_array(folder / "x.npy", np.random.default_rng(0).normal(size=(20, 4, 50)).astype("f4"))
    return folder / "x.npy"


def tensors(folder: Path) -> Path:
    files.save_tensors(folder / "x.safetensors", {"x": np.arange(600.0).reshape(20, 30), "y": np.arange(5)}, {"a": "b"})
    return folder / "x.safetensors"


def things(folder: Path, variant: str) -> Path:
    write_things_eeg2(folder, n_concepts=2, per_concept=2, n_test=3, test_repetitions=4, variants=(variant,))
    return next(p for p in sorted(folder.rglob("*")) if p.stem in ("train", "preprocessed_eeg_training"))


def picture_list(folder: Path) -> Path:
    things(folder, "neurobridge")
    return next(folder.rglob("image_metadata.npy"))


def cvpr(folder: Path, *, zipped: bool) -> Path:
    import torch

    write_cvpr40(folder, subjects=(1,), n_classes=3, per_class=6, n_lost=1)
    path = folder / "eeg_5_95_std.pth"
    if not zipped:
        content = load_pickle(path)
        content["dataset"] = [d | {"eeg": torch.from_numpy(d["eeg"].copy())} for d in content["dataset"]]
        torch.save(content, path, _use_new_zipfile_serialization=False)
    return path


def mss(folder: Path, ending: str) -> Path:
    write_mss(folder, subjects=(2,), sessions=1, runs=1, trials=20, per_class=2)
    return next(folder.rglob(f"*{ending}"))


def n170(folder: Path) -> Path:
    rng, n = np.random.default_rng(0), 256 * 16
    table = pd.DataFrame({"timestamps": 1.5e9 + np.arange(n) / 256, **{c: rng.normal(0, 20, n) for c in CHANNELS}})
    table["Marker0"] = np.where(np.arange(n) % 128 == 100, 1 + np.arange(n) // 128 % 2, 0)
    path = folder / "subject1" / "session1" / "data_2017-02-04-14_45_13.csv"
    path.parent.mkdir(parents=True)
    table.to_csv(path, index=False)
    return path


def trials() -> tuple[Trials, Stimuli]:
    rng = np.random.default_rng(0)
    events = pd.DataFrame({"subject": "01", "session": "01", "run": "01", "onset": np.arange(12) * 1.5})
    events["stimulus"] = [f"s{i % 6}" for i in range(12)]
    events["label"] = [f"label {i % 3}" for i in range(12)]
    made = Trials(rng.normal(0, 1e-5, (12, 4, 50)).astype("f4"), events, ("Oz", "Pz", "O1", "O2"), 100.0, -0.1)
    table = events.drop_duplicates("stimulus").set_index("stimulus")[["label"]]
    table["captions"] = [(f"a picture, of {s}", "another") for s in table.index]
    pictures = {s: rng.integers(0, 255, (8, 8, 3), np.uint8) for s in table.index}
    return made, Stimuli(table, pictures.__getitem__, "noise")


def own(folder: Path, name: str) -> Path:
    write_own(folder, *trials())
    return folder / name


def own_foreign(folder: Path, name: str) -> Path:
    """Write an own folder with its array in HDF5 or in a file of MATLAB, or its table in parquet."""
    path, eeg = folder / name, trials()[0].eeg
    write_own(folder, *trials())
    if name == "trials.parquet":
        pd.read_csv(folder / "trials.csv").to_parquet(path)
        (folder / "trials.csv").unlink()
        return path
    if name == "eeg.h5":
        import h5py

        with h5py.File(path, "w") as f:
            f.create_dataset("a/eeg", data=eeg, chunks=True, compression="gzip")
            f["a/sfreq"] = 100.0
    else:
        from scipy.io import savemat

        savemat(path, {"eeg": eeg, "names": ["Oz", "Pz"]}, do_compression=True)
    (folder / "eeg.npy").unlink()
    return path


def own_fif(folder: Path) -> Path:
    path = folder / "sub-01_task-x_epo.fif"
    trials()[0].to_epochs().save(path, verbose="error")
    return path


def recording(folder: Path, ending: str) -> Path:
    import mne

    rng, names = np.random.default_rng(0), ["Oz", "Pz", "O1", "O2"]
    raw = mne.io.RawArray(rng.normal(0, 1e-5, (4, 1000)), mne.create_info(names, 100.0, "eeg"), verbose="error")
    raw.set_annotations(mne.Annotations([1.0, 2.0, 5.0], 0.1, ["face", "house", "face"]))
    path = folder / f"sub-01_task-x_eeg{ending}"
    if ending == ".fif":
        with warnings.catch_warnings(action="ignore"):  # MNE would like another name
            raw.save(path, verbose="error")
    else:
        mne.export.export_raw(path, raw, verbose="error")
    return path


def matlab(folder: Path) -> Path:
    from scipy.io import savemat

    savemat(folder / "x.mat", {"eeg": np.random.default_rng(0).normal(size=(20, 30)), "names": ["Oz", "Pz"], "n": 3})
    return folder / "x.mat"


def picture(folder: Path, ending: str) -> Path:
    from PIL import Image

    path = folder / f"x{ending}"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (32, 32, 3), np.uint8)).save(path)
    return path


def result(folder: Path, name: str) -> Path:
    scores = pd.DataFrame([["01"] * len(SCORE_COLUMNS)], columns=list(SCORE_COLUMNS))
    Result("demo", {}, {}, ("01",), (0,), scores, (), {}, 1, "last epoch").save(folder / "r")
    return folder / "r" / name


# ---- readers


def read_array(path: Path) -> None:
    files.load_array(path).sum()
    files.load_array(path, mmap=False)


def read_recording(path: Path) -> None:
    run = Run(path, path.parent, {"sub": "01", "task": "x"})
    read_samples(run, list(range(min(4, len(read_header(run).names)))))


def read_matlab(path: Path) -> None:
    from scipy.io import loadmat

    in_worker(loadmat, path)


def read_folder(dataset: Own | Cvpr40 | Mss | ThingsEeg2 | N170, root: Path) -> None:
    subjects = dataset.subjects(root)
    made, stimuli = dataset.load(root, subjects)
    made.fingerprint()
    if stimuli.read is not None:
        stimuli.image(stimuli.ids[0])
    dataset.left_out(root)


Maker, Read = Callable[[Path], Path], Callable[[Path, Path], object]
READERS: dict[str, tuple[Maker, Read]] = {
    "npy": (array, lambda p, _: read_array(p)),
    "safetensors": (tensors, lambda p, _: files.load_tensors(p)),
    "png": (lambda f: picture(f, ".png"), lambda p, _: files.read_image(p)),
    "jpg": (lambda f: picture(f, ".jpg"), lambda p, _: files.read_image(p)),
    "own eeg.npy": (lambda f: own(f, "eeg.npy"), lambda _, f: read_folder(Own(), f)),
    "own trials.csv": (lambda f: own(f, "trials.csv"), lambda _, f: read_folder(Own(), f)),
    "own captions.csv": (lambda f: own(f, "captions.csv"), lambda _, f: read_folder(Own(), f)),
    "own info.json": (lambda f: own(f, "info.json"), lambda _, f: read_folder(Own(), f)),
    "own eeg.h5": (lambda f: own_foreign(f, "eeg.h5"), lambda _, f: read_folder(Own(), f)),
    "own eeg.mat": (lambda f: own_foreign(f, "eeg.mat"), lambda _, f: read_folder(Own(), f)),
    "own trials.parquet": (lambda f: own_foreign(f, "trials.parquet"), lambda _, f: read_folder(Own(), f)),
    "own -epo.fif": (own_fif, lambda _, f: read_folder(Own(), f)),
    "n170 csv": (n170, lambda _, f: read_folder(N170(), f)),
    "mss npy": (lambda f: mss(f, "1000Hz.npy"), lambda _, f: read_folder(Mss(), f)),
    "mss json": (lambda f: mss(f, "1000Hz.json"), lambda _, f: read_folder(Mss(), f)),
    "mss image.csv": (lambda f: mss(f, "image.csv"), lambda _, f: read_folder(Mss(), f)),
    "mss events.tsv": (lambda f: mss(f, "events.tsv"), lambda _, f: read_folder(Mss(), f)),
    "mss captions.txt": (lambda f: mss(f, "captions.txt"), lambda _, f: read_folder(Mss(), f)),
    "things npy dict": (lambda f: things(f, "official"), lambda _, f: read_folder(ThingsEeg2(), f)),
    "things pickle": (lambda f: things(f, "nice"), lambda _, f: read_folder(ThingsEeg2(), f)),
    "things .pt": (lambda f: things(f, "ubp"), lambda _, f: read_folder(ThingsEeg2(), f)),
    "things pictures": (picture_list, lambda _, f: read_folder(ThingsEeg2(), f)),
    "cvpr40 .pth zip": (lambda f: cvpr(f, zipped=True), lambda _, f: read_folder(Cvpr40(), f)),
    "cvpr40 .pth legacy": (lambda f: cvpr(f, zipped=False), lambda _, f: read_folder(Cvpr40(), f)),
    "bids .fif": (lambda f: recording(f, ".fif"), lambda p, _: read_recording(p)),
    "bids .set": (lambda f: recording(f, ".set"), lambda p, _: read_recording(p)),
    "bids .edf": (lambda f: recording(f, ".edf"), lambda p, _: read_recording(p)),
    "bids .bdf": (lambda f: recording(f, ".bdf"), lambda p, _: read_recording(p)),
    "bids .vhdr": (lambda f: recording(f, ".vhdr"), lambda p, _: read_recording(p)),
    "mat": (matlab, lambda p, _: read_matlab(p)),
    "result json": (lambda f: result(f, "result.json"), lambda _, f: Result.load(f / "r")),
    "result manifest": (lambda f: result(f, "manifest.json"), lambda _, f: Result.load(f / "r")),
}


# ---- mutations


def mutate(data: bytes, rng: np.random.Generator) -> bytes:
    """Return a damaged copy."""
    for _ in range(rng.integers(1, 5)):
        data = _once(data, rng)
    return data


def _once(data: bytes, rng: np.random.Generator) -> bytes:
    if not data:
        return data
    n, new = len(data), bytearray(data)
    at = int(rng.integers(min(n, 2048) if rng.random() < 0.6 else n))
    block = slice(at, at + int(rng.integers(1, 64)))
    kind = rng.integers(10)
    if kind == 0:
        new[at] ^= 1 << int(rng.integers(8))
    elif kind == 1:
        new[at] = int(rng.integers(256))
    elif kind == 2:
        new[block] = rng.bytes(len(new[block]))
    elif kind == 3:
        length = LARGE[rng.integers(len(LARGE))].to_bytes(8, "little")
        new[at : at + 8] = [length[:4], length, length[:4][::-1], length[::-1]][rng.integers(4)]
    elif kind == 4:
        del new[at:]
    elif kind == 5:
        new[block] = bytes(len(new[block]))
    elif kind == 6:
        other = int(rng.integers(n))
        new[at], new[other] = new[other], new[at]
    elif kind == 7:
        new[at:at] = new[block] * int(rng.integers(1, 4))
    elif kind == 8:
        del new[block]
    else:
        digits = np.flatnonzero((np.frombuffer(data, "u1") - 48) < 10)
        if len(digits):
            i = int(rng.choice(digits[: len(digits) // 2 + 1]))
            new[i : i + 1] = [b"-", b"9", b"0", b"9" * 12, b"1e9", b"nan", b".", b""][rng.integers(8)]
    return bytes(new)


@dataclass
class Row:
    """What became of the mutants of one reader."""

    reader: str
    mutated: int = 0
    fine: int = 0
    refused: int = 0
    other: list[str] = field(default_factory=list)
    slowest_s: float = 0.0
    peak_mb: float = 0.0


def attack(reader: str, n: int, seed: int = 0) -> Row:
    """Read ``n`` mutants of the file of ``reader``."""
    make, read = READERS[reader]
    rng, row = np.random.default_rng([seed, *reader.encode()]), Row(reader)
    with tempfile.TemporaryDirectory() as name, warnings.catch_warnings(action="ignore"):
        folder = Path(name)
        path = make(folder)
        good = path.read_bytes()
        read(path, folder)  # the whole file must be read
        while row.mutated < n:
            bad = mutate(good, rng)
            if bad == good:
                continue
            path.unlink()  # a new file, for the old one may still be mapped
            path.write_bytes(bad)
            row.mutated += 1
            start = time.perf_counter()
            signal.alarm(WORST_S)
            try:
                read(path, folder)
                row.fine += 1
            except SightwaveError as e:
                if path.name in str(e):
                    row.refused += 1
                else:
                    row.other.append(f"mutant {row.mutated}, does not name the file: {e}")
            except Exception as e:  # that is what is looked for
                where = traceback.extract_tb(e.__traceback__)[-1]
                ours = [f for f in traceback.extract_tb(e.__traceback__) if "sightwave" in f.filename][-1]
                row.other.append(
                    f"mutant {row.mutated}, {type(e).__name__}: {e} ({Path(ours.filename).name}:{ours.lineno}, "
                    f"{Path(where.filename).name}:{where.lineno})"
                )
            finally:
                signal.alarm(0)
            row.slowest_s = max(row.slowest_s, time.perf_counter() - start)
    row.peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    return row


def _hung(*_: object) -> None:
    raise TimeoutError(f"not read within {WORST_S} s")


def alone(reader: str, n: int, seed: int) -> Row:
    """Run `attack` in a fork, so that a crash is counted."""
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    process = context.Process(target=_alone, args=(theirs, reader, n, seed))
    process.start()
    theirs.close()
    try:
        return ours.recv()
    except EOFError:
        process.join()
        return Row(reader, other=[f"the process ended with {process.exitcode}"])


def _alone(pipe: Any, reader: str, n: int, seed: int) -> None:
    resource.setrlimit(resource.RLIMIT_DATA, (3_000_000_000, resource.RLIM_INFINITY))
    signal.signal(signal.SIGALRM, _hung)
    pipe.send(attack(reader, n, seed))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("readers", nargs="*", metavar="READER", help=", ".join(READERS))
    parser.add_argument("--n", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    print(f"{'reader':20} {'mutated':>8} {'fine':>6} {'refused':>8} {'else':>5} {'slowest (s)':>12} {'peak (MB)':>10}")
    rows = []
    for reader in given.readers or READERS:
        row = alone(reader, given.n, given.seed)
        rows.append(row)
        print(
            f"{row.reader:20} {row.mutated:>8} {row.fine:>6} {row.refused:>8} {len(row.other):>5} "
            f"{row.slowest_s:>12.2f} {row.peak_mb:>10.0f}", flush=True
        )  # fmt: skip
        for what in row.other[:8]:
            print(f"    {what[:400]}", flush=True)
    print(f"{'all':20} {sum(r.mutated for r in rows):>8} {sum(r.fine for r in rows):>6} "
          f"{sum(r.refused for r in rows):>8} {sum(len(r.other) for r in rows):>5}")  # fmt: skip


if __name__ == "__main__":
    main()
