"""Where model files are: those that ship, by name, and those of users, by path."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from cerebrum.model.errors import UnknownName

SUFFIX = ".safetensors"


def shipped() -> dict[str, Path]:
    """The artefacts that come with Cerebrum, by name, in order of name."""
    folder = Path(str(files("cerebrum.policies.learned"))) / "artefacts"
    return {path.stem: path for path in sorted(folder.glob(f"*{SUFFIX}"))}


def find(name: str | Path) -> Path:
    """Where a shipped name or a path to a file leads. Raises `UnknownName`, `ConfigError`."""
    text = str(name)
    if isinstance(name, Path) or text.endswith(SUFFIX) or "/" in text or "\\" in text:
        return Path(text).expanduser()
    known, plain = shipped(), text.lower().replace("_", "-")
    if plain not in known:
        raise UnknownName("model", text, known)
    return known[plain]
