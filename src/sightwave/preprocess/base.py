"""What a preprocessing step is: fitted on the training part, applied to all, written down for the audit."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Self

import numpy as np

from sightwave.cache import cached
from sightwave.describe import key
from sightwave.errors import RecipeError
from sightwave.ondisk import OnDisk
from sightwave.trials import Applied, Trials

CHUNK_SAMPLES = 4_000_000
"""Numbers (trials x channels x times) that are worked on at a time, in double precision: 32 MB an array."""


@dataclass(frozen=True)
class Step(ABC):
    """One step. Write `apply`; write `fit` too when the step learns something.

    Attributes
    ----------
    train_only : bool
        Applied to train and val, never to test (how test trials are averaged is `Recipe.repetitions`).
    each_alone : bool
        The outcome of a trial depends on it alone, and on what was learnt; so where the trials lie on disk, `apply`
        sees a few of them at a time, when they are needed. Else `apply` must know `OnDisk`.
    """

    train_only: ClassVar[bool] = False
    each_alone: ClassVar[bool] = True

    def fit(self, train: Trials) -> Self:
        """Return a step ready to apply; this one learns nothing."""
        return self

    @abstractmethod
    def apply(self, trials: Trials) -> Trials:
        """Return the trials after this step."""

    def __call__(self, trials: Trials) -> Trials:
        """Apply, and write down what the step was fitted on, for the audit."""
        late = isinstance(trials.eeg, OnDisk) and self.each_alone
        done = self._when_asked(trials) if late else self.apply(trials)
        if done.history is not trials.history:  # the step has written its own line
            return done
        return replace(done, history=(*trials.history, Applied(type(self).__name__, getattr(self, "_fitted_on", None))))

    def fit_once(self, train: Trials) -> Self:
        """Fit; what was learnt from trials on disk is kept in the cache, since a pass over them takes minutes."""
        if not isinstance(train.eeg, OnDisk) or type(self).fit is Step.fit:
            return self.fit(train)
        arrays = cached(f"fit-{type(self).__name__.lower()}", [self, train.key], lambda: _learnt(self.fit(train)))
        found: dict[str, Any] = {}
        for said, array in arrays.items():
            field, *group = json.loads(said)
            if group:
                found.setdefault(field, {})[tuple(group[0])] = array
            else:
                found[field] = array
        if "_fitted_on" in {f.name for f in fields(self)}:
            found["_fitted_on"] = train.events["trial"].to_numpy()
        return replace(self, **found)

    def _when_asked(self, trials: Trials) -> Trials:
        """Apply to no trial now, to learn what becomes of the rest, and to the others when they are gathered."""
        # ids are made anew, since a trial may be asked for twice
        source, events = trials.eeg, trials.events.drop(columns="trial")
        assert isinstance(source, OnDisk)  # for the type checker

        def some(rows: np.ndarray) -> Trials:
            done = self.apply(replace(trials, eeg=source[rows], events=events.iloc[rows]))
            if len(done) != len(rows):
                raise RecipeError(
                    f"{type(self).__name__} makes {len(done)} trials of {len(rows)}, so trials on disk cannot go "
                    "through it a few at a time. Set each_alone = False and let `apply` know OnDisk."
                )
            return done

        head = some(np.arange(min(1, len(trials))))
        shape, name = (len(trials), *head.eeg.shape[1:]), key([trials.key, self, _learnt(self)])
        eeg = OnDisk(shape, head.eeg.dtype, lambda rows: some(rows).eeg, name)
        return replace(head, eeg=eeg.as_eeg(), events=trials.events)


def _learnt(step: Step) -> dict[str, np.ndarray]:
    """Name what was learnt by field and, where that is a dict, by group; the ids learnt from are left out."""
    out = {}
    for f in fields(step):
        value = getattr(step, f.name)
        if not f.name.startswith("_") or f.name == "_fitted_on" or value is None:
            continue
        groups = value.items() if isinstance(value, dict) else [((), value)]
        for group, array in groups:
            if not isinstance(array, np.ndarray):
                raise RecipeError(
                    f"{type(step).__name__}.{f.name} holds a {type(array).__name__}. What a step learns from trials on "
                    "disk is cached, so it must be an array, or a dict from tuples of text to arrays."
                )
            out[json.dumps([f.name, group] if isinstance(value, dict) else [f.name])] = array
    return out


def chunks(eeg: np.ndarray) -> list[slice]:
    """Cut ``eeg``, shape (n_trials, n_channels, n_times), into runs of trials of at most `CHUNK_SAMPLES` numbers."""
    size = max(1, CHUNK_SAMPLES // max(1, eeg.shape[1] * eeg.shape[2]))
    return [slice(start, start + size) for start in range(0, len(eeg), size)]


def by_chunks(eeg: np.ndarray, work: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Work on a few trials at a time, so that beside the result only a chunk is in memory.

    Parameters
    ----------
    eeg : ndarray, shape (n_trials, n_channels, n_times)
        May be a memory map, and half precision.
    work : callable
        Takes float64 of shape (n, n_channels, n_times), returns (n, any, any); n may be 0.

    Returns
    -------
    ndarray, shape (n_trials, any, any), float32
    """
    out = np.empty((len(eeg), *work(np.asarray(eeg[:0], np.float64)).shape[1:]), np.float32)
    for part in chunks(eeg):
        out[part] = work(np.asarray(eeg[part], np.float64))
    return out
