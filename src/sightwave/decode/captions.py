"""Kept: decoded trials beside the captions they were compared with, so that every caption score can be made later.

Flow: each decoder's vectors -> `Keeper` -> arrays and facts of a `Result` -> `kept` -> `sightwave.captions`. The test
part is opened once, for the scores of the run; what is kept of it is small.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from sightwave.embeddings import Embeddings
from sightwave.errors import DataError, MissingFile, ModelMissing, RecipeError
from sightwave.results import Predictions, Result
from sightwave.stimuli import Stimuli
from sightwave.targets.base import Target
from sightwave.targets.clip import ClipImage, ClipText
from sightwave.trials import Trials

TEXT = "clip-text/"
NOISE_SAMPLES = 20_000_000
"""Numbers of noise that are made at a time: 80 MB."""


@dataclass(frozen=True, eq=False)
class Kept:
    """What a result keeps of one task that retrieves captions.

    Parameters
    ----------
    task, space : str
    events : dict of str to DataFrame
        Repetitions -> one row per decoded trial.
    vectors : dict of str to ndarray, shape (n_trials, dim)
        Repetitions -> decoded vectors.
    bank : dict of str to ndarray of int, shape (n_trials,)
        Repetitions -> which of ``banks`` each trial's decoder has.
    noise : ndarray, shape (n_trials, dim)
        What the decoders make of noise, at the most repetitions.
    nearest : ndarray of int, shape (n_trials,)
        Row of ``items``: the caption of the training trial that was decoded most alike, at the most repetitions.
    items : DataFrame
        One row per caption: `stimulus`, `label`, `text`, `first` (the picture's fullest caption), `searched`.
    banks : ndarray, shape (n_banks, n_items, dim)
        Vectors of the captions; several where each decoder has tuned a text tower of its own. Those of an ensemble, and
        its decoded vectors, are its members' side by side.
    images : Embeddings or None
        The pictures of the captions that are searched, by the image half of the same CLIP.
    untuned : ndarray, shape (n_items, dim), or None
        The captions by CLIP as it was, where the text tower was tuned or several decoders answer together: the pictures
        are compared with these.
    everything : bool
        Whether every trial searches all captions, or those of its fold's test pictures.
    prior : dict of str to int
        Class -> training trials.
    notes : tuple of str
        What could not be kept.
    """

    task: str
    space: str
    events: dict[str, pd.DataFrame]
    vectors: dict[str, np.ndarray]
    bank: dict[str, np.ndarray]
    noise: np.ndarray
    nearest: np.ndarray
    items: pd.DataFrame
    banks: np.ndarray
    images: Embeddings | None
    untuned: np.ndarray | None
    everything: bool
    prior: dict[str, int]
    notes: tuple[str, ...]

    @property
    def levels(self) -> tuple[str, ...]:
        """Numbers of repetitions, the fewest first."""
        return tuple(self.vectors)


class Keeper:
    """Collects, decoder by decoder, what `Kept` needs of one task.

    Parameters
    ----------
    task : str
    target : Target
        What makes the task's space.
    everything : bool
        Whether the gallery holds the pictures of the training part, too.
    members : int
        How many decoders answer together; their vectors come side by side, see `decode.base.joined`.
    """

    def __init__(self, task: str, target: Target, *, everything: bool = False, members: int = 1):
        self.task, self.target, self.everything, self.members = task, target, everything, members
        self._vectors: dict[int, list[np.ndarray]] = {}
        self._bank: dict[int, list[np.ndarray]] = {}
        self._noise: list[np.ndarray] = []
        self._nearest: list[np.ndarray] = []
        self._banks: dict[str, Embeddings] = {}

    def add(
        self,
        n: int,
        vectors: np.ndarray,
        targets: Embeddings,
        *,
        noise: np.ndarray | None = None,
        nearest: np.ndarray | None = None,
    ) -> None:
        """Take what one decoder made of one fold's test trials.

        Parameters
        ----------
        n : int
            Repetitions; must come in the order of the predictions.
        vectors : ndarray, shape (n_trials, dim)
        targets : Embeddings
            Every stimulus, by this decoder's tower.
        noise : ndarray, shape (n_trials, dim), or None
        nearest : ndarray of str, shape (n_trials,), or None
            Stimulus of the training trial that was decoded most alike. Both are needed at the most repetitions.
        """
        mark = hashlib.sha256(np.ascontiguousarray(targets.vectors).data).hexdigest()
        self._banks.setdefault(mark, targets)
        self._vectors.setdefault(n, []).append(vectors.astype(np.float32))
        self._bank.setdefault(n, []).append(np.full(len(vectors), list(self._banks).index(mark), np.int32))
        if noise is not None and nearest is not None:
            self._noise.append(noise.astype(np.float32))
            self._nearest.append(nearest)

    def finish(
        self, t: int, predictions: Sequence[Predictions], stimuli: Stimuli, prior: Mapping[str, int]
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Return arrays for `Result.extras`, and facts for ``Result.data["kept"]``.

        Parameters
        ----------
        t : int
            Number of the task among those that are kept.
        predictions : sequence of Predictions
            Of this task, one per number of repetitions.
        prior : mapping of str to int
            Class -> training trials.
        """
        nearest = np.concatenate(self._nearest).astype(str)
        tested = np.unique(np.concatenate([p.events["stimulus"].to_numpy().astype(str) for p in predictions]))
        searched = stimuli.ids if self.everything else tested
        ids = np.unique(np.concatenate([searched, nearest]))
        banks, notes = list(self._banks.values()), []
        rows = [(i, n, text) for i in ids for n, text in enumerate(stimuli.captions(i))]
        more = isinstance(self.target, ClipText) and self.target.phrasing == 0 and len(banks) == 1
        more = more and getattr(self.target, "tune", "frozen") == "frozen"
        if not more:
            rows = [row for row in rows if row[1] == 0]
        items = pd.DataFrame(rows, columns=["stimulus", "n", "text"])
        items["first"] = items.pop("n") == 0
        items["label"] = stimuli.table.loc[items["stimulus"], "label"].to_numpy().astype(str)
        items["searched"] = items["stimulus"].isin(set(searched))
        vectors = np.stack([bank.at(items["stimulus"].to_numpy()).vectors for bank in banks]).astype(np.float32)
        if more and not items["first"].all():
            further = ~items["first"].to_numpy()
            texts = _embed_texts(self.target, items["text"][further].tolist(), stimuli.key)
            vectors[0, further] = texts.vectors if self.members == 1 else np.tile(texts.unit(), self.members)
        tuned = getattr(self.target, "tune", "frozen") != "frozen"
        first = items["first"].to_numpy()
        place = dict(zip(items["stimulus"][first], np.flatnonzero(first), strict=True))
        arrays: dict[str, np.ndarray] = {
            f"kept.{t}.banks": vectors,
            f"kept.{t}.noise": np.concatenate(self._noise),
            f"kept.{t}.nearest": np.array([place[s] for s in nearest], np.int32),
        }
        for p, n in zip(sorted(predictions, key=lambda p: _number(p.repetitions)), sorted(self._vectors), strict=True):
            arrays[f"kept.{t}.vectors.{p.repetitions}"] = np.concatenate(self._vectors[n])
            arrays[f"kept.{t}.bank.{p.repetitions}"] = np.concatenate(self._bank[n])
        if tuned:
            arrays[f"kept.{t}.untuned"] = _untuned(self.target, stimuli.at(items["stimulus"].to_numpy()))
        elif self.members > 1:  # any member's part, for none has moved
            arrays[f"kept.{t}.untuned"] = vectors[0, :, : vectors.shape[2] // self.members]
        try:
            images = self._images(stimuli.at(searched))
            arrays[f"kept.{t}.images"] = images.vectors.astype(np.float32)
        except (DataError, MissingFile, ModelMissing, RecipeError) as e:  # no picture, or no image half
            notes.append(f"The ceiling is unknown, for the pictures cannot be embedded: {str(e).splitlines()[0]}")
        facts = {
            "task": self.task,
            "space": self.target.space,
            "items": items.to_dict("list"),
            "images": searched.tolist(),
            "everything": self.everything,
            "prior": dict(prior),
            "notes": notes,
        }
        return arrays, facts

    def _images(self, stimuli: Stimuli) -> Embeddings:
        if not isinstance(self.target, ClipText):
            raise RecipeError(f"{type(self.target).__name__} is no CLIP with an image half.")
        return ClipImage(self.target.model, device=self.target.device).embed(stimuli, ())


def kept(result: Result) -> list[Kept]:
    """Read what a result keeps of its caption tasks; none where it keeps nothing.

    Raises
    ------
    DataError
        If what is kept does not fit the predictions.
    """
    found = []
    for t, facts in enumerate(result.data.get("kept") or ()):
        predictions = {p.repetitions: p for p in result.predictions if p.task == facts["task"]}
        levels = sorted(predictions, key=_number)
        arrays = {k.removeprefix(f"kept.{t}."): v for k, v in result.extras.items() if k.startswith(f"kept.{t}.")}
        for level in levels:
            n, there = len(predictions[level]), arrays.get(f"vectors.{level}", np.empty((0, 0)))
            if len(there) != n:
                raise DataError(f"{facts['task']}: {len(there)} decoded vectors are kept for {n} trials. Run it again.")
        images = arrays.get("images")
        image_space = f"clip-image/{facts['space'].removeprefix(TEXT)}"
        found.append(Kept(
            facts["task"], facts["space"], {k: predictions[k].events for k in levels},
            {k: arrays[f"vectors.{k}"] for k in levels}, {k: arrays[f"bank.{k}"] for k in levels},
            arrays["noise"], arrays["nearest"], pd.DataFrame(facts["items"]), arrays["banks"],
            None if images is None else Embeddings(images, np.array(facts["images"]), image_space),
            arrays.get("untuned"), bool(facts["everything"]), dict(facts["prior"]), tuple(facts["notes"]),
        ))  # fmt: skip
    return found


def most_alike(queries_ND: np.ndarray, known_MD: np.ndarray, *, rows: int = 1000) -> np.ndarray:
    """Return, for each query, the row of the known vector with the highest cosine, shape (N,).

    Parameters
    ----------
    queries_ND, known_MD : ndarray, shapes (N, D) and (M, D)
    rows : int
        Queries at a time.

    >>> most_alike(np.array([[2.0, 1.0]]), np.array([[0.0, 9.0], [1.0, 0.0]])).tolist()
    [1]
    """
    unit = known_MD / np.maximum(np.linalg.norm(known_MD, axis=1, keepdims=True), 1e-12)
    parts = [(queries_ND[i : i + rows] @ unit.T).argmax(1) for i in range(0, len(queries_ND), rows)]
    return np.concatenate(parts)


def noise_like(trials: Trials, each_alone: bool, seed: int) -> Iterator[Trials]:
    """Yield trials of white noise in place of the given ones, with each subject's mean and scale of every channel.

    Parameters
    ----------
    trials : Trials
        Before any step.
    each_alone : bool
        Whether they may come a few at a time; else all at once.
    """
    rng, subject = np.random.default_rng(seed), trials.events["subject"].to_numpy()
    order = np.unique(subject, return_inverse=True)[1]
    sums = np.zeros((3, order.max() + 1, trials.eeg.shape[1]))
    size = max(1, NOISE_SAMPLES // int(np.prod(trials.eeg.shape[1:]))) if each_alone else len(trials)
    parts = [np.arange(i, min(i + size, len(trials))) for i in range(0, len(trials), size)]
    for rows in parts:
        eeg = np.asarray(trials.eeg[rows], np.float64)
        for k, of_trial in enumerate((np.ones(eeg.shape[:2]), eeg.mean(2), (eeg**2).mean(2))):
            np.add.at(sums[k], order[rows], of_trial)
    mean = sums[1] / sums[0]
    scale = np.sqrt(np.maximum(sums[2] / sums[0] - mean**2, 0))
    for rows in parts:
        some = trials[rows]
        white = rng.standard_normal(some.eeg.shape, np.float32)
        eeg = white * scale[order[rows], :, None] + mean[order[rows], :, None]
        yield replace(some, eeg=eeg.astype(np.float32))


def _number(repetitions: str) -> float:
    """Order numbers of repetitions: "2" before "16", "3-4" by its end."""
    return float(repetitions.rpartition("-")[2].rpartition("/")[2] or 1)


def _untuned(target: Any, stimuli: Stimuli) -> np.ndarray:
    """Embed first captions by the text tower as it was before training."""
    vectors: np.ndarray = replace(target, tune="frozen").embed(stimuli, ()).vectors
    return vectors


def _embed_texts(target: Target, texts: list[str], key: str) -> Embeddings:
    """Embed captions that no stimulus has as its first."""
    each = pd.DataFrame(
        {"label": "", "captions": [(text,) for text in texts]}, index=[str(n) for n in range(len(texts))]
    )
    assert isinstance(target, ClipText)  # for the type checker
    return replace(target, phrasing=0).embed(Stimuli(each, key=key), ())
