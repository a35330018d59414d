"""A whole federation in one event loop: controllers, agents, their machines, their clients."""

from __future__ import annotations

import asyncio
from contextvars import Context
from dataclasses import dataclass, replace
from random import Random
from typing import Any

import numpy as np
from pydantic import BaseModel
from sqlalchemy import text

from cerebrum.executors.simulated_runs import Faults
from cerebrum.model.cluster import Node, PowerModel
from cerebrum.model.resources import GPU_MILLI, Resources
from cerebrum.policies import get_policy
from cerebrum.services.agent import Agent, AgentSettings
from cerebrum.services.agent import schema as agent_tables
from cerebrum.services.controller import Controller, ControllerSettings
from cerebrum.services.errors import LeadershipLost, StoreUnavailable
from cerebrum.services.store import schema as controller_tables
from tests.faults.clients import Client
from tests.faults.clock import MachineClock
from tests.faults.disk import Disk
from tests.faults.history import History
from tests.faults.loop import VirtualLoop
from tests.faults.network import Line, Server, SimNetwork
from tests.faults.plan import LEASE_S, Plan
from tests.faults.process import Process
from tests.faults.workload import requests
from tests.faults.world import SimExecutor, World

CONTROLLER = ControllerSettings(
    lease_s=LEASE_S, margin_s=2.0, patience_s=60.0, poll_s=5.0, leader_ttl_s=12.0,
    window_tasks=8, ahead_tasks=16, offer_tasks=4, max_unacked=4, infeasible_after_s=20.0,
)  # fmt: skip
_METERS = text("SELECT node, runs_pj FROM energy")
POLICIES = ("first-fit", "best-fit", "worst-fit", "random")


@dataclass(slots=True)
class Machine:
    """Where an agent lives: clocks, disk, nodes."""

    process: Process
    world: World
    clock: MachineClock
    boots: int = 0


class Federation:
    """Everything of one seed. `start` sets it going; troubles are done to it from outside."""

    def __init__(self, seed: int, plan: Plan, loop: VirtualLoop, history: History) -> None:
        self.seed, self.plan, self.loop, self.history = seed, plan, loop, history
        self.rng = Random(f"{seed}/federation")
        self.network = SimNetwork(loop, Random(f"{seed}/network"), plan.network)
        self.disk = Disk("gcc", controller_tables.metadata, loop, history)
        self.controllers: dict[str, Process] = {}
        self.agents: dict[str, Machine] = {}
        self.disks = [self.disk]
        self._errands: list[asyncio.Task[None]] = []
        history.add(0.0, "faults", "settings", seed=seed, lease_s=CONTROLLER.lease_s,
                    window_tasks=CONTROLLER.window_tasks)  # fmt: skip
        for i in range(plan.replicas):
            self._add_controller(f"gcc-{i}")
        for i in range(plan.clusters):
            self.add_agent(f"lca:c{i}", f"c{i}")

    def start(self) -> None:
        """Start every process and every client."""
        for process in (*self.controllers.values(), *(m.process for m in self.agents.values())):
            process.crash_share = self.plan.crash_share
            delay_s = self.rng.choice((0.0, 0.0, 1.0, 20.0)) * self.rng.random()
            self.loop.call_later(delay_s, process.start, context=Context())
        rng = Random(f"{self.seed}/clients")
        for request in requests(rng, self.plan.workload):
            client = Client(self._line("client", _no_guard), self.loop, self.history, rng)
            self._errands.append(
                self.loop.create_task(client.carry_through(request), context=Context())
            )

    def read_meters(self) -> None:
        """Write down what each agent's meters say, read behind its back."""
        for machine in self.agents.values():
            disk = machine.process.disk
            if not machine.process.life.alive:
                continue  # what it ran last has no end on its disk
            rows = disk.read(lambda connection: connection.execute(_METERS).all())
            runs_j = sum(int(row.runs_pj) for row in rows) / 1e12
            self.history.add(self.loop.time(), "world", "metered", cluster=machine.world.cluster,
                             agent=disk.who, runs_j=runs_j)  # fmt: skip

    def clients_busy(self) -> bool:
        """Whether somebody still waits for an answer, or means to ask."""
        return any(not errand.done() for errand in self._errands)

    def operator(self, request: Any) -> None:
        """A person asks for something, and insists."""
        client = Client(self._line("client", _no_guard), self.loop, self.history, self.rng)
        self._errands.append(self.loop.create_task(client.insist(request), context=Context()))

    def uncordon_all(self) -> None:
        """A late repetition of a drain may have come after its end: somebody looks after that."""
        for name in sorted({trouble.where for trouble in self.plan.troubles}):
            if name in self.agents:
                cluster = self.agents[name].world.cluster
                self.operator(lambda controller, c=cluster: controller.uncordon_cluster(c))

    def processes(self) -> list[Process]:
        """All of them, in a fixed order."""
        return [*self.controllers.values(), *(machine.process for machine in self.agents.values())]

    # -- controllers ----------------------------------------------------------------------------

    def _add_controller(self, name: str) -> None:
        machine = MachineClock(self.loop, self.rng, self.plan.drift, int(self.plan.skewed))
        self.controllers[name] = Process(
            name, self._control, machine, self.disk, self.plan.disk, self.loop, self.history,
            Random(f"{self.seed}/{name}"), (LeadershipLost, StoreUnavailable),
        )  # fmt: skip

    async def _control(self, process: Process) -> None:
        rng = np.random.default_rng([self.seed, process.life.number, *process.name.encode()])
        settings = replace(CONTROLLER, watch_s=self.plan.watch_s)
        controller = Controller(
            process.store(), process.clock(), settings, rng, name=process.name, url=process.name
        )
        life = process.life
        server = Server(process.context, controller, lambda: life.alive, process.complain)
        self.network.listen(process.name, server)
        await controller.run()

    # -- agents ---------------------------------------------------------------------------------

    def add_agent(self, name: str, cluster: str) -> Machine:
        """An agent on a machine of its own, with some nodes; not started yet."""
        rng = Random(f"{self.seed}/{name}")
        clock = MachineClock(self.loop, rng, self.plan.drift, -int(self.plan.skewed))
        nodes = tuple(_node(f"{name[4:]}-n{i}", rng) for i in range(rng.randint(1, 3)))
        faults = Faults(self.plan.run_failures, self.plan.start_failures, self.plan.stragglers)
        world = World(cluster, nodes, clock, self.loop, self.history, rng.randrange(2**32), faults)
        disk = self._agent_disk(name)

        async def main(process: Process) -> None:
            await self._serve(process, cluster, nodes)

        process = Process(name, main, clock, disk, self.plan.disk, self.loop, self.history, rng)
        self.agents[name] = Machine(process, world, clock)
        return self.agents[name]

    def _agent_disk(self, name: str) -> Disk:
        disk = Disk(name, agent_tables.metadata, self.loop, self.history)
        self.disks.append(disk)
        return disk

    def new_disk(self, name: str) -> None:
        """The agent's disk is lost; it comes back with an empty one."""
        self.agents[name].process.disk = self._agent_disk(f"{name}#{len(self.disks)}")

    async def _serve(self, process: Process, cluster: str, nodes: tuple[Node, ...]) -> None:
        machine = self.agents[process.name]
        guard = process.guard()
        executor = SimExecutor(machine.world, process.life, guard)
        process.on_crash.append(lambda: machine.world.detach(executor._hand))
        settings = AgentSettings(
            cluster=cluster, nodes=nodes, boot_id=f"boot-{machine.boots}", wait_s=5.0,
            request_timeout_s=8.0, sync_s=30.0, reconcile_s=30.0, usage_s=3600.0, forecaster="",
        )  # fmt: skip
        rng = np.random.default_rng([self.seed, process.life.number, *process.name.encode()])
        policy = get_policy(POLICIES[self.seed % len(POLICIES)])
        line = self._line(process.name, guard)
        agent = Agent(process.store(), process.clock(), line, executor, policy, settings, rng)
        await agent.run()

    # -- the wires ------------------------------------------------------------------------------

    def _line(self, name: str, guard: Any) -> Line:
        return Line(self.network, name, list(self.controllers), guard, self._heard)

    def _heard(self, message: BaseModel, arrived_s: float) -> None:
        about: dict[str, Any] = {"cluster": getattr(message, "cluster", ""),
                                 "identity": getattr(message, "identity", "")}  # fmt: skip
        kind = type(message).__name__.lower()
        self.history.add(
            self.loop.time(), "network", "heard", **about, what=kind, arrived_s=arrived_s
        )


def _node(name: str, rng: Random) -> Node:
    gpus = int(rng.random() < 0.3)
    capacity = Resources(rng.choice((2000, 4000)), 2048, gpus, GPU_MILLI if gpus else 0)
    return Node(name, capacity, power=PowerModel(100.0, 300.0, 4000, 30.0, 250.0))


async def _no_guard(point: str) -> None:
    """Clients do not die."""
