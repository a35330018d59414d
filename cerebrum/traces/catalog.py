"""What `cerebrum traces fetch` downloads: public files, pinned by commit, size and SHA-256.

The checksums are those of the files the test suite runs on (../shared/data, MANIFEST.md). Nothing
appears under its final name before its content is verified; a download that fails leaves nothing.
A name that ends in `.gz` is compressed here: origin and checksum are those of the text.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import tempfile
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any

from cerebrum.model.errors import CerebrumError, InputError, UnknownName
from cerebrum.traces._pins import PINS

RAW_CONTENT = "https://raw.githubusercontent.com/{repository}/{commit}/{path}"
"""Where a file of a public repository is had from: the only address in this package."""
TIMEOUT_S = 30.0
"""Seconds without an answer after which a download is given up."""
_CHUNK = 2**16


class FetchFailed(CerebrumError):
    """A file could not be had, or is not the one that was pinned. Nothing was written.

    Try again later; if the content differs, the origin has changed: do not use what it offers.
    """


@dataclass(frozen=True, slots=True)
class Origin:
    """A public repository at a commit, and the terms its files come under."""

    repository: str
    commit: str
    licence: str


@dataclass(frozen=True, slots=True)
class File:
    """One file: `name` here, `path` at the origin, size in bytes and SHA-256 of its text."""

    name: str
    origin: Origin
    path: str
    size: int
    sha256: str

    @property
    def group(self) -> str:
        """What the file belongs to: openb, jobs, ..."""
        return self.name.split("/")[0]

    def url(self, template: str = RAW_CONTENT) -> str:
        """The address of the file."""
        return template.format(
            repository=self.origin.repository,
            commit=self.origin.commit,
            path=urllib.parse.quote(self.path),
        )


def _files() -> Iterator[File]:
    """The files that `_pins` names: origins begin at the margin, their files are indented."""
    lines = iter(PINS.strip().splitlines())
    origin = Origin("", "", "")
    for line in lines:
        if not line.startswith(" "):
            repository, commit = line.split()
            origin = Origin(repository, commit, next(lines))
            continue
        name, size = line.split()
        sha256, path = next(lines).strip(), next(lines).strip()
        yield File(name, origin, path, int(size), sha256)


FILES = tuple(sorted(_files(), key=lambda file: file.name))
"""Everything that can be fetched."""


def choose(names: Sequence[str]) -> tuple[File, ...]:
    """The files called so, or in a group called so (`openb`, `jobs`); all of them for none."""
    if not names:
        return FILES
    known = {file.name for file in FILES} | {file.group for file in FILES}
    for name in names:
        if name not in known:
            raise UnknownName("file or group", name, known)
    return tuple(file for file in FILES if file.name in names or file.group in names)


def fetch(
    files: Sequence[File],
    folder: Path,
    template: str = RAW_CONTENT,
    tell: Callable[[File, str], None] = lambda file, what: None,
) -> list[Path]:
    """Download what is not in `folder` yet; `tell` hears of each file: present, fetched.

    A file that is there with other content is refused, not replaced.
    """
    paths: list[Path] = []
    for file in files:
        path = folder / file.name
        if path.exists():
            _check_present(file, path)
            tell(file, "present")
        else:
            _store(file, path, _download(file, template))
            tell(file, "fetched")
        paths.append(path)
    return paths


def _check_present(file: File, path: Path) -> None:
    try:
        raw = path.read_bytes()
        data = gzip.decompress(raw) if path.suffix == ".gz" else raw
    except (OSError, EOFError) as error:
        raise InputError(f"cannot be read: {error}").at(path) from None
    if hashlib.sha256(data).hexdigest() != file.sha256:
        raise InputError("is there with other content: move it away to fetch it anew").at(path)


def _download(file: File, template: str) -> bytes:
    """The file's content, not more than its size, verified."""
    url = file.url(template)
    try:
        with _open(url) as answer:
            data = _bounded(answer, file.size)
    except urllib.error.HTTPError as error:
        raise FetchFailed(f"{file.name}: {url} answers {error.code} {error.reason}") from None
    except (OSError, HTTPException, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise FetchFailed(f"{file.name}: {url} cannot be reached: {reason}") from None
    found = hashlib.sha256(data).hexdigest()
    if len(data) != file.size or found != file.sha256:
        raise FetchFailed(
            f"{file.name}: expected {file.size:,} bytes with SHA-256 {file.sha256[:16]}..., "
            f"got {_amount(len(data), file.size)} with {found[:16]}...: not kept"
        )
    return data


class _NoOtherScheme(urllib.request.HTTPRedirectHandler):
    """Follows a redirect only to http or https, and never from https to http."""

    def redirect_request(
        self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> Any:
        if req.full_url.startswith("https:") and not newurl.startswith("https:"):
            raise urllib.error.URLError(f"redirected to {newurl[:60]!r}, refused")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _open(url: str) -> Any:
    if not url.startswith(("https://", "http://")):
        raise ValueError("expected an address that begins with https://")
    request = urllib.request.Request(url, headers={"User-Agent": "cerebrum"})
    return urllib.request.build_opener(_NoOtherScheme).open(request, timeout=TIMEOUT_S)


def _bounded(answer: Any, size: int) -> bytes:
    """At most one byte more than expected, so that too much is noticed and not stored."""
    data = bytearray()
    while len(data) <= size and (chunk := answer.read(min(_CHUNK, size + 1 - len(data)))):
        data += chunk
    return bytes(data)


def _amount(found: int, expected: int) -> str:
    return "more" if found > expected else f"{found:,}"


def _store(file: File, path: Path, data: bytes) -> None:
    content = gzip.compress(data, mtime=0) if path.suffix == ".gz" else data
    temporary = ""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "wb") as target:
            target.write(content)
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except OSError as error:
        raise InputError(f"cannot be written: {error.strerror or error}").at(path) from None
    finally:
        if temporary:
            Path(temporary).unlink(missing_ok=True)
