"""Stories of one agent: what may get lost on the way, and what it does about it."""

from __future__ import annotations

import asyncio

import pytest

from cerebrum.executors.simulated_runs import Faults
from cerebrum.model.cluster import Node
from cerebrum.model.resources import Resources
from cerebrum.services import wire
from tests.services.agent.stage import ONE_CORE, Stage, play, task


def test_an_offer_is_stored_confirmed_run_and_reported_in_order():
    async def story() -> None:
        stage = Stage()
        stage.controller.offer("a", task("x"), task("y", after=["x"]))
        stage.start()
        await stage.until(lambda: len(stage.controller.ends()) == 2)
        await stage.until(lambda: not stage.disk.rows("reports") and not stage.disk.rows("runs"))
        assert stage.controller.ends() == {
            "w/x": [("succeeded", "")],
            "w/y": [("succeeded", "")],
        }
        kinds = [kind for kind, uid, _ in stage.disk.events() if uid == "w/x"]
        assert kinds == ["received", "confirmed", "bound", "started", "ended"]
        order = [(kind, uid) for kind, uid, _ in stage.disk.events("ended", "bound")]
        assert order.index(("ended", "w/x")) < order.index(("bound", "w/y"))
        await stage.kill()

    play(story)


def test_nothing_starts_before_it_is_confirmed_and_a_lost_ack_is_sent_again():
    async def story() -> None:
        stage = Stage()
        stage.controller.lose_answers_to = {"ack"}
        stage.controller.offer("a", task("x"))
        stage.start()
        await asyncio.sleep(60)
        assert stage.disk.state("w/x") == "unconfirmed"
        assert not stage.starts
        stage.controller.lose_answers_to = set()
        await stage.until(lambda: "w/x" in stage.controller.ends())
        assert len(stage.starts) == 1
        await stage.kill()

    play(story)


def test_an_offer_that_was_withdrawn_is_forgotten():
    async def story() -> None:
        stage = Stage()
        stage.controller.lose_answers_to = {"ack"}
        stage.controller.offer("a", task("x"))
        stage.start()
        await stage.until(lambda: bool(stage.disk.rows("tasks")))
        stage.controller.withdrawn.add("a")
        stage.controller.confirmed.clear()
        stage.controller.lose_answers_to = set()
        await stage.until(lambda: not stage.disk.rows("tasks"))
        assert not stage.starts
        assert [kind for kind, _, _ in stage.disk.events("dropped")] == ["dropped"]
        assert not stage.controller.ends()
        await stage.kill()

    play(story)


def test_an_offer_that_comes_twice_runs_once():
    async def story() -> None:
        stage = Stage()
        stage.controller.offer("a", task("x"))
        stage.start()
        await stage.until(lambda: "w/x" in stage.controller.ends())
        stage.controller.confirmed.clear()  # a controller that forgot offers it again
        await stage.until(lambda: "a" in stage.controller.confirmed)
        await asyncio.sleep(60)
        assert len(stage.starts) == 1
        await stage.kill()

    play(story)


def test_a_newer_generation_replaces_a_run_but_only_once_that_has_ended():
    async def story() -> None:
        stage = Stage()
        stage.controller.offer("a", task("x", 1000))
        stage.start()
        await stage.until(lambda: stage.disk.state("w/x") == "running")
        stage.controller.withdrawn.add("a")
        stage.controller.offer("b", task("x", 5), generation=2)
        await stage.until(lambda: "w/x" in stage.controller.ends())
        assert stage.controller.ends()["w/x"] == [("succeeded", "")]
        events = [kind for kind, _, _ in stage.disk.events("ended", "bound")]
        assert events == ["bound", "ended", "bound", "ended"]
        last = max(stage.controller.reports)
        assert stage.controller.reports[last].generation == 2
        await stage.kill()

    play(story)


def test_the_answers_of_a_deposed_leader_are_ignored():
    async def story() -> None:
        stage = Stage()
        stage.controller.epoch = 5
        stage.start()
        await stage.until(lambda: bool(stage.controller.polls))
        await asyncio.sleep(10)
        stage.controller.epoch = 4
        stage.controller.offer("a", task("x"))
        await asyncio.sleep(60)
        assert not stage.disk.rows("tasks")
        refused = stage.disk.events("epoch_refused")
        assert refused
        assert refused[0][2] == {"epoch": 4, "known": 5}
        await stage.kill()
        stage.start()  # and this is remembered
        await asyncio.sleep(60)
        assert not stage.disk.rows("tasks")
        stage.controller.epoch = 6
        await stage.until(lambda: "w/x" in stage.controller.ends())
        await stage.kill()

    play(story)


def test_cut_off_it_works_through_what_it_holds_and_reports_on_return():
    async def story() -> None:
        stage = Stage()
        stage.controller.offer("a", task("x"), task("y", 30, after=["x"]))
        stage.start()
        await stage.until(lambda: stage.disk.state("w/x") == "running")
        stage.controller.reachable = False
        await stage.until(lambda: stage.disk.state("w/y") == "succeeded")
        assert "w/y" not in stage.controller.ends()
        stage.controller.reachable = True
        await stage.until(lambda: len(stage.controller.ends()) == 2)
        await stage.kill()

    play(story)


def test_behind_a_closed_fence_everything_ends_and_is_reported_so():
    async def story() -> None:
        stage = Stage(nodes=ONE_CORE)
        stage.controller.offer("a", task("x", 1000), task("y", 1000), fence_after_s=40.0)
        stage.controller.offer("b", task("z", 1000))  # without a fence: it is kept
        stage.start()
        await stage.until(lambda: "running" in {stage.disk.state(f"w/{n}") for n in "xy"})
        await asyncio.sleep(200)
        assert not stage.disk.events("fenced"), "contact renews the fence"
        stage.controller.reachable = False
        cut_s = stage.clock.monotonic_s()
        await stage.until(lambda: len(stage.disk.events("fenced")) == 2)
        assert stage.clock.monotonic_s() - cut_s <= 40.1
        stage.controller.reachable = True
        await stage.until(lambda: len(stage.controller.ends()) == 2)
        assert stage.controller.ends() == {
            "w/x": [("cancelled", "fenced")],
            "w/y": [("cancelled", "fenced")],
        }
        await stage.until(lambda: stage.disk.state("w/z") == "running")
        await stage.kill()

    play(story)


def test_a_fence_closes_on_a_dead_agent_and_its_next_life_knows():
    async def story() -> None:
        stage = Stage()
        stage.controller.offer("a", task("x", 1000), fence_after_s=40.0)
        stage.start()
        await stage.until(lambda: stage.disk.state("w/x") == "running")
        await stage.kill()
        await asyncio.sleep(100)
        assert stage.world is not None
        assert [s.reason for s in stage.world.statuses()] == ["fenced"]
        stage.controller.reachable = False
        stage.start()
        await stage.until(lambda: stage.disk.state("w/x") == "cancelled", 5)
        stage.controller.reachable = True
        await stage.until(lambda: "w/x" in stage.controller.ends())
        assert stage.controller.ends()["w/x"] == [("cancelled", "fenced")]
        assert len(stage.starts) == 1
        await stage.kill()

    play(story)


def test_after_a_reboot_a_fence_counts_as_closed():
    async def story() -> None:
        stage = Stage()
        stage.controller.offer("a", task("x", 50), fence_after_s=10_000.0)
        stage.controller.offer("b", task("y", 50))
        stage.start()
        await stage.until(lambda: stage.disk.state("w/x") == "running")
        await stage.kill()
        stage.controller.reachable = False
        stage.start(boot_id="b2")
        await stage.until(lambda: stage.disk.state("w/x") == "cancelled", 20)
        await stage.until(lambda: stage.disk.state("w/y") == "succeeded")
        await stage.kill()

    play(story)


def test_a_failed_attempt_is_repeated_later_each_time_and_then_given_up():
    async def story() -> None:
        stage = Stage(Faults(failures=1.0))
        stage.controller.offer("a", task("x", 0.5, max_attempts=3, backoff_s=10.0))
        stage.controller.offer("b", task("y", 1, after=["x"]))
        stage.start()
        await stage.until(lambda: "w/x" in stage.controller.ends())
        rows = [row for row in stage.disk.rows("events") if row["task"] == "w/x"]
        bound = [row["unix_s"] for row in rows if row["kind"] == "bound"]
        assert len(set(stage.starts)) == len(bound) == 3
        first, second = bound[1] - bound[0], bound[2] - bound[1]
        assert 10 <= first < 11.5
        assert 20 <= second < 21.5
        assert stage.controller.ends()["w/x"] == [("failed", "simulated failure")]
        waits = [r.reason for r in stage.controller.reports.values() if r.change == "waiting"]
        assert any("attempt 1 failed" in reason for reason in waits)
        await stage.kill()

    play(story)


def test_what_waits_for_a_failed_task_is_cancelled_with_the_reason():
    async def story() -> None:
        stage = Stage(Faults(start_failures=1.0))
        stage.controller.offer(
            "a", task("x", max_attempts=1), task("y", after=["x"]), task("z", after=["y"])
        )
        stage.start()
        await stage.until(lambda: len(stage.controller.ends()) == 3)
        ends = stage.controller.ends()
        assert ends["w/x"] == [("failed", "simulated start failure")]
        assert ends["w/y"] == [("cancelled", "w/x failed")]
        assert ends["w/z"] == [("cancelled", "w/y cancelled")]
        await stage.kill()

    play(story)


def test_cancel_ends_what_runs_and_what_waits():
    async def story() -> None:
        stage = Stage(nodes=ONE_CORE)
        stage.controller.offer("a", task("x", 1000), task("y", 1000), task("z", 5))
        stage.start()
        await stage.until(lambda: len(stage.starts) == 1)
        stage.controller.cancel = {"w/x", "w/y", "w/unknown"}
        await stage.until(lambda: len(stage.controller.ends()) == 3)
        assert stage.controller.ends() == {
            "w/x": [("cancelled", "cancelled")],
            "w/y": [("cancelled", "cancelled")],
            "w/z": [("succeeded", "")],
        }
        await stage.kill()

    play(story)


def test_drained_nodes_give_their_tasks_to_others_and_take_nothing_before_uncordon():
    async def story() -> None:
        stage = Stage(policy="first-fit")
        stage.controller.offer("a", task("x", 50, max_attempts=1), task("y", 50))
        agent = stage.start()
        await stage.until(lambda: stage.disk.state("w/x") == "running")
        await agent.drain("n0")
        await stage.until(lambda: len(stage.disk.events("bound")) == 4)
        nodes = [data["node"] for _, _, data in stage.disk.events("bound")]
        assert nodes == ["n0", "n0", "n1", "n1"]
        await stage.kill()
        agent = stage.start()  # a cordon is remembered
        stage.controller.offer("b", task("z", 1))
        await stage.until(lambda: "w/z" in stage.controller.ends())
        assert stage.disk.events("bound")[-1][2]["node"] == "n1"
        await agent.uncordon("n0")
        stage.controller.offer("c", task("v", 1))
        await stage.until(lambda: len(stage.controller.ends()) == 4)
        assert stage.disk.events("bound")[-1][2]["node"] == "n0"
        assert stage.controller.ends()["w/x"] == [("succeeded", "")]
        await stage.kill()

    play(story)


@pytest.mark.parametrize(
    ("offered", "reason"),
    [
        (task("x", cpu_milli=9_000_000), "no node can ever hold"),
        (task("x", gpu_count=1, gpu_milli=1000), "no node can ever hold"),
        (task("x", gpu_count=2, gpu_milli=500), "gpu_milli"),
        (task("x", gpu_milli=500), "gpu_milli"),
        (task("x", command=["a\0b"]), "without NUL"),
        (task("x", after=["x"]), "in a circle"),
        (task("x", after=["nobody"]), "predecessor w/nobody is not known here"),
    ],
    ids=lambda value: str(value)[:20] if isinstance(value, str) else "",
)
def test_what_can_never_run_here_is_refused_with_the_reason(offered: wire.OfferedTask, reason: str):
    async def story() -> None:
        stage = Stage()
        stage.controller.offer("bad", offered)
        stage.controller.offer("good", task("ok", 1))
        stage.start()
        await stage.until(lambda: "w/ok" in stage.controller.ends())
        assert reason in stage.controller.refused["bad"]
        assert [row["uid"] for row in stage.disk.rows("tasks")] == ["w/ok"]
        await stage.kill()

    play(story)


def test_offers_may_come_before_those_that_they_wait_for():
    async def story() -> None:
        stage = Stage()
        stage.controller.offer("a", task("last", 1, after=["middle"]))
        stage.controller.offer("b", task("middle", 1, after=["first"]))
        stage.controller.offer("c", task("first", 1), task("alone", 1))
        stage.start()
        await stage.until(lambda: len(stage.controller.ends()) == 4)
        assert not stage.controller.refused
        assert {ends[0][0] for ends in stage.controller.ends().values()} == {"succeeded"}
        await stage.kill()

    play(story)


def test_gpus_without_a_share_are_whole_ones():
    async def story() -> None:
        node = Node("n0", Resources(4000, 4096, 2, 1000), gpu_model="H100")
        stage = Stage(nodes=(node,))
        stage.controller.offer(
            "a", *(task(f"t{i}", 10, gpu_count=1, gpu_models=["H100"]) for i in range(3))
        )
        stage.controller.offer("b", task("x", gpu_count=1, gpu_models=["T4"]))
        agent = stage.start()
        await stage.until(lambda: len(stage.starts) == 2)
        await asyncio.sleep(5)
        assert len(stage.starts) == 2, "two GPUs, two tasks"
        assert (await agent.status())["nodes"][0]["gpu_free"] == 0
        assert {data["gpus"] for _, _, data in stage.disk.events("bound")} == {1, 2}
        await stage.until(lambda: len(stage.controller.ends()) == 3)
        assert "of T4" in stage.controller.refused["b"]
        await stage.kill()

    play(story)


def test_a_full_agent_refuses_more():
    async def story() -> None:
        stage = Stage(max_tasks=3)
        stage.controller.offer("a", task("x", 100), task("y", 100))
        stage.start()
        await stage.until(lambda: stage.disk.state("w/y") == "running")
        stage.controller.offer("b", task("u"), task("v"))
        await stage.until(lambda: "b" in stage.controller.refused)
        assert stage.controller.refused["b"] == "full: 2 tasks offered, room for 1"
        await stage.kill()

    play(story)


def test_sync_drops_what_is_not_ours_and_says_what_is():
    async def story() -> None:
        stage = Stage(nodes=ONE_CORE)
        stage.controller.offer("a", task("x", 1000), task("y", 1000), task("z", 5))
        stage.start()
        await stage.until(lambda: len(stage.starts) == 1)
        stage.controller.drop = {"w/x", "w/y"}
        await stage.until(lambda: "w/z" in stage.controller.ends())
        assert set(stage.controller.ends()) == {"w/z"}
        assert stage.controller.syncs[-1].held == {"a": 1}
        assert {row["uid"] for row in stage.disk.rows("tasks")} == {"w/z"}
        await stage.kill()

    play(story)


def test_waiting_tasks_tell_why_once():
    async def story() -> None:
        stage = Stage(nodes=ONE_CORE)
        stage.controller.offer("a", task("x", 100), task("y", 100))
        stage.start()
        await asyncio.sleep(90)
        waits = [r for r in stage.controller.reports.values() if r.change == "waiting"]
        assert [r.reason for r in waits] == ["0/1 nodes can take it: Insufficient cpu"]
        await stage.kill()

    play(story)


def test_the_queue_goes_by_priority_then_arrival_then_rank():
    async def story() -> None:
        stage = Stage(nodes=ONE_CORE)
        stage.controller.offer("a", task("first", 30))
        stage.start()
        await stage.until(lambda: len(stage.starts) == 1)
        stage.controller.offer("b", task("short", 1, rank_s=10), task("long", 1, rank_s=11))
        await asyncio.sleep(7)
        stage.controller.offer("c", task("later", 1, rank_s=1000))
        stage.controller.offer("d", task("urgent", 1, rank_s=0), priority=5)
        await stage.until(lambda: len(stage.controller.ends()) == 5)
        order = [uid for _, uid, _ in stage.disk.events("bound")]
        assert order == ["w/first", "w/urgent", "w/long", "w/short", "w/later"]
        await stage.kill()

    play(story)


def test_a_bid_is_made_from_what_the_agent_knows():
    async def story() -> None:
        stage = Stage()
        ask = {"tasks": 1, "core_s": 100.0, "critical_path_s": 100.0, "largest_memory_mib": 10}
        stage.start()
        await asyncio.sleep(1)
        stage.controller.auctions = [
            wire.Auction(auction="idle", largest_cpu_milli=1000, **ask),
            wire.Auction(auction="huge", largest_cpu_milli=50_000, **ask),
        ]
        await stage.until(lambda: bool(stage.controller.bids))
        stage.controller.offer("a", *(task(f"t{i}", 1000) for i in range(40)))
        await stage.until(lambda: len(stage.starts) == 8)
        stage.controller.auctions = [
            wire.Auction(auction="busy", largest_cpu_milli=1000, **ask),
        ]
        await stage.until(lambda: len(stage.controller.bids) == 2)
        idle, busy = stage.controller.bids
        assert (idle.auction, busy.auction) == ("idle", "busy")
        assert idle.value > busy.value
        assert busy.finish_s >= 100 + 40 * 1000 / 8
        await stage.kill()

    play(story)


def test_two_agents_with_one_id_the_second_is_refused_and_starts_nothing():
    async def story() -> None:
        stage = Stage()
        stage.controller.identities.add("somebody else's secret")
        stage.controller.offer("a", task("x"))
        agent = stage.start()
        await asyncio.sleep(60)
        assert not stage.starts
        status = await agent.status()
        assert "Another agent has this id" in status["controller"]["problem"]
        await stage.kill()

    play(story)


def test_a_full_disk_stops_nothing_that_runs_and_is_survived():
    async def story() -> None:
        stage = Stage()
        stage.controller.offer("a", task("x", 20))
        stage.start()
        await stage.until(lambda: stage.disk.state("w/x") == "running")
        stage.disk.full = True
        stage.controller.offer("b", task("y", 5))
        await asyncio.sleep(60)
        assert "b" not in stage.controller.confirmed, "what is not stored is not acked"
        stage.disk.full = False
        await stage.until(lambda: len(stage.controller.ends()) == 2)
        assert len(stage.starts) == len(set(stage.starts)) == 2
        await stage.kill()

    play(story)
