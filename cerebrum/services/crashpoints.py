"""Named points at which a process can be made to die, for the tests that really kill it.

`CEREBRUM_CRASH_AT=NAME:N` ends the process by SIGKILL when it comes to the point NAME for the N-th
time. `CEREBRUM_CRASH_LOG=FILE` appends the name of each point it passes. Without either, the
`with_crash_points` functions give back what they are given: production pays nothing.

Names arise by themselves: around each store write (`store.WORK.before`, `.unsaved` when the work
is done and not committed, `.after`), around the writes of each kind of event
(`event.KIND.unsaved`, `.after`), around each request to the controller (`peer.METHOD.before`,
`.after`), each order to the executor (`executor.METHOD.before`, `.after`) and each request of the
pod scheduler to the API server (`kube.VERB.RESOURCE.before`, `.after`, as in
`kube.post.pods.binding.before` or `kube.list.nodes.after`).
"""

from __future__ import annotations

import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar, cast

from sqlalchemy import Connection, text

from cerebrum.services.ports import Store

T = TypeVar("T")
P = TypeVar("P")

_METHODS = {
    "peer": ("register", "poll", "ack", "report", "sync"),
    "executor": ("start", "stop", "forget", "fence", "runs"),
}

_NEW_EVENTS = text("SELECT kind, MAX(seq) FROM events WHERE seq > :seen GROUP BY kind")


def armed() -> bool:
    """Whether this process was started to die or to name its points."""
    return bool(os.environ.get("CEREBRUM_CRASH_AT") or os.environ.get("CEREBRUM_CRASH_LOG"))


def store_with_crash_points(store: Store) -> Store:
    """The store, with points around each write if this process is `armed`."""
    return _Store(store) if armed() else store


def peer_with_crash_points(peer: P) -> P:
    """The controller as the agent sees it, with points around each request if `armed`."""
    return cast(P, _Around("peer", peer)) if armed() else peer


def executor_with_crash_points(executor: P) -> P:
    """The executor, with points around each order if `armed`."""
    return cast(P, _Around("executor", executor)) if armed() else executor


def client_with_crash_points(client: P) -> P:
    """A client of a Kubernetes API, with points around each request if `armed`."""
    return cast(P, _AroundRequests(client)) if armed() else client


class _Points:
    """Counts how often each point was passed."""

    def __init__(self) -> None:
        name, _, count = os.environ.get("CEREBRUM_CRASH_AT", "").rpartition(":")
        self.fatal, self.count = name, int(count) if count.isdigit() else 1
        self.log = os.environ.get("CEREBRUM_CRASH_LOG", "")

    def __call__(self, name: str) -> None:
        if self.log:
            with Path(self.log).open("a") as log:
                log.write(name + "\n")
        if name == self.fatal:
            self.count -= 1
            if self.count == 0:
                os.kill(os.getpid(), signal.SIGKILL)


class _Store:
    """A store that may die around a write."""

    def __init__(self, store: Store) -> None:
        self._store, self._point, self._seen = store, _Points(), 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def write(self, work: Callable[[Connection], T]) -> T:
        name, kinds = _name(work), list[str]()

        def unsaved(connection: Connection) -> T:
            result = work(connection)
            kinds.extend(self._new_kinds(connection))
            self._point(f"store.{name}.unsaved")
            for kind in kinds:
                self._point(f"event.{kind}.unsaved")
            return result

        self._point(f"store.{name}.before")
        result = await self._store.write(unsaved)
        self._point(f"store.{name}.after")
        for kind in kinds:
            self._point(f"event.{kind}.after")
        return result

    def _new_kinds(self, connection: Connection) -> list[str]:
        """Kinds of the events that this transaction has added."""
        rows = connection.execute(_NEW_EVENTS, {"seen": self._seen}).tuples().all()
        self._seen = max((seq for _, seq in rows), default=self._seen)
        return sorted(kind for kind, _ in rows)

    async def read(self, work: Callable[[Connection], T]) -> T:
        return await self._store.read(work)


class _Around:
    """Any object, with points around some of its methods."""

    def __init__(self, kind: str, inner: Any) -> None:
        self._inner, point = inner, _Points()
        for method in _METHODS[kind]:
            call = getattr(inner, method)
            setattr(self, method, _surrounded(f"{kind}.{method}", call, point))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class _AroundRequests:
    """A Kubernetes client that may die around a request."""

    def __init__(self, client: Any) -> None:
        self._client, self._point = client, _Points()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    async def request(self, method: str, path: str, **options: Any) -> bytes:
        name = _request_name(method, path)
        self._point(f"{name}.before")
        answer = await self._client.request(method, path, **options)
        self._point(f"{name}.after")
        return answer


def _request_name(method: str, path: str) -> str:
    """`kube.VERB.RESOURCE`, and the subresource if there is one; objects are not named."""
    parts = path.strip("/").split("/")
    parts = parts[2 if parts[0] == "api" else 3 :]
    if len(parts) > 2 and parts[0] == "namespaces":
        parts = parts[2:]
    verb = "list" if method == "GET" and len(parts) == 1 else method.lower()
    return ".".join(["kube", verb, parts[0], *parts[2:3]])


def _surrounded(
    name: str, call: Callable[..., Awaitable[Any]], point: _Points
) -> Callable[..., Awaitable[Any]]:
    async def surrounded(*args: Any, **options: Any) -> Any:
        point(f"{name}.before")
        result = await call(*args, **options)
        point(f"{name}.after")
        return result

    return surrounded


def _name(work: Callable[..., Any]) -> str:
    """The function behind partials and bound methods, without `<locals>` and underscores."""
    while hasattr(work, "func"):
        work = cast(Any, work).func
    text = getattr(work, "__qualname__", type(work).__name__)
    kept = [part.strip("_<>") for part in text.split(".") if part != "<locals>"]
    return ".".join(kept[-2:])
