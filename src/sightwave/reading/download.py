"""Download public files: each checked by size and SHA-256, and taken up again where the connection broke.

What was downloaded is written down in ``SHA256SUMS`` of the folder: ``sha256sum -c SHA256SUMS`` checks it again, and a
file whose sum nobody published must be the same the next time.
"""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from sightwave import files
from sightwave.errors import DataError, ExtraMissing, MissingFile

SUMS = "SHA256SUMS"
TIMEOUT_S = (10, 60)  # to connect, and between two pieces
TRIES = 3
PIECE = 1 << 20


@dataclass(frozen=True)
class Source:
    """A public file.

    Parameters
    ----------
    url : str
    path : str
        Where it goes, within the folder of the data set.
    size : int or None
        Bytes; None when nobody wrote them down.
    sha256 : str
        64 hexadecimal digits; "" when nobody published them.
    subject : str
        Whose recording it is; "" when it belongs to all.
    """

    url: str
    path: str
    size: int | None = None
    sha256: str = ""
    subject: str = ""


def listed(table: Path, url: str) -> tuple[Source, ...]:
    """Read a list of files that lies beside a data set's reader.

    Parameters
    ----------
    table : Path
        A csv with columns `path`, `size` and `sha256`; the last two are empty where nobody published them.
    url : str
        What comes before each path.
    """
    found = []
    for path, size, digest in pd.read_csv(table, dtype=str, keep_default_na=False).itertuples(index=False):
        who = re.search(r"sub(?:ject|-)([^/_]+)", path)
        found.append(Source(f"{url}/{path}", path, int(size) if size else None, digest, who[1] if who else ""))
    return tuple(found)


def absent(sources: Iterable[Source], folder: Path) -> list[Source]:
    """Return the files that are not in ``folder`` yet.

    Parameters
    ----------
    sources : iterable of Source

    Raises
    ------
    DataError
        If one is there with another size than the published one: it is not overwritten.
    """
    wanted = []
    for s in sources:
        path = files.confine(folder, s.path)
        if not path.exists():
            wanted.append(s)
        elif s.size is not None and path.stat().st_size != s.size:
            raise DataError(
                f"{path} has {path.stat().st_size:,} bytes, the published file has {s.size:,}. Move it away and fetch "
                f"again; nothing is overwritten."
            )
    return wanted


def instructions(sources: Sequence[Source], folder: Path, *, by_hand: str = "", most: int = 40) -> str:
    """Say in words what to download and where to put it.

    Parameters
    ----------
    sources : sequence of Source
    by_hand : str
        What else has to be fetched in a browser.
    most : int
        Name so many files at most.
    """
    lines = [f"  {s.url}\n    -> {folder / s.path}  ({_told(s)})" for s in sources[:most]]
    if len(sources) > most:
        lines.append(f"  ... and {len(sources) - most} more; --list prints them all")
    return "\n".join(lines + [f"By hand: {by_hand}"] * bool(by_hand))


def download(
    sources: Sequence[Source],
    folder: Path,
    *,
    progress: Callable[[str, int, int], None] | None = None,
    by_hand: str = "",
) -> list[Path]:
    """Download what is not in ``folder`` yet, through pooch; a second call goes on where the first one broke.

    Parameters
    ----------
    sources : sequence of Source
    by_hand : str
        As in `instructions`.

    Returns
    -------
    list of Path
        The files that came.

    Raises
    ------
    MissingFile
        If the network or the server does not give a file: with addresses, sizes and places of all that are absent.
    DataError
        If what came is not the file, by its size or its SHA-256, or the disk has no room for all of it.
    ExtraMissing
        If pooch is not installed.
    """
    try:
        import pooch
        import requests
    except ImportError as e:
        raise ExtraMissing("fetch needs pooch, which is not installed:\n  pip install 'sightwave[fetch]'") from e
    pooch.get_logger().setLevel("WARNING")
    wanted, sums, came = absent(sources, folder), _read_sums(folder), []
    _room(wanted, folder)
    for i, s in enumerate(wanted):
        path, known = files.confine(folder, s.path), s.sha256 or sums.get(s.path, "")
        getter = _Resuming(path, s, known, progress)
        try:
            with files.replacing(path) as part:
                pooch.retrieve(s.url, known or None, part.name, part.parent, downloader=getter)
                digest = files.sha256(part)
        except requests.RequestException as e:
            raise MissingFile(
                f"{s.url} could not be read ({_short(e)}). What came so far is kept, and the same command goes on from "
                f"there. Without a network, bring these {len(wanted) - i} file(s) in another way:\n"
                f"{instructions(wanted[i:], folder, by_hand=by_hand)}"
            ) from e
        except ValueError as e:
            if isinstance(e, DataError):
                raise
            whose = "published" if s.sha256 else f"first downloaded, see {folder / SUMS}"
            raise DataError(
                f"{s.url}: what came is not the file that was {whose}: expected SHA-256 {known}, got another. Nothing "
                f"was kept. Try again; if it stays so, the file was changed at its source."
            ) from e
        sums[s.path] = digest
        files.write_text(folder / SUMS, "".join(f"{sums[p]}  {p}\n" for p in sorted(sums)))
        came.append(path)
    return came


class _Resuming:
    """Fetch one address into the file that pooch asks for, by way of a hidden one that outlives a broken connection."""

    def __init__(self, path: Path, source: Source, known: str, progress: Callable[[str, int, int], None] | None):
        self.path, self.source, self.known, self.progress = path, source, known, progress

    def __call__(self, url: str, output_file: str, _: Any) -> None:
        import requests

        for left in reversed(range(TRIES)):
            try:
                part = self._fetch(url)
            except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError):
                if not left:
                    raise
            else:
                shutil.move(part, output_file)
                return

    def _fetch(self, url: str) -> Path:
        """Go on with what is there if it is of the same file on the server, and return it when it is whole."""
        import requests

        old = next(iter(sorted(self.path.parent.glob(f".{self.path.name}.*.partial"))), None)
        done = old.stat().st_size if old is not None else 0
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={done}-"} if done else {})
        with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT_S) as answer:
            part = self.path.with_name(f".{self.path.name}.{_version(answer.headers)}.partial")
            goes_on = answer.status_code == 206 and answer.headers.get("Content-Range", "").startswith(f"bytes {done}-")
            # without a version or a sum, nothing says that both halves are of one file
            if done and not (goes_on and old == part and (self.known or "none" not in part.name)):
                old.unlink()  # type: ignore[union-attr]
                answer.close()
                return self._fetch(url)
            answer.raise_for_status()
            self._refuse_page(answer.headers, url)
            length = answer.headers.get("Content-Length", "")
            total = done + int(length) if length.isdigit() else self.source.size
            if self.source.size not in (None, total):
                raise DataError(f"{url} has {total:,} bytes, the published file has {self.source.size:,}.")
            with files.growing(part, at=done) as f:
                for piece in answer.iter_content(PIECE):
                    f.write(piece)
                    done += len(piece)
                    if self.progress:
                        self.progress(self.source.path, done, total or done)
        if total is not None and done != total:
            raise requests.ConnectionError(f"{done:,} of {total:,} bytes came")
        return part

    def _refuse_page(self, headers: Any, url: str) -> None:
        kind = headers.get("Content-Type", "")
        if kind.startswith("text/html") and not self.known and not self.path.name.endswith(".html"):
            raise DataError(f"{url}: a web page came instead of the file. Does the network ask for a login first?")


def _version(headers: Any) -> str:
    said = headers.get("ETag") or headers.get("Last-Modified") or ""
    return hashlib.sha256(said.encode()).hexdigest()[:12] if said else "none"


def _read_sums(folder: Path) -> dict[str, str]:
    path = folder / SUMS
    lines = files.read_text(path).splitlines() if path.exists() else []
    found = [re.fullmatch(r"([0-9a-f]{64}) [ *](.+)", line) for line in lines]
    if not all(found):
        raise DataError(f"{path}: line {found.index(None) + 1} is no SHA-256 and path. Delete the file to start anew.")
    return {m[2]: m[1] for m in found if m}


def _room(wanted: Sequence[Source], folder: Path) -> None:
    """Refuse to start what the disk cannot hold."""
    there = next(p for p in (folder, *folder.resolve().parents) if p.exists())
    needed, free = sum(s.size or 0 for s in wanted), shutil.disk_usage(there).free
    if needed > free:
        raise DataError(
            f"{folder}: {gigabytes(needed)} are to be downloaded, the disk has {gigabytes(free)} left. Name fewer "
            f"subjects, or another folder."
        )


def gigabytes(n: int) -> str:
    """Write a number of bytes as people do.

    >>> gigabytes(24400128)
    '24.4 MB'
    """
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if n >= size:
            return f"{n / size:.1f} {unit}"
    return f"{n} bytes"


def _told(s: Source) -> str:
    return ", ".join([gigabytes(s.size) if s.size is not None else "size not published",
                      f"SHA-256 {s.sha256[:12]}..." if s.sha256 else "no checksum published"])  # fmt: skip


def _short(e: Exception) -> str:
    response = getattr(e, "response", None)
    if response is not None:
        return f"the server answered {response.status_code}"
    text = str(e)
    return "no answer" if len(text) > 120 else text or type(e).__name__
