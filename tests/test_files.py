import errno
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sightwave import files
from sightwave.errors import DataError, MissingFile, SightwaveError


def names(folder: Path) -> set[str]:
    return {p.name for p in folder.iterdir()}


def write_and_fail(path: Path, error: BaseException) -> None:
    with files.replacing(path) as part:
        part.write_text("half of the new")
        raise error


def fill_and_fail(folder: Path, error: BaseException | None) -> None:
    with files.replacing_folder(folder) as part:
        (part / "one").write_text("other")
        if error:
            raise error


@pytest.fixture
def full_disk(monkeypatch):
    """A disk that takes the bytes and then refuses to keep them."""

    def refuse(handle):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", refuse)


def test_a_writer_that_fails_midway_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.txt"
    files.write_text(path, "old")
    with pytest.raises(RuntimeError, match="boom"):
        write_and_fail(path, RuntimeError("boom"))
    assert path.read_text() == "old"
    assert names(tmp_path) == {"a.txt"}


def test_a_writer_that_fails_midway_leaves_no_file_where_there_was_none(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        write_and_fail(tmp_path / "a.txt", KeyboardInterrupt())
    assert names(tmp_path) == set()


def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path, full_disk):
    path = tmp_path / "a.json"
    path.write_text("old")
    with pytest.raises(OSError, match="No space left"):
        files.write_json(path, {"new": 1})
    assert path.read_text() == "old"
    assert names(tmp_path) == {"a.json"}


def test_a_file_too_large_for_the_disk_leaves_the_old_tensors(tmp_path, monkeypatch):
    path = tmp_path / "a.safetensors"
    files.save_tensors(path, {"x": np.arange(3)})

    def half(arrays, where, meta):
        Path(where).write_bytes(b"\x08")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("safetensors.numpy.save_file", half)
    with pytest.raises(OSError, match="No space left"):
        files.save_tensors(path, {"x": np.zeros(10)})
    assert files.load_tensors(path)[0]["x"].tolist() == [0, 1, 2]
    assert names(tmp_path) == {"a.safetensors"}


def test_a_folder_is_replaced_as_a_whole_or_not_at_all(tmp_path):
    folder = tmp_path / "result"
    with files.replacing_folder(folder) as part:
        (part / "one").write_text("1")
        (part / "deep").mkdir()
        (part / "deep" / "two").write_text("2")
    with pytest.raises(RuntimeError, match="boom"):
        fill_and_fail(folder, RuntimeError("boom"))
    assert (folder / "one").read_text() == "1"
    assert (folder / "deep" / "two").read_text() == "2"
    assert names(tmp_path) == {"result"}

    with files.replacing_folder(folder) as part:
        (part / "three").write_text("3")
    assert names(folder) == {"three"}
    assert names(tmp_path) == {"result"}


def test_a_full_disk_leaves_the_old_folder(tmp_path, full_disk):
    folder = tmp_path / "result"
    folder.mkdir()
    (folder / "one").write_text("1")
    with pytest.raises(OSError, match="No space left"):
        fill_and_fail(folder, None)
    assert (folder / "one").read_text() == "1"
    assert names(tmp_path) == {"result"}


def test_a_folder_that_cannot_be_moved_into_place_leaves_the_old_one(tmp_path, monkeypatch):
    folder = tmp_path / "result"
    with files.replacing_folder(folder) as part:
        (part / "one").write_text("1")
    replace = os.replace

    def refuse_the_new(source, target):
        if str(source).endswith(".part"):
            raise OSError(errno.EIO, "Input/output error")
        replace(source, target)

    monkeypatch.setattr(os, "replace", refuse_the_new)
    with pytest.raises(OSError, match="Input/output"):
        fill_and_fail(folder, None)
    assert (folder / "one").read_text() == "1"
    assert names(tmp_path) == {"result"}


def test_what_a_killed_writer_left_does_not_disturb_the_next(tmp_path):
    left = tmp_path / f".result.{os.getpid()}.part"
    left.mkdir()
    (left / "stale").write_text("from before the crash")
    with files.replacing_folder(tmp_path / "result") as part:
        (part / "one").write_text("1")
    assert names(tmp_path / "result") == {"one"}
    assert names(tmp_path) == {"result"}


def test_missing_parents_are_made(tmp_path):
    files.write_text(tmp_path / "a" / "b" / "c.txt", "x")
    assert files.read_text(tmp_path / "a" / "b" / "c.txt") == "x"


def test_a_ledger_only_grows(tmp_path):
    for line in ("first", "zweite Zeile: ü"):
        files.append_line(tmp_path / "deep" / "ledger", line)
    assert files.read_text(tmp_path / "deep" / "ledger") == "first\nzweite Zeile: ü\n"


def test_json_comes_back_and_nan_is_refused(tmp_path):
    path = tmp_path / "a.json"
    files.write_json(path, {"b": [1, None, 0.5], "a": "ü"})
    assert files.read_json(path) == {"a": "ü", "b": [1, None, 0.5]}
    with pytest.raises(ValueError, match="Out of range"):
        files.write_json(path, {"a": float("nan")})
    assert files.read_json(path) == {"a": "ü", "b": [1, None, 0.5]}


def test_equal_json_is_equal_bytes(tmp_path):
    files.write_json(tmp_path / "1", {"a": 1, "b": 2})
    files.write_json(tmp_path / "2", {"b": 2, "a": 1})
    assert files.sha256(tmp_path / "1") == files.sha256(tmp_path / "2")


def test_damaged_json_names_file_line_and_column(tmp_path):
    (tmp_path / "a.json").write_text('{"a": 1,\n "b": }')
    with pytest.raises(DataError, match=r"a\.json: not JSON at line 2, column 7"):
        files.read_json(tmp_path / "a.json")


def test_text_that_is_not_utf8_names_file_and_byte(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"caf\xe9")
    with pytest.raises(DataError, match=r"a\.csv: byte 3 is not UTF-8"):
        files.read_text(tmp_path / "a.csv")


def test_a_byte_order_mark_is_not_part_of_the_text(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"\xef\xbb\xbfsubject")
    assert files.read_text(tmp_path / "a.csv") == "subject"


def test_a_missing_file_is_an_error_that_says_what_is_there(tmp_path):
    (tmp_path / "trials.csv").touch()
    with pytest.raises(MissingFile, match=r"No file at .*eeg\.npy: .* holds trials\.csv"):
        files.read_text(tmp_path / "eeg.npy")
    with pytest.raises(FileNotFoundError, match="is no folder"):
        files.must_exist(tmp_path / "nowhere" / "eeg.npy")
    (tmp_path / "empty").mkdir()
    with pytest.raises(MissingFile, match="holds nothing"):
        files.must_exist(tmp_path / "empty" / "x")


@pytest.mark.parametrize(
    "read", [files.read_text, files.read_json, files.load_tensors, files.load_array, files.read_image, files.sha256]
)
def test_every_reader_names_a_missing_file(read, tmp_path):
    with pytest.raises(MissingFile, match=r"gone\.dat"):
        read(tmp_path / "gone.dat")


@pytest.mark.parametrize("read", [files.read_json, files.load_tensors, files.load_array, files.read_image])
@pytest.mark.parametrize("content", [b"", b"\x00" * 7, b"\xff" * 100, b"plain text\n"])
def test_every_reader_names_a_file_of_nonsense(read, content, tmp_path):
    (tmp_path / "odd.dat").write_bytes(content)
    with pytest.raises(DataError, match=r"odd\.dat"):
        read(tmp_path / "odd.dat")


@pytest.mark.parametrize(
    "read", [files.read_text, files.read_json, files.load_tensors, files.load_array, files.read_image, files.sha256]
)
def test_a_folder_in_place_of_a_file_is_our_error(read, tmp_path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(SightwaveError, match="folder"):
        read(tmp_path / "folder")


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "i4", "i8", "u1", "?"])
def test_tensors_come_back_exactly(dtype, tmp_path):
    x = (np.random.default_rng(0).random((3, 4, 5)) * 100).astype(dtype)
    files.save_tensors(tmp_path / "x", {"x": x, "turned": x.T, "empty": x[:0]}, {"note": "hi"})
    arrays, meta = files.load_tensors(tmp_path / "x")
    assert meta["note"] == "hi"
    for name, y in (("x", x), ("turned", x.T), ("empty", x[:0])):
        assert arrays[name].dtype == y.dtype
        np.testing.assert_array_equal(arrays[name], y)


def test_one_flipped_bit_anywhere_in_tensors_is_found(tmp_path):
    path = tmp_path / "x.safetensors"
    files.save_tensors(path, {"x": np.arange(20, dtype="f4"), "y": np.ones(3, "i8")}, {"note": "hi"})
    whole, silent = path.read_bytes(), []
    for i in range(len(whole)):
        path.write_bytes(whole[:i] + bytes([whole[i] ^ 1]) + whole[i + 1 :])
        try:
            arrays, _ = files.load_tensors(path)
        except DataError:
            continue
        if not (np.array_equal(arrays.get("x"), np.arange(20)) and np.array_equal(arrays.get("y"), np.ones(3))):
            silent.append(i)
    assert silent == []


def test_a_truncated_tensor_file_is_a_data_error(tmp_path):
    path = tmp_path / "x.safetensors"
    files.save_tensors(path, {"x": np.arange(20)})
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError, match="not a whole safetensors file"):
        files.load_tensors(path)


def test_a_npy_of_pickled_objects_is_refused(tmp_path):
    np.save(tmp_path / "x.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match=r"x\.npy: not a whole \.npy array of numbers"):
        files.load_array(tmp_path / "x.npy")


def test_a_npy_is_mapped_and_cannot_be_written_through(tmp_path):
    np.save(tmp_path / "x.npy", np.arange(5))
    x = files.load_array(tmp_path / "x.npy")
    assert isinstance(x, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        x[0] = 1
    assert not isinstance(files.load_array(tmp_path / "x.npy", mmap=False), np.memmap)


def test_a_truncated_npy_is_a_data_error(tmp_path):
    np.save(tmp_path / "x.npy", np.arange(5000))
    (tmp_path / "x.npy").write_bytes((tmp_path / "x.npy").read_bytes()[:-8])
    for mmap in (True, False):
        with pytest.raises(DataError, match=r"x\.npy"):
            files.load_array(tmp_path / "x.npy", mmap=mmap)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P", "1", "CMYK"])
def test_every_kind_of_image_is_read_as_rgb(mode, tmp_path):
    name = tmp_path / ("x.tif" if mode == "CMYK" else "x.png")
    Image.new("RGB", (5, 4), (255, 0, 0)).convert(mode).save(name)
    image = files.read_image(name)
    assert image.shape == (4, 5, 3)
    assert image.dtype == np.uint8


def test_a_truncated_image_names_its_file(tmp_path):
    Image.effect_noise((64, 64), 50).save(tmp_path / "x.png")
    (tmp_path / "x.png").write_bytes((tmp_path / "x.png").read_bytes()[:500])
    with pytest.raises(DataError, match=r"x\.png: not a readable image"):
        files.read_image(tmp_path / "x.png")


def test_an_image_of_too_many_pixels_is_refused_before_it_is_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "PIXEL_LIMIT", 100)
    Image.new("RGB", (11, 10)).save(tmp_path / "x.png")
    with pytest.raises(DataError, match=r"x\.png: 11 x 10 pixels, at most 100"):
        files.read_image(tmp_path / "x.png")


def test_a_decompression_bomb_is_a_data_error_and_not_a_warning(tmp_path):
    """A few kilobytes that would unpack to gigabytes; Pillow alone would warn, and go on."""
    Image.new("1", (16_000, 10_000)).save(tmp_path / "bomb.png", optimize=False)
    with pytest.raises(DataError, match=r"bomb\.png"):
        files.read_image(tmp_path / "bomb.png")


@pytest.mark.parametrize(
    "relative",
    [
        "..",
        "../x",
        "a/../../x",
        "a/b/../../../x",
        "./../x",
        "/etc/passwd",
        "//etc/passwd",
        "/",
        "../root-sibling",
        "..//x",
        "a/../..",
        "./a/./../../x",
        "../root/../x",
        "link/x",
        "link",
        "link/../../x",
        "x\0",
        "\0../x",
        "a/b\0c",
        "../../../../../../../../etc/passwd",
        "loop/x",
    ],
)
def test_confine_refuses_what_leads_out(relative, tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "root-sibling").mkdir()
    (root / "link").symlink_to(tmp_path)
    (root / "loop").symlink_to(root / "loop")
    with pytest.raises(DataError, match="leads out of"):
        files.confine(root, relative)


@pytest.mark.parametrize("relative", ["x.png", "a/b/x.png", "a/../x.png", "..x", "a..b/c", ".", "ü/é.png", "inner/x"])
def test_confine_lets_honest_paths_through(relative, tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "inner").symlink_to(tmp_path / "a")
    assert files.confine(tmp_path, relative).is_relative_to(tmp_path.resolve())


def test_sha256_is_of_the_content(tmp_path):
    (tmp_path / "x").write_bytes(b"abc")
    assert files.sha256(tmp_path / "x") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
