"""PostgreSQL restarted, and one of two controllers killed, while workflows come in and run."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from tests.chaos.servers import Federation
from tests.chaos.story import Story
from tests.chaos.work import problems, workflow
from tests.services.postgres import Server, postgres

__all__ = ["postgres"]  # the fixture
pytestmark = pytest.mark.slow
LOAD = 8


def carry(federation: Federation, story: Story) -> list[str]:
    """Submit `LOAD` workflows, see them end; what went wrong."""
    load = [workflow(f"load-{number}", federation.effects, lasts_s=0.5) for number in range(LOAD)]
    accepted = [story.insist(spec) for spec in load]
    wrong = [f"{id} {state}" for id in accepted if (state := story.see_end(id)) != "succeeded"]
    if len(set(accepted)) != LOAD:
        wrong.append(f"two workflows with one id: {accepted}")
    return wrong + [line for spec in load for line in problems(spec.name, federation.effects)]


@pytest.mark.parametrize("immediately", [False, True], ids=["fast", "immediate"])
def test_a_restarted_database_loses_nothing(
    tmp_path: Path, postgres: Server, immediately: bool
) -> None:
    with Federation(tmp_path, database=postgres.new_database()) as federation:
        federation.start()
        restart = threading.Timer(1.0, postgres.restart, kwargs={"immediately": immediately})
        restart.start()
        wrong = carry(federation, Story(federation, "load"))
        restart.join()
        assert wrong == []


def test_a_standby_takes_over_from_a_leader_that_was_killed(
    tmp_path: Path, postgres: Server
) -> None:
    """Agents and clients know both addresses; nobody starts the dead one again."""
    with Federation(tmp_path, database=postgres.new_database(), replicas=2) as federation:
        federation.start()
        leader = federation.leader()
        federation.kept.remove(leader)
        kill = threading.Timer(1.0, leader.kill)
        kill.start()
        wrong = carry(federation, Story(federation, "load"))
        kill.join()
        assert leader.was_killed
        assert federation.leader() is not leader
        assert wrong == []
