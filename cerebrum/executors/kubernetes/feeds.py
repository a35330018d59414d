"""Nodes and pods of a cluster, listed and held once for everybody in the process who needs them.

The agent's inventory and the pod scheduler look at the same objects. Each kind has one informer,
which lives as long as the process; who listens may come and go. A listener that fails is heard no
more and hears of it, and the others go on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic

import numpy as np
import structlog

from cerebrum.executors.kubernetes.informer import Change, Informer, Source
from cerebrum.executors.kubernetes.metadata import T
from cerebrum.kube import objects

_log = structlog.get_logger("cerebrum.kubernetes.feeds")
OnChanges = Callable[[Sequence[Change[T]]], None]
BOUND = "spec.nodeName!=,status.phase!=Succeeded,status.phase!=Failed"
"""Field selector of the pods that use a node."""


class Listener(Generic[T]):
    """One who listens to a `Feed`, from `Feed.listen` to `close`."""

    def __init__(self, feed: Feed[T], on_changes: OnChanges[T]) -> None:
        self._feed = feed
        self._on_changes = on_changes
        self._broken = asyncio.Event()
        self.problem: Exception | None = None

    def tell(self, changes: Sequence[Change[T]]) -> None:
        """Changes, to be made known."""
        try:
            self._on_changes(changes)
        except Exception as problem:
            self.fail(problem)

    def fail(self, problem: Exception) -> None:
        """Nothing more will be heard, and why: it is in `problem`, and `watch` raises it."""
        _log.error("listener_failed", path=self._feed.informer.path, exc_info=problem)
        self.problem = problem
        self.close()
        self._broken.set()

    async def watch(self) -> None:
        """Wait for ever; raises what ended the listening."""
        await self._broken.wait()
        assert self.problem is not None
        raise self.problem

    def close(self) -> None:
        """Hear no more."""
        self._feed.listeners.pop(self, None)


class Feed(Generic[T]):
    """One informer, which `run` keeps going, and those who listen to it."""

    def __init__(
        self,
        client: Source,
        path: str,
        struct: type[T],
        rng: np.random.Generator,
        query: Mapping[str, str] | None = None,
        settle: Callable[[T], None] | None = None,
    ) -> None:
        self.informer = Informer(
            client, path, struct, self._changed, rng=rng, query=query, settle=settle
        )
        self.listeners: dict[Listener[T], None] = {}

    def listen(self, on_changes: OnChanges[T]) -> Listener[T]:
        """Hear of changes from now on, in batches; what is in `informer.items` now is not told."""
        listener = Listener(self, on_changes)
        self.listeners[listener] = None
        return listener

    async def run(self) -> None:
        """List and watch until cancelled. What ends it otherwise, listeners hear."""
        try:
            await self.informer.run()
        except Exception as problem:
            for listener in tuple(self.listeners):
                listener.fail(problem)
            raise

    def _changed(self, changes: Sequence[Change[T]]) -> None:
        for listener in tuple(self.listeners):
            listener.tell(changes)


class Feeds:
    """The kinds that several parts of an agent need. `run` works until cancelled.

    `all_pods`: also those that use no node (any more), which only a scheduler has to see.
    """

    def __init__(self, client: Source, rng: np.random.Generator, *, all_pods: bool = True) -> None:
        query = None if all_pods else {"fieldSelector": BOUND}
        self.nodes = Feed(client, "/api/v1/nodes", objects.Node, rng)
        self.pods = Feed(client, "/api/v1/pods", objects.Pod, rng, query, objects.detach)

    def by_kind(self) -> Mapping[str, Feed[Any]]:
        """The feeds by the names that `watching.KINDS` has for them."""
        return {"nodes": self.nodes, "pods": self.pods}

    async def run(self) -> None:
        """List and watch."""
        async with asyncio.TaskGroup() as group:
            for kind, feed in self.by_kind().items():
                group.create_task(feed.run(), name=f"feed-{kind}")
