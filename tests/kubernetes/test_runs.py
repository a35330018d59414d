"""Runs as pods on a real API server: the executors' contract, agents that come back, old uids.

A kubelet that only passes time says what becomes of the pods; where runs are concerned the API
server is the real one: names, preconditions, finalizers, graces, watches.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import httpx
import pytest

from cerebrum.executors.conformance import CHECKS, Subject, Watch, run_check
from cerebrum.executors.kubernetes import _runs_objects as at
from cerebrum.executors.kubernetes.access import load_access
from cerebrum.executors.kubernetes.runs import KubernetesRuns, PodSettings
from cerebrum.model.program import Program
from cerebrum.model.resources import Resources
from cerebrum.model.runs import Launch, RunPhase
from tests.executors.kubernetes import fake_kubelet
from tests.kubernetes.api import Api, ApiError
from tests.kubernetes.objects import node
from tests.kubernetes.shared import Tenant

pytestmark = pytest.mark.kubernetes
NO_KUBELET_SERVES_LOGS = {"logs_of_what_there_is"}
LONG_S = 600.0


class Kubelets(fake_kubelet.Kubelet):
    """The time-passing kubelet on a real API server: looks often, patches what has changed."""

    def __init__(self, api: Api) -> None:
        super().__init__()
        self._api, self._over = api, threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)

    def __enter__(self) -> Kubelets:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _work(self) -> None:
        while not self._over.wait(0.05):
            with contextlib.suppress(httpx.TransportError, ApiError):  # the next round looks again
                for pod in self._api.list("Pod"):
                    self._advance(pod)

    def _advance(self, pod: dict[str, Any]) -> None:
        name, uid = pod["metadata"]["name"], pod["metadata"]["uid"]
        shown = {**pod, "status": self._shown(pod.get("status", {}))}
        status = self.status(shown, time.time())
        if status is not None:
            news = {"metadata": {"uid": uid}, "status": status}
            self._api.patch("Pod", name, news, subresource="status")
        over = (status or shown["status"]).get("phase") in ("Succeeded", "Failed")
        if over and pod["metadata"].get("deletionTimestamp") and not pod["metadata"].get(
            "finalizers"
        ):  # fmt: skip
            self._api.delete("Pod", name, grace_s=0)

    @staticmethod
    def _shown(status: dict[str, Any]) -> dict[str, Any]:
        """The status as it was reported: the server adds fields that nobody sent."""
        kept = ("phase", "startTime", "containerStatuses", "initContainerStatuses")
        shown = {key: status[key] for key in kept if status.get(key)}
        for key in kept[2:]:
            shown[key] = [{"name": c["name"], "state": c["state"]} for c in shown.get(key, [])]
        return {key: value for key, value in shown.items() if value}


@pytest.fixture
def kubelets(plane: Tenant) -> Iterator[Kubelets]:
    if not plane.ours:
        pytest.skip("it needs a cluster without kubelets")
    plane.api.create(node("n1"))
    with Kubelets(plane.api) as running:
        yield running
    for pod in plane.api.list("Pod"):  # what tests left running would never go
        gone = {"metadata": {"finalizers": None}}
        plane.api.patch("Pod", pod["metadata"]["name"], gone)


def executor(plane: Tenant, **more: Any) -> KubernetesRuns:
    options = {"qps": 0, "inventory": False, **more}
    settings = PodSettings("c1", plane.namespace, **options.pop("settings", {}))
    return KubernetesRuns(load_access(plane.kubeconfig), settings, **options)


def launch(run_id: str = "r1", seconds: float = LONG_S, **more: Any) -> Launch:
    return Launch(run_id, f"w/{run_id}", "n1", duration_s=seconds, **more)


async def until(what: Callable[[], Any]) -> None:
    while not what():
        await asyncio.sleep(0.05)


def play(story: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(story(), 120))


@pytest.mark.parametrize("check", [name for name in CHECKS if name not in NO_KUBELET_SERVES_LOGS])
def test_pods_keep_the_contract(check: str, plane: Tenant, kubelets: Kubelets) -> None:
    run_check(check, Subject(lambda: executor(plane), lambda _: executor(plane)))


def test_an_agent_restarted_in_mid_run_adopts_and_ends_it(plane: Tenant, kubelets: Kubelets):
    async def story() -> None:
        first = Watch(executor(plane))
        await first.executor.fence(["r1"], LONG_S)
        await first.executor.start(launch(resources=Resources(500, 64)))
        began = await first.running("r1")
        uid = plane.api.get("Pod", "r1")["metadata"]["uid"]
        await first.executor.close()
        second = Watch(executor(plane))
        await second.executor.start(launch())
        (known,) = await second.executor.runs()
        assert repr(known) == repr(began)
        assert plane.api.get("Pod", "r1")["metadata"]["uid"] == uid
        await second.adopt()
        await second.executor.fence(["r1"], 1.0)
        end = await second.ended("r1")
        assert (end.phase, end.reason) == (RunPhase.STOPPED, "fenced")
        await second.executor.forget("r1")
        assert not await second.executor.runs()
        await until(lambda: not plane.api.list("Pod"))  # it was deleted: nothing keeps it now
        await second.executor.close()

    play(story)


def test_an_agent_with_an_old_uid_cannot_end_the_new_run(plane: Tenant, kubelets: Kubelets):
    async def story() -> None:
        stale = executor(plane)
        await stale.start(launch())
        old = stale._book.pods["r1"]
        plane.api.patch("Pod", "r1", {"metadata": {"finalizers": None}})
        plane.api.delete("Pod", "r1", grace_s=0)
        fresh = executor(plane)
        await fresh.start(launch())
        await stale._requests.end("r1", at.Mark("stopped", "late"), 1, old)
        await stale._requests._delete(old, 0)
        await stale._requests.let_go(old)
        new = plane.api.get("Pod", "r1")["metadata"]
        assert new["uid"] != old.metadata.uid
        assert "deletionTimestamp" not in new
        assert new["finalizers"] == [at.FINALIZER]
        assert at.END not in new["annotations"]
        await stale.close()
        await fresh.close()

    play(story)


def test_the_server_takes_every_pod_that_we_make(plane: Tenant, kubelets: Kubelets):
    """Watchdog, staging, program, shared GPU, affinity: validated by the real thing."""

    async def story() -> None:
        program = Program(
            ("sh", "-c", "echo $HOME $(X)"), "example.org/x:1", {"A.b-c": "$(A) $$"}, "/tmp", 60.0
        )
        for placement in ("direct", "affinity"):
            settings = {"placement": placement, "scheduler_name": "nobody"}
            runs = executor(plane, settings=settings)
            name = f"all-{placement}"
            await runs.fence([name], LONG_S)
            await runs.start(
                launch(
                    name, program=program, stage_in_s=1.5, gpus=(0,),
                    resources=Resources(250, 64, 1, 500, extended=(("example.org/x", 2),)),
                )
            )  # fmt: skip
            await runs.fence([name], 2 * LONG_S)
            spec = plane.api.get("Pod", name)["spec"]
            assert [c["name"] for c in spec["initContainers"]] == ["fence", "stage-in"]
            await runs.close()

    play(story)


def test_a_node_that_is_deleted_fails_its_runs_without_any_kubelet(
    plane: Tenant, kubelets: Kubelets
):
    async def story() -> None:
        watch = Watch(executor(plane, inventory=True, node_gone_s=0.5))
        await watch.executor.start(launch())
        await watch.running("r1")
        kubelets.asleep = True
        plane.api.delete("Node", "n1")
        end = await watch.ended("r1")
        assert (end.phase, end.reason) == (RunPhase.FAILED, "node n1 is gone")
        await watch.executor.forget("r1")
        await until(lambda: not plane.api.list("Pod"))
        await watch.executor.close()

    play(story)


def test_the_inventory_counts_what_others_have(plane: Tenant, kubelets: Kubelets):
    from tests.kubernetes.objects import pod

    async def story() -> None:
        kubelets.asleep = True
        plane.api.create(pod("other", "3", "1Gi", node_name="n1"))
        runs = executor(plane, inventory=True)
        await runs.open()
        assert runs.inventory is not None
        (now,) = await runs.inventory.nodes()
        assert now.capacity.cpu_milli == 5000
        await runs.start(launch(resources=Resources(1000, 64)))
        plane.api.delete("Pod", "other", grace_s=0)
        changes = await runs.inventory.next_changes()
        assert changes["n1"] is not None
        assert changes["n1"].capacity.cpu_milli == 8000
        await runs.close()

    play(story)
