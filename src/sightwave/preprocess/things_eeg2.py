"""THINGS-EEG2 from its raw recordings, as published: cut, baseline, resample, pick, sort, whiten, merge the sessions.

Flow: ``sub-01/ses-01/raw_eeg_training.npy`` and ``raw_eeg_test.npy``, a dict of the continuous recording each, become
``sub-01/preprocessed_eeg_training.npy`` and ``preprocessed_eeg_test.npy``, which `ThingsEeg2` reads.

Shape suffixes: P pictures, R repetitions, C channels, T times.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sightwave import files
from sightwave.errors import DataError, MissingFile, RecipeError, one_of
from sightwave.preprocess.base import chunks
from sightwave.preprocess.channels import region_of
from sightwave.preprocess.covariance import inverse_root, mean_covariance
from sightwave.reading.checks import check_unit
from sightwave.reading.unpickle import load_pickle

SEED = 20200220
"""The published scripts' own, for the choice and the order of repetitions."""
TARGET = 99999
"""Event code of the inserted targets, which are not analysed."""
MVNN = ("train", "train+test", "none")
PARTS = {"train": "training", "test": "test"}
FIELDS = ("raw_eeg_data", "ch_names", "ch_types", "sfreq")
_SHOWN_IN = 2  # sessions that show a training picture; a test picture is shown in all
_ORDER = (
    "Fp1 Fp2 AF7 AF3 AFz AF4 AF8 F7 F5 F3 F1 F2 F4 F6 F8 FT9 FT7 FC5 FC3 FC1 FCz FC2 FC4 FC6 FT8 FT10 T7 C5 C3 C1 Cz "
    "C2 C4 C6 T8 TP9 TP7 CP5 CP3 CP1 CPz CP2 CP4 CP6 TP8 TP10 P7 P5 P3 P1 Pz P2 P4 P6 P8 PO7 PO3 POz PO4 PO8 O1 Oz O2"
)


@dataclass(frozen=True)
class _Plan:
    """What tells the two published forms apart; `skip` new samples are dropped, `over` is the set of a covariance."""

    tmin: float
    tmax: float
    sfreq: float
    skip: int
    over: str
    wrapped: bool
    names: tuple[str, ...] | None = None  # None: parietal and occipital ones, in the order of the recording


PLANS = {
    "official": _Plan(-0.2, 0.8, 100.0, 0, "time", True),
    "nice": _Plan(-0.2, 1.0, 250.0, 50, "epochs", False, tuple(_ORDER.split())),
}


def prepare_things_eeg2(
    raw: Path,
    out: Path,
    *,
    like: str = "official",
    mvnn: str = "train",
    subjects: tuple[str, ...] | None = None,
    repetitions: tuple[int, int] = (2, 20),
    seed: int = SEED,
    progress: Callable[[str, int, int], None] | None = None,
) -> list[Path]:
    """Preprocess the raw recordings of THINGS-EEG2 and write them in a published layout.

    Each session is cut around its pictures, the mean up to the onset (included) subtracted, resampled by Fourier as
    ``mne.Epochs.resample`` does (see `Resample`), and sorted by picture; of each picture ``repetitions`` are drawn.
    Its channels are whitened (MVNN): Ledoit and Wolf's covariance of each picture, averaged. Then sessions are joined,
    and the repetitions shuffled in one order for all pictures.

    Parameters
    ----------
    raw : Path
        Holds ``sub-*/ses-*/raw_eeg_training.npy`` and ``raw_eeg_test.npy``, or is one folder above.
    out : Path
        Receives ``sub-*/preprocessed_eeg_training.npy`` and ``..._test.npy``. Best within the folder that also holds
        ``Image_set/image_metadata.npy``, which `ThingsEeg2` needs to name the pictures.
    like : {"official", "nice"}
        "official": 17 posterior channels, -0.2 to 0.8 s, 100 Hz, covariance over repetitions at each time point.
        "nice": 63 channels, -0.2 to 1 s, 250 Hz, the time before the onset dropped after the baseline, covariance over
        the samples of each trial.
    mvnn : {"train", "train+test", "none"}
        Which trials the whitening of a session learns from. "train+test" is the mean of both parts' covariances: what
        the official files hold, and a leak that stays with the file, by the field ``whitened_on``.
    subjects : tuple of str or None
        Numbers as in the names of the folders; None takes all.
    repetitions : (int, int)
        How many repetitions of a training and of a test picture are kept in each session.
    seed : int
        Draws and shuffles the repetitions, as the published scripts do with the default.
    progress : callable or None
        Called with subject, sessions done and sessions in all.

    Returns
    -------
    list of Path
        The files written.

    Raises
    ------
    MissingFile, DataError, UnitError
        Naming file and field: a session without one of its parts, a field that is not as published, voltages that are
        no volts, pictures shown too rarely or in too few sessions, or a file that is already there.
    UnknownName, RecipeError
        If an option is not known.

    References
    ----------
    Gifford et al. 2022, https://doi.org/10.1016/j.neuroimage.2022.119754; Song et al. 2024 (NICE),
    https://arxiv.org/abs/2308.13234. All is computed in double precision and kept in single, where the originals keep
    double. At full size a session's recording takes 2 to 3 GB of memory, and "nice" some 9 GB while it is written.
    """
    for kind, got, known in (("form of THINGS-EEG2", like, PLANS), ("mvnn", mvnn, MVNN)):
        if got not in known:
            raise one_of(kind, got, known)
    if min(repetitions) < 1 or (PLANS[like].over == "time" and mvnn != "none" and min(repetitions) < 2):
        raise RecipeError(
            f"prepare_things_eeg2: repetitions={repetitions} must be at least 1, and 2 where a covariance is taken "
            'over them (like="official").'
        )
    found = _sessions(raw, subjects)
    targets = {s: {p: out / f"sub-{s}" / f"preprocessed_eeg_{name}.npy" for p, name in PARTS.items()} for s in found}
    for path in (p for parts in targets.values() for p in parts.values()):
        if path.exists():
            raise DataError(
                f"{path} is there already, and nothing is written over it. Move it, or give another folder."
            )
    for subject, sessions in found.items():
        joined = {p: _Joined(n_turns, n) for p, n_turns, n in
                  zip(PARTS, (_SHOWN_IN, len(sessions)), repetitions, strict=True)}  # fmt: skip
        head: dict[str, Any] = {}
        for k, folder in enumerate(sessions):
            _session(folder, PLANS[like], mvnn, repetitions, seed, joined, head)
            if progress:
                progress(f"sub-{subject}", k + 1, len(sessions))
        for part, path in targets[subject].items():
            content = {"preprocessed_eeg_data": joined.pop(part).finish(sessions[0].parent, part, seed), **head}
            files.save_pickle(path, content | {"whitened_on": mvnn}, wrapped=PLANS[like].wrapped)
    return [p for parts in targets.values() for p in parts.values()]


class _Joined:
    """The pictures of one part over sessions: filled as sessions come, picture c at row c - 1."""

    def __init__(self, n_turns: int, repetitions: int):
        self.n_turns, self.repetitions = n_turns, repetitions
        self.eeg_PRCT: np.ndarray = np.empty((0, 0, 0, 0), np.float32)
        self.filled_P: np.ndarray = np.zeros(0, int)

    def add(self, eeg_PRCT: np.ndarray, codes_P: np.ndarray, path: Path) -> None:
        n = max(len(self.filled_P), int(codes_P.max()))
        if n > 4 * len(codes_P):
            raise DataError(
                f"{path}: 'raw_eeg_data': the stim channel holds {len(codes_P)} codes of pictures, up to {n}; pictures "
                "are numbered from 1 on. Is it the recording's own trigger channel?"
            )
        # numpy moves the pages instead of copying them, so the peak is the array and not twice the array
        self.eeg_PRCT.resize((n, self.n_turns * self.repetitions, *eeg_PRCT.shape[2:]), refcheck=False)
        self.filled_P = np.pad(self.filled_P, (0, n - len(self.filled_P)))
        for own, c in zip(eeg_PRCT, codes_P - 1, strict=True):
            turn = self.filled_P[c]
            if turn < self.n_turns:
                self.eeg_PRCT[c, turn * self.repetitions : (turn + 1) * self.repetitions] = own
            self.filled_P[c] += 1

    def finish(self, folder: Path, part: str, seed: int) -> np.ndarray:
        """Check that every picture is there, and shuffle the repetitions, in one order for all pictures."""
        from sklearn.utils import shuffle

        odd = np.flatnonzero(self.filled_P != self.n_turns)
        if len(odd):
            raise DataError(
                f"{folder}: {part} picture {odd[0] + 1} was shown in {self.filled_P[odd[0]]} sessions, expected "
                f"{self.n_turns}; so were {len(odd)} of {len(self.filled_P)} pictures. Are all four sessions there?"
            )
        order = shuffle(np.arange(self.eeg_PRCT.shape[1]), random_state=seed)
        for own in self.eeg_PRCT:  # in place: a second copy would be 4 GB
            own[:] = own[order]
        return self.eeg_PRCT


def _sessions(raw: Path, subjects: tuple[str, ...] | None) -> dict[str, list[Path]]:
    """Session folders of each subject; every file is known to be there before the first is read."""
    files.must_exist(raw, "folder")
    subs = {p.name.removeprefix("sub-"): p for pattern in ("*/sub-*", "sub-*") for p in sorted(raw.glob(pattern))
            if any(p.glob("ses-*/raw_eeg_*.npy"))}  # fmt: skip
    if not subs:
        raise MissingFile(
            f"No raw THINGS-EEG2 below {raw}: expected sub-01/ses-01/raw_eeg_training.npy. Get the raw data from the "
            "address in https://doi.org/10.1016/j.neuroimage.2022.119754 and unpack each subject."
        )
    for s in subjects or ():
        if s not in subs:
            raise one_of("subject", s, subs)
    found = {s: sorted(subs[s].glob("ses-*")) for s in sorted(subjects or subs)}
    for folder in (f for sessions in found.values() for f in sessions):
        for name in PARTS.values():
            files.must_exist(folder / f"raw_eeg_{name}.npy", "part of a session")
    return found


def _session(
    folder: Path, plan: _Plan, mvnn: str, repetitions: tuple[int, int], seed: int, joined: dict[str, _Joined],
    head: dict[str, Any],
) -> None:  # fmt: skip
    """Epoch both parts of a session, whiten them with one matrix, and join them to the sessions before."""
    paths = [folder / f"raw_eeg_{name}.npy" for name in PARTS.values()]
    epoched = {}
    for part, path, n in zip(PARTS, paths, repetitions, strict=True):
        eeg_PRCT, codes_P, own = _epochs(path, plan, n, seed)
        if head and own["ch_names"] != head["ch_names"]:
            raise DataError(f"{path}: 'ch_names' are {own['ch_names']}, in the files before it {head['ch_names']}.")
        head |= own
        epoched[part] = (eeg_PRCT, codes_P)
    seen = {"train": ["train"], "train+test": ["train", "test"], "none": []}[mvnn]
    if seen:
        cov = np.mean([_covariance(epoched[p][0], plan.over) for p in seen], axis=0)
        try:
            white_CC = inverse_root(cov)
        except DataError as e:
            raise DataError(f"{folder}: {e}") from e
    for (part, (eeg_PRCT, codes_P)), path in zip(epoched.items(), paths, strict=True):
        if seen:
            for one_RCT in eeg_PRCT:
                one_RCT[:] = white_CC @ one_RCT
        joined[part].add(eeg_PRCT, codes_P, path)


def _epochs(path: Path, plan: _Plan, n_repetitions: int, seed: int) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    """Trials (P, R, C, T) in the order of their codes, the codes, and the names and times that go with them."""
    from mne.filter import resample
    from sklearn.utils import shuffle

    info, stim = _read(path)
    eeg, sfreq, rows = info["raw_eeg_data"], float(info["sfreq"]), _rows(info, plan, path)
    first, last = round(plan.tmin * sfreq), round(plan.tmax * sfreq)
    # an event is where the stim channel rises, as mne.find_events takes it
    at = np.flatnonzero((stim[1:] > stim[:-1]) & (stim[1:] != 0)) + 1
    code = stim[at].astype(np.int64)
    keep = (code != TARGET) & (at + first >= 0) & (at + last < eeg.shape[1])
    at, code = at[keep], code[keep]
    codes = np.unique(code)
    if not len(codes) or codes[0] < 1:
        raise DataError(f"{path}: 'raw_eeg_data': the stim channel holds no codes of pictures, numbered from 1 on.")
    chosen = []
    for c in codes:
        there = np.flatnonzero(code == c)
        if len(there) < n_repetitions:
            raise DataError(
                f"{path}: picture {c} was shown {len(there)} times, expected at least {n_repetitions}. Say how many "
                "of a training and of a test picture to keep: repetitions=(..., ...)."
            )
        chosen.append(shuffle(there, random_state=seed, n_samples=n_repetitions))
    starts = at[np.concatenate(chosen)] + first
    times = plan.tmin + np.arange(round((last - first + 1) * plan.sfreq / sfreq)) / plan.sfreq
    out = np.empty((len(starts), len(rows), len(times) - plan.skip), np.float32)
    for part in chunks(np.broadcast_to(eeg[:1, :1, None], (len(starts), len(rows), last - first + 1))):
        x = np.stack([eeg[rows, s : s + last - first + 1] for s in starts[part]]).astype(np.float64)
        if not np.isfinite(x).all():
            bad = info["ch_names"][rows[int(np.flatnonzero(~np.isfinite(x).all((0, 2)))[0])]]
            raise DataError(f"{path}: 'raw_eeg_data': channel {bad!r} holds NaN or infinity within a trial.")
        x -= x[..., : 1 - first].mean(2, keepdims=True)
        if part.start == 0:
            check_unit(float(np.median(x.std(2))), f"{path}: 'raw_eeg_data'")
        # as mne.Epochs.resample does, with its shift of a few milliseconds: see Resample
        x = resample(x, plan.sfreq, sfreq, npad="auto", window="boxcar", pad="edge", method="fft", verbose="error")
        out[part] = x[..., plan.skip :]
    names = [info["ch_names"][r] for r in rows]
    return out.reshape(len(codes), n_repetitions, *out.shape[1:]), codes, {"ch_names": names, "times": times}


def _read(path: Path) -> tuple[Mapping[str, Any], np.ndarray]:
    """Read one raw file; returns its dict and the stim channel."""
    info = load_pickle(path)
    if not isinstance(info, dict) or not set(FIELDS) <= set(info):
        got = ", ".join(map(str, info)) if isinstance(info, dict) else type(info).__name__
        raise DataError(f"{path}: expected a dict with {', '.join(map(repr, FIELDS))}; got {got[:200]}.")
    eeg, names, kinds, sfreq = (info[f] for f in FIELDS)
    lists = all(isinstance(x, list) and all(isinstance(c, str) for c in x) for x in (names, kinds))
    if not lists or len(names) != len(kinds) or kinds.count("stim") != 1:
        raise DataError(f"{path}: 'ch_names' and 'ch_types' must be lists of text of one length, one type 'stim'.")
    if not isinstance(eeg, np.ndarray) or eeg.dtype.kind != "f" or eeg.ndim != 2 or len(eeg) != len(names):
        got = f"{eeg.dtype} {eeg.shape}" if isinstance(eeg, np.ndarray) else type(eeg).__name__
        raise DataError(f"{path}: 'raw_eeg_data' must be real numbers ({len(names)}, n_samples), in volts; got {got}.")
    if not isinstance(sfreq, (int, float, np.number)) or not 100 <= float(sfreq) <= 1e5:
        raise DataError(f"{path}: 'sfreq' must be a number of Hz, 1000 as published; got {sfreq!r:.50}.")
    stim = eeg[kinds.index("stim")]
    if not (np.isfinite(stim).all() and (stim == np.rint(stim)).all()):
        raise DataError(f"{path}: 'raw_eeg_data': channel {names[kinds.index('stim')]!r} must hold whole numbers.")
    return info, stim


def _rows(info: Mapping[str, Any], plan: _Plan, path: Path) -> list[int]:
    """Which rows of the recording to keep, in which order."""
    names, kinds = info["ch_names"], info["ch_types"]
    if plan.names is None:
        rows = [i for i, c in enumerate(names) if kinds[i] == "eeg" and region_of(c) in ("parietal", "occipital")]
        if not rows:
            raise DataError(f"{path}: 'ch_names' holds no parietal or occipital channel, such as 'Pz' or 'O1'.")
        return rows
    lost = [c for c in plan.names if c not in names]
    if lost:
        raise DataError(f"{path}: 'ch_names' lacks {', '.join(lost[:5])}; this form needs the {len(plan.names)} names.")
    return [names.index(c) for c in plan.names]


def _covariance(eeg_PRCT: np.ndarray, over: str) -> np.ndarray:
    """Mean over pictures of their covariances over repetitions at each time, or over samples of each trial."""
    axes = (0, 3, 1, 2) if over == "time" else (0, 1, 3, 2)
    total = np.zeros((eeg_PRCT.shape[2], eeg_PRCT.shape[2]))
    for part in chunks(eeg_PRCT.reshape(len(eeg_PRCT), -1, eeg_PRCT.shape[3])):
        x = eeg_PRCT[part].transpose(axes).astype(np.float64)
        total += len(x) * mean_covariance(x.reshape(-1, *x.shape[2:]))
    return total / len(eeg_PRCT)
