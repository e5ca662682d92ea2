"""Embeddings: vectors with ids and the name of their space. The currency after the encoder."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from sightwave.errors import ShapeError, SpaceError, one_of


@dataclass(frozen=True, eq=False)
class Embeddings:
    """Vectors in a named space, one per item.

    Parameters
    ----------
    vectors : ndarray, shape (n_items, dim), float32
    ids : ndarray of str, shape (n_items,)
        Stimulus ids: of the target, or of the picture that was on screen in a decoded trial.
    space : str
        Where the vectors live, e.g. ``"clip-image/tiny_clip"``. Only like is compared with like.

    Raises
    ------
    ShapeError
        If vectors and ids disagree.
    """

    vectors: np.ndarray
    ids: np.ndarray
    space: str

    def __post_init__(self) -> None:
        if self.vectors.ndim != 2 or len(self.vectors) != len(self.ids):
            raise ShapeError(
                f"Embeddings.vectors must be (n_items, dim) = ({len(self.ids)}, dim), got {self.vectors.shape}."
            )

    def __len__(self) -> int:
        return len(self.ids)

    def at(self, ids: np.ndarray) -> Embeddings:
        """Look up rows by id, shape (n_rows,), in the order asked; an unknown id is an `UnknownName`."""
        row = {id_: i for i, id_ in enumerate(self.ids)}
        strange = next((i for i in ids if i not in row), None)
        if strange is not None:
            raise one_of(f"item in space {self.space!r}", strange, list(row)[:8])
        return replace(self, vectors=self.vectors[[row[i] for i in ids]], ids=np.asarray(ids))

    def cosine(self, other: Embeddings) -> np.ndarray:
        """Cosine similarities, shape (n_items, n_other), float32; vectors of length 0 are similar to nothing (0).

        Raises
        ------
        SpaceError
            If the two live in different spaces.

        >>> a = Embeddings(np.eye(2, dtype="f4"), np.array(["cat", "dog"]), "toy")
        >>> a.cosine(a).round(1).tolist()
        [[1.0, 0.0], [0.0, 1.0]]
        """
        if self.space != other.space:
            raise SpaceError(
                f"Cannot compare embeddings of {self.space!r} with {other.space!r}: cosine has no meaning across "
                "spaces. Align the EEG to the gallery's target."
            )
        return np.asarray(self.unit() @ other.unit().T, np.float32)

    def unit(self) -> np.ndarray:
        """Return the vectors at length 1, shape (n_items, dim); those of length 0 stay."""
        return self.vectors / np.maximum(np.linalg.norm(self.vectors, axis=1, keepdims=True), 1e-12)
