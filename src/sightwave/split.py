"""Split: one fold of trials, its test part sealed; Splitter: Trials -> folds. `splits` holds the ways to split."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd

from sightwave.errors import RecipeError, SealError
from sightwave.trials import PLURAL, Trials

Mask = np.ndarray


class Sealed:
    """Test trials that nobody has looked at.

    Their `events` may be read, because the audit needs them; their EEG is reached only through
    `judge.sealed.open_test`, which writes each opening down.

    Parameters
    ----------
    trials : Trials
        All trials of the data set; they are not copied before the seal is broken.
    rows : ndarray of int, shape (n_sealed,)
        Which of them are sealed.
    """

    def __init__(self, trials: Trials, rows: np.ndarray):
        self._trials, self._rows = trials, rows

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def events(self) -> pd.DataFrame:
        """Events of the test trials."""
        return self._trials.events.iloc[self._rows].reset_index(drop=True)

    @property
    def eeg(self) -> np.ndarray:
        """Refuse: raises `SealError`."""
        raise SealError("The test trials are sealed. Open them with judge.sealed.open_test, which writes it down.")

    def break_seal(self, witness: Callable[[Trials], None]) -> Trials:
        """Return the trials after ``witness`` has written it down; for `judge.sealed` alone."""
        trials = self._trials[self._rows]
        witness(trials)
        return trials


@dataclass(frozen=True, eq=False)
class Split:
    """One fold: what is trained on, what may choose the epoch, and what is sealed.

    It holds row numbers, not copies: ten folds of a data set cost no more memory than one.

    Parameters
    ----------
    name : str
        Says which fold this is: ``"sub-01 run-03"``.
    trials : Trials
        All trials.
    train_rows, val_rows, test_rows : ndarray of int, shape (n_rows,)
        `val_rows` may be empty.
    """

    name: str
    trials: Trials
    train_rows: np.ndarray
    val_rows: np.ndarray
    test_rows: np.ndarray

    @property
    def train(self) -> Trials:
        """The training trials: a new copy at each call."""
        return self.trials[self.train_rows]

    @property
    def val(self) -> Trials:
        """The validation trials, maybe none: a new copy at each call."""
        return self.trials[self.val_rows]

    @property
    def test(self) -> Sealed:
        """The test trials, sealed."""
        return Sealed(self.trials, self.test_rows)


@dataclass(frozen=True)
class Splitter(ABC):
    """Trials -> folds. ``holds_out`` names the columns whose values must never be on both sides."""

    holds_out: ClassVar[tuple[str, ...]] = ("trial",)

    def choose(self, trials: Trials) -> Splitter:
        """Return the splitter that fits these trials: this one."""
        return self

    @abstractmethod
    def parts(self, trials: Trials) -> Iterator[tuple[str, Mask, Mask, Mask]]:
        """Yield name and boolean masks of train, val and test, one tuple per fold."""

    def __call__(self, trials: Trials) -> list[Split]:
        """Split; an empty train or test part is a `RecipeError` that says which."""
        folds = []
        for name, train, val, test in self.parts(trials):
            for part, mask in (("train", train), ("test", test)):
                if not mask.any():
                    raise RecipeError(
                        f"{type(self).__name__}: the {part} part of fold {name!r} is empty. {_counts(trials)}"
                    )
            folds.append(Split(name, trials, *(np.flatnonzero(mask) for mask in (train, val, test))))
        if not folds:
            raise RecipeError(f"{type(self).__name__} yields no fold. {_counts(trials)}")
        return folds


def _counts(trials: Trials) -> str:
    said = []
    for c in ("subject", "session", "run", "stimulus"):
        there = pd.unique(trials.events[c])
        names = f" ({', '.join(map(repr, map(str, there)))})" if c == "session" and len(there) < 9 else ""
        said.append(f"{len(there)} {PLURAL[c]}{names}")
    return f"There are {', '.join(said)}."
