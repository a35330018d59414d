"""The part of a Pod that a run needs: names on it, typed fields of it."""

from __future__ import annotations

import hashlib
import re
from datetime import datetime

import msgspec

from cerebrum.executors.kubernetes.metadata import Metadata

MANAGED_BY = "app.kubernetes.io/managed-by"
MANAGER = "cerebrum"
RUN_ID = "cerebrum.dev/run-id"
CLUSTER = "cerebrum.dev/cluster"
TASK = "cerebrum.dev/task"
"""As a label a hash of the task's uid, as an annotation the uid itself."""
NODE = "cerebrum.dev/node"
END = "cerebrum.dev/end"
"""Annotation: why the run has to end, as JSON of `Mark`. Written before the pod is deleted."""
FENCE = "cerebrum.dev/fence-unix-s"
"""Annotation: the run ends by itself at this second."""
FORGOTTEN = "cerebrum.dev/forgotten"
"""Label of pods whose end is recorded elsewhere; they stay a while for their logs."""
FINALIZER = "cerebrum.dev/run"
"""Keeps an ended pod until its end is recorded, whoever deletes it."""
CONTAINER = "task"
STAGE = "stage-in"
WATCHDOG = "fence"

_DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_LABEL_VALUE = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")


class RunMetadata(Metadata):
    """Of a pod, with what its deletion depends on."""

    finalizers: list[str] = msgspec.field(default_factory=list[str])
    deletionGracePeriodSeconds: int | None = None


class Spec(msgspec.Struct, rename="camel"):
    """Of a pod."""

    node_name: str = ""


class Waiting(msgspec.Struct):
    """A container that does not run yet."""

    reason: str = ""
    message: str = ""


class Running(msgspec.Struct, rename="camel"):
    """A container that runs."""

    started_at: datetime | None = None


class Terminated(msgspec.Struct, rename="camel"):
    """A container that has ended."""

    exit_code: int = 0
    signal: int = 0
    reason: str = ""
    message: str = ""
    started_at: datetime | None = None
    finished_at: datetime | None = None


class State(msgspec.Struct):
    """One of three."""

    waiting: Waiting | None = None
    running: Running | None = None
    terminated: Terminated | None = None


class ContainerStatus(msgspec.Struct):
    """What became of a container."""

    name: str = ""
    state: State = msgspec.field(default_factory=State)


class Condition(msgspec.Struct, rename="camel"):
    """E.g. PodScheduled."""

    type: str = ""
    status: str = ""
    reason: str = ""
    message: str = ""
    last_transition_time: datetime | None = None


class Status(msgspec.Struct, rename="camel"):
    """Of a pod."""

    phase: str = ""
    reason: str = ""
    message: str = ""
    start_time: datetime | None = None
    conditions: list[Condition] | None = None
    container_statuses: list[ContainerStatus] | None = None
    init_container_statuses: list[ContainerStatus] | None = None


class RunPod(msgspec.Struct):
    """A pod that is a run of ours."""

    metadata: RunMetadata = msgspec.field(default_factory=RunMetadata)
    spec: Spec = msgspec.field(default_factory=Spec)
    status: Status = msgspec.field(default_factory=Status)

    @property
    def run_id(self) -> str:
        """The run it is, '' if it is none."""
        return self.metadata.labels.get(RUN_ID, "")

    def note(self, name: str) -> str:
        """An annotation, '' if it has none."""
        return self.metadata.annotations.get(name, "")

    def container(self, name: str = CONTAINER) -> State:
        """Where a container stands, init containers included."""
        s = self.status
        for found in (*(s.container_statuses or ()), *(s.init_container_statuses or ())):
            if found.name == name:
                return found.state
        return State()


class Mark(msgspec.Struct):
    """Why a run has to end, and in which phase: `stopped`, `start_failed` or `failed`."""

    phase: str
    reason: str


def is_pod_name(text: str) -> bool:
    """Whether a run id can name a pod (a DNS label: then it can be a host name and a label too)."""
    return _DNS_LABEL.fullmatch(text) is not None


def label_value(text: str) -> str:
    """The text where it can be a label's value, else a hash of it."""
    return text if _LABEL_VALUE.fullmatch(text) else hashlib.sha256(text.encode()).hexdigest()[:24]


def selector(cluster: str) -> str:
    """The label selector of this cluster's runs that are not forgotten."""
    own = f"{MANAGED_BY}={MANAGER},{CLUSTER}={label_value(cluster)},{RUN_ID}"
    return f"{own},!{FORGOTTEN}"


def forgotten_selector(cluster: str) -> str:
    """The label selector of those that are."""
    return f"{MANAGED_BY}={MANAGER},{CLUSTER}={label_value(cluster)},{FORGOTTEN}"
