"""What a bad input is: files in a folder, and what is read of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Case:
    """`files` (name -> text or bytes) or `build` fill a folder; `read` in it is the path given to
    `traces.read`, with `options` (the only file, or else the folder, if it is not said)."""

    name: str
    files: Mapping[str, str | bytes] = field(default_factory=dict)
    read: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    build: Callable[[Path], None] | None = None

    def make(self, folder: Path) -> Path:
        """Write the files; returns the path to read."""
        for name, content in self.files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            data = content if isinstance(content, bytes) else content.encode()
            (folder / name).write_bytes(data)
        if self.build:
            self.build(folder)
        if self.read:
            return folder / self.read
        return folder / next(iter(self.files)) if len(self.files) == 1 else folder
