"""Who may do what: tokens, scopes, tenants, clusters; and what happens without any."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from cerebrum.model.errors import ConfigError, NotFound
from cerebrum.services.api.auth import Scope, Tokens, hashed, is_loopback
from cerebrum.services.api.serve import check_exposure
from cerebrum.services.clock import MachineClock
from cerebrum.services.store.database import Database
from cerebrum.services.store.schema import tokens as table
from tests.services.api.worlds import HELLO, IDENTITY, World, tell

READS = ("/api/v1/workflows", "/api/v1/tasks", "/api/v1/clusters", "/api/v1/events?stream=false")


def test_without_a_token_nothing_but_health_and_documentation(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await world.tokens.create("op", Scope.OPERATOR)
        for path in (*READS, "/metrics", "/api/v1/policies"):
            answer = await world.http.get(path)
            assert answer.status_code == 401, path
            assert answer.headers["www-authenticate"].startswith("Bearer")
        for path in ("/api/v1/workflows", "/submit_workflow", "/ingest", "/register_lca"):
            assert (await world.http.post(path, json=HELLO)).status_code == 401, path
        for path in ("/healthz", "/readyz", "/docs", "/openapi.json", "/api/v1/version"):
            assert (await world.http.get(path)).status_code == 200, path

    tell(tmp_path, story)


@pytest.mark.parametrize(
    "header", ["Bearer wrong", "Bearer ", "Basic b3A6b3A=", "Bearer " + "x" * 5000, "bearer\tx"]
)
def test_a_wrong_token_is_worth_nothing(header: str, tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await world.tokens.create("op", Scope.OPERATOR)
        answer = await world.http.get("/api/v1/workflows", headers={"authorization": header})
        assert answer.status_code == 401

    tell(tmp_path, story)


def test_each_scope_may_what_it_says(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await world.register("east")
        who = {
            "viewer": await world.token(Scope.VIEWER),
            "submitter": await world.token(Scope.SUBMITTER, tenant="blue"),
            "operator": await world.token(Scope.OPERATOR),
            "agent": await world.token(Scope.AGENT, cluster="east"),
        }
        poll = {"cluster": "east", "identity": IDENTITY, "epoch": 1}
        asked: list[tuple[str, str, Any, set[str]]] = [
            ("GET", "/api/v1/workflows", None, {"viewer", "submitter", "operator"}),
            ("GET", "/metrics", None, {"viewer", "operator"}),
            ("POST", "/api/v1/workflows", HELLO, {"submitter", "operator"}),
            ("POST", "/api/v1/clusters/east/drain", None, {"operator"}),
            ("POST", "/api/v1/agents/poll", poll, {"agent"}),
        ]
        for method, path, body, allowed in asked:
            for name, headers in who.items():
                answer = await world.http.request(method, path, json=body, headers=headers)
                assert (answer.status_code < 300) == (name in allowed), (path, name, answer.text)
                assert name in allowed or answer.status_code == 403

    tell(tmp_path, story)


def test_a_tenant_sees_and_ends_its_own_only(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        blue = await world.token(Scope.SUBMITTER, tenant="blue")
        red = await world.token(Scope.SUBMITTER, tenant="red")
        operator = await world.token(Scope.OPERATOR)
        answer = await world.http.post("/api/v1/workflows", json=HELLO, headers=blue)
        workflow = answer.json()["id"]
        assert answer.json()["tenant"] == "blue"
        for path in (
            f"/api/v1/workflows/{workflow}", f"/api/v1/workflows/{workflow}/tasks",
            f"/api/v1/workflows/{workflow}/spec", f"/api/v1/tasks/{workflow}/a",
            f"/api/v1/logs/{workflow}/a", f"/api/v1/events?stream=false&workflow={workflow}",
            f"/api/v1/tasks?workflow={workflow}", f"/api/v1/events?workflow={workflow}",
        ):  # fmt: skip
            assert (await world.http.get(path, headers=red)).status_code == 404, path
        for path in ("/api/v1/workflows", "/api/v1/tasks", "/api/v1/assignments",
                     "/api/v1/workflows?tenant=blue"):  # fmt: skip
            assert (await world.http.get(path, headers=red)).json()["items"] == [], path
        seen = await world.http.get("/api/v1/events?stream=false", headers=red)
        assert seen.json()["items"] == []
        for method, path in (
            ("POST", f"workflows/{workflow}/cancel"), ("DELETE", f"workflows/{workflow}"),
            ("POST", f"cancel/{workflow}/a"),
        ):  # fmt: skip
            answer = await world.http.request(method, f"/api/v1/{path}", headers=red)
            assert answer.status_code == 404, path
        assert len((await world.http.get("/api/v1/workflows", headers=operator)).json()["items"])
        ended = await world.http.post(f"/api/v1/workflows/{workflow}/cancel", headers=blue)
        assert ended.status_code == 202

    tell(tmp_path, story)


def test_one_tenants_key_is_not_anothers(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        answers = []
        for tenant in ("blue", "red"):
            headers = await world.token(Scope.SUBMITTER, tenant=tenant)
            headers["idempotency-key"] = "same"
            body = HELLO | {"name": tenant}
            answers.append(await world.http.post("/api/v1/workflows", json=body, headers=headers))
        assert [answer.status_code for answer in answers] == [202, 202]

    tell(tmp_path, story)


def test_an_agent_speaks_for_its_own_cluster_only(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        east = await world.token(Scope.AGENT, cluster="east")
        west = {"cluster": "west", "identity": IDENTITY, "epoch": 0}
        bodies = {
            "register": west | {"nodes": []},
            "poll": west,
            "ack": west | {"stored": []},
            "report": west | {"reports": []},
            "sync": west | {"held": {}, "tasks": {}},
        }
        for name, body in bodies.items():
            answer = await world.http.post(f"/api/v1/agents/{name}", json=body, headers=east)
            assert answer.status_code == 403, name
            assert "'east'" in answer.json()["detail"]
        body = {"cluster_id": "west", "lca_url": "http://x", "state": {"nodes": []}}
        assert (await world.http.post("/register_lca", json=body, headers=east)).status_code == 403

    tell(tmp_path, story)


def test_a_revoked_token_ends_at_once_here_and_in_two_seconds_elsewhere(tmp_path: Path) -> None:
    class Ticks(MachineClock):
        now_s = 0.0

        def monotonic_s(self) -> float:
            return self.now_s

    async def story() -> None:
        clock = Ticks()
        async with Database(f"sqlite:///{tmp_path}/t.db") as store:
            here, elsewhere = Tokens(store, clock), Tokens(store, clock)
            secret = await here.create("op", Scope.OPERATOR)
            assert await elsewhere.caller(secret) is not None
            await here.revoke("op")
            assert await here.caller(secret) is None
            clock.now_s = 2.0
            assert await elsewhere.caller(secret) is None
            assert not await here.open(), "who had a token stays protected"
            with pytest.raises(NotFound, match="'op'"):
                await here.revoke("op")

    asyncio.run(story())


def test_only_the_hash_is_stored(tmp_path: Path) -> None:
    async def story() -> None:
        async with Database(f"sqlite:///{tmp_path}/t.db") as store:
            tokens = Tokens(store, MachineClock())
            secret = await tokens.create("op", Scope.OPERATOR)
            (row,) = await store.read(lambda connection: connection.execute(table.select()).all())
            assert secret not in map(str, row)
            assert row.hash == hashed(secret)
            assert len(secret) >= 43, "256 bits"

    asyncio.run(story())


@pytest.mark.parametrize(
    ("scope", "bound", "field"),
    [
        (Scope.AGENT, {}, "cluster"),
        (Scope.SUBMITTER, {}, "tenant"),
        (Scope.OPERATOR, {"tenant": "a"}, "tenant"),
        (Scope.VIEWER, {"cluster": "a"}, "cluster"),
    ],
)
def test_a_token_is_bound_to_what_its_scope_needs(
    scope: Scope, bound: dict[str, str], field: str, tmp_path: Path
) -> None:
    async def story() -> None:
        async with Database(f"sqlite:///{tmp_path}/t.db") as store:
            with pytest.raises(ConfigError, match=f"^{field}:"):
                await Tokens(store, MachineClock()).create("x", scope, **bound)

    asyncio.run(story())


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("127.0.0.1", True), ("::1", True), ("[::1]", True), ("localhost", True), ("127.8.8.8", True),
     ("0.0.0.0", False), ("::", False), ("10.0.0.1", False), ("localhost.evil.com", False),
     ("127.0.0.1.evil.com", False), ("", False)],
)  # fmt: skip
def test_what_is_loopback(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback


def test_no_server_is_open_to_the_network(tmp_path: Path) -> None:
    async def story() -> None:
        async with Database(f"sqlite:///{tmp_path}/t.db") as store:
            tokens = Tokens(store, MachineClock())
            await check_exposure("127.0.0.1", tokens, "make one")
            with pytest.raises(ConfigError, match="make one"):
                await check_exposure("0.0.0.0", tokens, "make one")
            await tokens.create("op", Scope.OPERATOR)
            await check_exposure("0.0.0.0", tokens, "make one")

    asyncio.run(story())


def test_a_page_that_resolves_its_name_to_loopback_gets_nothing(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        assert (await world.http.get("/api/v1/workflows")).status_code == 403
        assert (await world.http.post("/api/v1/workflows", json=HELLO)).status_code == 403

    tell(tmp_path, story, base_url="http://evil.example")
