"""Nodes, classes, tasks, jobs and node events as data frames and back, without loss.

What is irregular (labels, taints, constraints, power) is JSON text in a column; '' stands for none.
Decoding trusts nothing: schema, types and ranges are checked, and the nouns check themselves.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar, cast

import msgspec
import polars as pl

from cerebrum.model.cluster import Node, PowerModel, Taint
from cerebrum.model.constraints import UNCONSTRAINED, Constraints, Requirement, Term, Toleration
from cerebrum.model.errors import InputError
from cerebrum.model.peers import NO_RULES, PeerRules, TaskLabels
from cerebrum.model.resources import Resources
from cerebrum.model.scenario import NodeChange, NodeEvent
from cerebrum.model.tasks import Job, TaskClass, TaskTable

_RESOURCES: dict[str, Any] = {
    "cpu_milli": pl.Int64,
    "memory_mib": pl.Int64,
    "gpu_count": pl.Int64,
    "gpu_milli": pl.Int64,
    "cache_ways": pl.Int64,
    "extended": pl.String,
}
SCHEMAS: dict[str, dict[str, Any]] = {
    "nodes": {
        "name": pl.String,
        **_RESOURCES,
        "gpu_model": pl.String,
        "slots": pl.Int64,
        "labels": pl.String,
        "taints": pl.String,
        "power": pl.String,
        "speed": pl.Float64,
        "schedulable": pl.Boolean,
    },
    "classes": {
        **_RESOURCES,
        "gpu_models": pl.List(pl.String),
        "constraints": pl.String,
        "peers": pl.String,
        "typical_weight": pl.Float64,
    },
    "tasks": {
        "name": pl.String,
        "class_id": pl.Int32,
        "submit_s": pl.Float64,
        "duration_s": pl.Float64,
        "requested_s": pl.Float64,
        "priority": pl.Int32,
        "job_id": pl.Int32,
        "preemptible": pl.Boolean,
        "labels_id": pl.Int32,
    },
    "labels": {"labels": pl.String},
    "bound": {"task": pl.String, "node": pl.String, "gpus": pl.Int64},
    "jobs": {"name": pl.String, "gang": pl.Int64},
    "events": {"time_s": pl.Float64, "change": pl.String, "name": pl.String, "node": pl.Int64},
}
"""Table -> column -> type. `events.node` is the row in `nodes` of a node that joins, or -1."""
T = TypeVar("T")
_WATTS = tuple(field.name for field in dataclasses.fields(PowerModel))


def nodes_frame(nodes: Sequence[Node]) -> pl.DataFrame:
    """One row a node."""
    rows = [
        (
            n.name, *_amounts(n.capacity), n.gpu_model, n.slots, _json(dict(n.labels)),
            _json([[t.key, t.value, t.effect] for t in n.taints]), _power_text(n.power), n.speed,
            n.schedulable,
        )
        for n in nodes
    ]  # fmt: skip
    return _frame("nodes", rows)


def nodes_from(frame: pl.DataFrame) -> list[Node]:
    """The nodes of `nodes_frame`."""
    return [
        Node(
            name=row["name"],
            capacity=_resources(row),
            gpu_model=row["gpu_model"],
            slots=row["slots"],
            labels=_texts_by_text(_parsed(row["labels"], {}, "labels"), "labels"),
            taints=tuple(map(_taint, _parsed(row["taints"], [], "taints"))),
            power=_power(row["power"]),
            speed=row["speed"],
            schedulable=row["schedulable"],
        )
        for row in frame.iter_rows(named=True)
    ]


def classes_frame(
    classes: Sequence[TaskClass], typical: Sequence[tuple[TaskClass, float]]
) -> pl.DataFrame:
    """One row a class of the tasks (weight 0), then one a typical class with its weight."""
    weighted = [(task_class, 0.0) for task_class in classes] + list(typical)
    rows = [
        (
            *_amounts(c.resources), list(c.gpu_models), _constraints_text(c.constraints),
            "" if c.peers == NO_RULES else msgspec.json.encode(c.peers).decode(), weight,
        )
        for c, weight in weighted
    ]  # fmt: skip
    return _frame("classes", rows)


def classes_from(frame: pl.DataFrame) -> list[tuple[TaskClass, float]]:
    """Classes with their weights."""
    known: dict[str, Constraints] = {"": UNCONSTRAINED}
    found: list[tuple[TaskClass, float]] = []
    for row in frame.iter_rows(named=True):
        text = row["constraints"]
        if text not in known:
            known[text] = _constraints(_parsed(text, {}, "constraints"))
        models = tuple(_texts(row["gpu_models"], None, "gpu_models"))
        rules = _decoded(row["peers"], PeerRules, "peers") if row["peers"] else NO_RULES
        task_class = TaskClass(_resources(row), models, known[text], rules)
        found.append((task_class, row["typical_weight"]))
    return found


def tasks_frame(tasks: TaskTable) -> pl.DataFrame:
    """One row a task."""
    columns = {name: getattr(tasks, name) for name in SCHEMAS["tasks"] if name != "name"}
    return pl.DataFrame({"name": list(tasks.names), **columns}, schema=SCHEMAS["tasks"])


def tasks_from(
    frame: pl.DataFrame,
    classes: Sequence[TaskClass],
    jobs: Sequence[Job],
    label_sets: Sequence[TaskLabels],
) -> TaskTable:
    """The tasks of `tasks_frame`."""
    columns: dict[str, Any] = {
        name: frame[name].to_numpy() for name in SCHEMAS["tasks"] if name != "name"
    }
    names = frame["name"].to_list()
    return TaskTable.build(names, classes, jobs=jobs, label_sets=label_sets, **columns)


def labels_frame(label_sets: Sequence[TaskLabels]) -> pl.DataFrame:
    """One row a set of labels."""
    return _frame("labels", [(msgspec.json.encode(labels).decode(),) for labels in label_sets])


def labels_from(frame: pl.DataFrame) -> list[TaskLabels]:
    """The sets of `labels_frame`."""
    return [_decoded(text, TaskLabels, "labels") for text in frame["labels"]]


def bound_frame(bound: Mapping[str, tuple[str, int]]) -> pl.DataFrame:
    """One row a task that runs from the start."""
    return _frame("bound", [(task, node, gpus) for task, (node, gpus) in bound.items()])


def bound_from(frame: pl.DataFrame) -> dict[str, tuple[str, int]]:
    """The mapping of `bound_frame`."""
    return {task: (node, gpus) for task, node, gpus in frame.iter_rows()}


def jobs_frame(jobs: Sequence[Job]) -> pl.DataFrame:
    """One row a job."""
    return _frame("jobs", [(job.name, job.gang) for job in jobs])


def jobs_from(frame: pl.DataFrame) -> list[Job]:
    """The jobs of `jobs_frame`."""
    return [Job(name, gang) for name, gang in frame.iter_rows()]


def events_frame(events: Sequence[NodeEvent], first_row: int) -> pl.DataFrame:
    """One row an event; joining nodes stand in the nodes table from `first_row` on."""
    rows: list[tuple[Any, ...]] = []
    for event in events:
        row = -1
        if event.node is not None:
            row, first_row = first_row, first_row + 1
        rows.append((event.time_s, event.change.value, event.name, row))
    return _frame("events", rows)


def events_from(frame: pl.DataFrame, nodes: Sequence[Node]) -> list[NodeEvent]:
    """The events of `events_frame`."""
    changes = {change.value: change for change in NodeChange}
    found: list[NodeEvent] = []
    for time_s, change, name, row in frame.iter_rows():
        if change not in changes:
            known = ", ".join(changes)
            raise InputError(f"expected one of {known}, got {change!r}").at(field="change")
        if not -1 <= row < len(nodes):
            raise InputError(f"expected -1..{len(nodes) - 1}, got {row}").at(field="node")
        if not 0 <= time_s < float("inf"):
            raise InputError(f"expected finite, >= 0, got {time_s}").at(field="time_s")
        found.append(NodeEvent(time_s, changes[change], name, _joining(nodes, row)))
    return found


def _joining(nodes: Sequence[Node], row: int) -> Node | None:
    return nodes[row] if row >= 0 else None


def _frame(table: str, rows: Iterable[tuple[Any, ...]]) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=SCHEMAS[table], orient="row")


def _amounts(r: Resources) -> tuple[int, int, int, int, int, str]:
    extended = _json(dict(r.extended))
    return r.cpu_milli, r.memory_mib, r.gpu_count, r.gpu_milli, r.cache_ways, extended


def _resources(row: dict[str, Any]) -> Resources:
    extended = _parsed(row["extended"], {}, "extended")
    return Resources(
        row["cpu_milli"], row["memory_mib"], row["gpu_count"], row["gpu_milli"], row["cache_ways"],
        tuple(extended.items()),
    )  # fmt: skip


def _power_text(power: PowerModel | None) -> str:
    if power is None:
        return ""
    return json.dumps([getattr(power, name) for name in _WATTS])


def _taint(data: Any) -> Taint:
    key, value, effect = _texts(data, 3, "taints")
    return Taint(key, value, effect)  # type: ignore[arg-type]


def _power(text: str) -> PowerModel | None:
    if not text:
        return None
    values = _parsed(text, [], "power")
    numbers = all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in values)
    if len(values) != len(_WATTS) or not numbers or not isinstance(values[2], int):
        raise InputError(f"expected five numbers, got {text[:60]!r}").at(field="power")
    return PowerModel(*values)


def _constraints_text(c: Constraints) -> str:
    if c == UNCONSTRAINED:
        return ""
    return json.dumps(
        {
            "selector": c.selector,
            "required": [_term_data(term) for term in c.required],
            "preferred": [[weight, _term_data(term)] for weight, term in c.preferred],
            "tolerations": [[t.key, t.operator, t.value, t.effect] for t in c.tolerations],
            "volumes": [[_term_data(term) for term in group] for group in c.volumes],
        }
    )


def _term_data(term: Term) -> list[Any]:
    return [[[r.key, r.operator, r.values] for r in part] for part in (term.labels, term.fields)]


def _constraints(data: dict[str, Any]) -> Constraints:
    """Constraints from data of any shape: what is missing or of another type is refused."""
    try:
        preferred = [(_weight(weight), _term(term)) for weight, term in data["preferred"]]
        selector = [tuple(_texts(pair, 2, "constraints")) for pair in data["selector"]]
        return Constraints(
            selector=tuple(selector),  # type: ignore[arg-type]
            required=tuple(_term(term) for term in data["required"]),
            preferred=tuple(preferred),
            tolerations=tuple(_toleration(item) for item in data["tolerations"]),
            volumes=tuple(tuple(_term(term) for term in group) for group in data["volumes"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"expected what `write` writes: {error}").at(field="constraints") from None


def _term(data: Any) -> Term:
    labels, fields = data
    return Term(tuple(map(_requirement, labels)), tuple(map(_requirement, fields)))


def _requirement(data: Any) -> Requirement:
    key, operator, values = data
    key, operator = _texts([key, operator], 2, "constraints")
    return Requirement(key, operator, tuple(_texts(values, None, "constraints")))  # type: ignore[arg-type]


def _toleration(data: Any) -> Toleration:
    key, operator, value, effect = _texts(data, 4, "constraints")
    if operator not in ("Equal", "Exists"):
        raise ValueError(f"unknown operator {operator!r}")
    return Toleration(key, operator, value, effect)  # type: ignore[arg-type]


def _weight(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"weight {value!r} is no whole number")
    return value


def _decoded(text: str, kind: type[T], field: str) -> T:
    """A noun from its JSON, which checks itself."""
    try:
        return msgspec.json.decode(text, type=kind)
    except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
        raise InputError(f"expected what `write` writes: {error}").at(field=field) from None


def _texts(data: Any, count: int | None, field: str) -> list[str]:
    """A list of texts, of `count` items if given."""
    values = cast("list[object]", data) if isinstance(data, list) else []
    texts = [value for value in values if isinstance(value, str)]
    wrong = not isinstance(data, list) or len(texts) != len(values)
    shown = str(cast(object, data))[:60]
    if wrong or (count is not None and len(texts) != count):
        amount = "" if count is None else f"{count} "
        raise InputError(f"expected {amount}texts, got {shown!r}").at(field=field)
    return texts


def _texts_by_text(data: dict[str, Any], field: str) -> dict[str, str]:
    _texts(list(data.values()), None, field)
    return data


def _json(data: Any) -> str:
    return json.dumps(data, ensure_ascii=False) if data else ""


def _parsed(text: str, empty: Any, field: str) -> Any:
    """JSON of the type of `empty`, which stands for ''."""
    if not text:
        return empty
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        data = None
    if not isinstance(data, type(empty)):
        kind = "an object" if isinstance(empty, dict) else "a list"
        raise InputError(f"expected {kind} in JSON, got {text[:60]!r}").at(field=field)
    return data
