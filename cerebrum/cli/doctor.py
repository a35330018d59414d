"""`cerebrum doctor`: versions, caches, and what is missing on this machine."""

from __future__ import annotations

import os
import platform
import shutil
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import typer

from cerebrum.cli import _options as options
from cerebrum.cli._output import Output, emit

NEEDED = ("numpy", "numba", "polars", "pydantic", "jinja2", "joblib", "ortools", "pyyaml", "typer")
OPTIONAL = (("distributed", "bench --backend dask"), ("ray", "bench --backend ray"))


def register(app: typer.Typer, line: str) -> None:
    """Add the command."""
    app.command("doctor", help=line)(doctor)


def doctor(output: options.Form = Output.TABLE) -> None:
    """Check this machine; exit code 1 if something needed is missing."""
    rows = [*_python(), *_packages(), *_cache(), *_data()]
    emit(rows, output)
    if any(row["state"] == "missing" for row in rows):
        raise typer.Exit(1)


def _row(what: str, found: str, state: str = "ok", remedy: str = "") -> dict[str, Any]:
    return {"what": what, "found": found, "state": state, "remedy": remedy}


def _python() -> list[dict[str, Any]]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return [
        _row("cerebrum", version("cerebrum")),
        _row("python", platform.python_version()),
        _row("machine", f"{platform.system()} {platform.machine()}, {cores} cores"),
    ]


def _packages() -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for name in NEEDED:
        try:
            rows.append(_row(name, version(name)))
        except PackageNotFoundError:
            rows.append(_row(name, "-", "missing", f"pip install {name}"))
    for name, use in OPTIONAL:
        if find_spec(name) is None:
            extra = "dask" if name == "distributed" else name
            rows.append(_row(name, "-", "optional", f"for {use}: pip install 'cerebrum[{extra}]'"))
        else:
            rows.append(_row(name, version(name)))
    return rows


def _cache() -> list[dict[str, Any]]:
    from cerebrum.engine.compiled import JIT, cache_folder

    folder = cache_folder()
    if not JIT:
        return [_row("kernels", "NUMBA_DISABLE_JIT is set", "slow", "unset NUMBA_DISABLE_JIT")]
    parent = next(p for p in (folder, *folder.parents) if p.exists())
    if not os.access(parent, os.W_OK):
        return [_row("kernels", str(folder), "slow", "not writable: set NUMBA_CACHE_DIR")]
    compiled = sum(1 for _ in folder.rglob("*.nbc")) if folder.exists() else 0
    state = "ok" if compiled else "empty"
    remedy = "" if compiled else "the first simulation compiles for about two minutes"
    free = shutil.disk_usage(parent).free // 2**20
    return [_row("kernels", f"{folder}, {compiled} compiled, {free:,} MiB free", state, remedy)]


def _data() -> list[dict[str, Any]]:
    folder = Path(os.environ.get("CEREBRUM_DATA") or "../shared/data")
    if folder.is_dir():
        return [_row("real data", str(folder))]
    return [_row("real data", "-", "optional", "`cerebrum traces fetch`, or set CEREBRUM_DATA")]
