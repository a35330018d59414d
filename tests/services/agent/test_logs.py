"""What is said when the logs of a run are out of reach."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from cerebrum.model.errors import CerebrumError, NotFound
from cerebrum.services.agent.agent import Agent
from cerebrum.services.errors import Refused

RUN = "cb-" + "0" * 24


def asked(problem: Exception) -> None:
    class Executor:
        async def logs(self, *_: Any) -> bytes:
            raise problem

    agent = cast(Agent, SimpleNamespace(executor=Executor()))
    asyncio.run(Agent.run_logs(agent, RUN, "stdout", 0, 100))


def test_a_node_that_cannot_be_asked_is_no_fault_of_the_server() -> None:
    with pytest.raises(Refused) as refused:
        asked(CerebrumError("the kubelet does not answer"))
    assert refused.value.status == 502
    assert "the kubelet does not answer" in refused.value.detail


def test_a_run_that_never_was_is_not_found() -> None:
    with pytest.raises(NotFound):
        asked(NotFound("no run"))
