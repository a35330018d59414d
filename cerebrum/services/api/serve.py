"""One process, one event loop: uvicorn beside the service it is the shell of."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager

import structlog
import uvicorn
from fastapi import FastAPI

from cerebrum.model.errors import ConfigError
from cerebrum.services.api.auth import TokenBook, is_loopback
from cerebrum.services.api.server_settings import ServerSettings
from cerebrum.services.errors import LeadershipLost

BACKLOG = 1024
KEEP_ALIVE_S = 75
MAX_CONNECTIONS = 2000
_log = structlog.get_logger("cerebrum.serve")


async def check_exposure(host: str, tokens: TokenBook, how: str) -> None:
    """Raises `ConfigError` where anybody on the network could give orders."""
    if not is_loopback(host) and await tokens.open():
        raise ConfigError(
            f"{host} can be reached from outside this machine, and there is no token: {how}, or "
            "bind to 127.0.0.1"
        ).at(field="host")


def listen(settings: ServerSettings) -> socket.socket:
    """A socket that listens, before anything else is begun. Raises `ConfigError`."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        listening = socket.create_server(
            (settings.host, settings.port), family=family, backlog=BACKLOG
        )
        # Connections inherit it. asyncio sets it only where the socket names its protocol, which
        # those of create_server do not; without it each answer waits 40 ms for the client's ACK.
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return listening
    except (OSError, UnicodeError) as error:
        raise ConfigError(f"cannot listen at {settings.host}:{settings.port}: {error}").at(
            field="port"
        ) from None


def address(settings: ServerSettings, listening: socket.socket) -> str:
    """How others reach this server."""
    if settings.url:
        return settings.url.rstrip("/")
    host = settings.host
    if host in ("0.0.0.0", "::"):
        host = socket.getfqdn()
    shown = f"[{host}]" if ":" in host else host
    return f"{settings.scheme}://{shown}:{listening.getsockname()[1]}"


async def serve(
    app: FastAPI,
    settings: ServerSettings,
    listening: socket.socket,
    work: Callable[[], Awaitable[None]],
) -> int:
    """Answer requests while `work` goes on, until SIGTERM or SIGINT; the exit code.

    `work` is cancelled after the last answer. When it loses the leadership the process ends at
    once, without another write; when it fails otherwise, or returns, the server stops with 1.
    """
    # What is loaded by now stays: collections need not look at it, and come less often.
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 50, 50)
    server = _Server(_config(app, settings))
    loop = asyncio.get_running_loop()

    def stop() -> None:
        stopping: asyncio.Event | None = getattr(app.state, "stopping", None)
        if stopping is not None:
            stopping.set()
        server.should_exit = True

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    working = asyncio.ensure_future(work())
    ended_early: list[BaseException | None] = []

    def ended(task: asyncio.Future[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if isinstance(error, LeadershipLost):
            die(str(error))
        if not server.should_exit:
            ended_early.append(error)
            _log.error("service_ended", exc_info=error)
            stop()

    working.add_done_callback(ended)
    try:
        await server.serve(sockets=[listening])
    finally:
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
    return 1 if ended_early or not server.started else 0


def die(reason: str) -> None:
    """End now: somebody else leads, and nothing of ours may be written any more."""
    _log.error("leadership_lost", reason=reason)
    logging.shutdown()
    sys.stderr.flush()
    os._exit(1)


def _config(app: FastAPI, settings: ServerSettings) -> uvicorn.Config:
    return uvicorn.Config(
        app, loop="asyncio", http="httptools", ws="none", lifespan="on", log_config=None,
        access_log=False, server_header=False, proxy_headers=False, backlog=BACKLOG,
        limit_concurrency=MAX_CONNECTIONS, timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=max(1, round(settings.stop_s)),
        ssl_certfile=None if settings.tls_cert is None else str(settings.tls_cert),
        ssl_keyfile=None if settings.tls_key is None else str(settings.tls_key),
    )  # fmt: skip


class _Server(uvicorn.Server):
    """uvicorn would end the process by the signal itself, before the database is closed."""

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        yield
