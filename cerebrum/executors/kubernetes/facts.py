"""What the scheduler needs to know of a pod, read once from the API object."""

from __future__ import annotations

from dataclasses import dataclass

from cerebrum.kube.volumes import NO_DEMANDS, VolumeDemands
from cerebrum.model.peers import UNLABELLED, TaskLabels
from cerebrum.model.tasks import TaskClass

TERMINAL_PHASES = ("Succeeded", "Failed")
Key = tuple[str, str]
"""Namespace and name."""


@dataclass(frozen=True, slots=True)
class PodFacts:
    """One version of a pod.

    `node` where it is bound ('': nowhere); `group` its pod group as `namespace/name`; `gpus` the
    mask of the GPUs it was given; `volumes` what its claims ask for;
    `problem` why we cannot schedule it whatever the cluster looks like ('' if we can).
    """

    namespace: str
    name: str
    uid: str
    scheduler: str
    task_class: TaskClass
    node: str = ""
    phase: str = "Pending"
    deleting: bool = False
    gated: bool = False
    priority: int = 0
    preempts: bool = True
    group: str = ""
    labels: TaskLabels = UNLABELLED
    created_s: float = 0.0
    gpus: int = 0
    nominated: str = ""
    volumes: VolumeDemands = NO_DEMANDS
    problem: str = ""

    @property
    def key(self) -> Key:
        """Namespace and name."""
        return self.namespace, self.name

    @property
    def terminal(self) -> bool:
        """Whether its containers have ended for good: it uses nothing any more."""
        return self.phase in TERMINAL_PHASES

    @property
    def waits(self) -> bool:
        """Whether it is to be scheduled, by whomever."""
        return not (self.node or self.deleting or self.gated or self.terminal)

    def same_demands(self, other: PodFacts) -> bool:
        """Whether the engine's task of one serves for the other."""
        return (
            self.task_class == other.task_class
            and self.labels == other.labels
            and self.priority == other.priority
            and self.group == other.group
        )
