"""`/score`: nodes somebody describes are scored as those of a cluster are, in their own units."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cerebrum import simulate
from cerebrum.engine.typical import typical_classes
from cerebrum.experiments.simulate import find_policy
from cerebrum.model.errors import ConfigError, InputError
from cerebrum.policies import get_policy
from cerebrum.services.api.models import OneToken, models_app
from cerebrum.services.scoring import Scoring, scaled
from cerebrum.traces import read
from tests.services.serving import served

Object = dict[str, Any]


def node(name: str, cpu: str = "8", memory: str = "32Gi", **offered: str) -> Object:
    amounts = {"cpu": cpu, "memory": memory, "pods": "110", **offered}
    return {"metadata": {"name": name}, "status": {"allocatable": amounts}}


def pod(cpu: str = "2", memory: str = "4Gi", name: str = "p", **spec: Any) -> Object:
    requests = {"cpu": cpu, "memory": memory}
    container = {"name": "main", "resources": {"requests": requests}}
    return {"metadata": {"name": name}, "spec": {"containers": [container], **spec}}


@pytest.fixture(scope="module")
def best_fit() -> Scoring:
    return Scoring(get_policy("best-fit"))


def test_the_best_gets_100_the_worst_1_and_who_has_no_room_0(best_fit: Scoring) -> None:
    found = best_fit.score(pod(), [node("large", "64"), node("snug", "2"), node("small", "1")])

    assert found.scores == {"large": 1, "snug": 100, "small": 0}
    assert found.refused == {"small": "Insufficient cpu"}


def test_bytes_are_bytes_and_gibibytes_are_not(best_fit: Scoring) -> None:
    """The prototype read raw bytes as a feature; amounts written otherwise are the same amounts."""
    written = [node("a", "8", "32Gi"), node("b", "8000m", str(32 * 2**30)), node("c", "4", "8Gi")]
    found = best_fit.score(pod(memory=str(4 * 2**30)), written)

    assert found.scores["a"] == found.scores["b"] != found.scores["c"]
    assert best_fit.score(pod(memory="4Gi"), written) == found


def test_what_runs_there_counts(best_fit: Scoring) -> None:
    running = pod("7", "1Gi", "other", nodeName="a")
    found = best_fit.score(pod(), [node("a"), node("b")], [running])

    assert found.scores == {"a": 0, "b": 100}
    # Overdrawn, it has less than nothing left; a pod that asks for nothing can still go there.
    more = pod("9", "1Gi", "more", nodeName="a")
    found = best_fit.score(pod("0", "0"), [node("a"), node("b")], [running, more])
    assert min(found.scores.values()) >= 1


def test_one_node_and_where_all_are_alike(best_fit: Scoring) -> None:
    assert best_fit.score(pod(), [node("a")]).scores == {"a": 100}
    assert set(best_fit.score(pod(), [node("a"), node("b")]).scores.values()) == {100}
    assert best_fit.score(pod("99"), [node("a")]).scores == {"a": 0}


def test_selectors_and_taints_are_kept(best_fit: Scoring) -> None:
    tainted = node("t")
    tainted["spec"] = {"taints": [{"key": "own", "effect": "NoSchedule"}]}
    labelled = node("l")
    labelled["metadata"]["labels"] = {"disk": "fast"}
    found = best_fit.score(pod(nodeSelector={"disk": "fast"}), [tainted, labelled, node("plain")])

    assert [name for name, score in found.scores.items() if score] == ["l"]
    assert "taint" in found.refused["t"]


@pytest.mark.parametrize(
    ("asked", "nodes", "running", "said"),
    [
        (pod(cpu="many"), [node("a")], [], r"pod\.spec\.containers\[0\].*cpu: expected a Kubern"),
        (pod(cpu="-1"), [node("a")], [], r"pod\.spec\.containers\[0\].*at least 0"),
        (pod(), [], [], "nodes: expected at least one"),
        (pod(), [node("a"), node("a")], [], r"nodes\[1\].*'a' is named twice"),
        (pod(), [node("a", "-4")], [], r"nodes\[0\]\.status\.allocatable\.cpu: .*at least 0"),
        (pod(), [{"metadata": {"name": "a"}}], [], r"nodes\[0\]\.status\.allocatable: expected"),
        (pod(), [node("a", "NaN")], [], r"nodes\[0\].*cpu"),
        (pod(nodeName="a"), [node("a")], [], r"pod\.spec\.nodeName: expected a pod that is bound"),
        (pod(), [node("a")], [pod(name="q")], r"pods\[0\]\.spec\.nodeName: expected"),
        (pod(), [node("a")], [pod(name="q", nodeName="z")], "'z'"),
        (pod(), [node("a")], [pod(nodeName="a")], "named twice"),
        ({"kind": "Node"}, [node("a")], [], r"pod\.kind: expected Pod, got 'Node'"),
        ({"spec": {}}, [node("a")], [], r"pod\.metadata\.name"),
    ],
)  # fmt: skip
def test_a_bad_object_is_told_its_field(
    best_fit: Scoring, asked: Object, nodes: list[Object], running: list[Object], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        best_fit.score(asked, nodes, running)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 64), st.integers(1, 256)), min_size=1, max_size=12),
    st.integers(1, 64),
)
def test_scores_are_0_exactly_where_there_is_no_room(
    sizes: list[tuple[int, int]], cpu: int
) -> None:
    nodes = [node(f"n{i}", str(c), f"{m}Gi") for i, (c, m) in enumerate(sizes)]
    found = Scoring(get_policy("least-allocated")).score(pod(str(cpu), "8Gi"), nodes).scores

    assert list(found) == [f"n{i}" for i in range(len(sizes))]
    for (cores, memory), score in zip(sizes, found.values(), strict=True):
        assert (score > 0) == (cores >= cpu and memory >= 8)
        assert 0 <= score <= 100
    if any(found.values()):
        assert max(found.values()) == 100


def test_scaling_keeps_the_order() -> None:
    found = scaled(np.array([-np.inf, -5.0, 5.0, 0.0]))
    assert found.tolist() == [0, 1, 100, 50]
    assert scaled(np.array([-np.inf])).tolist() == [0]


def test_a_policy_that_scores_no_nodes_is_refused() -> None:
    with pytest.raises(ConfigError, match="does not score single nodes"):
        Scoring(get_policy("sjf"))


def test_a_simulation_asks_a_service_and_places_as_that_would() -> None:
    """Best fit over HTTP, in steps of a hundredth: on nodes this few it decides as best fit."""
    scenario = read("openb-like:nodes=6,tasks=40")
    typical = scenario.typical or typical_classes(scenario.tasks)
    service = models_app(OneToken(""), None, Scoring(get_policy("best-fit"), typical))
    with served(service) as url:
        remote = simulate(scenario, f"score-service:{url}", 42)
    local = simulate(scenario, "best-fit:ties=name", 42)

    assert remote.meta.policy.startswith("score-service:http://127.0.0.1")
    ours, theirs = (dict(_placed(run)) for run in (local, remote))
    same = sum(ours[task] == theirs[task] for task in ours)
    assert ours.keys() == theirs.keys()
    assert same >= 0.9 * len(ours)


def _placed(run: Any) -> list[tuple[int, int]]:
    from cerebrum.model.events import EventKind

    return [(int(r["subject"]), int(r["row"])) for r in run.log.of(EventKind.BOUND)]


def test_a_service_that_is_away_or_strange_ends_the_simulation_with_one_line() -> None:
    scenario = read("openb-like:nodes=2,tasks=2")
    with pytest.raises(ConfigError, match="expected score-service:http"):
        find_policy("score-service:nowhere", scenario)
    with pytest.raises(ConfigError, match=r"127\.0\.0\.1:9/score: no answer"):
        simulate(scenario, "score-service:http://127.0.0.1:9", 42)


def test_score_over_http() -> None:
    async def story() -> None:
        app = models_app(OneToken(""), None, Scoring(get_policy("best-fit")))
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as http:
            body = {"pod": pod(), "nodes": [node("a"), node("b", "1")]}
            answer = await http.post("/score", json=body)
            assert answer.status_code == 200
            assert answer.json() == {
                "scores": {"a": 100, "b": 0}, "refused": {"b": "Insufficient cpu"},
            }  # fmt: skip
            wrong = await http.post("/score", json={"pod": pod("x"), "nodes": [node("a")]})
            assert wrong.status_code == 422
            assert wrong.json()["errors"][0]["where"].startswith("pod.spec.containers[0]")
            extra = await http.post("/score", json=body | {"gpu": 1})
            assert extra.status_code == 422
            assert "unknown field `gpu`" in extra.json()["detail"]
            both = await asyncio.gather(*(http.post("/score", json=body) for _ in range(4)))
            assert {one.text for one in both} == {answer.text}
            assert (await http.post("/schedule", json={})).status_code == 404

    asyncio.run(story())
