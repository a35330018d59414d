"""What the volumes of a pod demand of its node, by the rules of kube-scheduler's volume plugins.

A bound claim holds the pod to the nodes its volume can be reached from; a claim that waits for its
first consumer, to those a free volume is on or a new one can be made for. Two things differ from
kube-scheduler: a volume that pods share on one node counts once for each of them towards the
driver's limit, and free capacity of storage (CSIStorageCapacity) is not looked at.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction

from cerebrum.kube import names
from cerebrum.kube.constraints import read_terms
from cerebrum.kube.fields import Fields
from cerebrum.kube.objects import (
    CSINode,
    LabelSelector,
    PersistentVolume,
    PersistentVolumeClaim,
    StorageClass,
    Volume,
)
from cerebrum.kube.peers import read_selector
from cerebrum.model import quantity
from cerebrum.model.constraints import Requirement, Term
from cerebrum.model.errors import InputError

UNLIMITED = 2**53 - 1
"""The largest amount the engine counts: volumes of a driver that states no limit."""
NO_PROVISIONER = "kubernetes.io/no-provisioner"
ONE_POD = "ReadWriteOncePod"
_WAIT = "WaitForFirstConsumer"
_BETA_CLASS = "volume.beta.kubernetes.io/storage-class"
_BOUND = "pv.kubernetes.io/bind-completed"
_NOWHERE = (Term(),)
Terms = tuple[Term, ...]


@dataclass(slots=True)
class Storage:
    """The storage objects of a cluster; whoever owns them keeps the mappings up to date.

    `claims` by `namespace/name`; the others by name, `csi_nodes` by that of the node.
    """

    claims: dict[str, PersistentVolumeClaim] = field(
        default_factory=dict[str, PersistentVolumeClaim]
    )
    volumes: dict[str, PersistentVolume] = field(default_factory=dict[str, PersistentVolume])
    classes: dict[str, StorageClass] = field(default_factory=dict[str, StorageClass])
    csi_nodes: dict[str, CSINode] = field(default_factory=dict[str, CSINode])

    def limited(self, driver: str) -> bool:
        """Whether some node says how many volumes of the driver it can attach."""
        return any(driver in attach_limits(node) for node in self.csi_nodes.values())


@dataclass(frozen=True, slots=True)
class VolumeDemands:
    """What a pod's volumes ask for.

    `terms`: of each group a node must match one term. `exclusive`: claims only one pod may use.
    `extended`: volumes to attach, per driver, as extended resources. `missing` says which claims
    there are not, `unusable` what is wrong with those there are: both keep the pod from being
    scheduled. `to_provision`: claims that need the annotation `selected-node` once a node is
    chosen. `to_bind`: claims (`namespace/name`) with the free volumes that would do, smallest
    first; see `choose_volumes`.
    """

    terms: tuple[Terms, ...] = ()
    exclusive: tuple[str, ...] = ()
    extended: tuple[tuple[str, int], ...] = ()
    missing: tuple[str, ...] = ()
    unusable: tuple[str, ...] = ()
    to_provision: tuple[str, ...] = ()
    to_bind: tuple[tuple[str, tuple[PersistentVolume, ...]], ...] = ()

    @property
    def problems(self) -> tuple[str, ...]:
        """Everything that keeps the pod from being scheduled, in kube-scheduler's words."""
        return self.missing + self.unusable


NO_DEMANDS = VolumeDemands()


def claim_names(pod: str, volumes: Iterable[Volume]) -> Iterator[tuple[str, bool]]:
    """The claims of a pod's volumes, and whether the pod makes them itself (`pod-volume`)."""
    for volume in volumes:
        if volume.persistent_volume_claim is not None:
            yield volume.persistent_volume_claim.claim_name, False
        elif volume.ephemeral is not None:
            yield f"{pod}-{volume.name}", True


def volume_demands(
    pod: str, uid: str, namespace: str, volumes: Iterable[Volume], storage: Storage
) -> VolumeDemands:
    """What the volumes of the pod called `pod` demand; `uid` '' where pods have none (files)."""
    reading = _Reading(storage)
    for name, own in claim_names(pod, volumes):
        key = f"{namespace}/{name}"
        claim = storage.claims.get(key)
        if claim is None:
            reading.missing.append(_not_found(name, own))
        elif problem := _unusable(claim, name, own, uid):
            reading.unusable.append(problem)
        else:
            try:
                reading.claim(key, claim)
            except InputError as error:
                reading.unusable.append(f'persistentvolumeclaim "{name}": {error}')
    return reading.demands()


def _not_found(name: str, own: bool) -> str:
    if own:
        waiting = "waiting for ephemeral volume controller to create the persistentvolumeclaim"
        return f'{waiting} "{name}"'
    return f'persistentvolumeclaim "{name}" not found'


def _unusable(claim: PersistentVolumeClaim, name: str, own: bool, uid: str) -> str:
    """Why a pod cannot use a claim, in kube-scheduler's words, or ''."""
    if claim.status.phase == "Lost":
        volume = claim.spec.volume_name
        return f'persistentvolumeclaim "{name}" bound to non-existent persistentvolume "{volume}"'
    if claim.metadata.deletion_timestamp is not None:
        return f'persistentvolumeclaim "{name}" is being deleted'
    owners = claim.metadata.owner_references or ()
    if own and uid and not any(owner.uid == uid and owner.controller for owner in owners):
        return f'persistentvolumeclaim "{name}" was not created for the pod'
    return ""


class _Reading:
    """Collects the demands of one pod's claims."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self.terms: list[Terms] = []
        self.exclusive: list[str] = []
        self.attached: Counter[str] = Counter()
        self.missing: list[str] = []
        self.unusable: list[str] = []
        self.to_provision: list[str] = []
        self.to_bind: list[tuple[str, tuple[PersistentVolume, ...]]] = []
        self.seen: set[str] = set()

    def claim(self, key: str, claim: PersistentVolumeClaim) -> None:
        """Add what one claim demands."""
        if key in self.seen:
            return
        self.seen.add(key)
        if ONE_POD in (claim.spec.access_modes or ()):
            self.exclusive.append(key)
        if claim.spec.volume_name and _bound(claim):
            self._held(claim)
        elif self._waits(claim):
            self._unbound(key, claim)
        else:
            problem = "pod has unbound immediate PersistentVolumeClaims"
            if problem not in self.unusable:
                self.unusable.append(problem)

    def demands(self) -> VolumeDemands:
        """What was collected."""
        limited = {d: n for d, n in self.attached.items() if self.storage.limited(d)}
        found = VolumeDemands(
            terms=tuple(dict.fromkeys(self.terms)),
            exclusive=tuple(sorted(self.exclusive)),
            extended=tuple(sorted((names.ATTACHABLE + d, n) for d, n in limited.items())),
            missing=tuple(self.missing),
            unusable=tuple(self.unusable),
            to_provision=tuple(self.to_provision),
            to_bind=tuple(self.to_bind),
        )
        return NO_DEMANDS if found == NO_DEMANDS else found

    def _held(self, claim: PersistentVolumeClaim) -> None:
        volume = self.storage.volumes.get(claim.spec.volume_name)
        if volume is None:
            self.unusable.append(f'persistentvolume "{claim.spec.volume_name}" not found')
            return
        self.terms += [terms for terms in (_affinity(volume),) if terms]
        self.terms += _zones(volume)
        if volume.spec.csi is not None:
            self.attached[volume.spec.csi.driver] += 1

    def _waits(self, claim: PersistentVolumeClaim) -> bool:
        """Whether the claim is bound only when its pod has a node."""
        found = self.storage.classes.get(_class_name(claim))
        return (
            not claim.spec.volume_name and found is not None and found.volume_binding_mode == _WAIT
        )

    def _unbound(self, key: str, claim: PersistentVolumeClaim) -> None:
        """Nodes where a free volume is or a new one can be made."""
        kind = self.storage.classes[_class_name(claim)]
        selected = (claim.metadata.annotations or {}).get(names.SELECTED_NODE)
        free = () if selected else self._candidates(claim)
        makes = kind.provisioner not in ("", NO_PROVISIONER)
        if makes:
            self.to_provision.append(key)
            self.attached[kind.provisioner] += 1
        if free:
            self.to_bind.append((key, free))
        if selected:
            self.terms.append((_only(selected),))
        places = [_affinity(volume) for volume in free]
        if makes:
            places.append(_topologies(kind))
        if all(places):  # one without terms can be reached from everywhere
            found = tuple(dict.fromkeys(term for terms in places for term in terms))
            self.terms.append(found or _NOWHERE)

    def _candidates(self, claim: PersistentVolumeClaim) -> tuple[PersistentVolume, ...]:
        """The free volumes that would do, one kept for this claim alone, else smallest first."""
        wanted = _size((claim.spec.resources.requests or {}).get("storage", 0))
        fit: list[tuple[Fraction, str, PersistentVolume]] = []
        for volume in self.storage.volumes.values():
            size = _size((volume.spec.capacity or {}).get("storage", 0))
            if size < wanted or not _alike(claim, volume):
                continue
            if volume.spec.claim_ref is not None:
                if _kept_for(volume, claim):
                    return (volume,)
            elif _free_for(claim, volume):
                fit.append((size, volume.metadata.name, volume))
        return tuple(volume for _, _, volume in sorted(fit, key=lambda item: item[:2]))


def choose_volumes(
    demands: VolumeDemands, node: str, labels: Mapping[str, str]
) -> dict[str, str] | None:
    """Claim -> free volume to bind it to on that node; claims to provision are left out.

    None where a claim that cannot be provisioned finds none (others took the last one).
    """
    chosen: dict[str, str] = {}
    taken: set[str] = set()
    for claim, volumes in demands.to_bind:
        for volume in volumes:
            terms, name = _affinity(volume), volume.metadata.name
            if name in taken or (terms and not any(t.matches(node, labels) for t in terms)):
                continue
            chosen[claim] = name
            taken.add(name)
            break
        else:
            if claim not in demands.to_provision:
                return None
    return chosen


def attach_limits(node: CSINode) -> dict[str, int]:
    """Driver -> how many of its volumes the node can attach, where it says so."""
    return {
        driver.name: driver.allocatable.count
        for driver in node.spec.drivers or ()
        if driver.allocatable is not None and driver.allocatable.count is not None
    }


def attachable(name: str, limits: Mapping[str, int]) -> int:
    """What a node offers of an extended resource that counts a driver's volumes."""
    return max(limits.get(name.removeprefix(names.ATTACHABLE), UNLIMITED), 0)


def _bound(claim: PersistentVolumeClaim) -> bool:
    """Completely bound: a file may say so by the phase, the API server says it by annotation."""
    return _BOUND in (claim.metadata.annotations or {}) or claim.status.phase == "Bound"


def _class_name(claim: PersistentVolumeClaim) -> str:
    old = (claim.metadata.annotations or {}).get(_BETA_CLASS)
    return old if old is not None else claim.spec.storage_class_name or ""


def _affinity(volume: PersistentVolume) -> Terms:
    """The terms of the volume's node affinity; none: reached from everywhere."""
    affinity = volume.spec.node_affinity
    if affinity is None or affinity.required is None:
        return ()
    return read_terms(Fields.of(affinity.required)) or _NOWHERE


def _zones(volume: PersistentVolume) -> Iterator[Terms]:
    """Terms of the zone and region labels of older volumes; a node without any takes all."""
    unlabelled = Term(tuple(Requirement(key, "DoesNotExist") for key in names.TOPOLOGY))
    labels = volume.metadata.labels or {}
    for key in names.TOPOLOGY:
        zones = tuple(sorted({zone.strip() for zone in labels.get(key, "").split("__")}))
        if not all(zones):
            continue  # absent or unreadable: kube-scheduler ignores it
        yield (*_in_zones(key, zones), unlabelled)


def _in_zones(key: str, zones: tuple[str, ...]) -> Terms:
    at = Term((Requirement(key, "In", zones),))
    if key not in names.TOPOLOGY[2:]:
        return (at,)
    newer = names.TOPOLOGY[names.TOPOLOGY.index(key) - 2]
    return at, Term((Requirement(key, "DoesNotExist"), Requirement(newer, "In", zones)))


def _topologies(kind: StorageClass) -> Terms:
    """Where the class makes volumes; none: everywhere."""
    found: list[Term] = []
    for term in kind.allowed_topologies or ():
        parts = [Fields.of(part) for part in term.match_label_expressions or ()]
        found.append(
            Term(tuple(Requirement(p.text("key"), "In", p.texts("values")) for p in parts))
        )
    return tuple(found)


def _only(node: str) -> Term:
    return Term(fields=(Requirement("metadata.name", "In", (node,)),))


def _alike(claim: PersistentVolumeClaim, volume: PersistentVolume) -> bool:
    mode = claim.spec.volume_mode or "Filesystem"
    kind = claim.spec.volume_attributes_class_name or ""
    return (
        volume.metadata.deletion_timestamp is None
        and mode == (volume.spec.volume_mode or "Filesystem")
        and kind == (volume.spec.volume_attributes_class_name or "")
    )


def _kept_for(volume: PersistentVolume, claim: PersistentVolumeClaim) -> bool:
    reference, own = volume.spec.claim_ref, claim.metadata
    return (
        reference is not None
        and (reference.namespace, reference.name) == (own.namespace or "default", own.name)
        and reference.uid in ("", own.uid)
    )


def _free_for(claim: PersistentVolumeClaim, volume: PersistentVolume) -> bool:
    return (
        volume.status.phase == "Available"
        and volume.spec.storage_class_name == _class_name(claim)
        and set(claim.spec.access_modes or ()) <= set(volume.spec.access_modes or ())
        and _selects(claim.spec.selector, volume.metadata.labels or {})
    )


def _selects(selector: LabelSelector | None, labels: Mapping[str, str]) -> bool:
    if selector is None:
        return True
    item = Fields.of(
        {"matchLabels": selector.match_labels, "matchExpressions": selector.match_expressions}
    )
    return all(requirement.matches(labels) for requirement in read_selector(item))


def _size(value: str | int | float) -> Fraction:
    return quantity.parse_quantity(value, "storage")
