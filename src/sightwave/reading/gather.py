"""Gather stimuli from what lies beside the trials: labels in the table, picture files, captions."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from sightwave import files
from sightwave.errors import DataError
from sightwave.reading.checks import source_of
from sightwave.reading.tables import read_text_table, refuse_empty, require
from sightwave.stimuli import Stimuli

CAPTION = r"caption(_\d+)?"  # names of columns
SUFFIXES = (".jpg", ".jpeg", ".png")


def gather(
    events: pd.DataFrame,
    source: str | np.ndarray,
    images: Mapping[str, Path] | Mapping[str, np.ndarray] | None,
    captions: Mapping[str, tuple[str, ...]] | None,
    *,
    captions_from: str = "",
) -> Stimuli:
    """Make stimuli of the events' pairs of stimulus and label.

    Parameters
    ----------
    events : DataFrame
        Columns `stimulus` and `label`.
    source : str, or ndarray of str, shape (n_events,)
        The file that they came from, or that of each event, for the message.
    images : mapping or None
        Stimulus -> file, or picture (height, width, 3) uint8. Every stimulus has one, or there is no mapping.
    captions : mapping or None
        Stimulus -> captions; likewise.
    captions_from : str
        The file that the captions came from, for the message.

    Raises
    ------
    DataError
        If a stimulus has two labels, or some have a picture (or caption) and some have none: with count and names.
    """
    pairs = events[["stimulus", "label"]].reset_index(drop=True).drop_duplicates()
    twice = pairs["stimulus"][pairs["stimulus"].duplicated()]
    if len(twice):
        labels = pairs["label"][pairs["stimulus"] == twice.iloc[0]].tolist()
        file = source_of(source, int(twice.index[0]))
        raise DataError(f"{file}: stimulus {twice.iloc[0]!r} has the labels {', '.join(labels)}. Give it one.")
    table = pairs.set_index("stimulus")
    for what, given in (("image", images), ("caption", captions)):
        missing = [s for s in table.index if s not in given] if given is not None else []
        if missing:
            file = source_of(source, int((events["stimulus"] == missing[0]).to_numpy().argmax()))
            file = f"{file}, {captions_from}" if captions_from and what == "caption" else file
            raise DataError(
                f"{file}: {len(missing)} of {len(table)} stimuli have no {what}, e.g. {', '.join(missing[:3])}. "
                f"Add them, or give no {what} at all."
            )
    if captions is not None:
        table["captions"] = [captions[s] for s in table.index]
    if images is None:
        return Stimuli(table)
    digest = hashlib.sha256()
    for s in table.index:
        image = images[s]
        content = files.sha256(image) if isinstance(image, Path) else hashlib.sha256(image.tobytes()).hexdigest()
        digest.update(f"{s}\0{content}".encode())

    def read(stimulus: str) -> np.ndarray:
        image = images[stimulus]
        return files.read_image(image) if isinstance(image, Path) else image

    return Stimuli(table, read, digest.hexdigest()[:16])


def images_in(folder: Path) -> dict[str, Path]:
    """Return the images of a folder by their names without suffix."""
    files.must_exist(folder, "folder of images")
    return {p.stem: p for p in sorted(folder.iterdir()) if p.suffix.lower() in SUFFIXES}


def images_of(folder: Path, events: pd.DataFrame) -> dict[str, Path] | None:
    """Stimulus -> image file, from the column `image` or by name; None when there are no images."""
    found, table = {}, folder / "trials.parquet"
    table = table if table.exists() else folder / "trials.csv"
    if "image" in events and (events["image"] != "").any():
        named = events.loc[events["image"] != "", ["stimulus", "image"]].drop_duplicates()
        twice = named["stimulus"][named["stimulus"].duplicated()]
        if len(twice):
            raise DataError(f"{table}: stimulus {twice.iloc[0]!r} has two images. Give it one.")
        paths = {s: files.confine(folder, i) for s, i in named.itertuples(index=False)}
        lost = [p for p in paths.values() if not p.is_file()]
        if lost:
            shown = ", ".join(p.relative_to(folder.resolve()).as_posix() for p in lost[:3])
            raise DataError(
                f"{table}: column 'image': {len(lost)} of {len(paths)} files are not there, e.g. "
                f"{shown}. Copy them into the folder, or correct the paths."
            )
        found = paths
    by_stem = images_in(folder / "images") if (folder / "images").is_dir() else {}
    rest = {s: by_stem[s] for s in pd.unique(events["stimulus"]) if s in by_stem and s not in found}
    return (found | rest) or (None if not (folder / "images").is_dir() else {})


def captions_of(folder: Path, events: pd.DataFrame) -> dict[str, tuple[str, ...]] | None:
    """Stimulus -> captions, from the columns caption, caption_2, ... and from captions.csv; None without any."""
    found: dict[str, list[str]] = {}
    columns = [c for c in events if re.fullmatch(CAPTION, str(c))]
    rows = [r for c in columns for r in events[["stimulus", c]].itertuples(index=False, name=None)]
    path = folder / "captions.csv"
    if path.exists():
        table = read_text_table(path)
        require(table, ("stimulus", "caption"), path)
        refuse_empty(table, "caption", path)
        rows += list(table[["stimulus", "caption"]].itertuples(index=False, name=None))
    for stimulus, caption in rows:
        if caption and caption not in found.setdefault(stimulus, []):
            found[stimulus].append(caption)
    return {s: tuple(c) for s, c in found.items() if c} or None
