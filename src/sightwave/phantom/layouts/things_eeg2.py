"""THINGS-EEG2 as it circulates: the official files and the three variants that most systems read.

Flow: nameless concepts -> pictures, features -> four sessions of `Brain.record` -> whitening -> files.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.signal import resample_poly

from sightwave import files
from sightwave.errors import RecipeError, one_of
from sightwave.phantom.brain import Brain
from sightwave.phantom.concepts import imagine, nameless
from sightwave.phantom.confounds import add_neighbours
from sightwave.phantom.features import features
from sightwave.phantom.head import POSTERIOR17, THINGS63
from sightwave.phantom.layouts.common import check_counts, mark, save_pictures
from sightwave.phantom.pictures import paint_many

VARIANTS = ("official", "nice", "ubp", "neurobridge")
TIMES = np.round(np.arange(-50, 250) / 250, 3)
"""Seconds, of the epoch before its first 50 samples are dropped: 300 values for 250 samples, as in the originals."""
OFFICIAL_TIMES = np.round(np.arange(-20, 80) / 100, 2)
_BEFORE, _N_SESSIONS, _SOA_S, _SEQUENCE = 50, 4, 0.2, 20
_FOLDERS = {"train": "training_images", "test": "test_images"}
_FILES = {"train": "preprocessed_eeg_training.npy", "test": "preprocessed_eeg_test.npy"}
_REPETITION_SEED = 20200220  # the originals' own


@dataclass(frozen=True, eq=False)
class _Part:
    """Training or test pictures: features (n, K), THINGS-like names and the number of repetitions."""

    z: np.ndarray
    folders: list[str]
    whole: list[str]
    files: list[str]
    repetitions: int


def write_things_eeg2(
    out: Path, *, subjects: tuple[int, ...] = (1,), n_concepts: int = 1654, per_concept: int = 10, n_test: int = 200,
    repetitions: int = 4, test_repetitions: int = 80, variants: tuple[str, ...] = ("nice",), signal: float = 1.4,
    overlap: bool = True, workers: int = 1, seed: int = 0,
) -> None:  # fmt: skip
    """Write a phantom in the layouts of THINGS-EEG2.

    ``Image_set`` holds the pictures and ``image_metadata.npy``. In each of four sessions half of the training pictures
    are shown, each twice when there are four repetitions, and all test pictures; the two halves, drawn anew for each
    subject, take turns. Pictures come in sequences of 20 with 200 ms from onset to onset.

    Parameters
    ----------
    out : Path
    subjects : tuple of int
    n_concepts, per_concept, n_test : int
        Training concepts, pictures of each, and test concepts with one picture.
    repetitions, test_repetitions : int
        Multiples of 2 and of 4.
    variants : tuple of str
        Which to write, of `VARIANTS`: "official" has 17 channels at 100 Hz from -0.2 s on, and is an array of one
        object; "nice" has 63 at 250 Hz from the onset on, and is a bare pickle; "ubp" is the same in half precision
        with labels, written by torch; "neurobridge" is a plain array (concept, picture, repetition, C, T).
    signal : float
        Strength of all that depends on the picture.
    overlap : bool
        Let the responses to neighbouring pictures reach into a trial, as in a rapid stream.
    workers : int
        Processes that paint.
    seed : int
        Of brains, noise, orders and of the choice of test concepts.

    Raises
    ------
    RecipeError, UnknownName
        If a number does not fit the design, or a variant is not known.

    Notes
    -----
    Whitening is by the mean covariance over channels of each session: over the samples of the training trials, or in
    "official" over repetitions, of training and test pictures. The originals shrink it condition by condition after
    Ledoit and Wolf; here the mean is hardly shrunk. At full size the training pictures of one subject and of
    63 channels take 4.2 GB, and twice that while they are pickled.
    """
    check_counts("things_eeg2", n_concepts=n_concepts, per_concept=per_concept, n_test=n_test)
    for variant in variants:
        if variant not in VARIANTS:
            raise one_of("variant of THINGS-EEG2", variant, VARIANTS)
    least = 4 if "official" in variants else 2
    if repetitions < least or repetitions % 2 or test_repetitions < 4 or test_repetitions % 4:
        raise RecipeError(
            f"write_things_eeg2: repetitions must be even and at least {least} (half of the sessions show a picture; "
            "'official' whitens by repetitions within one), test_repetitions a multiple of 4; "
            f"got {repetitions} and {test_repetitions}."
        )
    mark(out, "THINGS-EEG2", seed)
    parts = _pictures(out / "Image_set", n_concepts, per_concept, n_test, repetitions, test_repetitions, workers, seed)
    for subject in subjects:
        brain = Brain(subject, THINGS63, 250.0, len(TIMES), signal, drift_uv=0.0, shared_seed=seed)
        wide, official, session = _record(brain, parts, variants, overlap=overlap, seed=seed)
        _save(out, subject, variants, parts, wide, official, session, seed)


def _pictures(
    folder: Path, n_concepts: int, per_concept: int, n_test: int, repetitions: int, test_repetitions: int,
    workers: int, seed: int,
) -> dict[str, _Part]:  # fmt: skip
    """Paint and write all pictures and ``image_metadata.npy``."""
    names = np.array(nameless(n_concepts + n_test))
    # spread over the whole, so that numbers within a part and within the whole differ, as in the original
    tested = np.zeros(len(names), bool)
    tested[np.random.default_rng([seed, 8]).choice(len(names), n_test, replace=False)] = True
    parts: dict[str, _Part] = {}
    meta: dict[str, list[str]] = {}
    for part, chosen, n, reps in (
        ("train", np.flatnonzero(~tested), per_concept, repetitions),
        ("test", np.flatnonzero(tested), 1, test_repetitions),
    ):
        scenes = [imagine(str(c), i) for c in names[chosen] for i in range(n)]
        rgb = paint_many(scenes, workers=workers)
        folders = [f"{k:05d}_{c}" for k, c in enumerate(names[chosen], 1) for _ in range(n)]
        whole = [f"{k + 1:05d}_{names[k]}" for k in chosen for _ in range(n)]
        jpegs = [f"{s.concept}_{s.exemplar + 1:02d}{'s' if s.exemplar else 'b'}.jpg" for s in scenes]
        save_pictures(folder / _FOLDERS[part], rgb, [f"{d}/{f}" for d, f in zip(folders, jpegs, strict=True)])
        meta |= {f"{part}_img_concepts": folders, f"{part}_img_concepts_THINGS": whole, f"{part}_img_files": jpegs}
        parts[part] = _Part(features(scenes, rgb), folders, whole, jpegs, reps)
    files.save_pickle(folder / "image_metadata.npy", meta, wrapped=True)
    return parts


_Sets = dict[str, np.ndarray]


def _record(
    brain: Brain, parts: dict[str, _Part], variants: tuple[str, ...], *, overlap: bool, seed: int
) -> tuple[_Sets, _Sets, _Sets]:
    """Whitened trials of 63 channels, of 17, and the session of each, every one (n, repetitions, ...) by part."""
    shape = {p: (len(q.z), q.repetitions) for p, q in parts.items()}
    session_of = {p: np.zeros(s) for p, s in shape.items()}
    wide = {p: np.empty((*s, 63, 250), np.float32) for p, s in shape.items()} if set(variants) - {"official"} else {}
    official = {p: np.empty((*s, 17, 100), np.float32) for p, s in shape.items()} if "official" in variants else {}
    half = np.random.default_rng([seed, brain.subject, 9]).permutation(len(parts["train"].z)) % 2
    back = [THINGS63.index(c) for c in POSTERIOR17]
    for session in range(_N_SESSIONS):
        slots, x = {}, {}
        for k, (name, part) in enumerate(parts.items()):
            # a training picture is shown in two sessions, a test picture in all four
            turns, turn = (2, session // 2) if name == "train" else (4, session)
            rows = np.flatnonzero(half == session % 2) if name == "train" else np.arange(len(part.z))
            n_reps = part.repetitions // turns
            slots[name] = (rows, slice(turn * n_reps, (turn + 1) * n_reps))
            session_of[name][slots[name]] = session
            rng = np.random.default_rng([seed, brain.subject, session, k, 10])
            x[name] = _epochs(brain, part.z, np.repeat(rows, n_reps), rng, k, session, overlap)
            x[name] = x[name].reshape(len(rows), n_reps, *x[name].shape[1:])
        for target, posterior in ((wide, False), (official, True)):
            if not target:
                continue
            cut = {p: _official(e, back) if posterior else e[..., _BEFORE:] for p, e in x.items()}
            seen = [_over_repetitions(e) for e in cut.values()] if posterior else [_over_samples(cut["train"])]
            white = _inverse_root(np.mean([s for s in seen if s is not None], axis=0))
            for p, e in cut.items():
                for i, row in enumerate(slots[p][0]):  # one by one, to need no second copy of the session
                    target[p][row, slots[p][1]] = white @ e[i]
    return wide, official, session_of


def _epochs(
    brain: Brain, z: np.ndarray, rows: np.ndarray, rng: np.random.Generator, part: int, session: int, overlap: bool
) -> np.ndarray:
    """Trials from -0.2 to 1 s, shown in random order and returned in that of ``rows``, shape (n, C, T), microvolt."""
    order = rng.permutation(len(rows))
    shown = z[rows[order]]
    x = brain.record(shown, seed=part, session=session)
    for i in range(0, len(x), 256):
        # noise is circular and the response is over after 1 s, so the end of the window is as good as the time before
        x[i : i + 256] = np.roll(x[i : i + 256], _BEFORE, axis=2)
    if overlap:
        sequence = np.arange(len(x)) // _SEQUENCE
        add_neighbours(x, brain, shown, sequence, soa_s=_SOA_S, session=session, before=_BEFORE)
    x -= x[..., : _BEFORE + 1].mean(2, keepdims=True)  # MNE's baseline (None, 0) includes the onset
    return x[np.argsort(order)]


def _official(x: np.ndarray, back: list[int]) -> np.ndarray:
    """From -0.2 to 0.8 s at 100 Hz, posterior channels only."""
    cut = x[..., back, : _BEFORE + 200]
    return np.asarray(resample_poly(cut, 2, 5, axis=-1, padtype="line"), np.float32)


def _over_samples(x: np.ndarray) -> np.ndarray:
    """Covariance of channels over the samples of a trial, mean over trials: MVNN of kind 'epochs', shape (C, C)."""
    some = x[:: max(1, len(x) // 1000)].reshape(-1, *x.shape[2:])
    some = some - some.mean(2, keepdims=True)
    return np.asarray(np.einsum("nct,ndt->cd", some, some, optimize=True) / (len(some) * some.shape[2]), float)


def _over_repetitions(x: np.ndarray) -> np.ndarray | None:
    """Covariance of channels over the repetitions of a picture, mean over samples: MVNN of kind 'time'."""
    n_reps = x.shape[1]
    if n_reps < 2:
        return None
    some = x[:: max(1, len(x) // 1000)]
    some = some - some.mean(1, keepdims=True)
    freedom = some.shape[0] * (n_reps - 1) * some.shape[3]
    return np.asarray(np.einsum("nrct,nrdt->cd", some, some, optimize=True) / freedom, float)


def _inverse_root(cov: np.ndarray) -> np.ndarray:
    """Return the inverse square root of a covariance, shape (C, C), shrunk by a thousandth for the smallest worlds."""
    values, vectors = np.linalg.eigh(0.999 * cov + 0.001 * np.diag(np.diag(cov)))
    return np.asarray((vectors / np.sqrt(values)) @ vectors.T, np.float32)


def _save(
    out: Path, subject: int, variants: tuple[str, ...], parts: dict[str, _Part], wide: _Sets, official: _Sets,
    session: _Sets, seed: int,
) -> None:  # fmt: skip
    name = f"sub-{subject:02d}"
    for p, part in parts.items():
        if "ubp" in variants:
            files.save_torch(
                out / "Preprocessed_data_250Hz_whiten" / name / f"{p}.pt", _ubp(part, p, wide[p], session[p])
            )
        if "neurobridge" in variants:
            n_concepts = len(dict.fromkeys(part.folders))
            array = wide[p].reshape(n_concepts, -1, *wide[p].shape[1:])
            files.save_array(out / "preprocessed_eeg" / name / f"{p}.npy", array)
        # one order for all pictures, as a shuffle with one seed per picture gives
        mixed = np.random.default_rng(_REPETITION_SEED).permutation(part.repetitions)
        if "official" in variants:
            content = _dict(official[p][:, mixed], POSTERIOR17, OFFICIAL_TIMES)
            files.save_pickle(out / "Preprocessed_data" / name / _FILES[p], content, wrapped=True)
        if "nice" in variants:
            for eeg in wide[p]:  # in place: a second copy would be 4 GB
                eeg[:] = eeg[mixed]
            files.save_pickle(out / "Preprocessed_data_250Hz" / name / _FILES[p], _dict(wide[p]))
    if "neurobridge" in variants:
        shapes = {f"{p}_data_shape": [len(x) // (2 if p == "train" else 1), x.shape[1] // (2 if p == "train" else 4),
                                      *x.shape[2:]] for p, x in wide.items()}  # fmt: skip
        info = {"ch_names": list(THINGS63), "times": TIMES.tolist(), "baseline_duration": 0.2, "after_duration": 1.0,
                "normalization": "mvnn", "sfreq": 250.0, "precision": "fp32", "seed": seed} | shapes  # fmt: skip
        files.write_json(out / "preprocessed_eeg" / "info.json", info)


def _dict(eeg: np.ndarray, ch_names: tuple[str, ...] = THINGS63, times: np.ndarray = TIMES) -> dict[str, Any]:
    return {"preprocessed_eeg_data": eeg, "ch_names": list(ch_names), "times": times}


def _ubp(part: _Part, name: str, eeg: np.ndarray, session: np.ndarray) -> dict[str, Any]:
    """Half precision, repetitions in the order of their sessions, which count from 0 as floats."""
    place = {f: i for i, f in enumerate(dict.fromkeys(part.folders))}
    # the folders of its resized copies, which are named otherwise than those of the originals
    img = [f"{name}_images/{d}/{f}" for d, f in zip(part.folders, part.files, strict=True)]
    text = [f"This is a {d.split('_', 1)[1]}." for d in part.folders]
    per_trial = {k: np.repeat(np.array(v)[:, None], part.repetitions, 1)
                 for k, v in {"label": [place[d] for d in part.folders], "img": img, "text": text}.items()}  # fmt: skip
    return {"eeg": eeg.astype(np.float16), **per_trial, "session": session, "ch_names": list(THINGS63), "times": TIMES}
