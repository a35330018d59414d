"""YAML and JSON: plain data, bounded, and the line of every value."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from cerebrum.model.errors import InputError, TraceError
from cerebrum.traces._fields import documents, field_name
from cerebrum.traces._yaml import Source


def load(text: str, name: str = "a.yaml") -> list[Any]:
    return Source(Path(name), text).documents()


def refusal(text: str, name: str = "a.yaml") -> str:
    with pytest.raises(TraceError) as caught:
        load(text, name)
    return str(caught.value)


def test_the_node_list_reads_as_the_reference_loader_reads_it(shared_data: Path):
    source = Source(shared_data / "openb" / "openb_node_list_gpu_node.yaml")
    began = time.perf_counter()
    found = source.documents()
    assert time.perf_counter() - began < 3
    assert len(found) == 1_213
    assert found == list(yaml.load_all(source.text, Loader=yaml.CSafeLoader))


def test_only_what_every_version_of_yaml_calls_a_number_is_one():
    text = "a: 1e3\nb: 0.5\nc: 012\nd: 1_0\ne: yes\nf: .nan\ng: '5'\nh: ~\ni:\n8: x\nj: true\n"
    assert load(text) == [
        {"a": "1e3", "b": 0.5, "c": "012", "d": "1_0", "e": "yes", "f": ".nan", "g": "5"}
        | {"h": None, "i": None, "8": "x", "j": True}
    ]


def test_documents_keep_their_place_even_when_empty():
    assert load("---\n---\na: 1\n...\n---\n- 2\n") == [None, {"a": 1}, [2]]


def test_anchors_and_merges_work():
    assert load("a: &x {p: 1, q: 2}\nb: {<<: *x, q: 3}\nc: *x\n") == [
        {"a": {"p": 1, "q": 2}, "b": {"p": 1, "q": 3}, "c": {"p": 1, "q": 2}}
    ]


def test_a_billion_laughs_is_refused_at_once():
    lines = ["a0: &a0 [x,x,x,x,x,x,x,x,x]"]
    lines += [f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 12)]
    began = time.perf_counter()
    assert "expected at most 20,000,000 values, aliases counted" in refusal("\n".join(lines))
    assert time.perf_counter() - began < 1


@pytest.mark.parametrize("text", ["[" * 100_000, "- " * 100_000, "? " * 100_000, "[{a: " * 50_000])
def test_deep_nesting_is_refused_and_crashes_nothing(text: str):
    assert refusal(text) == "a.yaml:1: expected at most 64 levels of nesting"


def test_deep_json_is_refused():
    assert refusal('{"a":' * 100_000, "a.json").startswith("a.json")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3", "a.yaml:3: the key 'a' stands twice in one mapping"),
        ("a:\n  - !!python/object:os.system x", "a.yaml:2: the tag 'tag:yaml.org,2002:python"),
        ("a: *nowhere", "a.yaml:1: the alias *nowhere is not defined"),
        ("a: &x\n  - *x", "a.yaml:2: the alias *x contains itself"),
        ("a: [1,\nb: }", "a.yaml:2: not valid YAML: did not find expected node content"),
        ("? [1]\n: 2", "a.yaml:1: expected a text as key"),
        ("a: {<<: 5}", "a.yaml:1: expected a mapping to merge with <<"),
    ],
)
def test_bad_yaml_is_named_by_line(text: str, message: str):
    assert refusal(text).startswith(message)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": NaN}', "a.json: not valid JSON: NaN is not a number"),
        ('{"a": 1,\n"a": 2}', "a.json:2: the key 'a' stands twice in one mapping"),
        ('{"a":\n1,}', "a.json:2: not valid JSON: "),
    ],
)
def test_bad_json_is_named(text: str, message: str):
    assert refusal(text, "a.json").startswith(message)


def test_every_value_has_its_line():
    text = "a:\n - b: 1\n   c: [1,\n      2]\n - - x\n   - y: 3\n     z: &q {k:\n  v}\n   - *q\n"
    source = Source(Path("a.yaml"), "---\n" + text)
    where = {
        ("a",): 2,
        ("a", 0): 3,
        ("a", 0, "c"): 4,
        ("a", 0, "c", 1): 5,
        ("a", 1, 0): 6,
        ("a", 1, 1, "y"): 7,
        ("a", 1, 1, "z", "k"): 8,
        ("a", 1, 2): 10,
        ("a", 1, "absent"): 6,
    }
    assert {keys: source.line(0, keys) for keys in where} == where


def test_a_wrong_value_is_named_by_line_and_field():
    source = Source(Path("a.yaml"), "spec:\n  ports:\n  - port: 1\n  - port: [2]\n")
    ports = list(next(documents(source)).child("spec").children("ports"))
    assert ports[0].integer("port", 0) == 1
    with pytest.raises(TraceError) as caught:
        ports[1].integer("port", 0, high=9)
    assert str(caught.value) == (
        "a.yaml:4: spec.ports[1].port: expected a whole number 0..9, got a list"
    )


def test_fields_are_spelled_as_people_write_them():
    keys = ("metadata", "annotations", "alibabacloud.com/gpu-milli")
    assert field_name(keys) == "metadata.annotations[alibabacloud.com/gpu-milli]"
    assert field_name(("a", 0, "b-c")) == "a[0].b-c"
    assert field_name(()) is None


_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(st.text(), _values))
def test_what_the_yaml_writer_writes_comes_back(data: dict[str, Any]):
    text = yaml.dump(data, Dumper=yaml.CSafeDumper, allow_unicode=False)
    assert load("--- " + text if text.startswith("{") else text) == [data]


@given(st.text(alphabet=st.sampled_from("ab:- \n[]{}&*?!'\"#,|>%@<~1")))
def test_any_text_is_data_or_one_clear_error(text: str):
    message = "a.yaml"
    try:
        load(text)
    except InputError as error:
        message = str(error)
    assert message.startswith("a.yaml")
    assert "\n" not in message
