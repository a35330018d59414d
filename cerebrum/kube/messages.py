"""Why a pod has no node, in kube-scheduler's words: what people and autoscalers look for.

    0/5 nodes are available: 2 node(s) had untolerated taint(s), 3 Insufficient cpu.

Of each node only the first filter that refuses it counts, in kube-scheduler's order; the filter of
resources names each that is short. The counted reasons are sorted as texts, as there (1.36).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cerebrum.kube import names
from cerebrum.model.cluster import Node, Taint
from cerebrum.model.events import REFUSAL_TEXT, Refusal
from cerebrum.model.tasks import TaskClass

_SELECTOR = "node(s) didn't match Pod's node affinity/selector"
_VOLUME = "node(s) didn't match PersistentVolume's node affinity"
_VOLUMES_FULL = "node(s) exceed max volume count"
_PORTS = "node(s) didn't have free ports for the requested pod ports"
_TAINTED = "node(s) had untolerated taint(s)"
_CORDONED = "node(s) were unschedulable"
_HELPLESS = "Preemption is not helpful for scheduling"
_NO_VICTIMS = "No preemption victims found for incoming pod"
_NEVER = "not eligible due to preemptionPolicy=Never."

_FIT = (
    (Refusal.CPU, "Insufficient cpu"),
    (Refusal.MEMORY, "Insufficient memory"),
    (Refusal.SLOTS, "Too many pods"),
    (Refusal.GPU_COUNT, f"Insufficient {names.GPU}"),
    (Refusal.GPU_MILLI, f"Insufficient {names.GPU_MILLI}"),
    (Refusal.CACHE_WAYS, f"Insufficient {names.CACHE_WAYS}"),
)
_FIT_BITS = int(sum(bit for bit, _ in _FIT))
_FINE = int(
    Refusal.EXCLUSIVE
    | Refusal.HOST_PORT
    | Refusal.SPREAD
    | Refusal.SPREAD_LABEL
    | Refusal.POD_AFFINITY
    | Refusal.POD_ANTI_AFFINITY
    | Refusal.EXISTING_ANTI_AFFINITY
)
_RESOLVABLE = int(
    _FIT_BITS
    | Refusal.EXTENDED
    | Refusal.PORT
    | Refusal.HOST_PORT
    | Refusal.EXCLUSIVE
    | Refusal.PEERS
    | Refusal.SPREAD
    | Refusal.POD_ANTI_AFFINITY
    | Refusal.EXISTING_ANTI_AFFINITY
)
"""Refusals that taking other pods away may lift."""
_FOR_GOOD = int(
    Refusal.SELECTOR
    | Refusal.TAINT
    | Refusal.UNSCHEDULABLE
    | Refusal.GPU_MODEL
    | Refusal.SPREAD_LABEL
    | Refusal.POD_AFFINITY
)
_BEFORE = (
    (Refusal.UNSCHEDULABLE, _CORDONED),
    (Refusal.TAINT, _TAINTED),
    (Refusal.SELECTOR, _SELECTOR),
    (Refusal.GPU_MODEL, REFUSAL_TEXT[Refusal.GPU_MODEL]),
    (Refusal.HOST_PORT, _PORTS),
)
"""Filters in front of the one of resources, in kube-scheduler's order."""
_AFTER = tuple(
    (bit, REFUSAL_TEXT[bit])
    for bit in (
        Refusal.EXCLUSIVE,
        Refusal.SPREAD_LABEL,
        Refusal.SPREAD,
        Refusal.POD_AFFINITY,
        Refusal.POD_ANTI_AFFINITY,
        Refusal.EXISTING_ANTI_AFFINITY,
        Refusal.PEERS,
        Refusal.PORT,
        Refusal.GANG,
    )
)
"""Filters behind it; the last three where an engine says no more than that."""


@dataclass(frozen=True, slots=True)
class Refused:
    """Nodes that cannot take a pod.

    `bits` int32[rows] of `Refusal` (0: the node can), for the node of each row; `present`
    bool[rows]: rows that are a node. `too_small` bool[rows]: the pod asks for more than the whole
    node has, which no preemption helps. `cordoned` bool[rows]: nodes with the taint of a cordon,
    looked up from `nodes` where it is not given. `extended_free` int64[rows, k]: what is free of
    the k extended resources the class asks for, in their order; without it all of them are named.
    """

    bits: NDArray[np.int32]
    nodes: Sequence[Node | None]
    task_class: TaskClass
    present: NDArray[np.bool_] | None = None
    too_small: NDArray[np.bool_] | None = None
    cordoned: NDArray[np.bool_] | None = None
    extended_free: NDArray[np.int64] | None = None

    @property
    def rows(self) -> NDArray[np.int64]:
        """Rows that are nodes."""
        return (
            np.flatnonzero(self.present) if self.present is not None else np.arange(len(self.bits))
        )


def unschedulable_text(
    refused: Refused,
    preemption: str = "",
    name_taints: bool = False,
) -> str:
    """The text of a FailedScheduling event.

    `preemption` is what `preemption_text` gives. `name_taints` names them (`{key: value}`), as
    kube-scheduler did before 1.36.
    """
    reasons = _reasons(refused, name_taints)
    text = _available(len(refused.rows), reasons)
    return f"{text} {preemption}" if preemption else text


def preemption_text(refused: Refused, may_preempt: bool = True) -> str:
    """What is added when taking other pods away was tried in vain, or was not allowed."""
    if not may_preempt:
        return f"preemption: {_NEVER}"
    rows = refused.rows
    bits = refused.bits[rows]
    helped = may_help(bits)
    if refused.too_small is not None:
        helped &= ~refused.too_small[rows]
    hopeful = int(np.count_nonzero(helped))
    counts = Counter({_NO_VICTIMS: hopeful, _HELPLESS: len(rows) - hopeful})
    return f"preemption: {_available(len(rows), +counts)}"


def node_texts(refused: Refused) -> list[str]:
    """What kube-scheduler would say of each row alone, reasons joined by commas; '' where it fits.

    Rows with equal bits get equal texts: resources that are short are all named.
    """
    said: dict[tuple[int, bool], str] = {}
    texts: list[str] = []
    tainted = int(Refusal.TAINT)
    for row, bits in enumerate(refused.bits.tolist()):
        closed = bool(bits & tainted) and names.UNSCHEDULABLE in _keys(refused.nodes[row])
        text = said.get((bits, closed)) if bits else ""
        if text is None:
            alone = Refused(
                refused.bits[row : row + 1], refused.nodes[row : row + 1], refused.task_class
            )
            text = said[bits, closed] = ", ".join(sorted(_reasons(alone, name_taints=False)))
        texts.append(text)
    return texts


def may_help(bits: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Where taking other pods away may let the pod in, by what refuses it: bool[rows]."""
    return ((bits & _RESOLVABLE) != 0) & ((bits & _FOR_GOOD) == 0)


def _available(nodes: int, reasons: Mapping[str, int]) -> str:
    counted = sorted(f"{count} {reason}" for reason, count in reasons.items())
    text = f"0/{nodes} nodes are available:"
    return f"{text} {', '.join(counted)}." if counted else text


def _reasons(refused: Refused, name_taints: bool) -> Counter[str]:
    """Reason -> nodes. Rows with equal bits are told together, where the bits tell it all."""
    reasons: Counter[str] = Counter()
    rows = refused.rows
    kinds, members, counts = np.unique(refused.bits[rows], return_inverse=True, return_counts=True)
    for kind, (bits, count) in enumerate(zip(kinds.tolist(), counts.tolist(), strict=True)):
        if not bits:
            continue
        text = _first(bits)
        if text == _TAINTED:
            _count_taints(refused, rows[members == kind], name_taints, reasons)
        elif text == _SELECTOR and refused.task_class.constraints.volumes:
            _count_selected(refused, rows[members == kind].tolist(), reasons)
        elif text:
            reasons[text] += count
        else:
            _count_short(refused, bits, rows[members == kind], reasons)
    return +reasons


def _first(bits: int) -> str:
    """The reason of the first filter that refuses; '' where that is the one of resources."""
    if bits & Refusal.PORT and not bits & _FINE:
        bits |= int(Refusal.HOST_PORT)  # an engine that does not say which: ports, most likely
    for bit, text in _BEFORE:
        if bits & bit:
            return text
    if bits & (_FIT_BITS | int(Refusal.EXTENDED)):
        return ""
    return next((text for bit, text in _AFTER if bits & bit), "")


def _short(bits: int) -> list[str]:
    return [text for bit, text in _FIT if bits & bit]


def _count_taints(
    refused: Refused, rows: NDArray[np.int64], name_taints: bool, reasons: Counter[str]
) -> None:
    """A cordon has a filter of its own, in front of the one of taints."""
    constraints = refused.task_class.constraints
    if constraints.untolerated((Taint(names.UNSCHEDULABLE),)) is not None:
        cordoned = _cordoned(refused, rows)
        if count := int(np.count_nonzero(cordoned)):
            reasons[_CORDONED] += count
            rows = rows[~cordoned]
    if not name_taints:
        reasons[_TAINTED] += len(rows)
        return
    listed: list[int] = rows.tolist()
    for row in listed:
        node = refused.nodes[row]
        if node and (found := constraints.untolerated(node.taints)):
            reasons[f"node(s) had untolerated taint {{{found.key}: {found.value}}}"] += 1


def _cordoned(refused: Refused, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which of the rows have the taint of a cordon."""
    if refused.cordoned is not None:
        return refused.cordoned[rows]
    listed: list[int] = rows.tolist()
    keys = [_keys(refused.nodes[row]) for row in listed]
    return np.array([names.UNSCHEDULABLE in found for found in keys], np.bool_)


def _keys(node: Node | None) -> list[str]:
    return [taint.key for taint in node.taints] if node else []


def _count_selected(refused: Refused, rows: list[int], reasons: Counter[str]) -> None:
    """Nodes the pod itself selects are refused for its volumes."""
    own = refused.task_class.constraints
    for row in rows:
        node = refused.nodes[row]
        selected = node is not None and own.selects(node.name, node.labels)
        reasons[_VOLUME if selected else _SELECTOR] += 1


def _count_short(
    refused: Refused, bits: int, rows: NDArray[np.int64], reasons: Counter[str]
) -> None:
    """Each resource that is short; volumes are counted by a filter of their own."""
    if not bits & Refusal.EXTENDED:
        for text in _short(bits):
            reasons[text] += len(rows)
        return
    for text in _short(bits):
        reasons[text] += len(rows)
    asked = refused.task_class.resources.extended
    full = np.zeros(len(rows), np.bool_)
    other = np.full(len(rows), bool(_short(bits)))
    for column, (name, amount) in enumerate(asked):
        if refused.extended_free is None:
            short = np.ones(len(rows), np.bool_)
        else:
            short = refused.extended_free[rows, column] < amount
        if name.startswith(names.ATTACHABLE):
            full |= short
        elif count := int(np.count_nonzero(short)):
            reasons[f"Insufficient {name}"] += count
            other |= short
    if count := int(np.count_nonzero(full & ~other)):
        reasons[_VOLUMES_FULL] += count
