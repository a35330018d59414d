"""openb: Alibaba's GPU cluster, 1,523 nodes and 8,152 tasks, shared GPUs (FGD, USENIX ATC'23).

Data: hkust-adsl/kubernetes-scheduler-simulator, data/csv, Apache-2.0. Two files: nodes
(`openb_node_list_gpu_node.csv`) and tasks (`openb_pod_list_default.csv`). `gpu_milli` is per GPU;
`gpu_spec` lists the models a task accepts, joined by `|`. A task runs from `scheduled_time` to
`deletion_time`; one that was never scheduled is taken to need `deletion_time - creation_time`.
Without times, tasks arrive one second apart in the file's order and never end.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cerebrum.model.cluster import Cluster, Node
from cerebrum.model.errors import InputError, TraceError, UnknownName, nearest
from cerebrum.model.resources import GPU_MILLI, MAX_GPUS, Resources
from cerebrum.model.scenario import Scenario
from cerebrum.model.tasks import TaskClass, TaskTable
from cerebrum.traces import inflate
from cerebrum.traces._csv import Column, Table, read_table
from cerebrum.traces._files import Tally, write_text
from cerebrum.traces._power import GPU_MODELS, node_power

DESCRIPTION = "openb: Alibaba's GPU cluster traces (a folder, or one of the two CSV files)"
EXTENSIONS = (".csv",)
SLOTS = 1001
"""Tasks a node takes."""

_NODE_FILE = re.compile(r"openb_node_list_(\w+)_node(?:-hier)?\.csv(?:\.gz)?")
_POD_FILE = re.compile(r"openb_pod_list_(\w+)\.csv(?:\.gz)?")
_NODE_COLUMNS = (
    Column("sn", unique=True),
    Column("cpu_milli", "int"),
    Column("memory_mib", "int"),
    Column("gpu", "int", high=MAX_GPUS),
    Column("model", empty=""),
    Column("rack", empty="", required=False),
    Column("server", empty="", required=False),
)
_POD_COLUMNS = (
    Column("name", unique=True),
    Column("cpu_milli", "int"),
    Column("memory_mib", "int"),
    Column("num_gpu", "int", high=MAX_GPUS),
    Column("gpu_milli", "int"),
    Column("gpu_spec", empty="", required=False),
    Column("qos", empty="", required=False),
    Column("pod_phase", empty="", required=False),
    Column("creation_time", "float", required=False),
    Column("deletion_time", "float", empty=math.inf, required=False),
    Column("scheduled_time", "float", empty=math.nan, required=False),
)
_SHAPE = ("cpu_milli", "memory_mib", "num_gpu", "gpu_milli", "gpu_spec")


def sniff(path: Path, head: bytes) -> bool:
    """Whether the folder holds openb's lists, or the file begins with one of their headers."""
    if path.is_dir():
        return any(_POD_FILE.fullmatch(file.name) for file in path.iterdir())
    first = head.split(b"\n", 1)[0].strip().removeprefix(b"\xef\xbb\xbf").split(b",")
    return {b"sn", b"gpu", b"model"} <= set(first) or {b"num_gpu", b"gpu_milli"} <= set(first)


def read(
    path: Path,
    pods: str = "",
    nodes: str = "",
    arrivals: Literal["trace", "fgd", "uniform"] = "trace",
    seed: int = 42,
    ratio: float = 1.3,
    oversized: Literal["refuse", "keep"] = "refuse",
) -> Scenario:
    """Nodes and tasks from a folder, or from one of the two files with the other beside it.

    `pods` and `nodes` choose among several lists (`default`; `gpu` or `all`). `arrivals`: `trace`
    keeps the times, `fgd` replays the published experiment and `uniform` the same with NumPy's
    random numbers (see `inflate`), with `seed` and `ratio`. Tasks larger than every node are
    refused unless `oversized="keep"`.
    """
    node_file, pod_file = _files(path, pods, nodes)
    cluster_nodes = _nodes(read_table(node_file, _NODE_COLUMNS))
    table = read_table(pod_file, _POD_COLUMNS)
    if oversized == "refuse":
        _check_fit(table, cluster_nodes)
    tally = Tally(read=len(table))
    tasks = _tasks(table, cluster_nodes, tally)
    scenario = Scenario(
        cluster=Cluster(tuple(cluster_nodes), name="openb"),
        tasks=tasks,
        name=pod_file.name.split(".")[0].removeprefix("openb_pod_list_"),
        typical=inflate.typical_classes(tasks) or None,
        source=str(pod_file),
        report=tally.report(pod_file, "tasks"),
    )
    return inflate.apply(scenario, arrivals, seed, ratio)


def write(scenario: Scenario, path: Path) -> None:
    """Write both lists into the folder `path`; refuses what the format cannot hold."""
    _refuse_loss(scenario, path)
    nodes = ["sn,cpu_milli,memory_mib,gpu,model,rack,server"]
    for node in scenario.cluster:
        r, labels = node.capacity, node.labels
        nodes.append(
            f"{node.name},{r.cpu_milli},{r.memory_mib},{r.gpu_count},{node.gpu_model},"
            f"{labels.get('rack', '')},{labels.get('server', '')}"
        )
    pods = [
        "name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,creation_time,deletion_time,"
        "scheduled_time"
    ]
    for task in scenario.tasks:
        r = task.task_class.resources
        end = "" if math.isinf(task.duration_s) else _number(task.submit_s + task.duration_s)
        pods.append(
            f"{task.name},{r.cpu_milli},{r.memory_mib},{r.gpu_count},{r.gpu_milli},"
            f"{'|'.join(task.task_class.gpu_models)},{_number(task.submit_s)},{end},"
        )
    write_text(path / "openb_node_list_all_node.csv", "\n".join(nodes) + "\n")
    write_text(path / "openb_pod_list_default.csv", "\n".join(pods) + "\n")


def _files(path: Path, pods: str, nodes: str) -> tuple[Path, Path]:
    """The node list and the pod list that belong together."""
    folder = path if path.is_dir() else path.parent
    given_nodes = path if _NODE_FILE.fullmatch(path.name) and not path.is_dir() else None
    given_pods = path if given_nodes is None and not path.is_dir() else None
    node_file = given_nodes or _choose(folder, _NODE_FILE, "node list", nodes, "gpu")
    pod_file = given_pods or _choose(folder, _POD_FILE, "pod list", pods, "default")
    return node_file, pod_file


def _choose(folder: Path, pattern: re.Pattern[str], kind: str, name: str, usual: str) -> Path:
    """The file whose name matches: the one asked for, else the usual one, else the only one."""
    found: dict[str, Path] = {}
    for file in sorted(folder.iterdir()):
        if match := pattern.fullmatch(file.name):
            found.setdefault(match[1], file)
    if not found:
        example = f"openb_{kind.replace(' ', '_')}_{usual}*.csv"
        raise TraceError(f"no {kind} here: expected a file such as {example}").at(folder)
    if name and name not in found:
        raise UnknownName(kind, name, found).at(folder)
    if not name and usual not in found and len(found) > 1:
        raise TraceError(f"several {kind}s: choose one of {', '.join(found)}").at(folder)
    return found[name] if name else found.get(usual) or next(iter(found.values()))


def _nodes(table: Table) -> list[Node]:
    columns = [table.frame[name].to_list() for name in ("sn", "cpu_milli", "memory_mib", "gpu")]
    labels = {name: table.texts(name) for name in ("rack", "server") if name in table}
    nodes: list[Node] = []
    for i, (name, cpu, memory, gpus, model) in enumerate(
        zip(*columns, table.texts("model"), strict=True)
    ):
        if model and not gpus:
            raise table.error(
                i, "model", f"expected no model on a node without GPUs, got {model!r}"
            )
        nodes.append(
            Node(
                name=name,
                capacity=Resources(cpu, memory, gpus, GPU_MILLI if gpus else 0),
                gpu_model=model,
                slots=SLOTS,
                labels={key: values[i] for key, values in labels.items() if values[i]},
                power=node_power(model),
            )
        )
    return nodes


def _check_fit(table: Table, nodes: Sequence[Node]) -> None:
    """Every task is no larger, in each resource, than the largest node."""
    largest = (
        ("num_gpu", max(node.capacity.gpu_count for node in nodes)),
        ("cpu_milli", max(node.capacity.cpu_milli for node in nodes)),
        ("memory_mib", max(node.capacity.memory_mib for node in nodes)),
    )
    for name, limit in largest:
        amounts = table.numbers(name)
        if (wrong := amounts > limit).any():
            row = int(np.argmax(wrong))
            raise table.error(
                row,
                name,
                f"expected at most {limit}, what the largest node has, got {amounts[row]} "
                "(oversized=keep reads it all the same)",
            )


def _tasks(table: Table, nodes: Sequence[Node], tally: Tally) -> TaskTable:
    shape = [name for name in _SHAPE if name in table]
    first_rows, group = table.groups(shape)
    known = {node.gpu_model for node in nodes if node.gpu_model} | set(GPU_MODELS)
    shapes = table.frame[first_rows].select(shape).rows()
    classes = [
        _task_class(table, int(row), known, *values)
        for row, values in zip(first_rows, shapes, strict=True)
    ]
    submit_s, duration_s = _times(table, tally)
    return TaskTable.build(table.texts("name"), classes, group, submit_s, duration_s)


def _task_class(
    table: Table, row: int, known: set[str], cpu: int, memory: int, gpus: int, milli: int,
    gpu_spec: str = "",
) -> TaskClass:  # fmt: skip
    """One class; a task without GPUs has neither share nor model, whatever the file says."""
    models = tuple(filter(None, gpu_spec.split("|"))) if gpus else ()
    for model in models:
        if model not in known:
            near = nearest(model, known)
            hint = (
                f", did you mean {near!r}?" if near else f", known are {', '.join(sorted(known))}"
            )
            raise table.error(row, "gpu_spec", f"unknown GPU model {model!r}{hint}")
    try:
        return TaskClass(Resources(cpu, memory, gpus, milli if gpus else 0), models)
    except InputError as error:
        raise table.error(row, error.place.field or "name", error.problem) from None


def _times(table: Table, tally: Tally) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """Submission and run time of every task, in seconds."""
    if "creation_time" not in table:
        tally.note("no times: tasks arrive one second apart, in the file's order, and never end")
        return np.arange(len(table), dtype=np.float64), np.full(len(table), math.inf)
    created = table.numbers("creation_time").astype(np.float64)
    started = _column(table, "scheduled_time", math.nan)
    ended = _column(table, "deletion_time", math.inf)
    _check_order(table, "scheduled_time", started, "creation_time", created)
    if never := int(np.isnan(started).sum()):
        tally.note(f"{never:,} tasks have no scheduled_time: run time is deletion - creation")
    started = np.where(np.isnan(started), created, started)
    _check_order(table, "deletion_time", ended, "scheduled_time", started)
    return created, ended - started


def _column(table: Table, name: str, missing: float) -> NDArray[np.float64]:
    if name not in table:
        return np.full(len(table), missing)
    return table.numbers(name).astype(np.float64)


def _check_order(
    table: Table, name: str, later: NDArray[np.float64], before: str, earlier: NDArray[np.float64]
) -> None:
    if (wrong := later < earlier).any():
        row = int(np.argmax(wrong))
        raise table.error(
            row, name, f"expected at least {before} {earlier[row]:g}, got {later[row]:g}"
        )


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(float(value))


def _refuse_loss(scenario: Scenario, path: Path) -> None:
    """`TraceError` naming the first node or task that holds something these files cannot."""
    for node in scenario.cluster:
        r = node.capacity
        if node.taints or not node.schedulable or r.extended or r.cache_ways or node.speed != 1:
            what = "taints, cordons, speeds, cache ways or extended resources"
            raise TraceError(f"openb cannot hold {what} (node {node.name!r})").at(path)
    for number, task_class in enumerate(scenario.tasks.classes):
        r = task_class.resources
        if task_class.constraints != TaskClass().constraints or r.extended or r.cache_ways:
            row = int(np.argmax(scenario.tasks.class_id == number))
            what = "constraints, cache ways or extended resources"
            raise TraceError(f"openb cannot hold {what} (task {scenario.tasks.names[row]!r})").at(
                path
            )
    if scenario.tasks.jobs or scenario.node_events or scenario.tasks.priority.any():
        raise TraceError("openb cannot hold jobs, priorities or node events").at(path)
