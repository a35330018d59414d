"""One cluster shared by many tests: each is a tenant of a fresh namespace, and leaves it empty."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.kubernetes.api import Api
from tests.kubernetes.build import program
from tests.kubernetes.objects import namespace as namespace_object
from tests.kubernetes.plane import ControlPlane
from tests.kubernetes.process import Guard, Server

_COUNT = itertools.count(1)
_LEFT_BEHIND = (
    "Pod", "PodDisruptionBudget", "PersistentVolumeClaim", "Event", "Lease", "ConfigMap", "Service",
)  # fmt: skip
_CLUSTER_WIDE_LEFT_BEHIND = ("Node", "PersistentVolume", "StorageClass", "CSINode")


@dataclass(frozen=True, slots=True)
class Tenant:
    """What a test has of a shared cluster: a namespace, a client in it, and a kubeconfig.

    `ours` says whether it is a throw-away one, in which a test may make nodes.
    """

    namespace: str
    api: Api
    kubeconfig: Path
    ours: bool


class SharedCluster:
    """A cluster of ours without controllers; between tests all nodes and pods are deleted."""

    def __init__(self, folder: Path) -> None:
        self._plane = ControlPlane(folder)

    def __enter__(self) -> Self:
        self._plane.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._plane.__exit__()

    @contextmanager
    def tenant(self, *, scheduler: bool = False) -> Iterator[Tenant]:
        """A fresh namespace; with the stock scheduler if wanted."""
        name = f"test-{next(_COUNT)}"
        self._plane.api.create(namespace_object(name))
        if scheduler:
            self._plane.start_scheduler({})
        try:
            with contextlib.closing(self._plane.as_administrator(name)) as api:
                yield Tenant(name, api, self._plane.kubeconfig, ours=True)
        finally:
            if scheduler:
                self._plane.kill_scheduler()
            self._empty()

    def _empty(self) -> None:
        """No controller removes a namespace here, so what is in them is removed kind by kind."""
        api = self._plane.api
        for found in api.list("Namespace"):
            if not found["metadata"]["name"].startswith("kube-"):
                for kind in _LEFT_BEHIND:
                    api.delete_all(kind, found["metadata"]["name"])
        for kind in _CLUSTER_WIDE_LEFT_BEHIND:
            api.delete_all(kind)


class OwnCluster:
    """The user's cluster, by way of `kubectl proxy`, which knows every kind of login."""

    def __init__(self, kubeconfig: Path, folder: Path) -> None:
        self._kubeconfig, self._folder = kubeconfig, folder

    def __enter__(self) -> Self:
        self._folder.chmod(0o700)
        self._guard, socket = Guard(self._folder / "pids"), self._folder / "proxy"
        command = [
            program("kubectl"), "proxy", f"--kubeconfig={self._kubeconfig}",
            f"--unix-socket={socket}", "--reject-paths=^$",
        ]  # fmt: skip
        self._proxy = Server("kubectl-proxy", command, self._folder / "proxy.log", self._guard)
        self._proxy.start()
        self._socket = socket
        self._proxy.wait_until(socket.exists)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._proxy.kill()
        self._guard.close()

    @contextmanager
    def tenant(self, *, scheduler: bool = False) -> Iterator[Tenant]:
        """A fresh namespace, deleted at the end; its scheduler is the cluster's own."""
        name = f"cerebrum-test-{os.getpid()}-{next(_COUNT)}"
        with Api("http://localhost", socket=self._socket, namespace=name) as api:
            api.create(namespace_object(name))
            try:
                yield Tenant(name, api, self._kubeconfig, ours=False)
            finally:
                api.delete("Namespace", name)
