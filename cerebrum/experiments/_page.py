"""Self-contained HTML pages: packaged templates and styles, and how a policy calls them."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib.resources import files
from typing import Any


@cache
def asset(name: str) -> str:
    """A file of `templates/`."""
    return (files("cerebrum.experiments") / "templates" / name).read_text("utf-8")


def policy_hash(text: str) -> str:
    """What a content security policy calls an inline block by."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


@cache
def environment() -> Any:
    """Jinja that escapes everything and knows no undefined names."""
    from jinja2 import Environment, StrictUndefined

    made = Environment(autoescape=True, undefined=StrictUndefined)
    made.filters["seconds"] = _seconds
    return made


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


@cache
def template(name: str) -> Any:
    """A template of `templates/`."""
    return environment().from_string(asset(name))
