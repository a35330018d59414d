"""Generated scenarios: arrival process x job mix x run times, from a YAML description or a name.

    kind: Synthetic
    seed: 7
    jobs: 1000
    arrivals: {process: bursty, rate_per_s: 0.5, burst_factor: 4}
    nodes:
      - {name: gpu, count: 8, cpu: "64", memory: 256Gi, gpus: 4, gpu_model: A100}
    classes:
      - {name: train, weight: 3, cpu: "8", memory: 32Gi, gpus: 1, duration:
          {distribution: lognormal, median_s: 1800, sigma: 1}}

Everything is drawn from `numpy.random.Generator` with the seed: equal descriptions give equal
scenarios. `openb-like` and `synthetic` stand for the ready-made ones of `openb_like` and `plain`.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

from cerebrum.model import quantity
from cerebrum.model.cluster import DEFAULT_SLOTS, Cluster, Node, PowerModel
from cerebrum.model.errors import ConfigError, InputError, TraceError, nearest
from cerebrum.model.resources import GPU_MILLI, MAX_GPUS, Resources, extended_resources
from cerebrum.model.scenario import Scenario
from cerebrum.model.tasks import TaskClass
from cerebrum.traces._arrivals import PROCESSES, Bursty, Compound, Diurnal, Poisson
from cerebrum.traces._durations import DISTRIBUTIONS, Exponential, Forever, LogNormal
from cerebrum.traces._fields import Fields, documents
from cerebrum.traces._generate import JobKind, Recipe, generate
from cerebrum.traces._power import node_power
from cerebrum.traces._presets import MAX_NODES, openb_like, plain
from cerebrum.traces._yaml import Source

__all__ = [
    "DESCRIPTION", "EXTENSIONS", "Bursty", "Compound", "Diurnal", "Exponential", "Forever",
    "JobKind", "LogNormal", "Poisson", "Recipe", "generate", "openb_like", "plain", "read", "sniff",
]  # fmt: skip

DESCRIPTION = "Generated scenario (YAML of kind Synthetic, or the name openb-like or synthetic)"
EXTENSIONS = (".yaml", ".yml")

T = TypeVar("T")
_KIND = re.compile(rb"(?m)^kind:[ \t]*[\"']?Synthetic[\"']?[ \t]*\r?(#.*)?$")
_PRESETS = {"openb-like": openb_like, "synthetic": plain}
_TOP = ("kind", "name", "seed", "jobs", "start", "arrivals", "nodes", "classes", "zone")
_TOP_PRESET = ("kind", "preset", "nodes", "tasks", "seed", "load", "departures")
_NODE = (
    "name", "count", "cpu", "memory", "gpus", "gpu_model", "slots", "labels", "speed", "power",
    "extended",
)  # fmt: skip
_CLASS = (
    "name", "weight", "cpu", "memory", "gpus", "gpu_milli", "gpu_models", "duration", "gang",
    "overestimate", "priority", "preemptible", "extended",
)  # fmt: skip
_POWER = tuple(field.name for field in dataclasses.fields(PowerModel))


def sniff(path: Path, head: bytes) -> bool:
    """Whether the text is a description: it has a line `kind: Synthetic`."""
    return _KIND.search(head) is not None


def read(
    path: Path,
    nodes: int | None = None,
    tasks: int | None = None,
    seed: int | None = None,
    load: float | None = None,
    departures: bool | None = None,
) -> Scenario:
    """The scenario that a description file, or the name of a ready-made one, stands for.

    A file takes only `seed`; see `openb_like` and `plain` for what the names take.
    """
    given = {"nodes": nodes, "tasks": tasks, "seed": seed, "load": load, "departures": departures}
    given = {name: value for name, value in given.items() if value is not None}
    if str(path) in _PRESETS and not path.exists():
        return _preset(str(path), given)
    if wrong := [name for name in given if name != "seed"]:
        raise ConfigError("a description file says this itself; only seed can be given").at(
            field=wrong[0]
        )
    found = list(documents(Source(path)))
    if len(found) != 1:
        raise TraceError(f"expected one document, found {len(found)}").at(path)
    scenario = _described(found[0], seed)
    return dataclasses.replace(scenario, source=f"{path}, {scenario.source}")


def _preset(name: str, given: Mapping[str, Any]) -> Scenario:
    if name == "synthetic" and "departures" in given:
        raise ConfigError("only openb-like takes this").at(name, field="departures")
    try:
        return _PRESETS[name](**given)
    except InputError as error:
        raise ConfigError(error.problem).at(name, field=error.place.field) from None


def _described(top: Fields, seed: int | None) -> Scenario:
    if top.text("kind", "") != "Synthetic":
        raise top.error(f"expected Synthetic, got {top.data.get('kind')!r}", "kind")
    if "preset" in top:
        return _described_preset(top, seed)
    top.only(_TOP, "key")
    nodes = _nodes(top)
    kinds = tuple(_kind(item, nodes) for item in top.children("classes"))
    arrivals = _chosen(top.child("arrivals"), "process", PROCESSES)
    start = _one_of(top, "start", ("empty", "stationary"))
    return _placed(
        top,
        lambda: generate(
            Recipe(
                cluster=Cluster(nodes, name="synthetic", zone=top.text("zone", "")),
                kinds=kinds,
                jobs=_required(top, "jobs"),
                arrivals=arrivals,
                seed=top.integer("seed", 0, high=2**63 - 1) if seed is None else seed,
                stationary=start == "stationary",
                name=top.text("name", "synthetic"),
            )
        ),
    )


def _described_preset(top: Fields, seed: int | None) -> Scenario:
    top.only(_TOP_PRESET, "key of a preset")
    name = _one_of(top, "preset", tuple(_PRESETS))
    given = {key: top.data[key] for key in _TOP_PRESET[2:] if key in top}
    if seed is not None:
        given["seed"] = seed
    if "departures" in given and name == "synthetic":
        raise top.error("only openb-like takes this", "departures")
    top.flag("departures")
    return _placed(top, lambda: _PRESETS[name](**given))


def _nodes(top: Fields) -> tuple[Node, ...]:
    nodes: list[Node] = []
    names: set[str] = set()
    for item in top.children("nodes"):
        item.only(_NODE, "key of a node")
        count = item.integer("count", 1, 1, MAX_NODES)
        if len(nodes) + count > MAX_NODES:
            raise item.error(f"expected at most {MAX_NODES:,} nodes in all", "count")
        nodes += _equal_nodes(item, count)
        if wrong := next((n.name for n in nodes[-count:] if n.name in names), ""):
            raise item.error(f"node {wrong!r} is named twice", "name")
        names.update(n.name for n in nodes[-count:])
    if not nodes:
        raise top.error("expected at least one", "nodes")
    return tuple(nodes)


def _equal_nodes(item: Fields, count: int) -> list[Node]:
    """`count` nodes called name-0, name-1, ...; one node has the name itself."""
    name, model = item.text("name"), item.text("gpu_model", "")
    gpus = item.integer("gpus", 0, 0, MAX_GPUS)
    if bool(model) != bool(gpus):
        raise item.error(
            f"expected both gpus and gpu_model or neither, got {gpus} GPUs", "gpu_model"
        )
    capacity = _resources(item, gpus, GPU_MILLI if gpus else 0)
    power = node_power(model)
    if "power" in item:
        watts = item.child("power")
        watts.only(_POWER, "key of a power model")
        power = _placed(watts, lambda: PowerModel(**_numbers(watts, _POWER)))
    labels = item.labels("labels")
    return [
        _placed(
            item,
            lambda i=i: Node(
                name=f"{name}-{i}" if count > 1 else name,
                capacity=capacity,
                gpu_model=model,
                slots=item.integer("slots", DEFAULT_SLOTS, 0, 2**15 - 1),
                labels=labels,
                power=power,
                speed=item.number("speed", 1.0, 1e-6, 1e6),
            ),
        )
        for i in range(count)
    ]


def _kind(item: Fields, nodes: Sequence[Node]) -> JobKind:
    item.only(_CLASS, "key of a class")
    gpus = item.integer("gpus", 0, 0, MAX_GPUS)
    milli = item.integer("gpu_milli", GPU_MILLI if gpus else 0, 0, GPU_MILLI)
    task_class = TaskClass(_resources(item, gpus, milli), item.texts("gpu_models"))
    _check_fit(item, task_class, nodes)
    known = {name: item.data[name] for name in ("weight", "overestimate", "gang") if name in item}
    return _placed(
        item,
        lambda: JobKind(
            name=item.text("name"),
            task_class=task_class,
            duration=_chosen(item.child("duration"), "distribution", DISTRIBUTIONS),
            priority=item.integer("priority", 0, -(2**31)),
            preemptible=item.flag("preemptible", True),
            **known,
        ),
    )


def _resources(item: Fields, gpus: int, gpu_milli: int) -> Resources:
    extended = item.child("extended")
    amounts = {name: extended.parse(name, quantity.count, 0) for name in extended.data}
    return _placed(
        item,
        lambda: Resources(
            cpu_milli=item.parse("cpu", quantity.cpu_milli, 0),
            memory_mib=item.parse("memory", quantity.memory_mib, 0),
            gpu_count=gpus,
            gpu_milli=gpu_milli,
            extended=extended_resources(amounts),
        ),
    )


def _check_fit(item: Fields, task_class: TaskClass, nodes: Sequence[Node]) -> None:
    """Some node, when empty, has room for one task of the class; say what is too large if not."""
    models = sorted({node.gpu_model for node in nodes if node.gpu_model})
    for i, model in enumerate(task_class.gpu_models):
        if model not in models:
            near = nearest(model, models)
            hint = f"did you mean {near!r}?" if near else f"the nodes have {', '.join(models)}"
            raise item.error(f"unknown GPU model {model!r}: {hint}", "gpu_models", i)
    able = [n for n in nodes if not task_class.gpu_models or n.gpu_model in task_class.gpu_models]
    asked = task_class.resources
    for key, field in (("gpus", "gpu_count"), ("cpu", "cpu_milli"), ("memory", "memory_mib")):
        largest = max(getattr(node.capacity, field) for node in able)
        if getattr(asked, field) > largest:
            raise item.error(
                f"expected {field} of at most {largest}, what the largest node has, "
                f"got {getattr(asked, field)}",
                key,
            )
        able = [n for n in able if getattr(n.capacity, field) >= getattr(asked, field)]


def _chosen(item: Fields, key: str, kinds: Mapping[str, type[T]]) -> T:
    """The value of the kind that `key` names, made from the other keys of the mapping."""
    kind = kinds[_one_of(item, key, tuple(kinds), required=True)]
    fields = dataclasses.fields(kind)  # type: ignore[arg-type]
    names = tuple(field.name for field in fields)
    item.only((key, *names), f"key of {item.text(key)}")
    for field in fields:
        if field.default is dataclasses.MISSING and field.name not in item:
            raise item.error("expected a value, found nothing", field.name)
    return _placed(item, lambda: kind(**_numbers(item, names)))


def _numbers(item: Fields, names: Sequence[str]) -> dict[str, Any]:
    """The values given, lists as tuples, for a constructor that checks them."""
    found = {name: item.data[name] for name in names if name in item}
    return {n: tuple(cast("list[Any]", v)) if isinstance(v, list) else v for n, v in found.items()}


def _one_of(item: Fields, key: str, names: tuple[str, ...], required: bool = False) -> str:
    """A text that is one of `names`; the first one when it may be absent."""
    name = item.text(key, None if required else names[0])
    if name not in names:
        near = nearest(name, names)
        hint = f", did you mean {near!r}?" if near else ""
        raise item.error(f"expected one of {', '.join(names)}, got {name!r}{hint}", key)
    return name


def _required(item: Fields, name: str) -> int:
    if name not in item:
        raise item.error("expected a whole number, found nothing", name)
    return item.data[name]


def _placed(item: Fields, build: Any) -> Any:
    """What `build` makes; its `InputError` gets the file, line and field it is about."""
    try:
        return build()
    except TraceError:
        raise
    except InputError as error:
        field = error.place.field
        raise item.error(error.problem, *((field,) if field else ())) from None
