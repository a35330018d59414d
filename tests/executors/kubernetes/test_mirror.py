"""The mirror under random interleavings of the watch, our decisions and what became of them."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace

import pytest

from cerebrum.executors.kubernetes._mirror_nodes import Nodes
from cerebrum.executors.kubernetes.facts import PodFacts
from cerebrum.executors.kubernetes.mirror import Mirror, Phase
from cerebrum.executors.kubernetes.recorded import RecordedEngine
from cerebrum.model.cluster import Node
from cerebrum.model.decisions import Bind
from cerebrum.model.resources import Resources
from cerebrum.model.tasks import TaskClass
from cerebrum.policies import get_policy


def node(name: str, cpu_milli: int = 4000) -> Node:
    return Node(name, Resources(cpu_milli, 8192))


def pod(name: str, cpu_milli: int = 1000, **more: object) -> PodFacts:
    demands = TaskClass(Resources(cpu_milli, 64))
    return PodFacts("default", name, f"uid-{name}", "cerebrum", demands, **more)  # type: ignore[arg-type]


def mirror_of(*nodes: Node) -> Mirror:
    ticks = iter(range(10**9))
    recorded = RecordedEngine(nodes, get_policy("best_fit"), lambda: float(next(ticks)))
    return Mirror(recorded, Nodes(recorded), lambda p: p.scheduler == "cerebrum")


def decide_all(mirror: Mirror) -> list[str]:
    """Assume whatever the policy binds; uids."""
    mirror.flush()
    done: list[str] = []
    while binds := [a for a in mirror.recorded.decide().actions if isinstance(a, Bind)]:
        done += [mirror.assume(a.task, a.row, a.gpus, a.cache_ways).pod.uid for a in binds]
    return done


def free_milli(mirror: Mirror, name: str) -> int:
    row = mirror.nodes.row(name)
    return int(mirror.recorded.engine.snapshot().nodes["cpu_free"][row])


def test_an_assumed_pod_keeps_its_room_while_the_watch_lags() -> None:
    mirror = mirror_of(node("n1", 1000))
    mirror.observe(pod("a"))
    assert decide_all(mirror) == ["uid-a"]
    mirror.observe(pod("a", created_s=1.0))  # a version from before the bind
    mirror.observe(pod("b"))
    assert decide_all(mirror) == []
    assert free_milli(mirror, "n1") == 0
    mirror.observe(pod("a", node="n1"))
    assert mirror.held["uid-a"].phase is Phase.BOUND
    assert free_milli(mirror, "n1") == 0
    mirror.observe(pod("a", node="n1", phase="Succeeded"))
    assert decide_all(mirror) == ["uid-b"]


def test_a_pod_resized_in_place_uses_what_it_asks_for_now() -> None:
    mirror = mirror_of(node("n1"))
    mirror.observe(pod("a", 1000, node="n1"))
    mirror.observe(pod("a", 3500, node="n1"))
    assert free_milli(mirror, "n1") == 500


def test_more_than_a_node_has_is_a_fact() -> None:
    mirror = mirror_of(node("n1", 1000))
    for name in "abc":
        mirror.observe(pod(name, node="n1"))
    assert free_milli(mirror, "n1") == -2000
    assert mirror.overcommitted() == ["n1"]
    mirror.forget("uid-a")
    assert free_milli(mirror, "n1") == -1000


def test_a_released_pod_is_decided_again_after_its_back_off_only() -> None:
    mirror = mirror_of(node("n1"))
    mirror.observe(pod("a"))
    [uid] = decide_all(mirror)
    mirror.release(mirror.held[uid], backoff_s=1e6)
    assert decide_all(mirror) == []
    assert free_milli(mirror, "n1") == 4000


def test_a_buried_pod_does_not_rise_with_a_late_event() -> None:
    mirror = mirror_of(node("n1"))
    mirror.observe(pod("a"))
    decide_all(mirror)
    mirror.bury("uid-a")
    mirror.observe(pod("a"))
    assert decide_all(mirror) == []
    assert free_milli(mirror, "n1") == 4000


def test_a_pod_the_engine_cannot_hold_keeps_no_other_out() -> None:
    mirror = mirror_of(node("n1"))
    told: list[str] = []
    mirror.on_unfit = lambda held, why: told.append(held.pod.name)
    many = tuple(f"model-{i}" for i in range(70))  # more GPU models than an engine tells apart
    absurd = TaskClass(Resources(1000, 64, 1, 1000), gpu_models=many)
    mirror.observe(pod("a"))
    mirror.observe(replace(pod("absurd"), task_class=absurd))
    mirror.observe(pod("b"))
    mirror.observe_all([pod("c", node="n1"), replace(pod("d", node="n1"), task_class=absurd)])
    assert decide_all(mirror) == ["uid-a", "uid-b"]
    assert sorted(told) == ["absurd", "d"]
    assert free_milli(mirror, "n1") == 1000


@dataclass
class World:
    """The truth, and a mirror that hears of it late: per pod in order, across pods in any order."""

    dice: random.Random
    mirror: Mirror
    pods: dict[str, PodFacts] = field(default_factory=dict)
    unseen: dict[str, list[PodFacts | None]] = field(default_factory=dict)
    orders: list[tuple[str, str]] = field(default_factory=list)
    bound: dict[str, str] = field(default_factory=dict)
    nodes: dict[str, Node] = field(default_factory=dict)
    number: int = 0

    def tell(self, uid: str, version: PodFacts | None) -> None:
        self.unseen.setdefault(uid, []).append(version)

    def create(self) -> None:
        self.number += 1
        made = pod(f"p{self.number}", self.dice.choice([500, 1000, 2000]),
                   priority=self.dice.randrange(2))  # fmt: skip
        self.pods[made.uid] = made
        self.tell(made.uid, made)

    def delete(self) -> None:
        if self.pods:
            uid = self.dice.choice(sorted(self.pods))
            del self.pods[uid]
            self.tell(uid, None)

    def hear(self) -> None:
        waiting = sorted(uid for uid, versions in self.unseen.items() if versions)
        if waiting:
            uid = self.dice.choice(waiting)
            version = self.unseen[uid].pop(0)
            if version is None:
                self.mirror.forget(uid)
            else:
                self.mirror.observe(version)

    def decide(self) -> None:
        for uid in decide_all(self.mirror):
            self.orders.append((uid, self.mirror.held[uid].node))

    def answer(self) -> None:
        """One bind request reaches the server, or fails."""
        if not self.orders:
            return
        uid, where = self.orders.pop(self.dice.randrange(len(self.orders)))
        held = self.mirror.held.get(uid)
        if uid not in self.pods:
            self.mirror.bury(uid)
        elif self.pods[uid].node:
            if held is not None:
                self.mirror.reassume(held, self.pods[uid].node)
        elif self.dice.random() < 0.2:
            if held is not None:
                self.mirror.release(held)
        else:
            self.bind(uid, where)

    def bind(self, uid: str, where: str) -> None:
        assert uid not in self.bound, "bound twice"
        self.bound[uid] = where
        self.pods[uid] = replace(self.pods[uid], node=where)
        self.tell(uid, self.pods[uid])

    def steal(self) -> None:
        """Another scheduler binds a pod of ours, to a node of its own choice."""
        free = [uid for uid, p in sorted(self.pods.items()) if not p.node]
        if free and self.dice.random() < 0.2:
            self.bind(self.dice.choice(free), "theirs")

    def toggle_node(self) -> None:
        name = self.dice.choice(["n1", "n2", "n3"])
        if name in self.mirror.nodes:
            self.mirror.observe_node(name, None)
        else:
            self.mirror.observe_node(name, self.nodes[name])

    def settle(self) -> None:
        for name, there in self.nodes.items():
            self.mirror.observe_node(name, there)
        for _ in range(1000):
            for _ in range(20):
                self.hear()
            self.answer()
            self.decide()
            if not self.orders and not any(self.unseen.values()):
                return
        raise AssertionError("it never settles")


@pytest.mark.parametrize("seed", range(25))
def test_whatever_happens_in_whatever_order(seed: str) -> None:
    nodes = {n.name: n for n in (node("n1"), node("n2"), node("n3"), node("theirs", 10**6))}
    world = World(random.Random(seed), mirror_of(*nodes.values()), nodes=nodes)
    acts = [world.create, world.hear, world.decide, world.answer] * 3 + [
        world.delete, world.steal, world.toggle_node,
    ]  # fmt: skip
    for _ in range(200):
        world.dice.choice(acts)()
        assert not set(world.mirror.overcommitted()) - {"theirs"}
    world.settle()
    mirror = world.mirror
    for name, there in nodes.items():  # the engine holds the truth, no more and no less
        used = sum(p.task_class.resources.cpu_milli for p in world.pods.values() if p.node == name)
        assert there.capacity.cpu_milli - used == free_milli(mirror, name)
    assert set(mirror.held) == set(world.pods)
    for uid, p in world.pods.items():  # none is forgotten: what waits fits nowhere
        if not p.node:
            wants = p.task_class.resources.cpu_milli
            assert mirror.held[uid].phase is Phase.QUEUED
            assert all(free_milli(mirror, name) < wants for name in ("n1", "n2", "n3", "theirs"))
