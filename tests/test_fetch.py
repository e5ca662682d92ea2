"""Public files come whole, resumed and checked, from a server of our own on this machine."""

import hashlib
import http.server
import threading

import pytest

from sightwave.errors import DataError, MissingFile, UnknownName
from sightwave.fetch import order
from sightwave.house import dataset, names
from sightwave.reading import download as d
from sightwave.reading.download import Source, absent, download

pytest.importorskip("pooch")

BODY = bytes(range(256)) * 9000  # 2.3 MB: more than two pieces
SUM = hashlib.sha256(BODY).hexdigest()


class Server(http.server.BaseHTTPRequestHandler):
    body, version, ranges, breaks_at, kind, asked = BODY, '"one"', True, None, "application/octet-stream", []

    def do_GET(self):
        start = 0
        if self.path.startswith("/gone"):
            self.send_error(404)
            return
        wanted = self.headers.get("Range")
        type(self).asked.append(wanted)
        if wanted and self.ranges:
            start = int(wanted.removeprefix("bytes=").rstrip("-"))
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(self.body) - 1}/{len(self.body)}")
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(len(self.body) - start))
        self.send_header("Content-Type", self.kind)
        if self.version:
            self.send_header("ETag", self.version)
        self.end_headers()
        stop = type(self).breaks_at
        self.wfile.write(self.body[start:stop] if stop is None or stop > start else b"")
        if stop is not None:
            self.wfile.flush()
            self.connection.close()

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    kind = type("One", (Server,), {"asked": []})
    running = http.server.ThreadingHTTPServer(("127.0.0.1", 0), kind)
    thread = threading.Thread(target=running.serve_forever, daemon=True)
    thread.start()
    kind.url = f"http://127.0.0.1:{running.server_port}"
    yield kind
    running.shutdown()
    running.server_close()
    thread.join()


def files_in(folder):
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def test_a_file_comes_whole_and_its_sum_is_written_down(server, tmp_path):
    told = []
    source = Source(f"{server.url}/a", "sub-01/a.bin", len(BODY), SUM)
    download([source], tmp_path, progress=lambda *at: told.append(at))
    assert (tmp_path / "sub-01/a.bin").read_bytes() == BODY
    assert (tmp_path / "SHA256SUMS").read_text() == f"{SUM}  sub-01/a.bin\n"
    assert files_in(tmp_path) == ["SHA256SUMS", "sub-01/a.bin"]
    assert told[-1] == ("sub-01/a.bin", len(BODY), len(BODY))
    assert download([source], tmp_path) == []
    assert len(server.asked) == 1


@pytest.mark.parametrize("known", [SUM, ""])
def test_a_download_that_broke_goes_on_where_it_ended(server, tmp_path, monkeypatch, known):
    monkeypatch.setattr(d, "TRIES", 1)
    server.breaks_at = 1_500_000
    with pytest.raises(MissingFile, match="goes on from there"):
        download([Source(f"{server.url}/a", "a.bin", None, known)], tmp_path)
    assert not (tmp_path / "a.bin").exists()
    (part,) = tmp_path.glob(".a.bin.*.partial")
    done = part.stat().st_size
    assert 0 < done <= 1_500_000
    server.breaks_at = None
    download([Source(f"{server.url}/a", "a.bin", None, known)], tmp_path)
    assert server.asked[-1] == f"bytes={done}-"
    assert (tmp_path / "a.bin").read_bytes() == BODY
    assert files_in(tmp_path) == ["SHA256SUMS", "a.bin"]


def test_what_changed_at_its_source_is_not_glued_to_the_old_half(server, tmp_path, monkeypatch):
    monkeypatch.setattr(d, "TRIES", 1)
    server.breaks_at = 1_500_000
    with pytest.raises(MissingFile):
        download([Source(f"{server.url}/a", "a.bin")], tmp_path)
    server.breaks_at, server.version, server.body = None, '"two"', BODY[::-1]
    download([Source(f"{server.url}/a", "a.bin")], tmp_path)
    assert (tmp_path / "a.bin").read_bytes() == BODY[::-1]


def test_a_server_that_knows_no_ranges_starts_over(server, tmp_path, monkeypatch):
    monkeypatch.setattr(d, "TRIES", 1)
    server.breaks_at, server.ranges = 1_500_000, False
    with pytest.raises(MissingFile):
        download([Source(f"{server.url}/a", "a.bin", len(BODY), SUM)], tmp_path)
    server.breaks_at = None
    download([Source(f"{server.url}/a", "a.bin", len(BODY), SUM)], tmp_path)
    assert (tmp_path / "a.bin").read_bytes() == BODY


def test_a_connection_that_breaks_once_is_tried_again(server, tmp_path):
    server.breaks_at = 1_200_000
    with pytest.raises(MissingFile):
        download([Source(f"{server.url}/a", "a.bin", len(BODY), SUM)], tmp_path)
    assert len(server.asked) == d.TRIES


def test_another_content_is_refused_and_nothing_is_kept(server, tmp_path):
    with pytest.raises(DataError, match=r"not the file that was published: expected SHA-256 0000"):
        download([Source(f"{server.url}/a", "a.bin", len(BODY), "0" * 64)], tmp_path)
    assert files_in(tmp_path) == []


def test_a_file_whose_sum_nobody_published_must_be_the_same_the_next_time(server, tmp_path):
    source = Source(f"{server.url}/a", "a.bin")
    download([source], tmp_path)
    (tmp_path / "a.bin").unlink()
    server.body = BODY[::-1]
    with pytest.raises(DataError, match=r"first downloaded, see .*SHA256SUMS"):
        download([source], tmp_path)


def test_another_size_than_the_published_one_is_refused_before_it_is_read(server, tmp_path):
    with pytest.raises(DataError, match=r"has 2,304,000 bytes, the published file has 5"):
        download([Source(f"{server.url}/a", "a.bin", 5, SUM)], tmp_path)


def test_a_login_page_is_no_recording(server, tmp_path):
    server.kind = "text/html; charset=utf-8"
    with pytest.raises(DataError, match="a web page came instead"):
        download([Source(f"{server.url}/a", "a.bin")], tmp_path)


def test_a_file_of_another_size_is_not_overwritten(tmp_path):
    (tmp_path / "a.bin").write_bytes(b"mine")
    with pytest.raises(DataError, match=r"a.bin has 4 bytes.*nothing is overwritten"):
        absent([Source("http://x", "a.bin", 5)], tmp_path)


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/a", "{}/gone"])
def test_without_an_answer_every_file_is_named_with_address_size_and_place(server, tmp_path, url):
    sources = [Source(url.format(server.url), "sub-01/a.bin", 2_000_000, SUM), Source("http://x/b", "b.bin")]
    with pytest.raises(MissingFile) as e:
        download(sources, tmp_path, by_hand="the pictures")
    for word in (sources[0].url, str(tmp_path / "sub-01/a.bin"), "2.0 MB", SUM[:12], "http://x/b", "not published",
                 "the pictures"):  # fmt: skip
        assert word in str(e.value)


def test_a_path_cannot_lead_out_of_the_folder(tmp_path):
    with pytest.raises(DataError, match="leads out of"):
        absent([Source("http://x", "../a.bin")], tmp_path)


def test_more_than_the_disk_holds_is_not_started(tmp_path):
    with pytest.raises(DataError, match="Name fewer"):
        download([Source("http://127.0.0.1:9/a", "a.bin", 10**18)], tmp_path)


@pytest.mark.parametrize("name", [n for n in names("datasets") if n not in ("in_memory", "more_pictures", "phantom")])
def test_every_address_is_whole_and_no_two_files_share_a_place(name):
    sources = dataset(name)().sources()
    assert len({s.path for s in sources}) == len(sources)
    for s in sources:
        assert s.url.startswith("https://")
        assert s.sha256 == "" or len(s.sha256) == 64
        assert not s.path.startswith("/")
        assert ".." not in s.path


def test_the_published_lists_are_those_of_the_publications(shared):
    n170 = {s.path: s for s in order("n170").sources}
    import gzip

    there = sorted((shared / "n170_muse" / "data").rglob("*.csv.gz"))
    assert len(n170) == len(there) == 19
    path = there[0]
    content = gzip.decompress(path.read_bytes())
    told = n170[path.relative_to(shared / "n170_muse").as_posix().removesuffix(".gz")]
    assert (told.size, told.sha256) == (len(content), hashlib.sha256(content).hexdigest())
    low, rsvp = order("mss").sources, order("mss", settings={"task": "rsvp"}).sources
    assert (len(low), len(rsvp)) == (1600, 1592)  # 400 and 398 runs of four files
    assert {s.size for s in low if s.path.endswith(".npy")} == {24_400_128}


def test_an_order_names_subjects_that_are_there():
    assert {s.subject for s in order("mss", subjects=("02",)).sources} == {"02"}
    with pytest.raises(UnknownName, match="No subject named '99'"):
        order("mss", subjects=("99",))
    with pytest.raises(MissingFile, match=r"By hand: .*perceivelab"):
        order("cvpr40")
    assert order("things-eeg2").folder.as_posix() == "data/things_eeg2"


def test_nothing_is_downloaded_before_the_licence_was_accepted(tmp_path):
    import subprocess
    import sys

    def sightwave(*args):
        return subprocess.run([sys.executable, "-m", "sightwave", "fetch", "n170", "--data", str(tmp_path), *args],
                              capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)  # fmt: skip

    done = sightwave()
    assert done.returncode == 64
    assert "Licence: BSD-3-Clause" in done.stdout
    assert "--accept-licence" in done.stderr
    assert not list(tmp_path.iterdir())
    listed = sightwave("--list", "--subjects", "2")
    assert [len(line.split("\t")) for line in listed.stdout.splitlines()] == [4, 4]
