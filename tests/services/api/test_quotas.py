"""Quotas over HTTP: who sees whose, who sets them, and that a submission feels them at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from cerebrum.services.api.auth import Scope
from cerebrum.services.controller import ControllerSettings
from tests.services.api.worlds import HELLO, World, tell

BLUE = "/api/v1/quotas/blue"


def test_a_quota_holds_from_the_next_submission_on_and_ends_nothing(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        operator = await world.token(Scope.OPERATOR)
        blue = await world.token(Scope.SUBMITTER, tenant="blue")
        assert (await world.http.get(BLUE, headers=operator)).json() == {
            "tenant": "blue", "tasks": 0, "limit": 50, "max_tasks": None,
        }  # fmt: skip
        first = await world.http.post("/api/v1/workflows", json=HELLO, headers=blue)
        set_ = await world.http.put(BLUE, json={"max_tasks": 1}, headers=operator)
        assert set_.status_code == 200
        assert set_.json() == {"tenant": "blue", "tasks": 2, "limit": 1, "max_tasks": 1}
        refused = await world.http.post("/api/v1/workflows", json=HELLO, headers=blue)
        assert (refused.status_code, "'blue'" in refused.text) == (429, True)
        there = f"/api/v1/workflows/{first.json()['id']}"
        assert (await world.http.get(there, headers=blue)).json()["unended"] == 2
        again = await world.http.put(BLUE, json={"max_tasks": None}, headers=operator)
        assert again.json() == {"tenant": "blue", "tasks": 2, "limit": 50, "max_tasks": None}
        accepted = await world.http.post("/api/v1/workflows", json=HELLO, headers=blue)
        assert accepted.status_code == 202

    tell(tmp_path, story, settings=ControllerSettings(leader_ttl_s=60.0, tenant_tasks=50))


def test_a_tenant_sees_its_own_quota_and_sets_none(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        operator = await world.token(Scope.OPERATOR)
        blue = await world.token(Scope.SUBMITTER, tenant="blue")
        for tenant in ("blue", "red"):
            path = f"/api/v1/quotas/{tenant}"
            await world.http.put(path, json={"max_tasks": 7}, headers=operator)
        assert (await world.http.get(BLUE, headers=blue)).json()["max_tasks"] == 7
        assert (await world.http.get("/api/v1/quotas/red", headers=blue)).status_code == 404
        answer = await world.http.put(BLUE, json={"max_tasks": 9}, headers=blue)
        assert answer.status_code == 403
        for headers, seen in ((blue, ["blue"]), (operator, ["blue", "red"])):
            listed = (await world.http.get("/api/v1/quotas", headers=headers)).json()["items"]
            assert [item["tenant"] for item in listed] == seen
        page = (await world.http.get("/api/v1/quotas?limit=1", headers=operator)).json()
        rest = await world.http.get(f"/api/v1/quotas?cursor={page['next']}", headers=operator)
        assert [item["tenant"] for item in rest.json()["items"]] == ["red"]

    tell(tmp_path, story)


@pytest.mark.parametrize(
    "body",
    [{}, {"max_tasks": -1}, {"max_tasks": "5"}, {"max_tasks": 1.5}, {"max_tasks": True},
     {"max_tasks": 2**60}, {"max_tasks": 1, "more": 2}, []],
)  # fmt: skip
def test_a_quota_that_is_none_is_refused(body: object, tmp_path: Path) -> None:
    async def story(world: World) -> None:
        answer = await world.http.put(BLUE, json=body)
        assert answer.status_code == 422, answer.text
        assert (await world.http.get(BLUE)).json()["max_tasks"] is None

    tell(tmp_path, story)


def test_a_standby_sends_who_sets_a_quota_to_the_leader_and_reads_itself(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        answer = await world.http.put(BLUE, json={"max_tasks": 1})
        assert answer.status_code in (307, 421, 503), answer.text
        assert (await world.http.get(BLUE)).status_code == 200

    tell(tmp_path, story, leads=False)
