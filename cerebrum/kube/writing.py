"""Model nouns -> parts of a pod's spec: the inverse of `constraints` and `peers`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from cerebrum.kube.constraints import PREFERRED, REQUIRED, narrowed
from cerebrum.model.constraints import Constraints, Requirement, Term, Toleration
from cerebrum.model.peers import ANY_IP, HostPort, PeerRules, PeerSelector, PeerTerm, Spread

Object = dict[str, Any]


def placement_fields(constraints: Constraints, peers: PeerRules) -> Object:
    """`nodeSelector`, `affinity`, `tolerations` and `topologySpreadConstraints` of a pod's spec.

    Ports and claims are of its containers and volumes.
    """
    affinity = {
        "nodeAffinity": _node_affinity(constraints),
        "podAffinity": _pod_affinity(peers.near, peers.prefer_near),
        "podAntiAffinity": _pod_affinity(peers.apart, peers.prefer_apart),
    }
    return without_empty(
        {
            "nodeSelector": dict(constraints.selector),
            "affinity": without_empty(affinity),
            "tolerations": [_toleration(toleration) for toleration in constraints.tolerations],
            "topologySpreadConstraints": [
                *(_spread(spread, "DoNotSchedule") for spread in peers.spread),
                *(_spread(spread, "ScheduleAnyway") for spread in peers.prefer_spread),
            ],
        }
    )


def port_fields(ports: Iterable[HostPort]) -> list[Object]:
    """`ports` of a container."""
    found: list[Object] = []
    for port in ports:
        item: Object = {"containerPort": port.port, "hostPort": port.port}
        item["protocol"] = port.protocol
        if port.ip != ANY_IP:
            item["hostIP"] = port.ip
        found.append(item)
    return found


def without_empty(mapping: Object) -> Object:
    """The mapping without what is empty or None."""
    return {key: value for key, value in mapping.items() if value not in ("", {}, [], None)}


def _node_affinity(constraints: Constraints) -> Object:
    # The volumes themselves are not written: what is left of them is where they can be reached.
    required = [_term(term) for term in narrowed(constraints, constraints.volumes).required]
    return without_empty(
        {
            REQUIRED: {"nodeSelectorTerms": required} if required else {},
            PREFERRED: [
                {"weight": weight, "preference": _term(term)}
                for weight, term in constraints.preferred
            ],
        }
    )


def _term(term: Term) -> Object:
    return without_empty(
        {
            "matchExpressions": [_requirement(part) for part in term.labels],
            "matchFields": [_requirement(part) for part in term.fields],
        }
    )


def _requirement(part: Requirement) -> Object:
    return without_empty({"key": part.key, "operator": part.operator, "values": list(part.values)})


def _toleration(part: Toleration) -> Object:
    return without_empty(
        {"key": part.key, "operator": part.operator, "value": part.value, "effect": part.effect}
    )


def _pod_affinity(
    required: tuple[PeerTerm, ...], preferred: tuple[tuple[int, PeerTerm], ...]
) -> Object:
    return without_empty(
        {
            REQUIRED: [_peer_term(term) for term in required],
            PREFERRED: [
                {"weight": weight, "podAffinityTerm": _peer_term(term)}
                for weight, term in preferred
            ],
        }
    )


def _peer_term(term: PeerTerm) -> Object:
    item: Object = {"topologyKey": term.topology_key, **_label_selector(term.selector)}
    if term.selector.namespaces:
        item["namespaces"] = list(term.selector.namespaces)
    if term.selector.namespace_labels is not None:
        item["namespaceSelector"] = _selector(term.selector.namespace_labels)
    return item


def _label_selector(selector: PeerSelector) -> Object:
    """Nothing where it matches nobody: an empty selector would match everybody."""
    return {} if selector.nothing else {"labelSelector": _selector(selector.requirements)}


def _selector(requirements: tuple[Requirement, ...]) -> Object:
    return without_empty({"matchExpressions": [_requirement(part) for part in requirements]})


def _spread(spread: Spread, action: str) -> Object:
    item: Object = {
        "topologyKey": spread.topology_key,
        "maxSkew": spread.max_skew,
        "whenUnsatisfiable": action,
        "nodeAffinityPolicy": "Honor" if spread.honor_affinity else "Ignore",
        "nodeTaintsPolicy": "Honor" if spread.honor_taints else "Ignore",
        **_label_selector(spread.selector),
    }
    if spread.min_domains > 1:
        item["minDomains"] = spread.min_domains
    return item
