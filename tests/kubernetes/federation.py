"""Two real Kubernetes clusters under one controller, for a test and a demo.

    with Federation(folder, {"east": ("2x4000m,8Gi",), "west": ("3x2000m,4Gi",)}) as federation:
        federation.client.submit(...)  # becomes pods in both
        federation.clusters["west"].link.cut()

Each cluster is a control plane of its own, kubelets that pass time, and an agent that runs tasks as
pods and schedules pods with `schedulerName: cerebrum`. The agent reaches the controller over a link
that can be cut. All of it ends with the block, and with the process, in whatever way that ends.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from cerebrum.executors.kubernetes._runs_objects import MANAGED_BY, MANAGER, TASK
from cerebrum.model.cluster import Cluster
from cerebrum.services.api.nodes import cluster_nodes
from cerebrum.services.client import CerebrumClient
from cerebrum.services.local import ClusterPlan, LocalFederation
from tests.kubernetes.kubelet import Kubelet
from tests.kubernetes.link import Link
from tests.kubernetes.objects import node
from tests.kubernetes.plane import ControlPlane
from tests.kubernetes.process import Guard, free_ports

LEASE_S = 5.0
"""So short that a demo need not wait long for the controller to count a silent cluster as lost."""
SCHEDULER = "cerebrum"
_OVER = ("Succeeded", "Failed")


@dataclass
class KubernetesCluster:
    """One of the clusters: its nodes as the model has them, its control plane, its agent."""

    model: Cluster
    plane: ControlPlane
    plan: ClusterPlan
    link: Link

    @property
    def name(self) -> str:
        """Of the cluster."""
        return self.model.name

    def runs(self) -> list[dict[str, Any]]:
        """The pods of the federation's tasks, those that have ended too."""
        return self.plane.api.list("Pod", labelSelector=f"{MANAGED_BY}={MANAGER}")

    def succeeded(self) -> Counter[str]:
        """How many pods of each task ran to their end here, by the task's uid."""
        over = [pod for pod in self.runs() if pod["status"].get("phase") == "Succeeded"]
        return Counter(pod["metadata"]["annotations"][TASK] for pod in over)

    def overcommitted(self) -> list[str]:
        """Nodes of which more CPU or memory is in use than they have, at this moment."""
        used: Counter[tuple[str, str]] = Counter()
        for pod in self.plane.api.list("Pod"):
            where = pod["spec"].get("nodeName")
            if where and pod["status"].get("phase") not in _OVER:
                for container in pod["spec"]["containers"]:
                    asked = container.get("resources", {}).get("requests", {})
                    for resource, amount in asked.items():
                        used[where, resource] += _amount(amount)
        room = {n.name: n.capacity for n in self.model.nodes}
        return sorted(
            {
                where for (where, resource), amount in used.items()
                if amount > {"cpu": room[where].cpu_milli,
                             "memory": room[where].memory_mib << 20}[resource]
            }
        )  # fmt: skip


class Federation:
    """From `with` to its end. `sizes` has the nodes of each cluster, as `cerebrum lca --nodes`."""

    def __init__(
        self, folder: Path, sizes: Mapping[str, Sequence[str]], policy: str = "best-fit"
    ) -> None:
        self.folder, self._sizes, self._policy = folder, sizes, policy
        self.clusters: dict[str, KubernetesCluster] = {}
        self._ends = contextlib.ExitStack()

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._ends.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None:
        self._ends.close()

    def kill_agent(self, name: str) -> None:
        """`kill -9` of a cluster's agent."""
        self.processes.kill(name)

    def start_agent(self, name: str) -> None:
        """Start a cluster's agent again, on its old state."""
        self.processes.start_agent(self.clusters[name].plan)
        self._guard_processes()

    def _start(self) -> None:
        (port,) = free_ports(1)
        planes = [ControlPlane(self.folder / f"{name}-plane") for name in self._sizes]
        with ThreadPoolExecutor(len(planes)) as pool:  # in parallel, and all that started end
            started = [pool.submit(self._ends.enter_context, plane) for plane in planes]
        for start in started:
            start.result()
        for (name, kinds), plane in zip(self._sizes.items(), planes, strict=True):
            self.clusters[name] = self._cluster(name, kinds, plane, port)
        plans = [cluster.plan for cluster in self.clusters.values()]
        self._guard = Guard(self.folder / "pids")
        self._ends.callback(self._guard.close)
        self.processes = LocalFederation(
            self.folder, plans, port, options=("--lease", str(LEASE_S))
        )
        self._ends.enter_context(self.processes)
        self._guard_processes()
        self.client: CerebrumClient = self._ends.enter_context(self.processes.client())

    def _cluster(
        self, name: str, kinds: Sequence[str], plane: ControlPlane, port: int
    ) -> KubernetesCluster:
        model = Cluster(cluster_nodes(kinds, None), name=name)
        plane.api.create_all(
            node(n.name, f"{n.capacity.cpu_milli}m", f"{n.capacity.memory_mib}Mi")
            for n in model.nodes
        )
        self._ends.enter_context(Kubelet(plane.as_administrator()))
        link = self._ends.enter_context(Link(port))
        plan = ClusterPlan(
            name, (), self._policy,
            ("--gcc-url", link.url, "--executor", "kubernetes", "--mode", "bind",
             "--kubeconfig", str(plane.kubeconfig), "--scheduler-name", SCHEDULER),
        )  # fmt: skip
        return KubernetesCluster(model, plane, plan, link)

    def _guard_processes(self) -> None:
        """Controller and agents end with this process even when it is killed."""
        for name, process in self.processes.processes.items():
            (self._guard.folder / f"{name}.pid").write_text(str(process.pid), "ascii")


def _amount(quantity: str) -> int:
    """Millicores or bytes, of what we wrote ourselves and how the API server writes it."""
    for suffix, factor in (("Ki", 2**10), ("Mi", 2**20), ("Gi", 2**30)):
        if quantity.endswith(suffix):
            return int(quantity.removesuffix(suffix)) * factor
    return int(quantity.removesuffix("m")) if quantity.endswith("m") else int(quantity) * 1000
