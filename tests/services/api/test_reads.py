"""Lists are pages, details are complete, and what is not there is not found."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from cerebrum.services import wire
from cerebrum.services.api.events import MAX_STREAMS
from cerebrum.services.api.logs import agent_key
from tests.services.api.worlds import HELLO, IDENTITY, World, tell


async def submit(world: World, **changes: Any) -> str:
    answer = await world.http.post("/api/v1/workflows", json=HELLO | changes)
    assert answer.status_code == 202, answer.text
    return answer.json()["id"]


async def run_task_a(world: World, workflow: str) -> str:
    """Plan, offer, ack and end task `a` as an agent would; its run id."""
    await world.controller.plan_once()
    who: dict[str, Any] = {"cluster": "east", "identity": IDENTITY, "epoch": 1}
    (offer,) = (await world.controller.poll(wire.Poll(**who))).offers
    await world.controller.ack(wire.Ack(**who, stored=[(offer.assignment, offer.generation)]))
    run = "cb-" + "0" * 24
    common: dict[str, Any] = {"uid": f"{workflow}/a", "generation": 1, "node": "node-0",
                              "run_id": run, "attempt": 1}  # fmt: skip
    reports = [
        wire.TaskReport(seq=1, change="running", **common),
        wire.TaskReport(seq=2, change="succeeded", exit_code=0, energy_j=5.0, **common),
    ]
    await world.controller.report(wire.Report(**who, reports=reports))
    return run


async def pages(world: World, path: str, **query: Any) -> list[list[dict[str, Any]]]:
    found: list[list[dict[str, Any]]] = []
    while True:
        answer = await world.http.get(path, params=query)
        assert answer.status_code == 200, answer.text
        page = answer.json()
        found.append(page["items"])
        if page["next"] is None:
            return found
        query["cursor"] = page["next"]


def test_pages_hold_everything_once_although_more_arrives(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        ids = [await submit(world) for _ in range(7)]
        first = (await world.http.get("/api/v1/workflows", params={"limit": 3})).json()
        await submit(world)
        rest = await pages(world, "/api/v1/workflows", limit=3, cursor=first["next"])
        assert [len(page) for page in rest] == [3, 1]
        seen = [item["id"] for page in [first["items"], *rest] for item in page]
        assert seen == sorted(ids, reverse=True)

        tasks = await pages(world, "/api/v1/tasks", limit=5)
        assert len({task["uid"] for page in tasks for task in page}) == 16

    tell(tmp_path, story)


@pytest.mark.parametrize("cursor", ["x", "e30", "WzEsMl0", "bnVsbA", "W1tbW10", "Ww", "é"])
def test_a_cursor_nobody_gave_is_refused(cursor: str, tmp_path: Path) -> None:
    async def story(world: World) -> None:
        for path in ("/api/v1/workflows", "/api/v1/tasks", "/api/v1/clusters"):
            answer = await world.http.get(path, params={"cursor": cursor})
            assert answer.status_code == 422, answer.text

    tell(tmp_path, story)


def test_a_task_shows_where_it_ran_and_all_that_happened(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await world.register("east")
        workflow = await submit(world)
        run = await run_task_a(world, workflow)
        task = (await world.http.get(f"/api/v1/tasks/{workflow}/a")).json()
        assert (task["state"], task["cluster"], task["node"], task["run_id"]) == (
            "succeeded", "east", "node-0", run,
        )  # fmt: skip
        kinds = [event["kind"] for event in task["events"]]
        assert kinds == ["assigned", "offered", "held", "running", "succeeded"]
        behind = (await world.http.get(f"/api/v1/tasks/{workflow}/b")).json()
        assert behind["after"] == [f"{workflow}/a"]

        shown = (await world.http.get(f"/api/v1/workflows/{workflow}")).json()
        assert (shown["succeeded"], shown["unended"], shown["energy_j"]) == (1, 1, 5.0)
        assert shown["clusters"] == {"east": 2}
        assert [part["cluster"] for part in shown["parts"]] == ["east"] * len(shown["parts"])
        (given,) = (await world.http.get("/api/v1/assignments")).json()["items"]
        assert (given["workflow"], given["state"], given["tasks"]) == (workflow, "held", 2)
        (cluster,) = (await world.http.get("/api/v1/clusters")).json()["items"]
        assert cluster["tasks"] == {"held": 1}
        (node,) = (await world.http.get("/api/v1/nodes")).json()["items"]
        assert (node["name"], node["cpu_milli"]) == ("node-0", 4000)

    tell(tmp_path, story)


def test_what_is_not_there_is_not_found(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await submit(world)
        for path in (
            "/api/v1/workflows/w-none", "/api/v1/workflows/w-none/tasks",
            "/api/v1/workflows/w-none/spec", "/api/v1/tasks/w-none/a", "/api/v1/tasks/a",
            "/api/v1/logs/w-none/a", "/api/v1/clusters/none", "/api/v1/tasks?workflow=w-none",
            "/api/v1/events?stream=false&workflow=w-none", "/nothing", "/api/v1/workflows/",
        ):  # fmt: skip
            answer = await world.http.get(path)
            assert answer.status_code == 404, path
            assert answer.headers["content-type"] == "application/problem+json"
        for path in ("workflows/w-none/cancel", "cancel/w-none/a", "clusters/none/drain"):
            assert (await world.http.post(f"/api/v1/{path}")).status_code == 404, path

    tell(tmp_path, story)


def test_cancel_a_task_and_a_workflow(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        first, second = await submit(world), await submit(world)
        assert (await world.http.post(f"/api/v1/cancel/{first}/b")).status_code == 202
        assert (await world.http.delete(f"/api/v1/workflows/{second}")).status_code == 202
        states = (await world.http.get(f"/api/v1/workflows/{first}/tasks")).json()["items"]
        assert [task["state"] for task in states] == ["pending", "cancelled"]
        assert (await world.http.get(f"/api/v1/workflows/{second}")).json()["state"] == "cancelled"

    tell(tmp_path, story)


def test_logs_come_from_the_agent_that_ran_it(tmp_path: Path) -> None:
    asked: list[httpx.Request] = []

    def agent(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(200, content=b"x" * 3 * 2**20)

    async def story(world: World) -> None:
        await world.register("east", url="http://agent:8001")
        workflow = await submit(world)
        before = await world.http.get(f"/api/v1/logs/{workflow}/a")
        assert before.status_code == 404
        run = await run_task_a(world, workflow)
        world.app.state.agents = httpx.AsyncClient(transport=httpx.MockTransport(agent))
        answer = await world.http.get(f"/api/v1/logs/{workflow}/a?stream=stderr")
        assert answer.status_code == 200
        assert len(answer.content) == 2**20, "no agent can make us hold more"
        (request,) = asked
        assert request.url.path == f"/api/v1/runs/{run}/logs"
        assert request.headers["authorization"] == f"Bearer {agent_key(IDENTITY)}"
        assert request.url.params["stream"] == "stderr"

    tell(tmp_path, story)


def test_an_agent_that_does_not_answer_is_no_error_of_ours(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await world.register("east", url="http://127.0.0.1:1")
        workflow = await submit(world)
        await run_task_a(world, workflow)
        answer = await world.http.get(f"/api/v1/logs/{workflow}/a")
        assert answer.status_code == 502
        assert answer.json()["title"] == "an agent did not answer"

    tell(tmp_path, story)


def test_events_as_a_page_go_on_where_they_ended(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        first, second = await submit(world), await submit(world)
        page = (await world.http.get("/api/v1/events?stream=false&limit=2")).json()
        assert [event["kind"] for event in page["items"]] == ["elected", "submitted"]
        rest = await world.http.get(f"/api/v1/events?stream=false&after={page['next']}")
        assert [event["workflow"] for event in rest.json()["items"]] == [second]
        of_one = await world.http.get(f"/api/v1/events?stream=false&workflow={first}")
        assert {event["workflow"] for event in of_one.json()["items"]} == {first}

    tell(tmp_path, story)


async def stream(world: World, path: str, count: int, headers: dict[str, str]) -> list[Any]:
    """The first events of a stream. (The transport of httpx would wait for its end.)"""
    found: list[Any] = []
    enough, given = asyncio.Event(), {"host": "127.0.0.1"} | headers
    scope = {
        "type": "http", "http_version": "1.1", "method": "GET", "scheme": "http",
        "path": path, "raw_path": path.encode(), "query_string": b"", "root_path": "",
        "headers": [(name.encode(), value.encode()) for name, value in given.items()],
        "server": ("127.0.0.1", 80), "client": ("127.0.0.1", 1),
    }  # fmt: skip

    async def receive() -> dict[str, Any]:
        await enough.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        lines = message.get("body", b"").decode().splitlines()
        found.extend(json.loads(line[6:]) for line in lines if line.startswith("data: "))
        if len(found) >= count:
            enough.set()

    await asyncio.wait_for(world.app(scope, receive, send), 30)
    return found


def test_a_stream_goes_on_after_the_last_event_seen(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        first = await submit(world)

        async def later() -> str:
            await asyncio.sleep(0.2)
            return await submit(world)

        adding = asyncio.create_task(later())
        found = await stream(world, "/api/v1/events", 2, {"last-event-id": "1"})
        assert [event["workflow"] for event in found] == [first, await adding]
        assert world.app.state.streams == set(), "a stream that ended is not counted"

    tell(tmp_path, story)


def test_streams_are_bounded(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        world.app.state.streams.update(range(MAX_STREAMS))
        answer = await world.http.get("/api/v1/events")
        assert answer.status_code == 429
        assert answer.headers["retry-after"] == "10"

    tell(tmp_path, story)


def test_policies_are_described(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        found = (await world.http.get("/api/v1/policies")).json()["items"]
        names = {(policy["role"], policy["name"]) for policy in found}
        assert {("decomposition", "louvain"), ("assignment", "heft"), ("placement", "fgd")} <= names
        assert all(policy["about"] for policy in found)

    tell(tmp_path, story)


def test_metrics_have_no_ids_in_labels(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await world.register("east")
        workflow = await submit(world)
        await world.http.get(f"/api/v1/workflows/{workflow}")
        await world.http.get("/wp-login.php")
        text = (await world.http.get("/metrics")).text
        assert workflow not in text
        assert "wp-login" not in text
        assert 'route="/api/v1/workflows/{id}",status="200"} 1.0' in text
        assert 'cerebrum_workflows{state="pending"} 1.0' in text
        assert "cerebrum_tasks_unended 2.0" in text
        assert "cerebrum_leader 1.0" in text

    tell(tmp_path, story)


def test_the_documentation_needs_nothing_from_elsewhere(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        page = await world.http.get("/docs")
        assert "default-src 'none'" in page.headers["content-security-policy"]
        assert "://" not in page.text
        for asset in ("docs.js", "swagger-ui-bundle.js", "swagger-ui.css"):
            assert f'"/docs/{asset}"' in page.text
            assert (await world.http.get(f"/docs/{asset}")).status_code == 200
        assert (await world.http.get("/docs/redoc.standalone.js")).status_code == 404
        spec = (await world.http.get("/openapi.json")).json()
        assert spec["openapi"].startswith("3.1")
        text = json.dumps(spec)
        refs = {ref.split('"')[0] for ref in text.split('"#/components/schemas/')[1:]}
        assert refs <= spec["components"]["schemas"].keys()

    tell(tmp_path, story)


def test_a_follower_sends_who_writes_to_the_leader_and_reads_itself(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        answer = await world.http.post("/api/v1/workflows", json=HELLO)
        assert answer.status_code == 503
        assert int(answer.headers["retry-after"]) >= 1
        world.controller.leader.leader_url = "http://leader:8000"
        answer = await world.http.post("/api/v1/workflows?a=b", json=HELLO)
        assert answer.status_code == 307
        assert answer.headers["location"] == "http://leader:8000/api/v1/workflows?a=b"
        assert (await world.http.get("/api/v1/workflows")).status_code == 200
        assert (await world.http.get("/readyz")).json() == {"status": "ready", "leader": False}

    tell(tmp_path, story, leads=False)


def test_what_nobody_foresaw_is_logged_with_an_id_and_not_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def story(world: World) -> None:
        async def broken(*_: object, **__: object) -> None:
            raise RuntimeError("a secret of the inside")

        monkeypatch.setattr(world.controller, "submit", broken)
        answer = await world.http.post("/api/v1/workflows", json=HELLO)
        assert answer.status_code == 500
        assert "secret" not in answer.text
        assert answer.json()["id"] in capsys.readouterr().out

    tell(tmp_path, story)
