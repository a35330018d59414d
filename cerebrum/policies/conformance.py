"""What every policy must do, as checks anyone can run on their own: `check_policy(factory)`.

    from cerebrum.policies import get_policy
    from cerebrum.policies.conformance import check_policy

    check_policy(lambda: get_policy("./mine.py:MyPolicy"))

Each check builds a small world, lets the policy decide and raises `ConformanceError` saying what
went wrong. `CHECKS` holds them by name.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from cerebrum.engine.engine import Engine
from cerebrum.engine.incremental import Incremental, Rules
from cerebrum.model.cluster import Cluster, Node, Taint
from cerebrum.model.constraints import Requirement
from cerebrum.model.decisions import Action, Bind
from cerebrum.model.events import Event, EventKind, TaskState
from cerebrum.model.peers import HostPort, PeerRules, PeerSelector, PeerTerm, Spread, TaskLabels
from cerebrum.model.protocols import Explains, Policy
from cerebrum.model.resources import Resources
from cerebrum.model.scenario import Scenario
from cerebrum.model.tasks import Task, TaskClass, TaskTable
from cerebrum.policies.trial import ConformanceError, Trial

Factory = Callable[[], Policy]
Decided = list[tuple[float, tuple[Action, ...]]]


def check_policy(factory: Factory) -> None:
    """Run every check. Raises `ConformanceError` at the first that fails, naming it."""
    for name, check in CHECKS.items():
        try:
            check(factory)
        except ConformanceError as problem:
            raise ConformanceError(f"{name}: {problem}") from problem


def never_infeasible(factory: Factory) -> None:
    """A busy day, GPUs, taints, models, gangs: every decision can be carried out."""
    trial = Trial(busy_day(), factory()).run()
    for task, state in zip(trial.tasks, trial.states(), strict=True):
        if state not in (TaskState.SUCCEEDED, TaskState.REJECTED):
            raise ConformanceError(f"task {task.name!r} fits an idle node but ended {state.name}")


def deterministic(factory: Factory) -> None:
    """The same scenario and key give the same decisions, from a fresh policy and a used one."""
    used = factory()
    first, second = Trial(busy_day(), factory()).run(), Trial(busy_day(), used).run()
    again = Trial(busy_day(), used).run()
    _same(first.decisions, second.decisions, "two fresh policies decide differently")
    _same(first.decisions, again.decisions, "a policy that was used before decides differently")


def node_order(factory: Factory) -> None:
    """Turning the nodes round changes no node's score. Only for policies that explain."""
    names = [node.name for node in _nodes(6)]
    forward, backward = (
        _totals(factory(), _half_full(order)) for order in (names, list(reversed(names)))
    )
    if forward != backward:
        raise ConformanceError(f"scores depend on the order of nodes: {forward} and {backward}")


def finite_scores(factory: Factory) -> None:
    """Every node that fits has a finite score. Only for policies that explain."""
    for name, total in _totals(factory(), _half_full([n.name for n in _nodes(6)])).items():
        if not math.isfinite(total):
            raise ConformanceError(f"node {name!r} scores {total}")


def empty_cluster(factory: Factory) -> None:
    """Without nodes nothing is bound, and the policy stops deciding."""
    trial = Trial(_scenario((), [_task("a"), _task("b", gpus=1)]), factory()).run()
    _no_binds(trial, "there is no node")


def full_cluster(factory: Factory) -> None:
    """Where nothing fits nothing is bound."""
    hog = Task("hog", _kind(cpu=8000, memory=1024, gpus=2, milli=1000), duration_s=math.inf)
    trial = Trial(_scenario(_nodes(1), [hog]), factory()).run()
    if trial.states()[0] != TaskState.RUNNING:
        raise ConformanceError("a task that fits the idle node does not run")
    tasks = [hog, _task("late", submit_s=10.0), _task("gpu", submit_s=10.0, gpus=1)]
    trial = Trial(_scenario(_nodes(1), tasks), factory()).run()
    if any(bind.task for bind in trial.binds()):
        raise ConformanceError("something is bound to a full node")


def one_node(factory: Factory) -> None:
    """One node: tasks take turns, and all are done."""
    tasks = [_task(f"t{i}", cpu=5000, duration_s=5.0) for i in range(4)]
    trial = Trial(_scenario(_nodes(1), tasks), factory()).run()
    if any(state not in (TaskState.SUCCEEDED, TaskState.REJECTED) for state in trial.states()):
        raise ConformanceError("tasks that fit one after the other are not all done")
    if trial.states()[0] != TaskState.SUCCEEDED:
        raise ConformanceError("the first task fits and did not run")


def no_tasks(factory: Factory) -> None:
    """Nothing waits: nothing is decided."""
    engine = Engine(_scenario(_nodes(2), []), key=1)
    if factory().decide(engine.snapshot()):
        raise ConformanceError("something is decided though no task waits")


def gangs(factory: Factory) -> None:
    """A gang starts as a whole in one decision, or not at all."""
    members = [_task(f"m{i}", cpu=6000, job="gang", duration_s=9.0) for i in range(3)]
    small = _scenario(_nodes(2), members, {"gang": 3})
    _no_binds(Trial(small, factory()).run(), "the gang of three has room for two")
    trial = Trial(_scenario(_nodes(3), members, {"gang": 3}), factory()).run()
    sizes = [sum(isinstance(a, Bind) for a in actions) for _, actions in trial.decisions]
    if [size for size in sizes if size][:1] != [3]:
        raise ConformanceError("a gang of three that fits is not bound in one decision")


def rules_about_others(factory: Factory) -> None:
    """Replicas apart, even over racks, or side by side; ports; a claim that one may hold."""
    trial = Trial(neighbours(), factory()).run()
    for task, state in zip(trial.tasks, trial.states(), strict=True):
        if state not in (TaskState.SUCCEEDED, TaskState.REJECTED):
            raise ConformanceError(f"task {task.name!r} has a place but ended {state.name}")


def alike_gpus(factory: Factory) -> None:
    """Which GPU of a node is in use changes no score. Only for policies that explain."""
    tasks = [
        _task("left", gpus=1, milli=400, duration_s=math.inf),
        _task("right", gpus=1, milli=400, duration_s=math.inf),
        _task("shared", gpus=1, milli=500),
        _task("whole", gpus=1),
    ]
    policy = factory()
    if isinstance(policy, Incremental):  # a rule may prefer low GPU indices, a scorer must not
        policy = Incremental(policy.name, policy.scores, Rules(gpus="best"))
    trial = Trial(_scenario(_nodes(2), tasks), policy)
    for task, (row, mask) in enumerate(((0, 1), (1, 2))):
        trial.engine.apply(Event(0.0, EventKind.SUBMITTED, task))
        trial.engine.apply(Event(0.0, EventKind.BOUND, task, row, mask))
    for task in (2, 3):
        trial.engine.apply(Event(0.0, EventKind.SUBMITTED, task))
        totals = list(_explained(trial.policy, trial.engine, task).values())
        if totals and totals[0] != totals[1]:
            raise ConformanceError(f"GPU 0 in use scores {totals[0]}, GPU 1 {totals[1]}")


CHECKS: dict[str, Callable[[Factory], None]] = {
    check.__name__: check
    for check in (
        never_infeasible, deterministic, node_order, finite_scores, empty_cluster, full_cluster,
        one_node, no_tasks, gangs, rules_about_others, alike_gpus,
    )
}  # fmt: skip
"""The checks by name, in the order they run."""


# -- worlds -----------------------------------------------------------------------------------


def busy_day() -> Scenario:
    """Six nodes of three kinds and 60 tasks that come and go; each fits an idle node."""
    nodes = [
        *_nodes(4),
        Node("tainted", Resources(8000, 16384), taints=(Taint("batch"),)),
        Node("big", Resources(32000, 65536, 4, 1000), gpu_model="V100", speed=2.0),
    ]
    tasks = [
        Task(
            f"t{i:02}",
            _kind(
                cpu=500 + 1500 * (i * 7 % 5),
                memory=512 + 1024 * (i % 4),
                gpus=(0, 1, 1, 2, 0, 1)[i % 6],
                milli=(0, 250, 1000, 1000, 0, 600)[i % 6],
                models=("V100",) if i % 12 == 2 else (),
            ),
            submit_s=float(3 * (i // 3)),
            duration_s=float(5 + i * 11 % 40),
            requested_s=float(5 + i * 13 % 60),
            job="pair" if i in (20, 21) else "",
        )
        for i in range(60)
    ]
    return _scenario(nodes, tasks, {"pair": 2})


def neighbours() -> Scenario:
    """Six nodes on three racks and 42 tasks with rules about each other; all can run in turn."""
    kinds = {
        "cache": PeerRules(apart=(PeerTerm(_app("cache"), "server"),)),
        "web": PeerRules(spread=(Spread(_app("web"), "rack"),)),
        "crew": PeerRules(near=(PeerTerm(_app("crew"), "rack"),)),
        "edge": PeerRules(ports=(HostPort(443),)),
        "writer": PeerRules(exclusive=("disk",)),
        "plain": PeerRules(),
    }
    tasks = [
        Task(
            f"{app}{i:02}",
            TaskClass(Resources(500 + 700 * (i % 3), 512), peers=kinds[app]),
            submit_s=float(2 * (i // 4)),
            duration_s=float(4 + i * 7 % 20),
            job="pair" if i in (7, 13) else "",
            labels=TaskLabels(labels=(("app", app),)),
        )
        for i, app in enumerate(list(kinds) * 7)
    ]
    return _scenario(_nodes(6), tasks, {"pair": 2})


def _app(app: str) -> PeerSelector:
    return PeerSelector((Requirement("app", "In", (app,)),), ("default",))


def _nodes(count: int) -> list[Node]:
    return [
        Node(f"n{i}", Resources(8000, 16384, 2, 1000), gpu_model="T4",
             labels={"rack": f"r{i // 2}", "server": f"s{i % 2}"})
        for i in range(count)
    ]  # fmt: skip


def _kind(
    cpu: int = 1000,
    memory: int = 1024,
    gpus: int = 0,
    milli: int = 1000,
    models: tuple[str, ...] = (),
) -> TaskClass:
    return TaskClass(Resources(cpu, memory, gpus, milli if gpus else 0), models)


def _task(
    name: str,
    cpu: int = 1000,
    gpus: int = 0,
    milli: int = 1000,
    submit_s: float = 0.0,
    duration_s: float = 30.0,
    job: str = "",
) -> Task:
    kind = _kind(cpu, gpus=gpus, milli=milli)
    return Task(name, kind, submit_s=submit_s, duration_s=duration_s, job=job)


def _scenario(
    nodes: Sequence[Node], tasks: Sequence[Task], gangs: dict[str, int] | None = None
) -> Scenario:
    return Scenario(Cluster(tuple(nodes)), TaskTable.from_tasks(tasks, gangs), name="conformance")


def _half_full(order: Sequence[str]) -> Scenario:
    """Six nodes in the given order; `_totals` fills some of them."""
    by_name = {node.name: node for node in _nodes(6)}
    tasks = [
        *(_task(f"fill{i}", cpu=500 + 900 * i, gpus=i % 2, milli=300) for i in range(3)),
        _task("asked", cpu=2000, gpus=1, milli=400),
    ]
    return _scenario([by_name[name] for name in order], tasks)


def _totals(policy: Policy, scenario: Scenario) -> dict[str, float]:
    """Total score by node name for the last task, with the others on n0, n1 and n2."""
    engine = Engine(scenario, key=7)
    last = len(scenario.tasks) - 1
    for task in range(last):
        engine.apply(Event(0.0, EventKind.SUBMITTED, task))
        gpus = 1 if scenario.tasks[task].task_class.resources.gpu_count else 0
        engine.apply(Event(0.0, EventKind.BOUND, task, engine.row_of(f"n{task}"), gpus))
    engine.apply(Event(0.0, EventKind.SUBMITTED, last))
    return _explained(policy, engine, last)


def _explained(policy: Policy, engine: Engine, task: int) -> dict[str, float]:
    if not isinstance(policy, Explains):
        return {}
    rows = policy.explain(engine.snapshot(), task).rows
    found = {engine.node_names[row.row]: row.total for row in rows if not row.refusals}
    return dict(sorted(found.items()))


def _same(one: Decided, other: Decided, problem: str) -> None:
    for number, (a, b) in enumerate(zip(one, other, strict=False)):
        if a != b:
            raise ConformanceError(f"{problem}: decision {number} is {a}, then {b}")
    if len(one) != len(other):
        raise ConformanceError(f"{problem}: {len(one)} decisions, then {len(other)}")


def _no_binds(trial: Trial, why: str) -> None:
    if trial.binds():
        raise ConformanceError(f"something is bound although {why}")
