"""Whatever is wrong with a workflow, one line says what, where, of which task; and soon."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cerebrum.model.errors import InputError, UnknownName
from cerebrum.model.workflow import Workflow
from cerebrum.traces import workflows
from tests.traces.workflows import bad_inputs, test_formats

LONGEST_S = 5.0
EXPECTED: dict[str, str] = yaml.load(
    Path(__file__).with_name("expected.yaml").read_text("utf-8"), Loader=yaml.CSafeLoader
)


@pytest.mark.parametrize("name", bad_inputs.CASES)
def test_a_bad_workflow_is_refused_with_one_line(name: str) -> None:
    began = time.perf_counter()
    with pytest.raises(InputError) as caught:
        workflows.parse_workflow(bad_inputs.CASES[name], source="w")
    assert time.perf_counter() - began < LONGEST_S
    assert str(caught.value) == EXPECTED[name]
    assert caught.value.exit_code == 2


def test_the_table_and_the_cases_agree() -> None:
    assert sorted(EXPECTED) == sorted(bad_inputs.CASES)
    assert len(EXPECTED) >= 40


def test_a_file_that_is_not_there_names_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "montage.json").write_text("{}")
    with pytest.raises(InputError, match=r"did you mean 'montage\.json'"):
        workflows.read_workflow(tmp_path / "montag.json")


def test_an_unknown_format_names_the_nearest() -> None:
    with pytest.raises(UnknownName, match="did you mean 'wfformat'"):
        workflows.parse_workflow("{}", format="wf-format")


def test_a_file_shared_by_thousands_is_refused_before_its_flows_are_made() -> None:
    tasks = [{"id": f"w{i}", "outputFiles": ["x"]} for i in range(4_000)]
    tasks += [{"id": f"r{i}", "inputFiles": ["x"]} for i in range(4_000)]
    with pytest.raises(InputError, match="file 'x' is written and read by too many"):
        workflows.parse_workflow(bad_inputs.wf(tasks))


def test_a_million_tasks_in_two_kilobytes_is_refused_at_once() -> None:
    text = bad_inputs.CASES["argo:explosion"]
    assert len(text) < 2_000
    began = time.perf_counter()
    with pytest.raises(InputError, match="tasks, expected at most 100,000"):
        workflows.parse_workflow(text)
    assert time.perf_counter() - began < 1.0


def test_text_that_doubles_with_every_template_is_bounded() -> None:
    link = "{name: x, template: %s, arguments: {parameters: [{name: p, value: '%s'}]}}"
    twice = "{{inputs.parameters.p}}" * 4
    templates = "".join(
        f"  - name: t{i}\n    inputs: {{parameters: [{{name: p, default: xxxx}}]}}\n"
        f"    dag: {{tasks: [{link % (f't{i + 1}', twice)}]}}\n"
        for i in range(20)
    )
    last = "  - {name: t20, inputs: {parameters: [{name: p}]}, container: {image: x}}\n"
    with pytest.raises(InputError, match="65,536 characters once filled in"):
        workflows.parse_workflow(bad_inputs.argo(templates + last, entry="t0"))


SEEDS = {
    "wfformat": bad_inputs.wf(
        [
            {"id": "a", "children": ["b"], "inputFiles": ["f"], "outputFiles": ["g"]},
            {"id": "b", "parents": ["a"], "inputFiles": ["g"]},
        ],
        [{"id": "f", "sizeInBytes": 5}, {"id": "g", "sizeInBytes": 7}],
        [bad_inputs.run("a", coreCount=2), bad_inputs.run("b", memoryInBytes=10)],
    ),
    "gcc-json": bad_inputs.gcc(
        '{"id": "a", "cpu_req": "5m", "image": "x"}, {"id": "b", "command": ["y"]}',
        more=', "data_volumes": {"a-b": 5}',
    ),
    "pegasus-dax": test_formats.DAX,
    "argo": test_formats.ARGO,
}
WORDS = [
    *("-1", "1e999", "NaN", "nan", "9" * 30, "null", "true", "[]", "{}", "[[", '""', "\0", "\n"),
    *("- ", "  ", "&a ", "*a", "<<: ", "{{", "}}", "{{item}}", "a", "b", "a-b", "&&", "||", ": "),
    *("<!DOCTYPE x>", "<job/>", "</job>", "\ud800", "é", "\u2028", '"', "'", "\\", "%", ","),
]
EXAMPLES = int(os.environ.get("CEREBRUM_FUZZ_EXAMPLES", "150"))


@pytest.mark.parametrize("format", workflows.FORMATS)
@settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_a_damaged_workflow_is_read_or_refused(format: str, data: st.DataObject) -> None:
    text = SEEDS[format]
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(text)))
        length = data.draw(st.integers(0, 12))
        piece = data.draw(st.sampled_from(WORDS) | st.text(max_size=6))
        text = text[:start] + piece + text[start + length :]
    _survive(text, format)


@pytest.mark.parametrize("format", workflows.FORMATS)
@settings(max_examples=EXAMPLES)
@given(st.binary(max_size=200))
def test_any_bytes_are_refused(format: str, data: bytes) -> None:
    _survive(data, format)


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.sampled_from(["a", "b", "", "1"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["id", "tasks", "files", "parents", "workflow", "specification", "execution", "a"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=EXAMPLES)
@given(JSON, JSON, JSON)
def test_any_values_in_a_wfformat_are_read_or_refused(tasks, files, execution) -> None:
    text = bad_inputs.wf(tasks, files, execution)
    _survive(text, "wfformat")


def _survive(text: str | bytes, format: str) -> None:
    try:
        workflow = workflows.parse_workflow(text, format=format)
    except InputError as error:
        line = str(error)
    else:
        line = ""
        assert isinstance(workflow, Workflow)
        assert len(workflow) > 0
    assert "\n" not in line
