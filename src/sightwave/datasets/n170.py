"""N170: faces and houses seen by five people with a four-channel Muse headset (NeuroTechX)."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from sightwave.datasets.base import Dataset
from sightwave.errors import DataError, MissingFile, one_of
from sightwave.reading.checks import check_trials
from sightwave.reading.download import Source, listed
from sightwave.reading.tables import read_number_table
from sightwave.recordings import Recording, concatenate
from sightwave.stimuli import Stimuli
from sightwave.trials import Trials

CHANNELS = ("TP9", "AF7", "AF8", "TP10")
LABELS = {1: "house", 2: "face"}
SFREQ = 256.0
PUBLISHED = "https://raw.githubusercontent.com/NeuroTechX/eeg-notebooks_v0.1/5ee39e4f91080937ead13c208a65089cbb13b7f6"
PLACES = ("data/visual/N170", "visual/N170", "N170", ".")


@dataclass(frozen=True)
class N170(Dataset):
    """Trials cut from the raw csv files; the category of each picture is known, the picture itself was not logged.

    Every trial therefore is a stimulus of its own, and `stimulus_known` is False throughout.

    Parameters
    ----------
    l_freq, h_freq : float
        Band-pass in Hz, on the continuous recording.
    tmin, tmax : float
        Seconds around the onset.
    reject_uv : float or None
        Leave out trials in which a channel's peak-to-peak amplitude exceeds this many microvolts: blinks and loose
        electrodes. It looks at voltages alone, never at labels. None keeps all.
    min_markers : int
        Runs with fewer markers are left out: the marker stream was lost.

    References
    ----------
    https://github.com/NeuroTechX/eeg-notebooks_v0.1, folder ``data/visual/N170``.
    """

    l_freq: float = 1.0
    h_freq: float = 30.0
    tmin: float = -0.1
    tmax: float = 0.8
    reject_uv: float | None = 100.0
    min_markers: int = 20

    citation = "NeuroTechX, eeg-notebooks v0.1, https://github.com/NeuroTechX/eeg-notebooks_v0.1"
    licence = "BSD-3-Clause"
    looks_for = "subject1/session1/*.csv or *.csv.gz, there or in data/visual/N170"

    @classmethod
    def recognise(cls, root: Path) -> tuple[N170, ...]:
        """Look for a recording in the places where `load` does."""
        return (cls(),) * any(next((root / p).glob("subject*/session*/*.csv*"), None) is not None for p in PLACES)

    def sources(self) -> tuple[Source, ...]:
        """Return the 19 recordings."""
        return listed(Path(__file__).with_name("n170.files.csv"), PUBLISHED)

    def subjects(self, root: Path | None) -> tuple[str, ...]:
        """Numbers of the ``subject*`` folders, as text."""
        return tuple(dict.fromkeys(_who(p)[0] for p in _files(_folder(root))))

    def load(self, root: Path | None, subjects: tuple[str, ...]) -> tuple[Trials, Stimuli]:
        """Read the usable runs of ``subjects``; `left_out` says which are not, and why.

        Raises
        ------
        MissingFile, DataError
            If there is no such folder or subject, a csv is malformed, or nothing usable is left.
        """
        folder, known = _folder(root), self.subjects(root)
        for s in subjects:
            if s not in known:
                raise one_of("subject", s, known)
        parts = []
        for recording in self._usable(folder)[0]:
            if recording.subject in subjects:
                trials = self._cut(recording)[0]
                if len(trials):
                    check_trials(trials, str(folder / recording.name))
                    parts.append(trials)
        if not parts:
            raise DataError(
                f"{folder}: no usable run for subject(s) {', '.join(subjects)}. Left out: "
                + "; ".join(f"{k}: {v}" for k, v in self.left_out(root).items() if _who(Path(k))[0] in subjects)
            )
        trials = concatenate(parts)
        table = trials.events.set_index("stimulus")[["label"]]
        return trials, Stimuli(table)

    def left_out(self, root: Path | None) -> dict[str, str]:
        """Return runs that are left out, and how many trials of the others: path within the data set -> reason."""
        usable, reasons = self._usable(_folder(root))
        for recording in usable:
            _, n_outside, n_large = self._cut(recording)
            n, why = len(recording.onsets), []
            if n_outside:
                why.append(f"{n_outside} of {n} trials leave the recording")
            if n_large:
                why.append(f"{n_large} of {n} trials exceed {self.reject_uv:g} uV peak to peak")
            if why:
                reasons[recording.name] = "; ".join(why)
        return dict(sorted(reasons.items()))

    def _usable(self, folder: Path) -> tuple[list[Recording], dict[str, str]]:
        """All runs that can be used, and why the others cannot. Every file is read, so that a copy is found."""
        usable: list[Recording] = []
        reasons: dict[str, str] = {}
        seen: dict[str, str] = {}
        for path in _files(folder):
            recording = _read(path, path.relative_to(folder).as_posix())
            digest, n = hashlib.sha256(recording.eeg.tobytes()).hexdigest(), len(recording.onsets)
            if digest in seen:
                reasons[recording.name] = f"identical to {seen[digest]}: the same recording under two names"
            elif n < self.min_markers:
                reasons[recording.name] = f"{n} marker{'s' * (n != 1)}, at least {self.min_markers} are needed"
            else:
                usable.append(recording)
            seen.setdefault(digest, recording.name)
        return usable, reasons

    def _cut(self, recording: Recording) -> tuple[Trials, int, int]:
        """Trials of one run, and how many leave the recording and how many are too large."""
        trials = recording.filter(self.l_freq, self.h_freq).epoch(self.tmin, self.tmax)
        n_outside = len(recording.onsets) - len(trials)
        if self.reject_uv is None:
            return trials, n_outside, 0
        large = np.ptp(trials.eeg, axis=2).max(1) > self.reject_uv * 1e-6
        return trials[~large], n_outside, int(large.sum())


def _folder(root: Path | None) -> Path:
    if root is None:
        raise MissingFile("N170 is real data and needs its folder: --data DIR, holding data/visual/N170/subject*.")
    for place in PLACES:
        if next((root / place).glob("subject*/session*/*.csv*"), None):
            return root / place
    raise MissingFile(
        f"No N170 recordings below {root}: expected subject*/session*/*.csv or .csv.gz there or in {PLACES[0]}. "
        f"Get them from https://github.com/NeuroTechX/eeg-notebooks_v0.1 (data/visual/N170)."
    )


def _files(folder: Path) -> list[Path]:
    found = [*folder.glob("subject*/session*/*.csv"), *folder.glob("subject*/session*/*.csv.gz")]
    return sorted(found, key=lambda p: (*(_natural(part) for part in _who(p)), p.name))


def _natural(name: str) -> tuple[int, str]:
    return (int(name), "") if name.isdigit() else (10**9, name)


def _who(path: Path) -> tuple[str, str]:
    return path.parent.parent.name.removeprefix("subject"), path.parent.name.removeprefix("session")


def _read(path: Path, name: str) -> Recording:
    table = read_number_table(path, ("timestamps", *CHANNELS, "Marker0"))
    times, markers = table["timestamps"].to_numpy(), table["Marker0"].to_numpy()
    # single stamps jitter by 50 ms (blue-tooth packets), so only the whole says the rate
    rate = (len(times) - 1) / (times[-1] - times[0]) if times[-1] > times[0] else 0.0
    if abs(rate / SFREQ - 1) > 0.02:
        raise DataError(
            f"{path}: column 'timestamps' says {rate:.1f} Hz over {len(times)} lines; expected {SFREQ:g} Hz. Are the "
            f"timestamps in seconds, and is nothing cut out?"
        )
    bad = np.flatnonzero(~np.isin(markers, (0, *LABELS)))
    if len(bad):
        raise DataError(
            f"{path}: line {bad[0] + 2}, column 'Marker0': expected 0, 1 (house) or 2 (face), got {markers[bad[0]]:g}."
        )
    at = np.flatnonzero(markers)
    subject, session = _who(path)
    stamp = re.search(r"\d{4}(-\d\d){2}-\d\d(\.\d\d){2}", path.name)
    onsets = pd.DataFrame(
        {
            "onset": at / SFREQ,
            "label": [LABELS[int(m)] for m in markers[at]],
            "stimulus": [f"{name}#{i:04d}" for i in range(len(at))],
            "stimulus_known": np.zeros(len(at), bool),
        }
    )
    volts = table[list(CHANNELS)].to_numpy().T * 1e-6
    run = stamp.group() if stamp else path.name.partition(".csv")[0]
    return Recording(volts, onsets, CHANNELS, SFREQ, name, subject, session, run)
