"""A large WfFormat file is decoded another way; nobody must be able to tell from what comes out."""

from __future__ import annotations

import json
import random
import re
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cerebrum.model.errors import InputError, TraceError
from cerebrum.model.tasks import Task, TaskTable
from cerebrum.model.workflow import Workflow
from cerebrum.traces import wfformat, workflows
from cerebrum.traces._workflow_build import WorkflowFile
from cerebrum.traces._workflow_json import STRICT_BYTES, Document
from cerebrum.traces._workflow_names import HashedNames
from cerebrum.traces._workflow_typed import TypedDocument
from tests.traces.workflows import bad_inputs
from tests.traces.workflows.test_bad_workflows import EXPECTED

PADDING = " " * STRICT_BYTES
LAST_OF_TWO_KEYS_WINS = "wf:key twice"  # only a file that people may have written is read strictly
SYNTAX = ("wf:syntax", "wf:deep")  # another parser's words
BAD = [name for name in bad_inputs.CASES if name.startswith("wf:") and name not in SYNTAX]


def test_a_large_good_file_needs_no_second_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "large.json"
    workflows.write_workflow(workflows.generate("layered", tasks=6_000, width=100, seed=5), path)
    assert path.stat().st_size > STRICT_BYTES

    def slowly(path: Path, data: bytes) -> Document:
        raise AssertionError("read a second time")

    monkeypatch.setattr(Document, "load", slowly)
    assert len(workflows.read_workflow(path)) == 6_000


@pytest.mark.parametrize("name", [name for name in BAD if name != LAST_OF_TWO_KEYS_WINS])
def test_a_large_bad_file_says_the_same_as_a_small_one(name: str) -> None:
    with pytest.raises(InputError) as caught:
        workflows.parse_workflow(bad_inputs.CASES[name] + PADDING, source="w")
    assert str(caught.value) == re.sub(r"^w:\d+:", "w:", EXPECTED[name])


@pytest.mark.parametrize("name", SYNTAX)
def test_large_nonsense_is_refused(name: str) -> None:
    with pytest.raises(InputError, match=r"^w:?\d*: not valid JSON"):
        workflows.parse_workflow(bad_inputs.CASES[name] + PADDING, "w", format="wfformat")


def test_a_large_file_must_be_utf_8_also_where_nobody_reads_it() -> None:
    text = bad_inputs.wf().replace('"schemaVersion"', '"author": "\xff",\n "schemaVersion"')
    with pytest.raises(InputError, match="not valid JSON"):
        workflows.parse_workflow((text + PADDING).encode("latin-1"))


def test_runs_in_another_order_still_belong_to_their_tasks() -> None:
    workflow = workflows.generate("layered", tasks=300, width=20, seed=5)
    raw = json.loads(workflows.load_format("wfformat").render(workflow))
    random.Random(1).shuffle(raw["workflow"]["execution"]["tasks"])
    back = _typed(json.dumps(raw)).workflow
    assert np.array_equal(back.tasks.duration_s, workflow.tasks.duration_s)
    assert np.array_equal(back.tasks.request("cpu_milli"), workflow.tasks.request("cpu_milli"))


@pytest.mark.parametrize(
    ("where", "absent"),
    [
        *(("specification", name) for name in ("parents", "children", "inputFiles", "files")),
        *(("execution", name) for name in ("coreCount", "memoryInBytes", "machines")),
    ],
)
def test_what_no_task_has_is_absent(where: str, absent: str) -> None:
    raw = json.loads(workflows.load_format("wfformat").render(workflows.generate("layered")))
    section = raw["workflow"][where]
    section.pop(absent, None)
    for task in section["tasks"]:
        task.pop(absent, None)
    fast, slow = _typed(json.dumps(raw)), _plain(json.dumps(raw))
    assert fast.report == slow.report
    _assert_equal(fast.workflow, slow.workflow)


TEXTS = ["3", "", "\n", "é", "\ud800", "s000001", "moved-0"]
NUMBERS = [0, -1, 5, 2**53 + 1, 10**17 + 3, 10**25, 10**400, 0.1, -0.0, 1e-300, float("nan")]
ODD = [None, True, [], {}, [{}], ["s000001"], *TEXTS, *NUMBERS]


@st.composite
def edited(draw: st.DrawFn) -> list[Any]:
    """A list of one document that was right, until somebody changed up to three values in it."""
    n = draw(st.integers(1, 6))
    made = workflows.generate("layered", tasks=n, width=min(n, 2), seed=draw(st.integers(0, 9)))
    text = workflows.load_format("wfformat").render(made)
    root = [json.loads(text.replace("step-", "s"))]
    for _ in range(draw(st.integers(0, 3))):
        here, key = root, 0
        while isinstance(here[key], dict | list) and here[key] and draw(st.integers(0, 9)):
            here = here[key]
            key = draw(st.sampled_from(list(here) if isinstance(here, dict) else range(len(here))))
        _edit(draw, root, here, key)
    return root


def _edit(draw: st.DrawFn, root: list[Any], here: Any, key: Any) -> None:
    odd = deepcopy(draw(st.sampled_from(ODD)))
    match draw(st.sampled_from(["replace", "delete", "reverse", "twice", "add"])):
        case "delete" if here is not root:
            del here[key]
        case "reverse" if isinstance(here[key], list):
            here[key].reverse()
        case "twice" if isinstance(here[key], list):
            here[key] *= 2
        case "add" if isinstance(here, dict):
            here["other"] = odd
        case _:
            here[key] = odd


@settings(max_examples=300)
@given(edited())
def test_what_is_decoded_fast_is_the_same_workflow(document: list[Any]) -> None:
    text = json.dumps(document[0])
    try:
        fast = _typed(text)
    except TraceError:
        return  # it is read again
    slow = _plain(text)
    assert fast.report == slow.report
    _assert_equal(fast.workflow, slow.workflow)


@given(st.integers(1, 60), st.integers(1, 8), st.integers(0, 99), st.booleans())
def test_what_we_write_is_always_decoded_fast(n: int, width: int, seed: int, utf8: bool) -> None:
    workflow = workflows.generate("layered", tasks=n, width=min(n, width), seed=seed)
    text = workflows.load_format("wfformat").render(workflow).replace("step-", "é " * utf8 + "s")
    _assert_equal(_typed(text).workflow, _plain(text).workflow)


def _typed(text: str) -> WorkflowFile:
    return wfformat._draft(TypedDocument.load(Path("w"), text.encode())).finish()


def _plain(text: str) -> WorkflowFile:
    return wfformat._draft(Document.load(Path("w"), text.encode())).finish()


def _assert_equal(one: Workflow, other: Workflow) -> None:
    assert one.name == other.name
    assert list(one.tasks.names) == list(other.tasks.names)
    assert one.tasks.classes == other.tasks.classes
    for table in ("class_id", "duration_s"):
        assert np.array_equal(getattr(one.tasks, table), getattr(other.tasks, table))
    for column in ("before", "after", "volume_mb", "input_mb", "output_mb"):
        assert np.array_equal(getattr(one, column), getattr(other, column)), column


@given(st.lists(st.text(max_size=3), unique=True), st.data())
def test_hashed_names_are_found_like_in_a_dict(names: list[str], data: st.DataObject) -> None:
    index, plain = HashedNames(names), {name: i for i, name in enumerate(names)}
    texts = data.draw(st.lists(st.sampled_from(names))) if names else []
    assert index.find(texts, len(texts)).tolist() == [plain[text] for text in texts]
    assert dict(index) == plain
    stranger = data.draw(st.text(max_size=3).filter(lambda text: text not in plain))
    assert stranger not in index
    with pytest.raises(KeyError):
        index.find([*texts, stranger], len(texts) + 1)


def test_many_hashed_names_share_buckets_and_are_told_apart() -> None:
    names = [f"file-{i}" for i in range(20_000)]
    index = HashedNames(names)
    assert index.find(reversed(names), len(names)).tolist() == list(range(20_000))[::-1]
    for i in range(200):
        assert f"file-{20_000 + i}" not in index


def test_equal_names_are_not_hashed() -> None:
    with pytest.raises(ValueError, match="equal"):
        HashedNames(["a", "b", "a"])


def test_what_could_not_be_read_back_is_not_written() -> None:
    table = TaskTable.from_tasks([Task("a", duration_s=1e308), Task("b", duration_s=1e308)])
    render = workflows.load_format("wfformat").render
    with pytest.raises(InputError, match="add up to infinity"), np.errstate(over="ignore"):
        render(Workflow.build("w", table, [0], [1], [0.0]))
    with pytest.raises(InputError, match=r"expected at most 1e\+12 megabytes, got 1e\+200"):
        render(Workflow.build("w", table.take(np.array([0, 1])), [0], [1], [1e200]))
