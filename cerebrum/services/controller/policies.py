"""Which policies decide, and where their answers are checked once more.

A submission names policies by their registered name alone: what comes over the network must not
choose files to load or options to set.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from cerebrum.model.errors import UnknownName
from cerebrum.model.federation import ClusterView, Decomposition, Network
from cerebrum.model.workflow import Workflow
from cerebrum.policies.assignment import assigner_names, get_assigner
from cerebrum.policies.decomposition import decomposer_names, get_decomposer
from cerebrum.services.controller._sessions import Session, fits
from cerebrum.services.controller._specs import Shape, workflow_of
from cerebrum.services.controller.settings import ControllerSettings
from cerebrum.services.rollouts import Desk
from cerebrum.services.wire import DependencySpec, TaskSpec, WorkflowSpec

AUCTION = "auction"


def check_names(spec: WorkflowSpec) -> None:
    """Raises `UnknownName` for a policy that is not registered."""
    if spec.decomposition and spec.decomposition not in decomposer_names():
        raise UnknownName("decomposer", spec.decomposition, decomposer_names())
    if spec.assignment and spec.assignment not in assigner_names():
        raise UnknownName("assigner", spec.assignment, assigner_names())


def network_of(settings: ControllerSettings, clusters: int) -> Network:
    """Links between clusters: the same between any two, as set."""
    return Network.uniform(clusters, settings.between, settings.within)


def warm_up(settings: ControllerSettings) -> None:
    """Decide on something small: what policies load and compile the first time would otherwise hold
    up a leader for longer than it may be silent."""
    tasks = [TaskSpec(name="a", duration_s=1.0), TaskSpec(name="b", duration_s=1.0)]
    edge = DependencySpec(before="a", after="b", volume_mb=1.0)
    spec = WorkflowSpec(name="small", tasks=tasks, dependencies=[edge])
    views = [
        ClusterView(name, 1000, 0, largest_cpu_milli=1000, cpu_free_milli=1000) for name in "xy"
    ]
    shape = Shape("", spec, workflow_of(spec))
    shape.upward_rank_s(1.0, network_of(settings, len(views)))
    cut = decompose(settings, spec, shape.workflow, views)
    if settings.assignment != AUCTION:
        assign(settings, settings.assignment, cut, views, np.full(cut.parts, -1, np.int32))


def decompose(
    settings: ControllerSettings, spec: WorkflowSpec, workflow: Workflow, views: list[ClusterView]
) -> Decomposition:
    """Cut a workflow by the policy it asks for, or the default."""
    policy = get_decomposer(spec.decomposition or settings.decomposition)
    return policy.decompose(workflow, views, network_of(settings, len(views)))


def assign(
    settings: ControllerSettings,
    name: str,
    cut: Decomposition,
    views: list[ClusterView],
    placed: NDArray[np.int32],
) -> NDArray[np.int32]:
    """int32[parts]: index of the cluster, -1 for none."""
    policy = get_assigner(name)
    return policy.assign(cut, views, network_of(settings, len(views)), placed)


def assign_beside(
    settings: ControllerSettings,
    desk: Desk,
    key: str,
    cut: Decomposition,
    views: list[ClusterView],
    placed: NDArray[np.int32],
) -> tuple[NDArray[np.int32], str]:
    """As `assign` by the default and its candidate; and whose plan it is."""
    policy = desk.assigner(settings.assignment)
    return policy.assign_for(key, cut, views, network_of(settings, len(views)), placed)


def holders(shape: Shape, tasks: Sequence[int], sessions: Sequence[Session]) -> list[int]:
    """Indices of the clusters with a node for each of the tasks: by node, where views are by
    cluster (its largest CPU and its largest memory may be two nodes)."""
    table = shape.workflow.tasks
    kinds = {int(table.class_id[task]): task for task in tasks}
    specs = [shape.spec.tasks[task] for task in kinds.values()]
    return [
        i for i, session in enumerate(sessions) if all(fits(spec, session.usable) for spec in specs)
    ]


def misfits(shape: Shape, tasks: Sequence[int], sessions: Sequence[Session]) -> Mapping[int, str]:
    """Tasks that fit no cluster, and why."""
    known: dict[int, str] = {}
    table, found = shape.workflow.tasks, dict[int, str]()
    for task in tasks:
        kind = int(table.class_id[task])
        if kind not in known:
            known[kind] = "" if holders(shape, [task], sessions) else _asks(shape, task, sessions)
        if known[kind]:
            found[task] = known[kind]
    return found


def _asks(shape: Shape, task: int, sessions: Sequence[Session]) -> str:
    spec = shape.spec.tasks[task]
    asked = f"{spec.cpu_milli} millicores, {spec.memory_mib} MiB"
    if spec.gpu_count:
        models = " or ".join(spec.gpu_models)
        asked += f", {spec.gpu_count} GPU" + (f" ({models})" if models else "")
    return f"no node of {len(sessions)} clusters has {asked}"


def divisible(shape: Shape, cut: Decomposition, sessions: Sequence[Session]) -> Decomposition:
    """The same cut, with parts divided that no cluster could hold as a whole.

    Tasks in the order of parts, each part in topological order, are a topological order; pieces of
    it that follow on one another have an acyclic quotient. A piece ends where no cluster could hold
    the next task too. A task that fits nowhere is for the caller to notice.
    """
    place = np.empty(len(shape), np.int64)
    place[shape.workflow.order] = np.arange(len(shape))
    order: list[int] = np.lexsort((place, cut.part)).tolist()
    able = holders_by_class(shape, sessions)
    kinds: list[int] = shape.workflow.tasks.class_id.tolist()
    part = np.zeros(len(shape), np.int32)
    piece, common, before = -1, frozenset[int](), -1
    for task in order:
        left = common & able[kinds[task]]
        if cut.part[task] != before or not left:
            piece, left = piece + 1, able[kinds[task]]
        part[task], common, before = piece, left, int(cut.part[task])
    return Decomposition(shape.workflow, part)


def holders_by_part(
    shape: Shape, cut: Decomposition, parts: Iterable[int], sessions: Sequence[Session]
) -> dict[int, frozenset[int]]:
    """Indices of the clusters with a node for each task, for each of the parts."""
    able = holders_by_class(shape, sessions)
    kinds = shape.workflow.tasks.class_id
    everyone = frozenset(range(len(sessions)))
    return {
        part: everyone.intersection(
            *(able[int(kind)] for kind in np.unique(kinds[cut.tasks_of(part)]))
        )
        for part in parts
    }


def holders_by_class(shape: Shape, sessions: Sequence[Session]) -> list[frozenset[int]]:
    """For each task class, the clusters with a node for it."""
    table = shape.workflow.tasks
    kinds, firsts = np.unique(table.class_id, return_index=True)
    able = [frozenset[int]()] * len(table.classes)
    for kind, first in zip(kinds.tolist(), firsts.tolist(), strict=True):
        able[kind] = frozenset(holders(shape, [first], sessions))
    return able
