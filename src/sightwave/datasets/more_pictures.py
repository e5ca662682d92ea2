"""MorePictures: pictures that nobody was shown, added to a data set, for galleries of concepts."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd

from sightwave import files
from sightwave.datasets.base import Dataset
from sightwave.describe import key
from sightwave.errors import DataError
from sightwave.results import Predictions
from sightwave.stimuli import Stimuli
from sightwave.trials import Trials

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp"}


@dataclass(frozen=True)
class MorePictures(Dataset):
    """A data set with further pictures of its concepts: ``MorePictures(ThingsEeg2(), "THINGS/object_images")``.

    ``Retrieve(mode="template")`` and ``Retrieve(mode="images")`` make their galleries of them, as NICE did of the
    THINGS database (https://osf.io/jum2f). The trials stay as they are.

    Parameters
    ----------
    dataset : Dataset
    folder : str
        Holds one folder of pictures per concept, called by the concept's label, with or without a number before it
        (``"00012_bee"`` is bee). Folders of other concepts are passed over.

    Raises
    ------
    MissingFile, DataError
        On loading: if the folder is not there, or holds no picture of any concept.
    """

    citation: ClassVar[str] = "that of the data set"
    licence: ClassVar[str] = "that of the data set, and of the pictures"

    dataset: Dataset
    folder: str

    def subjects(self, root: Path | None) -> tuple[str, ...]:
        """Names of the subjects of the data set."""
        return self.dataset.subjects(root)

    def load(self, root: Path | None, subjects: tuple[str, ...]) -> tuple[Trials, Stimuli]:
        """Read the data set, and add to its stimuli ``"more/CONCEPT/FILE"``."""
        trials, stimuli = self.dataset.load(root, subjects)
        folder = files.must_exist(Path(self.folder), "folder of pictures")
        labels = set(stimuli.table["label"].astype(str))
        at: dict[str, tuple[str, Path]] = {}
        shown = {Path(s).name for s in stimuli.ids}
        for path in sorted(folder.glob("*/*")):
            label = re.sub(r"^\d+_", "", path.parent.name)
            if path.suffix.lower() in SUFFIXES and label in labels and path.name not in shown:
                at[f"more/{label}/{path.name}"] = (label, path)
        if not at:
            raise DataError(
                f"{folder} holds no further picture of any concept of this data set. Expected folders such as "
                f"{', '.join(sorted(labels)[:3])}, each with pictures in it."
            )
        table = pd.DataFrame({"label": [label for label, _ in at.values()]}, index=list(at))

        def read(stimulus: str) -> np.ndarray:
            return files.read_image(at[stimulus][1]) if stimulus in at else stimuli.image(stimulus)

        stats = {s: [path.stat().st_size, path.stat().st_mtime_ns] for s, (_, path) in at.items()}
        return trials, Stimuli(pd.concat([stimuli.table, table]), read, key([stimuli.key, stats]))

    def left_out(self, root: Path | None) -> dict[str, str]:
        """Return what the data set leaves out."""
        return self.dataset.left_out(root)

    def is_phantom(self, root: Path | None) -> bool:
        """Whether the brain of the data set is simulated."""
        return self.dataset.is_phantom(root)

    def ideal(self, predictions: Predictions, *, repetitions: float | None = None) -> np.ndarray | None:
        """Ask the data set's ideal observer, see `Dataset.ideal`."""
        return self.dataset.ideal(predictions, repetitions=repetitions)
