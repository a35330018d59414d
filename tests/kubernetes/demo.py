"""`make demo-kubernetes`: a workflow on two Kubernetes clusters, one of which is cut off meanwhile.

Two control planes, each with nodes, kubelets that pass time, and an agent; one controller. A
workflow is decomposed and runs as pods in both; other pods, with `schedulerName: cerebrum`, come
from somebody else. Then the link between one agent and the controller is cut for a while.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from cerebrum.cli import _demo_federation as shown
from cerebrum.cli._output import Output
from cerebrum.cli._progress import say
from cerebrum.experiments.federation_report import WorkflowRecord
from cerebrum.model.errors import CerebrumError
from tests.kubernetes import build
from tests.kubernetes.api import ApiError
from tests.kubernetes.federation import SCHEDULER, Federation, KubernetesCluster
from tests.kubernetes.objects import pod
from tests.kubernetes.process import ServerError

SIZES = {"east": ("1x4000m,16Gi", "1x2000m,8Gi"), "west": ("3x2000m,8Gi",)}
"""Neither has room for all tasks that could run at once."""
CUT_OFF = "west"
PLAIN = 12
"""Pods of other people in each cluster, that only want a node."""
_TITLE = "A workflow on two Kubernetes clusters"
_AT_ONCE = 3
"""Runs that have to be under way in the cluster when it is cut off."""
_PATIENCE_S = 60.0


class Story:
    """What happens to the federation while the workflow runs: `going_on` is asked again and again.

    The cluster is cut off while it runs tasks, until the controller counts it as lost and some of
    its pods have ended without the controller hearing of it.
    """

    def __init__(self, federation: Federation, workflow: str) -> None:
        self._federation, self._workflow = federation, workflow
        self._cluster = federation.clusters[CUT_OFF]
        self._chapter = self._before
        self._known = self._elsewhere = 0
        self._cut_s = 0.0
        self.looks, self.overcommitted = 0, set[str]()

    def going_on(self) -> bool:
        """Do what is due. False when the workflow and all other pods have ended."""
        self._federation.processes.check()
        for cluster in self._federation.clusters.values():
            self.overcommitted |= {f"{cluster.name}/{n}" for n in cluster.overcommitted()}
        self.looks += 1
        self._chapter()
        others = (one for c in self._federation.clusters.values() for one in plain_pods(c))
        return shown.going_on(self._federation.client, [self._workflow]) or any(
            one["status"]["phase"] != "Succeeded" for one in others
        )

    def _before(self) -> None:
        running = [one for one in self._cluster.runs() if one["status"]["phase"] == "Running"]
        if len(running) >= _AT_ONCE:
            self._known, self._elsewhere = self._heard()
            self._cluster.link.cut()
            self._cut_s = time.monotonic()
            say(
                f"  {CUT_OFF} is cut off from the controller; {len(running)} pods of it are running"
            )
            self._chapter = self._missed

    def _missed(self) -> None:
        states = {row["id"]: row["state"] for row in self._federation.client.clusters()}
        if states[CUT_OFF] == "lost":
            say(f"  the controller counts {CUT_OFF} as lost: what it holds goes to nobody else yet")
            self._chapter = self._alone

    def _alone(self) -> None:
        ended = sum(self._cluster.succeeded().values()) - self._known
        if ended >= _AT_ONCE or time.monotonic() - self._cut_s > _PATIENCE_S:
            heard, elsewhere = self._heard()
            say(f"  meanwhile {ended} pods succeeded in {CUT_OFF}, of which the controller heard "
                f"{heard - self._known}; {elsewhere - self._elsewhere} elsewhere")  # fmt: skip
            self._cluster.link.mend()
            self._chapter = self._back

    def _back(self) -> None:
        if self._heard()[0] > self._known:
            say(f"  {CUT_OFF} is back after {time.monotonic() - self._cut_s:.0f} s, and reports")
            self._chapter = self._after

    def _after(self) -> None:
        pass

    def _heard(self) -> tuple[int, int]:
        """Tasks that the controller knows to have succeeded: in the cluster, in the others."""
        found = self._federation.client.tasks(self._workflow, state="succeeded")
        where = Counter(task["cluster"] == CUT_OFF for task in found)
        return where[True], where[False]


def plain_pods(cluster: KubernetesCluster) -> list[dict[str, Any]]:
    """Those that are no runs of ours."""
    return cluster.plane.api.list("Pod", labelSelector="of=somebody")


def make_plain_pods(cluster: KubernetesCluster) -> None:
    """Pods that somebody else makes, and that want a node from us."""
    cluster.plane.api.create_all(
        pod(f"job-{i:02d}", "150m", "128Mi", scheduler_name=SCHEDULER, run=f"{2 + i % 5}s",
            labels={"of": "somebody"})
        for i in range(PLAIN)
    )  # fmt: skip


def check(federation: Federation, story: Story, workflow: str) -> int:
    """Say what came out, from the API servers' own pods. 1 if anything is not as it should be."""
    expected = Counter({task["uid"]: 1 for task in federation.client.tasks(workflow)})
    clusters = list(federation.clusters.values())
    found: Counter[str] = sum((cluster.succeeded() for cluster in clusters), Counter())
    print("\nAs the API servers tell it:")
    for cluster in clusters:
        runs, plain = cluster.runs(), plain_pods(cluster)
        done = sum(one["status"]["phase"] == "Succeeded" for one in plain)
        print(f"  {cluster.name}: {len(cluster.succeeded())} of {len(runs)} pods of the workflow "
              f"and {done} of {len(plain)} other pods succeeded")  # fmt: skip
    lost, twice = expected - found, found - expected
    started = sum(len(cluster.runs()) for cluster in clusters)
    print(f"  {len(expected)} tasks: {started} pods, {len(lost)} without success, "
          f"{len(twice)} more than once")  # fmt: skip
    full = ", ".join(sorted(story.overcommitted)) or "no node"
    print(f"  over its capacity in {story.looks} looks: {full}")
    return int(bool(lost or twice or story.overcommitted))


def play(folder: Path, seconds: float, policy: str, page: Path) -> int:
    """Start, submit, cut, mend, account, stop. 1 if anything is not as it should be."""
    say(f"starting {len(SIZES)} control planes, {len(SIZES)} agents and a controller")
    flow, origin = shown.scaled_workflow(seconds, seed=42)
    with Federation(folder, SIZES, policy) as federation:
        client, clusters = federation.client, list(federation.clusters.values())
        say(f"controller at {client.url}; {', '.join(_told(cluster) for cluster in clusters)}")
        for cluster in clusters:
            make_plain_pods(cluster)
        workflow = shown.submit(client, flow)
        story = Story(federation, workflow)
        shown.watch(client, story.going_on)
        records: list[WorkflowRecord] = shown.records_of(
            client, [workflow], flow, [cluster.model for cluster in clusters]
        )
        intro = f"The workflow is {origin}."
        failed = shown.show(records, list(client.clusters()), intro, page, Output.TABLE, _TITLE)
        return failed or check(federation, story, workflow)


def _told(cluster: KubernetesCluster) -> str:
    cores = sum(node.capacity.cpu_milli for node in cluster.model.nodes) // 1000
    return f"{cluster.name}: {len(cluster.model.nodes)} nodes, {cores} cores"


def main() -> int:
    """Build what is missing, then play. Ends all that it started, also on Ctrl-C."""
    parser = argparse.ArgumentParser(prog="make demo-kubernetes ARGS=...", description=__doc__)
    parser.add_argument("--seconds", type=float, default=15.0, help="length of the critical path")
    parser.add_argument("--policy", default="best-fit", help="placement policy of both agents")
    parser.add_argument("--page", type=Path, default=Path("runs/demo-kubernetes.html"))
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        build.build(("etcd", "kube-apiserver"))
        with tempfile.TemporaryDirectory(prefix="cerebrum-demo-") as folder:
            return play(Path(folder), options.seconds, options.policy, options.page)
    except KeyboardInterrupt:
        say("stopped")
        return 130
    except (build.BuildError, ServerError, ApiError, CerebrumError) as problem:
        say(str(problem))
        return 1


if __name__ == "__main__":
    sys.exit(main())
