"""Binds whose outcome is certain, whatever the server and the network do."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from cerebrum.executors.kubernetes.access import Access
from cerebrum.executors.kubernetes.binder import Binder, Fate, Order, Outcome
from cerebrum.executors.kubernetes.client import Client
from tests.executors.kubernetes.fake_api import FakeApi, Json


def asked(pod: Json, node: str = "n1") -> Order:
    meta = pod["metadata"]
    return Order(meta["namespace"], meta["name"], meta["uid"], node)


def outcome_of(prepare: Callable[[FakeApi, Json], None]) -> tuple[Outcome, FakeApi]:
    """Bind pod `a` to `n1` on a server that was prepared."""

    async def at_once(_: float) -> None:
        await asyncio.sleep(0)

    async def run() -> tuple[Outcome, FakeApi]:
        async with FakeApi().serve() as api:
            pod = api.pod("a")
            order = asked(pod)
            prepare(api, pod)
            async with Client(Access(api.url), qps=0) as client:
                found = await Binder(client, lambda *_: None, pause=at_once).bind(order)
            return found, api

    return asyncio.run(run())


def failing(*faults: str) -> Callable[[FakeApi, Json], None]:
    """The first binds go wrong like this, one after the other."""
    left = list(faults)

    def prepare(api: FakeApi, pod: Json) -> None:
        def fault(method: str, path: str) -> str:
            return left.pop(0) if path.endswith("/binding") and left else ""

        api.faults = fault

    return prepare


def test_a_bind_carries_the_uid() -> None:
    def replace(api: FakeApi, pod: Json) -> None:
        api.remove("/api/v1/pods", "default/a")
        api.pod("a")

    outcome, api = outcome_of(replace)
    assert outcome.fate is Fate.GONE
    assert outcome.conflict
    assert api.where() == {"default/a": ""}


@pytest.mark.parametrize("fault", ["drop-before", "drop-after", "500-before", "500-after", "429"])
def test_a_bind_that_goes_wrong_once_is_bound_once(fault: str) -> None:
    outcome, api = outcome_of(failing(fault))
    assert outcome.fate is Fate.BOUND
    assert outcome.node == "n1"
    assert list(api.binds.values()) == [1]


def test_after_a_cut_connection_the_pod_is_read_before_anything_else() -> None:
    _, api = outcome_of(failing("drop-after"))
    assert api.requests["POST binding"] == 1  # it had happened: nothing is asked for twice
    assert api.requests["GET a"] == 1


def test_connections_that_break_for_long_never_give_the_pod_up() -> None:
    outcome, api = outcome_of(failing(*["drop-before"] * 9))
    assert outcome.fate is Fate.BOUND
    assert list(api.binds.values()) == [1]


def test_a_server_that_answers_with_errors_gets_the_order_back() -> None:
    outcome, api = outcome_of(failing(*["500-before"] * 9))
    assert outcome.fate is Fate.REFUSED
    assert "etcd" in outcome.message
    assert api.where() == {"default/a": ""}


def test_what_may_not_be_bound_is_refused_at_once() -> None:
    outcome, api = outcome_of(failing("403"))
    assert outcome == Outcome(Fate.REFUSED, message="you may not")
    assert api.requests["POST binding"] == 1


def test_a_pod_that_is_elsewhere_going_or_gone() -> None:
    def elsewhere(api: FakeApi, pod: Json) -> None:
        pod["spec"]["nodeName"] = "n2"

    def going(api: FakeApi, pod: Json) -> None:
        pod["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"

    def gated(api: FakeApi, pod: Json) -> None:
        pod["spec"]["schedulingGates"] = [{"name": "g"}]

    def gone(api: FakeApi, pod: Json) -> None:
        api.remove("/api/v1/pods", "default/a")

    found, _ = outcome_of(elsewhere)
    assert (found.fate, found.node) == (Fate.ELSEWHERE, "n2")
    assert outcome_of(going)[0].fate is Fate.HELD_BACK
    assert outcome_of(gated)[0].fate is Fate.HELD_BACK
    assert outcome_of(gone)[0].fate is Fate.GONE


def test_no_more_orders_are_under_way_than_allowed_and_each_is_told_of_once() -> None:
    told: list[str] = []
    most = 0

    class Slow:
        async def request(self, method: str, path: str, **how: object) -> bytes:
            nonlocal most
            most = max(most, binder.in_flight)
            await asyncio.sleep(0.001)
            return b""

    binder = Binder(Slow(), lambda order, outcome: told.append(order.name), concurrency=4)

    async def run() -> None:
        running = asyncio.create_task(binder.run())
        for i in range(40):
            binder.submit(Order("default", f"p{i}", "u", "n1"))
        while binder.backlog:
            await asyncio.sleep(0.001)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    asyncio.run(run())
    assert most == 4
    assert sorted(told) == sorted(f"p{i}" for i in range(40))


def test_a_bug_in_the_binder_does_not_hold_room_for_ever() -> None:
    told: list[Outcome] = []

    class Broken:
        async def request(self, method: str, path: str, **how: object) -> bytes:
            raise ValueError("what nobody thought of")

    async def run() -> None:
        binder = Binder(Broken(), lambda order, outcome: told.append(outcome))
        running = asyncio.create_task(binder.run())
        binder.submit(Order("default", "p", "u", "n1"))
        while not told:
            await asyncio.sleep(0.001)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    asyncio.run(run())
    assert told[0].fate is Fate.REFUSED
    assert "nobody thought of" in told[0].message
