"""Inter-pod affinity, topology spread and host ports of a pod -> rules about other tasks.

Checked as the API server does (apis/core/validation): a selector may be absent (nobody) or empty
(everybody); `matchLabelKeys` and `mismatchLabelKeys` add requirements with the pod's own values.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from cerebrum.kube.constraints import PREFERRED, REQUIRED, read_requirement
from cerebrum.kube.fields import Fields
from cerebrum.model.constraints import Requirement
from cerebrum.model.errors import nearest
from cerebrum.model.peers import (
    ANY_IP,
    NO_RULES,
    HostPort,
    Pairs,
    PeerRules,
    PeerSelector,
    PeerTerm,
    Spread,
    TaskLabels,
)

_OPERATORS = ("In", "NotIn", "Exists", "DoesNotExist")
_HONOR = ("Honor", "Ignore")
_ACTIONS = ("DoNotSchedule", "ScheduleAnyway")
Peer = tuple[PeerTerm, ...]
Wishes = tuple[tuple[int, PeerTerm], ...]


def read_labels(metadata: Fields, namespace: str, namespace_labels: Pairs = ()) -> TaskLabels:
    """What selectors of other pods see of a pod."""
    labels = metadata.labels("labels")
    return TaskLabels(
        namespace=namespace,
        labels=tuple(sorted(labels.items())),
        namespace_labels=namespace_labels,
    )


def read_peers(metadata: Fields, spec: Fields, namespace: str) -> PeerRules:
    """The pod's rules about other pods, claims excepted; errors name the field."""
    own = _Own(namespace, metadata.labels("labels"))
    affinity = spec.child("affinity")
    near, prefer_near = _affinity(affinity.child("podAffinity"), own)
    apart, prefer_apart = _affinity(affinity.child("podAntiAffinity"), own)
    spread, prefer_spread = _spreads(spec, own)
    rules = PeerRules(
        near=near,
        apart=apart,
        spread=spread,
        ports=tuple(dict.fromkeys(_ports(spec))),
        prefer_near=prefer_near,
        prefer_apart=prefer_apart,
        prefer_spread=prefer_spread,
    )
    return NO_RULES if rules == NO_RULES else rules


def read_selector(item: Fields) -> tuple[Requirement, ...]:
    """The requirements of a label selector, `matchLabels` first in the order of their keys."""
    pairs = sorted(item.labels("matchLabels").items())
    found = [Requirement(key, "In", (value,)) for key, value in pairs]
    for part in item.children("matchExpressions"):
        requirement = read_requirement(part)
        if requirement.operator not in _OPERATORS:
            raise part.error(
                f"expected one of {', '.join(_OPERATORS)}, got {requirement.operator!r}", "operator"
            )
        found.append(requirement)
    return tuple(dict.fromkeys(found))


class _Own:
    """What of a pod its own rules depend on."""

    def __init__(self, namespace: str, labels: Mapping[str, str]) -> None:
        self.namespace = namespace
        self.labels = labels

    def like(self, keys: tuple[str, ...]) -> tuple[Requirement, ...]:
        """The same value as this pod, for every key it has."""
        return tuple(Requirement(k, "In", (self.labels[k],)) for k in keys if k in self.labels)

    def unlike(self, keys: tuple[str, ...]) -> tuple[Requirement, ...]:
        """Another value than this pod, for every key it has."""
        return tuple(Requirement(k, "NotIn", (self.labels[k],)) for k in keys if k in self.labels)


def _affinity(item: Fields, own: _Own) -> tuple[Peer, Wishes]:
    required = tuple(_term(term, own) for term in item.children(REQUIRED))
    preferred = tuple(
        (_weight(wish), _term(wish.child("podAffinityTerm"), own))
        for wish in item.children(PREFERRED)
    )
    return required, preferred


def _weight(item: Fields) -> int:
    if "weight" not in item:
        raise item.error("expected a whole number 1..100, found nothing", "weight")
    return item.integer("weight", 1, low=1, high=100)


def _term(item: Fields, own: _Own) -> PeerTerm:
    key = item.text("topologyKey")
    namespaces = item.texts("namespaces")
    among = None
    if "namespaceSelector" in item:
        among = read_selector(item.child("namespaceSelector"))
    elif not namespaces:
        namespaces = (own.namespace,)
    same, other = item.texts("matchLabelKeys"), item.texts("mismatchLabelKeys")
    if both := sorted(set(same) & set(other)):
        raise item.error(f"{both[0]!r} is in mismatchLabelKeys too", "matchLabelKeys")
    requirements = _with(_selector(item, same + other), own.like(same) + own.unlike(other))
    selector = PeerSelector(
        requirements=requirements or (),
        namespaces=tuple(sorted(set(namespaces))),
        namespace_labels=among,
        nothing=requirements is None,
    )
    return item.checked(lambda: PeerTerm(selector, key), "topologyKey")


def _selector(item: Fields, keys: tuple[str, ...]) -> tuple[Requirement, ...] | None:
    """The requirements of `labelSelector`; None where there is none, which matches nobody."""
    if "labelSelector" in item:
        return read_selector(item.child("labelSelector"))
    if keys:
        raise item.error("expected a selector beside the keys, found nothing", "labelSelector")
    return None


def _with(
    requirements: tuple[Requirement, ...] | None, more: tuple[Requirement, ...]
) -> tuple[Requirement, ...] | None:
    """Together; the API server may have put the same ones into the selector already."""
    return None if requirements is None else tuple(dict.fromkeys(requirements + more))


def _spreads(spec: Fields, own: _Own) -> tuple[tuple[Spread, ...], tuple[Spread, ...]]:
    found: dict[str, list[Spread]] = {action: [] for action in _ACTIONS}
    for item in spec.children("topologySpreadConstraints"):
        action = _choice(item, "whenUnsatisfiable", None, _ACTIONS)
        spread = _spread(item, action, own)
        if any(spread.topology_key == other.topology_key for other in found[action]):
            raise item.error(f"{spread.topology_key!r} is there twice with {action}", "topologyKey")
        found[action].append(spread)
    hard, soft = (tuple(found[action]) for action in _ACTIONS)
    return hard, soft


def _spread(item: Fields, action: str, own: _Own) -> Spread:
    if "maxSkew" not in item:
        raise item.error("expected a whole number of at least 1, found nothing", "maxSkew")
    if "minDomains" in item and action != "DoNotSchedule":
        raise item.error("expected none with ScheduleAnyway", "minDomains")
    keys = item.texts("matchLabelKeys")
    requirements = _with(_selector(item, keys), own.like(keys))
    spread_key = item.text("topologyKey")
    return item.checked(
        lambda: Spread(
            # Unlike anywhere else, an empty selector counts no pods here: kube-scheduler's rule.
            selector=PeerSelector(requirements or (), (own.namespace,), nothing=not requirements),
            topology_key=spread_key,
            max_skew=item.integer("maxSkew", 1, low=1),
            min_domains=item.integer("minDomains", 1, low=1),
            honor_affinity=_choice(item, "nodeAffinityPolicy", "Honor", _HONOR) == "Honor",
            honor_taints=_choice(item, "nodeTaintsPolicy", "Ignore", _HONOR) == "Honor",
        ),
        "topologyKey",
    )


def _choice(item: Fields, name: str, default: str | None, known: tuple[str, ...]) -> str:
    value = item.text(name, default)
    if value not in known:
        near = nearest(value, known)
        hint = f", did you mean {near!r}?" if near else ""
        raise item.error(f"expected {' or '.join(known)}, got {value!r}{hint}", name)
    return value


def _ports(spec: Fields) -> Iterator[HostPort]:
    """Host ports of what runs as long as the pod does: containers and sidecars."""
    shared = spec.flag("hostNetwork")
    sidecars = (
        container
        for container in spec.children("initContainers")
        if container.text("restartPolicy", "") == "Always"
    )
    for container in (*sidecars, *spec.children("containers")):
        for item in container.children("ports"):
            if port := _port(item, shared):
                yield port


def _port(item: Fields, shared: bool) -> HostPort | None:
    """With the host's network a container's port is the node's, as the API server fills in."""
    number = item.integer("hostPort", 0, high=2**16 - 1)
    inside = item.integer("containerPort", 0, high=2**16 - 1)
    if shared and number and inside and number != inside:
        raise item.error(f"expected {inside}, the containerPort, got {number}", "hostPort")
    number = number or (inside if shared else 0)
    if not number:
        return None
    protocol, ip = item.text("protocol", "") or "TCP", item.text("hostIP", "") or ANY_IP
    return item.checked(lambda: HostPort(number, protocol, ip), "protocol")
