"""Typed access to the documents of YAML and JSON files."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

from cerebrum.kube.fields import Fields, field_name, shown
from cerebrum.traces._yaml import Source

__all__ = ["Fields", "documents", "field_name", "shown"]


def documents(source: Source) -> Iterator[Fields]:
    """The documents of a file, each of which must be a mapping; empty ones are left out."""
    for number, data in enumerate(source.documents()):
        mapping = cast(dict[str, Any], data) if isinstance(data, dict) else {}
        root = Fields(source, number, (), mapping)
        if data is not None and not isinstance(data, dict):
            raise root.error(f"expected a mapping such as a Kubernetes object, got {shown(data)}")
        if data:
            yield root
