"""Node selector, node affinity and tolerations of a pod -> constraints."""

from __future__ import annotations

from typing import Any, cast

from cerebrum.kube.fields import Fields
from cerebrum.model.constraints import Constraints, Requirement, Term, Toleration
from cerebrum.model.errors import InputError, nearest

_EFFECTS = ("", "NoSchedule", "PreferNoSchedule", "NoExecute")
_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"


def read_constraints(spec: Fields) -> Constraints:
    """What the pod's spec says about the nodes it may or would rather run on."""
    affinity = spec.at("affinity", "nodeAffinity")
    required = affinity.child(_REQUIRED)
    terms = tuple(_term(term) for term in required.children("nodeSelectorTerms"))
    if required.data and not terms:
        raise required.error("expected at least one term", "nodeSelectorTerms")
    return Constraints(
        selector=tuple(sorted(spec.labels("nodeSelector").items())),
        required=terms,
        preferred=tuple(
            (item.integer("weight", 1, low=1, high=100), _term(item.child("preference")))
            for item in affinity.children(_PREFERRED)
        ),
        tolerations=tuple(_toleration(item) for item in spec.children("tolerations")),
    )


def _term(item: Fields) -> Term:
    return Term(
        labels=tuple(_requirement(part) for part in item.children("matchExpressions")),
        fields=tuple(_requirement(part) for part in item.children("matchFields")),
    )


def _requirement(item: Fields) -> Requirement:
    key, operator, values = item.text("key"), item.text("operator"), item.texts("values")
    try:
        return Requirement(key, cast(Any, operator), values)
    except InputError as error:
        raise item.error(error.problem, error.place.field or "operator") from None


def _toleration(item: Fields) -> Toleration:
    operator, effect = item.text("operator", "Equal"), item.text("effect", "")
    for name, value, known in (
        ("operator", operator, ("Equal", "Exists")),
        ("effect", effect, _EFFECTS),
    ):
        if value not in known:
            near = nearest(value, known)
            hint = f", did you mean {near!r}?" if near else ""
            expected = " or ".join(filter(None, known))
            raise item.error(f"expected {expected}, got {value!r}{hint}", name)
    key, value = item.text("key", ""), item.text("value", "")
    if not key and operator == "Equal":
        raise item.error("expected Exists where there is no key", "operator")
    return Toleration(key, cast(Any, operator), value, effect)
