"""Any folder of pictures with a file of captions, as stimuli: no EEG is needed.

captions.txt      dataset, category, image name, caption, tab by tab (as in MSS); or columns image, caption as csv
.../NAME.jpg      the pictures, at any depth; .jpeg and .png likewise
"""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path, PureWindowsPath

import pandas as pd

from sightwave import files
from sightwave.errors import DataError, MissingFile
from sightwave.reading.gather import SUFFIXES, gather
from sightwave.reading.tables import read_text_table, refuse_empty
from sightwave.stimuli import Stimuli

NAMES = ("captions.txt", "captions.csv", "stimuli/captions.txt")


def read_captioned(folder: Path) -> Stimuli:
    """Read the pictures that ``captions.txt`` names, with all their captions.

    Parameters
    ----------
    folder : Path

    Returns
    -------
    Stimuli
        Labels are the file's column `category` or `label`; without one, the folders that the pictures lie in, if there
        are at least two; else all labels are empty. Pictures without a caption are left out.

    Raises
    ------
    MissingFile
        If there is no file of captions.
    DataError
        If its columns are others, a cell is empty, or a picture is absent or there twice; with file and name.
    """
    files.must_exist(folder, "folder")
    path = next((folder / name for name in NAMES if (folder / name).is_file()), None)
    if path is None:
        raise MissingFile(f"No captions in {folder}: looked for {', '.join(NAMES)}. The file has the columns image and "
                          "caption, as csv, or dataset, category, image name, caption, tab by tab.")  # fmt: skip
    tabs = "\t" in files.read_text(path).partition("\n")[0]
    table = read_text_table(path, sep="\t" if tabs else ",")
    names = [str(c).strip().lower() for c in table]
    table.columns = pd.Index(names)
    image, caption, label = (
        next((c for c in names if c.startswith(words)), None)
        for words in (("image", "file", "stimulus"), ("caption",), ("category", "label"))
    )
    if image is None or caption is None:
        raise DataError(f"{path}: line 1: expected the columns image and caption, got {', '.join(names)}.")
    for column in filter(None, (image, caption, label)):
        refuse_empty(table, column, path)
    stimulus = table[image].map(_stem)
    captions = {s: tuple(dict.fromkeys(c.str.strip())) for s, c in table[caption].groupby(stimulus, sort=False)}
    labels = dict(zip(stimulus, table[label].str.strip(), strict=True)) if label else {}
    images = _images(folder, captions, labels, path)
    if not labels:
        parents = {s: p.parent.name for s, p in images.items()}
        labels = parents if len(set(parents.values())) > 1 else {}
    events = pd.DataFrame({"stimulus": stimulus, "label": [labels.get(s, "") for s in stimulus]})
    return gather(events, str(path), images, captions)


def _images(folder: Path, wanted: Collection[str], labels: dict[str, str], path: Path) -> dict[str, Path]:
    """Return the wanted pictures by name; of two with one name, that in the folder of its label."""
    there: dict[str, list[Path]] = {}
    for file in sorted(folder.rglob("*")):
        if file.suffix.lower() in SUFFIXES and _stem(file.name) in wanted:
            there.setdefault(_stem(file.name), []).append(file)
    found: dict[str, Path] = {}
    for name, same in there.items():
        fits = same if len(same) == 1 else [p for p in same if p.parent.name == labels.get(name)]
        if len(fits) != 1:
            raise DataError(f"{path}: the picture {name!r} is there twice: {same[0]} and {same[1]}. Keep one of them.")
        found[name] = fits[0]
    return found


def _stem(name: str) -> str:
    """Return what captions and picture files have in common: no folder, suffix or ``_resized``."""
    stem = re.sub(r"\.(jpe?g|png)$", "", PureWindowsPath(str(name).strip()).name, flags=re.IGNORECASE)
    return stem.removesuffix("_resized")
