"""The ways to split: by stimulus, concept, session, run or subject, as published or as recorded.

What may not be shared between the parts is the audit's business.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pandas as pd

from sightwave.errors import DataError, RecipeError
from sightwave.split import Mask, Splitter
from sightwave.trials import Trials


def _by_subject(trials: Trials, joint: bool) -> Iterator[tuple[str, Mask]]:
    if joint:
        yield "all subjects", np.ones(len(trials), bool)
    else:
        code, names = pd.factorize(trials.events["subject"])
        for i, s in enumerate(names):
            yield f"sub-{s}", code == i


def _each_in_turn(trials: Trials, word: str, values: pd.Series[str]) -> Iterator[tuple[str, Mask, Mask, Mask]]:
    none = np.zeros(len(trials), bool)
    for name, mine in _by_subject(trials, False):
        own = pd.unique(values[mine])
        for value in own if len(own) > 1 else []:
            test = mine & (values == value).to_numpy()
            yield f"{name} {word}-{value}", mine & ~test, none, test


def _isin(trials: Trials, column: str, values: object) -> Mask:
    return trials.events[column].isin(values).to_numpy()  # type: ignore[arg-type]


def _share(values: np.ndarray, shares: tuple[float, ...], seed: int) -> list[np.ndarray]:
    """Disjoint random parts of unique values, one per share; the rest comes last."""
    values = np.array(sorted(set(values)))
    order, start, parts = np.random.default_rng(seed).permutation(len(values)), 0, []
    for share in shares:
        n = max(1, round(share * len(values))) if share else 0
        parts.append(values[order[start : start + n]])
        start += n
    return [*parts, values[order[start:]]]


def _validate(trials: Trials, train: Mask, share: float, by: str, seed: int) -> tuple[Mask, Mask]:
    """Take a share of the training part's stimuli, or of its labels, out of it to validate."""
    if by not in ("stimulus", "label"):
        raise RecipeError(f"val_by must be 'stimulus' or 'label' (whole concepts), got {by!r}.")
    if not share:
        return train, np.zeros(len(trials), bool)
    ids = _share(trials.events[by].to_numpy()[train], (share,), seed)[0]
    val = train & _isin(trials, by, ids)
    return train & ~val, val


@dataclass(frozen=True)
class ByStimulus(Splitter):
    """Hold out whole stimuli: none of the test pictures was seen in training.

    Parameters
    ----------
    test, val : float
        Shares of the stimuli, drawn within each label so that every label is in every part.
    joint : bool
        Train all subjects together; otherwise each subject alone.
    """

    test: float = 0.2
    val: float = 0.1
    seed: int = 0
    joint: bool = False
    holds_out: ClassVar[tuple[str, ...]] = ("trial", "stimulus")

    def parts(self, trials: Trials) -> Iterator[tuple[str, Mask, Mask, Mask]]:
        """Yield one fold per subject, or one in all."""
        chosen: tuple[list[str], list[str]] = ([], [])
        for i, (_, rows) in enumerate(trials.events.groupby("label")):
            for part, ids in zip(
                chosen, _share(rows["stimulus"].to_numpy(), (self.test, self.val), self.seed + i), strict=False
            ):
                part.extend(ids)
        test, val = (_isin(trials, "stimulus", ids) for ids in chosen)
        for name, mine in _by_subject(trials, self.joint):
            yield name, mine & ~test & ~val, mine & val, mine & test


@dataclass(frozen=True)
class Published(Splitter):
    """The split that the data set's authors published, in the events' column `part`.

    Parameters
    ----------
    val : float
        Share of the training part that validates, where the authors published no validation part.
    joint : bool
        Train all subjects together; otherwise each subject alone.
    val_by : {"stimulus", "label"}
        Whether ``val`` is a share of the stimuli, or of the labels, with all their stimuli: where the test part shows
        concepts that were never trained on, only held-out concepts validate for the same question.
    """

    val: float = 0.0
    seed: int = 0
    joint: bool = False
    val_by: str = "stimulus"
    holds_out: ClassVar[tuple[str, ...]] = ("trial", "stimulus")

    def parts(self, trials: Trials) -> Iterator[tuple[str, Mask, Mask, Mask]]:
        """Yield one fold per subject, or one in all; ``val`` takes a share of the training part."""
        train, val, test = _published(trials, "Published")
        if not val.any():
            train, val = _validate(trials, train, self.val, self.val_by, self.seed)
        for name, mine in _by_subject(trials, self.joint):
            yield name, mine & train, mine & val, mine & test


def _published(trials: Trials, name: str) -> tuple[Mask, Mask, Mask]:
    if "part" not in trials.events:
        raise DataError(f"{name}: the events have no column 'part'. Use ByStimulus, BySession or LeaveOneRunOut.")
    train, val, test = (_isin(trials, "part", [p]) for p in ("train", "val", "test"))
    return train, val, test


@dataclass(frozen=True)
class ByConcept(Splitter):
    """Hold out whole concepts (labels): neither a test picture nor another of its concept was seen in training.

    Parameters
    ----------
    test, val : float
        Shares of the concepts.
    joint : bool
        Train all subjects together; otherwise each subject alone.
    """

    test: float = 0.2
    val: float = 0.1
    seed: int = 0
    joint: bool = False
    holds_out: ClassVar[tuple[str, ...]] = ("trial", "stimulus", "label")

    def parts(self, trials: Trials) -> Iterator[tuple[str, Mask, Mask, Mask]]:
        """Yield one fold per subject, or one in all."""
        test, val = (
            _isin(trials, "label", some)
            for some in _share(trials.events["label"].to_numpy(), (self.test, self.val), self.seed)[:2]
        )
        for name, mine in _by_subject(trials, self.joint):
            yield name, mine & ~test & ~val, mine & val, mine & test


@dataclass(frozen=True)
class BySession(Splitter):
    """Hold out whole sessions, by name: ``BySession(val=("4",), test=("5",))``; ``joint`` trains subjects together."""

    test: tuple[str, ...]
    val: tuple[str, ...] = ()
    joint: bool = False
    holds_out: ClassVar[tuple[str, ...]] = ("trial", "session")

    def parts(self, trials: Trials) -> Iterator[tuple[str, Mask, Mask, Mask]]:
        """Yield one fold per subject, or one in all."""
        test, val = _isin(trials, "session", self.test), _isin(trials, "session", self.val)
        for name, mine in _by_subject(trials, self.joint):
            yield name, mine & ~test & ~val, mine & val, mine & test


@dataclass(frozen=True)
class NewImages(Splitter):
    """Any split, with the pictures of each test part held out as well: what was tested is in no training trial.

    Training, and then validation, lose the trials whose picture is tested, whoever saw it. Beside the split itself it
    tells how much of a score is memory of pictures.

    Parameters
    ----------
    split : Splitter
    """

    split: Splitter

    @property
    def holds_out(self) -> tuple[str, ...]:  # type: ignore[override]
        """What the split holds out, and pictures."""
        return tuple(dict.fromkeys((*self.split.holds_out, "stimulus")))

    def choose(self, trials: Trials) -> Splitter:
        """Return the same around the splitter that fits these trials."""
        return replace(self, split=self.split.choose(trials))

    def parts(self, trials: Trials) -> Iterator[tuple[str, Mask, Mask, Mask]]:
        """Yield the folds of the split, without the trials that show a picture of a later part."""
        stimulus = trials.events["stimulus"].to_numpy()
        for name, train, val, test in self.split.parts(trials):
            tested = _isin(trials, "stimulus", set(stimulus[test]))
            chosen_by = _isin(trials, "stimulus", set(stimulus[val & ~tested]))
            yield name, train & ~tested & ~chosen_by, val & ~tested, test


@dataclass(frozen=True)
class LeaveOneRunOut(Splitter):
    """Within each subject, test on one run and train on the others, each run in turn.

    A subject with a single run is left out; `run` counts within `session`.
    """

    holds_out: ClassVar[tuple[str, ...]] = ("trial", "run")

    def parts(self, trials: Trials) -> Iterator[tuple[str, Mask, Mask, Mask]]:
        """Yield one fold per run of each subject with at least two."""
        yield from _each_in_turn(trials, "run", trials.events["session"] + "/" + trials.events["run"])


@dataclass(frozen=True)
class LeaveOneSessionOut(Splitter):
    """Within each subject, test on one session and train on the others; a subject with one session is left out."""

    holds_out: ClassVar[tuple[str, ...]] = ("trial", "session")

    def parts(self, trials: Trials) -> Iterator[tuple[str, Mask, Mask, Mask]]:
        """Yield one fold per session of each subject with at least two."""
        yield from _each_in_turn(trials, "ses", trials.events["session"])


@dataclass(frozen=True)
class LeaveOneSubjectOut(Splitter):
    """Test on one subject and train on all others, each subject in turn.

    Parameters
    ----------
    stimuli_too : float
        Share of stimuli that are also held out: they leave training, and the test part keeps only them.
        0 leaves the stimuli shared, which the audit reports.
    published : bool
        Instead, train on the published training part of the others, and test on the published test part of the one that
        is left out: neither the person nor the picture was seen. The usual protocol of THINGS-EEG2.
    val : float
        Share of the training part that validates: of the other subjects, and never their test pictures, which would
        tell of the test part what it must not (a published habit).
    val_by : {"stimulus", "label"}
        See `Published`.
    """

    stimuli_too: float = 0.0
    seed: int = 0
    published: bool = False
    val: float = 0.0
    val_by: str = "label"
    holds_out: ClassVar[tuple[str, ...]] = ("trial", "subject")

    def __post_init__(self) -> None:
        if self.published and self.stimuli_too:
            raise RecipeError("LeaveOneSubjectOut holds out stimuli as published, or a share stimuli_too; not both.")

    def parts(self, trials: Trials) -> Iterator[tuple[str, Mask, Mask, Mask]]:
        """Yield one fold per subject."""
        known = held = np.ones(len(trials), bool)
        if self.published:
            known, _, held = _published(trials, "LeaveOneSubjectOut")
        elif self.stimuli_too:
            ids = _share(trials.events["stimulus"].to_numpy(), (self.stimuli_too,), self.seed)[0]
            held = _isin(trials, "stimulus", ids)
            known = ~held
        known, val = _validate(trials, known, self.val, self.val_by, self.seed)
        for name, mine in _by_subject(trials, False):
            yield name, ~mine & known, ~mine & val, mine & held


@dataclass(frozen=True)
class Shuffled(Splitter):
    """Draw single trials at random, whatever they share: the habit that block designs turn into 90 %.

    It exists to show what the audit catches.
    """

    test: float = 0.2
    seed: int = 0

    def parts(self, trials: Trials) -> Iterator[tuple[str, Mask, Mask, Mask]]:
        """Yield one fold per subject."""
        none = np.zeros(len(trials), bool)
        test = np.random.default_rng(self.seed).random(len(trials)) < self.test
        for name, mine in _by_subject(trials, False):
            yield name, mine & ~test, none, mine & test


@dataclass(frozen=True)
class AsRecorded(Splitter):
    """The strictest split that a recording allows, for data that come without a protocol.

    The published parts when the events have a column `part`; else leave one run out when every subject has at least
    two runs; else whole stimuli are held out.
    """

    def choose(self, trials: Trials) -> Splitter:
        """Return the splitter that is used; the result's record names it."""
        if "part" in trials.events:
            return Published()
        runs = (trials.events["session"] + "/" + trials.events["run"]).groupby(trials.events["subject"]).nunique()
        return LeaveOneRunOut() if (runs > 1).all() else ByStimulus(val=0.0)

    def parts(self, trials: Trials) -> Iterator[tuple[str, Mask, Mask, Mask]]:
        """Yield the folds of the chosen splitter."""
        yield from self.choose(trials).parts(trials)
