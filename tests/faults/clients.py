"""Clients: they submit, ask again until they know, repeat themselves, and cancel."""

from __future__ import annotations

import asyncio
from random import Random
from typing import Any

from cerebrum.services.errors import Refused, Unreachable
from tests.faults.history import History
from tests.faults.loop import VirtualLoop
from tests.faults.network import Line
from tests.faults.workload import Request


class Client:
    """Carries one request through: with the same key until it is answered, and now and then again.

    Clients never die; what they were told is the ground truth of what was accepted.
    """

    def __init__(self, line: Line, loop: VirtualLoop, history: History, rng: Random) -> None:
        self._line, self._loop, self._history, self._rng = line, loop, history, rng

    async def carry_through(self, request: Request) -> None:
        """Submit (and cancel) one workflow."""
        await asyncio.sleep(request.at_s)
        workflow = await self._submit(request)
        if workflow is None:
            return
        for _ in range(request.repeats):
            await asyncio.sleep(self._rng.uniform(0.0, 20.0))
            await self._submit(request)
        if request.cancel_after_s is not None:
            await asyncio.sleep(request.cancel_after_s)
            self._tell("asked_cancel", workflow=workflow)
            await self.insist(lambda controller: controller.cancel_workflow(workflow))
            self._tell("cancelled", workflow=workflow)

    async def _submit(self, request: Request) -> str | None:
        async def submit(controller: Any) -> str:
            answer = await controller.submit(
                request.spec, tenant="t", key=request.key, body_hash=request.key
            )
            return str(answer.workflow_id)

        workflow = await self.insist(submit)
        if workflow is not None:
            spec = request.spec
            tasks = [
                {"name": t.name, "max_attempts": t.max_attempts, "cpu_milli": t.cpu_milli}
                for t in spec.tasks
            ]
            edges = [(edge.before, edge.after) for edge in spec.dependencies]
            self._tell("accepted", workflow=workflow, key=request.key, tasks=tasks, edges=edges,
                       on_cluster_lost=spec.on_cluster_lost)  # fmt: skip
        return workflow

    async def insist(self, request: Any) -> Any:
        """Ask until there is an answer."""
        while True:
            try:
                return await self._line.ask(request)
            except Unreachable:
                pass
            except Refused as refusal:
                if refusal.status != 429:
                    self._tell("refused", workflow="", status=refusal.status, title=str(refusal))
                    return None
            await asyncio.sleep(self._rng.uniform(0.2, 3.0))

    def _tell(self, kind: str, **data: Any) -> None:
        self._history.add(self._loop.time(), "client", kind, **data)
