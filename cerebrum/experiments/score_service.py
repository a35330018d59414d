"""`score-service:URL`: a policy that asks a server's `POST /score` about every task.

For scorers that are no Python and no model file of ours: anything that answers
`{"pod": v1.Pod, "nodes": [v1.Node], "pods": [v1.Pod]}` with `{"scores": {node: number}}`; `pods`
are those that run. Feasibility stays here: a node without room never wins, whatever its score.
Every decision is a request, so this is for hundreds of tasks, not for millions.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, cast

import httpx
import msgspec
import numpy as np
from numpy.typing import NDArray

from cerebrum.model.errors import ConfigError
from cerebrum.model.scenario import NodeChange, Scenario
from cerebrum.model.snapshot import Snapshot
from cerebrum.policies.vectorised import Vectorised
from cerebrum.traces.kubernetes import bound_pod_object, node_object, pod_object

TIMEOUT_S = 60.0
Answers = Mapping[str, Any]


def score_service(url: str, scenario: Scenario) -> Vectorised:
    """The policy for one scenario. Raises `ConfigError`."""
    if not url.startswith(("http://", "https://")):
        raise ConfigError(f"expected score-service:http://HOST:PORT, got {url!r}").at(
            field="policy"
        )
    return Vectorised(f"score-service:{url}", ScoreService(url, scenario), ties="name")


class ScoreService:
    """A vectorised scorer whose scores come from elsewhere."""

    def __init__(self, url: str, scenario: Scenario) -> None:
        self._url, self._scenario = url.rstrip("/") + "/score", scenario
        nodes = {node.name: node for node in scenario.cluster}
        for event in scenario.node_events:
            if event.change is NodeChange.UPDATE:
                raise ConfigError(f"node {event.name!r} changes, which /score cannot be told").at(
                    field="policy"
                )
            if event.node is not None:
                nodes[event.node.name] = event.node
        self._nodes = {name: _raw(node_object(node)) for name, node in nodes.items()}
        self._running: dict[tuple[int, int, int], msgspec.Raw] = {}

    def __call__(self, snapshot: Snapshot, task: int) -> NDArray[np.float64]:
        """float64[nodes]: what the server says, -inf for nodes it does not mention."""
        names = snapshot.node_names
        usable = np.flatnonzero(snapshot.usable).tolist()
        body = {
            "pod": pod_object(self._scenario.tasks[task], self._scenario),
            "nodes": [self._nodes[names[row]] for row in usable],
            "pods": [self._bound(snapshot, int(other)) for other in snapshot.running],
        }
        said = self._ask(msgspec.json.encode(body))
        scores = np.full(len(names), -np.inf)
        for row in usable:
            scores[row] = _number(said, names[row], self._url)
        return scores

    def _bound(self, snapshot: Snapshot, task: int) -> msgspec.Raw:
        row, gpus = int(snapshot.tasks.row[task]), int(snapshot.tasks.gpus[task])
        found = self._running.get((task, row, gpus))
        if found is None:
            made = bound_pod_object(
                self._scenario.tasks[task], self._scenario, snapshot.node_names[row], gpus
            )
            found = self._running[task, row, gpus] = _raw(made)
        return found

    def _ask(self, body: bytes) -> Answers:
        kind = {"content-type": "application/json"}
        try:
            answer = httpx.post(
                self._url, content=body, headers=kind, timeout=TIMEOUT_S, trust_env=False
            )
        except httpx.HTTPError as problem:
            raise ConfigError(f"no answer: {type(problem).__name__}: {problem}").at(
                self._url
            ) from None
        if answer.status_code != 200:
            raise ConfigError(f"answered {answer.status_code}: {answer.text[:500]}").at(self._url)
        try:
            scores = msgspec.json.decode(answer.content)["scores"]
        except (msgspec.DecodeError, KeyError, TypeError):
            scores = None
        if not isinstance(scores, dict):
            raise ConfigError('expected {"scores": {node: number}}').at(self._url)
        return cast(Answers, scores)


def _number(said: Answers, node: str, url: str) -> float:
    value = said.get(node, -math.inf)
    wrong = isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value)
    if wrong or value == math.inf:
        raise ConfigError(f"expected a number for node {node!r}, got {value!r}").at(url)
    return float(value)


def _raw(value: Any) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(value))
