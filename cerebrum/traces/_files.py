"""Careful, bounded access to files that strangers wrote: every problem is one `TraceError`.

What is read is a regular file of UTF-8 text, plain or gzip, of bounded size. Archives and other
compressions are refused by name, so nothing in here ever unpacks paths that a stranger chose.
"""

from __future__ import annotations

import os
import stat
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from cerebrum.model.errors import TraceError, nearest
from cerebrum.model.scenario import ReadReport

MAX_BYTES = 2**30
"""Bytes of text one file may hold, after decompression."""
MAX_RATIO = 300
"""How many times larger than the file its text may be, once it is over 16 MiB (a gzip bomb)."""
MAX_LINE_BYTES = 2**20
"""Bytes one line may hold."""
MAX_ROWS = 20_000_000
"""Rows one table may hold."""
MAX_FILES = 20_000
"""Files a folder may hold that is read as one scenario."""
HEAD_BYTES = 2**16
"""Bytes of text a format is recognised by."""

_RATIO_FREE_BYTES = 2**24
_CHUNK = 2**20
_REFUSED = (
    (b"PK\x03\x04", "a zip archive", "unpack it first: unzip FILE"),
    (b"\xfd7zXZ\x00", "xz-compressed", "decompress it first: xz -d FILE"),
    (b"BZh", "bzip2-compressed", "decompress it first: bzip2 -d FILE"),
    (b"\x28\xb5\x2f\xfd", "zstd-compressed", "decompress it first: zstd -d FILE"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", "unpack it first"),
    (b"PAR1", "a Parquet file", "expected text"),
    (b"\x7fELF", "a program", "expected text"),
    (b"\xff\xfe", "UTF-16 text", "convert it first: iconv -f UTF-16 -t UTF-8"),
    (b"\xfe\xff", "UTF-16 text", "convert it first: iconv -f UTF-16 -t UTF-8"),
)


def check_file(path: Path) -> os.stat_result:
    """The stat of a readable regular file; `TraceError` for anything else, with what there is."""
    try:
        status = path.stat()
    except FileNotFoundError:
        raise TraceError(_no_such_file(path)).at(path) from None
    except (OSError, ValueError) as error:
        raise TraceError(f"cannot be opened: {_reason(error)}").at(path) from None
    if stat.S_ISDIR(status.st_mode):
        raise TraceError("expected a file, found a folder").at(path)
    if not stat.S_ISREG(status.st_mode):
        raise TraceError("expected a regular file, found a device, pipe or socket").at(path)
    return status


def head(path: Path, size: int = HEAD_BYTES) -> bytes:
    """The first bytes of the text (decompressed), for recognising a format; b"" for a folder."""
    if path.is_dir():
        return b""
    check_file(path)
    raw = _raw(path, size)
    if not raw.startswith(b"\x1f\x8b"):
        return raw
    try:
        return zlib.decompressobj(wbits=31).decompress(raw, size)
    except zlib.error as error:
        raise TraceError(f"corrupt gzip: {error}").at(path) from None


def read_bytes(path: Path, max_bytes: int = MAX_BYTES) -> bytes:
    """The file's text as bytes, decompressed if it is gzip, without a byte order mark.

    Refuses files above `max_bytes`, gzip bombs, truncated or corrupt gzip, archives and anything
    that is not text.
    """
    status = check_file(path)
    if status.st_size > max_bytes:
        raise TraceError(_too_large(max_bytes, f"{status.st_size:,}")).at(path)
    raw = _raw(path, max_bytes + 1)
    data = _gunzip(path, raw, max_bytes) if raw.startswith(b"\x1f\x8b") else raw
    if len(data) > max_bytes:
        raise TraceError(_too_large(max_bytes, "more")).at(path)
    refuse_other_kinds(path, data)
    if not data or data.isspace():  # stops at the first letter; strip() would copy all of it
        raise TraceError("expected text, found an empty file").at(path)
    return data.removeprefix(b"\xef\xbb\xbf")


def read_text(path: Path, max_bytes: int = MAX_BYTES) -> str:
    """The file's text, decoded; a byte that is not UTF-8 is named with its line."""
    return decode(path, read_bytes(path, max_bytes))


def decode(path: Path, data: bytes) -> str:
    """UTF-8 text of `data`; control characters other than tab and line ends are refused."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line, column = position(data, error.start)
        raise TraceError(
            f"expected UTF-8 text, found byte 0x{data[error.start]:02x} at column {column}"
        ).at(path, line) from None
    if (wrong := data.translate(_CONTROL_TO_NUL).find(b"\0")) >= 0:
        line, column = position(data, wrong)
        raise TraceError(
            f"expected text, found control byte 0x{data[wrong]:02x} at column {column}"
        ).at(path, line)
    return text


def position(data: bytes, offset: int) -> tuple[int, int]:
    """Line and column of a byte offset, both from 1; the column counts bytes."""
    return data.count(b"\n", 0, offset) + 1, offset - data.rfind(b"\n", 0, offset)


def lines(path: Path, max_bytes: int = MAX_BYTES) -> Iterator[tuple[int, str]]:
    """Line numbers from 1 and lines without their ends; for formats that are not tables."""
    for number, line in enumerate(read_text(path, max_bytes).split("\n"), 1):
        if len(line) > MAX_LINE_BYTES:
            raise TraceError(f"expected at most {MAX_LINE_BYTES:,} bytes in a line").at(
                path, number
            )
        yield number, line.removesuffix("\r")


def files_in(folder: Path, suffixes: Sequence[str]) -> list[Path]:
    """Regular files under `folder` with one of the suffixes (`.gz` may follow), in sorted order.

    Hidden files are left out. Links are followed only where they stay inside the folder.
    """
    root = folder.resolve()
    found: list[Path] = []
    for directory, folders, names in os.walk(folder, followlinks=False):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if name.startswith(".") or not name.removesuffix(".gz").endswith(tuple(suffixes)):
                continue
            path = Path(directory, name)
            if path.is_symlink() and not path.resolve().is_relative_to(root):
                raise TraceError("refused: a link that leads out of the folder").at(path)
            found.append(path)
            if len(found) > MAX_FILES:
                raise TraceError(f"expected at most {MAX_FILES:,} files").at(folder)
    return found


def write_text(path: Path, text: str) -> None:
    """Write `text` in one step: readers see the old file or the whole new one."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except OSError as error:
        raise TraceError(f"cannot be written: {_reason(error)}").at(path) from None


@dataclass
class Tally:
    """Counts what a reader keeps of a file, and refuses to keep nothing of it."""

    read: int = 0
    dropped: dict[str, int] = field(default_factory=dict[str, int])
    notes: dict[str, None] = field(default_factory=dict[str, None])

    def drop(self, reason: str, count: int = 1) -> None:
        """`count` rows are left out because of `reason`."""
        if count:
            self.dropped[reason] = self.dropped.get(reason, 0) + count

    def note(self, text: str) -> None:
        """Say once what was assumed or is not supported."""
        self.notes.setdefault(text)

    def report(self, path: Path, what: str = "rows") -> ReadReport:
        """What was kept; `TraceError` when that is nothing."""
        kept = self.read - sum(self.dropped.values())
        if kept <= 0:
            why = "".join(f", {n:,} dropped ({reason})" for reason, n in self.dropped.items())
            raise TraceError(f"no {what} to schedule: {self.read:,} read{why}").at(path)
        return ReadReport(self.read, kept, MappingProxyType(dict(self.dropped)), tuple(self.notes))


_CONTROL_TO_NUL = bytes(0 if i < 32 and i not in b"\t\n\r" else i for i in range(256))


def _raw(path: Path, size: int) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(size)
    except OSError as error:
        raise TraceError(f"cannot be read: {_reason(error)}").at(path) from None


def _gunzip(path: Path, raw: bytes, max_bytes: int) -> bytes:
    """All members of a gzip file, stopping as soon as a bound is passed."""
    chunks: list[bytes] = []
    total, rest = 0, raw
    while rest.strip(b"\0"):
        member = zlib.decompressobj(wbits=31)
        while not member.eof:
            try:
                chunk = member.decompress(rest, _CHUNK)
            except zlib.error as error:
                raise TraceError(f"corrupt gzip: {error}").at(path) from None
            rest = member.unused_data if member.eof else member.unconsumed_tail
            if not chunk and not member.eof and not rest:
                raise TraceError("truncated gzip: the file ends early, copy it again").at(path)
            chunks.append(chunk)
            total += len(chunk)
            _check_expansion(path, total, len(raw), max_bytes)
    return b"".join(chunks)


def _check_expansion(path: Path, total: int, compressed: int, max_bytes: int) -> None:
    if total > max_bytes:
        raise TraceError(_too_large(max_bytes, "more once decompressed")).at(path)
    if total > _RATIO_FREE_BYTES and total > MAX_RATIO * compressed:
        raise TraceError(
            f"refused: decompresses to over {MAX_RATIO} times its size (a gzip bomb?)"
        ).at(path)


def refuse_other_kinds(path: Path, data: bytes) -> None:
    """Refuse archives, other compressions and binary files, by name and with what to do."""
    for magic, what, remedy in _REFUSED:
        if data.startswith(magic):
            raise TraceError(f"found {what}; {remedy.replace('FILE', path.name)}").at(path)
    if data[257:262] == b"ustar":
        raise TraceError(f"found a tar archive; unpack it first: tar -xf {path.name}").at(path)


def _no_such_file(path: Path) -> str:
    try:
        near = nearest(path.name, (other.name for other in path.parent.iterdir()))
    except OSError:
        return f"no such file: there is no folder {str(path.parent)!r}"
    return f"no such file, did you mean {near!r}?" if near else "no such file"


def _too_large(limit: int, found: str) -> str:
    return f"expected at most {limit:,} bytes of text, found {found}"


def _reason(error: Exception) -> str:
    return (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
