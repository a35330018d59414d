"""openb: Alibaba's traces as they are published, and every way the files can be wrong."""

from __future__ import annotations

import math
import time
from pathlib import Path

import numpy as np
import pytest

from cerebrum import traces
from cerebrum.model.cluster import PowerModel
from cerebrum.model.errors import ConfigError, InputError, TraceError, UnknownName
from cerebrum.model.resources import Resources
from cerebrum.traces import openb

NODES = "sn,cpu_milli,memory_mib,gpu,model\nn0,64000,262144,2,P100\nn1,96000,4096,4,T4\n"
PODS = (
    "name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,creation_time,deletion_time,"
    "scheduled_time\n"
    "p0,1000,512,1,460,T4|P100,0,30,10\n"
    "p1,2000,512,0,0,,5,25,\n"
)


def folder(tmp_path: Path, nodes: str = NODES, pods: str = PODS) -> Path:
    (tmp_path / "openb_node_list_gpu_node.csv").write_text(nodes)
    (tmp_path / "openb_pod_list_default.csv").write_text(pods)
    return tmp_path


def refusal(tmp_path: Path, nodes: str = NODES, pods: str = PODS) -> str:
    with pytest.raises(TraceError) as caught:
        openb.read(folder(tmp_path, nodes, pods))
    return str(caught.value).replace(f"{tmp_path}/openb_", "")


def test_the_published_trace_is_read_whole(shared_data: Path):
    scenario = traces.read(shared_data / "openb")
    assert len(scenario.tasks) == 8_152
    assert len(scenario.cluster) == 1_213
    assert scenario.cluster.gpu_capacity == 6_212
    assert sum(node.capacity.cpu_milli for node in scenario.cluster) == 107_018_000
    assert sum(node.capacity.memory_mib for node in scenario.cluster) == 503_828_480
    assert {node.slots for node in scenario.cluster} == {1_001}
    assert str(scenario.report) == "8,152 rows read, 8,152 kept"
    assert scenario.typical is not None
    assert (len(scenario.typical), sum(count for _, count in scenario.typical)) == (35, 7_766)
    assert int(scenario.tasks.submit_s.max()) == 12_901_761


def test_reading_takes_milliseconds(shared_data: Path):
    path = shared_data / "openb"
    openb.read(path)
    times = []
    for _ in range(5):
        began = time.perf_counter()
        openb.read(path)
        times.append(time.perf_counter() - began)
    assert min(times) < 0.2  # 0.035 s alone; tests may share the machine


@pytest.mark.parametrize(
    ("pods", "tasks", "typical"),
    [("cpu050", 7_439, 35), ("gpushare40", 8_152, 36), ("gpuspec10", 8_152, 74)],
)
def test_every_published_list_can_be_chosen(shared_data: Path, pods: str, tasks: int, typical: int):
    scenario = traces.read(shared_data / "openb", pods=pods)
    assert (scenario.name, len(scenario.tasks)) == (pods, tasks)
    assert len(scenario.typical or ()) == typical


def test_a_list_without_times_arrives_in_order_and_never_ends(shared_data: Path):
    scenario = traces.read(shared_data / "openb" / "openb_pod_list_multigpu20.csv")
    assert scenario.tasks.submit_s.tolist() == list(range(8_324))
    assert np.isinf(scenario.tasks.duration_s).all()
    assert "no times" in scenario.report.notes[0]


def test_all_nodes_can_be_asked_for(shared_data: Path):
    assert len(traces.read(shared_data / "openb", nodes="all").cluster) == 1_523


def test_a_task_is_what_its_line_says(tmp_path: Path):
    scenario = openb.read(folder(tmp_path))
    first, second = scenario.tasks
    assert first.task_class.resources == Resources(1000, 512, 1, 460)
    assert first.task_class.gpu_models == ("T4", "P100")
    assert (first.submit_s, first.duration_s) == (0, 20)
    assert (second.submit_s, second.duration_s) == (5, 20)
    assert "1 tasks have no scheduled_time" in scenario.report.notes[0]
    power = PowerModel(15, 120, 32_000, 25, 250)
    assert scenario.cluster.nodes[0].power == power


def test_either_file_finds_the_other(tmp_path: Path):
    path = folder(tmp_path)
    for name in ("openb_node_list_gpu_node.csv", "openb_pod_list_default.csv"):
        assert len(traces.read(path / name).tasks) == 2


def test_a_list_that_is_not_there_is_answered_with_those_that_are(tmp_path: Path):
    path = folder(tmp_path)
    with pytest.raises(UnknownName, match="unknown pod list 'defualt': did you mean 'default'"):
        openb.read(path, pods="defualt")
    (path / "openb_node_list_gpu_node.csv").unlink()
    with pytest.raises(TraceError, match="no node list here: expected a file such as"):
        openb.read(path)


@pytest.mark.parametrize(
    ("change", "to", "message"),
    [
        ("460", "1200", "pod_list_default.csv:2: gpu_milli: expected 0..1000 per GPU, got 1200"),
        ("1,460", "2,460", "pod_list_default.csv:2: gpu_milli: expected 1000 for 2 GPUs: only a"),
        ("1,460", "1,0", "pod_list_default.csv:2: gpu_milli: expected 1..1000 per GPU, got 0"),
        ("1,460", "8,1000", "pod_list_default.csv:2: num_gpu: expected at most 4, what the large"),
        ("1,460", "-1,460", "pod_list_default.csv:2: num_gpu: expected a whole number 0..16"),
        ("2000,512", "2000,nan", "pod_list_default.csv:3: memory_mib: expected a whole number"),
        ("T4|P100", "T4|P10", "pod_list_default.csv:2: gpu_spec: unknown GPU model 'P10', did"),
        ("p1,", "p0,", "pod_list_default.csv:3: name: 'p0' is named twice, first on line 2"),
        ("0,30,10", "0,9,10", "pod_list_default.csv:2: deletion_time: expected at least sched"),
        ("0,30,10", "20,30,10", "pod_list_default.csv:2: scheduled_time: expected at least crea"),
        ("0,30,10", ",30,10", "pod_list_default.csv:2: creation_time: expected a finite number"),
        ("num_gpu", "gpus", "pod_list_default.csv:1: num_gpu: expected a column of this name"),
    ],
)
def test_a_wrong_task_is_named_by_line_and_column(
    tmp_path: Path, change: str, to: str, message: str
):
    assert refusal(tmp_path, pods=PODS.replace(change, to, 1)).startswith(message)


@pytest.mark.parametrize(
    ("change", "to", "message"),
    [
        ("n1,", "n0,", "node_list_gpu_node.csv:3: sn: 'n0' is named twice, first on line 2"),
        ("2,P100", "0,P100", "node_list_gpu_node.csv:2: model: expected no model on a node with"),
        ("64000", "64k", "node_list_gpu_node.csv:2: cpu_milli: expected a whole number of at"),
        ("4,T4", "17,T4", "node_list_gpu_node.csv:3: gpu: expected a whole number 0..16, got '17'"),
    ],
)
def test_a_wrong_node_is_named_by_line_and_column(
    tmp_path: Path, change: str, to: str, message: str
):
    assert refusal(tmp_path, nodes=NODES.replace(change, to, 1)).startswith(message)


def test_tasks_that_fit_nowhere_can_be_kept_on_purpose(tmp_path: Path):
    path = folder(tmp_path, pods=PODS.replace("1,460", "8,1000"))
    assert openb.read(path, oversized="keep").tasks[0].task_class.resources.gpu_count == 8


def test_what_is_written_reads_back_the_same(tmp_path: Path, shared_data: Path):
    first = traces.read(shared_data / "openb", pods="gpuspec10")
    traces.write(first, tmp_path / "out", "openb")
    again = traces.read(tmp_path / "out")
    assert again.cluster == first.cluster
    assert again.tasks.names == first.tasks.names
    assert again.tasks.classes == first.tasks.classes
    for column in ("class_id", "submit_s", "duration_s"):
        assert np.array_equal(getattr(again.tasks, column), getattr(first.tasks, column))


def test_an_endless_task_is_written_without_an_end(tmp_path: Path):
    endless = openb.read(folder(tmp_path, pods=PODS.replace("0,30,10", "0,,")))
    assert math.isinf(endless.tasks[0].duration_s)
    openb.write(endless, tmp_path / "out")
    assert math.isinf(openb.read(tmp_path / "out").tasks[0].duration_s)


def test_an_option_that_does_not_exist_is_answered_with_the_nearest(tmp_path: Path):
    with pytest.raises(
        ConfigError, match="format 'openb' has no option 'podz': did you mean 'pods'"
    ):
        traces.read(folder(tmp_path), podz="default")
    with pytest.raises(UnknownName, match="unknown arrivals 'fdg': did you mean 'fgd'"):
        traces.read(folder(tmp_path), arrivals="fdg")
    with pytest.raises(InputError):
        traces.read(tmp_path / "nothing")
