"""Pods of a live cluster: one class for one template, and whatever comes, an answer."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cerebrum.kube.fields import Fields
from cerebrum.kube.objects import (
    CSINode,
    PersistentVolume,
    PersistentVolumeClaim,
    Pod,
    PodGroup,
    convert,
    decode,
)
from cerebrum.kube.pods import PodContext, read_pod, too_many_extended
from cerebrum.kube.reader import PodReader
from cerebrum.kube.volumes import Storage
from cerebrum.model.constraints import Requirement
from cerebrum.model.errors import InputError
from cerebrum.model.resources import Resources
from tests.kube.stories import container, pod, pod_data

REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"


def reader(**context: Any) -> PodReader:
    return PodReader(PodContext(**context))


def template(name: str, **labels: str) -> Pod:
    """A pod as a ReplicaSet makes it: its name and a volume's name are its own."""
    volume = f"kube-api-access-{name}"
    main = container(cpu="250m", memory="64Mi") | {
        "env": [{"name": "POD", "value": name}],
        "volumeMounts": [{"name": volume, "mountPath": "/run"}],
    }
    spread = {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}
    return pod(
        name,
        metadata={"labels": {"app": "web"} | labels, "resourceVersion": name},
        containers=[main],
        volumes=[{"name": volume, "projected": {"sources": []}}],
        topologySpreadConstraints=[spread | {"labelSelector": {"matchLabels": {"app": "web"}}}],
    )


def test_pods_of_one_template_have_one_class_object():
    read = reader().read
    one, other = read(template("a", unique="1")), read(template("b", unique="2"))
    assert one.task_class is other.task_class
    assert one.task_class.resources == Resources(250, 64)
    assert one.labels != other.labels
    assert read(template("c", unique="1")).labels is one.labels


def test_label_keys_tell_pods_of_one_template_apart():
    def spread(name: str, version: str, noise: str) -> Pod:
        constraint = {
            "maxSkew": 1,
            "topologyKey": "zone",
            "whenUnsatisfiable": "DoNotSchedule",
            "labelSelector": {},
            "matchLabelKeys": ["version"],
        }
        labels = {"version": version, "noise": noise}
        return pod(name, metadata={"labels": labels}, topologySpreadConstraints=[constraint])

    read = reader().read
    one, same, other = (
        read(spread(*a)).task_class for a in (("a", "1", "x"), ("b", "1", "y"), ("c", "2", "x"))
    )
    assert one is same
    assert one is not other
    requirement = Requirement("version", "In", ("2",))
    assert other.peers.spread[0].selector.requirements == (requirement,)


def test_equal_demands_written_differently_are_one_class_too():
    read = reader().read
    one = read(pod("a", containers=[container(cpu="1", memory="1Gi")]))
    other = read(pod("b", containers=[container(cpu="1000m", memory="1024Mi")]))
    assert one.task_class is other.task_class


def test_a_namespace_is_part_of_the_rules_and_its_labels_of_the_labels():
    near = {"podAffinity": {REQUIRED: [{"labelSelector": {}, "topologyKey": "zone"}]}}
    namespaces = {"a": (("team", "x"),)}
    read = reader(namespaces=namespaces).read
    found = [read(pod(metadata={"namespace": ns}, affinity=near)) for ns in ("a", "b")]
    assert [one.task_class.peers.near[0].selector.namespaces for one in found] == [("a",), ("b",)]
    assert [one.labels.namespace_labels for one in found] == [(("team", "x"),), ()]
    namespaces["b"] = (("team", "y"),)
    again = read(pod(metadata={"namespace": "b"}))
    assert again.labels.namespace_labels == (("team", "y"),), "labels of a namespace change"


def test_what_is_around_a_pod_is_read():
    found = reader(priorities={"high": 7, "": 3}).read(
        pod(
            priorityClassName="high",
            preemptionPolicy="Never",
            schedulerName="cerebrum",
            schedulingGates=[{"name": "wait"}],
            nodeName="n0",
            metadata={"deletionTimestamp": "2026-01-01T00:00:00Z"},
            status={"phase": "Running"},
        )
    )
    assert (found.priority, found.may_preempt, found.scheduler) == (7, False, "cerebrum")
    assert (found.gates, found.node, found.phase) == (("wait",), "n0", "Running")
    assert found.terminating
    assert not found.finished
    assert not found.problem
    assert reader(priorities={"": 3}).read(pod()).priority == 3
    assert reader().read(pod(priority=-5)).priority == -5


@pytest.mark.parametrize(
    ("spec", "group"),
    [
        ({"metadata": {"labels": {"scheduling.x-k8s.io/pod-group": "g"}}}, "g"),
        ({"metadata": {"annotations": {"scheduling.k8s.io/group-name": "g"}}}, "g"),
        ({"schedulingGroup": {"podGroupName": "own"}}, "own"),
        (
            {"metadata": {"namespace": "ns", "labels": {"scheduling.x-k8s.io/pod-group": "g"}}},
            "ns/g",
        ),
        ({}, ""),
    ],
)
def test_a_pod_says_its_group_in_one_of_several_ways(spec: dict[str, Any], group: str):
    assert reader().read(pod(**spec)).group == group
    assert read_pod(Fields.of(pod_data(**spec)), PodContext()).group == group


def test_a_group_says_its_size_as_plugins_do_or_as_kubernetes_does():
    assert convert({"spec": {"minMember": 3}}, PodGroup).gang == 3
    native = {"schedulingPolicy": {"gang": {"minCount": 4}}}
    assert convert({"spec": native}, PodGroup).gang == 4
    assert convert({"spec": {"schedulingPolicy": {"basic": {}}}}, PodGroup).gang == 0


def test_gpus_come_from_annotations_and_indices_from_bound_pods():
    notes = {f"alibabacloud.com/{key}": value for key, value in (
        ("gpu-count", "2"), ("gpu-card-model", "T4|P100"), ("gpu-index", "0-3"))}  # fmt: skip
    read = reader().read
    bound = read(pod(metadata={"annotations": notes}, nodeName="n0"))
    assert bound.task_class.resources.gpu_count == 2
    assert bound.task_class.gpu_models == ("T4", "P100")
    assert bound.gpus == 0b1001
    assert read(pod(metadata={"annotations": notes})).gpus == 0, "not bound"
    notes["alibabacloud.com/gpu-index"] = "0-0"
    assert read(pod(metadata={"annotations": notes}, nodeName="n0")).gpus == 0, "not two GPUs"


def test_claims_of_devices_are_refused_with_a_reason():
    found = reader().read(pod(resourceClaims=[{"name": "gpu", "resourceClaimName": "x"}]))
    assert found.problem == ("spec.resourceClaims: dynamic resource claims are not supported: gpu")


def test_volumes_become_part_of_the_class_and_their_troubles_of_the_problem():
    storage = Storage()
    mount = [{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}]
    read = reader(storage=storage).read
    assert read(pod(volumes=mount)).problem == 'persistentvolumeclaim "data" not found'
    done = {"annotations": {"pv.kubernetes.io/bind-completed": "yes"}}
    claim = {
        "metadata": {"name": "data", "namespace": "default", **done},
        "spec": {"volumeName": "pv", "accessModes": ["ReadWriteOncePod"]},
    }
    term = {"matchExpressions": [{"key": "rack", "operator": "In", "values": ["a"]}]}
    volume = {
        "metadata": {"name": "pv"},
        "spec": {
            "csi": {"driver": "ebs"},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [term]}},
        },
    }
    limit = {"spec": {"drivers": [{"name": "ebs", "allocatable": {"count": 2}}]}}
    storage.claims["default/data"] = convert(claim, PersistentVolumeClaim)
    storage.volumes["pv"] = convert(volume, PersistentVolume)
    storage.csi_nodes["n0"] = convert(limit, CSINode)
    one, other = read(pod("a", volumes=mount)), read(pod("b", volumes=mount))
    assert one.problem == ""
    assert one.task_class is other.task_class
    assert one.task_class.peers.exclusive == ("default/data",)
    assert one.task_class.resources.extended == (("attachable-volumes-csi-ebs", 1),)
    assert one.task_class.constraints.reaches("n", {"rack": "a"})
    assert not one.task_class.constraints.reaches("n", {"rack": "b"})


@pytest.mark.parametrize(
    ("spec", "problem", "left"),
    [
        (
            {"containers": [container(cpu="1", memory="-1")]},
            "containers[0].resources.requests.memory: expected a quantity of at least 0, got '-1'",
            Resources(),
        ),
        (
            {"containers": [container(cpu=str(2**63 - 1), memory="1Mi")]},
            "cpu: what is asked for is too large for any node",
            Resources(0, 1),
        ),
        (
            {"containers": [container(memory="1e30")]},
            "'1e30' is beyond the largest quantity",
            Resources(),
        ),
        (
            {"containers": [container(cpu="1", **{f"x.com/r{i}": "1" for i in range(7)})]},
            "at most 6 extended resources",
            Resources(1000),
        ),
        (
            {
                "containers": [container(cpu="1")],
                "affinity": {"podAffinity": {REQUIRED: [{"topologyKey": ""}]}},
            },
            "topologyKey: expected the key of a node label",
            Resources(1000),
        ),
    ],
)
def test_bad_input_is_an_answer_and_what_can_count_counts(
    spec: dict[str, Any], problem: str, left: Resources
):
    found = reader().read(pod(**spec))
    assert problem in found.problem
    assert found.task_class.resources == left


def test_while_a_pod_is_resized_the_largest_counts_unless_it_cannot_be_had():
    got = {
        "name": "main",
        "allocatedResources": {"cpu": "1"},
        "resources": {"requests": {"cpu": "1"}},
    }
    status: dict[str, Any] = {"phase": "Running", "containerStatuses": [got]}
    asked = {"containers": [container(cpu="4")], "nodeName": "n0"}
    read = reader().read
    assert read(pod(**asked, status=status)).task_class.resources.cpu_milli == 4000
    refused = {"type": "PodResizePending", "status": "True", "reason": "Infeasible"}
    status["conditions"] = [refused]
    assert read(pod(**asked, status=status)).task_class.resources.cpu_milli == 1000


def test_only_so_many_extended_resources_are_told_apart():
    known = [f"x.com/r{i}" for i in range(6)]
    assert too_many_extended(["x.com/r1"], known) == ""
    assert too_many_extended(["new"], known[:5]) == ""
    assert "asks for new, but at most 6" in too_many_extended(["new"], known)


def test_an_object_of_another_shape_is_refused_by_field():
    with pytest.raises(InputError, match=r"Pod: Expected `int \| null`, got `str` - at `\$\.spec"):
        decode(b'{"spec": {"priority": "high"}}', Pod)


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 2**70) | st.text(max_size=5) | st.just("1e30"),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2)
    ),
    max_leaves=4,
)
PARTS = (
    "affinity", "tolerations", "nodeSelector", "overhead", "resources", "topologySpreadConstraints",
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(PARTS), JUNK, JUNK)
def test_junk_where_the_api_server_lets_none_through_raises_nothing(
    part: str, junk: Any, more: Any
):
    spec = {part: junk, "containers": [{"name": "m", "resources": more, "ports": more}]}
    try:
        text = msgspec.json.encode(pod_data(**spec))
    except OverflowError:
        return
    found = reader().read(decode(text, Pod))
    assert found.task_class is not None
    assert isinstance(found.problem, str)


def test_a_live_pod_and_one_of_a_file_demand_the_same():
    data = pod_data(
        containers=[container(cpu="1", ports=[{"hostPort": 80, "containerPort": 80}])],
        initContainers=[container("side", cpu="500m") | {"restartPolicy": "Always"}],
        overhead={"cpu": "1m"},
        nodeSelector={"disk": "ssd"},
        affinity={
            "podAntiAffinity": {
                REQUIRED: [{"labelSelector": {"matchLabels": {"a": "b"}}, "topologyKey": "host"}]
            }
        },
        tolerations=[{"operator": "Exists"}],
    )
    live = reader().read(convert(data, Pod))
    assert live == read_pod(Fields.of(data), PodContext())
    assert live.task_class.resources.cpu_milli == 1501
