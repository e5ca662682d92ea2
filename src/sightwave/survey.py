"""Look at a folder: which data set it is, what it holds, and what is wrong with it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from sightwave import house
from sightwave.datasets.base import Dataset
from sightwave.errors import DataError, SightwaveError
from sightwave.judge.confounds import BlockDesign, block_design
from sightwave.reading import montage
from sightwave.reading.gather import SUFFIXES
from sightwave.report.survey import HEAD, Survey
from sightwave.stimuli import Stimuli
from sightwave.trials import Trials

ENOUGH = 2_000_000_000
"""Bytes of EEG after which no further subject is read, unless all are asked for."""
LOOKED_AT = 2000
"""Trials of a subject, evenly chosen, that make the evoked response and the channels' standard deviations."""
ROUND = ("Fpz", "F7", "F3", "Fz", "F4", "F8", "T7", "C3", "Cz", "C4", "T8", "P7", "P3", "Pz", "P4", "P8", "Oz")
"""Electrodes all over the head, to find its centre by."""


def survey(
    root: Path,
    *,
    like: str = "",
    settings: Mapping[str, str] | None = None,
    every: bool = False,
    progress: Callable[[str, int, int], None] | None = None,
) -> Survey:
    """Recognise a folder and look through it, one subject at a time.

    Parameters
    ----------
    root : Path
    like, settings
        As in `house.recognise`.
    every : bool
        Read every subject, however much that is; else no further subject once two gigabytes were read.

    Returns
    -------
    Survey
        Subjects that cannot be read are told in `wrong`.

    Raises
    ------
    MissingFile, DataError
        If the folder is not recognised, or not one subject can be read.
    """
    dataset, *others = house.recognise(root, like=like, settings=settings)
    subjects = dataset.subjects(root)
    seen = _Seen()
    small = _size(root) < ENOUGH and len(subjects) > 1
    try:
        if small:
            seen.look(subjects, *dataset.load(root, subjects))
    except DataError:
        small, seen = False, _Seen()  # one by one, it shows whose data it is
    for i, s in enumerate(subjects if not small else ()):
        if seen.n_bytes < ENOUGH or every:
            try:
                seen.look((s,), *dataset.load(root, (s,)))
            except SightwaveError as e:
                seen.wrong[s] = str(e)
                first = seen.error = seen.error or e
                if i + 1 == len(subjects) and not seen.read:
                    raise first from e
        if progress:
            progress(f"reading {root.name}", i + 1, len(subjects))
    events = pd.concat(seen.events, ignore_index=True)
    order, blocked, timed = _order(events)
    ch_names, sfreq, tmin, unit, n_times = seen.head
    left_out = dict(dataset.left_out(root))
    for other in others:
        left_out |= other.left_out(root)
    prints = list(seen.fingerprints.values())
    return Survey(
        folder=str(root.resolve()),
        recognised=_shown(dataset),
        also=tuple(f"{_shown(o)}, with {_difference(dataset, o)}" for o in others),
        citation=dataset.citation + "; see SOURCE.txt in the folder" * (root / "SOURCE.txt").exists(),
        licence=dataset.licence,
        phantom=dataset.is_phantom(root),
        subjects=subjects,
        read=tuple(seen.read),
        events=events,
        ch_names=ch_names,
        channels_known=dataset.channels_known,
        places=_places(dataset, ch_names),
        n_times=n_times,
        sfreq=sfreq,
        tmin=tmin,
        unit=unit,
        evoked=seen.evoked,
        sd=seen.sd,
        looked_at=seen.looked_at,
        order=order,
        blocked=blocked,
        timed=timed,
        pictures=seen.pictures,
        captions=seen.captions,
        # of everything in one, it is the one that results carry
        fingerprint=prints[0] if len(prints) == 1 else hashlib.sha256("".join(prints).encode()).hexdigest()[:16],
        left_out=left_out,
        wrong=seen.wrong,
    )


@dataclass(eq=False)
class _Seen:
    """What the subjects that were read so far held."""

    read: list[str] = field(default_factory=list)
    events: list[pd.DataFrame] = field(default_factory=list)
    fingerprints: dict[str, str] = field(default_factory=dict)
    evoked: dict[str, np.ndarray] = field(default_factory=dict)
    sd: dict[str, np.ndarray] = field(default_factory=dict)
    wrong: dict[str, str] = field(default_factory=dict)
    head: tuple[tuple[str, ...], float, float, str, int] = ((), 0.0, 0.0, "V", 0)
    error: SightwaveError | None = None
    n_bytes: int = 0
    looked_at: int = 0
    pictures: bool = False
    captions: bool = False

    def look(self, subjects: tuple[str, ...], trials: Trials, stimuli: Stimuli) -> None:
        """Add what these subjects' trials show."""
        head = (trials.ch_names, trials.sfreq, trials.tmin, trials.unit, trials.eeg.shape[2])
        if self.read and head != self.head:
            names = ("channels", "rate", "first time", "unit", "number of samples")
            differs = [n for n, a, b in zip(names, self.head, head, strict=True) if a != b]
            raise DataError(f"{', '.join(differs)} differ from those of subject {self.read[0]}.")
        self.head = head
        self.read += [s for s in subjects if (trials.events["subject"] == s).any()]
        self.events.append(trials.events)
        self.fingerprints["+".join(subjects)] = trials.fingerprint()
        self.n_bytes += trials.eeg.nbytes
        self.pictures |= stimuli.read is not None
        self.captions |= "captions" in stimuli.table
        who = trials.events["subject"].to_numpy()
        for s in subjects:
            rows = np.flatnonzero(who == s)
            if not len(rows):
                self.wrong[s] = "no trial can be used; what is not used says why"
                continue
            rows = rows[np.unique(np.linspace(0, len(rows) - 1, min(LOOKED_AT, len(rows))).round().astype(int))]
            total, sd = np.zeros(trials.eeg.shape[1:]), []
            for at in range(0, len(rows), 100):
                some = np.asarray(trials.eeg[rows[at : at + 100]], np.float64)
                total += some.sum(0)
                sd.append(some.std(2))
            self.evoked[s], self.sd[s] = total / max(1, len(rows)), np.median(np.concatenate(sd), axis=0)
            self.looked_at += len(rows)


def _size(root: Path) -> int:
    """Bytes of all files but pictures."""
    return sum(p.stat().st_size for p in root.rglob("*") if p.is_file() and p.suffix.lower() not in SUFFIXES)


def _order(events: pd.DataFrame) -> tuple[str, bool, bool]:
    """Say what the order of the labels gives away; whether they came in blocks, and whether the order is known."""
    if "n_averaged" in events and (events["n_averaged"] > 1).any():
        return "not known: repetitions are averaged", False, False
    if "onset" in events and events["onset"].isna().all():
        return "not known: the files do not tell when a trial was shown", False, False
    if "onset" in events:
        events = events[events["onset"].notna()].sort_values("onset", kind="stable")
    run = events["session"] + "/" + events["run"]
    designs: dict[str, BlockDesign] = {}
    for s, e in events.assign(_run=run).sort_values("_run", kind="stable").groupby("subject", sort=False):
        designs[str(s)] = block_design(e["label"].to_numpy(), e["_run"].to_numpy())
    blocked = [d for d in designs.values() if d.verdict == "blocked"]
    d = blocked[0] if blocked else next(iter(designs.values()))
    told = f"a trial's category is its neighbour's in {d.p_same:.0%} of cases, {d.expected:.0%} by chance"
    if not blocked:
        return f"intermixed: {told}", False, True
    of = f" in {len(blocked)} of {len(designs)} subjects" if len(designs) > 1 else ""
    return f"BLOCKED{of}: {told}; a decoder of time would score, so hold out whole blocks", True, True


def _shown(dataset: Dataset) -> str:
    """Name a data set with those settings of its reader that are not the usual ones."""
    usual = type(dataset)()
    changed = {k: v for k, v in vars(dataset).items() if v != getattr(usual, k)}
    told = ", ".join(f"{k}={v!r}" for k, v in changed.items())
    return house.name_of(dataset) + (f" ({told})" if told else "")


def _difference(one: Dataset, other: Dataset) -> str:
    return " ".join(f"--set {k}={v}" for k, v in vars(other).items() if v != getattr(one, k))


def _places(dataset: Dataset, ch_names: tuple[str, ...]) -> np.ndarray:
    """Return electrodes seen from above, shape (n_channels, 2), NaN where unknown: each at its angle from the top."""
    nowhere = np.full((len(ch_names), 2), np.nan)
    if not dataset.channels_known:
        return nowhere
    xyz = montage.positions(ch_names)
    system = montage.recognise(ch_names).system
    round_ = montage.positions(ROUND) if system == montage.TEN_FIVE else xyz[np.isfinite(xyz).all(1)]
    if len(round_) < 4:
        return nowhere
    # least squares: |p|^2 = 2 p.c + (r^2 - |c|^2) is linear in the centre c
    lhs = np.column_stack([2 * round_, np.ones(len(round_))])
    centre = np.linalg.lstsq(lhs, (round_**2).sum(1), rcond=None)[0][:3]
    v = xyz - centre
    angle = np.arccos(v[:, 2] / np.linalg.norm(v, axis=1))
    widest = max(np.pi / 2, float(np.nanmax(angle)))  # so that low electrodes lie within the head as well
    return HEAD * (angle / widest / np.hypot(v[:, 0], v[:, 1]).clip(1e-9))[:, None] * v[:, :2]
