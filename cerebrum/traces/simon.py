"""simon: configurations of hkust-adsl/kubernetes-scheduler-simulator (`simon apply -f ...`).

`cluster.yaml` (kind Config) names a folder of Kubernetes objects, applications that follow, and the
arrival protocol: shuffle, tuning to a share of the GPUs, inflation, typical pods. `scheduler.yaml`
(a KubeSchedulerConfiguration) names the scores, which become `Scenario.profile`. Random numbers are
Go's, as in the original, so the same files give the same arrivals.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from cerebrum.model.errors import TraceError
from cerebrum.model.scenario import Scenario
from cerebrum.model.tasks import TaskTable
from cerebrum.traces import inflate, kubernetes
from cerebrum.traces._fields import Fields, documents
from cerebrum.traces._go_rand import GoRand
from cerebrum.traces._kube_objects import Objects, load
from cerebrum.traces._simon_profile import read_profile
from cerebrum.traces._topology import add_topology
from cerebrum.traces._yaml import Source

__all__ = ["DESCRIPTION", "EXTENSIONS", "add_topology", "read", "read_profile", "sniff"]

DESCRIPTION = "simon: cluster.yaml and scheduler.yaml of the openb simulator"
EXTENSIONS = (".yaml", ".yml")

_SPEC = ("cluster", "appList", "newNode", "customConfig")
_CUSTOM = (
    "shufflePod",
    "exportConfig",
    "workloadInflationConfig",
    "workloadTuningConfig",
    "newWorkloadConfig",
    "descheduleConfig",
    "typicalPodsConfig",
)
_TYPICAL = (
    "isInvolvedCpuPods",
    "podPopularityThreshold",
    "podIncreaseStep",
    "gpuResWeight",
    "isConsideredGpuResWeight",
)
_PARENTS = 4  # folders above cluster.yaml in which a relative path is looked for
_USUAL_THRESHOLD = 60
_USUAL_STEP = 10


@dataclass(frozen=True, slots=True)
class _Config:
    """What `spec.customConfig` asks for."""

    shuffle: bool
    seed: int
    tune_ratio: float
    inflate_ratio: float
    cover: float
    step: int
    cpu_tasks: bool


def sniff(path: Path, head: bytes) -> bool:
    """Whether the file begins like a simon Config."""
    return not path.is_dir() and b"simon/v1alpha1" in head


def read(path: Path, scheduler: str = "") -> Scenario:
    """The scenario a cluster.yaml describes; `scheduler` is the scheduler.yaml beside it."""
    found = list(documents(Source(path)))
    if len(found) != 1:
        raise TraceError(f"expected one document, found {len(found)}").at(path)
    root, notes = found[0], list[str]()
    if root.text("kind") != "Config":
        raise root.error(f"expected Config, got {root.text('kind')!r}", "kind")
    spec = root.child("spec")
    spec.only(_SPEC, "setting")
    objects = load(_folder(path, spec.child("cluster"), "customConfig"))
    scenario = kubernetes.assemble(objects, path)
    config = _config(spec.child("customConfig"), notes)
    scenario = _arrive(scenario, config)
    scenario = _append_apps(path, spec, objects, scenario)
    report = replace(scenario.report, notes=(*scenario.report.notes, *notes))
    profile = read_profile(Path(scheduler)) if scheduler else None
    return replace(scenario, report=report, profile=profile)


def _config(custom: Fields, notes: list[str]) -> _Config:
    custom.only(_CUSTOM, "setting")
    typical = custom.child("typicalPodsConfig")
    typical.only(_TYPICAL, "setting")
    if typical.number("gpuResWeight", 0.0, 0.0, 1e6):
        raise typical.error("expected 0: weighting typical pods is not supported", "gpuResWeight")
    if custom.child("descheduleConfig").text("policy", ""):
        notes.append("descheduleConfig is not supported: nothing is descheduled")
    if custom.text("newWorkloadConfig", ""):
        notes.append("newWorkloadConfig is not supported: the workload stays the same")
    tuning, inflation = (
        custom.child("workloadTuningConfig"),
        custom.child("workloadInflationConfig"),
    )
    for part in (tuning, inflation):
        part.only(("ratio", "seed"), "setting")
    return _Config(
        shuffle=custom.flag("shufflePod"),
        seed=tuning.integer("seed", 0, low=-(2**63), high=2**63 - 1),
        tune_ratio=max(0.0, tuning.number("ratio", 0.0, -1e6, inflate.MAX_RATIO)),
        inflate_ratio=inflation.number("ratio", 0.0, -1e6, inflate.MAX_RATIO),
        cover=(typical.integer("podPopularityThreshold", 0, high=100) or _USUAL_THRESHOLD) / 100,
        step=typical.integer("podIncreaseStep", 0) or _USUAL_STEP,
        cpu_tasks=typical.flag("isInvolvedCpuPods"),
    )


def _arrive(scenario: Scenario, config: _Config) -> Scenario:
    """The pods one by one, in the order the configuration asks for."""
    tasks = scenario.tasks
    typical = inflate.typical_classes(tasks, config.cover, config.cpu_tasks, config.step)
    by_time = np.lexsort((np.array(tasks.names), tasks.submit_s))
    return inflate.inflate(
        replace(scenario, tasks=tasks.take(by_time), typical=typical or None),
        GoRand(config.seed),
        ratio=config.tune_ratio,
        shuffle=config.shuffle,
        clones=config.inflate_ratio,
    )


def _append_apps(path: Path, spec: Fields, cluster: Objects, scenario: Scenario) -> Scenario:
    """The scenario with every application's pods after all others."""
    for app in spec.children("appList"):
        if app.flag("chart"):
            raise app.error("Helm charts are not supported: render it with helm template", "chart")
        objects = load(_folder(path, app, "path"))
        objects.nodes = cluster.nodes
        objects.priority_classes += cluster.priority_classes
        added = kubernetes.assemble(objects, path)
        report = replace(
            scenario.report,
            read=scenario.report.read + added.report.read,
            kept=scenario.report.kept + added.report.kept,
            notes=tuple(dict.fromkeys((*scenario.report.notes, *added.report.notes))),
        )
        tasks = _after(scenario.tasks, added.tasks)
        scenario = replace(scenario, tasks=tasks, report=report)
    return scenario


def _after(first: TaskTable, second: TaskTable) -> TaskTable:
    """Both tables' tasks; the second's follow one second apart."""
    start = float(first.submit_s[-1]) + 1 if len(first) else 0.0
    later = [replace(task, submit_s=start + i) for i, task in enumerate(second)]
    gangs = {job.name: job.gang for table in (first, second) for job in table.jobs}
    return TaskTable.from_tasks([*first, *later], gangs)


def _folder(path: Path, fields: Fields, name: str) -> Path:
    """A path in the configuration: seen from its folder, one above it, or the current folder."""
    text = fields.text(name)
    given = Path(text)
    if given.is_absolute():
        places = [given]
    else:
        above = [path.resolve().parent, *path.resolve().parent.parents[:_PARENTS]]
        places = [folder / given for folder in (*above, Path.cwd())]
    for place in places:
        if place.exists():
            return place
    raise fields.error(f"no such folder {text!r}", name)
