"""An informer against a server that lies: whatever it was told, it ends up with the truth, and
what it reported on the way adds up to what it holds."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Sequence
from random import Random
from typing import Any, TypeVar

import msgspec
import numpy as np
import pytest

from cerebrum.executors.kubernetes.access import Access
from cerebrum.executors.kubernetes.client import Client, Unreachable
from cerebrum.executors.kubernetes.informer import Change, ChangeKind, Informer, Metadata
from tests.executors.kubernetes.lying_server import (
    BURST_LIES,
    LIST_LIES,
    PATH,
    WATCH_LIES,
    LyingServer,
    Store,
    Wire,
    serving,
)
from tests.faults.loop import VirtualLoop

R = TypeVar("R")


class Thing(msgspec.Struct):
    metadata: Metadata
    value: int


class Ledger:
    """Folds all changes over an empty dict and refuses what cannot follow."""

    def __init__(self) -> None:
        self.held: dict[str, Thing] = {}
        self.changes: list[Change[Thing]] = []
        self.sizes: list[int] = []
        self.informer: Informer[Thing] | None = None
        self.latest: dict[str, int] = {}

    def __call__(self, changes: Sequence[Change[Thing]]) -> None:
        assert changes
        self.sizes.append(len(changes))
        for change in changes:
            self.fold(change)
        assert self.informer is not None
        assert self.informer.items == self.held
        assert all(self.informer.items[key] is thing for key, thing in self.held.items())

    def fold(self, change: Change[Thing]) -> None:
        self.changes.append(change)
        assert self.held.get(change.key) is change.old, f"{change} does not follow"
        if change.kind is ChangeKind.DELETED:
            assert change.old is not None
            assert change.new is None
            del self.held[change.key]
            return
        assert change.new is not None
        assert (change.kind is ChangeKind.ADDED) == (change.old is None)
        version = int(change.new.metadata.resourceVersion)
        assert version > self.latest.get(change.key, 0), f"{change} was told before"
        self.latest[change.key] = version
        if change.old is not None:
            assert change.old.metadata.uid == change.new.metadata.uid
        self.held[change.key] = change.new


class Stage:
    """A store, its lying server, and an informer that runs against it in virtual time."""

    def __init__(self, seed: int = 0, **server: Any) -> None:
        self.store = Store(Random(f"store {seed}"))
        self.server = LyingServer(self.store, Random(f"lies {seed}"), **server)
        self.ledger, self.seed = Ledger(), seed

    def informer(self, client: Any = None, **options: Any) -> Informer[Thing]:
        options = {"page_size": 4, "watch_s": 40.0, "idle_s": 15.0} | options
        rng = np.random.default_rng(self.seed)
        informer = Informer(
            client or Wire(self.server), PATH, Thing, self.ledger, rng=rng, **options
        )
        self.ledger.informer = informer
        return informer

    def same(self) -> bool:
        mine = {key: (t.metadata.uid, t.metadata.resourceVersion, t.value)
                for key, t in self.ledger.held.items()}  # fmt: skip
        truth = {key: (t["metadata"]["uid"], t["metadata"]["resourceVersion"], t["value"])
                 for key, t in self.store.objects.items()}  # fmt: skip
        return mine == truth

    async def settles(self, within_s: float = 300.0, step_s: float = 1.0) -> bool:
        loop = asyncio.get_running_loop()
        end_s = loop.time() + within_s
        while not self.same() and loop.time() < end_s:
            await asyncio.sleep(step_s)
        return self.same()


def virtually(story: Coroutine[Any, Any, R], seed: int = 0) -> R:
    with asyncio.Runner(loop_factory=lambda: VirtualLoop(Random(seed))) as runner:
        return runner.run(story)


async def running(informer: Informer[Thing], story: Callable[[], Awaitable[None]]) -> None:
    """Run the informer beside the story; what it raises fails the test."""
    task = asyncio.create_task(informer.run())
    told = asyncio.ensure_future(story())
    ended, _ = await asyncio.wait({task, told}, timeout=5000, return_when=asyncio.FIRST_COMPLETED)
    assert ended, "what the story waits for does not happen"
    for one in (task, told):
        one.cancel()
        await asyncio.wait({one})
    if not task.cancelled():
        task.result()
    await told


async def unrest(stage: Stage, unit_s: float, steps: int = 60) -> None:
    """The world goes on while the server lies about it, then the lies stop."""
    rng = Random(f"unrest {stage.seed}")
    for _ in range(20):
        stage.store.change_something()
    for _ in range(steps):
        for _ in range(rng.choice((0, 1, 1, 2, 7))):
            stage.store.change_something()
        if rng.random() < 0.05:
            stage.store.compact()
        await asyncio.sleep(unit_s * rng.choice((0.0, 0.3, 1.0, 5.0)))
    stage.server.lying = False


def fuzz(seed: int) -> Stage:
    stage = Stage(seed)

    async def story() -> None:
        informer = stage.informer()

        async def told() -> None:
            await unrest(stage, 1.0)
            assert await stage.settles(), f"seed {seed}: not the truth after the lies stopped"
            stage.store.change_something()
            assert await stage.settles(60.0), f"seed {seed}: the watch is not live"
            assert informer.synced.is_set()
            assert informer.stale_s < 30.0

        await running(informer, told)

    virtually(story(), seed)
    return stage


def test_after_the_lies_stop_it_holds_the_truth_and_every_change_followed() -> None:
    told = sum((fuzz(seed).server.told for seed in range(60)), start=type(fuzz(0).server.told)())
    # A fuzz that never told one of its lies would prove nothing about it.
    assert set(told) == {*LIST_LIES, *WATCH_LIES, *BURST_LIES}


@pytest.mark.slow
def test_hundreds_of_seeds() -> None:
    for seed in range(60, 600):
        fuzz(seed)


class Warp:
    """The loop's clock, with pauses skipped: over real sockets a back-off costs no time either."""

    def __init__(self) -> None:
        self.skipped_s = 0.0

    def __call__(self) -> float:
        return asyncio.get_running_loop().time() + self.skipped_s

    async def sleep(self, seconds: float) -> None:
        self.skipped_s += seconds
        await asyncio.sleep(0)


def over_http(seed: int) -> None:
    stage, warp = Stage(seed, unit_s=0.01, bookmark_s=0.05), Warp()

    async def story() -> None:
        async with serving(stage.server) as url, Client(Access(url), qps=0) as client:
            informer = stage.informer(
                client, watch_s=1.0, idle_s=0.15, clock=warp, sleep=warp.sleep
            )

            async def told() -> None:
                await unrest(stage, 0.01, steps=25)
                assert await stage.settles(10.0, 0.01), f"seed {seed}: {informer.last_error}"

            await running(informer, told)

    asyncio.run(story())


@pytest.mark.parametrize("seed", range(6))
def test_the_same_over_real_connections(seed: int) -> None:
    over_http(seed)


@pytest.mark.slow
def test_many_seeds_over_real_connections() -> None:
    for seed in range(6, 120):
        over_http(seed)


# --- single rules ---


def quiet(
    stage: Stage, told: Callable[[Informer[Thing]], Awaitable[None]], **options: Any
) -> Informer[Thing]:
    """Run a story against a server that lies as `stage` says, in virtual time."""

    async def story() -> Informer[Thing]:
        informer = stage.informer(**options)
        await running(informer, lambda: told(informer))
        return informer

    return virtually(story())


def filled(n: int = 10, **server: Any) -> Stage:
    async def build() -> Stage:
        stage = Stage(0, **({"lying": False} | server))
        for i in range(n):
            stage.store.put(f"thing-{i}", i)
        return stage

    return virtually(build())


def kinds(stage: Stage, since: int = 0) -> list[tuple[str, str]]:
    return [(change.kind.value, change.key) for change in stage.ledger.changes[since:]]


def test_a_deletion_in_a_gap_that_the_server_forgot_is_reported() -> None:
    stage = filled(3)

    async def told(informer: Informer[Thing]) -> None:
        await informer.synced.wait()
        await asyncio.sleep(1)
        stage.server.lying, stage.server.rate, stage.server.allowed = True, 1.0, {"reset"}
        stage.store.put("thing-0", 7)  # wakes the watch, which goes on honestly until it ends
        await asyncio.sleep(60)
        stage.store.delete("thing-1")
        stage.store.compact()
        stage.server.lying = False
        assert await stage.settles()
        assert kinds(stage, 3) == [("MODIFIED", "ns/thing-0"), ("DELETED", "ns/thing-1")]
        assert informer.counts.expired == 1

    quiet(stage, told)


def test_a_recreated_object_is_a_deletion_and_an_addition() -> None:
    stage = filled(1)

    async def told(informer: Informer[Thing]) -> None:
        await informer.synced.wait()
        stage.server.lying, stage.server.rate, stage.server.allowed = True, 1.0, {"ends"}
        await asyncio.sleep(60)  # the watch is over, and none comes to stand
        stage.store.delete("thing-0")
        stage.store.put("thing-0", 5)
        stage.store.compact()
        stage.server.lying = False
        assert await stage.settles()
        assert kinds(stage, 1) == [("DELETED", "ns/thing-0"), ("ADDED", "ns/thing-0")]

    quiet(stage, told)


def test_a_list_that_expires_between_pages_starts_over_and_loses_nothing() -> None:
    stage = filled(10)

    async def told(informer: Informer[Thing]) -> None:
        await informer.synced.wait()
        stage.server.lying, stage.server.rate, stage.server.allowed = True, 1.0, {"page-410", "410"}
        stage.store.compact()
        stage.store.put("thing-3", 33)
        await asyncio.sleep(200)
        assert stage.server.told["page-410"] > 2
        assert len(informer.items) == 10
        stage.server.lying = False
        assert await stage.settles()
        assert kinds(stage, 10) == [("MODIFIED", "ns/thing-3")]

    quiet(stage, told)


def test_a_big_list_is_paged_and_delivered_in_bounded_batches() -> None:
    stage = filled(2500)

    async def told(informer: Informer[Thing]) -> None:
        await informer.synced.wait()
        assert len(stage.server.asked_s) >= 5
        assert stage.ledger.sizes == [1000, 1000, 500]

    quiet(stage, told, page_size=500)


def test_a_burst_is_one_batch() -> None:
    stage = filled(1)

    async def told(informer: Informer[Thing]) -> None:
        await informer.synced.wait()
        await asyncio.sleep(5)
        for i in range(200):
            stage.store.put(f"new-{i}", i)
        assert await stage.settles()
        assert stage.ledger.sizes == [1, 200]

    quiet(stage, told)


@pytest.mark.parametrize(
    "lies",
    [{"silent"}, {"bookmarks-only"}, {"slow"}, {"duplicates"}, {"reordered"}, {"repeat-past"}],
)
def test_one_lie_alone_all_the_time(lies: set[str]) -> None:
    stage = filled(5, lying=True, rate=0.9, allowed=lies)

    async def told(informer: Informer[Thing]) -> None:
        await unrest(stage, 1.0)
        assert await stage.settles()

    quiet(stage, told)
    assert stage.server.told[next(iter(lies))] > 0


def test_a_silent_watch_is_begun_anew_where_it_was() -> None:
    stage = filled(5)

    async def told(informer: Informer[Thing]) -> None:
        await informer.synced.wait()
        stage.server.lying, stage.server.rate, stage.server.allowed = True, 1.0, {"silent"}
        await asyncio.sleep(60)
        stage.store.put("thing-0", 99)
        stage.server.lying = False
        assert await stage.settles()
        assert informer.counts.lists == 1
        assert "said nothing" in informer.last_error

    quiet(stage, told)


def test_a_kind_that_never_changes_is_no_failure_and_never_stale_though_no_bookmark_comes() -> None:
    stage = filled(5)

    async def told(informer: Informer[Thing]) -> None:
        await informer.synced.wait()
        stage.server.lying, stage.server.rate, stage.server.allowed = True, 1.0, {"silent"}
        for _ in range(30):
            await asyncio.sleep(100)
            assert informer.stale_s <= 101.0
        assert (informer.counts.failures, informer.counts.lists) == (0, 1)
        assert informer.counts.watches <= 33

    quiet(stage, told, watch_s=290.0, idle_s=100.0)


def test_a_server_that_does_not_answer_a_watch_is_a_failure_and_what_we_know_grows_old() -> None:
    class Hangs(Wire):
        async def watch_batches(
            self, path: str, **asked: Any
        ) -> AsyncGenerator[tuple[bytes, ...], None]:
            await asyncio.sleep(3600)
            yield ()

    stage = filled(5)

    async def told(informer: Informer[Thing]) -> None:
        await asyncio.sleep(250)
        assert informer.counts.failures >= 1
        assert "no answer to a watch" in informer.last_error
        assert informer.stale_s > 200.0

    async def story() -> None:
        informer = stage.informer(Hangs(stage.server), watch_s=290.0, idle_s=100.0)
        await running(informer, lambda: told(informer))

    virtually(story())


def test_a_watch_goes_on_after_the_last_event_and_after_a_bookmark() -> None:
    stage = filled(3)

    async def told(informer: Informer[Thing]) -> None:
        await informer.synced.wait()
        await asyncio.sleep(1)
        stage.store.put("thing-0", 7)
        await asyncio.sleep(100)  # at least two more watches
        assert stage.server.asked[-1]["resourceVersion"] == str(stage.store.version)
        stage.store.version += 50  # by other kinds of objects
        stage.server.tells_version = True
        await asyncio.sleep(100)
        assert stage.server.asked[-1]["resourceVersion"] == str(stage.store.version)
        assert (informer.counts.lists, informer.counts.failures) == (1, 0)

    quiet(stage, told)


def test_what_came_before_an_error_in_one_burst_is_delivered() -> None:
    stage = filled(1)

    async def told(informer: Informer[Thing]) -> None:
        await informer.synced.wait()
        event = {"type": "ADDED", "object": {"metadata": {"name": "a", "resourceVersion": "900"}}}
        event["object"] |= {"value": 1}
        with pytest.raises(Unreachable):
            informer._take([json.dumps(event).encode(), b"not json"])
        assert [key for _, key in kinds(stage)] == ["ns/thing-0", "a"]

    quiet(stage, told)


def test_an_unreadable_object_does_not_stop_the_others() -> None:
    stage = filled(4)
    stage.store.objects["ns/thing-1"]["value"] = "not a number"
    stage.store.objects["ns/thing-2"]["metadata"] = "no metadata"

    async def told(informer: Informer[Thing]) -> None:
        await informer.synced.wait()
        assert set(informer.items) == {"ns/thing-0", "ns/thing-3"}
        assert set(informer.unreadable) == {"ns/thing-1"}
        stage.store.put("thing-0", "broken while we watch")
        stage.store.put("thing-3", 33)
        await asyncio.sleep(10)
        assert informer.items["ns/thing-0"].value == 0  # the last one that could be read
        assert informer.items["ns/thing-3"].value == 33
        assert set(informer.unreadable) == {"ns/thing-0", "ns/thing-1"}
        stage.store.put("thing-0", 5)
        stage.store.put("thing-1", 1)
        await asyncio.sleep(10)
        assert (informer.items["ns/thing-0"].value, informer.items["ns/thing-1"].value) == (5, 1)
        assert not informer.unreadable
        assert (informer.counts.unreadable, informer.counts.lists) == (3, 1)

    quiet(stage, told)


def test_an_event_that_is_never_readable_is_passed_by_a_new_list() -> None:
    stage = filled(2)

    async def told(informer: Informer[Thing]) -> None:
        await informer.synced.wait()
        stage.store.history.append((stage.store.version + 1, "ADDED", {"metadata": 3}))
        stage.store.version += 1
        stage.store.history[-1] = (stage.store.version, "DELETED", {"metadata": 3})
        stage.store.put("thing-9", 9)
        assert await stage.settles(120)

    quiet(stage, told)


def test_a_list_from_the_past_is_not_believed_until_the_server_insists() -> None:
    stage = filled(3)

    async def told(informer: Informer[Thing]) -> None:
        await informer.synced.wait()
        known = dict(informer.items)
        restored = {key: json.loads(json.dumps(it)) for key, it in stage.store.objects.items()}
        del restored["ns/thing-2"]
        stage.store.objects, stage.store.version = restored, 90
        stage.store.history.clear()
        stage.store.news.set()
        stage.server.lying, stage.server.rate, stage.server.allowed = True, 1.0, {"410"}
        while informer.counts.lists < 3:
            assert informer.items == known
            await asyncio.sleep(0.5)
        stage.server.lying = False
        assert await stage.settles()
        assert "after" in informer.last_error

    quiet(stage, told)


def test_what_a_server_hides_is_found_by_listing_now_and_then() -> None:
    stage = filled(3)

    async def told(informer: Informer[Thing]) -> None:
        await informer.synced.wait()
        stage.store.history.clear()
        del stage.store.objects["ns/thing-1"]  # and no event says so
        assert await stage.settles(400)
        assert kinds(stage, 3) == [("DELETED", "ns/thing-1")]

    quiet(stage, told, relist_s=100.0)


def test_an_exception_of_the_listener_ends_the_run() -> None:
    stage = filled(3)

    def refuse(changes: Sequence[Change[Thing]]) -> None:
        raise ZeroDivisionError

    async def story() -> None:
        informer = stage.informer()
        informer._on_changes = refuse
        await informer.run()

    with pytest.raises(ZeroDivisionError):
        virtually(story())


# --- how often it asks ---


@pytest.mark.parametrize(
    "lies",
    [{"500"}, {"410"}, {"reset"}, {"ends"}, {"429"}, {"503", "429"}, {"page-410"}, {"cut"},
     {"not-json"}, {"error-410"}, {"garbage", "500"}, {"410", "page-410"}, {"reordered"}],
    ids=lambda lies: "+".join(sorted(lies)),
)  # fmt: skip
def test_it_asks_at_most_once_a_second_whatever_fails(lies: set[str]) -> None:
    stage = filled(3, lying=True, rate=1.0, allowed=lies)

    async def told(informer: Informer[Thing]) -> None:
        for _ in range(600):
            stage.store.change_something()
            await asyncio.sleep(1.0)

    quiet(stage, told, page_size=1)
    assert 5 <= len(stage.server.asked_s) <= 600 + 10


def test_pauses_grow_while_nothing_works_and_start_small_after_it_did() -> None:
    stage = filled(3, lying=True, rate=1.0, allowed={"500"})

    async def told(informer: Informer[Thing]) -> None:
        await asyncio.sleep(600)
        # Uniform between 0 and 30 s, once the ceiling is reached: about 40 in ten minutes.
        assert len(stage.server.asked_s) < 80
        gaps = np.diff(stage.server.asked_s)
        assert gaps[:3].max() < 2.1
        assert 20.0 < gaps.max() <= 30.1
        stage.server.lying = False
        await informer.synced.wait()
        await asyncio.sleep(5)
        stage.store.put("thing-0", 77)  # the watch says something
        await asyncio.sleep(5)
        stage.server.lying, stage.server.allowed = True, {"reset"}
        asked = len(stage.server.asked_s)
        while len(stage.server.asked_s) < asked + 2:  # once that watch is over
            await asyncio.sleep(1)
        assert np.diff(stage.server.asked_s)[asked] < 1.1

    quiet(stage, told)


def test_a_watch_that_opens_and_says_nothing_is_no_progress() -> None:
    stage = filled(3, lying=True, rate=1.0, allowed={"ends"})
    quiet(stage, lambda informer: asyncio.sleep(600))
    assert len(stage.server.asked_s) < 80


def test_it_does_not_come_back_before_retry_after() -> None:
    stage = filled(3, lying=True, rate=1.0, allowed={"429"})
    quiet(stage, lambda informer: asyncio.sleep(100))
    assert np.diff(stage.server.asked_s).min() >= 2.0


def test_a_quiet_cluster_costs_one_request_a_watch() -> None:
    stage = filled(3)

    async def told(informer: Informer[Thing]) -> None:
        await asyncio.sleep(3000)
        assert informer.counts.failures == 0
        assert len(stage.server.asked_s) < 3000 / (0.8 * 290) + 3
        assert informer.stale_s <= 61.0

    quiet(stage, told, watch_s=290.0, idle_s=100.0)
