import os
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from sightwave import cache as cache_module
from sightwave.cache import cached, cached_rows, folder, watched


@dataclass(frozen=True)
class Feature:
    layer: int = -1
    view: str | None = None


class Maker:
    """Makes an array and counts how often it was asked."""

    def __init__(self, value=1.0):
        self.value, self.n_calls = value, 0

    def __call__(self):
        self.n_calls += 1
        return {"vectors": np.full((2, 3), self.value, np.float32)}


def test_the_second_time_the_array_comes_from_disk(cache):
    first, second = Maker(1.0), Maker(2.0)
    np.testing.assert_array_equal(cached("clip", Feature(), first)["vectors"], np.ones((2, 3)))
    got = cached("clip", Feature(), second)["vectors"]
    np.testing.assert_array_equal(got, np.ones((2, 3)))
    assert got.dtype == np.float32
    assert (first.n_calls, second.n_calls) == (1, 0)


def test_another_field_is_another_file(cache):
    maker = Maker()
    for what in (Feature(), replace(Feature(), layer=3), replace(Feature(), view="edges"), (Feature(), 1)):
        cached("clip", what, maker)
    cached("text", Feature(), maker)
    assert maker.n_calls == 5
    assert len(list(cache.iterdir())) == 5


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "text"])
def test_a_damaged_file_is_made_again_and_mended(cache, damage):
    cached("clip", Feature(), Maker())
    (file,) = cache.iterdir()
    whole = file.read_bytes()
    flipped = whole[:-1] + bytes([whole[-1] ^ 1])
    file.write_bytes({"cut": whole[:-4], "flip": flipped, "empty": b"", "text": b"hello"}[damage])
    maker = Maker()
    np.testing.assert_array_equal(cached("clip", Feature(), maker)["vectors"], np.ones((2, 3)))
    assert maker.n_calls == 1
    assert file.read_bytes() == whole
    cached("clip", Feature(), maker)
    assert maker.n_calls == 1


def test_a_cache_that_cannot_be_written_costs_the_cache_and_not_the_result(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("SIGHTWAVE_CACHE", str(tmp_path / "file" / "below"))
    maker = Maker()
    for _ in range(2):
        np.testing.assert_array_equal(cached("clip", Feature(), maker)["vectors"], np.ones((2, 3)))
    assert maker.n_calls == 2


def test_a_full_disk_costs_the_cache_and_leaves_nothing(cache, monkeypatch):
    def refuse(handle):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as m:
        m.setattr(os, "fsync", refuse)
        cached("clip", Feature(), Maker())
    assert list(cache.iterdir()) == []


def test_a_maker_that_fails_leaves_nothing(cache):
    def fail():
        raise RuntimeError("no weights")

    with pytest.raises(RuntimeError, match="no weights"):
        cached("clip", Feature(), fail)
    assert not cache.exists() or list(cache.iterdir()) == []


def test_the_folder_is_in_the_home_unless_told_otherwise(monkeypatch, tmp_path):
    monkeypatch.setenv("SIGHTWAVE_CACHE", str(tmp_path))
    assert folder() == tmp_path
    for unset in ("", None):
        monkeypatch.delenv("SIGHTWAVE_CACHE", raising=False)
        if unset is not None:
            monkeypatch.setenv("SIGHTWAVE_CACHE", unset)
        assert folder() == Path.home() / ".cache" / "sightwave"


class Rows:
    """Makes rows that hold their numbers, and breaks off where it is told."""

    def __init__(self, breaks_at=None):
        self.breaks_at, self.made = breaks_at, []

    def __call__(self, start, stop):
        if self.breaks_at is not None and stop > self.breaks_at:
            raise KeyboardInterrupt
        self.made.append((start, stop))
        return np.arange(start, stop, dtype=np.float32)[:, None] * np.ones(3, np.float32)


def test_an_array_that_was_interrupted_goes_on_where_it_stopped(cache, monkeypatch):
    monkeypatch.setattr(cache_module, "CHUNK", 4)
    with pytest.raises(KeyboardInterrupt):
        cached_rows("clip", Feature(), 10, Rows(breaks_at=9))
    rest = Rows()
    got = cached_rows("clip", Feature(), 10, rest)
    assert rest.made == [(8, 10)]
    np.testing.assert_array_equal(got[:, 0], np.arange(10))
    assert len(list(cache.iterdir())) == 1  # the pieces are gone
    nothing = Rows(breaks_at=0)
    np.testing.assert_array_equal(cached_rows("clip", Feature(), 10, nothing), got)
    other = Rows()
    cached_rows("clip", replace(Feature(), view="blur"), 10, other)
    assert other.made == [(0, 4), (4, 8), (8, 10)]


def test_who_watches_is_told_of_every_chunk_and_nobody_else_is(cache, monkeypatch):
    monkeypatch.setattr(cache_module, "CHUNK", 4)
    told = []
    with watched(lambda *step: told.append(step)):
        cached_rows("clip", 1, 10, Rows())
        cached_rows("clip", 1, 10, Rows())
    assert told == [("embedding clip", done, 10) for done in (0, 4, 8, 10)]
    cached_rows("clip", 2, 10, Rows())
    assert len(told) == 4


def test_a_progress_bar_shows_what_is_embedded_and_how_fast(cache, monkeypatch):
    import io

    from rich.console import Console

    from sightwave.progress import Progress

    monkeypatch.setattr(cache_module, "CHUNK", 4)
    out = io.StringIO()
    with Progress(Console(file=out, force_terminal=True, width=140)):
        cached_rows("clip-image", 1, 10, Rows())
    assert "embedding clip-image" in out.getvalue()
    assert "/s" in out.getvalue()
    cached_rows("clip-text", 1, 10, Rows())
    assert "clip-text" not in out.getvalue()
