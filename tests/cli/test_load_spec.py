"""What `cerebrum submit` makes of a file, before it asks any controller."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from cerebrum.cli.submit import load_spec
from cerebrum.model.errors import ConfigError, InputError
from cerebrum.services.api.submissions import parse

OURS = {"name": "x", "tasks": [{"name": "a", "command": ["true"]}, {"name": "b"}]}
ARGO = """apiVersion: argoproj.io/v1alpha1
kind: Workflow
metadata: {name: steps}
spec:
  entrypoint: main
  templates:
  - name: main
    dag: {tasks: [{name: only, template: one}]}
  - name: one
    container: {image: busybox, command: [echo]}
"""


@pytest.mark.parametrize("name", ["x.json", "x", "x.txt"])
def test_a_file_is_what_it_holds_whatever_its_name(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text(json.dumps(OURS))
    assert load_spec(str(path), {}) == parse(path.read_bytes())
    path.write_text(ARGO)
    assert [task.image for task in load_spec(str(path), {}).tasks] == ["busybox"]


def test_a_zipped_file_is_read_like_a_plain_one(tmp_path: Path) -> None:
    path = tmp_path / "x.json.gz"
    path.write_bytes(gzip.compress(json.dumps(OURS).encode()))
    assert [task.name for task in load_spec(str(path), {}).tasks] == ["a", "b"]


def test_changes_are_checked_and_touch_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text(json.dumps(OURS))
    changed = load_spec(str(path), {"priority": 7, "name": "y"})
    assert (changed.name, changed.priority) == ("y", 7)
    assert changed.tasks == load_spec(str(path), {}).tasks
    with pytest.raises(ConfigError, match=r"x\.json: priority: "):
        load_spec(str(path), {"priority": 10**9})


def test_a_generated_workflow_needs_no_file() -> None:
    assert len(load_spec("layered:tasks=20,seed=1", {}).tasks) == 20


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[" * 100_000, "x.json: "),
        ("hello", "x.json: not recognised as a workflow"),
        ('{"name": "x", "tasks": [{"name": "a", "cpu_milli": "1"}]}', "tasks.0.cpu_milli"),
    ],
)
def test_what_is_wrong_is_said_with_the_file(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(InputError) as problem:
        load_spec(str(path), {})
    assert said in str(problem.value)
