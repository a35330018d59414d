"""A candidate assigner at a controller, and a candidate policy at a real agent, moved by people."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.durable_submissions import Server
from cerebrum.cli import run
from cerebrum.model.errors import ConfigError
from cerebrum.services.api.auth import Scope
from cerebrum.services.api.settings import GccSettings, LcaSettings, load
from cerebrum.services.client import CerebrumClient
from cerebrum.services.controller.settings import ControllerSettings
from cerebrum.services.rollouts import RolloutSettings
from tests.services.api.worlds import HELLO, World, tell
from tests.waiting import wait_until

MAD = """
class Mad:
    name = "mad"
    def assign(self, decomposition, clusters, network, placed=None, key=0):
        raise ZeroDivisionError("mad")
    def decide(self, snapshot):
        raise ZeroDivisionError("mad")
"""
ROUTE = "/api/v1/rollout"


async def planned(world: World, count: int = 6) -> list[str]:
    """Clusters of `count` workflows, planned one after the other."""
    if not world.controller.clusters():
        await world.register("east")
        await world.register("west")
    found = []
    for _ in range(count):
        answer = await world.http.post("/api/v1/workflows", json=HELLO)
        assert answer.status_code == 202
        await world.controller.plan_once()
        workflow = (await world.http.get(f"/api/v1/workflows/{answer.json()['id']}")).json()
        assert workflow["state"] == "running"
        found.append(workflow["assignment"])
    return found


def test_a_controller_without_a_candidate_says_so(tmp_path: Path):
    async def story(world: World) -> None:
        for answer in (
            await world.http.get(ROUTE), await world.http.post(ROUTE, json={"to": "on"}),
        ):  # fmt: skip
            assert answer.status_code == 404
            assert "--candidate" in answer.json()["detail"]

    tell(tmp_path, story)


def test_who_may_look_and_who_may_move(tmp_path: Path):
    async def story(world: World) -> None:
        viewer, operator = [await world.token(s) for s in (Scope.VIEWER, Scope.OPERATOR)]
        assert (await world.http.get(ROUTE)).status_code == 401
        assert (await world.http.get(ROUTE, headers=viewer)).status_code == 200
        body = {"to": "up", "reason": "ready"}
        assert (await world.http.post(ROUTE, json=body, headers=viewer)).status_code == 403
        moved = await world.http.post(ROUTE, json=body, headers=operator)
        assert moved.json()["mode"] == "canary"
        assert moved.json()["history"][-1]["by"].startswith("operator")
        for wrong in ({"to": "onn"}, {"to": "canary:2"}, {"to": ""}, {"up": 1}, {}):
            answer = await world.http.post(ROUTE, json=wrong, headers=operator)
            assert answer.status_code == 422, wrong

    tell(tmp_path, story, rollout=RolloutSettings("pack"))


@pytest.mark.parametrize(
    ("target", "deciders"), [("shadow", {"cerebrum"}), ("advise", {"cerebrum"}), ("on", {"pack"})]
)
def test_the_mode_says_whose_plan_counts(target: str, deciders: set[str], tmp_path: Path):
    async def story(world: World) -> None:
        assert set(await planned(world)) == deciders
        report = (await world.http.get(ROUTE)).json()
        assert report["answers"] == report["agreed"] + report["differed"] == 6
        text = (await world.http.get("/metrics")).text
        assert 'cerebrum_rollout_trips_total{reason="raised"} 0.0' in text
        assert f'cerebrum_rollout_mode{{mode="{target}"}} 1.0' in text

    tell(tmp_path, story, rollout=RolloutSettings("pack", target))


def test_a_candidate_that_raises_costs_no_workflow_and_its_fall_is_remembered(tmp_path: Path):
    (tmp_path / "mad.py").write_text(MAD)
    rollout = RolloutSettings(f"{tmp_path}/mad.py:Mad", "on")

    async def story(world: World) -> None:
        assert set(await planned(world)) == {"cerebrum"}
        events = (await world.http.get("/api/v1/events?stream=false")).json()["items"]
        fall = next(event for event in events if event["kind"] == "rollout_changed")
        assert "ZeroDivisionError: mad" in fall["data"]["reason"]

    async def again(world: World) -> None:
        report = (await world.http.get(ROUTE)).json()
        assert report["mode"] == "canary"
        assert report["trips"]["raised"] >= 5

    soon = ControllerSettings(leader_ttl_s=5.0)  # until then the second does not lead
    tell(tmp_path, story, rollout=rollout, settings=soon)
    tell(tmp_path, again, rollout=rollout, settings=soon)


def test_a_standby_shows_what_the_leader_stored_and_moves_nothing(tmp_path: Path):
    async def story(world: World) -> None:
        await world.http.post(ROUTE, json={"to": "on"})

    async def standby(world: World) -> None:
        assert (await world.http.get(ROUTE)).json()["mode"] == "on"
        moved = await world.http.post(ROUTE, json={"to": "off"})
        assert moved.status_code in (307, 503)
        assert (await world.http.get(ROUTE)).json()["mode"] == "on"

    rollout = RolloutSettings("pack")
    tell(tmp_path, story, rollout=rollout)
    tell(tmp_path, standby, rollout=rollout, leads=False)


@pytest.mark.parametrize("kind", [GccSettings, LcaSettings])
def test_settings_that_are_no_rollout_are_refused(kind: Any):
    given = {"cluster_id": "c"} if kind is LcaSettings else {}
    with pytest.raises(ConfigError, match="canary:SHARE"):
        load(kind, candidate="fgd", rollout="canary:7", **given)
    with pytest.raises(ConfigError, match="less than 1"):
        load(kind, candidate="fgd", explore=1.0, **given)


# -- a real agent ----------------------------------------------------------------------------


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    started: list[Server] = []

    def one(*arguments: str) -> Server:
        given = ("lca", "--cluster-id", "east", "--gcc-url", "", "--nodes", "2x2000m")
        started.append(Server.start(tmp_path, "lca", *given, *arguments))
        return started[-1]

    yield one
    for server in started:
        if server.process.poll() is None:
            server.kill()


@pytest.mark.slow
def test_a_promotion_that_was_answered_survives_sigkill(
    start: Callable[..., Server], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    candidate = ("--candidate", "worst-fit", "--rollout", "shadow")
    lca = start(*candidate)
    with CerebrumClient(lca.url) as client:
        client._json("POST", "/schedule_subgraph", json=HELLO)
        wait_until(lambda: client.rollout()["answers"] > 0)
    assert run(["policy", "promote", "--to", "canary:0.25", "--server", lca.url]) == 0
    lca.process.kill()
    assert "worst-fit: shadow -> canary:0.25" in capsys.readouterr().err
    lca.process.wait()
    lca = start(*candidate)
    assert run(["policy", "status", "--server", lca.url]) == 0
    shown = capsys.readouterr()
    assert "canary:0.25" in shown.out
    assert "shadow -> canary:0.25 by anonymous" in shown.err
    assert run(["policy", "promote", "--to", "shadow", "--server", lca.url]) == 2
    assert "use demote" in capsys.readouterr().err
    assert run(["policy", "demote", "--server", lca.url]) == 0
    assert run(["policy", "promote", "--to", "onn", "--server", lca.url]) == 2
    with CerebrumClient(lca.url) as client:
        assert client.rollout()["mode"] == "shadow"


@pytest.mark.slow
def test_a_mad_candidate_in_a_real_agent_costs_no_task(
    start: Callable[..., Server], tmp_path: Path
) -> None:
    (tmp_path / "mad.py").write_text(MAD)
    lca = start("--candidate", f"{tmp_path}/mad.py:Mad", "--rollout", "on")
    with CerebrumClient(lca.url) as client:
        for i in range(4):
            spec = HELLO | {"name": f"w{i}"}
            client._json("POST", "/schedule_subgraph", json=spec)
        done = lambda: client._json("GET", "/api/v1/snapshot")["counts"]["succeeded"] == 8  # noqa: E731
        wait_until(done)
        report = client.rollout()
    assert report["trips"]["raised"] >= 5
    assert report["mode"] != "on"
