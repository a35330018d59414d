"""The extender's routes and the shadow's, as kube-scheduler and operators meet them."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from cerebrum.model.errors import ConfigError
from cerebrum.services.api import agent_app as module
from cerebrum.services.api.kubernetes import KubernetesCluster
from cerebrum.services.api.lca import AgentKeys
from cerebrum.services.api.settings import LcaSettings, load
from tests.executors.kubernetes.fake_api import FakeApi
from tests.executors.kubernetes.stage import scheduling, until

Story = Callable[[FakeApi, httpx.AsyncClient, Any], Awaitable[None]]


class World:
    """A cluster whose scheduler somebody else runs."""

    def __init__(self, scheduler: Any, **settings: Any) -> None:
        self.scheduler, self.election = scheduler, None
        self.settings = SimpleNamespace(**{"extender": True, "extender_open": False, **settings})
        self.executor = SimpleNamespace(inventory=None)
        self.trouble = ""

    def problem(self) -> str:
        return self.trouble

    def no_scheduler(self) -> str:
        return "there is none"


@asynccontextmanager
async def served(world: World, secret: str, host: str) -> AsyncIterator[httpx.AsyncClient]:
    agent = SimpleNamespace(rollout=None)
    app = module.agent_app(agent, AgentKeys(secret), world)  # type: ignore[arg-type]
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url=f"http://{host}") as http:
        yield http


def play(
    story: Story, secret: str = "", host: str = "127.0.0.1", mode: str = "off", **settings: Any
) -> None:
    async def run() -> None:
        async with FakeApi().serve() as api:
            api.node("n1")
            async with scheduling(api, mode=mode) as scheduler:
                world = World(scheduler, **settings)
                async with served(world, secret, host) as http:
                    await story(api, http, world)

    asyncio.run(run())


def question(api: FakeApi) -> dict[str, Any]:
    pod = api.pod("p", spec={"schedulerName": "default-scheduler"})
    return {"Pod": pod, "Nodes": None, "NodeNames": ["n1", "n2"]}


def test_a_pods_way_through_the_routes_with_the_names_that_go_knows() -> None:
    async def story(api: FakeApi, http: httpx.AsyncClient, world: Any) -> None:
        asked = question(api)
        said = (await http.post("/extender/filter", json=asked)).json()
        assert said == {
            "NodeNames": ["n1"], "Nodes": None, "Error": "", "FailedAndUnresolvableNodes": {},
            "FailedNodes": {"n2": "node(s) not known to Cerebrum yet"},
        }  # fmt: skip
        said = (await http.post("/extender/prioritize", json=asked)).json()
        assert said == [{"Host": "n1", "Score": 10}]
        meta = asked["Pod"]["metadata"]
        bind = {
            "PodName": "p", "PodNamespace": "default", "PodUID": meta["uid"], "Node": "n1",
        }  # fmt: skip
        assert (await http.post("/extender/bind", json=bind)).json() == {"Error": ""}
        assert api.where() == {"default/p": "n1"}
        preempt = {"Pod": asked["Pod"], "NodeNameToMetaVictims": {"n1": {"Pods": None}}}
        said = (await http.post("/extender/preempt", json=preempt)).json()
        assert said == {"NodeNameToMetaVictims": {}}

    play(story)


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"[]", b"null", b"{}", b'{"Pod": 3}', b'{"Pod": {}, "NodeNames": {}}',
        b'{"Pod": {"spec": {"nodeName": 5}}, "NodeNames": []}', b'{"Pod": {}, "NodeNames": [1]}',
        b'{"Pod": {}, "Nodes": {"items": [{}]}}', b'{"Pod": {}, "NodeNames": ["\xff"]}', b"\xff",
        b"[" * 100_000,
        b'{"Pod": {}, "NodeNames": [' + b'"n",' * 60_000 + b'"n"]}',
    ],
)  # fmt: skip
def test_a_wrong_body_is_a_400_with_a_reason(body: bytes) -> None:
    async def story(api: FakeApi, http: httpx.AsyncClient, world: Any) -> None:
        for verb in ("filter", "prioritize", "bind", "preempt"):
            if verb == "preempt" and body.startswith(b'{"Pod": {}'):
                continue  # fields of another question are ignored, as Go does
            answer = await http.post(f"/extender/{verb}", content=body)
            assert answer.status_code == 400, (verb, answer.text)
            assert answer.json()["detail"]

    play(story)


def test_an_oversized_body_is_refused_however_it_is_sent() -> None:
    async def story(api: FakeApi, http: httpx.AsyncClient, world: Any) -> None:
        async def parts() -> AsyncIterator[bytes]:
            for _ in range(40):
                yield b" " * 2**20

        answer = await http.post("/extender/filter", content=parts())
        assert answer.status_code == 413
        answer = await http.post("/extender/filter", content=b" " * (40 * 2**20))
        assert answer.status_code == 413

    play(story)


def test_without_a_picture_of_the_cluster_it_says_503() -> None:
    async def story(api: FakeApi, http: httpx.AsyncClient, world: Any) -> None:
        asked = question(api)
        world.trouble = "the API server has said nothing for 200 s"
        answer = await http.post("/extender/filter", json=asked)
        assert answer.status_code == 503
        assert "200 s" in answer.json()["detail"]
        world.trouble, world.scheduler = "", None
        assert (await http.post("/extender/filter", json=asked)).status_code == 503

    play(story)


def test_a_token_comes_as_the_password_that_go_takes_from_the_address() -> None:
    async def story(api: FakeApi, http: httpx.AsyncClient, world: Any) -> None:
        asked = question(api)

        async def status(given: str, verb: str = "filter") -> int:
            headers = {"Authorization": given} if given else {}
            return (await http.post(f"/extender/{verb}", json=asked, headers=headers)).status_code

        def basic(password: str) -> str:
            return "Basic " + base64.b64encode(f"kube-scheduler:{password}".encode()).decode()

        assert await status("") == 401
        assert await status(basic("wrong")) == 401
        assert await status("Basic !") == 401
        assert await status(basic("secret")) == 200
        assert await status("Bearer secret") == 200
        assert await status("", "bind") == 401

    play(story, secret="secret", host="agent.example")


def test_an_open_extender_answers_everybody_and_binds_for_nobody() -> None:
    async def story(api: FakeApi, http: httpx.AsyncClient, world: Any) -> None:
        asked = question(api)
        assert (await http.post("/extender/filter", json=asked)).status_code == 200
        bind = {"PodName": "p", "PodNamespace": "default", "PodUID": "u", "Node": "n1"}
        assert (await http.post("/extender/bind", json=bind)).status_code == 401

    play(story, secret="secret", host="agent.example", extender_open=True)


def test_without_the_option_there_is_no_extender() -> None:
    async def story(api: FakeApi, http: httpx.AsyncClient, world: Any) -> None:
        assert (await http.post("/extender/filter", json=question(api))).status_code == 404

    play(story, extender=False)


def test_the_shadow_is_reported_with_agreement_regret_and_the_last_pods() -> None:
    async def story(api: FakeApi, http: httpx.AsyncClient, world: Any) -> None:
        api.node("n2", cpu="16")
        held = world.scheduler.mirror.held
        for name, node in (("a", "n1"), ("b", "n2")):
            pod = api.pod(name, spec={"schedulerName": "default-scheduler"})
            await until(lambda pod=pod: pod["metadata"]["uid"] in held)
            await until(lambda pod=pod: held[pod["metadata"]["uid"]].node)
            pod["spec"]["nodeName"] = node
            api.put("/api/v1/pods", pod)
            await until(lambda pod=pod: held[pod["metadata"]["uid"]].phase.value == "bound")
        said = (await http.get("/api/v1/shadow")).json()
        assert (said["agreed"], said["differed"], said["agreement"]) == (1, 1, 0.5)
        assert [one["name"] for one in said["comparisons"]] == ["b", "a"]
        assert said["comparisons"][0]["ours"] == "n1"
        assert said["comparisons"][0]["theirs"] == "n2"
        assert len((await http.get("/api/v1/shadow?limit=1")).json()["comparisons"]) == 1
        assert (await http.get("/api/v1/shadow?limit=-1")).status_code == 422

    play(story, mode="shadow", extender=False)


def test_the_mode_is_switched_while_it_runs() -> None:
    async def story(api: FakeApi, http: httpx.AsyncClient, world: Any) -> None:
        api.pod("p")
        assert (await http.get("/api/v1/shadow")).json()["mode"] == "off"
        assert (await http.post("/api/v1/mode", json={"mode": "bound"})).status_code == 422
        answer = await http.post("/api/v1/mode", json={"mode": "bind"})
        assert answer.json() == {"mode": "bind"}
        await until(lambda: api.where()["default/p"] == "n1")
        world.settings.extender = True
        assert (await http.post("/api/v1/mode", json={"mode": "shadow"})).status_code == 409
        world.scheduler = None
        answer = await http.post("/api/v1/mode", json={"mode": "bind"})
        assert answer.status_code == 409

    play(story, extender=False)


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"extender": True, "mode": "shadow"}, "mode"),
        ({"extender": True, "policy": "min-min"}, "policy"),
        ({"extender_open": True}, "extender_open"),
        ({"extender_shortlist": 20}, "extender_shortlist"),
    ],
)
def test_an_extender_that_could_not_work_is_refused_at_the_start(
    tmp_path: Path, given: dict[str, Any], field: str
) -> None:
    settings = load(LcaSettings, cluster_id="k", executor="kubernetes", **given)
    with pytest.raises(ConfigError, match=field):
        KubernetesCluster(settings)
