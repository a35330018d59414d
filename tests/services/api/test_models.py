"""A server of models: the prototype's questions, and what it says to bad ones."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from cerebrum.policies import get_policy
from cerebrum.policies.learned import bid_schema
from cerebrum.policies.learned.artefact import Artefact
from cerebrum.policies.learned.auction import Auction
from cerebrum.services.api.models import OneToken, models_app
from cerebrum.services.scoring import Scoring
from tests.policies.learned import bidders
from tests.services.serving import served

README = {
    "cpu_request": 4.0,
    "memory_request": 8.0,
    "node_states": [
        {"node_id": "node-0", "cpu_available": 110.0, "memory_available": 20.0},
        {"node_id": "node-1", "cpu_available": 222.0, "memory_available": 6.0},
        {"node_id": "node-2", "cpu_available": 312.0, "memory_available": 30.0},
    ],
}
"""The example of the prototype's documentation; node-1 lacks memory."""


def tell(
    story: Callable[[httpx.AsyncClient], Awaitable[None]],
    artefact: Artefact | None = None,
    secret: str = "",
) -> None:
    """Run a story against a server of that model."""

    async def run() -> None:
        app = models_app(OneToken(secret), Auction(artefact or bidders.always(5)))
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as http:
            await story(http)

    asyncio.run(run())


def ask(body: Any, artefact: Artefact | None = None) -> tuple[int, Any]:
    """Status and answer of one question; `body` as JSON unless it is bytes."""
    answers: list[tuple[int, Any]] = []
    sent = body if isinstance(body, bytes) else json.dumps(body).encode()

    async def story(http: httpx.AsyncClient) -> None:
        kind = {"content-type": "application/json"}
        answer = await http.post("/schedule", content=sent, headers=kind)
        answers.append((answer.status_code, answer.json()))

    tell(story, artefact)
    return answers[0]


def test_the_prototypes_own_example_is_answered_in_its_form() -> None:
    assert ask(README) == (200, {"scheduled_node": "node-0", "bids": [5, 0, 5]})


def test_both_addresses_answer_alike() -> None:
    async def story(http: httpx.AsyncClient) -> None:
        first = await http.post("/schedule", json=README)
        second = await http.post("/daro/schedule", json=README)
        assert first.json() == second.json()

    tell(story, bidders.drawn())


def test_where_nothing_fits_no_node_is_named() -> None:
    status, answer = ask({**README, "memory_request": 64})

    assert status == 200
    assert answer["scheduled_node"] is None
    assert answer["bids"] == [0, 0, 0]
    assert "3 lack memory (most: 30 GB)" in answer["reason"]


def test_a_node_with_less_than_nothing_takes_nothing() -> None:
    states = [{"node_id": "a", "cpu_available": -3, "memory_available": 100},
              {"node_id": "b", "cpu_available": 4, "memory_available": 8}]  # fmt: skip
    assert ask({**README, "node_states": states}) == (200, {"scheduled_node": "b", "bids": [0, 5]})


def _changed(**fields: Any) -> dict[str, Any]:
    """The example with fields of node-1 replaced; None takes one away."""
    states = [dict(state) for state in README["node_states"]]  # type: ignore[attr-defined]
    states[1] = {k: v for k, v in (states[1] | fields).items() if v is not None}
    return {**README, "node_states": states}


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({**README, "memory_request": 8 * 2**30}, "memory_request: expected GB .* bytes or MiB"),
        ({**README, "cpu_request": 40_000}, "cpu_request: expected cores .* millicores"),
        ({**README, "cpu_request": 0}, "cpu_request: expected cores above 0 .*fits anywhere"),
        ({**README, "memory_request": 0.0}, "memory_request: expected GB above 0"),
        ({**README, "cpu_request": -1}, "cpu_request: expected cores above 0"),
        ({**README, "cpu_request": "4"}, "cpu_request: Expected `float`, got `str`"),
        ({**README, "cpu_request": True}, "cpu_request: Expected `float`, got `bool`"),
        ({**README, "gpu_request": 1}, "unknown field `gpu_request`"),
        ({**README, "node_states": []}, "node_states: Expected `array` of length >= 1"),
        ({"cpu_request": 1, "memory_request": 1}, "missing required field `node_states`"),
        (_changed(memory_available=2**34), r"node_states\.1\.memory_available: .* bytes or MiB"),
        (_changed(cpu_available=96_000), r"node_states\.1\.cpu_available: .* millicores"),
        (_changed(node_id="node-0"), r"node_states\.1\.node_id: expected each node once"),
        (_changed(node_id=""), r"node_states\.1\.node_id: Expected `str` of length >= 1"),
        (_changed(cpu_available=None), r"node_states\.1: .*missing .*`cpu_available`"),
        (_changed(gpus=2), r"node_states\.1: .*unknown field `gpus`"),
        (_changed(cpu_capacity=0), r"node_states\.1\.cpu_capacity: expected cores above 0"),
        (_changed(cpu_capacity=100), r"node_states\.1\.cpu_capacity: expected at least the 222"),
        (b'{"cpu_request": NaN}', "expected JSON"),
        (b'{"cpu_request": 1e999, "memory_request": 1, "node_states": []}', "cpu_request|range"),
        (b"\xff\xfe", "expected JSON"),
        (b"", "expected JSON"),
        (b"[" * 100_000, "expected JSON|Expected `object`"),
        (b'{"cpu_request": "\\u0000"}', "NUL"),
    ],
)  # fmt: skip
def test_a_bad_question_is_told_its_field(body: Any, said: str) -> None:
    """400 and `{"error"}`, as the prototype; never a guess at what was meant."""
    import re

    status, answer = ask(body)

    assert status == 400, answer
    assert list(answer) == ["error"]
    assert re.search(said, answer["error"]), answer["error"]


def test_a_model_that_looks_at_capacity_has_to_be_told() -> None:
    model = bidders.drawn(bid_schema.SCHEMA)
    status, answer = ask(README, model)
    assert status == 400
    assert "node_states.0.cpu_capacity: expected cores: this model looks at" in answer["error"]

    states = [
        {**state, "cpu_capacity": 400, "memory_capacity": 64}
        for state in README["node_states"]  # type: ignore[attr-defined]
    ]
    status, answer = ask({**README, "node_states": states}, model)
    assert status == 200
    assert answer["bids"][1] == 0


def test_other_content_types_are_refused() -> None:
    async def story(http: httpx.AsyncClient) -> None:
        body = json.dumps(README)
        answer = await http.post("/schedule", content=body, headers={"content-type": "text/plain"})
        assert answer.status_code == 400
        assert "expected Content-Type application/json" in answer.json()["error"]

    tell(story)


def test_a_server_with_a_token_wants_it() -> None:
    async def story(http: httpx.AsyncClient) -> None:
        assert (await http.post("/schedule", json=README)).status_code == 401
        wrong = {"authorization": "Bearer guessed"}
        assert (await http.post("/schedule", json=README, headers=wrong)).status_code == 401
        right = {"authorization": "Bearer s3cret"}
        assert (await http.post("/schedule", json=README, headers=right)).status_code == 200
        assert (await http.get("/metrics")).status_code == 401

    tell(story, secret="s3cret")


def test_the_documentation_at_daro_needs_nothing_from_elsewhere() -> None:
    async def story(http: httpx.AsyncClient) -> None:
        page = await http.get("/daro")
        assert page.status_code == 200
        assert 'data-tag="bidding"' in page.text
        assert "default-src 'none'" in page.headers["content-security-policy"]
        assert "://" not in page.text
        spec = (await http.get("/openapi.json")).json()
        asked = spec["paths"]["/schedule"]["post"]
        body = asked["requestBody"]["content"]["application/json"]["schema"]
        assert body["required"] == ["cpu_request", "memory_request", "node_states"]
        state = body["properties"]["node_states"]["items"]
        assert state["required"] == ["node_id", "cpu_available", "memory_available"]
        assert asked["tags"] == ["bidding"]
        assert set(asked["responses"]) >= {"200", "400", "401"}

    tell(story)


@pytest.mark.slow
def test_a_browser_shows_swagger_ui_at_daro_and_at_docs(look: Callable[[str], str]) -> None:
    """A blocked script or style, a request to elsewhere: each would be on the console."""
    with served(models_app(OneToken(""), Auction(bidders.always(5)))) as url:
        bidding, everything = look(f"{url}/daro"), look(f"{url}/docs")

    for page in (bidding, everything):
        assert 'class="swagger-ui"' in page
        assert 'data-path="/daro/schedule"' in page
        assert "Authorize" in page
    assert 'data-path="/healthz"' not in bidding
    assert 'data-path="/healthz"' in everything
    assert ">Execute<" in bidding


def test_metrics_count_by_route() -> None:
    async def story(http: httpx.AsyncClient) -> None:
        await http.post("/daro/schedule", json=README)
        text = (await http.get("/metrics")).text
        assert 'route="/daro/schedule",status="200"} 1.0' in text

    tell(story)


class _Live:
    """A server of a bidder and a scorer that schemathesis can send requests to."""

    def __init__(self) -> None:
        scoring = Scoring(get_policy("best-fit"))
        self._app = models_app(OneToken(""), Auction(bidders.drawn()), scoring)

    def send(self, method: str, path: str, **options: Any) -> httpx.Response:
        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(self._app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as http:
                return await http.request(method, path, **options)

        return asyncio.run(ask())


@pytest.mark.needs(module="schemathesis")
def test_requests_by_the_dozen_keep_to_the_document() -> None:
    from tests.services.api.fuzz import fuzz_live

    assert fuzz_live(_Live(), 60, key=3) >= 60


def test_an_agent_answers_the_same_questions() -> None:
    from cerebrum.services.api.agent_app import agent_app

    async def story() -> None:
        scoring = Scoring(get_policy("best-fit"))
        for auction in (Auction(bidders.always(5)), None):
            agent = SimpleNamespace(rollout=None)
            app = agent_app(agent, OneToken(""), None, auction, scoring)  # type: ignore[arg-type]
            transport = httpx.ASGITransport(app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as http:
                answer = await http.post("/daro/schedule", json=README)
                if auction is None:
                    assert answer.status_code == 404
                    assert answer.json()["title"] == "no bidder"
                else:
                    assert answer.json()["scheduled_node"] == "node-0"
                offered = {"cpu": "4", "memory": "8Gi", "pods": "9"}
                node = {"metadata": {"name": "n"}, "status": {"allocatable": offered}}
                pod = {"metadata": {"name": "p"}, "spec": {"containers": []}}
                answer = await http.post("/score", json={"pod": pod, "nodes": [node]})
                assert answer.json() == {"scores": {"n": 100}, "refused": {}}

    asyncio.run(story())


_BLOCKED = """
import sys

HEAVY = ("torch", "numba", "llvmlite", "ortools", "sklearn", "polars", "scipy", "gymnasium")

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in HEAVY:
            raise ImportError("blocked: " + name)

sys.meta_path.insert(0, Blocker())
import numpy as np
from cerebrum.policies.learned import artefact
from cerebrum.policies.learned.auction import Auction
from cerebrum.services.api.models import OneToken, models_app, run_models
app = models_app(OneToken(""), Auction(artefact.read(sys.argv[1])))
loaded = sorted(name for name in HEAVY if name in sys.modules)
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(len(app.routes), loaded, int(peak.split()[1]) // 1024)
"""


def test_serving_bids_loads_neither_torch_nor_a_compiler(tmp_path: Path) -> None:
    """With them blocked it still serves; that is also what keeps it below 200 MB."""
    from cerebrum.policies.learned import artefact as artefacts

    path = tmp_path / "model.safetensors"
    artefacts.write(path, bidders.drawn())
    out = subprocess.run(
        [sys.executable, "-c", _BLOCKED, str(path)], check=True, capture_output=True, text=True
    ).stdout.rsplit(" ", 1)

    assert out[0].endswith("[]")
    assert int(out[1]) < 200
