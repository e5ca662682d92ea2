"""Bring a folder that is recognised into a form that everybody reads."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from sightwave import __version__, house
from sightwave.errors import DataError, one_of
from sightwave.reading.export import write_derivatives, write_npy
from sightwave.stimuli import Stimuli
from sightwave.trials import Trials

FORMS = ("npy", "parquet", "bids-derivatives")


def convert(
    root: Path,
    out: Path,
    *,
    to: str = "npy",
    like: str = "",
    settings: Mapping[str, str] | None = None,
    subjects: Sequence[str] = (),
    pictures: bool = True,
    progress: Callable[[str, int, int], None] | None = None,
) -> Path:
    """Write a recognised folder anew, one subject at a time; `datasets.own` reads both forms back.

    Parameters
    ----------
    root, out : Path
    to : {"npy", "parquet", "bids-derivatives"}
        An array with a table in csv, or in parquet, or epochs of MNE in a tree.
    like, settings
        As in `house.recognise`.
    subjects : sequence of str
        All when empty.
    pictures : bool
        Write the pictures too, as PNG.

    Returns
    -------
    Path
        ``out``. What is simulated stays marked as simulated.

    Raises
    ------
    SightwaveError
        As the data set's own reader and `export.write_npy`, and if ``out`` holds anything else or lies in ``root``.
    """
    if to not in FORMS:
        raise one_of("form", to, FORMS)
    dataset = house.recognise(root, like=like, settings=settings)[0]
    if out.resolve().is_relative_to(root.resolve()) or root.resolve().is_relative_to(out.resolve()):
        raise DataError(f"{out} lies in {root}, or the other way round. Give a folder elsewhere.")
    wanted = tuple(subjects) or dataset.subjects(root)
    about = (
        f"Converted by sightwave {__version__} from a folder of the data set {house.name_of(dataset)}.\n"
        f"Cite: {dataset.citation}\nLicence: {dataset.licence}\n"
        + "".join(f"left out of {k}: {v}\n" for k, v in dataset.left_out(root).items())
    )

    def parts() -> Iterator[tuple[Trials, Stimuli]]:
        for i, s in enumerate(wanted):
            trials, stimuli = dataset.load(root, (s,))
            yield trials, stimuli if pictures else replace(stimuli, read=None, key="")
            if progress:
                progress(f"converting {root.name}", i + 1, len(wanted))

    simulated = dataset.is_phantom(root)
    if to != "bids-derivatives":
        return write_npy(out, parts(), about=about, phantom=simulated, parquet=to == "parquet")
    task = getattr(dataset, "task", "") or house.name_of(dataset)
    return write_derivatives(out, parts(), task=task, about=about, licence=dataset.licence, phantom=simulated)
