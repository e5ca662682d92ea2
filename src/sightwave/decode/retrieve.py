"""Retrieve: rank a gallery of pictures or captions for every trial."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from sightwave.decode import modes
from sightwave.decode.base import Decoded, Metric, Task
from sightwave.decode.question import ANY_OF, ASSIGNMENT, CSLS, SEPARATOR, TEMPLATE, WHITENING
from sightwave.embeddings import Embeddings
from sightwave.errors import DataError, RecipeError, one_of
from sightwave.metrics.retrieval import (
    assigned_at_1,
    best_of_spaces,
    mean_reciprocal_rank,
    median_rank,
    rank_of_each,
    recall_at,
)
from sightwave.results import Predictions

MODES = ("exact", "template", "images", "csls", "whitened", "assigned")
OF_CONCEPTS = ("template", "images")


@dataclass(frozen=True)
class Retrieve(Task):
    """Which picture, or which caption, was seen: cosine similarity in ``space`` to every item of the gallery.

    The gallery holds each stimulus once; a trial's own stimulus is its one right answer. Two stimuli with the same
    caption tie, and ties count against the trial. That is the headline, mode "exact", and what one trial alone can say.
    Every other mode is another question, named as such in every table:

    ==============  =============  ===============================================================
    mode            candidates     score
    ==============  =============  ===============================================================
    ``"exact"``     test pictures  cosine to the very picture
    ``"template"``  concepts       cosine to the mean of other pictures of the concept
    ``"images"``    concepts       the highest cosine to any of ``n_images`` other pictures of the concept
    ``"csls"``      test pictures  `modes.csls`, transductive
    ``"whitened"``  test pictures  cosine after `modes.whitened`, transductive
    ``"assigned"``  test pictures  one-to-one assignment, `modes.assigned`, transductive
    ==============  =============  ===============================================================

    Parameters
    ----------
    space : str
        The space of a `ClipImage`, `ClipText` or other target.
    ks : tuple of int
        Recall@k is reported for each.
    gallery : {"test", "all"}
        The stimuli of the test part; or every stimulus of the experiment, those of the training part included.
    mode : str
        See above. Transductive modes work within each subject's test trials of a fold.
    n_images : int
        With modes "template" and "images": the first so many of the concept's pictures, by id, that are not in the test
        part. They may be training pictures, or pictures that nobody saw.

    Raises
    ------
    RecipeError
        If the gallery or the mode is none of these, or a transductive mode is asked of ``gallery="all"``.

    Notes
    -----
    NICE ranks class templates made of other pictures (https://arxiv.org/abs/2308.13234), nearly everybody else the
    shown picture itself; the two numbers cannot be compared. One-to-one assignment added 10 points to a published one
    (86.3 to 96.4 % of 200), because a closed test set tells which answers are taken.
    """

    space: str
    ks: tuple[int, ...] = (1, 5, 10)
    gallery: str = "test"
    mode: str = "exact"
    n_images: int = 5
    stimulus_bound: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.gallery not in ("test", "all"):
            raise RecipeError(f"Retrieve.gallery must be 'test' or 'all', got {self.gallery!r}.")
        if self.mode not in MODES:
            raise one_of("Retrieve.mode", self.mode, MODES)
        if self.gallery == "all" and self.mode not in ("exact", *OF_CONCEPTS):
            raise RecipeError(f"Retrieve(mode={self.mode!r}) works on a closed test set: gallery must be 'test'.")
        if self.n_images < 1:
            raise RecipeError(f"Retrieve.n_images must be at least 1, got {self.n_images}.")

    @property
    def name(self) -> str:
        """How tables call it."""
        plain = f"retrieve {self.space}" + (" among all" if self.gallery == "all" else "")
        return plain if self.mode == "exact" else f"{plain}{SEPARATOR}{self._way}"

    @property
    def spaces(self) -> tuple[str, ...]:
        """The one space that is searched."""
        return (self.space,)

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """Recall@k, median rank and mean reciprocal rank; of an assignment the share of right matches."""
        if self.mode == "assigned":
            return (assigned_at_1,)
        return (*(recall_at(k) for k in self.ks), median_rank, mean_reciprocal_rank)

    def predict(self, decoded: Decoded) -> Predictions:
        """Return similarities (n_trials, n_gallery), as the mode makes them."""
        seen = decoded.events["stimulus"].to_numpy().astype(str)
        if self.mode in OF_CONCEPTS:
            return self._concepts(decoded, seen)
        gallery = np.unique(seen if self.gallery == "test" else decoded.stimuli.ids)
        truth = np.searchsorted(gallery, seen)
        scores = self._scores(decoded, gallery, seen)
        return Predictions(self.name, decoded.repetitions, scores, truth, gallery, decoded.events)

    def ideally(self, scores: np.ndarray, predictions: Predictions) -> np.ndarray | None:
        """Let an ideal observer answer in the same mode, where that is known how."""
        if self.mode in ("csls", "whitened"):
            return None
        if self.mode != "assigned":
            return scores
        out, e = np.empty(scores.shape, np.float32), predictions.events
        for rows in e.groupby(["subject", "fold", "seed"], sort=False).indices.values():
            out[rows] = modes.assigned(scores[rows], e["stimulus"].to_numpy()[rows])
        return out

    @property
    def _way(self) -> str:
        return {
            "template": TEMPLATE, "images": f"{self.n_images} images of the concept", "csls": CSLS,
            "whitened": WHITENING, "assigned": ASSIGNMENT,
        }.get(self.mode, "")  # fmt: skip

    def _scores(self, decoded: Decoded, gallery: np.ndarray, seen: np.ndarray) -> np.ndarray:
        eeg, targets = decoded.eeg[self.space], decoded.targets[self.space].at(gallery)
        if self.mode == "exact":
            return eeg.cosine(targets)
        out, subject = np.empty((len(eeg), len(targets)), np.float32), decoded.events["subject"].to_numpy()
        for s in np.unique(subject):
            rows = np.flatnonzero(subject == s)
            mine = replace(eeg, vectors=eeg.vectors[rows], ids=eeg.ids[rows])
            if self.mode == "whitened":
                pair = (replace(e, vectors=modes.whitened(e.vectors)) for e in (mine, targets))
                out[rows] = next(pair).cosine(next(pair))
            else:
                cosine = mine.cosine(targets)
                out[rows] = modes.csls(cosine) if self.mode == "csls" else modes.assigned(cosine, seen[rows])
        return out

    def _concepts(self, decoded: Decoded, seen: np.ndarray) -> Predictions:
        """Score concepts by other pictures than those that were shown."""
        label = decoded.stimuli.table["label"].astype(str)
        shown = label.loc[seen].to_numpy()
        concepts = np.unique(shown if self.gallery == "test" else label)
        others = label[~label.index.astype(str).isin(np.unique(seen)) & label.isin(concepts)].sort_index()
        first = others.groupby(others, sort=True).head(self.n_images)
        counts = first.value_counts().reindex(concepts, fill_value=0)
        if (short := counts[counts < self.n_images]).size:
            raise DataError(
                f"Retrieve(mode={self.mode!r}) needs {self.n_images} pictures of each concept besides those of the "
                f"test part; {len(short)} concept(s) have fewer (e.g. {short.index[0]!r} has {short.iloc[0]}). Lower "
                "n_images, or add pictures that nobody saw: Phantom(n_more=...), or MorePictures(dataset, folder)."
            )
        ids = first.sort_values(kind="stable").index.to_numpy().astype(str)
        each = decoded.targets[self.space].at(ids)
        if self.mode == "template":
            unit = each.vectors / np.maximum(np.linalg.norm(each.vectors, axis=1, keepdims=True), 1e-12)
            mean = unit.reshape(len(concepts), self.n_images, -1).mean(1)
            scores = decoded.eeg[self.space].cosine(Embeddings(mean, concepts, self.space))
        else:
            cosine = decoded.eeg[self.space].cosine(each)
            scores = cosine.reshape(len(cosine), len(concepts), self.n_images).max(2)
        truth = np.searchsorted(concepts, shown)
        return Predictions(self.name, decoded.repetitions, scores, truth, concepts, decoded.events)


@dataclass(frozen=True)
class Oracle(Task):
    """Whether any of several spaces is right about a picture. It reads the answer: an upper bound, and no decoder.

    Published as "all modalities" beside decoders, where it is not said that the right modality was picked for each
    trial by looking at the truth. Its chance is nearly as many times 1/n as there are spaces.

    Parameters
    ----------
    searched : tuple of str
        At least two spaces.
    ks : tuple of int
        The right picture is among the first k of at least one space.

    Raises
    ------
    RecipeError
        If there are fewer than two spaces.
    """

    searched: tuple[str, ...]
    ks: tuple[int, ...] = (1, 5, 10)
    stimulus_bound: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if isinstance(self.searched, str) or len(self.searched) < 2:
            raise RecipeError(f"Oracle needs at least two spaces, as a tuple; got {self.searched!r}.")

    @property
    def name(self) -> str:
        """How tables call it."""
        return f"retrieve {' + '.join(self.searched)}{SEPARATOR}{ANY_OF}{len(self.searched)} spaces"

    @property
    def spaces(self) -> tuple[str, ...]:
        """Those that are searched."""
        return self.searched

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """The share of trials whose picture is among the first k of any space."""
        return tuple(best_of_spaces(k) for k in self.ks)

    def predict(self, decoded: Decoded) -> Predictions:
        """Return, for every candidate, minus its best rank over the spaces, (n_trials, n_gallery)."""
        answers = [Retrieve(space).predict(decoded) for space in self.searched]
        ranks = np.stack([rank_of_each(a.scores) for a in answers]).min(0)
        first = answers[0]
        scores = -ranks.astype(np.float32)
        return Predictions(self.name, first.repetitions, scores, first.truth, first.candidates, first.events)

    def ideally(self, scores: np.ndarray, predictions: Predictions) -> np.ndarray | None:
        """Say nothing: there is one ideal observer, not one per space."""
        return None
