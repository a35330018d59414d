"""Values as JSON and YAML know them, without importing what computed them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from enum import Enum
from typing import Any, cast


def plain(value: object) -> Any:
    """Mappings, lists, text, numbers; NaN and infinity become None."""
    if isinstance(value, Enum):
        return plain(value.value)
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in cast(Mapping[Any, Any], value).items()}
    if isinstance(value, list | tuple | set):
        return [plain(v) for v in cast(list[Any], value)]
    if hasattr(value, "item") and not isinstance(value, str):  # a NumPy number
        value = cast(Any, value).item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, bool | int | float | str) or value is None else str(value)
