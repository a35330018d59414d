"""The agent's process: settings in, an exit code out."""

from __future__ import annotations

import hmac
import secrets
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
import structlog
from sqlalchemy import URL

from cerebrum import __version__
from cerebrum.executors.boot import boot_id
from cerebrum.model.cluster import Node
from cerebrum.model.errors import ConfigError
from cerebrum.model.protocols import Executor, Policy
from cerebrum.policies.learned.auction import Auction
from cerebrum.services.agent import Agent, AgentSettings
from cerebrum.services.agent.prediction import UsageSource
from cerebrum.services.agent.views import node_statuses
from cerebrum.services.api import serve
from cerebrum.services.api.agent_app import agent_app
from cerebrum.services.api.auth import Caller, Scope, hashed
from cerebrum.services.api.kubernetes import KubernetesCluster
from cerebrum.services.api.logs import agent_key
from cerebrum.services.api.nodes import cluster_nodes
from cerebrum.services.api.settings import LcaSettings
from cerebrum.services.api.usage import GivenUsage, MachineUsage
from cerebrum.services.client import HttpController
from cerebrum.services.clock import MachineClock
from cerebrum.services.computing import Computing
from cerebrum.services.crashpoints import (
    executor_with_crash_points,
    peer_with_crash_points,
    store_with_crash_points,
)
from cerebrum.services.rollouts import Desk
from cerebrum.services.scoring import Scoring
from cerebrum.services.store.database import Database
from cerebrum.services.telemetry import configure_logs

TOKEN_HINT = "set CEREBRUM_API_TOKEN to what callers of this agent have to show"
EVERYTHING = Caller("operator", frozenset({Scope.VIEWER, Scope.SUBMITTER, Scope.OPERATOR}))
CONTROLLER = Caller("controller", frozenset({Scope.VIEWER}))
_log = structlog.get_logger("cerebrum.lca")


async def run_lca(
    settings: LcaSettings, ready: Callable[[str], None] | None = None, *, logs: bool = True
) -> int:
    """Serve and work until SIGTERM or SIGINT; the exit code. `ready` gets the address.

    Raises `ConfigError` before anything is served. What runs goes on after the end.
    """
    if logs:
        configure_logs(settings.log_format, settings.log_level)
    clock, desk = MachineClock(), _desk(settings)
    policy, cluster, nodes = _policy(settings, desk), None, tuple[Node, ...]()
    computing = Computing()
    if settings.executor == "kubernetes":
        cluster = KubernetesCluster(settings, computing, lambda: _policy(settings, desk))
    elif settings.extender or settings.extender_open:
        raise ConfigError("only --executor kubernetes can be an extender").at(field="extender")
    else:
        nodes = cluster_nodes(settings.nodes, settings.nodes_file)
    auction, scoring = _auction(settings.bidder), _scoring(settings.policy)
    _make_folder(settings.state)
    keys = AgentKeys(settings.api_token.get_secret_value())
    await serve.check_exposure(settings.host, keys, TOKEN_HINT)
    peer = _controller(settings)
    try:
        async with Database(_database(settings.state), "agent") as database:
            with serve.listen(settings) as listening:
                url = serve.address(settings, listening)
                if cluster is None:
                    executor = _executor(settings, nodes, clock)
                else:
                    executor, nodes = cluster.executor, await cluster.nodes()
                agent = Agent(
                    store_with_crash_points(database), clock,
                    None if peer is None else peer_with_crash_points(peer),
                    executor_with_crash_points(executor), policy,
                    _agent_settings(settings, nodes, url),
                    np.random.default_rng(secrets.randbits(128)),
                    usage=_usage(settings, nodes, lambda: node_statuses(agent)),
                    compute=computing,
                    inventory=None if cluster is None else cluster.executor.inventory,
                    rollout=desk,
                )  # fmt: skip
                keys.agent = agent
                if desk is not None:
                    await agent.rollout_report()  # nobody asks a candidate that had to leave
                _log.info("listening", url=url, cluster=settings.cluster_id, nodes=len(nodes))
                if ready is not None:
                    ready(url)
                app = agent_app(agent, keys, cluster, auction, scoring)
                return await serve.serve(app, settings, listening, _work(agent, cluster))
    finally:
        if cluster is not None:
            await cluster.executor.close()
        if peer is not None:
            await peer.close()


class AgentKeys:
    """An agent's `TokenBook`: the operator's token, and the controller by the agent's identity."""

    def __init__(self, secret: str) -> None:
        self._hash = hashed(secret) if secret else ""
        self.agent: Agent | None = None

    async def caller(self, secret: str) -> Caller | None:
        """Whose token that is."""
        if self._hash and hmac.compare_digest(self._hash, hashed(secret)):
            return EVERYTHING
        identity = "" if self.agent is None else str(self.agent.ledger.values.get("identity", ""))
        if identity and hmac.compare_digest(agent_key(identity), _ascii(secret)):
            return CONTROLLER
        return None

    async def open(self) -> bool:
        """Whether no token was set."""
        return not self._hash


def _ascii(secret: str) -> str:
    """ASCII only, as `hmac.compare_digest` wants text."""
    return secret if secret.isascii() else ""


def _desk(settings: LcaSettings) -> Desk | None:
    """The candidate's rollout, if there is a candidate. Its answers are measured on a fine clock;
    nothing of that decides about tasks but whether an answer was late."""
    found = settings.rollout_settings()
    return None if found is None else Desk(found, time.perf_counter, time.time)


def _policy(settings: LcaSettings, desk: Desk | None) -> Policy:
    from cerebrum.policies import get_policy

    return get_policy(settings.policy) if desk is None else desk.policy(settings.policy)


def _controller(settings: LcaSettings) -> HttpController | None:
    """The controller, or None for an agent that works alone (an empty address)."""
    urls = [url.strip() for url in settings.gcc_url.split(",") if url.strip()]
    if not urls:
        return None
    return HttpController(urls, settings.token.get_secret_value(), settings.ca)


def _agent_settings(settings: LcaSettings, nodes: tuple[Node, ...], url: str) -> AgentSettings:
    return AgentSettings(
        cluster=settings.cluster_id, nodes=nodes, zone=settings.zone, url=url,
        version=__version__, boot_id=_boot_id(), policy=settings.policy,
        candidate=settings.candidate, bidder=settings.auction_bidder,
        forecaster="" if settings.forecaster == "none" else settings.forecaster,
    )  # fmt: skip


def _auction(bidder: str) -> Auction | None:
    if not bidder:
        return None
    from cerebrum.policies.learned import artefact as artefacts

    return Auction(artefacts.read(artefacts.find(bidder)))


def _scoring(policy: str) -> Scoring | None:
    """A policy of its own for `/score`: the agent's remembers the agent's own nodes."""
    from cerebrum.policies import get_policy

    try:
        return Scoring(get_policy(policy))
    except ConfigError:  # it orders or plans
        return None


def _executor(settings: LcaSettings, nodes: tuple[Node, ...], clock: MachineClock) -> Executor:
    from cerebrum.executors.registry import get_executor

    if settings.executor == "local":
        return get_executor("local", root=settings.state / "runs")
    if settings.executor == "simulated":
        from cerebrum.executors.simulated_runs import SimulatedNodes

        return get_executor("simulated", world=SimulatedNodes(clock))
    if settings.executor == "dry_run":
        from cerebrum.executors.dry_run import FreeNode

        free = {node.name: FreeNode.idle(node.capacity) for node in nodes}
        return get_executor("dry_run", nodes=free)
    return get_executor(settings.executor)


def _work(agent: Agent, cluster: KubernetesCluster | None) -> Callable[[], Awaitable[None]]:
    """What goes on while requests are answered."""

    async def work() -> None:
        await agent.warm_up()
        await agent.run()

    return work if cluster is None else lambda: cluster.beside(work)


def _usage(settings: LcaSettings, nodes: tuple[Node, ...], now: Any) -> UsageSource | None:
    if settings.forecaster in ("", "none") or settings.executor == "kubernetes":
        return None
    if len(nodes) == 1 and settings.executor == "local":
        return MachineUsage(nodes[0])
    return GivenUsage(nodes, now)


def _make_folder(state: Path) -> None:
    try:
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"cannot keep anything there: {error.strerror}").at(
            state, field="state"
        ) from None


def _database(state: Path) -> str:
    """Its address; a folder's name may hold anything."""
    file = str((state / "agent.db").resolve())
    return URL.create("sqlite", database=file).render_as_string(hide_password=False)


def _boot_id() -> str:
    """Changes with each boot, and with it the meaning of monotonic times on disk."""
    try:
        return boot_id()
    except OSError:
        return ""
