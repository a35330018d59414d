"""What happens around every death: one workflow that is to succeed, one that is cancelled."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable, Iterator

from cerebrum.services import wire
from cerebrum.services.errors import Refused
from tests.chaos.servers import Federation, Server, wait_for
from tests.chaos.work import began, problems, problems_of_cancelled, workflow


class Story:
    """Submit, cancel, wait for the ends; whoever has died is started again.

    `deaths` by SIGKILL so far; `recovered_s` from the first one to the end of everything.
    """

    def __init__(self, federation: Federation, name: str) -> None:
        self._federation = federation
        self._name = re.sub("[^a-z0-9]+", "-", name.lower())
        self._first_s = 0.0
        self.deaths, self.recovered_s = 0, 0.0

    def tell(self, kills: random.Random | None = None) -> list[str]:
        """What went wrong. With `kills` one to three random deaths happen at random moments."""
        federation, done, ended = self._federation, f"{self._name}-done", f"{self._name}-ended"
        lasts_s = 0.1 if kills is None else 0.3
        succeeding = self.insist(workflow(done, federation.effects, lasts_s=lasts_s))
        cancelled = self.insist(workflow(ended, federation.effects, lasts_s=60.0))
        for pause_s, server in _moments(kills, federation):
            time.sleep(pause_s)
            server.kill()
            self.keep_alive()
        self._until(lambda: began(ended, federation.effects), f"{ended} began")
        self.cancel(cancelled)
        states = {"succeeded": self.see_end(succeeding), "cancelled": self.see_end(cancelled)}
        if self.deaths:
            self.recovered_s = time.monotonic() - self._first_s
        wrong = [f"{state} instead of {due}" for due, state in states.items() if state != due]
        wrong += problems(done, federation.effects)
        return wrong + problems_of_cancelled(ended, federation.effects)

    def insist(self, spec: wire.WorkflowSpec) -> str:
        """Submit under one key until there is an answer."""
        found: list[str] = []

        def submitted() -> bool:
            with self._federation.client() as client:
                found.append(str(client.submit(spec, key=spec.name)["id"]))
            return True

        self._until(submitted, f"{spec.name} was accepted")
        return found[0]

    def cancel(self, workflow_id: str) -> None:
        """Ask for its end until there is an answer."""

        def asked() -> bool:
            with self._federation.client() as client:
                try:
                    client.cancel(workflow_id)
                except Refused as refused:
                    return refused.status == 409  # it has ended: an earlier answer was lost
            return True

        self._until(asked, f"{workflow_id} took a cancellation")

    def see_end(self, workflow_id: str) -> str:
        """The state in which the workflow ends."""
        state: list[str] = []

        def ended() -> bool:
            with self._federation.client() as client:
                found = client.workflow(workflow_id)
            state.append(str(found["state"]))
            return found["ended_unix_s"] is not None

        self._until(ended, f"{workflow_id} ended")
        return state[-1]

    def keep_alive(self) -> None:
        """Start again who has died, and count those who were killed."""
        killed = self._federation.keep_alive()
        if killed and not self.deaths:
            self._first_s = time.monotonic()
        self.deaths += killed

    def _until(self, holds: Callable[[], bool], what: str) -> None:
        def alive_and_holds() -> bool:
            self.keep_alive()
            return holds()

        wait_for(alive_and_holds, what)


def _moments(kills: random.Random | None, federation: Federation) -> Iterator[tuple[float, Server]]:
    """When to kill whom."""
    if kills is None:
        return
    for _ in range(kills.randint(1, 3)):
        yield kills.uniform(0.0, 0.8), kills.choice(federation.servers())
