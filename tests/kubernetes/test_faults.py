"""Servers that die, forget and hang, an agent killed at thirty points: each pod is bound once.

What is asserted comes from `judge`: the API server's own log of what was asked of it.
"""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from cerebrum.executors.kubernetes.access import load_access
from cerebrum.executors.kubernetes.client import Client
from cerebrum.executors.kubernetes.leader import LeaderElection
from tests.kubernetes.agents import Agent, all_bound, nodes_of, persistently, running
from tests.kubernetes.api import Api
from tests.kubernetes.conftest import programs_for
from tests.kubernetes.judge import entries, judge
from tests.kubernetes.objects import node, pod, priority_class
from tests.kubernetes.plane import ControlPlane
from tests.kubernetes.test_scheduling import scheduling, until
from tests.kubernetes.volume_controller import VolumeController, volume
from tests.waiting import wait_until

OURS = "cerebrum"
NODES, CPU, POD_MILLI = 6, 16, 500
LAST = f"n{NODES - 1}"  # the policy packs: this one has room to the end
LATEST_S = 90.0
"""Far above what recovery takes (see the printed figures): this only catches what is stuck."""


@pytest.fixture(scope="module")
def hurt(
    built: Callable[..., None], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ControlPlane]:
    """A cluster for this module, whose servers are hurt; audited."""
    built(*programs_for())
    with ControlPlane(tmp_path_factory.mktemp("hurt"), audit=True) as plane:
        plane.api.create_all([node(f"n{i}", cpu=str(CPU)) for i in range(NODES)])
        yield plane


@pytest.fixture(scope="module")
def agent(hurt: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Agent:
    """An agent of that cluster; a test starts it."""
    return Agent(tmp_path_factory.mktemp("agent"), hurt.kubeconfig)


@pytest.fixture(autouse=True)
def emptied(hurt: ControlPlane) -> Iterator[None]:
    """Room for the next test."""
    yield
    hurt.api.delete_all("Pod")


def small(name: str, **more: Any) -> dict[str, Any]:
    return pod(name, f"{POD_MILLI}m", scheduler_name=OURS, **more)


class Stream:
    """Pods that keep coming, whatever becomes of the API server."""

    def __init__(self, api: Api, prefix: str, every_s: float = 0.1) -> None:
        self._api, self._prefix, self._every_s = api, prefix, every_s
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Stream:
        self._thread.start()
        return self

    def __exit__(self, *problem: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        for i in range(NODES * CPU * 1000 // POD_MILLI - 12):  # some room is for others
            body = small(f"{self._prefix}-{i}")
            persistently(lambda body=body: self._api.create(body))
            if self._over.wait(self._every_s):
                return


def recovered(plane: ControlPlane, prefix: str) -> None:
    """All pods are bound, none twice, no node too full."""
    wait_until(lambda: all_bound(plane.api, prefix), "all pods are bound", LATEST_S, 0.2)
    assert judge(plane).faults() == []


# -- the API server and etcd ---------------------------------------------------------------------


def killed(plane: ControlPlane) -> None:
    plane.kill_api()
    time.sleep(2.0)
    plane.start_api()


def forgetful(plane: ControlPlane) -> None:
    """The watches end while history is dropped: what they ask for next is a 410."""
    plane.forget_history()


def hung(plane: ControlPlane) -> None:
    """Connections stay open, nothing is answered."""
    plane.pause()
    time.sleep(20.0)
    plane.resume()


def without_etcd(plane: ControlPlane) -> None:
    plane.kill_etcd()
    time.sleep(3.0)
    plane.start_etcd()


@pytest.mark.parametrize("fault", [killed, forgetful, hung, without_etcd])
def test_a_stream_of_pods_outlives_its_servers(
    hurt: ControlPlane, agent: Agent, fault: Callable[[ControlPlane], None]
) -> None:
    prefix = fault.__name__.replace("_", "-")
    with running(agent):
        agent.wait_ready()
        with Stream(hurt.api, prefix):
            wait_until(lambda: any(nodes_of(hurt.api).values()), "the first pods are bound")
            fault(hurt)
            over_s = time.monotonic()
            hurt.api.create(small("probe"))
            wait_until(lambda: nodes_of(hurt.api)["probe"], "a new pod is bound", LATEST_S)
            again_s = time.monotonic() - over_s
        recovered(hurt, prefix)
    print(f"{prefix}: a pod made at the end of the fault was bound after {again_s:.1f} s")


def test_watches_that_fail_are_asked_for_less_than_once_a_second(
    hurt: ControlPlane, agent: Agent
) -> None:
    """Each kind by itself, while every answer is an error."""
    with running(agent):
        agent.wait_ready()
        before = sum(1 for _ in entries(hurt.folder / "audit.log"))
        hurt.kill_etcd()
        try:
            time.sleep(20.0)
        finally:
            hurt.start_etcd()
        asked = [
            entry["objectRef"]["resource"]
            for entry in list(entries(hurt.folder / "audit.log"))[before:]
            if entry["verb"] in ("list", "watch") and entry["userAgent"] == OURS
        ]
        hurt.api.create(small("after"))
        recovered(hurt, "after")
    for resource in set(asked):
        # nodes and pods have one informer each of the agent, and one of the scheduler
        informers = {"nodes": 2, "pods": 4}.get(resource, 1)
        assert asked.count(resource) <= 20 * informers, f"{resource}: {asked.count(resource)}"


# -- kill -9 -------------------------------------------------------------------------------------


def plain(plane: ControlPlane, name: str) -> None:
    plane.api.create_all([small(f"{name}-{i}") for i in range(4)])


def unschedulable(plane: ControlPlane, name: str) -> None:
    plain(plane, name)
    plane.api.create(pod(f"{name}-big", "900", scheduler_name=OURS))


def preempting(plane: ControlPlane, name: str) -> None:
    """A node of its own, full of pods that have to go."""
    only = {"only": name}
    plane.api.create(node(f"n-{name}", cpu="2", labels=only))
    for i in range(2):
        low = pod(f"{name}-low{i}", "1", nodeSelector=only, node_name=f"n-{name}")
        plane.api.create(low)
    high = pod(f"{name}-high", "2", scheduler_name=OURS, nodeSelector=only)
    high["spec"]["priorityClassName"] = "high"
    plane.api.create(high)


def with_volumes(plane: ControlPlane, name: str) -> None:
    """Two claims that wait for their pod: one takes a volume, one is to be provisioned."""
    for claim, storage in ((f"{name}-here", "local"), (f"{name}-made", "made")):
        plane.api.create({
            "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": claim},
            "spec": {"storageClassName": storage, "accessModes": ["ReadWriteOnce"],
                     "resources": {"requests": {"storage": "1Gi"}}},
        })  # fmt: skip
    plane.api.create(volume(f"v-{name}-here", "local", LAST))
    free = {"status": {"phase": "Available"}}
    plane.api.patch("PersistentVolume", f"v-{name}-here", free, subresource="status")
    claims = [(f"{name}-here", "here"), (f"{name}-made", "made")]
    volumes = [{"name": n, "persistentVolumeClaim": {"claimName": c}} for c, n in claims]
    plane.api.create(small(f"{name}-pod", volumes=volumes))


@pytest.fixture
def storage(hurt: ControlPlane) -> Iterator[None]:
    """Storage classes that wait for the first consumer, and who serves them."""
    for name in ("local", "made"):
        provisioner = "kubernetes.io/no-provisioner" if name == "local" else "test/made"
        hurt.api.create({
            "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": name},
            "provisioner": provisioner, "volumeBindingMode": "WaitForFirstConsumer",
        })  # fmt: skip
    controller = VolumeController(hurt.api)
    controller.start()
    yield
    controller.over.set()
    controller.join()


Work = Callable[[ControlPlane, str], None]
POINTS: list[tuple[Work, str]] = [
    (plain, "kube.list.nodes.before:1"),
    (plain, "kube.list.pods.after:1"),
    (plain, "kube.list.storageclasses.after:1"),
    (plain, "kube.post.pods.binding.before:1"),
    (plain, "kube.post.pods.binding.before:3"),
    (plain, "kube.post.pods.binding.after:1"),
    (plain, "kube.post.pods.binding.after:2"),
    (plain, "kube.post.pods.binding.after:4"),
    (plain, "kube.post.events.before:1"),
    (plain, "kube.post.events.after:1"),
    (unschedulable, "kube.patch.pods.status.before:1"),
    (unschedulable, "kube.patch.pods.status.after:1"),
    (preempting, "kube.patch.pods.status.after:2"),
    (preempting, "kube.delete.pods.before:1"),
    (preempting, "kube.delete.pods.before:2"),
    (preempting, "kube.delete.pods.after:1"),
    (preempting, "kube.delete.pods.after:2"),
    (with_volumes, "kube.patch.persistentvolumes.before:1"),
    (with_volumes, "kube.patch.persistentvolumes.after:1"),
    (with_volumes, "kube.patch.persistentvolumeclaims.before:1"),
    (with_volumes, "kube.patch.persistentvolumeclaims.after:1"),
    *[(work, "") for work in (plain, plain, preempting, with_volumes, plain, plain, preempting)],
]
"""Where it dies, and what it does then; without a name: at a random moment."""
WITH_ELECTION: list[tuple[Work, str]] = [
    (plain, "kube.post.leases.after:1"),
    (plain, "kube.put.leases.before:1"),
]
"""Their successors wait until the lease is over, so there are only two."""


def test_an_agent_killed_at_thirty_points_binds_every_pod_once(
    hurt: ControlPlane, storage: None, agent: Agent, tmp_path: Path
) -> None:
    assert len(POINTS) + len(WITH_ELECTION) == 30
    moments = random.Random(7)
    hurt.api.create(priority_class("high", 1000))
    for number, (work, point) in enumerate(POINTS):
        print(f"k{number}: {work.__name__}, {point or 'a random moment'}")
        work(hurt, f"k{number}")
        agent.start(point)
        if not point:
            agent.wait_ready()
            plain(hurt, f"k{number}-more")
            time.sleep(moments.uniform(0.0, 0.6))
            agent.kill()
        agent.wait_dead()
    electing = Agent(tmp_path, hurt.kubeconfig, "--leader-election")
    for number, (work, point) in enumerate(WITH_ELECTION):
        work(hurt, f"l{number}")
        electing.start(point)
        electing.wait_dead()
    fill(hurt)
    with running(electing):
        wait_until(lambda: judge(hurt).forgotten == [], "every pod is bound or told", LATEST_S, 1)
        verdict = judge(hurt)
        assert verdict.faults() == []
        hopeless = {f"k{n}-big" for n, (work, _) in enumerate(POINTS) if work is unschedulable}
        # What was told that it has to wait may still be waiting for its victims to go.
        wait_until(lambda: without_node(hurt) == hopeless, "the others are bound", LATEST_S, 1)
        where = nodes_of(hurt.api)
        assert_full(where)


def without_node(plane: ControlPlane) -> set[str]:
    """Pods that wait, those of `fill` apart."""
    return {name for name, at in nodes_of(plane.api).items() if not at and "fill" not in name}


def fill(plane: ControlPlane) -> None:
    """More pods than there is room for: who counts wrong puts too many or too few on a node."""
    left = NODES * CPU * 1000 // POD_MILLI - sum(
        1 for p in plane.api.list("Pod") if not p["metadata"]["name"].endswith(("low", "big"))
    )
    plane.api.create_all([small(f"fill{i}") for i in range(max(left, 0) + 20)])


def assert_full(where: dict[str, str]) -> None:
    """Each node has as many pods as it has room for."""
    for i in range(NODES):
        there = [name for name, at in where.items() if at == f"n{i}"]
        assert len(there) == CPU * 1000 // POD_MILLI, f"n{i} has {len(there)}"


# -- two agents ----------------------------------------------------------------------------------


def account(plane: ControlPlane, name: str) -> Path:
    """A kubeconfig of an account of its own, so that the log says who it was."""
    kubeconfig = plane.scoped_kubeconfig(name)
    plane.api.create({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
        "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole",
                    "name": "cluster-admin"},
        "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": "default"}],
    })  # fmt: skip
    return kubeconfig


def test_a_leader_that_was_stopped_binds_nothing_when_it_goes_on(
    hurt: ControlPlane, tmp_path: Path
) -> None:
    """It is stopped with its hands full, and does not know yet that somebody else leads."""
    agents = {
        name: Agent(tmp_path, account(hurt, name), "--leader-election", name=name)
        for name in ("one", "two")
    }
    with running(*agents.values()):
        wait_until(lambda: leader(agents), "one of them leads", LATEST_S)
        old = leader(agents)
        hurt.api.create_all([small(f"first-{i}") for i in range(3)])
        wait_until(lambda: all_bound(hurt.api, "first"), "the leader binds")
        with Stream(hurt.api, "race", 0.005):
            wait_until(lambda: any_bound(hurt, "race"), "the leader is at work", every_s=0.005)
            agents[old].stop_in_mid_work()
            new = "two" if old == "one" else "one"
            wait_until(lambda: agents[new].metric("cerebrum_scheduler_leader"), "it follows",
                       LATEST_S)  # fmt: skip
            agents[old].go_on()
            time.sleep(3.0)
        recovered(hurt, "race")
        assert bound_after_its_time(hurt, old, new) == []


def leader(agents: dict[str, Agent]) -> str:
    leading = [n for n, one in agents.items() if one.metric("cerebrum_scheduler_leader")]
    return leading[0] if leading else ""


def any_bound(plane: ControlPlane, prefix: str) -> bool:
    return any(node for name, node in nodes_of(plane.api).items() if name.startswith(prefix))


def bound_after_its_time(plane: ControlPlane, old: str, new: str) -> list[str]:
    """Pods that the old leader asked to bind after the new one had the Lease."""
    log = list(entries(plane.folder / "audit.log"))
    taken = [
        entry["stageTimestamp"]
        for entry in log
        if entry["objectRef"]["resource"] == "leases" and entry["responseStatus"]["code"] < 300
        and entry["verb"] in ("create", "update") and entry["user"]["username"].endswith(f":{new}")
    ]  # fmt: skip
    assert taken, "the new leader never took the lease"
    return [
        entry["objectRef"]["name"]
        for entry in log
        if entry["objectRef"].get("subresource") == "binding"
        and entry["user"]["username"].endswith(f":{old}")
        and entry["requestReceivedTimestamp"] > taken[0]
    ]


# -- clocks --------------------------------------------------------------------------------------


def test_a_wall_clock_that_jumps_changes_nothing_but_what_is_written_down(
    hurt: ControlPlane,
) -> None:
    """A day ahead, then two back, in the middle of the work; leases and queues go by another."""
    jump_s = 0.0

    async def story() -> None:
        nonlocal jump_s
        async with scheduling(hurt, wall=lambda: time.time() + jump_s), election(
            hurt, lambda: time.time() + jump_s
        ) as elected:  # fmt: skip
            await until(lambda: elected.is_leader)
            for number, jump in enumerate((86_400.0, -86_400.0, 0.0)):
                jump_s = jump
                await asyncio.to_thread(hurt.api.create, small(f"jump-{number}"))
                big = pod(f"big-{number}", "900", scheduler_name=OURS)
                await asyncio.to_thread(hurt.api.create, big)
                await until(lambda: all_bound(hurt.api, "jump"))
                await asyncio.sleep(1.5)  # renewals of the lease, 0.4 s apart
                assert elected.is_leader
                assert elected.transitions == 0
            await until(lambda: not judge(hurt).forgotten)

    asyncio.run(story())
    assert judge(hurt).faults() == []


@asynccontextmanager
async def election(plane: ControlPlane, wall: Callable[[], float]) -> AsyncIterator[LeaderElection]:
    """A candidate with a short lease, elected for nothing."""
    async with Client(load_access(plane.kubeconfig), qps=0) as client:
        candidate = LeaderElection(
            client, "default", "clock", "me", lease_s=4, renew_s=3, retry_s=0.4, unix_s=wall
        )
        running = asyncio.create_task(candidate.run(asyncio.Event().wait, nothing))  # type: ignore[arg-type]
        try:
            yield candidate
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


async def nothing() -> None:
    pass
