"""The chart's values: described, documented, and the same in values.yaml and its schema."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from tests.chart_values import PAGE, VALUES, described, page, values

TEXT = VALUES.read_text("utf-8")
SCHEMA = json.loads((VALUES.parent / "values.schema.json").read_text("utf-8"))


def paths(tree: Mapping[str, Any], above: str = "") -> Iterator[str]:
    for key, value in tree.items():
        yield above + key
        if isinstance(value, Mapping):
            yield from paths(value, f"{above}{key}.")


def test_the_reference_page_is_what_the_values_say() -> None:
    assert PAGE.read_text("utf-8") == page(TEXT), "run: python -m tests.chart_values"


def test_every_value_has_a_meaning_of_its_own_or_of_what_it_is_part_of() -> None:
    told = {value.path for value in values(TEXT)}
    for path in paths(yaml.safe_load(TEXT)):
        inside = any((path + ".").startswith(known + ".") for known in told)
        assert inside or any(known.startswith(path + ".") for known in told), path


def test_the_reader_of_comments_sees_every_key() -> None:
    known = {path for path, _ in described(TEXT)}
    inline = {path for path in paths(yaml.safe_load(TEXT)) if "resources." in path}
    assert set(paths(yaml.safe_load(TEXT))) - inline <= known


def test_the_schema_knows_exactly_the_values_that_there_are() -> None:
    def compare(schema: Mapping[str, Any], tree: Mapping[str, Any], where: str) -> None:
        assert set(schema["properties"]) - {"global"} == set(tree), where
        assert schema["additionalProperties"] is False, where
        for key, part in schema["properties"].items():
            if "properties" in part:
                compare(part, tree[key], f"{where}.{key}")

    compare(SCHEMA, yaml.safe_load(TEXT), "values")
