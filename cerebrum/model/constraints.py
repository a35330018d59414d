"""Where a task may go: label expressions, node selectors and affinity, tolerations.

Semantics follow Kubernetes' `nodeSelector`, `nodeAffinity` and `tolerations`; `why` these exist as
values is that tasks with equal constraints share one compiled mask in the engine.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from cerebrum.model.cluster import Taint
from cerebrum.model.errors import InputError, nearest

Operator = Literal["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"]
_OPERATORS = ("In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt")


@dataclass(frozen=True, slots=True)
class Requirement:
    """`key operator values`. `Gt` and `Lt` compare whole numbers and take one value."""

    key: str
    operator: Operator
    values: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.operator not in _OPERATORS:
            near = nearest(str(self.operator), _OPERATORS)
            hint = f", did you mean {near!r}?" if near else ""
            raise InputError(
                f"expected one of {', '.join(_OPERATORS)}, got {self.operator!r}{hint}"
            ).at(field="operator")
        wanted = {"In": "at least one value", "NotIn": "at least one value"}
        if self.operator in wanted and not self.values:
            raise InputError(f"{self.operator} expects {wanted[self.operator]}").at(field="values")
        if self.operator in ("Exists", "DoesNotExist") and self.values:
            raise InputError(f"{self.operator} expects no values").at(field="values")
        if self.operator in ("Gt", "Lt") and (len(self.values) != 1 or not _whole(self.values[0])):
            raise InputError(f"{self.operator} expects one whole number").at(field="values")

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether labels satisfy it; an absent key satisfies NotIn, as in Kubernetes."""
        value = labels.get(self.key)
        match self.operator:
            case "Exists":
                return value is not None
            case "DoesNotExist":
                return value is None
            case "In":
                return value in self.values
            case "NotIn":
                return value not in self.values
            case "Gt" | "Lt":
                if value is None or not _whole(value):
                    return False
                left, right = int(value), int(self.values[0])
                return left > right if self.operator == "Gt" else left < right


@dataclass(frozen=True, slots=True)
class Term:
    """Requirements on labels and on node fields (`metadata.name`), all of which must hold.

    An empty term matches no node (Kubernetes).
    """

    labels: tuple[Requirement, ...] = ()
    fields: tuple[Requirement, ...] = ()

    def matches(self, name: str, labels: Mapping[str, str]) -> bool:
        """Whether the node called `name` satisfies every requirement."""
        if not self.labels and not self.fields:
            return False
        fields = {"metadata.name": name}
        return all(r.matches(labels) for r in self.labels) and all(
            r.matches(fields) for r in self.fields
        )


@dataclass(frozen=True, slots=True)
class Toleration:
    """What taints a task puts up with; an empty key tolerates all, an empty effect any effect."""

    key: str = ""
    operator: Literal["Equal", "Exists"] = "Equal"
    value: str = ""
    effect: str = ""

    def tolerates(self, taint: Taint) -> bool:
        """Whether this toleration covers `taint`."""
        if self.effect and self.effect != taint.effect:
            return False
        if not self.key:
            return self.operator == "Exists"
        if self.key != taint.key:
            return False
        return self.operator == "Exists" or self.value == taint.value


@dataclass(frozen=True, slots=True)
class Constraints:
    """Everything about a task class that selects nodes by what they are, not by what is free.

    `selector` sorted label pairs, all required; `required` ORed terms; `preferred` weighted terms
    (1..100 each); `tolerations`. `volumes` are groups of ORed terms, one a volume, that must all
    hold: where the volume can be reached. They are no wish of the task's own, so topology spread
    counts nodes beyond them.
    """

    selector: tuple[tuple[str, str], ...] = ()
    required: tuple[Term, ...] = ()
    preferred: tuple[tuple[int, Term], ...] = ()
    tolerations: tuple[Toleration, ...] = ()
    volumes: tuple[tuple[Term, ...], ...] = ()

    def selects(self, name: str, labels: Mapping[str, str]) -> bool:
        """Whether node selector and required affinity admit the node."""
        if any(labels.get(key) != value for key, value in self.selector):
            return False
        return not self.required or any(term.matches(name, labels) for term in self.required)

    def reaches(self, name: str, labels: Mapping[str, str]) -> bool:
        """Whether the node can have every volume."""
        return all(any(term.matches(name, labels) for term in group) for group in self.volumes)

    def untolerated(self, taints: tuple[Taint, ...]) -> Taint | None:
        """The first NoSchedule or NoExecute taint that no toleration covers, if any."""
        for taint in taints:
            if taint.effect == "PreferNoSchedule":
                continue
            if not any(toleration.tolerates(taint) for toleration in self.tolerations):
                return taint
        return None

    def preference(self, name: str, labels: Mapping[str, str]) -> int:
        """Summed weight of the preferred terms the node satisfies."""
        return sum(weight for weight, term in self.preferred if term.matches(name, labels))

    def disliked_taints(self, taints: tuple[Taint, ...]) -> int:
        """PreferNoSchedule taints that no toleration covers."""
        return sum(
            1
            for taint in taints
            if taint.effect == "PreferNoSchedule"
            and not any(toleration.tolerates(taint) for toleration in self.tolerations)
        )


UNCONSTRAINED = Constraints()


def _whole(text: str) -> bool:
    return text.lstrip("-").isdigit() and text.isascii()
