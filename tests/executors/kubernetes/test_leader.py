"""Leader election on a fake Lease store, in virtual time: each candidate has its own clocks, and
the network and the processes fail as they like. At no moment do two lead."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from random import Random
from typing import Any

import msgspec
import numpy as np
import pytest

from cerebrum.executors.kubernetes.client import ApiError, Unreachable
from cerebrum.executors.kubernetes.leader import LeaderElection
from cerebrum.model.errors import ConfigError
from tests.faults.loop import OWNER, Incarnation, VirtualLoop

PATH = "/apis/coordination.k8s.io/v1/namespaces/ns/leases"


class Leases:
    """One Lease with optimistic concurrency, as the API server keeps it."""

    def __init__(self) -> None:
        self.lease: dict[str, Any] | None = None
        self.version = 0
        self.writers: list[str] = []

    def do(self, method: str, path: str, body: Any) -> bytes:
        if method == "GET":
            if self.lease is None:
                raise ApiError(404, "NotFound", "no such lease")
        else:
            self._write(method, path, json.loads(msgspec.json.encode(body)))
        return json.dumps(self.lease).encode()

    def _write(self, method: str, path: str, new: dict[str, Any]) -> None:
        if method == "POST":
            if self.lease is not None:
                raise ApiError(409, "AlreadyExists", "there is one")
            assert path == PATH
        elif self.lease is None:
            raise ApiError(404, "NotFound", "no such lease")
        elif new["metadata"]["resourceVersion"] != self.lease["metadata"]["resourceVersion"]:
            raise ApiError(409, "Conflict", "the object has been modified")
        self.version += 1
        meta = {
            "name": "brain",
            "namespace": "ns",
            "uid": "u",
            "resourceVersion": str(self.version),
        }
        self.lease = {**new, "metadata": meta}
        self.writers.append(new["spec"].get("holderIdentity", ""))


class Line:
    """One candidate's connection: slow, cut, or losing the answers to what was done."""

    def __init__(self, leases: Leases, rng: Random, delay_s: float = 0.01) -> None:
        self.leases, self.rng, self.delay_s = leases, rng, delay_s
        self.cut, self.lossy, self.hangs, self.asked = False, 0.0, False, 0

    async def request(
        self, method: str, path: str, *, body: Any = None, timeout_s: float | None = None,
        limited: bool = True, attempts: int = 1,
    ) -> bytes:  # fmt: skip
        assert (limited, attempts) == (False, 1)
        self.asked += 1
        await asyncio.sleep(self.delay_s * self.rng.random())
        while self.hangs:
            await asyncio.sleep(1.0)
        if self.cut:
            raise Unreachable("cut")
        answer = self.leases.do(method, path, body)
        await asyncio.sleep(self.delay_s * self.rng.random())
        if self.rng.random() < self.lossy:
            raise Unreachable("done, but you do not hear of it")
        return answer


class Candidate:
    """One process. `skew_s` is what its wall clock is wrong by; its own clock never jumps."""

    def __init__(self, leases: Leases, name: str, seed: int = 0, **options: Any) -> None:
        self.line = Line(leases, Random(f"{name} {seed}"))
        self.skew_s, self.drift_s, self.acting, self.lives = 0.0, 1000.0 * seed, False, 0
        loop = asyncio.get_running_loop
        self.election = LeaderElection(
            self.line, "ns", "brain", name, rng=np.random.default_rng(seed),
            clock=lambda: loop().time() + self.drift_s,
            unix_s=lambda: 1.7e9 + loop().time() + self.skew_s, **options,
        )  # fmt: skip
        self.life = Incarnation(name, 1)

    def start(self) -> asyncio.Task[None]:
        token = OWNER.set(self.life)
        try:
            return asyncio.create_task(self.election.run(self.lead, self.rest))
        finally:
            OWNER.reset(token)

    async def lead(self) -> None:
        self.acting = True
        self.lives += 1
        await asyncio.Event().wait()

    async def rest(self) -> None:
        self.acting = False


class Pair:
    """Two candidates, watched at every tenth of a second."""

    def __init__(self, seed: int = 0, **options: Any) -> None:
        self.leases = Leases()
        self.a = Candidate(self.leases, "a", seed, **options)
        self.b = Candidate(self.leases, "b", seed + 1, **options)
        self.both = (self.a, self.b)
        self.tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        self.tasks = [one.start() for one in self.both]
        await self.watched(5.0)
        assert len(self.leaders()) == 1

    def leaders(self) -> list[Candidate]:
        return [one for one in self.both if one.election.is_leader]

    async def watched(self, seconds: float) -> None:
        for _ in range(round(seconds * 10)):
            await asyncio.sleep(0.1)
            assert len(self.leaders()) <= 1, "two lead"

    async def stop(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.wait(self.tasks)


def play(story: Callable[[], Coroutine[Any, Any, None]], seed: int = 0) -> None:
    with asyncio.Runner(loop_factory=lambda: VirtualLoop(Random(seed))) as runner:
        runner.run(story())


def leading(pair: Pair) -> tuple[Candidate, Candidate]:
    [leader] = pair.leaders()
    return leader, pair.b if leader is pair.a else pair.a


@pytest.mark.parametrize("seed", range(5))
def test_one_of_two_leads_and_a_clean_exit_hands_over_at_once(seed: int) -> None:
    async def story() -> None:
        pair = Pair(seed)
        await pair.start()
        await pair.watched(100)
        leader, other = leading(pair)
        assert leader.acting
        assert (leader.lives, other.lives) == (1, 0)
        pair.tasks[pair.both.index(leader)].cancel()
        await pair.watched(4)
        assert not leader.acting
        assert leading(pair)[0] is other
        assert pair.leases.lease is not None
        assert pair.leases.lease["spec"]["leaseTransitions"] == other.election.transitions >= 1
        await pair.stop()
        assert pair.leases.lease["spec"]["holderIdentity"] == ""

    play(story, seed)


def test_a_leader_that_is_cut_off_stops_before_the_other_starts() -> None:
    async def story() -> None:
        pair = Pair()
        await pair.start()
        leader, other = leading(pair)
        leader.line.cut = True
        await pair.watched(10.1)
        assert not leader.election.is_leader
        await pair.watched(0.5)
        assert not leader.acting
        await pair.watched(10)
        assert leading(pair)[0] is other
        leader.line.cut = False
        await pair.watched(60)
        assert leading(pair)[0] is other
        assert other.election.transitions == 1
        await pair.stop()

    play(story)


def test_a_hung_connection_does_not_keep_a_leader_from_stopping_in_time() -> None:
    async def story() -> None:
        pair = Pair()
        await pair.start()
        leader, other = leading(pair)
        leader.line.hangs = True
        await pair.watched(11)
        assert not leader.acting
        await pair.watched(10)
        assert leading(pair)[0] is other
        await pair.stop()

    play(story)


@pytest.mark.parametrize("jump_s", [3600.0, -3600.0, 1e8, -1e8])
def test_a_jump_of_a_wall_clock_steals_nothing(jump_s: float) -> None:
    async def story() -> None:
        pair = Pair()
        await pair.start()
        leader, other = leading(pair)
        other.skew_s = jump_s
        await pair.watched(60)
        leader.skew_s = -jump_s
        await pair.watched(60)
        assert leading(pair)[0] is leader
        assert pair.leases.version < 80
        await pair.stop()

    play(story)


def test_a_paused_leader_knows_at_once_that_it_no_longer_leads() -> None:
    async def story() -> None:
        pair = Pair()
        await pair.start()
        leader, other = leading(pair)
        leader.life.paused = True
        await asyncio.sleep(20)
        assert leading(pair)[0] is other  # nothing of the paused one has run since
        loop: Any = asyncio.get_running_loop()
        loop.resume(leader.life)
        await pair.watched(30)
        assert leading(pair)[0] is other
        assert not leader.acting
        await pair.stop()

    play(story)


def test_a_killed_leader_is_followed_after_the_lease_and_not_before() -> None:
    async def story() -> None:
        pair = Pair()
        await pair.start()
        leader, other = leading(pair)
        leader.life.paused = True  # for good, until the test clears up
        await asyncio.sleep(12.5)
        assert not other.election.is_leader
        await asyncio.sleep(7.5)
        assert other.election.is_leader
        loop: Any = asyncio.get_running_loop()
        loop.resume(leader.life)
        await pair.stop()

    play(story)


def test_an_update_whose_answer_is_lost_is_recognised_as_ours() -> None:
    async def story() -> None:
        pair = Pair()
        await pair.start()
        leader, _ = leading(pair)
        for _ in range(30):
            leader.line.lossy = 1.0
            await pair.watched(2.5)
            leader.line.lossy = 0.0
            await pair.watched(5.0)
        assert leading(pair)[0] is leader
        assert leader.lives == 1
        assert leader.election.transitions == 0
        await pair.stop()

    play(story)


def test_two_processes_with_one_identity_do_not_both_lead() -> None:
    async def story() -> None:
        pair = Pair()
        pair.b.election.identity = pair.a.election.identity
        pair.b.line.delay_s = 0.02
        await pair.start()
        await pair.watched(100)
        assert len(pair.leaders()) == 1
        await pair.stop()

    play(story)


def test_a_deleted_lease_is_made_again_by_its_leader() -> None:
    async def story() -> None:
        leases = Leases()
        alone = Candidate(leases, "a")
        task = alone.start()
        await asyncio.sleep(5)
        leases.lease = None
        await asyncio.sleep(20)
        assert alone.election.is_leader
        assert alone.lives == 1
        task.cancel()
        await asyncio.wait([task])

    play(story)


def test_an_edit_of_the_lease_by_a_person_costs_nobody_the_lead() -> None:
    async def story() -> None:
        pair = Pair()
        await pair.start()
        leader, _ = leading(pair)
        for _ in range(10):
            assert pair.leases.lease is not None
            pair.leases.version += 1
            version = {"resourceVersion": str(pair.leases.version)}
            pair.leases.lease["metadata"] = pair.leases.lease["metadata"] | version
            await pair.watched(5)
        assert leading(pair)[0] is leader
        assert leader.lives == 1
        await pair.stop()

    play(story)


def test_what_the_work_raises_is_raised_after_the_stop_and_the_release() -> None:
    async def story() -> None:
        leases = Leases()
        one = Candidate(leases, "a")

        async def fail() -> None:
            await asyncio.sleep(3)
            raise ZeroDivisionError

        one.acting = True
        with pytest.raises(ZeroDivisionError):
            await one.election.run(fail, one.rest)
        assert not one.acting
        assert leases.lease is not None
        assert leases.lease["spec"]["holderIdentity"] == ""

    play(story)


@pytest.mark.parametrize("seed", range(20))
def test_whatever_fails_two_never_lead_and_in_the_end_one_does(seed: int) -> None:
    async def story() -> None:
        pair, rng = Pair(seed), Random(f"trouble {seed}")
        pair.tasks = [one.start() for one in pair.both]
        loop: Any = asyncio.get_running_loop()
        for _ in range(25):
            one = rng.choice(pair.both)
            one.line.cut, one.line.hangs = rng.random() < 0.3, rng.random() < 0.2
            one.line.lossy = rng.choice((0.0, 0.0, 0.7))
            one.line.delay_s = rng.choice((0.01, 0.5, 3.0))
            one.skew_s = rng.uniform(-1e6, 1e6)
            one.life.paused = rng.random() < 0.2
            await pair.watched(rng.choice((1.0, 7.0, 25.0)))
            loop.resume(one.life)
        for one in pair.both:
            one.line.cut = one.line.hangs = False
            one.line.lossy, one.line.delay_s = 0.0, 0.01
        await pair.watched(40)
        assert len(pair.leaders()) == 1
        await pair.stop()

    play(story, seed)


@pytest.mark.parametrize(
    "times", [(10, 10, 2), (15, 10, 9), (15, 10, 0), (float("nan"), 10, 2), (1e9, 10, 2)]
)
def test_times_that_cannot_work_are_refused(times: tuple[float, float, float]) -> None:
    with pytest.raises(ConfigError, match="expected"):
        LeaderElection(Line(Leases(), Random(0)), "ns", "brain", "a", *times)
