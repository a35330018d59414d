"""Events and conditions as operators and autoscalers expect them, and never in the way."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from cerebrum.executors.kubernetes._reporting_events import EventWriter, Subject, Write, cut
from cerebrum.executors.kubernetes.client import ApiError
from cerebrum.executors.kubernetes.facts import PodFacts
from cerebrum.executors.kubernetes.reporting import Reporter
from cerebrum.model.tasks import TaskClass

ABOUT = Subject("default", "a", "uid-a")


def pod(name: str = "a") -> PodFacts:
    return PodFacts("default", name, f"uid-{name}", "cerebrum", TaskClass())


class Server:
    """Notes what is asked; `fail` says what goes wrong with a request."""

    def __init__(self, fail: Any = lambda method, path: None) -> None:
        self.asked: list[tuple[str, str, dict[str, Any]]] = []
        self._fail = fail

    async def request(self, method: str, path: str, *, body: bytes = b"{}", **_: Any) -> bytes:
        error = self._fail(method, path)
        if error is not None:
            raise error
        self.asked.append((method, path, json.loads(body)))
        return b"{}"


def written(reporter: Reporter, seconds: float = 0.05) -> None:
    """Let the reporter write what it has."""

    async def run() -> None:
        running = asyncio.create_task(reporter.run())
        await asyncio.sleep(seconds)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    asyncio.run(run())


def test_a_repeated_event_becomes_a_series_of_the_first() -> None:
    now_s = [1000.0]
    writer = EventWriter("cerebrum", "here", lambda: now_s[0])

    def tell() -> Any:
        return writer.event(ABOUT, "Warning", "FailedScheduling", "Scheduling", "no room")

    first, second, third = tell(), tell(), tell()
    assert (first.method, second.method, third) == ("POST", "PATCH", None)
    assert second.path.startswith(first.path + "/a.")
    assert json.loads(second.body)["series"]["count"] == 2
    now_s[0] += 31
    assert json.loads(tell().body)["series"]["count"] == 4
    now_s[0] += 1000
    assert tell().method == "POST"  # long after, it is a new one


def test_a_note_is_cut_to_what_the_server_takes() -> None:
    assert len(cut("ü" * 2000, 1024).encode()) <= 1024
    assert cut("short", 1024) == "short"


def test_events_beyond_the_limit_are_dropped_and_counted_conditions_are_not() -> None:
    server = Server()
    reporter = Reporter(server, "cerebrum", "here", lambda: 0.0, max_events=3)
    for i in range(5):
        reporter.unschedulable(pod(f"p{i}"), "no room")
    assert reporter.dropped == 2
    written(reporter)
    kinds = [method for method, _, _ in server.asked]
    assert kinds == ["PATCH"] * 5 + ["POST"] * 3


def test_only_the_newest_state_of_a_pod_is_written_and_nothing_of_it_is_lost() -> None:
    server = Server()
    reporter = Reporter(server, "cerebrum", "here", lambda: 0.0, max_events=0)
    reporter.unschedulable(pod(), "first")
    reporter.nominated(pod(), "n1")
    reporter.unschedulable(pod(), "second")
    reporter.unschedulable(pod("bound"), "no room")
    reporter.told_no_more(pod("bound"))
    written(reporter)
    [(_, path, body)] = server.asked
    assert path.endswith("/pods/a/status")
    assert body["metadata"]["uid"] == "uid-a"
    assert body["status"]["nominatedNodeName"] == "n1"
    assert body["status"]["conditions"][0]["message"] == "second"


def test_a_report_nobody_takes_is_given_up_one_the_server_cannot_take_now_is_not() -> None:
    left = [ApiError(500, "InternalError", "later", None), None]

    def fail(method: str, path: str) -> ApiError | None:
        if "/pods/gone/" in path:
            return ApiError(404, "NotFound", "no such pod", None)
        return left.pop(0) if left else None

    server = Server(fail)
    reporter = Reporter(server, "cerebrum", "here", lambda: 0.0, max_events=0)
    reporter.unschedulable(pod("gone"), "no room")
    reporter.unschedulable(pod("there"), "no room")
    written(reporter, seconds=0.8)
    assert [path.split("/")[-2] for _, path, _ in server.asked] == ["there"]
    assert (reporter.failed, reporter.written) == (1, 1)


def test_a_clock_that_is_set_back_a_day_does_not_silence_an_event_for_a_day() -> None:
    now_s = 1_000_000.0
    writer = EventWriter("cerebrum", "me", lambda: now_s)
    about = Subject("default", "p", "uid")

    def tell() -> Write | None:
        return writer.event(about, "Warning", "FailedScheduling", "Scheduling", "no room")

    assert [tell() is not None for _ in range(3)] == [True, True, False]
    now_s -= 86_400.0
    told = tell()
    assert told is not None
    assert told.method == "POST"
