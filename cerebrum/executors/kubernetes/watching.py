"""The informers of one cluster, and how their changes reach the mirror.

Nothing is decided before every kind is listed once: a node whose pods are not known yet looks
empty. Kinds that a cluster may lack (PodGroup) are looked for again every few minutes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import structlog

from cerebrum.executors.kubernetes.client import ApiError, Client, Unreachable
from cerebrum.executors.kubernetes.feeds import Feed, Listener
from cerebrum.executors.kubernetes.informer import Change, Informer
from cerebrum.kube import objects

_log = structlog.get_logger(__name__)
OnChanges = Callable[[str, Sequence[Change[Any]]], None]
_LOOK_AGAIN_S = 300.0

KINDS: dict[str, tuple[str, type[Any]]] = {
    "namespaces": ("/api/v1/namespaces", objects.Namespace),
    "priorityclasses": ("/apis/scheduling.k8s.io/v1/priorityclasses", objects.PriorityClass),
    "nodes": ("/api/v1/nodes", objects.Node),
    "claims": ("/api/v1/persistentvolumeclaims", objects.PersistentVolumeClaim),
    "volumes": ("/api/v1/persistentvolumes", objects.PersistentVolume),
    "storageclasses": ("/apis/storage.k8s.io/v1/storageclasses", objects.StorageClass),
    "csinodes": ("/apis/storage.k8s.io/v1/csinodes", objects.CSINode),
    "budgets": ("/apis/policy/v1/poddisruptionbudgets", objects.PodDisruptionBudget),
    "pods": ("/api/v1/pods", objects.Pod),
}
"""Kind -> path and struct, in the order in which they are read at the start."""
GROUPS: dict[str, tuple[str, type[Any]]] = {
    "podgroups": ("/apis/scheduling.x-k8s.io/v1alpha1/podgroups", objects.PodGroup),
}
"""Kinds that a cluster may lack."""


class Watching:
    """One informer for each kind. `on_changes(kind, changes)` hears of everything once `listen`ing.

    Kinds of `shared` have an informer already, which somebody else keeps going.
    """

    def __init__(
        self,
        client: Client,
        on_changes: OnChanges,
        rng: np.random.Generator,
        clock: Callable[[], float],
        shared: Mapping[str, Feed[Any]] | None = None,
    ) -> None:
        self._client = client
        self._on_changes = on_changes
        self._rng = rng
        self._clock = clock
        self.informers: dict[str, Informer[Any]] = {}
        self._listening = False
        self._lacking: set[str] = set()
        self._shared: dict[str, Listener[Any]] = {}
        for kind, (path, struct) in {**KINDS, **GROUPS}.items():
            if (feed := (shared or {}).get(kind)) is not None:
                self.informers[kind] = feed.informer
                self._shared[kind] = feed.listen(self._listener(kind))
                continue
            self.informers[kind] = Informer(
                client, path, struct, self._listener(kind), rng=rng, clock=clock,
                settle=objects.detach if struct is objects.Pod else None,
            )  # fmt: skip

    def _listener(self, kind: str) -> Callable[[Sequence[Change[Any]]], None]:
        def listen(changes: Sequence[Change[Any]]) -> None:
            if self._listening:
                self._on_changes(kind, changes)

        return listen

    def items(self, kind: str) -> Mapping[str, Any]:
        """What there is of a kind, by key."""
        return self.informers[kind].items

    @property
    def stale_s(self) -> float:
        """Seconds since the server last said anything about the kind that is longest silent."""
        ages = [i.stale_s for kind, i in self.informers.items() if kind not in self._lacking]
        return max(ages)

    async def start(self, tasks: asyncio.TaskGroup) -> None:
        """Begin in `tasks`; returns when every kind is there (or is known to be lacking)."""
        looked = [asyncio.Event() for _ in GROUPS]
        for kind in KINDS:
            theirs = self._shared.get(kind)
            tasks.create_task(self.informers[kind].run() if theirs is None else theirs.watch())
        for kind, event in zip(GROUPS, looked, strict=True):
            tasks.create_task(self._run_if_there(kind, event))
        for kind in KINDS:
            await self.informers[kind].synced.wait()
        for event in looked:
            await event.wait()

    def listen(self) -> None:
        """From now on changes are told; what is in `items` was not."""
        self._listening = True

    def close(self) -> None:
        """Listen to shared informers no more."""
        for listener in self._shared.values():
            listener.close()

    async def _run_if_there(self, kind: str, looked: asyncio.Event) -> None:
        informer = self.informers[kind]
        self._lacking.add(kind)
        while not await self._is_there(informer.path):
            looked.set()
            await asyncio.sleep(_LOOK_AGAIN_S)
        self._lacking.discard(kind)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(informer.run())
            await informer.synced.wait()
            looked.set()

    async def _is_there(self, path: str) -> bool:
        try:
            await self._client.request("GET", path, query={"limit": "1"})
        except ApiError as error:
            if error.status not in (403, 404):
                _log.warning("kind_not_read", path=path, problem=str(error))
            return False
        except Unreachable:
            return False
        return True
