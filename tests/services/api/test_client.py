"""A client of several replicas: who is asked when one is away, and what is never sent twice."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from cerebrum.model.errors import ConfigError, NotFound
from cerebrum.services.client import CerebrumClient
from cerebrum.services.errors import Refused, Unreachable

Answer = Callable[[httpx.Request], httpx.Response]
SPEC = {"name": "x", "tasks": [{"name": "a"}]}


def fine(request: httpx.Request) -> httpx.Response:
    return httpx.Response(200, json={"id": "w-1", "items": [], "by": request.url.host})


def says(status: int, title: str = "no", **headers: str) -> Answer:
    def answer(_: httpx.Request) -> httpx.Response:
        return httpx.Response(status, json={"title": title, "status": status}, headers=headers)

    return answer


def fails(kind: type[httpx.TransportError]) -> Answer:
    def answer(request: httpx.Request) -> httpx.Response:
        raise kind("it is gone", request=request)

    return answer


@pytest.fixture
def replicas(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Any]]:
    """`client, asked = replicas(a=..., b=...)`: asked are the hosts that got a request."""
    clients: list[CerebrumClient] = []
    real = httpx.Client

    def made(**answers: Answer) -> tuple[CerebrumClient, list[str]]:
        asked: list[str] = []

        def answer(request: httpx.Request) -> httpx.Response:
            asked.append(request.url.host)
            return answers[request.url.host](request)

        def fake(**options: Any) -> httpx.Client:
            return real(transport=httpx.MockTransport(answer), headers=options["headers"])

        monkeypatch.setattr(httpx, "Client", fake)
        clients.append(CerebrumClient(", ".join(f"http://{host}" for host in answers)))
        return clients[-1], asked

    yield made
    for client in clients:
        client.close()


@pytest.mark.parametrize(
    "first",
    [
        fails(httpx.ConnectError), fails(httpx.ReadTimeout), says(503), says(421),
        says(307),  # without a Location: nobody leads
        lambda _: httpx.Response(503, text="a proxy's own page"),
    ],
)  # fmt: skip
def test_the_next_replica_is_asked_and_asked_first_from_then_on(
    replicas: Any, first: Answer
) -> None:
    client, asked = replicas(a=first, b=fine)
    assert client.version()["by"] == "b"
    assert client.version()["by"] == "b"
    assert asked == ["a", "b", "b"]


def test_when_no_replica_answers_each_was_asked_once(replicas: Any) -> None:
    client, asked = replicas(a=says(503), b=fails(httpx.ConnectError), c=says(421))
    with pytest.raises(Unreachable):
        client.version()
    assert asked == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("status", "problem"), [(404, NotFound), (409, Refused), (500, Unreachable)]
)
def test_an_answer_is_an_answer_whatever_others_would_say(
    replicas: Any, status: int, problem: type[Exception]
) -> None:
    client, asked = replicas(a=says(status), b=fine)
    with pytest.raises(problem):
        client.workflow("w-1")
    assert asked == ["a"]


def test_the_leader_that_a_follower_names_is_asked(replicas: Any) -> None:
    client, asked = replicas(a=says(307, location="http://b/api/v1/version"), b=fine)
    assert client.version()["by"] == "b"
    assert asked == ["a", "b"]


@pytest.mark.parametrize(
    ("first", "key", "goes_on"),
    [
        (fails(httpx.ReadTimeout), "", False),
        (says(503), "", False),
        (fails(httpx.ReadTimeout), "k", True),
        (says(503), "k", True),
        (fails(httpx.ConnectError), "", True),
        (says(421), "", True),
    ],
)
def test_a_submission_that_may_have_been_taken_goes_elsewhere_only_with_a_key(
    replicas: Any, first: Answer, key: str, goes_on: bool
) -> None:
    client, asked = replicas(a=first, b=fine)
    if goes_on:
        assert client.submit(SPEC, key=key)["id"] == "w-1"
    else:
        with pytest.raises(Unreachable):
            client.submit(SPEC, key=key)
    assert asked == (["a", "b"] if goes_on else ["a"])


def test_events_go_on_at_the_next_replica_after_the_last_one_seen(replicas: Any) -> None:
    def breaks(_: httpx.Request) -> httpx.Response:
        def lines() -> Iterator[bytes]:
            for seq in (4, 5):
                yield f"data: {json.dumps({'seq': seq})}\n\n".encode()
            raise httpx.ReadError("it is gone")

        return httpx.Response(200, content=lines())

    def goes_on(request: httpx.Request) -> httpx.Response:
        after = int(request.url.params["after"])
        return httpx.Response(200, text=f'data: {{"seq": {after + 1}}}\n\n')

    client, asked = replicas(a=breaks, b=goes_on)
    assert [event["seq"] for event in client.watch(3)] == [4, 5, 6]
    assert asked == ["a", "b"]


def test_each_address_is_checked() -> None:
    for wrong in ("http://a,ftp://b", "http://a,", ""):
        with pytest.raises(ConfigError, match="expected an address"):
            CerebrumClient(wrong)
