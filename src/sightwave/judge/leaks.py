"""Leaks: what the training side and the test side of a split share. One small function per kind; `audit` weighs them.

Each finder returns a set of names of what is shared, so that folds can be united and one name shown as an example.
Validation counts as the training side, because it chooses the epoch.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from sightwave.errors import DataError, MissingFile
from sightwave.split import Split
from sightwave.stimuli import Stimuli
from sightwave.trials import Applied, Trials

MAX_IMAGES = 2000
_LEVELS = {  # a run counts within its session; recordings of two people may bear one name
    "session": ("subject", "session"),
    "run": ("subject", "session", "run"),
    "recording": ("subject", "recording"),
}


@dataclass(frozen=True, eq=False)
class Sides:
    """One fold, as the audit sees it.

    Parameters
    ----------
    name : str
    known, test : DataFrame
        Events of train and val together, and of test.
    history : tuple of Applied
        Steps that any part went through.
    span_s : float
        Length of an epoch in seconds.
    """

    name: str
    known: pd.DataFrame
    test: pd.DataFrame
    history: tuple[Applied, ...]
    span_s: float


def sides(split: Split) -> Sides:
    """Look at a fold without opening its test trials."""
    events, rows = split.trials.events, np.concatenate([split.train_rows, split.val_rows])
    known = events.iloc[rows].reset_index(drop=True)
    span_s = split.trials.eeg.shape[2] / split.trials.sfreq
    return Sides(split.name, known, split.test.events, split.trials.history, span_s)


def same_trial(fold: Sides) -> set[str]:
    """Trials on both sides."""
    return set(fold.known["trial"]) & set(fold.test["trial"])


def same_stimulus(fold: Sides) -> set[str]:
    """Pictures on both sides; those whose identity the data set does not know are left out."""
    return _stimuli(fold.known) & _stimuli(fold.test)


def same_stimulus_by(fold: Sides) -> tuple[set[str], set[str]]:
    """Pairs of subject and picture on both sides, as text, and pictures that only other subjects were trained on."""
    own = [set(_stimulus_of(e)) for e in (fold.known, fold.test)]
    shared, mine = same_stimulus(fold), own[0] & own[1]
    return {f"{subject}/{stimulus}" for subject, stimulus in mine}, shared - {stimulus for _, stimulus in mine}


def common_stimuli(folds: Sequence[Sides]) -> tuple[int, int]:
    """Count the pictures that several subjects were shown, and all pictures."""
    events = pd.concat([part for f in folds for part in (f.known, f.test)])
    if "stimulus_known" in events:
        events = events[events["stimulus_known"].astype(bool)]
    who = events.drop_duplicates(["subject", "stimulus"]).groupby("stimulus").size()
    return int((who > 1).sum()), len(who)


def same_level(fold: Sides, column: str) -> set[str]:
    """Values of ``column`` on both sides: a subject, a session or run of a subject, a recording."""
    return set(level(fold.known, column)) & set(level(fold.test, column))


def level(events: pd.DataFrame, column: str) -> pd.Series[str]:
    """Name each trial's subject, session, run or recording, so that equal names mean the same thing."""
    columns = _LEVELS.get(column, (column,))
    if column not in events:
        return pd.Series([], dtype=str)
    name = events[columns[0]].astype(str)
    for c in columns[1:]:
        name = name + "/" + events[c].astype(str)
    return name


def overlapping(fold: Sides) -> set[str]:
    """Test trials that share samples with a training trial: same recording, onsets less than an epoch apart."""
    if "onset" not in fold.known or "onset" not in fold.test:
        return set()
    where = "recording" if "recording" in fold.known and "recording" in fold.test else "run"
    known = dict(list(fold.known.groupby(level(fold.known, where).to_numpy())))
    found: set[str] = set()
    for name, test in fold.test.groupby(level(fold.test, where).to_numpy()):
        if name not in known:
            continue
        own = known[name][~known[name]["trial"].isin(test["trial"])]  # the same trial is a leak of its own kind
        onset = np.sort(own["onset"].to_numpy(float))
        onset = np.r_[-np.inf, onset[np.isfinite(onset)], np.inf]
        at = test["onset"].to_numpy(float)
        right = np.searchsorted(onset, at).clip(1, len(onset) - 1)
        nearest = np.minimum(at - onset[right - 1], onset[right] - at)
        found |= set(test["trial"][nearest < fold.span_s - 1e-9])
    return found


def fitted_on_test(fold: Sides) -> set[str]:
    """Name the steps that learnt from a test trial."""
    trials = set(fold.test["trial"])
    return {h.step for h in fold.history if h.fitted_on is not None and not trials.isdisjoint(h.fitted_on.tolist())}


def same_caption(fold: Sides, captions: Mapping[str, str]) -> set[str]:
    """Captions that describe a training picture and another, test picture."""
    known, test = _stimuli(fold.known), _stimuli(fold.test)
    told = {captions[s] for s in known if s in captions}
    return {captions[s] for s in test - known if s in captions} & told


def same_image(fold: Sides, twins: Mapping[str, str]) -> set[str]:
    """Test pictures that were trained on under another id."""
    known, test = _stimuli(fold.known), _stimuli(fold.test)
    told = {twins[s] for s in known if s in twins}
    return {s for s in test - known if twins.get(s) in told}


def duplicated(fold: Sides, twins: Mapping[str, str]) -> set[str]:
    """Test trials whose EEG is that of a training trial with another id."""
    known: dict[str, set[str]] = defaultdict(set)
    for trial in fold.known["trial"]:
        if trial in twins:
            known[twins[trial]].add(trial)
    return {t for t in fold.test["trial"] if t in twins and known.get(twins[t], set()) - {t}}


def eeg_twins(trials: Trials) -> dict[str, str]:
    """Group trials of identical EEG: trial id -> id of the first such trial; only trials that have a twin.

    The first channel is hashed for all, whole trials only where that agrees.
    """
    ids = trials.events["trial"].to_numpy()
    first = [_hash(trials.eeg[i, 0]) for i in range(len(trials))]
    agree = pd.Series(first).duplicated(keep=False)
    return _twins({ids[i]: _hash(trials.eeg[i]) for i in np.flatnonzero(agree)})


def twin_runs(events: pd.DataFrame, twins: Mapping[str, str]) -> list[tuple[str, str]]:
    """Pairs of runs of which at least half of the trials are the same: one recording under two names."""
    where = "recording" if "recording" in events else "run"
    run = dict(zip(events["trial"], level(events, where), strict=True))
    size = pd.Series(run).value_counts()
    together: dict[str, set[str]] = defaultdict(set)
    for trial, group in twins.items():
        together[group].add(run[trial])
    count: dict[tuple[str, str], int] = defaultdict(int)
    for runs in together.values():
        ordered = sorted(runs)
        for i, a in enumerate(ordered):
            for b in ordered[i + 1 :]:
                count[a, b] += 1
    return [(a, b) for (a, b), n in sorted(count.items()) if n >= 0.5 * min(size[a], size[b])]


def image_twins(stimuli: Stimuli, ids: set[str]) -> dict[str, str]:
    """Group pictures of identical pixels; empty where pictures are absent, unreadable or too many to be cheap."""
    if stimuli.read is None or len(ids) > MAX_IMAGES:
        return {}
    try:
        return _twins({s: _hash(stimuli.image(s)) for s in sorted(ids)})
    except (DataError, MissingFile, KeyError):
        return {}  # whoever needs the pictures will say so; a classifier of EEG does not


def caption_texts(stimuli: Stimuli, ids: set[str]) -> dict[str, str]:
    """Fullest caption of each stimulus, without regard to case and spacing; short ones ("a dog") recur by nature."""
    if "captions" not in stimuli.table:
        return {}
    told = {s: stimuli.captions(s) for s in ids & set(stimuli.ids)}
    return {s: " ".join(captions[0].lower().split()) for s, captions in told.items() if captions}


def _stimulus_of(events: pd.DataFrame) -> zip[tuple[str, str]]:
    if "stimulus_known" in events:
        events = events[events["stimulus_known"].astype(bool)]
    return zip(events["subject"], events["stimulus"], strict=True)


def _stimuli(events: pd.DataFrame) -> set[str]:
    if "stimulus_known" in events:
        events = events[events["stimulus_known"].astype(bool)]
    return set(events["stimulus"])


def _hash(array: np.ndarray) -> str:
    array = np.ascontiguousarray(array)
    return hashlib.blake2b(array.data, digest_size=16, person=str(array.shape).encode()[:16]).hexdigest()


def _twins(content: Mapping[str, str]) -> dict[str, str]:
    """Name -> first name of the same content, for names that are not alone."""
    names: dict[str, list[str]] = defaultdict(list)
    for name, digest in content.items():
        names[digest].append(name)
    return {name: group[0] for group in names.values() if len(group) > 1 for name in group}
