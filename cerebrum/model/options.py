"""What every registry does with what people type: options behind a name, and who takes them."""

from __future__ import annotations

import importlib
from collections.abc import Collection, Iterable
from typing import Any

from cerebrum.model.errors import ConfigError, nearest
from cerebrum.model.literals import literal


def resolve(target: str) -> Any:
    """What `module:attribute` names; it is imported here."""
    module, _, attribute = target.partition(":")
    return getattr(importlib.import_module(module), attribute)


def parse_options(
    text: str, expected: str, *, field: str | None = None, first: str = ""
) -> dict[str, Any]:
    """The options in `key=value,...`; a value alone is that of the option `first`, if there is one.

    `expected` is the form that a message shows. Raises `ConfigError`, at `field`.
    """
    options: dict[str, Any] = {}
    for part in filter(None, text.split(",")):
        key, equals, value = part.partition("=")
        if not equals:
            key, value = first, part
        if not key.strip():
            raise ConfigError(f"expected {expected}, got {part!r}").at(field=field)
        options[key.strip()] = literal(value.strip())
    return options


def refuse_unknown(
    options: Iterable[str], known: Collection[str], *, field: str | None = None, of: str = ""
) -> None:
    """Raise `ConfigError`, at `field`, for the first option that is not known.

    The message says which one was probably meant; `of` names in it what has no such option.
    """
    for option in options:
        if option not in known:
            near = nearest(option, known)
            hint = f"did you mean {near!r}?" if near else f"it takes {', '.join(known) or 'none'}"
            subject = f"{of} has no" if of else "no"
            raise ConfigError(f"{subject} option {option!r}: {hint}").at(field=field)
