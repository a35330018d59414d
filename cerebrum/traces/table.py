"""Cerebrum's own format: a scenario without loss, in Parquet tables and a JSON description.

A folder, or a zip file that holds the same without compression: `meta.json`, `nodes.parquet`,
`classes.parquet`, `tasks.parquet`, `labels.parquet`, `bound.parquet`, `jobs.parquet`,
`events.parquet`. `meta.json` names the rows and the SHA-256 of every table, so damage is found
before a table is parsed. Written in one step: there is the old one or the whole new one, never a
part.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar, cast

import polars as pl

from cerebrum.model.cluster import Cluster
from cerebrum.model.errors import InputError, TraceError
from cerebrum.model.scenario import ReadReport, Scenario
from cerebrum.traces import _files
from cerebrum.traces import _table_rows as rows
from cerebrum.traces._fields import Fields
from cerebrum.traces._yaml import Source

DESCRIPTION = "Cerebrum's own lossless tables (a folder, or one .zip)"
EXTENSIONS = (".zip",)

VERSION = 2
MAX_BYTES = 2**32
"""Bytes all files of a scenario may hold together."""
_MAX_META_BYTES = 2**26
_META = "meta.json"
_MARK = b'{"format": "cerebrum-table"'
_MEMBERS = (_META, *(f"{name}.parquet" for name in rows.SCHEMAS))
_KEYS = (
    "format", "version", "name", "cluster", "zone", "nodes", "classes", "typical", "max_attempts",
    "source", "start_unix_s", "report", "profile", "tables",
)  # fmt: skip
_BAD_ZIP = (zipfile.BadZipFile, NotImplementedError, EOFError, RuntimeError, ValueError, OSError,
            struct.error, zlib.error, KeyError)  # fmt: skip

T = TypeVar("T")


def sniff(path: Path, head: bytes) -> bool:
    """Whether the folder holds a meta.json of ours, or the file is a zip that begins with one."""
    if path.is_dir():
        meta = path / _META
        return meta.is_file() and _files.head(meta, 64).startswith(_MARK)
    return head.startswith(b"PK\x03\x04") and head[30:].startswith(_META.encode() + _MARK)


def read(path: Path) -> Scenario:
    """The scenario, as it was written."""
    files = _from_folder(path) if path.is_dir() else _from_zip(path)
    meta = _meta(path, files[_META])
    frames = {name: _frame(path, meta, name, files[f"{name}.parquet"]) for name in rows.SCHEMAS}
    nodes = _placed(path, "nodes", lambda: rows.nodes_from(frames["nodes"]))
    weighted = _placed(path, "classes", lambda: rows.classes_from(frames["classes"]))
    own = meta.integer("nodes", 0, 0, len(nodes))
    count = meta.integer("classes", 0, 0, len(weighted))
    jobs = rows.jobs_from(frames["jobs"])
    classes = [task_class for task_class, _ in weighted[:count]]
    label_sets = _placed(path, "labels", lambda: rows.labels_from(frames["labels"]))
    start = meta.data.get("start_unix_s")
    return Scenario(
        cluster=_placed(
            path,
            "nodes",
            lambda: Cluster(tuple(nodes[:own]), meta.text("cluster"), meta.text("zone")),
        ),
        tasks=_placed(
            path, "tasks", lambda: rows.tasks_from(frames["tasks"], classes, jobs, label_sets)
        ),
        name=meta.text("name"),
        node_events=_placed(
            path, "events", lambda: tuple(rows.events_from(frames["events"], nodes))
        ),
        typical=tuple(weighted[count:]) if meta.flag("typical") else None,
        max_attempts=meta.integer("max_attempts", 10, 0),
        source=meta.text("source"),
        report=_report(meta.child("report")),
        profile=meta.child("profile").data if "profile" in meta else None,
        start_unix_s=None if start is None else meta.number("start_unix_s", 0.0, -1e12, 1e12),
        bound=rows.bound_from(frames["bound"]),
    )


def write(scenario: Scenario, path: Path) -> None:
    """Write the scenario into a `.zip` file, or else a folder, that may hold an older one."""
    try:
        files = _encoded(scenario)
    except (ValueError, TypeError, OverflowError, pl.exceptions.PolarsError) as error:
        raise TraceError(f"cannot be written: {error}").at(path) from None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".zip":
            _write_zip(path, files)
        else:
            _write_folder(path, files)
    except OSError as error:
        raise TraceError(f"cannot be written: {error.strerror or error}").at(path) from None


def _encoded(scenario: Scenario) -> dict[str, bytes]:
    """File name -> content; the same scenario always gives the same bytes."""
    if len(scenario.tasks) > _files.MAX_ROWS:
        raise ValueError(f"expected at most {_files.MAX_ROWS:,} tasks")
    nodes = list(scenario.cluster.nodes)
    joining = [event.node for event in scenario.node_events if event.node is not None]
    frames = {
        "nodes": rows.nodes_frame(nodes + joining),
        "classes": rows.classes_frame(scenario.tasks.classes, scenario.typical or ()),
        "tasks": rows.tasks_frame(scenario.tasks),
        "labels": rows.labels_frame(scenario.tasks.label_sets),
        "bound": rows.bound_frame(scenario.bound),
        "jobs": rows.jobs_frame(scenario.tasks.jobs),
        "events": rows.events_frame(scenario.node_events, len(nodes)),
    }
    files = {f"{name}.parquet": _parquet(frame) for name, frame in frames.items()}
    report = scenario.report
    meta = {
        "format": "cerebrum-table",
        "version": VERSION,
        "name": scenario.name,
        "cluster": scenario.cluster.name,
        "zone": scenario.cluster.zone,
        "nodes": len(nodes),
        "classes": len(scenario.tasks.classes),
        "typical": scenario.typical is not None,
        "max_attempts": scenario.max_attempts,
        "source": scenario.source,
        "start_unix_s": scenario.start_unix_s,
        "report": {
            "read": report.read,
            "kept": report.kept,
            "dropped": dict(report.dropped),
            "notes": list(report.notes),
        },
        "profile": None if scenario.profile is None else dict(scenario.profile),
        "tables": {
            name: {"rows": frame.height, "sha256": _sha256(files[f"{name}.parquet"])}
            for name, frame in frames.items()
        },
    }
    text = json.dumps(meta, ensure_ascii=False, allow_nan=False)
    return {_META: text.encode(), **files}


def _parquet(frame: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.write_parquet(buffer, compression="zstd", statistics=False)
    return buffer.getvalue()


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _write_zip(path: Path, files: Mapping[str, bytes]) -> None:
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file, zipfile.ZipFile(file, "w") as archive:
            for name, data in files.items():
                archive.writestr(zipfile.ZipInfo(name), data)
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    finally:
        Path(temporary).unlink(missing_ok=True)


def _write_folder(path: Path, files: Mapping[str, bytes]) -> None:
    if path.exists() and not (path.is_dir() and (sniff(path, b"") or not any(path.iterdir()))):
        raise TraceError("something else is there: choose another folder").at(path)
    temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
    try:
        new = temporary / "new"
        new.mkdir()
        for name, data in files.items():
            (new / name).write_bytes(data)
        if path.exists():
            path.rename(temporary / "old")
        new.rename(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _from_folder(folder: Path) -> dict[str, bytes]:
    """The files of the folder, bounded; others are left alone."""
    files: dict[str, bytes] = {}
    for name in _MEMBERS:
        size = _files.check_file(folder / name).st_size
        _check_size(folder / name, name, size + sum(map(len, files.values())))
        try:
            files[name] = (folder / name).read_bytes()
        except OSError as error:
            raise TraceError(f"cannot be read: {error.strerror}").at(folder / name) from None
    return files


def _from_zip(path: Path) -> dict[str, bytes]:
    """The members of the archive, which must be just ours and not compressed; nothing is unpacked
    to disk."""
    _check_size(path, _META, _files.check_file(path).st_size)
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            names = [member.filename for member in members]
            for member in members:
                if member.filename not in _MEMBERS or names.count(member.filename) > 1:
                    raise TraceError(f"unexpected member {member.filename[:60]!r}").at(path)
                if member.compress_type != zipfile.ZIP_STORED:
                    raise TraceError("expected members without compression").at(path)
                _check_size(path, member.filename, member.file_size)
            if missing := [name for name in _MEMBERS if name not in names]:
                raise TraceError(f"expected a member {missing[0]}").at(path)
            return {name: archive.read(name) for name in _MEMBERS}
    except _BAD_ZIP as error:
        raise TraceError(f"not a valid zip file: {error}").at(path) from None


def _check_size(path: Path, name: str, size: int) -> None:
    limit = _MAX_META_BYTES if name == _META and path.name == _META else MAX_BYTES
    if size > limit:
        raise TraceError(f"expected at most {limit:,} bytes, found {size:,}").at(path)


def _meta(path: Path, data: bytes) -> Fields:
    where = path / _META
    if len(data) > _MAX_META_BYTES:
        raise TraceError(f"expected at most {_MAX_META_BYTES:,} bytes").at(where)
    source = Source(where, _files.decode(where, data))
    documents = source.documents()
    root = documents[0] if documents else None
    meta = Fields(source, 0, (), cast("dict[str, Any]", root) if isinstance(root, dict) else {})
    if meta.data.get("format") != "cerebrum-table":
        raise TraceError("expected Cerebrum's table format").at(where, field="format")
    if meta.integer("version", 0) != VERSION:
        raise meta.error(
            f"expected {VERSION}, got {meta.data.get('version')}: written by another version of "
            "Cerebrum",
            "version",
        )
    meta.only(_KEYS, "key")
    for name in ("nodes", "classes", "tables"):
        if name not in meta:
            raise meta.error("expected a value, found nothing", name)
    return meta


def _frame(path: Path, meta: Fields, name: str, data: bytes) -> pl.DataFrame:
    """One table, once its checksum, row count and columns are what `meta.json` and we say."""
    where = path / f"{name}.parquet"
    table = meta.at("tables", name)
    count = table.integer("rows", -1, 0, _files.MAX_ROWS)
    if _sha256(data) != table.text("sha256"):
        raise TraceError("the checksum differs: the table is damaged or was edited").at(where)
    try:
        schema = pl.read_parquet_schema(io.BytesIO(data))
        if schema != rows.SCHEMAS[name]:
            raise TraceError(_schema_problem(schema, rows.SCHEMAS[name])).at(where)
        found = pl.scan_parquet(io.BytesIO(data)).select(pl.len()).collect().item()
        if found != count:
            raise TraceError(f"expected {count:,} rows, found {found:,}").at(where)
        frame = pl.read_parquet(io.BytesIO(data))
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError):
        raise TraceError("not a valid Parquet file").at(where) from None
    for column in frame.columns:
        if frame[column].null_count():
            raise TraceError("expected a value in every row").at(where, field=column)
    return frame


def _schema_problem(found: Mapping[str, Any], expected: Mapping[str, Any]) -> str:
    for name, kind in expected.items():
        if name not in found:
            return f"expected a column {name!r}"
        if found[name] != kind:
            return f"expected column {name!r} of type {kind}, got {found[name]}"
    extra = [name for name in found if name not in expected]
    return f"unknown column {extra[0]!r}" if extra else "expected the columns in another order"


def _report(fields: Fields) -> ReadReport:
    dropped = fields.child("dropped")
    counts = {reason: dropped.integer(reason, 0, 0, 2**53) for reason in dropped.data}
    return ReadReport(
        read=fields.integer("read", 0, 0, 2**53),
        kept=fields.integer("kept", 0, 0, 2**53),
        dropped=MappingProxyType(counts),
        notes=fields.texts("notes"),
    )


def _placed(path: Path, table: str, build: Callable[[], T]) -> T:
    """What `build` makes; an `InputError` of it names the table it comes from."""
    try:
        return build()
    except TraceError:
        raise
    except InputError as error:
        where = path / f"{table}.parquet"
        raise TraceError(error.problem).at(where, field=error.place.field) from None
