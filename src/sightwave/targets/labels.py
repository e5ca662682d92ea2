"""Class labels as a target: a one-hot space, so that classifying is aligning to labels."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from sightwave.embeddings import Embeddings
from sightwave.stimuli import Stimuli
from sightwave.targets.base import Target


@dataclass(frozen=True)
class Labels(Target):
    """One dimension per class, in sorted order of the class names.

    >>> import pandas as pd
    >>> stimuli = Stimuli(pd.DataFrame({"label": ["dog", "cat", "dog"]}, index=["a", "b", "c"]))
    >>> Labels().names(stimuli).tolist()
    ['cat', 'dog']
    >>> Labels().embed(stimuli, ["a"]).vectors.tolist()
    [[0.0, 1.0], [1.0, 0.0], [0.0, 1.0]]
    """

    space = "label"

    def names(self, stimuli: Stimuli) -> np.ndarray:
        """Return the class names, shape (n_classes,), in the order of the dimensions."""
        return np.unique(stimuli.table["label"].to_numpy().astype(str))

    def embed(self, stimuli: Stimuli, train: Collection[str]) -> Embeddings:
        """Return one-hot rows, shape (n_stimuli, n_classes); nothing is fitted."""
        names = self.names(stimuli)
        code = np.searchsorted(names, stimuli.table["label"].to_numpy().astype(str))
        return Embeddings(np.eye(len(names), dtype=np.float32)[code], stimuli.ids, self.space)
