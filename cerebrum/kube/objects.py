"""Kubernetes objects as typed structs: the fields that somebody here needs, and no others.

`msgspec` decodes them straight from JSON (about 6 us a pod); what is not named here is skipped.
Names are the API's in snake_case. What only the class reader looks into (`Raw`) stays undecoded:
pods of one owner have the same bytes there, so their class is looked up and not read again.

A `Pod` keeps the bytes it was decoded from alive, a whole page of a list: `detach` what is kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec
from msgspec import Raw, Struct, field

from cerebrum.model.errors import InputError

Quantity = str | int | float
NOTHING = Raw(b"")
"""A part of a pod that is not there."""
T = TypeVar("T", bound="Object")


class _Part(Struct, rename="camel", omit_defaults=True, frozen=True, gc=False):
    """A mapping inside an object."""


class OwnerReference(_Part, frozen=True):
    """Whose an object is."""

    kind: str = ""
    name: str = ""
    uid: str = ""
    controller: bool | None = None


class Metadata(_Part, frozen=True):
    """What every object says of itself. Times as the API writes them (RFC 3339)."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None
    creation_timestamp: str | None = None
    deletion_timestamp: str | None = None
    deletion_grace_period_seconds: int | None = None
    generate_name: str = ""
    owner_references: list[OwnerReference] | None = None

    @property
    def key(self) -> str:
        """`namespace/name`, or `name` where the kind has no namespaces."""
        return f"{self.namespace}/{self.name}" if self.namespace else self.name

    @property
    def resourceVersion(self) -> str:  # the API's own name, which informers go by
        """The same as `resource_version`."""
        return self.resource_version


class Object(Struct, rename="camel", omit_defaults=True, frozen=True, gc=False):
    """What all objects share."""

    metadata: Metadata = Metadata()


class Container(_Part, frozen=True):
    """`resources` and `ports` as written."""

    name: str = ""
    resources: Raw = NOTHING
    ports: Raw = NOTHING
    restart_policy: str | None = None


class ClaimSource(_Part, frozen=True):
    """A volume that is a claim."""

    claim_name: str = ""


class Volume(_Part, frozen=True):
    """`ephemeral` is set where the volume makes a claim of its own."""

    name: str = ""
    persistent_volume_claim: ClaimSource | None = None
    ephemeral: dict[str, Any] | None = None


class SchedulingGroup(_Part, frozen=True):
    """The pod group of Kubernetes' own workload API (1.36)."""

    pod_group_name: str = ""


class Named(_Part, frozen=True):
    """Something of which the name is enough: a scheduling gate, a resource claim."""

    name: str = ""


class PodSpec(_Part, frozen=True):
    """A pod as asked for."""

    containers: list[Container] = field(default_factory=list[Container])
    init_containers: list[Container] | None = None
    volumes: list[Volume] | None = None
    node_name: str = ""
    scheduler_name: str = "default-scheduler"
    priority: int | None = None
    priority_class_name: str = ""
    preemption_policy: str | None = None
    scheduling_gates: list[Named] | None = None
    resource_claims: list[Named] | None = None
    scheduling_group: SchedulingGroup | None = None
    termination_grace_period_seconds: int | None = None
    host_network: bool | None = None
    affinity: Raw = NOTHING
    node_selector: Raw = NOTHING
    overhead: Raw = NOTHING
    resources: Raw = NOTHING
    tolerations: Raw = NOTHING
    topology_spread_constraints: Raw = NOTHING


class ContainerStatus(_Part, frozen=True):
    """What a container has got, while it is resized."""

    name: str = ""
    resources: Raw = NOTHING
    allocated_resources: Raw = NOTHING


class Condition(_Part, frozen=True):
    """A condition of a pod or node."""

    type: str = ""
    status: str = ""
    reason: str | None = None
    message: str | None = None
    last_transition_time: str | None = None


class PodStatus(_Part, frozen=True):
    """A pod as it is."""

    phase: str = ""
    conditions: list[Condition] | None = None
    nominated_node_name: str = ""
    start_time: str | None = None
    container_statuses: list[ContainerStatus] | None = None
    init_container_statuses: list[ContainerStatus] | None = None
    resources: Raw = NOTHING
    allocated_resources: Raw = NOTHING


class Pod(Object, frozen=True):
    """A v1 Pod."""

    spec: PodSpec = PodSpec()
    status: PodStatus = PodStatus()


class NodeTaint(_Part, frozen=True):
    """A taint of a node."""

    key: str = ""
    value: str = ""
    effect: str = ""


class NodeSpec(_Part, frozen=True):
    """Whether a node takes pods."""

    taints: list[NodeTaint] | None = None
    unschedulable: bool | None = None


class NodeStatus(_Part, frozen=True):
    """What a node offers."""

    allocatable: dict[str, Quantity | None] | None = None
    capacity: dict[str, Quantity | None] | None = None
    conditions: list[Condition] | None = None


class Node(Object, frozen=True):
    """A v1 Node."""

    spec: NodeSpec = NodeSpec()
    status: NodeStatus = NodeStatus()


class Namespace(Object, frozen=True):
    """A v1 Namespace: its labels."""


class LabelSelector(_Part, frozen=True):
    """`match_expressions` as written."""

    match_labels: dict[str, str] | None = None
    match_expressions: list[dict[str, Any]] | None = None


class ObjectReference(_Part, frozen=True):
    """Another object."""

    kind: str = ""
    namespace: str = ""
    name: str = ""
    uid: str = ""


class ClaimRequests(_Part, frozen=True):
    """What a claim asks for."""

    requests: dict[str, Quantity] | None = None


class ClaimSpec(_Part, frozen=True):
    """`storage_class_name` None: the default class, not given yet; '': none."""

    volume_name: str = ""
    storage_class_name: str | None = None
    access_modes: list[str] | None = None
    volume_mode: str | None = None
    volume_attributes_class_name: str | None = None
    selector: LabelSelector | None = None
    resources: ClaimRequests = ClaimRequests()


class Phase(_Part, frozen=True):
    """A status of which the phase is enough."""

    phase: str = ""


class PersistentVolumeClaim(Object, frozen=True):
    """A v1 PersistentVolumeClaim."""

    spec: ClaimSpec = ClaimSpec()
    status: Phase = Phase()


class CsiSource(_Part, frozen=True):
    """The driver that mounts a volume."""

    driver: str = ""


class VolumeAffinity(_Part, frozen=True):
    """`required` holds the `nodeSelectorTerms` of the nodes that can reach the volume."""

    required: dict[str, Any] | None = None


class VolumeSpec(_Part, frozen=True):
    """A volume of the cluster."""

    capacity: dict[str, Quantity] | None = None
    access_modes: list[str] | None = None
    storage_class_name: str = ""
    volume_mode: str | None = None
    volume_attributes_class_name: str | None = None
    claim_ref: ObjectReference | None = None
    node_affinity: VolumeAffinity | None = None
    csi: CsiSource | None = None


class PersistentVolume(Object, frozen=True):
    """A v1 PersistentVolume."""

    spec: VolumeSpec = VolumeSpec()
    status: Phase = Phase()


class TopologyTerm(_Part, frozen=True):
    """Where a storage class makes volumes."""

    match_label_expressions: list[dict[str, Any]] | None = None


class StorageClass(Object, frozen=True):
    """A storage.k8s.io/v1 StorageClass."""

    provisioner: str = ""
    volume_binding_mode: str | None = None
    allowed_topologies: list[TopologyTerm] | None = None


class Allocatable(_Part, frozen=True):
    """How many volumes of a driver a node can attach."""

    count: int | None = None


class CsiDriver(_Part, frozen=True):
    """A driver on a node."""

    name: str = ""
    allocatable: Allocatable | None = None


class CsiNodeSpec(_Part, frozen=True):
    """The drivers on a node."""

    drivers: list[CsiDriver] | None = None


class CSINode(Object, frozen=True):
    """A storage.k8s.io/v1 CSINode; it is called like its node."""

    spec: CsiNodeSpec = CsiNodeSpec()


class BudgetSpec(_Part, frozen=True):
    """Whose pods a budget is about."""

    selector: LabelSelector | None = None


class BudgetStatus(_Part, frozen=True):
    """`disruptions_allowed` pods may go now; `disrupted_pods` are counted already."""

    disruptions_allowed: int = 0
    disrupted_pods: dict[str, Any] | None = None


class PodDisruptionBudget(Object, frozen=True):
    """A policy/v1 PodDisruptionBudget."""

    spec: BudgetSpec = BudgetSpec()
    status: BudgetStatus = BudgetStatus()


class PriorityClass(Object, frozen=True):
    """A scheduling.k8s.io/v1 PriorityClass."""

    value: int = 0
    global_default: bool | None = None
    preemption_policy: str | None = None


class GangPolicy(_Part, frozen=True):
    """Kubernetes' own gangs (1.36)."""

    min_count: int = 1


class SchedulingPolicy(_Part, frozen=True):
    """How the pods of a group are scheduled."""

    gang: GangPolicy | None = None


class PodGroupSpec(_Part, frozen=True):
    """`min_member` in the plugins' and Volcano's groups, `scheduling_policy` in Kubernetes' own."""

    min_member: int | None = None
    scheduling_policy: SchedulingPolicy | None = None


class PodGroup(Object, frozen=True):
    """A PodGroup of scheduler-plugins, of Volcano or of Kubernetes itself."""

    spec: PodGroupSpec = PodGroupSpec()

    @property
    def gang(self) -> int:
        """How many of its pods start together; 0 where it asks for none to."""
        if self.spec.min_member is not None:
            return max(self.spec.min_member, 0)
        policy = self.spec.scheduling_policy
        return max(policy.gang.min_count, 0) if policy and policy.gang else 0


def detach(pod: Pod) -> None:
    """Copy the undecoded parts out of the bytes that the pod came from, which may then go."""
    spec, status = pod.spec, pod.status
    for part, names in (
        *((container, _CONTAINER_RAW) for container in spec.containers),
        *((container, _CONTAINER_RAW) for container in spec.init_containers or ()),
        (spec, _SPEC_RAW),
        *((container, _ACTUAL_RAW) for container in status.container_statuses or ()),
        *((container, _ACTUAL_RAW) for container in status.init_container_statuses or ()),
        (status, _ACTUAL_RAW),
    ):
        for name in names:
            if (raw := getattr(part, name)) is not NOTHING:
                msgspec.structs.force_setattr(part, name, raw.copy())


_CONTAINER_RAW = ("resources", "ports")
_SPEC_RAW = (
    "affinity", "node_selector", "overhead", "resources", "tolerations",
    "topology_spread_constraints",
)  # fmt: skip
_ACTUAL_RAW = ("resources", "allocated_resources")


def decode(text: bytes, kind: type[T]) -> T:
    """An object from JSON. Raises `InputError` naming the field (`$.spec.priority`)."""
    try:
        return msgspec.json.decode(text, type=kind)
    except msgspec.MsgspecError as error:
        raise InputError(f"{kind.__name__}: {error}") from None


def convert(data: Mapping[str, Any], kind: type[T]) -> T:
    """An object from plain data, such as a document of a file; errors as `decode`."""
    try:
        return decode(msgspec.json.encode(data), kind)
    except (OverflowError, TypeError, RecursionError) as error:
        raise InputError(f"{kind.__name__}: {error}") from None
