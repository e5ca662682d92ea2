"""The Stanford object set: ten people, 72 photographs of 6 categories, each seen 72 times in random order.

One file per person, in either of two forms::

    S1.mat ... S10.mat      X_3D (124, 32, n), categoryLabels, exemplarLabels, Fs; 0 to 496 ms
    S01.mat ... S10.mat     X (124, 40, n), labels6, labels72, fs, t in ms; -112 to 512 ms
    images/01.png, ...      optional: the photographs by their number
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sightwave import files
from sightwave.datasets.base import Dataset
from sightwave.errors import DataError, MissingFile, ShapeError, one_of
from sightwave.reading.checks import check_trials
from sightwave.reading.download import Source
from sightwave.reading.gather import gather, images_of
from sightwave.reading.worker import in_worker
from sightwave.recordings import concatenate
from sightwave.stimuli import Stimuli
from sightwave.trials import Trials

CATEGORIES = ("human body", "human face", "animal body", "animal face", "fruit or vegetable", "inanimate object")
N_PICTURES, SFREQ = 72, 62.5
FORMS = {"X_3D": ("categoryLabels", "exemplarLabels", "Fs"), "X": ("labels6", "labels72", "fs")}
FILE = r"S(\d{1,2})\.mat"
GET = "https://purl.stanford.edu/bq914sc3730"
FILES = "https://stacks.stanford.edu/file/bq914sc3730"


@dataclass(frozen=True)
class Stanford(Dataset):
    """Six categories of objects, filtered (1 to 25 Hz), cleaned, average-referenced and at 62.5 Hz, as published.

    Every picture was shown 72 times, so a split by trials has the same picture on both sides: whoever recognises the
    picture names its category, and published accuracies gain from it (https://arxiv.org/abs/2406.16902). Split by
    stimulus. Order of presentation was random, so there is no block of a class.

    Notes
    -----
    A file does not tell the two sessions of three blocks, so session and run are "01" throughout, nor which four of 128
    electrodes were left out; they are called E1 to E124, as the net has its face electrodes last. The unit is taken to
    be microvolts, as the authors' figures have it. EEGStyleGAN-ADA's own copy of the set (90 % and 10 %) is in a form
    that was not published, and is not read.

    References
    ----------
    Kaneshiro et al. 2015, https://doi.org/10.1371/journal.pone.0135697.
    """

    citation = "Kaneshiro et al. 2015, https://doi.org/10.1371/journal.pone.0135697"
    licence = "CC BY 3.0"
    looks_for = "S1.mat to S10.mat, or S01.mat to S10.mat"

    @classmethod
    def recognise(cls, root: Path) -> tuple[Stanford, ...]:
        """Look for a file by its name."""
        return (cls(),) * any(re.fullmatch(FILE, path.name) for path in root.glob("S*.mat"))

    def sources(self) -> tuple[Source, ...]:
        """Return the files of the first form, one per person; nobody published their sums."""
        return tuple(Source(f"{FILES}/S{s}.mat", f"S{s}.mat", subject=f"{s:02d}") for s in range(1, 11))

    def subjects(self, root: Path | None) -> tuple[str, ...]:
        """Numbers of the files, with two digits."""
        return tuple(_files(root))

    def load(self, root: Path | None, subjects: tuple[str, ...]) -> tuple[Trials, Stimuli]:
        """Read the trials of ``subjects``, one file after the other.

        Raises
        ------
        MissingFile, DataError, ShapeError, UnitError
            Naming file and variable.
        """
        there = _files(root)
        parts = []
        for s in subjects:
            if s not in there:
                raise one_of("subject", s, there)
            parts.append(_read(there[s], s))
            check_trials(parts[-1], str(there[s]))
        if root is None or not parts:
            raise DataError(f"{root}: no subject was asked for.")
        trials = concatenate(parts)
        return trials, gather(trials.events, str(root), images_of(root, trials.events), None)


def _files(root: Path | None) -> dict[str, Path]:
    if root is None:
        raise MissingFile(f"Stanford is real data and needs its folder: --data DIR, holding S1.mat. Get it from {GET}.")
    files.must_exist(root, "folder")
    found: dict[int, Path] = {}
    for path in sorted(root.iterdir()):
        number = re.fullmatch(FILE, path.name)
        if number:
            other = found.setdefault(int(number[1]), path)
            if other != path:
                raise DataError(f"{root} holds {other.name} and {path.name}, the same person twice. Keep one of them.")
    if not found:
        raise MissingFile(f"No Stanford object set in {root}: expected S1.mat to S10.mat. Get them from {GET}.")
    return {f"{n:02d}": found[n] for n in sorted(found)}


def _read(path: Path, subject: str) -> Trials:
    found: dict[str, np.ndarray] = in_worker(_variables, path)
    name = next((x for x in FORMS if x in found), None)
    if name is None:
        raise DataError(f"{path}: expected the variable X_3D, or X; it has neither.")
    eeg, wanted = found[name], FORMS[name]
    for field in wanted[:2]:
        if field not in found:
            raise DataError(f"{path}: no variable {field!r}, which belongs to {name}.")
    category, picture = (found[field].reshape(-1) for field in wanted[:2])
    if eeg.ndim != 3 or eeg.shape[2] != len(category):
        raise ShapeError(
            f"{path}: {name} must be (n_channels, n_times, n_trials) = (n_channels, n_times, {len(category)}), since "
            f"{wanted[0]} has {len(category)} values; got {eeg.shape}."
        )
    if len(picture) != len(category):
        raise DataError(f"{path}: {wanted[0]} has {len(category)} values, {wanted[1]} has {len(picture)}.")
    for field, values, most in ((wanted[0], category, len(CATEGORIES)), (wanted[1], picture, N_PICTURES)):
        if not np.isin(values, np.arange(1, most + 1)).all():
            raise DataError(f"{path}: {field} must be whole numbers from 1 to {most}; it has {values.min():g} to "
                            f"{values.max():g}.")  # fmt: skip
    sfreq = float(found[wanted[2]].reshape(-1)[0]) if wanted[2] in found else SFREQ
    if not 0 < sfreq < 1e5:
        raise DataError(f"{path}: {wanted[2]} must be a number of Hz, got {sfreq:g}.")
    tmin = float(found["t"].reshape(-1)[0]) / 1000 if "t" in found else 0.0
    n = len(category)
    events = pd.DataFrame({
        "subject": [subject] * n, "session": "01", "run": "01", "stimulus": [f"{int(k):02d}" for k in picture],
        "label": [CATEGORIES[int(k) - 1] for k in category], "trial": [f"S{subject}#{i:04d}" for i in range(n)],
    })  # fmt: skip
    names = tuple(f"E{i}" for i in range(1, len(eeg) + 1))
    volts = (eeg.transpose(2, 0, 1) * np.float32(1e-6)).astype(np.float32)
    return Trials(volts, events, names, sfreq, tmin)


def _variables(path: Path) -> dict[str, Any]:
    """Numbers of a MATLAB file, by name; this runs in another process."""
    from scipy.io import loadmat
    from scipy.io.matlab import matfile_version

    if matfile_version(str(path))[0] == 2:
        raise DataError(f"{path}: is of MATLAB 7.3. Save it with save(..., '-v7').")
    wanted = [*FORMS, *(v for variables in FORMS.values() for v in variables), "t"]
    found = loadmat(path, variable_names=wanted)
    numbers = {k: v for k, v in found.items() if isinstance(v, np.ndarray) and v.dtype.kind in "fiu" and v.size}
    return {k: v.astype(np.float32) if v.ndim == 3 else v.astype(np.float64) for k, v in numbers.items()}
