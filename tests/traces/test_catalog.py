"""Fetching public files: verified before they appear, from a server on this machine."""

from __future__ import annotations

import gzip
import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from cerebrum.model.errors import InputError, UnknownName
from cerebrum.traces import catalog
from cerebrum.traces.catalog import File, Origin

TEXT = b"arrival_time,length,cpus\n0.0,60.0,1\n"
ORIGIN = Origin("owner/name", "0" * 40, "MIT")


def pinned(name: str = "jobs/a.csv", path: str = "data/a list.csv", data: bytes = TEXT) -> File:
    return File(name, ORIGIN, path, len(data), hashlib.sha256(data).hexdigest())


class Server(ThreadingHTTPServer):
    answer: tuple[int, dict[str, str], bytes]
    asked: list[str]


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        status, headers, body = self.server.answer
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server(("127.0.0.1", 0), Handler)
    server.answer, server.asked = (200, {}, TEXT), []
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def template(server: Server) -> str:
    return f"http://127.0.0.1:{server.server_port}/{{repository}}/{{commit}}/{{path}}"


def files(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def test_a_file_is_fetched_once(server: Server, tmp_path: Path) -> None:
    told: list[str] = []
    for _ in range(2):
        paths = catalog.fetch(
            [pinned()], tmp_path, template(server), lambda file, what: told.append(what)
        )
        assert [path.read_bytes() for path in paths] == [TEXT]
    assert told == ["fetched", "present"]
    assert server.asked == [f"/owner/name/{'0' * 40}/data/a%20list.csv"]


def test_a_name_in_gz_is_compressed_here(server: Server, tmp_path: Path) -> None:
    (path,) = catalog.fetch([pinned("jobs/a.csv.gz")], tmp_path, template(server))
    assert gzip.decompress(path.read_bytes()) == TEXT
    assert catalog.fetch([pinned("jobs/a.csv.gz")], tmp_path, template(server)) == [path]
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ((200, {}, TEXT[:-1] + b"2"), "36 bytes with SHA-256 .*: not kept"),
        ((200, {}, TEXT[:-5]), "expected 36 bytes .*, got 31 with .*: not kept"),
        ((200, {}, TEXT + b"x" * 10_000_000), "expected 36 bytes .*, got more with .*: not kept"),
        ((404, {}, b"no"), "answers 404 Not Found"),
        ((302, {"Location": "file:///etc/hostname"}, b""), "302"),
        ((302, {"Location": "http://127.0.0.1:9/"}, b""), "cannot be reached"),
    ],
)
def test_what_is_not_the_pinned_file_is_not_kept(
    server: Server, tmp_path: Path, answer: tuple[int, dict[str, str], bytes], message: str
) -> None:
    server.answer = answer
    with pytest.raises(catalog.FetchFailed, match=message):
        catalog.fetch([pinned()], tmp_path, template(server))
    assert files(tmp_path) == []


def test_no_server_no_file(tmp_path: Path) -> None:
    with pytest.raises(catalog.FetchFailed, match=r"jobs/a\.csv: http.* cannot be reached"):
        catalog.fetch([pinned()], tmp_path, "http://127.0.0.1:9/{repository}/{commit}/{path}")
    with pytest.raises(catalog.FetchFailed, match="an address that begins with https"):
        catalog.fetch([pinned()], tmp_path, "file:///{path}")
    assert files(tmp_path) == []


def test_a_file_with_other_content_is_not_replaced(server: Server, tmp_path: Path) -> None:
    (tmp_path / "jobs").mkdir()
    (tmp_path / "jobs" / "a.csv").write_text("mine")
    with pytest.raises(InputError, match=r"a\.csv: is there with other content: move it away"):
        catalog.fetch([pinned()], tmp_path, template(server))
    assert (tmp_path / "jobs" / "a.csv").read_text() == "mine"
    assert server.asked == []


def test_every_pin_is_well_formed() -> None:
    assert len(catalog.FILES) == 49
    assert len({file.name for file in catalog.FILES}) == 49
    for file in catalog.FILES:
        assert 0 < file.size < 2**24
        assert len(file.sha256) == 64
        assert len(file.origin.commit) == 40
        assert file.origin.repository.count("/") == 1
        assert file.origin.licence
        assert file.url().startswith("https://")


def test_the_pins_are_those_of_the_files_the_tests_run_on(shared_data: Path) -> None:
    for file in catalog.FILES:
        raw = (shared_data / file.name).read_bytes()
        data = gzip.decompress(raw) if file.name.endswith(".gz") else raw
        assert (len(data), hashlib.sha256(data).hexdigest()) == (file.size, file.sha256), file.name


def test_the_pinned_origins_are_in_the_manifest(shared_data: Path) -> None:
    manifest = (shared_data / "MANIFEST.md").read_text()
    for file in catalog.FILES:
        assert file.origin.repository in manifest
        assert file.origin.commit[:7] in manifest


def test_files_are_chosen_by_name_or_group() -> None:
    assert catalog.choose([]) == catalog.FILES
    assert {file.group for file in catalog.choose(["openb"])} == {"openb"}
    assert len(catalog.choose(["openb", "jobs/lublin_256.swf.gz"])) == 9
    with pytest.raises(UnknownName, match="unknown file or group 'opnb': did you mean 'openb'"):
        catalog.choose(["opnb"])
