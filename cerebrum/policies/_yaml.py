"""YAML from people: safe, bounded, with line numbers for error messages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import yaml
from pydantic import ValidationError

from cerebrum.model.errors import ConfigError, UnknownName, nearest

MAX_BYTES = 1 << 20
_MAX_DEPTH = 50


@dataclass
class Lines:
    """The line of every field, by its path: `scores[0].name`."""

    at: dict[str, int] = field(default_factory=dict[str, int])

    def find(self, path: str | None) -> int | None:
        """The line of a field, or of the nearest one that holds it."""
        while path:
            if path in self.at:
                return self.at[path]
            path = path[: max(path.rfind("."), path.rfind("["), 0)]
        return self.at.get("")


def load(path: Path) -> tuple[Any, Lines]:
    """What one YAML document holds, and where. Raises `ConfigError` with the line."""
    try:
        data = path.read_bytes()
    except OSError as problem:
        raise ConfigError(f"cannot be read: {problem.strerror}").at(path) from problem
    if len(data) > MAX_BYTES:
        raise ConfigError(f"expected at most {MAX_BYTES:,} bytes, got {len(data):,}").at(path)
    try:
        text = data.decode("utf-8-sig")
        lines = Lines()
        node = cast("yaml.Node | None", yaml.compose(text, Loader=yaml.CSafeLoader))
        if node is not None:
            _walk(node, "", lines, set(), 0)
        return yaml.load(text, Loader=yaml.CSafeLoader), lines
    except UnicodeDecodeError as problem:
        raise ConfigError("expected UTF-8 text").at(path) from problem
    except ConfigError as problem:
        problem.at(path)
        raise
    except yaml.MarkedYAMLError as problem:
        line = problem.problem_mark.line + 1 if problem.problem_mark else None
        raise ConfigError(f"not valid YAML: {problem.problem}").at(path, line) from problem
    except (yaml.YAMLError, ValueError) as problem:
        raise ConfigError(f"not valid YAML: {problem}").at(path) from problem


def _walk(node: yaml.Node, path: str, lines: Lines, seen: set[int], depth: int) -> None:
    line = node.start_mark.line + 1
    lines.at.setdefault(path, line)
    if id(node) in seen:
        raise ConfigError("YAML aliases are not supported").at(line=line, field=path)
    if depth > _MAX_DEPTH:
        raise ConfigError("nested too deeply").at(line=line, field=path)
    seen.add(id(node))
    if isinstance(node, yaml.SequenceNode):
        for i, item in enumerate(node.value):
            _walk(item, f"{path}[{i}]", lines, seen, depth + 1)
    elif isinstance(node, yaml.MappingNode):
        keys: set[str] = set()
        for key, value in node.value:
            name = str(key.value)
            if name in keys:
                raise ConfigError("given twice").at(line=key.start_mark.line + 1, field=name)
            keys.add(name)
            inner = f"{path}.{name}" if path else name
            lines.at[inner] = key.start_mark.line + 1
            _walk(value, inner, lines, seen, depth + 1)


def explain(
    problem: ValidationError, lines: Lines | None = None, prefix: str = ""
) -> ConfigError | UnknownName:
    """The first thing that is wrong, in our words, with its line and the nearest valid name."""
    error = problem.errors(include_url=False)[0]
    path = _path(error["loc"], prefix)
    line = lines.find(path) if lines else None
    context = error.get("ctx", {})
    match error["type"]:
        case "extra_forbidden":
            known = _fields(problem.title, error["loc"])
            return UnknownName("field", str(error["loc"][-1]), known).at(line=line, field=path)
        case "literal_error":
            return _not_one_of(error["input"], context["expected"]).at(line=line, field=path)
        case "missing":
            return ConfigError("is missing").at(line=line, field=path)
        case _:
            text = error["msg"].removeprefix("Input should be ").removeprefix("Value error, ")
            return ConfigError(f"expected {text}, got {shown(error['input'])}").at(
                line=line, field=path
            )


def _not_one_of(given: object, expected: str) -> ConfigError:
    known = [part.strip(" '") for part in expected.replace(" or ", ", ").split(",")]
    near = nearest(given, known) if isinstance(given, str) else None
    hint = f": did you mean {near!r}?" if near else ""
    return ConfigError(f"expected one of {', '.join(known)}, got {shown(given)}{hint}")


def _path(loc: Sequence[int | str], prefix: str) -> str:
    path = prefix
    for part in loc:
        if isinstance(part, int):
            path += f"[{part}]"
        else:
            path += f".{part}" if path else part
    return path


def _fields(title: str, loc: Sequence[int | str]) -> list[str]:
    """The fields of the model the extra field was found in."""
    from cerebrum.policies import profile

    model: Any = getattr(profile, title)
    for part in loc[:-1]:
        if isinstance(part, str):
            model = {"scores": profile.Score, "queue": profile.Queue}.get(part, model)
    return list(model.model_fields)


def shown(value: object) -> str:
    """A value for an error message, cut to a line."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
