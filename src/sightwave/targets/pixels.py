"""Random projection of small pictures: a target that needs no weights, for tests and as a low-level baseline."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from sightwave.embeddings import Embeddings
from sightwave.errors import DataError
from sightwave.stimuli import Stimuli
from sightwave.targets.base import Target


@dataclass(frozen=True)
class Pixels(Target):
    """Shrink each picture, subtract the mean training picture, project at random, scale to unit variance.

    Parameters
    ----------
    dim : int
        Number of dimensions.
    size : int
        Side of the shrunk picture in pixels.
    seed : int
        Of the projection.
    """

    dim: int = 32
    size: int = 16
    seed: int = 0

    @property
    def space(self) -> str:
        """``"pixels/32"``, with size and seed behind it where they are not the usual ones."""
        other = "" if (self.size, self.seed) == (16, 0) else f"/size-{self.size}-seed-{self.seed}"
        return f"pixels/{self.dim}{other}"

    def embed(self, stimuli: Stimuli, train: Collection[str]) -> Embeddings:
        """Return float32 vectors, shape (n_stimuli, dim); mean and scale are those of the ``train`` stimuli.

        Raises
        ------
        DataError
            If there are no pictures, or no stimulus of ``train`` is among them.
        """
        is_train = np.isin(stimuli.ids, sorted(train))
        if not is_train.any():
            raise DataError(f"Pixels centres on the training pictures, but none of the {len(train)} is in the stimuli.")
        x = np.stack([self._shrink(stimuli.image(i)) for i in stimuli.ids])
        x -= x[is_train].mean(0)
        project = np.random.default_rng(self.seed).standard_normal((x.shape[1], self.dim))
        z = x @ project
        z /= max(float(z[is_train].std()), 1e-12)
        return Embeddings(z.astype(np.float32), stimuli.ids, self.space)

    def _shrink(self, image: np.ndarray) -> np.ndarray:
        from PIL import Image

        small = Image.fromarray(image).resize((self.size, self.size), Image.Resampling.BOX)
        return np.asarray(small, np.float64).ravel() / 255
