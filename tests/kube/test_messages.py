"""The text of a FailedScheduling event, as kube-scheduler 1.36 writes it."""

from __future__ import annotations

from typing import Any

import numpy as np

from cerebrum.kube.messages import (
    Refused,
    preemption_text,
    unschedulable_text,
)
from cerebrum.model.cluster import Node, Taint
from cerebrum.model.constraints import Constraints, Requirement, Term, Toleration
from cerebrum.model.events import Refusal
from cerebrum.model.resources import Resources
from cerebrum.model.tasks import TaskClass


def refused(*bits: int, nodes: list[Node | None] | None = None, **more: Any) -> Refused:
    some: list[Node | None] = [Node(f"n{i}", Resources(1000, 1000)) for i in range(len(bits))]
    task_class = more.pop("task_class", TaskClass())
    return Refused(np.array(bits, np.int32), nodes or some, task_class, **more)


def test_reasons_are_counted_and_sorted_as_texts():
    both = Refusal.CPU | Refusal.MEMORY
    text = unschedulable_text(refused(both, both, Refusal.CPU, Refusal.SLOTS, Refusal.SELECTOR))
    assert text == (
        "0/5 nodes are available: 1 Too many pods, 1 node(s) didn't match Pod's node "
        "affinity/selector, 2 Insufficient memory, 3 Insufficient cpu."
    )


def test_only_the_first_filter_of_a_node_counts():
    text = unschedulable_text(
        refused(
            Refusal.SELECTOR | Refusal.CPU | Refusal.PEERS | Refusal.SPREAD,
            Refusal.HOST_PORT | Refusal.PORT | Refusal.CPU,
            Refusal.CPU | Refusal.EXCLUSIVE | Refusal.PORT,
            Refusal.PEERS | Refusal.SPREAD | Refusal.POD_ANTI_AFFINITY,
            Refusal.PORT,
        )
    )
    assert text == (
        "0/5 nodes are available: 1 Insufficient cpu, 1 node(s) didn't match Pod's node "
        "affinity/selector, 1 node(s) didn't match pod topology spread constraints, 2 node(s) "
        "didn't have free ports for the requested pod ports."
    )


def test_taints_are_named_on_request_and_a_cordon_is_one_of_its_own():
    cordon = Taint("node.kubernetes.io/unschedulable")
    nodes: list[Node | None] = [
        Node("a", Resources(), taints=(Taint("team", "x"), cordon)),
        Node("b", Resources(), taints=(Taint("team", "x"),)),
    ]
    some = refused(Refusal.TAINT, Refusal.TAINT, nodes=nodes)
    assert unschedulable_text(some) == (
        "0/2 nodes are available: 1 node(s) had untolerated taint(s), 1 node(s) were unschedulable."
    )
    assert "1 node(s) had untolerated taint {team: x}," in unschedulable_text(
        some, name_taints=True
    )
    tolerant = TaskClass(constraints=Constraints(tolerations=(Toleration(cordon.key, "Exists"),)))
    both = refused(Refusal.TAINT, Refusal.TAINT, nodes=nodes, task_class=tolerant)
    assert unschedulable_text(both) == (
        "0/2 nodes are available: 2 node(s) had untolerated taint(s)."
    )


def test_extended_resources_are_named_and_volumes_have_a_text_of_their_own():
    task_class = TaskClass(
        Resources(extended=(("attachable-volumes-csi-ebs", 1), ("x.com/a", 2), ("x.com/b", 2)))
    )
    free = np.array([[0, 5, 5], [5, 1, 1], [0, 1, 5]], np.int64)
    text = unschedulable_text(
        refused(*[Refusal.EXTENDED] * 3, task_class=task_class, extended_free=free)
    )
    assert text == (
        "0/3 nodes are available: 1 Insufficient x.com/b, 1 node(s) exceed max volume count, "
        "2 Insufficient x.com/a."
    )
    first = refused(Refusal.EXTENDED | Refusal.PEERS, task_class=task_class)
    assert "1 Insufficient x.com/a, 1 Insufficient x.com/b." in unschedulable_text(first)
    assert "2 Insufficient nvidia.com/gpu" in unschedulable_text(
        refused(Refusal.GPU_COUNT, Refusal.GPU_COUNT)
    )


def test_nodes_the_pod_selects_are_refused_for_its_volumes():
    disk, rack = (Term((Requirement(key, "Exists"),)) for key in ("disk", "rack"))
    constraints = Constraints(required=(disk,), volumes=((rack,),))
    nodes: list[Node | None] = [
        Node("a", Resources(), labels={"disk": "1"}),
        Node("b", Resources()),
    ]
    text = unschedulable_text(
        refused(
            Refusal.SELECTOR,
            Refusal.SELECTOR,
            nodes=nodes,
            task_class=TaskClass(constraints=constraints),
        )
    )
    assert "1 node(s) didn't match PersistentVolume's node affinity" in text
    assert "1 node(s) didn't match Pod's node affinity/selector" in text


def test_rows_without_a_node_do_not_count():
    nodes: list[Node | None] = [Node("a", Resources()), None]
    some = refused(Refusal.CPU, 0, nodes=nodes, present=np.array([True, False]))
    assert unschedulable_text(some) == "0/1 nodes are available: 1 Insufficient cpu."
    nobody = refused(0, nodes=[None], present=np.array([False]))
    assert unschedulable_text(nobody) == "0/0 nodes are available:"


def test_preemption_says_where_it_could_not_help():
    some = refused(Refusal.CPU, Refusal.CPU, Refusal.TAINT | Refusal.CPU, Refusal.POD_AFFINITY)
    suffix = preemption_text(some)
    assert suffix == (
        "preemption: 0/4 nodes are available: 2 No preemption victims found for incoming pod, "
        "2 Preemption is not helpful for scheduling."
    )
    assert unschedulable_text(some, suffix).endswith(f". {suffix}")
    small = refused(Refusal.CPU, Refusal.CPU, too_small=np.array([True, True]))
    assert preemption_text(small) == (
        "preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling."
    )
    assert preemption_text(some, may_preempt=False) == (
        "preemption: not eligible due to preemptionPolicy=Never."
    )
