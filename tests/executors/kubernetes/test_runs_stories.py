"""What becomes of runs when pods, nodes, people and agents do not behave."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest

from cerebrum.executors.conformance import Watch
from cerebrum.executors.kubernetes import _runs_objects as at
from cerebrum.executors.kubernetes.runs import KubernetesRuns, PodSettings
from cerebrum.model.errors import CerebrumError, InputError, NotFound
from cerebrum.model.program import Program
from cerebrum.model.resources import Resources
from cerebrum.model.runs import Launch, RunPhase
from tests.executors.kubernetes.fake_kubelet import stamp
from tests.executors.kubernetes.fake_runs_api import FakeApi, refused

LONG_S = 600.0
OOM = "out of memory (OOMKilled)"


@pytest.fixture
def api() -> Iterator[FakeApi]:
    with FakeApi() as fake:
        yield fake


def executor(api: FakeApi, settings: PodSettings | None = None, **more: Any) -> KubernetesRuns:
    options = {"qps": 0, "inventory": False, **more}
    return KubernetesRuns(api.access, settings or PodSettings("c1"), **options)


def launch(run_id: str = "r1", seconds: float = LONG_S, **more: Any) -> Launch:
    return Launch(run_id, f"w/{run_id}", "n1", duration_s=seconds, **more)


def play(story: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(story(), 60))


async def until(what: Callable[[], Any]) -> Any:
    while not (value := what()):
        await asyncio.sleep(0.02)
    return value


def test_an_agent_that_dies_between_reason_and_deletion_is_finished_by_the_next(api: FakeApi):
    async def story() -> None:
        first = Watch(executor(api))
        await first.executor.start(launch())
        await first.running("r1")
        api.refuse = lambda method, _: refused(503, "Down") if method == "DELETE" else None
        with pytest.raises(CerebrumError):
            await first.executor.stop("r1", "preempted")
        await first.executor.close()
        api.refuse = lambda *_: None
        second = Watch(executor(api))
        await second.adopt()
        end = await second.ended("r1")
        assert (end.phase, end.reason) == (RunPhase.STOPPED, "preempted")
        await second.executor.close()

    play(story)


def test_an_agent_with_an_old_picture_cannot_stop_another_run(api: FakeApi):
    """Its cached pod has another uid: the deletion is refused by the server."""

    async def story() -> None:
        stale = executor(api)
        await stale.start(launch())
        old = stale._book.pods["r1"]
        api.drop("pods", "r1", "default")
        fresh = executor(api)
        await fresh.start(launch())
        new = api.pod("r1")
        assert new["metadata"]["uid"] != old.metadata.uid
        await stale._requests.end("r1", at.Mark("stopped", "late"), 1, old)
        assert "deletionTimestamp" not in api.pod("r1")["metadata"]
        assert at.END not in api.pod("r1")["metadata"]["annotations"]
        await stale.close()
        await fresh.close()

    play(story)


def test_an_image_that_cannot_be_pulled_fails_to_start_after_a_while(api: FakeApi):
    async def story() -> None:
        api.kubelet.broken.add("no/such:image")
        watch = Watch(executor(api, start_timeout_s=0.5))
        await watch.executor.start(launch(program=Program(image="no/such:image")))
        end = await watch.ended("r1")
        assert watch.phases("r1") == [RunPhase.START_FAILED]
        assert end.reason == "ImagePullBackOff: no such image"
        await watch.executor.close()

    play(story)


def test_staging_is_not_counted_against_the_start(api: FakeApi):
    async def story() -> None:
        watch = Watch(executor(api, start_timeout_s=0.4))
        await watch.executor.start(launch(seconds=0.05, stage_in_s=2.0))
        assert (await watch.ended("r1")).phase is RunPhase.SUCCEEDED
        await watch.executor.close()

    play(story)


def test_a_timeout_is_kept_without_the_agent_and_said_as_what_it_is(api: FakeApi):
    async def story() -> None:
        first = Watch(executor(api))
        await first.executor.start(launch(program=Program(timeout_s=0.8)))
        assert api.pod("r1")["spec"]["activeDeadlineSeconds"] == 1
        await first.running("r1")
        await first.executor.close()
        await until(lambda: api.pod("r1")["status"]["phase"] == "Failed")
        second = executor(api)
        (end,) = await second.runs()
        assert (end.phase, end.reason) == (RunPhase.FAILED, "timed out")
        await second.close()

    play(story)


@pytest.mark.parametrize(
    ("status", "phase", "code", "reason"),
    [
        ({"exitCode": 3, "reason": "Error"}, RunPhase.FAILED, 3, "exit code 3"),
        ({"exitCode": 137, "reason": "OOMKilled"}, RunPhase.FAILED, -9, OOM),
        ({"exitCode": 143, "reason": "Error"}, RunPhase.FAILED, -15, "exit code -15"),
        ({"exitCode": 1, "reason": "Error", "message": "a\nb"}, RunPhase.FAILED, 1, "a b"),
        (
            {"exitCode": 128, "reason": "StartError", "message": "exec: not found"},
            RunPhase.START_FAILED, None, "StartError: exec: not found",
        ),
    ],
)  # fmt: skip
def test_ends_say_what_happened(
    api: FakeApi, status: Any, phase: RunPhase, code: int | None, reason: str
):
    async def story() -> None:
        api.kubelet.asleep = True
        watch = Watch(executor(api))
        await watch.executor.start(launch())
        began = 0.0 if status["reason"] == "StartError" else time.time()
        ended = {**status, "startedAt": stamp(began), "finishedAt": stamp(time.time())}
        container = {"name": "task", "state": {"terminated": ended}}
        api.patch_pod("r1", {"status": {"phase": "Failed", "containerStatuses": [container]}})
        end = await watch.ended("r1")
        assert (end.phase, end.exit_code, end.reason) == (phase, code, reason)
        await watch.executor.close()

    play(story)


@pytest.mark.parametrize(
    ("reason", "running", "phase"),
    [("Evicted", True, RunPhase.FAILED), ("OutOfcpu", False, RunPhase.START_FAILED)],
)
def test_a_node_that_throws_a_pod_out_is_quoted(
    api: FakeApi, reason: str, running: bool, phase: RunPhase
):
    async def story() -> None:
        api.kubelet.asleep = not running
        watch = Watch(executor(api))
        await watch.executor.start(launch())
        if running:
            await watch.running("r1")
        api.kubelet.asleep = True
        change = {"phase": "Failed", "reason": reason, "message": "no room"}
        api.patch_pod("r1", {"status": change})
        end = await watch.ended("r1")
        assert (end.phase, end.reason) == (phase, f"{reason}: no room")
        await watch.executor.close()

    play(story)


def test_a_pod_somebody_deletes_keeps_its_end_until_it_is_recorded(api: FakeApi):
    async def story() -> None:
        watch = Watch(executor(api))
        await watch.executor.start(launch())
        await watch.running("r1")
        pod = api.pod("r1")
        await watch.executor._requests._delete(watch.executor._book.pods["r1"], 5)
        end = await watch.ended("r1")
        assert end.phase is RunPhase.FAILED
        assert api.pod("r1")["metadata"]["uid"] == pod["metadata"]["uid"]
        await watch.executor.forget("r1")
        assert api.pod("r1") is None
        await watch.executor.close()

    play(story)


def test_a_pod_that_is_torn_away_has_failed_and_is_known_until_forgotten(api: FakeApi):
    async def story() -> None:
        watch = Watch(executor(api))
        await watch.executor.start(launch())
        await watch.running("r1")
        api.drop("pods", "r1", "default")
        end = await watch.ended("r1")
        assert (end.phase, end.reason) == (RunPhase.FAILED, "its pod was deleted")
        assert [s.run_id for s in await watch.executor.runs()] == ["r1"]
        assert await watch.executor.logs("r1") == b""
        await watch.executor.start(launch())
        assert api.pod("r1") is None, "an ended run was started again"
        await watch.executor.forget("r1")
        assert not await watch.executor.runs()
        with pytest.raises(NotFound):
            await watch.executor.logs("r1")
        await watch.executor.close()

    play(story)


def test_runs_of_a_node_that_is_no_more_have_failed(api: FakeApi):
    async def story() -> None:
        for name in ("n1", "n2"):
            api.put("nodes", name, status={"allocatable": {"cpu": "4", "memory": "8Gi"}})
        watch = Watch(executor(api, inventory=True, node_gone_s=0.3))
        await watch.executor.start(launch())
        await watch.running("r1")
        await asyncio.sleep(1.5)
        assert watch.phases("r1") == [RunPhase.RUNNING]
        api.kubelet.asleep = True
        api.drop("nodes", "n1")
        end = await watch.ended("r1")
        assert (end.phase, end.reason) == (RunPhase.FAILED, "node n1 is gone")
        await watch.executor.close()

    play(story)


def test_a_stopped_run_on_a_silent_node_is_not_over(api: FakeApi):
    """Nobody says that its process has ended, so nobody may start it elsewhere."""

    async def story() -> None:
        watch = Watch(executor(api))
        await watch.executor.start(launch())
        await watch.running("r1")
        api.kubelet.asleep = True
        await watch.executor.stop("r1", "preempted", grace_s=0.0)
        await watch.silent(1.5)
        (known,) = await watch.executor.runs()
        assert known.phase is RunPhase.RUNNING
        api.kubelet.asleep = False
        assert (await watch.ended("r1")).phase is RunPhase.STOPPED
        await watch.executor.close()

    play(story)


def test_a_pod_of_that_name_that_is_not_ours_is_left_alone(api: FakeApi):
    async def story() -> None:
        api.put("pods", "r1", "default", spec={"containers": [{"name": "x", "image": "y"}]})
        runs = executor(api)
        with pytest.raises(InputError, match="not a run of this cluster"):
            await runs.start(launch())
        await runs.stop("r1", "why")
        await runs.forget("r1")
        assert "deletionTimestamp" not in api.pod("r1")["metadata"]
        await runs.close()

    play(story)


def test_what_no_pod_can_be_is_refused_with_the_servers_words(api: FakeApi):
    async def story() -> None:
        runs = executor(api)
        with pytest.raises(InputError, match="a name with a blank"):
            await runs.start(launch(program=Program(command=("x",), env={"A B": "1"})))
        with pytest.raises(InputError, match="names a pod"):
            await runs.start(launch("Upper_Case"))
        assert not await runs.runs()
        await runs.close()

    play(story)


def test_a_forgotten_run_keeps_its_log_for_a_while_and_goes_then(api: FakeApi):
    async def story() -> None:
        api.log = b"0123456789"
        watch = Watch(executor(api, keep_ended_s=2.0))
        await watch.executor.start(launch(seconds=0.05))
        await watch.ended("r1")
        await watch.executor.forget("r1")
        assert not await watch.executor.runs()
        assert await watch.executor.logs("r1", offset=3, limit=4) == b"3456"
        assert await watch.executor.logs("r1", "stderr") == b""
        await watch.executor.close()
        await asyncio.sleep(3.0)
        later = executor(api, keep_ended_s=2.0)
        await later.open()
        await until(lambda: api.pod("r1") is None)
        await later.close()

    play(story)


def test_of_ended_pods_only_so_many_are_kept(api: FakeApi):
    async def story() -> None:
        watch = Watch(executor(api))
        for name in ("a", "b", "c"):
            await watch.executor.start(launch(name, seconds=0.01))
            await watch.ended(name)
            await watch.executor.forget(name)
            await asyncio.sleep(1.0)
        await watch.executor.close()
        later = executor(api, keep_ended=1)
        await later.open()
        await until(lambda: len(api.pods()) == 1)
        assert api.pods()[0]["metadata"]["name"] == "c"
        await later.close()

    play(story)


def test_a_fence_moves_on_the_pod_and_holds_in_the_next_life(api: FakeApi):
    async def story() -> None:
        first = Watch(executor(api))
        await first.executor.fence(["r1"], LONG_S)
        await first.executor.start(launch())
        names = [c["name"] for c in api.pod("r1")["spec"]["initContainers"]]
        assert names == ["fence"]
        await first.running("r1")
        late = _deadline(api)
        assert LONG_S - 5 < late - time.time() <= LONG_S
        await first.executor.fence(["r1"], LONG_S + 2)
        assert _deadline(api) == late, "a write for two seconds more"
        await first.executor.fence(["r1"], 3 * LONG_S)  # of which it knows less than half
        await until(lambda: _deadline(api) > late + LONG_S)
        await first.executor.fence(["r1"], LONG_S)
        assert _deadline(api) <= late + 60, "an earlier deadline is shown at once"
        await first.executor.fence(["r1"], None)
        assert _deadline(api) is None
        await first.executor.fence(["r1"], 2.0)
        await first.executor.close()
        second = Watch(executor(api))
        await second.adopt()
        end = await second.ended("r1")
        assert (end.phase, end.reason) == (RunPhase.STOPPED, "fenced")
        await second.executor.close()

    play(story)


def _deadline(api: FakeApi) -> int | None:
    text = api.pod("r1")["metadata"]["annotations"].get(at.FENCE)
    return None if text is None else int(text)


def test_what_the_watchdog_ended_is_fenced_not_failed(api: FakeApi):
    async def story() -> None:
        watch = Watch(executor(api))
        await watch.executor.fence(["r1"], LONG_S)
        await watch.executor.start(launch())
        await watch.running("r1")
        api.kubelet.asleep = True
        now = stamp(time.time())
        killed = {"exitCode": 137, "reason": "Error", "startedAt": now, "finishedAt": now}
        said = {"exitCode": 137, "message": "fenced"}
        api.patch_pod("r1", {"status": {
            "phase": "Failed",
            "containerStatuses": [{"name": "task", "state": {"terminated": killed}}],
            "initContainerStatuses": [{"name": "fence", "state": {"terminated": said}}],
        }})  # fmt: skip
        end = await watch.ended("r1")
        assert (end.phase, end.reason) == (RunPhase.STOPPED, "fenced")
        await watch.executor.close()

    play(story)


def test_a_cluster_that_cannot_be_read_is_an_error_and_no_hang(
    api: FakeApi, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("cerebrum.executors.kubernetes.runs.SYNC_S", 0.5)

    async def story() -> None:
        api.refuse = lambda *_: refused(403, "Forbidden", "pods is forbidden")
        runs = executor(api)
        with pytest.raises(CerebrumError, match="pods is forbidden"):
            await runs.start(launch())
        await runs.close()

    play(story)


def test_two_clusters_in_one_namespace_do_not_see_each_other(api: FakeApi):
    async def story() -> None:
        mine, other = executor(api), executor(api, PodSettings("c2"))
        await mine.start(launch())
        await other.open()
        assert not await other.runs()
        with pytest.raises(InputError, match="not a run of this cluster"):
            await other.start(launch())
        await other.stop("r1", "mine!")
        assert "deletionTimestamp" not in api.pod("r1")["metadata"]
        await mine.close()
        await other.close()

    play(story)


def test_a_pod_waits_for_the_scheduler_and_says_why_it_never_came(api: FakeApi):
    async def story() -> None:
        settings = PodSettings("c1", placement="affinity", scheduler_name="mine")
        watch = Watch(executor(api, settings, start_timeout_s=1.0))
        await watch.executor.start(launch(resources=Resources(cpu_milli=500)))
        condition = {
            "type": "PodScheduled", "status": "False", "reason": "Unschedulable",
            "message": "0/1 nodes are available: 1 Insufficient cpu.",
        }  # fmt: skip
        api.patch_pod("r1", {"status": {"conditions": [condition]}})
        end = await watch.ended("r1")
        assert watch.phases("r1") == [RunPhase.START_FAILED]
        assert end.reason == "Unschedulable: 0/1 nodes are available: 1 Insufficient cpu."
        assert end.node == "n1"
        await watch.executor.close()

    play(story)
