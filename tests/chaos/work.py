"""Work whose every start and end is a line in a file: what really happened, and how often."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from cerebrum.services import wire

TASKS = "abcdef"
# Appending one short line is atomic. `$0` is the line's name.
_SCRIPT = 'echo "$0 began" >> "$EFFECTS" && sleep "$LASTS" && echo "$0 ended" >> "$EFFECTS"'


def workflow(
    name: str,
    effects: Path,
    lasts_s: float = 0.1,
    on_cluster_lost: Literal["wait", "replace"] = "wait",
) -> wire.WorkflowSpec:
    """Six tasks: two chains that meet, and one by itself."""
    edges = [("a", "b"), ("c", "d"), ("b", "e"), ("d", "e")]
    tasks = [
        wire.TaskSpec(
            name=task,
            cpu_milli=500,
            duration_s=lasts_s,
            command=["/bin/sh", "-c", _SCRIPT, f"{name}/{task}"],
            env={"EFFECTS": str(effects), "LASTS": str(lasts_s)},
            max_attempts=5,
            backoff_s=0.1,
        )
        for task in TASKS
    ]
    return wire.WorkflowSpec(
        name=name,
        tasks=tasks,
        dependencies=[wire.DependencySpec(before=b, after=a) for b, a in edges],
        on_cluster_lost=on_cluster_lost,
    )


def problems(name: str, effects: Path, begins: Sequence[int] = (1,)) -> list[str]:
    """What the file says against it: each task ended once, and in order.

    `begins`: how often it may have begun. A run that was fenced began, and was ended before its
    effect.
    """
    lines = [line for line in effects.read_text().splitlines() if line.startswith(f"{name}/")]
    counts = Counter(lines)
    found = [
        f"{name}/{task} {what} {counts[f'{name}/{task} {what}']} times"
        for task in TASKS
        for what, allowed in (("began", begins), ("ended", (1,)))
        if counts[f"{name}/{task} {what}"] not in allowed
    ]
    for before, after in (("a", "b"), ("c", "d"), ("b", "e"), ("d", "e")):
        first, then = f"{name}/{before} ended", f"{name}/{after} began"
        if first in lines and then in lines and lines.index(first) > lines.index(then):
            found.append(f"{name}/{after} began before {before} had ended")
    return found


def began(name: str, effects: Path) -> bool:
    """Whether any task of it has begun."""
    return f"{name}/" in effects.read_text()


def problems_of_cancelled(name: str, effects: Path) -> list[str]:
    """What the file says against a workflow that was ended: no task began twice, or came to its
    effect."""
    lines = [line for line in effects.read_text().splitlines() if line.startswith(f"{name}/")]
    return [f"{line} {n} times" for line, n in Counter(lines).items() if n > 1] + [
        line for line in lines if line.endswith(" ended")
    ]
