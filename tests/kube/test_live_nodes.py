"""Nodes of a live cluster: none is left out, whatever it says."""

from __future__ import annotations

from typing import Any

from cerebrum.kube.live_nodes import live_node
from cerebrum.kube.objects import CSINode, Node, convert
from cerebrum.kube.volumes import UNLIMITED
from cerebrum.model.cluster import Taint
from cerebrum.model.resources import Resources

GIB = {"cpu": "4", "memory": "1Gi", "pods": "110"}


def node(allocatable: Any = GIB, **fields: Any) -> Node:
    labels = fields.pop("labels", {})
    data = {"metadata": {"name": "n0", "labels": labels}, "spec": fields}
    return convert(data | {"status": {"allocatable": allocatable}}, Node)


def test_a_node_offers_what_it_says():
    offered = GIB | {"nvidia.com/gpu": "2", "x.com/fpga": "3", "y.com/other": "1"}
    found, problems = live_node(
        node(offered, labels={"nvidia.com/gpu.product": "T4"}), {"x.com/fpga"}
    )
    assert found.capacity == Resources(4000, 1024, 2, 1000, 0, (("x.com/fpga", 3),))
    assert (found.gpu_model, found.slots, problems) == ("T4", 110, ())


def test_a_cordon_is_a_taint_that_is_there_once():
    cordon = Taint("node.kubernetes.io/unschedulable")
    assert live_node(node(unschedulable=True))[0].taints == (cordon,)
    taint = {"key": cordon.key, "effect": "NoSchedule"}
    assert live_node(node(unschedulable=True, taints=[taint]))[0].taints == (cordon,)
    assert live_node(node())[0].taints == ()


def test_absurd_and_missing_amounts_leave_a_node_with_less():
    found, problems = live_node(node({}))
    assert (found.capacity, found.slots) == (Resources(), 0)
    assert "expected what the node offers" in problems[0]
    absurd = {"cpu": "many", "memory": "-1", "pods": "1000000", "nvidia.com/gpu": "99"}
    found, problems = live_node(node(absurd, taints=[{"key": "", "effect": "x"}]))
    assert (found.capacity.cpu_milli, found.capacity.memory_mib, found.slots) == (0, 0, 32767)
    assert found.capacity.gpu_count == 16
    assert len(problems) == 5
    huge, _ = live_node(node({"cpu": str(2**62), "memory": "8Ei", "pods": "1"}))
    assert huge.capacity.cpu_milli == 2**53 - 1


def test_volumes_are_limited_where_the_driver_says_so():
    asked = {"attachable-volumes-csi-ebs", "attachable-volumes-csi-nfs"}
    driver = {"name": "ebs", "allocatable": {"count": 25}}
    csi = convert({"spec": {"drivers": [driver]}}, CSINode)
    found, _ = live_node(node(), asked, csi)
    assert dict(found.capacity.extended) == {
        "attachable-volumes-csi-ebs": 25,
        "attachable-volumes-csi-nfs": UNLIMITED,
    }
