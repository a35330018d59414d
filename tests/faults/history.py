"""What happened, in true order: the rows of all event tables and what the world itself saw.

An entry of a process is a row of its `events` table, stamped with the true time at which its
transaction was committed (the row's own `unix_s` comes from a clock that jumps). Entries of
`world` (runs that really execute), `client` (what was answered to whom), `network` (who was really
heard) and `faults` (what was broken on purpose) are the ground truth.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that happened at the true time `at_s` (seconds from the start of the history)."""

    at_s: float
    who: str
    kind: str
    workflow: str = ""
    task: str = ""
    cluster: str = ""
    data: dict[str, Any] = field(default_factory=dict[str, Any])

    def __str__(self) -> str:
        subject = self.task or self.workflow or self.cluster
        extra = " ".join(f"{key}={_brief(value)}" for key, value in self.data.items())
        return f"{self.at_s:9.3f} {self.who:12} {self.kind:16} {subject} {extra}".rstrip()


@dataclass(slots=True)
class History:
    """Entries in the order in which they became true."""

    entries: list[Entry] = field(default_factory=list[Entry])

    def add(self, at_s: float, who: str, kind: str, /, **more: Any) -> None:
        """Write down one thing; `workflow`, `task` and `cluster` are columns, the rest is data."""
        columns = {name: more.pop(name, "") or "" for name in ("workflow", "task", "cluster")}
        self.entries.append(Entry(at_s, who, kind, **columns, data=more))

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.entries)

    def digest(self) -> str:
        """The same for the same history."""
        text = "\n".join(
            json.dumps([e.at_s, e.who, e.kind, e.workflow, e.task, e.cluster, e.data], default=str)
            for e in self.entries
        )
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def _brief(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else text[:57] + "..."
