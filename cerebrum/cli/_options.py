"""Options that several commands share, and how their text is read."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cerebrum.cli._output import Output
from cerebrum.model.errors import ConfigError
from cerebrum.model.literals import literal

Policies = Annotated[
    list[str] | None,
    typer.Option(
        "--policy", "-p", help="Policy: name, profile.yaml or file.py:function. Repeat, or a,b,c."
    ),
]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Seed of everything random.")]
RunsDir = Annotated[Path, typer.Option("--runs-dir", help="Where runs are kept.")]
Form = Annotated[Output, typer.Option("--output", "-o", help="Form of what is printed.")]
Format = Annotated[
    str | None, typer.Option("--format", help="Trace format, where it is not recognised.")
]
Settings = Annotated[
    list[str] | None, typer.Option("--set", help="key=value for the trace's reader. Repeat.")
]
Data = Annotated[
    Path | None,
    typer.Option("--data", help="Folder of real data (default: $CEREBRUM_DATA, ../shared/data)."),
]


def split(values: list[str] | None) -> list[str]:
    """`-p a,b -p c` as [a, b, c]: commas separate, but not inside `name:key=value,key=value`."""
    out: list[str] = []
    for value in values or []:
        parts: list[str] = []
        for part in value.split(","):
            inside = parts and ":" in parts[-1] and "=" in part and ":" not in part
            if inside:
                parts[-1] += f",{part}"
            else:
                parts.append(part.strip())
        out += [part for part in parts if part]
    return out


def seeds(text: str) -> list[int]:
    """`42..51`, `1,2,3` or `7` as numbers."""
    out: list[int] = []
    for part in text.split(","):
        low, dots, high = part.strip().partition("..")
        if not (low.isdigit() and low.isascii() and (not dots or high.isdigit())):
            raise ConfigError(f"expected seeds such as 42..51 or 1,2,3, got {text!r}").at(
                field="seeds"
            )
        last = int(high) if dots else int(low)
        if last < int(low) or last - int(low) > 100_000:
            raise ConfigError(f"expected 1 to 100,000 seeds, got {part!r}").at(field="seeds")
        out += range(int(low), last + 1)
    return list(dict.fromkeys(out))


def reader_options(settings: list[str] | None) -> dict[str, str | int | float | bool]:
    """`--set key=value` as options of a trace's reader."""
    out: dict[str, str | int | float | bool] = {}
    for setting in settings or []:
        key, equals, value = setting.partition("=")
        if not equals or not key.isidentifier():
            raise ConfigError(f"expected key=value, got {setting!r}").at(field="--set")
        out[key] = literal(value)
    return out


def data_folder(given: Path | None, name: str) -> Path:
    """Where the real data of that name lies: as given, else $CEREBRUM_DATA, else ../shared/data."""
    import os

    from cerebrum.model.errors import NotFound

    if given is not None:
        if not given.is_dir():
            raise NotFound(f"{given}: there is no such folder")
        return given
    base = Path(os.environ.get("CEREBRUM_DATA") or "../shared/data")
    if not (base / name).is_dir():
        raise NotFound(
            f"{base / name}: there is no such folder; give --data DIR, or set CEREBRUM_DATA"
        )
    return base / name


def real_data(given: Path | None) -> Path | None:
    """The folder of all real data, if there is one; who needs something of it says so himself."""
    import os

    if given is not None:
        return data_folder(given, "")
    base = Path(os.environ.get("CEREBRUM_DATA") or "../shared/data")
    return base if base.is_dir() else None
