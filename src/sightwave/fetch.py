"""Order a public data set: what there is to download, under which licence, and where it goes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sightwave import house
from sightwave.datasets.base import Dataset
from sightwave.errors import MissingFile, one_of
from sightwave.reading.download import Source, absent, download, gigabytes


@dataclass(frozen=True)
class Order:
    """Files of a public data set, and the folder for them.

    Parameters
    ----------
    name : str
    dataset : Dataset
    folder : Path
    sources : tuple of Source
    """

    name: str
    dataset: Dataset
    folder: Path
    sources: tuple[Source, ...]

    @property
    def absent(self) -> list[Source]:
        """Files that are not in the folder yet."""
        return absent(self.sources, self.folder)

    def table(self) -> str:
        """List address, size, SHA-256 and place of every file, tab by tab."""
        rows = [(s.url, "" if s.size is None else s.size, s.sha256, self.folder / s.path) for s in self.sources]
        return "\n".join("\t".join(map(str, row)) for row in rows)

    def told(self) -> str:
        """Say how much it is, whom to cite, and the licence."""
        wanted = self.absent
        unknown = sum(s.size is None for s in wanted)
        sizes = [gigabytes(sum(s.size or 0 for s in wanted))] * (unknown < len(wanted))
        sizes += [f"{unknown} of a size that nobody published"] * bool(unknown)
        lines = [f"{self.name}: {len(wanted)} of {len(self.sources)} files to {self.folder}: "
                 f"{' and '.join(sizes) or 'all are there'}",
                 f"Cite:    {self.dataset.citation}", f"Licence: {self.dataset.licence}"]  # fmt: skip
        return "\n".join(lines + [f"By hand: {self.dataset.by_hand}"] * bool(self.dataset.by_hand))

    def download(self, progress: Callable[[str, int, int], None] | None = None) -> list[Path]:
        """Download what is absent; see `reading.download.download`.

        Parameters
        ----------
        progress : callable or None
        """
        return download(self.sources, self.folder, progress=progress, by_hand=self.dataset.by_hand)


def order(
    name: str, folder: Path | None = None, *, subjects: Sequence[str] = (), settings: Mapping[str, str] | None = None
) -> Order:
    """Look up what can be downloaded.

    Parameters
    ----------
    name : str
        Of the data set, as `house.dataset` knows it.
    folder : Path or None
        ``data/<name>`` when None.
    subjects : sequence of str
        All when empty.
    settings : mapping of str to str or None
        Fields of the data set: a task, a variant.

    Raises
    ------
    MissingFile
        If nothing of it can be downloaded without a browser: says what to do instead.
    UnknownName
        If there is no such data set, field or subject.
    """
    dataset = house.with_settings(house.dataset(name)(), settings or {})
    sources = dataset.sources()
    if not sources:
        by_hand = f"By hand: {dataset.by_hand}." if dataset.by_hand else "It is no public data set of its own."
        raise MissingFile(f"Nothing of {name} can be downloaded without a browser. {by_hand}")
    known = sorted({s.subject for s in sources if s.subject})
    for s in subjects:
        if s not in known:
            raise one_of("subject", s, known)
    chosen = tuple(s for s in sources if not subjects or s.subject in ("", *subjects))
    return Order(name, dataset, folder or Path("data") / name.replace("-", "_"), chosen)
