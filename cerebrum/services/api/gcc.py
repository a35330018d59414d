"""The controller's process: settings in, an exit code out."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
import time
from collections.abc import Awaitable, Callable

import numpy as np
import structlog

from cerebrum.model.errors import ConfigError
from cerebrum.services.api import serve
from cerebrum.services.api.auth import Tokens
from cerebrum.services.api.controller_app import controller_app
from cerebrum.services.api.settings import GccSettings
from cerebrum.services.api.token_file import take_over
from cerebrum.services.clock import MachineClock
from cerebrum.services.computing import Computing
from cerebrum.services.controller import Controller, ControllerSettings
from cerebrum.services.controller.policies import AUCTION
from cerebrum.services.crashpoints import store_with_crash_points
from cerebrum.services.rollouts import Desk
from cerebrum.services.store.database import Database
from cerebrum.services.telemetry import configure_logs

TOKEN_HINT = "make one with `cerebrum token create NAME --scope operator --database URL`"
_log = structlog.get_logger("cerebrum.gcc")


async def run_gcc(
    settings: GccSettings, ready: Callable[[str], None] | None = None, *, logs: bool = True
) -> int:
    """Serve until SIGTERM or SIGINT; the exit code. `ready` gets the address once it is open.

    Raises `ConfigError` before anything is served.
    """
    if logs:
        configure_logs(settings.log_format, settings.log_level)
    desk = _desk(settings)
    async with Database(settings.database) as database:
        store, clock = store_with_crash_points(database), MachineClock()
        tokens = Tokens(store, clock)
        if settings.tokens_file is not None:
            await take_over(tokens, settings.tokens_file)
        await serve.check_exposure(settings.host, tokens, TOKEN_HINT)
        with serve.listen(settings) as listening:
            url = serve.address(settings, listening)
            name = settings.name or f"{socket.gethostname()}-{os.getpid()}"
            # What others must not be able to guess: identifiers end up in addresses.
            rng = np.random.default_rng(secrets.randbits(128))
            controller = Controller(
                store, clock, _controller_settings(settings), rng, name, url,
                compute=Computing(), rollout=desk,
            )  # fmt: skip
            app = controller_app(controller, store, clock, tokens)
            _log.info("listening", url=url, name=name)
            if ready is not None:
                ready(url)
            return await serve.serve(app, settings, listening, _work(settings, controller, clock))


def _desk(settings: GccSettings) -> Desk | None:
    """The candidate's rollout, if there is one. Raises `InputError` for what is no assigner."""
    found = settings.rollout_settings()
    if found is None:
        return None
    desk = Desk(found, time.perf_counter, time.time)
    if settings.assignment == AUCTION:
        raise ConfigError(
            f"{AUCTION!r} asks the agents: a candidate is compared with a policy that decides here"
        ).at(field="assignment")
    desk.assigner(settings.assignment)
    return desk


def _controller_settings(settings: GccSettings) -> ControllerSettings:
    return ControllerSettings(
        lease_s=settings.lease_s, margin_s=settings.margin_s, patience_s=settings.patience_s,
        leader_ttl_s=settings.leader_ttl_s, window_tasks=settings.window_tasks,
        max_tasks=settings.max_tasks, tenant_tasks=settings.tenant_tasks,
        decomposition=settings.decomposition, assignment=settings.assignment,
    )  # fmt: skip


def _work(
    settings: GccSettings, controller: Controller, clock: MachineClock
) -> Callable[[], Awaitable[None]]:
    """What goes on beside the requests: the controller itself, and the bus if there is one."""
    address = settings.amqp_url.get_secret_value()
    if not address:
        return controller.run
    from cerebrum.services import bus

    bus.check(address)
    carrier = bus.Bus(controller.store, controller, clock, address, settings.amqp_exchange)

    async def both() -> None:
        carrying = asyncio.ensure_future(carrier.run())
        carrying.add_done_callback(_say_why)
        try:
            await controller.run()
        finally:
            carrying.cancel()
            await asyncio.gather(carrying, return_exceptions=True)

    return both


def _say_why(carrying: asyncio.Future[None]) -> None:
    """The bus is never worth the controller: it ends alone, and the log says why."""
    if not carrying.cancelled() and carrying.exception() is not None:
        _log.error("bus_ended", exc_info=carrying.exception())
