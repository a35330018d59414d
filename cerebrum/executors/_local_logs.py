"""What runs wrote, after they were forgotten: kept for a while, within a bound."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from cerebrum.executors import _local_records as records

_YOUNG_S = 60.0  # a directory without a launch may be one that is just being written


@dataclass(frozen=True, slots=True)
class LogRetention:
    """How long the logs of forgotten runs stay: at most `age_s` seconds and `total_mib` together.

    The oldest go first.
    """

    age_s: float = 7 * 86_400.0
    total_mib: float = 1024.0


def prune(root: Path, retention: LogRetention, now_s: float | None = None) -> int:
    """Remove the logs of forgotten runs beyond `retention`; how many directories went."""
    now = time.time() if now_s is None else now_s
    left, removed = retention.total_mib * 2**20, 0
    for ended_s, size, folder in sorted(_forgotten(root), reverse=True):
        left -= size
        if now - ended_s < _YOUNG_S:
            continue
        if left < 0 or now - ended_s > retention.age_s:
            shutil.rmtree(folder, ignore_errors=True)
            removed += 1
    return removed


def _forgotten(root: Path) -> list[tuple[float, int, Path]]:
    """When, how large, where: every run directory without a launch."""
    found: list[tuple[float, int, Path]] = []
    for folder in root.iterdir():
        if folder.name.startswith(".") or (folder / records.LAUNCH).exists():
            continue
        try:
            size = sum(file.stat().st_size for file in folder.iterdir() if file.is_file())
            found.append((folder.stat().st_mtime, size, folder))
        except OSError:
            continue  # it is being removed
    return found
