"""Published tables, re-run side by side: one paper a module, each with `reproduce(...)`."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from cerebrum.model.errors import UnknownName

TABLES = {
    "fgd": "GPU allocation and fragmentation of six policies (USENIX ATC'23)",
    "rlscheduler": "Bounded slowdown of five queue policies on Lublin-1 (SC'20)",
    "ecsched": "Mean completion time of four placement policies (ECSched, 2018)",
}
"""Name of a table -> what it shows. The module of that name re-runs it."""

FOLDERS = {"fgd": "openb", "rlscheduler": "jobs", "ecsched": "ecsched"}
"""Name of a table -> its folder in the folder of real data."""

Advance = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Line:
    """One published number beside ours. None: not published, or nothing to measure."""

    table: str
    case: str
    metric: str
    published: float | None
    ours: float | None
    note: str = ""

    @property
    def difference(self) -> float | None:
        """Ours less the published value."""
        if self.published is None or self.ours is None:
            return None
        return self.ours - self.published

    def record(self) -> dict[str, Any]:
        """The five fields of the JSON output."""
        return {name: value for name, value in asdict(self).items() if name != "note"}


@dataclass(frozen=True, slots=True)
class Reproduction:
    """A table re-run; `remarks` say what cannot match, and why."""

    lines: tuple[Line, ...]
    remarks: tuple[str, ...] = field(default_factory=tuple)


def reproduce(
    table: str,
    data: Path,
    policies: Sequence[str] = (),
    traces: Sequence[str] = (),
    seeds: Sequence[int] = (),
    jobs: int | None = None,
    advance: Advance = lambda done, total: None,
) -> Reproduction:
    """Re-run one table on the files in `data`. Empty choices mean all that was published."""
    if table not in TABLES:
        raise UnknownName("table", table, TABLES)
    module = importlib.import_module(f"cerebrum.experiments.reproduce.{table}")
    return module.reproduce(data, policies, traces, seeds, jobs, advance)


def chosen(kind: str, wanted: Sequence[str], known: Sequence[str]) -> list[str]:
    """The names asked for, in the order they are known; all of them when none is asked for."""
    by_lower = {name.lower(): name for name in known}
    for name in wanted:
        if name.lower() not in by_lower:
            raise UnknownName(kind, name, known)
    return [n for n in known if not wanted or n.lower() in {w.lower() for w in wanted}]
