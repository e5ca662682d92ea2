"""Stimuli: what the participant saw, by stimulus id."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import numpy as np
import pandas as pd

from sightwave.errors import DataError, one_of


@dataclass(frozen=True, eq=False)
class Stimuli:
    """Pictures with their categories and captions.

    Parameters
    ----------
    table : DataFrame, indexed by stimulus id (text)
        Column `label` (category, text); optional `captions` (tuple of str, the fullest first).
    read : callable or None
        Stimulus id -> picture (height, width, 3) uint8; None when the pictures are not at hand.
    key : str
        Content key of the pictures, and of their depth: changes when they change. Caches of features depend on it.
    depth : callable or None
        Stimulus id -> nearness (height, width) in [0, 1], 1 is nearest, as large as the picture; None when it is not
        known.
    """

    table: pd.DataFrame
    read: Callable[[str], np.ndarray] | None = None
    key: str = ""
    depth: Callable[[str], np.ndarray] | None = None

    def __post_init__(self) -> None:
        if "label" not in self.table or self.table.index.has_duplicates:
            raise DataError("Stimuli.table must have a column 'label' and one row per stimulus id.")

    def __len__(self) -> int:
        return len(self.table)

    @property
    def ids(self) -> np.ndarray:
        """Stimulus ids, shape (n_stimuli,), in the order of the table."""
        return self.table.index.to_numpy().astype(str)

    def image(self, stimulus: str) -> np.ndarray:
        """Return one picture, shape (height, width, 3), uint8."""
        if self.read is None:
            raise DataError(
                "These stimuli come without pictures, so no target can be made from pixels. Give a folder of images."
            )
        return self.read(stimulus)

    def nearness(self, stimulus: str) -> np.ndarray:
        """Return how near each place of a picture is, shape (height, width), from 0 (far) to 1 (near)."""
        if self.depth is None:
            raise DataError(
                "These stimuli come without depth; only the phantom's is known to the pixel. For photographs, estimate "
                "it with a depth network and give Stimuli(..., depth=callable) that reads what you stored."
            )
        return self.depth(stimulus)

    def captions(self, stimulus: str) -> tuple[str, ...]:
        """Return the captions of one picture, the fullest first."""
        if "captions" not in self.table:
            raise DataError("These stimuli come without captions. Give a column 'caption' or a captions file.")
        return tuple(cast("tuple[str, ...]", self.table.at[stimulus, "captions"]))

    def at(self, stimuli: np.ndarray) -> Stimuli:
        """Keep the given stimuli, in that order; an unknown id is an `UnknownName`."""
        strange = next((i for i in stimuli if i not in self.table.index), None)
        if strange is not None:
            raise one_of("stimulus", strange, list(self.ids[:8]))
        return Stimuli(self.table.loc[list(stimuli)], self.read, self.key, self.depth)
