"""PostgreSQL restarted under the controller while workflows come in and run."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from tests.chaos.killing import insist, see_it_end
from tests.chaos.servers import Federation
from tests.chaos.work import problems, workflow
from tests.services.postgres import Server, postgres

__all__ = ["postgres"]  # the fixture
pytestmark = [pytest.mark.slow, pytest.mark.needs(command="postgres")]


@pytest.mark.parametrize("immediately", [False, True], ids=["fast", "immediate"])
def test_a_restarted_database_loses_nothing(
    tmp_path: Path, postgres: Server, immediately: bool
) -> None:
    with Federation(tmp_path, database=postgres.new_database()) as federation:
        federation.start()
        load = [
            workflow(f"load-{number}-{immediately}", federation.effects, lasts_s=0.5)
            for number in range(8)
        ]
        restart = threading.Timer(1.0, postgres.restart, kwargs={"immediately": immediately})
        restart.start()
        accepted = [insist(federation, spec) for spec in load]
        restart.join()
        assert len(set(accepted)) == len(load)
        assert {see_it_end(federation, workflow_id) for workflow_id in accepted} == {"succeeded"}
        wrong = [problems(spec.name, federation.effects) for spec in load]
        assert wrong == [[]] * len(load)
