"""Kubernetes pods -> what they demand: class, labels, priority, group, place.

`read_pod` reads one pod of a file and raises what is wrong with its line; `reader.PodReader` reads
those of a live cluster.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from msgspec import Struct

from cerebrum.kube import names
from cerebrum.kube.constraints import read_constraints
from cerebrum.kube.fields import Fields
from cerebrum.kube.groups import group_name
from cerebrum.kube.objects import ClaimSource, Volume
from cerebrum.kube.peers import read_labels, read_peers
from cerebrum.kube.priorities import read_priority
from cerebrum.kube.requests import pod_resources
from cerebrum.kube.volumes import NO_DEMANDS, Storage, VolumeDemands, volume_demands
from cerebrum.model.peers import UNLABELLED, Pairs, TaskLabels
from cerebrum.model.resources import MAX_EXTENDED, extended_resources
from cerebrum.model.tasks import TaskClass

FINISHED = ("Succeeded", "Failed")
"""Phases of pods that hold nothing any more."""


@dataclass(slots=True)
class PodContext:
    """What a pod refers to; whoever owns the mappings keeps them up to date.

    `priorities`: PriorityClass -> value ('' the default), from `priorities.priorities`;
    `namespaces`: namespace -> its label pairs, sorted.
    """

    priorities: Mapping[str, int] = field(default_factory=dict[str, int])
    namespaces: Mapping[str, Pairs] = field(default_factory=dict[str, Pairs])
    storage: Storage = field(default_factory=Storage)


class PodDemands(Struct, frozen=True):
    """One pod in our terms.

    `group` its pod group (`namespace/name`, `default` left out) or ''; `node` where it is bound;
    `gpus` the mask of GPUs it was given there (0: not said); `gates` keep it from being looked at.
    `problem` says why it cannot be scheduled as it is, for an event ('': it can); `task_class` then
    holds as much as could be read, so that a bound pod still counts.
    """

    task_class: TaskClass
    labels: TaskLabels = UNLABELLED
    priority: int = 0
    group: str = ""
    node: str = ""
    gpus: int = 0
    may_preempt: bool = True
    gates: tuple[str, ...] = ()
    problem: str = ""
    phase: str = ""
    terminating: bool = False
    scheduler: str = "default-scheduler"
    volumes: VolumeDemands = NO_DEMANDS

    @property
    def finished(self) -> bool:
        """Whether it holds nothing any more."""
        return self.phase in FINISHED


def read_pod(item: Fields, context: PodContext, namespace: str = "") -> PodDemands:
    """A pod of a file. Raises the error of a field; `problem` says what else keeps it waiting.

    `namespace` is for templates, which do not say theirs.
    """
    metadata, spec, status = item.child("metadata"), item.child("spec"), item.child("status")
    namespace = namespace or metadata.text("namespace", "default")
    base = read_class(metadata, spec, status, namespace)
    volumes = volume_demands(
        metadata.text("name", ""), "", namespace, _volumes(spec), context.storage
    )
    task_class = spec.checked(lambda: with_volumes(base, volumes), "volumes")
    claims = tuple(claim.text("name") for claim in spec.children("resourceClaims"))
    return PodDemands(
        task_class=task_class,
        labels=read_labels(metadata, namespace, context.namespaces.get(namespace, ())),
        priority=read_priority(spec, context.priorities),
        group=group_name(
            namespace,
            metadata.labels("labels"),
            metadata.labels("annotations"),
            spec.child("schedulingGroup").text("podGroupName", ""),
        ),
        node=spec.text("nodeName", ""),
        may_preempt=spec.text("preemptionPolicy", "") != "Never",
        gates=tuple(gate.text("name") for gate in spec.children("schedulingGates")),
        problem=problem_text("", claims, volumes),
        phase=status.text("phase", ""),
        terminating="deletionTimestamp" in metadata,
        scheduler=spec.text("schedulerName", "default-scheduler"),
        volumes=volumes,
    )


def read_class(metadata: Fields, spec: Fields, status: Fields, namespace: str) -> TaskClass:
    """The pod's class, its volumes left out; errors name the field."""
    resources = pod_resources(metadata, spec, status)
    models = metadata.labels("annotations").get(names.GPU_MODEL, "").split("|")
    return TaskClass(
        resources=resources,
        gpu_models=tuple(filter(None, models)) if resources.gpu_count else (),
        constraints=read_constraints(spec),
        peers=read_peers(metadata, spec, namespace),
    )


def with_volumes(task_class: TaskClass, demands: VolumeDemands) -> TaskClass:
    """The class with what the volumes of its pod demand. Raises `InputError` for too many."""
    if not (demands.terms or demands.exclusive or demands.extended):
        return task_class
    resources, peers = task_class.resources, task_class.peers
    amounts = dict(resources.extended) | dict(demands.extended)
    return replace(
        task_class,
        resources=replace(resources, extended=extended_resources(amounts)),
        constraints=replace(task_class.constraints, volumes=demands.terms),
        peers=replace(peers, exclusive=demands.exclusive),
    )


def too_many_extended(asked: Iterable[str], known: Iterable[str]) -> str:
    """Why a pod asking for these extended resources cannot be told apart from others, or ''.

    `known` are those that live pods ask for already: the engine holds `MAX_EXTENDED` at a time.
    """
    kept = set(known)
    more = sorted(set(asked) - kept)
    if len(kept) + len(more) <= MAX_EXTENDED or not more:
        return ""
    return (
        f"asks for {', '.join(more)}, but at most {MAX_EXTENDED} extended resources can be in use "
        f"at a time, and these are: {', '.join(sorted(kept))}"
    )


def problem_text(problem: str, claims: tuple[str, ...], volumes: VolumeDemands) -> str:
    """The first thing that keeps a pod from being scheduled, or ''."""
    if problem:
        return problem
    if claims:
        return f"spec.resourceClaims: dynamic resource claims are not supported: {claims[0]}"
    return ", ".join(volumes.problems)


def _volumes(spec: Fields) -> list[Volume]:
    return [
        Volume(
            name=volume.text("name", ""),
            persistent_volume_claim=ClaimSource(
                volume.child("persistentVolumeClaim").text("claimName")
            )
            if "persistentVolumeClaim" in volume
            else None,
            ephemeral=volume.child("ephemeral").data if "ephemeral" in volume else None,
        )
        for volume in spec.children("volumes")
    ]
