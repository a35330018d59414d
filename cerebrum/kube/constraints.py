"""Node selector, node affinity and tolerations of a pod -> constraints."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, cast

from cerebrum.kube.fields import Fields
from cerebrum.model.constraints import Constraints, Requirement, Term, Toleration
from cerebrum.model.errors import InputError, nearest

_EFFECTS = ("", "NoSchedule", "PreferNoSchedule", "NoExecute")
REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"


MAX_TERMS = 256
"""Terms a pod's and its volumes' wishes for nodes may come to."""


def read_constraints(spec: Fields) -> Constraints:
    """What the pod's spec says about the nodes it may or would rather run on."""
    affinity = spec.at("affinity", "nodeAffinity")
    required = affinity.child(REQUIRED)
    terms = read_terms(required)
    if required.data and not terms:
        raise required.error("expected at least one term", "nodeSelectorTerms")
    return Constraints(
        selector=tuple(sorted(spec.labels("nodeSelector").items())),
        required=terms,
        preferred=tuple(
            (item.integer("weight", 1, low=1, high=100), _term(item.child("preference")))
            for item in affinity.children(PREFERRED)
        ),
        tolerations=tuple(_toleration(item) for item in spec.children("tolerations")),
    )


def read_terms(selector: Fields) -> tuple[Term, ...]:
    """The ORed `nodeSelectorTerms` of a node selector."""
    return tuple(_term(term) for term in selector.children("nodeSelectorTerms"))


def narrowed(constraints: Constraints, alternatives: Iterable[tuple[Term, ...]]) -> Constraints:
    """The constraints with more ORed terms of which each group must hold too.

    Kubernetes has one OR of ANDs: the groups are multiplied out. Raises `InputError` where that
    makes more than `MAX_TERMS`.
    """
    required = constraints.required
    for terms in alternatives:
        if not required:
            required = terms
            continue
        if len(required) * len(terms) > MAX_TERMS:
            raise InputError(f"expected at most {MAX_TERMS} combinations of terms for nodes")
        both = (_joined(one, other) for one in required for other in terms)
        required = tuple(dict.fromkeys(term for term in both if term)) or (Term(),)
    return replace(constraints, required=required)


def _joined(one: Term, other: Term) -> Term | None:
    """Both terms; None where no node can match them."""
    if not all((t.labels or t.fields) for t in (one, other)):
        return None
    labels = tuple(dict.fromkeys(one.labels + other.labels))
    absent = {part.key for part in labels if part.operator == "DoesNotExist"}
    if any(part.key in absent for part in labels if part.operator in ("In", "Exists", "Gt", "Lt")):
        return None
    return Term(labels, tuple(dict.fromkeys(one.fields + other.fields)))


def _term(item: Fields) -> Term:
    return Term(
        labels=tuple(read_requirement(part) for part in item.children("matchExpressions")),
        fields=tuple(read_requirement(part) for part in item.children("matchFields")),
    )


def read_requirement(item: Fields) -> Requirement:
    """One `key operator values`; errors name the field."""
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
