"""The phantom as a data set: people who look at painted pictures, with brains that we know."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from sightwave.datasets.base import Dataset
from sightwave.describe import key
from sightwave.errors import RecipeError, one_of
from sightwave.phantom import album, ideal
from sightwave.phantom.brain import Brain
from sightwave.phantom.concepts import CATEGORIES, nameless
from sightwave.phantom.confounds import add_neighbours
from sightwave.phantom.features import N_FEATURES
from sightwave.phantom.head import CVPR128, MSS122, THINGS63
from sightwave.phantom.pictures import paint_maps
from sightwave.phantom.tiny_clip import FIRST_CONCEPT
from sightwave.results import Predictions
from sightwave.stimuli import Stimuli
from sightwave.trials import Trials

# Exemplar numbers: training, test, the ideal observer's bank and what nobody saw never meet, and the tiny CLIP learnt
# from 1000 on.
_TEST_FROM, _BANK_FROM, _PER_BANK, _MORE_FROM = 600, 800, 60, 900
_ORDERS = ("intermixed", "blocked")
_RUN = 200
_ANSWERS = ("classify", "retrieve")
LIKE: dict[str, dict[str, Any]] = {  # options of `Phantom`, whose types they have
    "things-eeg2": {
        "signal": 1.4, "categories": 1654, "test_categories": 200, "n_train": 10, "n_test": 1,
        "train_repetitions": 4, "test_repetitions": 80, "n_sessions": 4,
    },
    "mss": {
        "signal": 0.3, "n_train": 100, "n_test": 20, "train_repetitions": 1, "test_repetitions": 1, "n_sessions": 5,
        "ch_names": MSS122, "sfreq": 1000.0, "n_times": 500, "n_subjects": 32,
    },
    "cvpr40": {
        "signal": 0.3, "categories": (*CATEGORIES, *nameless(20, start=3000)), "n_train": 40, "n_test": 10,
        "train_repetitions": 1, "test_repetitions": 1, "n_sessions": 1, "ch_names": CVPR128, "sfreq": 1000.0,
        "n_times": 500, "order": "blocked", "wander_uv": 12.0, "n_subjects": 6,
    },
}  # fmt: skip
"""Data set -> options that make the phantom like it; by its signal it is about as hard to decode as the real one."""


@dataclass(frozen=True)
class Phantom(Dataset):
    """Twenty categories of painted pictures, or any number of nameless ones, seen by simulated subjects.

    Parameters
    ----------
    n_train, n_test : int
        Pictures per category, at most 600 and 200; no test picture is a training picture.
    categories : tuple of str, or int
        What is shown: some of the twenty, or nameless concepts from "shape0000" on; a number stands for the first so
        many of these.
    test_categories : tuple of str, int or None
        What is shown in the test part: the same (None), others, or as many nameless concepts more.
    n_more : int
        Pictures per test category that nobody is shown, for galleries of concepts; at most 100.
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
    repeated : float
        Confound: share of the test pictures that are training pictures. Whoever memorises pictures scores on them.
    duplicate_runs : int
        Confound: so many runs of each subject's first session are there twice, the second time under another name.
        Whoever memorises trials scores where one of the two is held out.
    soa_s : float or None
        Confound: seconds from one onset to the next, rounded to samples. Where it is shorter than a trial, responses
        to the pictures before and after reach into it; in a blocked order they tell its category before the brain can.
        The noise is each trial's own. None leaves time enough.
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
    n_more: int = 0
    categories: tuple[str, ...] | int = CATEGORIES
    test_categories: tuple[str, ...] | int | None = None
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
    repeated: float = 0.0
    duplicate_runs: int = 0
    soa_s: float | None = None
    n_subjects: int = 10
    seed: int = 0

    def __post_init__(self) -> None:
        whole = {"n_train": _TEST_FROM, "n_test": _BANK_FROM - _TEST_FROM, "n_more": 100, "train_repetitions": 1000,
                 "test_repetitions": 1000, "n_sessions": 99, "n_subjects": 99, "n_times": 100_000}  # fmt: skip
        for name, most in whole.items():
            low = {"n_times": 8, "n_more": 0}.get(name, 1)
            if not low <= getattr(self, name) <= most:
                raise RecipeError(f"Phantom.{name} must lie between {low} and {most}, got {getattr(self, name)}.")
        for name in ("signal", "wander_uv", "eye_uv", "duplicate_runs", "seed"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) >= 0):
                raise RecipeError(f"Phantom.{name} must be a number that is not negative, got {getattr(self, name)}.")
        if not (math.isfinite(self.sfreq) and self.sfreq > 0):
            raise RecipeError(f"Phantom.sfreq must be positive, got {self.sfreq}.")
        if self.soa_s is not None and not (math.isfinite(self.soa_s) and round(self.soa_s * self.sfreq) >= 1):
            raise RecipeError(f"Phantom.soa_s must be at least one sample, {1 / self.sfreq} s, got {self.soa_s}.")
        if self.order not in _ORDERS:
            raise RecipeError(f"Phantom.order must be one of {_ORDERS}, got {self.order!r}.")
        train, test = self._concepts()
        if len({*train, *test}) > FIRST_CONCEPT:
            raise RecipeError(f"Phantom.categories: there are {FIRST_CONCEPT} nameless concepts to show.")
        shape = f"'shape0000' to 'shape{FIRST_CONCEPT - 1:04d}'"
        for name, given, known in (
            ("categories", train, CATEGORIES),
            ("test_categories", test, CATEGORIES),
            ("ch_names", self.ch_names, CVPR128),
        ):
            strange = [x for x in given if x not in known and not (known is CATEGORIES and _is_nameless(x))]
            if strange or not given or len(set(given)) < len(given):
                fault = f"unknown: {strange[:5]}" if strange else "it is empty" if not given else "some occur twice"
                also = f", {shape}" if known is CATEGORIES else ""
                raise RecipeError(f"Phantom.{name}: {fault}. Known: {', '.join(known)}{also}.")
        share = min(1.0, len(train) * self.n_train / (len(test) * self.n_test))
        if not 0 <= self.repeated <= share:
            raise RecipeError(f"Phantom.repeated must lie between 0 and {share:.3g}, got {self.repeated}.")

    @classmethod
    def like(cls, data_set: str, **options: Any) -> Phantom:
        """Make a phantom in the manner of a real data set: its design, montage, sampling and difficulty.

        Parameters
        ----------
        data_set : {"things-eeg2", "mss", "cvpr40"}
            What follows are parameters of `Phantom` that shall differ, e.g. ``categories=200`` for a smaller one.

        Raises
        ------
        UnknownName, RecipeError
            If there is no such data set, or a value is out of range.

        >>> Phantom.like("things-eeg2", test_repetitions=20).categories
        1654
        """
        if data_set not in LIKE:
            raise one_of("data set that the phantom is like", data_set, LIKE)
        return cls(**(LIKE[data_set] | options))

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
        rank, labels = pd.factorize(world["label"])
        eyes = np.linspace(-self.eye_uv, self.eye_uv, len(labels)) if len(labels) > 1 else np.zeros(1)
        z = self.features(world["stimulus"].to_numpy())
        plan = [(s, session, row, self._table(s, session, world.iloc[row], repetition))
                for s in subjects for session, row, repetition in self._sessions(s, world, rank)]  # fmt: skip
        events = pd.concat([table for *_, table in plan], ignore_index=True)
        eeg, start = np.empty((len(events), len(self.ch_names), self.n_times), np.float32), 0
        brains = {s: self._brain(s) for s in subjects}
        for s, session, row, table in plan:
            stop = start + len(row)
            out = eeg[start:stop]
            # the first session has the cap at its true place
            brains[s].record(
                z[row], seed=self.seed, session=session, clock=np.arange(len(row)), wander_uv=self.wander_uv,
                eye_uv=eyes[rank[row]] if self.eye_uv else None, out=out,
            )  # fmt: skip
            if self.soa_s is not None:
                run = table["run"].to_numpy()[: len(row)]
                add_neighbours(out, brains[s], z[row], run, soa_s=self.soa_s, session=session)
            out *= 1e-6
            start += len(table)
            eeg[stop:start] = out[: len(table) - len(row)]  # runs that are there twice
        return Trials(eeg, events, self.ch_names, self.sfreq), self._stimuli(world)

    def features(self, stimuli: np.ndarray) -> np.ndarray:
        """Return the true features of pictures, (n, N_FEATURES) float32; zeros when the brain does not see them."""
        if not self.signal:
            return np.zeros((len(stimuli), N_FEATURES), np.float32)
        return album.features_of(tuple(map(str, stimuli)))

    def ideal(self, predictions: Predictions, *, repetitions: float | None = None) -> np.ndarray | None:
        """Scores of the ideal observer for exactly these trials: log-likelihoods of pictures or of categories.

        It sees trials without nuisances and knows the brain, so it bounds what can be read; with no signal it guesses.
        None for tasks that are neither classification nor retrieval, or when a candidate is not of this world.
        """
        ids, events = pd.Index(self._world()["stimulus"].unique()), predictions.events
        names = {name for part in self._concepts() for name in part}
        candidates, seen = [str(c) for c in predictions.candidates], events["stimulus"].astype(str)
        pictures = all(c in ids for c in candidates)
        fits = predictions.task.startswith(_ANSWERS) and predictions.repetitions.isdigit()
        known = seen.isin(ids).all() and events["subject"].isin(self.subjects()).all()
        if not (fits and known and (pictures or all(c in names for c in candidates))):
            return None
        rng, n = np.random.default_rng([self.seed, 6]), repetitions or int(predictions.repetitions)
        if not self.signal:
            return rng.standard_normal(predictions.scores.shape).astype(np.float32)
        scores = np.empty(predictions.scores.shape, np.float32)
        z = self.features(ids.to_numpy())
        for s in pd.unique(events["subject"]):
            mine, brain = (events["subject"] == s).to_numpy(), self._brain(s)
            u = ideal.means(brain, z)
            x = ideal.observe(u[ids.get_indexer(seen[mine])], repetitions=n, rng=rng)
            if pictures:
                scores[mine] = ideal.identify(x, u[ids.get_indexer(pd.Index(candidates))], repetitions=n)
            else:
                bank = [f"{c}-{_BANK_FROM + i:04d}" for c in candidates for i in range(_PER_BANK)]
                classes = np.repeat(np.arange(len(candidates)), _PER_BANK)
                u_bank = ideal.means(brain, album.features_of(tuple(bank)))
                scores[mine] = ideal.classify(x, u_bank, classes, len(candidates), repetitions=n)
        return scores

    def _brain(self, subject: str) -> Brain:
        return Brain(int(subject), self.ch_names, self.sfreq, self.n_times, self.signal, shared_seed=self.seed)

    def _concepts(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Names of what is shown in the training and in the test part."""
        first = self.categories if isinstance(self.categories, int) else 0
        train = nameless(self.categories) if isinstance(self.categories, int) else self.categories
        if self.test_categories is None:
            return train, train
        if isinstance(self.test_categories, int):
            return train, nameless(self.test_categories, start=first)
        return train, self.test_categories

    def _world(self) -> pd.DataFrame:
        """Stimulus, label, part and number of repetitions, one row per picture and part."""
        train, test = (
            np.array([[f"{c}-{first + i:04d}" for i in range(n)] for c in names], object)
            for names, first, n in zip(self._concepts(), (0, _TEST_FROM), (self.n_train, self.n_test), strict=True)
        )
        # the first pictures of every category are the first to be repeated
        n_repeated = round(self.repeated * test.size)
        test.T.flat[:n_repeated] = train.T.ravel()[:n_repeated]
        ids = [*train.flat, *test.flat]
        sizes = (train.size, test.size)
        return pd.DataFrame({
            "stimulus": ids, "label": [i.rpartition("-")[0] for i in ids], "part": np.repeat(["train", "test"], sizes),
            "repetitions": np.repeat([self.train_repetitions, self.test_repetitions], sizes),
        })  # fmt: skip

    def _sessions(
        self, subject: str, world: pd.DataFrame, rank: np.ndarray
    ) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        """Yield number, rows of the world and repetition numbers of each session, in order of presentation."""
        repetitions = world["repetitions"].to_numpy()
        row = np.repeat(np.arange(len(world)), repetitions)
        nth = np.concatenate([np.arange(r) for r in repetitions])
        # where there are fewer repetitions than sessions, the pictures of a category take turns
        turn = np.where(repetitions < self.n_sessions, world.groupby(["part", "label"]).cumcount(), 0)
        session = (nth * self.n_sessions // repetitions[row] + turn[row]) % self.n_sessions
        for k in np.unique(session):
            rng, mine = np.random.default_rng([self.seed, int(subject), int(k), 5]), np.flatnonzero(session == k)
            mine = rng.permutation(mine)
            if self.order == "blocked":
                place = rng.permutation(rank.max() + 1)
                mine = mine[np.argsort(place[rank[row[mine]]], kind="stable")]
            yield int(k), row[mine], nth[mine] + 1

    def _table(self, subject: str, session: int, shown: pd.DataFrame, repetition: np.ndarray) -> pd.DataFrame:
        """Events of one session: runs of about 200 trials, and then those that are there twice once more."""
        sizes = [len(part) for part in np.array_split(np.arange(len(shown)), max(1, round(len(shown) / _RUN)))]
        if self.soa_s is None:
            apart = max(1.0, self.n_times / self.sfreq)
        else:
            apart = round(self.soa_s * self.sfreq) / self.sfreq
        twice = sizes[: self.duplicate_runs] if session == 0 else []
        again = np.r_[np.arange(len(shown)), np.arange(sum(twice))]
        name, sizes = f"sub-{subject}_ses-{session + 1}", [*sizes, *twice]
        run = [f"{r:02d}" for r in np.repeat(np.arange(len(sizes)) + 1, sizes)]
        return pd.DataFrame({
            "subject": subject, "session": str(session + 1), "run": run,
            **{c: shown[c].to_numpy()[again] for c in ("stimulus", "label", "part")}, "repetition": repetition[again],
            "onset": np.concatenate([np.arange(size) for size in sizes]) * apart,
            "recording": [f"{name}_run-{r}" for r in run], "trial": [f"{name}_{i:05d}" for i in range(len(run))],
        })  # fmt: skip

    def _stimuli(self, world: pd.DataFrame) -> Stimuli:
        pictures = world.drop_duplicates("stimulus").set_index("stimulus")[["label"]]
        more = [f"{c}-{_MORE_FROM + i:04d}" for c in self._concepts()[1] for i in range(self.n_more)]
        unseen = pd.DataFrame({"label": [i.rpartition("-")[0] for i in more]}, index=more)
        pictures = pd.concat([pictures, unseen])
        captions = pd.Series([album.scene(i).captions for i in pictures.index], index=pictures.index, dtype=object)
        what = {"phantom pictures": album.code(), "ids": tuple(pictures.index)}
        table = pictures.assign(captions=captions)
        return Stimuli(table, lambda i: album.picture(str(i)).copy(), key(what),
                       lambda i: paint_maps(album.scene(str(i)))[1])  # fmt: skip


def _is_nameless(concept: str) -> bool:
    return bool(re.fullmatch(r"shape\d{4}", concept)) and int(concept[5:]) < FIRST_CONCEPT
