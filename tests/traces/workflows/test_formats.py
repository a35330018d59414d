"""The formats besides WfFormat, how a format is recognised, and what can be generated."""

from __future__ import annotations

import gzip
import math
from pathlib import Path

import numpy as np
import pytest

from cerebrum.model.errors import CerebrumError
from cerebrum.model.resources import Resources
from cerebrum.model.workflow import Workflow
from cerebrum.traces import workflows

DAX = """\
<?xml version="1.0" encoding="UTF-8"?>
<!-- a comment -->
<adag xmlns="http://pegasus.isi.edu/schema/DAX" version="3.6" name="diamond">
  <job id="ID1" name="preprocess" runtime="12.5">
    <argument>-i f.a</argument>
    <profile namespace="pegasus" key="cores">4</profile>
    <profile namespace="pegasus" key="memory">2048</profile>
    <uses file="f.a" link="input" size="4000000"/>
    <uses file="f.b" link="output" size="1500000" transfer="false"/>
  </job>
  <job id="ID2" name="find" runtime="3">
    <uses name="f.b" link="input" size="1500000"/>
    <uses name="f.c" link="output" size="250000"/>
  </job>
  <child ref="ID2"><parent ref="ID1"/></child>
</adag>
"""

ARGO = """\
apiVersion: argoproj.io/v1alpha1
kind: Workflow
metadata: {generateName: nightly-}
spec:
  entrypoint: main
  arguments:
    parameters: [{name: who, value: world}, {name: shards, value: 3}]
  templates:
  - name: main
    dag:
      tasks:
      - name: fetch
        template: say
        arguments: {parameters: [{name: text, value: "hello {{workflow.parameters.who}}"}]}
      - name: each
        template: pipeline
        depends: fetch.Succeeded
        withItems: [one, two]
        arguments: {parameters: [{name: shard, value: "{{item}}"}]}
      - name: report
        template: say
        depends: "each && fetch"
        arguments: {parameters: [{name: text, value: done}]}
  - name: pipeline
    inputs: {parameters: [{name: shard}]}
    steps:
    - - name: load
        template: say
        arguments: {parameters: [{name: text, value: "load {{inputs.parameters.shard}}"}]}
    - - {name: left, template: say, arguments: {parameters: [{name: text, value: l}]}}
      - {name: right, template: say, arguments: {parameters: [{name: text, value: r}]}}
  - name: say
    metadata: {annotations: {cerebrum.io/duration-s: "2.5"}}
    activeDeadlineSeconds: 30
    retryStrategy: {limit: "2", backoff: {duration: 5s}}
    inputs: {parameters: [{name: text}, {name: shell, default: sh}]}
    container:
      image: busybox:1.36
      command: ["{{inputs.parameters.shell}}", -c]
      args: ["echo {{inputs.parameters.text}}"]
      env: [{name: SHARDS, value: "{{workflow.parameters.shards}}"}]
      resources:
        requests: {cpu: 500m, memory: 64Mi}
        limits: {nvidia.com/gpu: 1}
"""


def edges(workflow: Workflow) -> dict[tuple[str, str], float]:
    names = workflow.tasks.names
    return {
        (names[a], names[b]): volume
        for a, b, volume in zip(workflow.before, workflow.after, workflow.volume_mb, strict=True)
    }


def asked(workflow: Workflow, name: str) -> Resources:
    return workflow.tasks[list(workflow.tasks.names).index(name)].task_class.resources


@pytest.mark.needs(data="federation")
def test_the_prototypes_sample_is_read(shared_data: Path) -> None:
    workflow = workflows.read_workflow(shared_data / "federation" / "sample_workflow.json")
    assert workflow.name == "video-analytics-1"
    assert edges(workflow) == {
        ("ingest", "preprocess"): 256.0,
        ("preprocess", "detect"): 512.0,
        ("detect", "alert"): 1.0,
    }
    assert asked(workflow, "detect") == Resources(cpu_milli=1000, memory_mib=1024)
    assert workflow.programs["detect"].image == "python:3.9-slim"


def test_ids_with_hyphens_are_found_in_the_keys_of_volumes() -> None:
    workflow = workflows.parse_workflow(
        '{"tasks": [{"id": "video-in", "cpu_req": 1}, {"id": "cut-2-hd"}, {"id": "video"}],'
        ' "dependencies": {"cut-2-hd": ["video-in"]}, "data_volumes": {"video-in-cut-2-hd": 7}}'
    )
    assert edges(workflow) == {("video-in", "cut-2-hd"): 7.0}


def test_of_two_readings_of_a_key_the_declared_dependency_counts() -> None:
    workflow = workflows.parse_workflow(
        '{"tasks": [{"id": "a"}, {"id": "a-b"}, {"id": "b-c"}, {"id": "c"}],'
        ' "dependencies": {"c": ["a-b"]}, "data_volumes": {"a-b-c": 7}}'
    )
    assert edges(workflow) == {("a-b", "c"): 7.0}


@pytest.mark.parametrize(
    ("cpu", "memory", "expected"),
    [
        ("100", "64", (100, 64)),
        ('"500m"', '"64Mi"', (500, 64)),
        ('"0.5"', '"65536Ki"', (500, 64)),
        ('"64"', '"1Gi"', (64_000, 1024)),  # the prototype read "64" as "64m"
        ('"64000m"', '"1.5Gi"', (64_000, 1536)),
        ("0.5", "0.5", (1, 1)),
    ],
)
def test_the_prototypes_requests(cpu: str, memory: str, expected: tuple[int, int]) -> None:
    workflow = workflows.parse_workflow(
        f'{{"tasks": [{{"id": "a", "cpu_req": {cpu}, "mem_req": {memory}}}], "dependencies": {{}}}}'
    )
    assert asked(workflow, "a") == Resources(cpu_milli=expected[0], memory_mib=expected[1])


def test_a_command_of_ours_is_a_program() -> None:
    workflow = workflows.parse_workflow(
        '{"tasks": [{"id": "a", "cpu_req": 1, "command": ["echo", "hi"], "env": {"A": "b"},'
        ' "duration_s": 2.5}]}'
    )
    program = workflow.programs["a"]
    assert (program.command, dict(program.env)) == (("echo", "hi"), {"A": "b"})
    assert workflow.tasks.duration_s.tolist() == [2.5]


def test_a_dax_is_read() -> None:
    workflow = workflows.parse_workflow(DAX)
    assert workflow.name == "diamond"
    assert edges(workflow) == {("ID1", "ID2"): 1.5}
    assert workflow.tasks.duration_s.tolist() == [12.5, 3.0]
    assert workflow.input_mb.tolist() == [4.0, 0.0]
    assert workflow.output_mb.tolist() == [0.0, 0.25]
    assert asked(workflow, "ID1") == Resources(cpu_milli=4000, memory_mib=2048)
    assert asked(workflow, "ID2") == Resources(cpu_milli=1000)


def test_argo_templates_become_one_workflow() -> None:
    workflow = workflows.parse_workflow(ARGO)
    each = [f"each.{i}" for i in range(2)]
    inner = {(f"{e}.load", f"{e}.{side}") for e in each for side in ("left", "right")}
    ends = {(f"{e}.{side}", "report") for e in each for side in ("left", "right")}
    assert set(edges(workflow)) == {
        *(("fetch", f"{e}.load") for e in each),
        *inner,
        *ends,
        ("fetch", "report"),
    }
    assert workflow.tasks.duration_s.tolist() == [2.5] * 8
    assert asked(workflow, "report") == Resources(500, 64, gpu_count=1, gpu_milli=1000)
    program = workflow.programs["each.1.load"]
    assert program.command == ("sh", "-c", "echo load two")
    assert program.image == "busybox:1.36"
    assert dict(program.env) == {"SHARDS": "3"}
    assert (program.timeout_s, program.max_attempts, program.backoff_s) == (30.0, 3, 5.0)
    assert workflow.programs["fetch"].command[-1] == "echo hello world"


def test_an_argo_task_without_limits_is_tried_once_and_may_take_for_ever() -> None:
    workflow = workflows.parse_workflow(
        "apiVersion: argoproj.io/v1alpha1\nkind: Workflow\nspec:\n  entrypoint: a\n"
        "  templates:\n  - name: a\n    script: {image: x, command: [python], source: print(1)}\n"
    )
    program = workflow.programs["a"]
    assert program.command == ("python", "-c", "print(1)")
    assert (program.timeout_s, program.max_attempts) == (math.inf, 1)


def test_what_is_filled_in_is_not_filled_again() -> None:
    text = ARGO.replace("value: world", "value: '{{workflow.parameters.who}}'")
    with pytest.raises(CerebrumError, match="not known"):
        workflows.parse_workflow(text)
    text = ARGO.replace("[one, two]", "['{{x}}', two]")
    workflow = workflows.parse_workflow(text)
    assert workflow.programs["each.0.load"].command[-1] == "echo load {{x}}"


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("a.yaml", DAX, "pegasus-dax"),
        ("a.json", ARGO, "argo"),
        ("a.xml", '{"tasks": [{"id": "a", "mem_req": 1}]}', "gcc-json"),
    ],
)
def test_the_content_tells_the_format_not_the_name(
    name: str, text: str, expected: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_text(text)
    assert workflows.detect_workflow(path) == expected
    assert workflows.inspect_workflow(path).format == expected


def test_gzip_is_read_too(tmp_path: Path) -> None:
    path = tmp_path / "w.dax.gz"
    path.write_bytes(gzip.compress(DAX.encode()))
    assert len(workflows.read_workflow(path)) == 2


def test_montage_like_has_the_shape_of_montage() -> None:
    workflow = workflows.read_workflow("montage-like:tasks=58,seed=1")
    kinds = [name.partition("-")[0] for name in workflow.tasks.names]
    assert len(workflow) == 58
    assert kinds.count("mViewer") == 4
    assert kinds.count("mProject") == kinds.count("mBackground") == 12
    assert kinds.count("mDiffFit") == 18  # as in montage-chameleon-2mass-005d-001
    assert workflow.critical_path_s() == pytest.approx(21.4, rel=0.15)
    assert workflow.volume_mb.sum() == pytest.approx(549.2, rel=0.15)


@pytest.mark.parametrize("tasks", [25, 26, 27, 50, 58, 103, 500])
def test_montage_like_has_as_many_tasks_as_asked(tasks: int) -> None:
    assert len(workflows.generate("montage-like", tasks=tasks, seed=tasks)) == tasks


def test_a_seed_decides_what_is_generated() -> None:
    one, same, other = (workflows.generate("layered", tasks=200, seed=s) for s in (1, 1, 2))
    assert np.array_equal(one.volume_mb, same.volume_mb)
    assert not np.array_equal(one.tasks.duration_s, other.tasks.duration_s)
    assert one.level.max() == -(-200 // 14) - 1


@pytest.mark.parametrize(
    ("name", "options", "problem"),
    [
        ("montage", {}, "did you mean 'montage-like'"),
        ("layered", {"task": 5}, "did you mean 'tasks'"),
        ("layered", {"tasks": 0}, "expected a whole number 1"),
        ("layered", {"tasks": 10**9}, "1,000,000"),
        ("layered", {"tasks": 10, "width": 11}, "width: expected 1..10"),
        ("montage-like", {"tasks": 3}, "25"),
        ("layered", {"seed": "x"}, "seed: expected a whole number"),
    ],
)
def test_what_cannot_be_generated_is_said(name: str, options: dict, problem: str) -> None:
    with pytest.raises(CerebrumError, match=problem):
        workflows.generate(name, **options)


ROWS = """\
task_name,task_count,job_id,none1,status,start_time,end_time,none2,none3
M1,1,j_1,1,Terminated,10,20,100,0.2
R2_1,371,j_1,1,Terminated,20,50,50,0.49
task_x,1,j_1,1,Terminated,20,21,100,0.39
M1,1,j_2,1,Terminated,10,20,100,0.2
R3_1_9,1,j_2,1,Terminated,20,30,100,0.2
M1,,j_3,1,Waiting,0,0,,
"""


def test_alibaba_rows_become_a_workflow_per_job(tmp_path: Path) -> None:
    path = tmp_path / "batch_task.csv"
    path.write_text(ROWS)
    found = workflows.read_workflows(path)
    assert [workflow.name for workflow in found] == ["j_1"]
    assert edges(found.workflows[0]) == {("M1", "R2_1"): 0.0}
    assert found.workflows[0].tasks.duration_s.tolist() == [10.0, 30.0, 1.0]
    assert asked(found.workflows[0], "R2_1") == Resources(cpu_milli=500)
    assert (found.report.read, found.report.kept) == (6, 3)
    assert sum(found.report.dropped.values()) == 3
    cut = workflows.read_workflows(path, incomplete="cut")
    assert [workflow.name for workflow in cut] == ["j_1", "j_2"]
    assert edges(cut.workflows[1]) == {("M1", "R3_1_9"): 0.0}
    assert any("left out" in note for note in cut.report.notes)


def test_alibaba_without_a_header_is_the_same(tmp_path: Path) -> None:
    path = tmp_path / "batch_task.csv"
    path.write_text(ROWS.partition("\n")[2])
    assert workflows.read_workflows(path).report.kept == 3


def test_no_whole_job_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "batch_task.csv"
    path.write_text("R1_3,1,j_3,1,Terminated,1,2,100,0.4\n")
    with pytest.raises(CerebrumError, match=r"no rows to schedule: 1 read, 1 dropped \(a task of"):
        workflows.read_workflows(path)


def test_the_real_sample_of_alibaba(shared_data: Path) -> None:
    path = shared_data / "workflows" / "pcaps_alibaba2018_batch_task_sample.csv.gz"
    whole = workflows.read_workflows(path)
    assert (len(whole), whole.report.read, whole.report.kept) == (8, 17_996, 15)
    cut = workflows.read_workflows(path, incomplete="cut", limit=1_000)
    assert len(cut) == 1_000
    assert cut.report.dropped["beyond the limit"] > 0
