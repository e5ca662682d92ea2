"""The phantom as a data set: people who look at painted pictures, with brains that we know."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd

from sightwave.datasets.base import Dataset
from sightwave.describe import key
from sightwave.errors import RecipeError, one_of
from sightwave.phantom import ideal
from sightwave.phantom.brain import Brain
from sightwave.phantom.concepts import CATEGORIES, Scene, imagine
from sightwave.phantom.features import N_FEATURES, features
from sightwave.phantom.head import CVPR128, THINGS63
from sightwave.phantom.pictures import paint
from sightwave.results import Predictions
from sightwave.stimuli import Stimuli
from sightwave.trials import Trials

# Exemplar numbers: training, test and the ideal observer's bank never meet, and the tiny CLIP learnt from 1000 on.
_TEST_FROM, _BANK_FROM, _END, _PER_BANK = 600, 800, 1000, 60
_ORDERS = ("intermixed", "blocked")
_RUN = 200
_ANSWERS = ("classify", "retrieve")


@dataclass(frozen=True)
class Phantom(Dataset):
    """Twenty categories of painted pictures, seen by simulated subjects.

    Parameters
    ----------
    n_train, n_test : int
        Pictures per category, at most 600 and 200; no test picture is a training picture.
    categories : tuple of str
        Which categories are shown.
    train_repetitions, test_repetitions : int
        Trials per picture and subject, spread evenly over the sessions.
    signal : float
        Strength of all that depends on the picture; at 0 the EEG is independent of what is shown.
    n_sessions : int
        Each has its own order, and its own place of the cap.
    ch_names : tuple of str
        Electrodes, from the 128 of `sightwave.phantom.head.CVPR128`.
    sfreq : float
        In Hz.
    n_times : int
        Samples per trial, from the onset of the picture on.
    order : {"intermixed", "blocked"}
        Of presentation within a session: at random, or all trials of a category in a row.
    wander_uv : float
        Confound: slow drift of every channel along a session, in microvolt. In a blocked order it tells categories
        apart without a brain.
    eye_uv : float
        Confound: an eye movement in every trial, from minus this many microvolt for the first category to plus as
        many for the last.
    n_subjects : int
        At most 99.
    seed : int
        Another seed, other brains, noise and orders; the pictures stay.

    Raises
    ------
    RecipeError
        If a value is out of range.
    """

    citation: ClassVar[str] = "Simulated by sightwave; no person was measured."
    licence: ClassVar[str] = "MIT"
    phantom: ClassVar[bool] = True

    n_train: int = 60
    n_test: int = 10
    categories: tuple[str, ...] = CATEGORIES
    train_repetitions: int = 4
    test_repetitions: int = 16
    signal: float = 1.4
    n_sessions: int = 2
    ch_names: tuple[str, ...] = THINGS63
    sfreq: float = 250.0
    n_times: int = 250
    order: str = "intermixed"
    wander_uv: float = 0.0
    eye_uv: float = 0.0
    n_subjects: int = 10
    seed: int = 0

    def __post_init__(self) -> None:
        whole = {"n_train": _TEST_FROM, "n_test": _BANK_FROM - _TEST_FROM, "train_repetitions": 1000,
                 "test_repetitions": 1000, "n_sessions": 99, "n_subjects": 99, "n_times": 100_000}  # fmt: skip
        for name, most in whole.items():
            low = 8 if name == "n_times" else 1
            if not low <= getattr(self, name) <= most:
                raise RecipeError(f"Phantom.{name} must lie between {low} and {most}, got {getattr(self, name)}.")
        for name in ("signal", "wander_uv", "eye_uv", "seed"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) >= 0):
                raise RecipeError(f"Phantom.{name} must be a number that is not negative, got {getattr(self, name)}.")
        if not (math.isfinite(self.sfreq) and self.sfreq > 0):
            raise RecipeError(f"Phantom.sfreq must be positive, got {self.sfreq}.")
        if self.order not in _ORDERS:
            raise RecipeError(f"Phantom.order must be one of {_ORDERS}, got {self.order!r}.")
        for name, known in (("categories", CATEGORIES), ("ch_names", CVPR128)):
            given = getattr(self, name)
            strange = [x for x in given if x not in known]
            if strange or not given or len(set(given)) < len(given):
                fault = f"unknown: {strange[:5]}" if strange else "it is empty" if not given else "some occur twice"
                raise RecipeError(f"Phantom.{name}: {fault}. Known: {', '.join(known)}.")

    def subjects(self, root: Path | None = None) -> tuple[str, ...]:
        """Return the names of the subjects, ``("01", "02", ...)``; there are no files."""
        return tuple(f"{i + 1:02d}" for i in range(self.n_subjects))

    def load(self, root: Path | None, subjects: tuple[str, ...]) -> tuple[Trials, Stimuli]:
        """Record the trials of ``subjects``, in volts, in the order of presentation.

        Events have the columns `part` ("train" or "test"), `repetition` (from 1), `onset` (s, within its run) and
        `recording` besides `trials.COLUMNS`. The same subject is the same whoever else is loaded.

        Raises
        ------
        UnknownName
            If a subject is none of `subjects`.
        """
        for s in subjects:
            if s not in self.subjects():
                raise one_of("subject of the phantom", s, self.subjects())
        world = self._world()
        rank = np.array([self.categories.index(label) for label in world["label"]])
        z = _features(tuple(world.index)) if self.signal else np.zeros((len(world), N_FEATURES), np.float32)
        sessions = [(s, *session) for s in subjects for session in self._sessions(s, world, rank)]
        n = sum(len(row) for _, _, row, _ in sessions)
        eeg, tables, start = np.empty((n, len(self.ch_names), self.n_times), np.float32), [], 0
        brains = {s: self._brain(s) for s in subjects}
        eyes = np.linspace(-self.eye_uv, self.eye_uv, len(self.categories)) if len(self.categories) > 1 else np.zeros(1)
        for s, session, row, repetition in sessions:
            out = eeg[start : start + len(row)]
            # the first session has the cap at its true place
            brains[s].record(
                z[row], seed=self.seed, session=session, clock=np.arange(len(row)), wander_uv=self.wander_uv,
                eye_uv=eyes[rank[row]] if self.eye_uv else None, out=out,
            )  # fmt: skip
            out *= 1e-6
            tables.append(self._table(s, session, world.iloc[row], repetition))
            start += len(row)
        trials = Trials(eeg, pd.concat(tables, ignore_index=True), self.ch_names, self.sfreq)
        return trials, self._stimuli(world)

    def ideal(self, predictions: Predictions, *, repetitions: float | None = None) -> np.ndarray | None:
        """Scores of the ideal observer for exactly these trials: log-likelihoods of pictures or of categories.

        It sees trials without nuisances and knows the brain, so it bounds what can be read; with no signal it guesses.
        None for tasks that are neither classification nor retrieval, or when a candidate is not of this world.
        """
        world, events = self._world(), predictions.events
        candidates, seen = [str(c) for c in predictions.candidates], events["stimulus"].astype(str)
        pictures = all(c in world.index for c in candidates)
        fits = predictions.task.startswith(_ANSWERS) and predictions.repetitions.isdigit()
        known = seen.isin(world.index).all() and events["subject"].isin(self.subjects()).all()
        if not (fits and known and (pictures or all(c in self.categories for c in candidates))):
            return None
        rng, n = np.random.default_rng([self.seed, 6]), repetitions or int(predictions.repetitions)
        if not self.signal:
            return rng.standard_normal(predictions.scores.shape).astype(np.float32)
        scores = np.empty(predictions.scores.shape, np.float32)
        z = _features(tuple(world.index))
        for s in pd.unique(events["subject"]):
            mine, brain = (events["subject"] == s).to_numpy(), self._brain(s)
            u = ideal.means(brain, z)
            x = ideal.observe(u[world.index.get_indexer(seen[mine])], repetitions=n, rng=rng)
            if pictures:
                scores[mine] = ideal.identify(x, u[world.index.get_indexer(pd.Index(candidates))], repetitions=n)
            else:
                bank = [f"{c}-{_BANK_FROM + i:04d}" for c in candidates for i in range(_PER_BANK)]
                classes = np.repeat(np.arange(len(candidates)), _PER_BANK)
                u_bank = ideal.means(brain, _features(tuple(bank)))
                scores[mine] = ideal.classify(x, u_bank, classes, len(candidates), repetitions=n)
        return scores

    def _brain(self, subject: str) -> Brain:
        return Brain(int(subject), self.ch_names, self.sfreq, self.n_times, self.signal, shared_seed=self.seed)

    def _world(self) -> pd.DataFrame:
        """Label, part and number of repetitions of every picture, by stimulus id."""
        parts = (("train", 0, self.n_train, self.train_repetitions),
                 ("test", _TEST_FROM, self.n_test, self.test_repetitions))  # fmt: skip
        rows = [
            {"stimulus": f"{c}-{first + i:04d}", "label": c, "part": part, "repetitions": repetitions}
            for part, first, n, repetitions in parts for c in self.categories for i in range(n)
        ]  # fmt: skip
        return pd.DataFrame(rows).set_index("stimulus")

    def _sessions(
        self, subject: str, world: pd.DataFrame, rank: np.ndarray
    ) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        """Yield number, rows of the world and repetition numbers of each session, in order of presentation."""
        repetitions = world["repetitions"].to_numpy()
        row = np.repeat(np.arange(len(world)), repetitions)
        nth = np.concatenate([np.arange(r) for r in repetitions])
        session = nth * self.n_sessions // np.maximum(repetitions[row], self.n_sessions)
        for k in np.unique(session):
            rng, mine = np.random.default_rng([self.seed, int(subject), int(k), 5]), np.flatnonzero(session == k)
            mine = rng.permutation(mine)
            if self.order == "blocked":
                place = rng.permutation(len(self.categories))
                mine = mine[np.argsort(place[rank[row[mine]]], kind="stable")]
            yield int(k), row[mine], nth[mine] + 1

    def _table(self, subject: str, session: int, shown: pd.DataFrame, repetition: np.ndarray) -> pd.DataFrame:
        """Events of one session: runs of about 200 trials, a trial every second, so that trials do not overlap."""
        n, name = len(shown), f"sub-{subject}_ses-{session + 1}"
        sizes = [len(part) for part in np.array_split(np.arange(n), max(1, round(n / _RUN)))]
        run = np.repeat(np.arange(len(sizes)) + 1, sizes)
        within = np.concatenate([np.arange(size) for size in sizes])
        return pd.DataFrame({
            "subject": subject, "session": str(session + 1), "run": [f"{r:02d}" for r in run],
            "stimulus": shown.index.to_numpy(), "label": shown["label"].to_numpy(), "part": shown["part"].to_numpy(),
            "repetition": repetition, "onset": within * max(1.0, self.n_times / self.sfreq),
            "recording": [f"{name}_run-{r:02d}" for r in run], "trial": [f"{name}_{i:05d}" for i in range(n)],
        })  # fmt: skip

    def _stimuli(self, world: pd.DataFrame) -> Stimuli:
        ids = tuple(world.index)
        captions = pd.Series([_scene(id_).captions for id_ in ids], index=world.index, dtype=object)
        table = world[["label"]].assign(captions=captions)
        return Stimuli(table, lambda id_: _picture(str(id_)).copy(), key({"phantom pictures": 1, "ids": ids}))


def _scene(stimulus: str) -> Scene:
    concept, _, exemplar = stimulus.rpartition("-")
    return imagine(concept, int(exemplar))


@lru_cache(maxsize=4096)  # 50 MB
def _picture(stimulus: str) -> np.ndarray:
    return paint(_scene(stimulus))


@lru_cache(maxsize=8)
def _features(ids: tuple[str, ...]) -> np.ndarray:
    return features([_scene(i) for i in ids], np.stack([_picture(i) for i in ids]))
