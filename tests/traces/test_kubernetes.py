"""Kubernetes objects: what a pod asks for, where it may go, and what is wrong on which line."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from cerebrum import traces
from cerebrum.kube.constraints import narrowed
from cerebrum.model.cluster import Taint
from cerebrum.model.constraints import Requirement, Term
from cerebrum.model.errors import TraceError
from cerebrum.model.peers import TaskLabels
from cerebrum.model.resources import Resources
from cerebrum.model.scenario import Scenario
from cerebrum.traces import kubernetes
from cerebrum.traces._fields import documents
from cerebrum.traces._kube_objects import Objects
from cerebrum.traces._yaml import Source

NODE = """\
apiVersion: v1
kind: Node
metadata:
  name: n0
  labels: {disk: ssd, nvidia.com/gpu.product: T4}
spec:
  taints:
  - {key: team, value: a, effect: NoSchedule}
status:
  allocatable: {cpu: 7500m, memory: 16384001Ki, pods: "20", nvidia.com/gpu: 4, example.com/fpga: 2}
"""
POD = """\
apiVersion: v1
kind: Pod
metadata:
  name: p0
spec:
  containers:
  - name: main
    resources:
      requests:
        cpu: 500m
        memory: 1Gi
"""


def read(tmp_path: Path, *texts: str) -> Scenario:
    path = tmp_path / "all.yaml"
    path.write_text("\n---\n".join(text.rstrip("\n") for text in texts))
    return traces.read(path, "kubernetes")


def pod(**spec: Any) -> str:
    spec.setdefault("containers", [{"name": "main"}])
    metadata = {"name": spec.pop("name", "p0"), **spec.pop("metadata", {})}
    kind, status = spec.pop("kind", "Pod"), spec.pop("status", {})
    item = {"apiVersion": "v1", "kind": kind, "metadata": metadata, "spec": spec, "status": status}
    return yaml.safe_dump(item)


def asks(**requests: str) -> dict[str, Any]:
    return {"resources": {"requests": requests}}


def request_of(tmp_path: Path, **spec: Any) -> Resources:
    return read(tmp_path, NODE, pod(**spec)).tasks[0].task_class.resources


def notes(scenario: Scenario) -> str:
    return "; ".join(scenario.report.notes)


def test_a_node_is_what_its_object_says(tmp_path: Path):
    spec = {"containers": [asks(**{"example.com/fpga": "1"})]}
    node = read(tmp_path, NODE, pod(**spec)).cluster.nodes[0]
    # memory is rounded down: 16384001Ki is a little more than 16000 MiB
    assert node.capacity == Resources(7500, 16_000, 4, 1000, 0, (("example.com/fpga", 2),))
    assert (node.gpu_model, node.slots) == ("T4", 20)
    assert node.taints == (Taint("team", "a", "NoSchedule"),)
    assert node.labels["disk"] == "ssd"
    assert node.power is not None
    assert node.power.gpu_full_w == 70


def test_the_published_yaml_and_csv_nodes_are_equal(tmp_path: Path, shared_data: Path):
    def seen(node: Any) -> tuple[Any, ...]:
        return node.name, node.capacity, node.gpu_model, node.slots, node.power, node.taints

    text = (shared_data / "openb" / "openb_node_list_gpu_node.yaml").read_text()
    from_yaml = [seen(node) for node in read(tmp_path, text, POD).cluster]
    assert from_yaml == [seen(node) for node in traces.read(shared_data / "openb").cluster]


def test_requests_are_the_larger_of_running_and_starting(tmp_path: Path):
    found = request_of(
        tmp_path,
        containers=[asks(cpu="1", memory="100Mi"), asks(cpu="500m")],
        initContainers=[
            {"restartPolicy": "Always", **asks(cpu="200m")},  # a sidecar runs on
            asks(cpu="2", memory="50Mi"),  # starts beside the sidecar before it
            {"restartPolicy": "Always", **asks(memory="10Mi")},
        ],
        overhead={"cpu": "50m", "memory": "1"},
    )
    # cpu: max(1 + 0.5 + 0.2, 0.2 + 2) + 0.05; memory: max(110 Mi, 50 Mi) + 1 byte, rounded up
    assert (found.cpu_milli, found.memory_mib) == (2250, 111)


def test_a_limit_without_a_request_is_the_request(tmp_path: Path):
    container = {"resources": {"limits": {"cpu": "2", "memory": "64Mi"}, "requests": {"cpu": "1"}}}
    found = request_of(tmp_path, containers=[container])
    assert (found.cpu_milli, found.memory_mib) == (1000, 64)


def test_pod_level_requests_override_those_of_containers(tmp_path: Path):
    found = request_of(tmp_path, containers=[asks(cpu="1", memory="1Gi")], **asks(cpu="3"))
    assert (found.cpu_milli, found.memory_mib) == (3000, 1024)


def test_while_a_pod_is_resized_the_largest_amount_counts(tmp_path: Path):
    found = request_of(
        tmp_path,
        containers=[{"name": "main", **asks(cpu="1")}],
        status={"containerStatuses": [{"name": "main", "allocatedResources": {"cpu": "1500m"}}]},
    )
    assert found.cpu_milli == 1500


def test_whole_gpus_and_shares(tmp_path: Path):
    whole = request_of(tmp_path, containers=[asks(**{"nvidia.com/gpu": "2"})])
    assert (whole.gpu_count, whole.gpu_milli, whole.extended) == (2, 1000, ())
    annotations = {"alibabacloud.com/gpu-milli": "460", "alibabacloud.com/gpu-count": "1"}
    annotations["alibabacloud.com/gpu-card-model"] = "T4|P100"
    task = read(tmp_path, NODE, pod(metadata={"annotations": annotations})).tasks[0]
    assert task.task_class.resources == Resources(0, 0, 1, 460)
    assert task.task_class.gpu_models == ("T4", "P100")


def test_selector_affinity_and_tolerations_are_kept(tmp_path: Path):
    term = {"matchExpressions": [{"key": "disk", "operator": "In", "values": ["ssd"]}]}
    affinity = {
        "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]},
        "preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 7, "preference": term}],
    }
    spec = {"affinity": {"nodeAffinity": affinity}, "nodeSelector": {"disk": "ssd"}}
    spec["tolerations"] = [{"key": "team", "operator": "Exists"}]
    scenario = read(tmp_path, NODE, pod(**spec))
    found, node = scenario.tasks[0].task_class.constraints, scenario.cluster.nodes[0]
    want = Term(labels=(Requirement("disk", "In", ("ssd",)),))
    assert (found.required, found.preferred) == ((want,), ((7, want),))
    assert found.selects(node.name, node.labels)
    assert found.untolerated(node.taints) is None


def test_priority_comes_from_the_pod_or_its_class(tmp_path: Path):
    classes = [
        pod(name="high", kind="PriorityClass") + "value: 1000\n",
        pod(name="usual", kind="PriorityClass") + "value: 5\nglobalDefault: true\n",
    ]
    pods = [
        pod(name="a", priorityClassName="high"),
        pod(name="b"),
        pod(name="c", priority=-3),
        pod(name="d", priorityClassName="system-node-critical"),
    ]
    found = read(tmp_path, NODE, *classes, *pods).tasks.priority.tolist()
    assert found == [1000, 5, -3, 2_000_001_000]


def test_pods_of_a_group_are_a_gang(tmp_path: Path):
    group = "kind: PodGroup\nmetadata: {name: g}\nspec: {minMember: 2}\n"
    label = {"labels": {"scheduling.x-k8s.io/pod-group": "g"}}
    pods = [pod(name=f"p{i}", metadata=label) for i in range(3)]
    tasks = read(tmp_path, NODE, group, *pods).tasks
    assert [(job.name, job.gang) for job in tasks.jobs] == [("g", 2)]
    alone = read(tmp_path, NODE, *pods)
    assert alone.tasks.jobs[0].gang == 3
    assert "no PodGroup 'g' in these files" in notes(alone)


@pytest.mark.parametrize(
    ("kind", "spec", "names"),
    [
        ("Deployment", {"replicas": 2}, ["w-0", "w-1"]),
        ("StatefulSet", {}, ["w-0"]),
        ("ReplicaSet", {"replicas": 1}, ["w-0"]),
        ("Job", {"completions": 3, "parallelism": 1}, ["w-0", "w-1", "w-2"]),
        ("DaemonSet", {}, ["w-n1"]),  # n0 has a taint
    ],
)
def test_a_workload_becomes_its_pods(
    tmp_path: Path, kind: str, spec: dict[str, Any], names: list[str]
):
    template = {"metadata": {}, "spec": {"containers": [asks(cpu="1")]}}
    text = yaml.safe_dump(
        {"kind": kind, "metadata": {"name": "w"}, "spec": {**spec, "template": template}}
    )
    second = NODE.replace("name: n0", "name: n1").replace("NoSchedule", "PreferNoSchedule")
    tasks = read(tmp_path, NODE, second, text).tasks
    assert list(tasks.names) == names
    assert {task.job for task in tasks} == {"w"}
    assert tasks[0].task_class.resources.cpu_milli == 1000


def test_a_cron_job_runs_once_and_a_suspended_job_not_at_all(tmp_path: Path):
    template = {"spec": {"template": {"spec": {"containers": []}}}}
    cron = {"kind": "CronJob", "metadata": {"name": "c"}, "spec": {"jobTemplate": template}}
    held = {"kind": "Job", "metadata": {"name": "h"}, "spec": {"suspend": True, **template["spec"]}}
    scenario = read(tmp_path, NODE, json.dumps(cron), json.dumps(held))
    assert list(scenario.tasks.names) == ["c-0"]
    assert "CronJobs run once" in notes(scenario)
    assert str(scenario.report) == "2 rows read, 1 kept, 1 dropped (pods of suspended jobs)"


def test_a_dump_with_workloads_and_their_pods_counts_each_pod_once(tmp_path: Path):
    def owned(kind: str, name: str) -> dict[str, Any]:
        return {"ownerReferences": [{"kind": kind, "name": name, "controller": True}]}

    template = {"spec": {"containers": []}}
    deployment = {"kind": "Deployment", "metadata": {"name": "d"}}
    deployment["spec"] = {"replicas": 2, "template": template}
    replica_set = {"kind": "ReplicaSet", "metadata": {"name": "d-1", **owned("Deployment", "d")}}
    replica_set["spec"] = {"replicas": 2, "template": template}
    pods = [pod(name=f"d-1-{i}", metadata=owned("ReplicaSet", "d-1")) for i in "xy"]
    texts = [json.dumps(deployment), json.dumps(replica_set)]
    assert list(read(tmp_path, NODE, *texts, *pods).tasks.names) == ["d-1-x", "d-1-y"]
    assert list(read(tmp_path, NODE, *texts).tasks.names) == ["d-1-0", "d-1-1"]


def test_what_kubectl_prints_is_a_list_in_yaml_or_json(tmp_path: Path):
    items = [yaml.load(text, Loader=yaml.CSafeLoader) for text in (NODE, POD)]
    dump = {"apiVersion": "v1", "kind": "List", "items": items}
    (tmp_path / "dump.json").write_text(json.dumps(dump, indent=1))
    assert list(traces.read(tmp_path / "dump.json").tasks.names) == ["p0"]
    api = {"kind": "PodList", "apiVersion": "v1", "items": [{**items[1], "kind": None}]}
    assert len(read(tmp_path, NODE, json.dumps(api)).tasks) == 1


def test_a_folder_is_read_with_all_its_folders(tmp_path: Path):
    (tmp_path / "in" / "pods").mkdir(parents=True)
    (tmp_path / "in" / "node.yml").write_text(NODE)
    (tmp_path / "in" / "pods" / "p.yaml").write_text(POD)
    (tmp_path / "in" / "README.md").write_text("not an object")
    assert list(traces.read(tmp_path / "in").tasks.names) == ["p0"]


def test_a_bound_pod_is_held_to_its_node_and_goes_first(tmp_path: Path):
    annotations = {"alibabacloud.com/gpu-index": "1-2"}
    spec = {"nodeName": "n0", "containers": [asks(**{"nvidia.com/gpu": "2"})]}
    scenario = read(tmp_path, NODE, pod(metadata={"annotations": annotations}, **spec))
    task, node = scenario.tasks[0], scenario.cluster.nodes[0]
    assert task.task_class.constraints.selects("n0", {})
    assert not task.task_class.constraints.selects("n1", node.labels)
    assert task.task_class.constraints.untolerated(node.taints) is None
    assert task.priority == 2**31 - 1
    assert "bound pods are held to their nodes" in notes(scenario)
    assert scenario.bound == {"p0": ("n0", 0b110)}


def test_what_is_left_out_is_counted_and_what_is_assumed_is_said(tmp_path: Path):
    spread = [{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}]
    pods = [
        pod(name="done", status={"phase": "Succeeded"}),
        pod(name="gated", schedulingGates=[{"name": "wait"}]),
        pod(name="claims", resourceClaims=[{"name": "gpu"}]),
        pod(name="gone", metadata={"deletionTimestamp": "2026-01-01T00:00:00Z"}),
        pod(name="kept", topologySpreadConstraints=spread, affinity={"podAffinity": {}}),
        pod(name="disk", volumes=[{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}]),
        "kind: Service\nmetadata: {name: s}\n",
    ]
    scenario = read(tmp_path, NODE, *pods)
    assert str(scenario.report) == (
        "6 rows read, 2 kept, 1 dropped (finished pods), 1 dropped (pods with scheduling gates), "
        "1 dropped (pods with resource claims, which are not supported), "
        "1 dropped (pods being deleted)"
    )
    for said in (
        "claims of pods that are not in these files are ignored: 1, first 'disk'",
        "Service objects are left out: 1",
    ):
        assert said in notes(scenario)


def test_times_are_seconds_or_dates(tmp_path: Path):
    def timed(name: str, created: str, deleted: str) -> str:
        key = "alibabacloud.com/"
        times = {f"{key}creation-time": created, f"{key}deletion-time": deleted}
        return pod(name=name, metadata={"annotations": times})

    seconds = read(tmp_path, NODE, timed("a", "5", "7.5"), timed("b", "9", "10"))
    assert seconds.tasks.submit_s.tolist() == [5, 9]
    assert seconds.tasks.duration_s.tolist() == [2.5, 1]
    first, second = "2026-01-01T00:00:00Z", "2026-01-01T01:00:00+01:00"
    dates = read(
        tmp_path, NODE, timed("a", first, "2026-01-01T00:01:00Z"), timed("b", second, first)
    )
    assert dates.tasks.submit_s.tolist() == [0, 0]
    assert dates.tasks.duration_s.tolist() == [60, 0]
    assert dates.start_unix_s == 1_767_225_600


@pytest.mark.parametrize(
    ("change", "to", "line", "message"),
    [
        ("cpu: 500m", "cpu: 500x", 23, "spec.containers[0].resources.requests.cpu: expected a Kub"),
        ("cpu: 500m", "cpu: -1", 23, "spec.containers[0].resources.requests.cpu: expected a quant"),
        ("cpu: 500m", "cpu: 1_000", 23, "spec.containers[0].resources.requests.cpu: expected a K"),
        ("memory: 1Gi", "memory: 1GB", 24, "spec.containers[0].resources.requests.memory: expect"),
        ("memory: 1Gi", "nvidia.com/gpu: 1.5", 19, "spec.containers: expected a whole number of"),
        ("memory: 1Gi", "nvidia.com/gpu: 17", 18, "spec: gpu_count: expected at most 16 GPUs, go"),
        ("name: p0", "name: [p0]", 17, "metadata.name: expected text, got a list"),
        ("  name: p0", "  labels: {}", 16, "metadata.name: expected text, found nothing"),
        ("cpu: 7500m", "cpu: lots", 10, "status.allocatable.cpu: expected a Kubernetes quantity"),
        ('pods: "20"', "pods: 40000", 10, "status.allocatable.pods: expected 0..32767, got 40000"),
        ("effect: NoSchedule", "effect: Never", 8, "spec.taints[0].effect: expected NoSchedule"),
        ("kind: Pod", "kin: Pod", 14, "kind: expected text, found nothing"),
        ("containers:", "nodeName: n9\n  containers:", 19, "spec.nodeName: no node 'n9' in these"),
        ("containers:", "priorityClassName: hi\n  containers:", 19, "spec.priorityClassName: no"),
        ("containers:", "priority: x\n  containers:", 19, "spec.priority: expected a whole numbe"),
    ],
)
def test_a_wrong_value_is_named_by_file_line_and_field(
    tmp_path: Path, change: str, to: str, line: int, message: str
):
    text = f"{NODE}\n\n---\n{POD}"
    assert change in text
    (tmp_path / "all.yaml").write_text(text.replace(change, to, 1))
    with pytest.raises(TraceError) as caught:
        kubernetes.read(tmp_path / "all.yaml")
    found = str(caught.value).replace(f"{tmp_path}/", "")
    assert found.startswith(f"all.yaml:{line}: {message}")


def test_eight_gpus_on_a_node_of_four_are_refused(tmp_path: Path):
    spec = {"nodeName": "n0", "containers": [asks(**{"nvidia.com/gpu": "8"})]}
    with pytest.raises(
        TraceError, match=r"spec.nodeName: node 'n0' has 4 GPUs, the pod asks for 8"
    ):
        read(tmp_path, NODE, pod(**spec))


@pytest.mark.parametrize(
    ("annotations", "message"),
    [
        ({"gpu-milli": "1200"}, "gpu-milli]: expected 1..1000 per GPU, got 1200"),
        ({"gpu-milli": "0.5", "gpu-count": "1"}, "gpu-milli]: expected a whole number, got '0.5'"),
        ({"gpu-milli": "500", "gpu-count": "2"}, "gpu-milli]: expected 1000 for 2 GPUs, got 500"),
        ({"gpu-count": "2", "gpu-index": "0-4"}, "expected indices 0..3, node 'n0' has 4 GPUs"),
        ({"gpu-count": "2", "gpu-index": "1-1"}, "expected 2 distinct indices, got '1-1'"),
        ({"gpu-count": "1", "gpu-index": "-1"}, "expected GPU indices such as 0-1-2, got '-1'"),
        ({"creation-time": "soon"}, "creation-time]: expected seconds or a date"),
        ({"creation-time": "9", "deletion-time": "8"}, "deletion-time]: expected at least the cr"),
        ({"creation-time": "nan"}, "creation-time]: expected seconds of at least 0, got 'nan'"),
    ],
)
def test_a_wrong_annotation_is_named(tmp_path: Path, annotations: dict[str, str], message: str):
    full = {f"alibabacloud.com/{key}": value for key, value in annotations.items()}
    with pytest.raises(TraceError) as caught:
        read(tmp_path, NODE, pod(metadata={"annotations": full}, nodeName="n0"))
    assert message in str(caught.value)
    assert "metadata.annotations" in str(caught.value)


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ((NODE, POD, POD), r"all\.yaml:27: metadata\.name: pod 'p0' is named twice"),
        ((NODE, NODE, POD), r"all\.yaml:15: metadata\.name: node 'n0' is named twice"),
        ((POD,), "expected at least one Node object, found none"),
        ((NODE,), "no pods to schedule: 0 read"),
        (("- 1\n",), r"all\.yaml:1: expected a mapping such as a Kubernetes object, got a list"),
    ],
)
def test_what_makes_no_scenario_is_refused(tmp_path: Path, texts: tuple[str, ...], message: str):
    with pytest.raises(TraceError, match=message):
        read(tmp_path, *texts)


def test_more_replicas_than_anyone_has_are_refused_at_once(tmp_path: Path):
    text = '{"kind": "Deployment", "metadata": {"name": "d"}, "spec": {"replicas": 1000000000}}'
    with pytest.raises(TraceError, match="expected a pod template"):
        read(tmp_path, NODE, text)
    with pytest.raises(TraceError, match=r"spec.replicas: expected a whole number 0\.\.20000000"):
        read(tmp_path, NODE, text.replace("}}", ', "template": {"spec": {}}}}'))


def test_what_is_written_reads_back_the_same(tmp_path: Path, shared_data: Path):
    first = traces.read(shared_data / "openb", pods="gpuspec10")
    traces.write(first, tmp_path / "out", "kubernetes")
    again = traces.read(tmp_path / "out")
    assert again.tasks.names == first.tasks.names
    assert again.tasks.classes == first.tasks.classes
    for column in ("class_id", "submit_s", "duration_s"):
        assert np.array_equal(getattr(again.tasks, column), getattr(first.tasks, column))
    assert [node.capacity for node in again.cluster] == [node.capacity for node in first.cluster]
    assert [node.gpu_model for node in again.cluster] == [n.gpu_model for n in first.cluster]


def test_constraints_gangs_and_priorities_survive_writing(tmp_path: Path):
    term = {"matchExpressions": [{"key": "disk", "operator": "Exists"}]}
    required = {"nodeSelectorTerms": [term, {"matchFields": [
        {"key": "metadata.name", "operator": "In", "values": ["n0"]}]}]}  # fmt: skip
    affinity = {"requiredDuringSchedulingIgnoredDuringExecution": required}
    spec: dict[str, Any] = {"affinity": {"nodeAffinity": affinity}, "nodeSelector": {"a": "1"}}
    spec |= {"tolerations": [{"operator": "Exists"}], "priority": 9}
    label = {"labels": {"scheduling.x-k8s.io/pod-group": "g"}, "namespace": "team"}
    first = read(tmp_path, NODE, pod(metadata=label, **spec), pod(name="p1", metadata=label))
    traces.write(first, tmp_path / "again.yaml", "kubernetes")
    again = traces.read(tmp_path / "again.yaml")
    assert list(again.tasks.names) == ["team/p0", "team/p1"]
    assert again.tasks.classes == first.tasks.classes
    assert again.tasks.jobs == first.tasks.jobs
    assert again.tasks.priority.tolist() == [9, 0]
    assert again.cluster.nodes[0].taints == first.cluster.nodes[0].taints


CLAIM = """\
kind: PersistentVolumeClaim
metadata: {name: data, namespace: team}
spec: {accessModes: [ReadWriteOncePod], volumeName: pv, storageClassName: disks}
status: {phase: Bound}
"""
VOLUME = """\
kind: PersistentVolume
metadata: {name: pv}
spec:
  nodeAffinity:
    required:
      nodeSelectorTerms:
      - matchExpressions: [{key: disk, operator: In, values: [ssd]}]
"""
NAMESPACE = "kind: Namespace\nmetadata: {name: team, labels: {tier: live}}\n"


def sociable(**more: Any) -> str:
    """A pod with every kind of rule about other pods."""
    hard = "requiredDuringSchedulingIgnoredDuringExecution"
    soft = "preferredDuringSchedulingIgnoredDuringExecution"
    term = {"labelSelector": {"matchLabels": {"app": "web"}}, "topologyKey": "zone"}
    spread = {"maxSkew": 2, "topologyKey": "zone", "labelSelector": {}}
    affinity = {
        "podAffinity": {hard: [term], soft: [{"weight": 3, "podAffinityTerm": term}]},
        "podAntiAffinity": {hard: [term | {"namespaceSelector": {}, "topologyKey": "host"}]},
    }
    return pod(
        metadata={"namespace": "team", "labels": {"app": "web"}},
        affinity=affinity,
        topologySpreadConstraints=[
            spread | {"whenUnsatisfiable": "DoNotSchedule", "minDomains": 2},
            spread | {"whenUnsatisfiable": "ScheduleAnyway", "nodeTaintsPolicy": "Honor"},
        ],
        containers=[{"name": "m", "ports": [{"containerPort": 80, "hostPort": 80}]}],
        volumes=[{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}],
        **more,
    )


def test_rules_about_other_pods_and_volumes_are_read_and_survive_writing(tmp_path: Path):
    texts = (NODE, NAMESPACE, CLAIM, VOLUME, sociable(), pod(name="b", nodeName="n0"))
    first = read(tmp_path, *texts)
    task = first.tasks[0]
    peers = task.task_class.peers
    assert (len(peers.near), len(peers.apart), len(peers.spread), len(peers.ports)) == (1,) * 4
    assert (len(peers.prefer_near), len(peers.prefer_spread)) == (1, 1)
    assert peers.exclusive == ("team/data",)
    assert task.task_class.constraints.reaches("n", {"disk": "ssd"})
    assert not task.task_class.constraints.reaches("n", {"disk": "hdd"})
    assert task.labels == TaskLabels("team", (("app", "web"),), (("tier", "live"),))
    assert not first.report.notes[1:], "nothing is left out or ignored"
    traces.write(first, tmp_path / "again.yaml", "kubernetes")
    again = traces.read(tmp_path / "again.yaml")
    for one, other in zip(first.tasks, again.tasks, strict=True):
        assert one.name == other.name
        own = one.task_class.constraints  # where volumes are is written as affinity of the pod's
        written = replace(narrowed(own, own.volumes), volumes=())
        assert replace(one.task_class, constraints=written) == other.task_class
        assert (one.labels, one.priority) == (other.labels, other.priority)
    assert again.bound == first.bound == {"b": ("n0", 0)}
    assert list(again.cluster) == list(first.cluster)


def test_a_pod_whose_claim_is_never_bound_fits_nowhere(tmp_path: Path):
    claim = CLAIM.replace(", volumeName: pv", "").replace("Bound", "Pending")
    scenario = read(tmp_path, NODE, claim, sociable())
    constraints = scenario.tasks[0].task_class.constraints
    assert not constraints.selects("n0", scenario.cluster.nodes[0].labels)
    assert "no node is good for pods that wait (pod has unbound immediate" in notes(scenario)


def test_a_template_has_the_namespace_of_its_workload(tmp_path: Path):
    near = {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
        {"topologyKey": "zone", "labelSelector": {}}]}}  # fmt: skip
    spec = {"replicas": 2, "template": {"spec": {"affinity": near, "containers": []}}}
    item = {"kind": "Deployment", "metadata": {"name": "d", "namespace": "team"}, "spec": spec}
    tasks = read(tmp_path, NODE, NAMESPACE, yaml.safe_dump(item)).tasks
    assert [task.labels.namespace for task in tasks] == ["team", "team"]
    assert tasks[0].labels.namespace_labels == (("tier", "live"),)
    assert tasks[0].task_class.peers.near[0].selector.namespaces == ("team",)


def test_a_cordoned_node_takes_only_what_tolerates_it(tmp_path: Path):
    node = NODE.replace("spec:\n", "spec:\n  unschedulable: true\n")
    cordoned = read(tmp_path, node, POD).cluster.nodes[0]
    assert Taint("node.kubernetes.io/unschedulable") in cordoned.taints


def test_json_is_named_by_line_too(tmp_path: Path):
    item = yaml.load(POD.replace("500m", "five"), Loader=yaml.CSafeLoader)
    (tmp_path / "p.json").write_text(json.dumps(item, indent=1))
    with pytest.raises(TraceError, match=r"p\.json:13: spec\.containers\[0\]\.resources"):
        kubernetes.read(tmp_path / "p.json")


JUNK = st.sampled_from(
    [None, [], {}, "", "x", "x" * 99, -1, 0, 10**18, 1.5, True, [1], ["a"], {"a": 1}, [{}], "\x85"]
)


def paths(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where every value stands in nested lists and mappings."""
    if not isinstance(value, (dict, list)):
        return [at]
    found = [at] if at else []
    for key, item in value.items() if isinstance(value, dict) else enumerate(value):
        found += paths(item, (*at, key))
    return found


FULL = pod(
    name="full",
    metadata={
        "annotations": {"alibabacloud.com/gpu-milli": "500", "alibabacloud.com/gpu-index": "0"},
        "labels": {"scheduling.x-k8s.io/pod-group": "g"},
        "ownerReferences": [{"kind": "Job", "name": "j", "controller": True}],
    },
    containers=[{"name": "m", "ports": [{"hostPort": 1}], **asks(cpu="1", memory="1Gi")}],
    initContainers=[{"restartPolicy": "Always", **asks(cpu="1")}],
    nodeSelector={"disk": "ssd"},
    tolerations=[{"key": "team", "operator": "Exists", "effect": "NoSchedule"}],
    affinity={
        "nodeAffinity": {
            "preferredDuringSchedulingIgnoredDuringExecution": [
                {
                    "weight": 5,
                    "preference": {
                        "matchExpressions": [{"key": "a", "operator": "In", "values": ["b"]}]
                    },
                }
            ]
        }
    },
    overhead={"cpu": "1m"},
    volumes=[{"persistentVolumeClaim": {"claimName": "c"}}],
    nodeName="n0",
    priority=4,
    status={"containerStatuses": [{"name": "m", "allocatedResources": {"cpu": "2"}}]},
)
FULL_JOB = json.dumps(
    {
        "kind": "Job",
        "metadata": {"name": "job"},
        "spec": {"completions": 2, "parallelism": 1, "suspend": False, "template": {"spec": {}}},
    }
)
GROUP = "kind: PodGroup\nmetadata: {name: g}\nspec: {minMember: 2}\n"
CLASS = "kind: PriorityClass\nmetadata: {name: c}\nvalue: 5\nglobalDefault: true\n"


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_junk_anywhere_is_read_or_is_one_clear_error(data: st.DataObject):
    texts = (NODE, FULL, FULL_JOB, GROUP, CLASS)
    objects = [yaml.load(text, Loader=yaml.CSafeLoader) for text in texts]
    where = data.draw(st.sampled_from(paths(objects)))
    owner: Any = objects
    for key in where[:-1]:
        owner = owner[key]
    owner[where[-1]] = data.draw(JUNK)
    message = "a.yaml"
    try:
        found = Objects()
        text = yaml.dump_all(objects, Dumper=yaml.CSafeDumper)
        for item in documents(Source(Path("a.yaml"), text)):
            found.add(item)
        kubernetes.assemble(found, Path("a.yaml"))
    except TraceError as error:
        message = str(error)
    assert message.startswith("a.yaml")
    assert "\n" not in message
