"""ThoughtViz: 23 people imagine objects, digits or characters, recorded with a 14-channel Emotiv EPOC.

Folders as published::

    eeg/image/data.pkl      {"x_train" (n, 14, 32, 1), "y_train" (n, 10) one-hot, "x_test", "y_test"}
    eeg/digit/data.pkl, eeg/char/data.pkl       the same
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from sightwave import files
from sightwave.datasets.base import Dataset
from sightwave.errors import DataError, MissingFile, RecipeError, ShapeError, one_of
from sightwave.reading.checks import check_trials, check_unit
from sightwave.reading.gather import gather
from sightwave.reading.unpickle import load_pickle
from sightwave.stimuli import Stimuli
from sightwave.trials import Trials

CLASSES = {
    "image": ("Apple", "Car", "Dog", "Gold", "Mobile", "Rose", "Scooter", "Tiger", "Wallet", "Watch"),
    "digit": tuple("0123456789"),
    "char": tuple("ACFHJMPSTY"),
}
N_CHANNELS, N_TIMES, SFREQ = 14, 32, 128.0
N_APART = 23 * 10 * (10 * 128 // 32)  # people x classes x windows of 10 s
VOLTS = 1e-3  # smaller numbers are volts
SUBJECT = "pooled"
PLACES = ("data/eeg/{}/data.pkl", "eeg/{}/data.pkl", "{}/data.pkl")
GET = "https://github.com/ptirupat/ThoughtViz"


@dataclass(frozen=True)
class ThoughtViz(Dataset):
    """WARNING: windows of one recording lie in train and in test, and the file does not tell which.

    The file holds windows of a quarter of a second, cut from recordings of 10 s, one per person and class. Neither
    person nor recording nor time of a window is told, so nobody can split by them, and no audit can find neighbours on
    both sides. More than 9,200 windows cannot have been cut without overlap. Use it to compare with published
    numbers, and do not take its scores for decoding of new recordings.

    It is imagination after a picture, which was taken away: no window has a picture, and `stimulus_known` is False.
    `part` is that of the published split. All people are one subject, "pooled".

    Parameters
    ----------
    kind : {"image", "digit", "char"}
        What was imagined.
    ch_names : tuple of str
        The file does not name its channels; without this they are "ch01" to "ch14". `reading.montage.EMOTIV14` is the
        order in which the device sends them, which the file may or may not follow.

    Notes
    -----
    Not published, and therefore not known: the unit (taken as volts only where the numbers are as small), filters,
    the time of a window within its recording, and whether the rate of 128 Hz, which is that of the device, was kept.

    References
    ----------
    Tirupattur et al. 2018, https://doi.org/10.1145/3240508.3240641; the recordings are those of Kumar et al. 2018,
    Personal and Ubiquitous Computing 22, 185-199.
    """

    kind: str = "image"
    ch_names: tuple[str, ...] = ()

    citation = "Tirupattur et al. 2018, https://doi.org/10.1145/3240508.3240641"
    licence = "not stated"
    looks_for = "eeg/image/data.pkl (or digit, char)"
    by_hand = f"the recordings, eeg/*/data.pkl, as {GET} tells"

    def __post_init__(self) -> None:
        if self.kind not in CLASSES:
            raise RecipeError(f"ThoughtViz.kind must be one of {', '.join(CLASSES)}; got {self.kind!r}.")
        if len(self.ch_names) not in (0, N_CHANNELS):
            raise RecipeError(f"ThoughtViz.ch_names must be {N_CHANNELS} names, got {len(self.ch_names)}.")

    @classmethod
    def recognise(cls, root: Path) -> tuple[ThoughtViz, ...]:
        """Look for the file of each kind."""
        return tuple(cls(kind) for kind in CLASSES if any((root / place).exists() for place in _places(kind)))

    def subjects(self, root: Path | None) -> tuple[str, ...]:
        """Return "pooled", the only one: the file does not tell people apart."""
        self._path(root)
        return (SUBJECT,)

    def load(self, root: Path | None, subjects: tuple[str, ...]) -> tuple[Trials, Stimuli]:
        """Read all windows, training part first.

        Raises
        ------
        MissingFile, DataError, ShapeError
            Naming file and field.
        """
        path = self._path(root)
        for s in subjects:
            if s != SUBJECT:
                raise one_of("subject", s, (SUBJECT,))
        found = load_pickle(path)
        parts, eeg = [], []
        for part in ("train", "test"):
            x, label = _part(found, part, path)
            eeg.append(x)
            parts.append(pd.DataFrame({"label": [CLASSES[self.kind][k] for k in label], "part": part}))
        events = pd.concat(parts, ignore_index=True).assign(subject=SUBJECT, session="01", run="01")
        events["trial"] = events["stimulus"] = [f"{self.kind}_{i:06d}" for i in range(len(events))]
        names = self.ch_names or tuple(f"ch{i:02d}" for i in range(1, N_CHANNELS + 1))
        volts = np.concatenate(eeg)
        trials = Trials(volts, events.assign(stimulus_known=False), names, SFREQ, 0.0, "z")
        check_trials(trials, str(path))
        sd = float(np.median(volts[:: max(1, len(volts) // 1000)].std(2)))
        if sd < VOLTS:
            check_unit(sd, str(path))
            trials = replace(trials, unit="V")
        return trials, gather(trials.events, str(path), None, None)

    def left_out(self, root: Path | None) -> dict[str, str]:
        """Return nothing that `load` leaves out, but what the file leaves out: who, when, and from which recording."""
        path = self._path(root)
        found = load_pickle(path)
        n = sum(len(_part(found, part, path)[0]) for part in ("train", "test"))
        overlap = f"; {n:,} windows overlap, for 230 recordings of 10 s have {N_APART:,} without" * (n > N_APART)
        assert root is not None  # _path refuses it
        told = "does not tell person, recording or time of a window, so neighbours lie on both sides of every split"
        return {path.relative_to(root).as_posix(): told + overlap}

    def _path(self, root: Path | None) -> Path:
        if root is None:
            raise MissingFile(f"ThoughtViz is real data and needs its folder: --data DIR. Get it from {GET}.")
        files.must_exist(root, "folder")
        for place in _places(self.kind):
            if (root / place).exists():
                return root / place
        raise MissingFile(f"No ThoughtViz data in {root}: expected eeg/{self.kind}/data.pkl. Get it from {GET}.")


def _places(kind: str) -> tuple[str, ...]:
    return tuple(place.format(kind) for place in PLACES)


def _part(found: object, part: str, path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Windows of a part, shape (n, 14, 32), and the number of each one's class."""
    if not isinstance(found, dict):
        raise DataError(f"{path}: expected a dict of x_train, y_train, x_test and y_test, got {type(found).__name__}.")
    arrays = []
    for field in (f"x_{part}", f"y_{part}"):
        value = found.get(field)
        if not isinstance(value, np.ndarray) or value.dtype.kind not in "fiu":
            known = ", ".join(map(str, list(found)[:8]))
            raise DataError(f"{path}: {field!r} must be an array of numbers; the file holds {known}.")
        arrays.append(value)
    x, y = arrays
    x = x[..., 0] if x.ndim == 4 and x.shape[3] == 1 else x
    if x.ndim != 3 or x.shape[1:] != (N_CHANNELS, N_TIMES):
        turned = " The axes are swapped." if x.shape[1:] == (N_TIMES, N_CHANNELS) else ""
        raise ShapeError(
            f"{path}: 'x_{part}' must be (n, {N_CHANNELS}, {N_TIMES}) or (n, {N_CHANNELS}, {N_TIMES}, 1), got "
            f"{arrays[0].shape}.{turned}"
        )
    if y.shape != (len(x), 10) or not ((y == 0) | (y == 1)).all() or not (y.sum(1) == 1).all():
        raise DataError(
            f"{path}: 'y_{part}' must be ({len(x)}, 10) with a single 1 in each row, since 'x_{part}' has {len(x)} "
            f"windows; got shape {y.shape}."
        )
    with np.errstate(over="ignore", invalid="ignore"):  # what does not fit is infinite, and refused as such
        return x.astype(np.float32), y.argmax(1)
