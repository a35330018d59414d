"""Files from strangers: whatever is wrong with one is said in one line, and nothing hangs."""

from __future__ import annotations

import gzip
import io
import os
import tarfile
import zipfile
import zlib
from pathlib import Path

import pytest

from cerebrum.model.errors import TraceError
from cerebrum.traces import _files


def refusal(path: Path) -> str:
    with pytest.raises(TraceError) as caught:
        _files.read_bytes(path)
    assert "\n" not in str(caught.value)
    return str(caught.value).replace(str(path.parent) + "/", "")


def test_a_missing_file_is_named_with_the_nearest_one(tmp_path: Path):
    (tmp_path / "pods.csv").write_text("a")
    assert refusal(tmp_path / "pod.csv") == "pod.csv: no such file, did you mean 'pods.csv'?"
    assert "there is no folder" in refusal(tmp_path / "nowhere" / "pods.csv")


def test_a_folder_a_pipe_and_a_device_are_not_files(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe")
    assert "found a folder" in refusal(tmp_path)
    assert "expected a regular file" in refusal(tmp_path / "pipe")
    assert "expected a regular file" in refusal(Path("/dev/zero"))


def test_an_empty_file_says_so(tmp_path: Path):
    (tmp_path / "a.csv").write_text("  \n\n")
    assert refusal(tmp_path / "a.csv") == "a.csv: expected text, found an empty file"


def test_gzip_of_several_members_is_read_as_one_text(tmp_path: Path):
    path = tmp_path / "a.csv.gz"
    path.write_bytes(gzip.compress(b"one\n") + gzip.compress(b"two\n") + b"\0" * 512)
    assert _files.read_bytes(path) == b"one\ntwo\n"
    assert _files.head(path) == b"one\n"


def test_truncated_and_corrupt_gzip_are_told_apart(tmp_path: Path):
    whole = gzip.compress(os.urandom(10_000))
    (tmp_path / "short.gz").write_bytes(whole[:5_000])
    (tmp_path / "bad.gz").write_bytes(whole[:50] + b"\xff" * 50 + whole[100:])
    (tmp_path / "tail.gz").write_bytes(gzip.compress(b"text") + b"rubbish")
    assert "truncated gzip" in refusal(tmp_path / "short.gz")
    assert "corrupt gzip" in refusal(tmp_path / "bad.gz")
    assert "corrupt gzip" in refusal(tmp_path / "tail.gz")


def test_a_gzip_bomb_is_refused_before_it_unfolds(tmp_path: Path):
    packer = zlib.compressobj(9, wbits=31)
    block = b"0" * 2**20
    with (tmp_path / "bomb.gz").open("wb") as file:
        for _ in range(256):
            file.write(packer.compress(block))
        file.write(packer.flush())
    assert "over 300 times its size" in refusal(tmp_path / "bomb.gz")


def test_text_above_the_limit_is_refused_packed_or_not(tmp_path: Path):
    (tmp_path / "a.csv").write_bytes(b"x" * 1_001)
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(b"x" * 1_001))
    for name in ("a.csv", "a.csv.gz"):
        with pytest.raises(TraceError, match="expected at most 1,000 bytes"):
            _files.read_bytes(tmp_path / name, max_bytes=1_000)


def test_archives_are_refused_and_nothing_is_unpacked(tmp_path: Path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("../../etc/evil.csv", "x")
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as archive:
        info = tarfile.TarInfo("/etc/evil.csv")
        info.size = 1
        archive.addfile(info, io.BytesIO(b"x"))
    assert refusal(tmp_path / "a.zip") == "a.zip: found a zip archive; unpack it first: unzip a.zip"
    assert "found a tar archive" in refusal(tmp_path / "a.tar.gz")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.tar.gz", "a.zip"]


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"\x7fELF\x02\x01", "found a program"),
        (b"PAR1\x00", "found a Parquet file"),
        ("a,b\n".encode("utf-16"), "found UTF-16 text"),
        (b"\xfd7zXZ\x00", "found xz-compressed"),
    ],
)
def test_other_formats_are_called_by_name(tmp_path: Path, data: bytes, problem: str):
    (tmp_path / "a.csv").write_bytes(data)
    assert problem in refusal(tmp_path / "a.csv")


def test_a_byte_that_is_not_utf8_is_named_by_line_and_column(tmp_path: Path):
    path = tmp_path / "a.csv"
    path.write_bytes(b"name\ncaf\xe9\n")
    with pytest.raises(TraceError) as caught:
        _files.read_text(path)
    assert (caught.value.place.line, caught.value.problem) == (
        2,
        "expected UTF-8 text, found byte 0xe9 at column 4",
    )
    path.write_bytes(b"name\na\n\x00\x01")
    with pytest.raises(TraceError, match=r"a\.csv:3: expected text, found control byte 0x00"):
        _files.read_text(path)


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path: Path):
    (tmp_path / "a.csv").write_bytes(b"\xef\xbb\xbfname\n")
    assert _files.read_text(tmp_path / "a.csv") == "name\n"


def test_lines_are_numbered_and_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "a.txt"
    path.write_bytes(b"one\r\ntwo\n" + b"x" * 30)
    assert list(_files.lines(path)) == [(1, "one"), (2, "two"), (3, "x" * 30)]
    monkeypatch.setattr(_files, "MAX_LINE_BYTES", 20)
    with pytest.raises(TraceError, match=r"a\.txt:3: expected at most 20 bytes in a line"):
        list(_files.lines(path))


def test_a_folder_gives_its_files_in_order_and_no_link_leads_out(tmp_path: Path):
    inside = tmp_path / "in"
    inside.mkdir()
    for name in ("b.yaml", "a.yaml.gz", ".hidden.yaml", "c.txt"):
        (inside / name).write_text("x")
    (inside / "link.yaml").symlink_to(inside / "b.yaml")
    found = [path.name for path in _files.files_in(inside, (".yaml",))]
    assert found == ["a.yaml.gz", "b.yaml", "link.yaml"]
    (inside / "out.yaml").symlink_to("/etc/hostname")
    with pytest.raises(TraceError, match=r"out\.yaml: refused: a link that leads out"):
        _files.files_in(inside, (".yaml",))


def test_writing_replaces_the_file_in_one_step(tmp_path: Path):
    path = tmp_path / "new" / "a.csv"
    _files.write_text(path, "old")
    _files.write_text(path, "new")
    assert path.read_text() == "new"
    assert [p.name for p in path.parent.iterdir()] == ["a.csv"]
    with pytest.raises(TraceError, match="cannot be written"):
        _files.write_text(path / "below", "x")


def test_a_tally_that_keeps_nothing_is_an_error(tmp_path: Path):
    tally = _files.Tally(read=3)
    tally.drop("finished", 2)
    assert str(tally.report(tmp_path)) == "3 rows read, 1 kept, 2 dropped (finished)"
    tally.drop("gated")
    with pytest.raises(TraceError, match=r"no pods to schedule: 3 read, 2 dropped \(finished\)"):
        tally.report(tmp_path, "pods")
