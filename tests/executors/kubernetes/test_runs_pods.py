"""A launch as a pod: what is on it, what a template may add, and what it may not."""

from __future__ import annotations

import os
import re
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cerebrum.executors.kubernetes import _runs_objects as at
from cerebrum.executors.kubernetes._runs_book import Book
from cerebrum.executors.kubernetes._runs_pod import _literal, pod_of
from cerebrum.executors.kubernetes._runs_status import status_of
from cerebrum.executors.kubernetes._runs_template import checked
from cerebrum.executors.kubernetes._runs_watchdog import SCRIPT
from cerebrum.executors.kubernetes.runs import PodSettings, read_template
from cerebrum.kube.fields import Fields
from cerebrum.kube.requests import pod_resources
from cerebrum.model.errors import ConfigError, InputError
from cerebrum.model.program import Program
from cerebrum.model.resources import Resources
from cerebrum.model.runs import Launch, RunPhase

SETTINGS = PodSettings("c1", "batch")


def launch(**more: Any) -> Launch:
    return Launch("cb-1", "w/t", "n1", **{"duration_s": 2.0, **more})


def container(pod: dict[str, Any]) -> dict[str, Any]:
    (found,) = pod["spec"]["containers"]
    return found


def expanded(text: str) -> str:
    """What a kubelet makes of `$(NAME)` and `$$`, with no variable known (k8s expansion rules)."""
    return re.sub(r"\$\$", "$", text)


@given(st.text(alphabet="$()aA{}_ ", max_size=20))
def test_text_reaches_the_process_as_it_was_given(text: str) -> None:
    assert expanded(_literal(text)) == text
    assert not re.search(r"(?<!\$)(\$\$)*\$\(", _literal(text)), "a reference is left"


def test_a_run_is_a_pod_on_its_node_that_begins_once() -> None:
    pod = pod_of(launch(resources=Resources(1500, 256)), SETTINGS, None)
    meta, spec = pod["metadata"], pod["spec"]
    assert (meta["name"], meta["namespace"]) == ("cb-1", "batch")
    assert meta["labels"][at.RUN_ID] == "cb-1"
    assert meta["annotations"][at.TASK] == "w/t"
    assert meta["finalizers"] == [at.FINALIZER]
    assert (spec["restartPolicy"], spec["nodeName"]) == ("Never", "n1")
    assert "activeDeadlineSeconds" not in spec
    assert "initContainers" not in spec
    asked = container(pod)["resources"]
    assert asked["requests"] == asked["limits"] == {"cpu": "1500m", "memory": "256Mi"}


@given(
    st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 4), st.integers(1, 1000),
    st.booleans(),
)  # fmt: skip
def test_what_the_cluster_counts_is_what_the_engine_counted(
    cpu: int, memory: int, gpus: int, milli: int, plugin: bool
) -> None:
    milli = 1000 if gpus > 1 else milli
    wanted = Resources(cpu, memory, gpus, milli if gpus else 0)
    settings = PodSettings("c1", gpu_resource="nvidia.com/gpu" if plugin else "")
    pod = pod_of(launch(resources=wanted, gpus=tuple(range(gpus))), settings, time.time())
    counted = pod_resources(Fields.of(pod["metadata"]), Fields.of(pod["spec"]), Fields.of({}))
    assert counted == wanted


def test_affinity_names_the_node_and_leaves_the_scheduler_the_last_word() -> None:
    settings = PodSettings("c1", placement="affinity", scheduler_name="mine")
    spec = pod_of(launch(), settings, None)["spec"]
    assert "nodeName" not in spec
    assert spec["schedulerName"] == "mine"
    (term,) = spec["affinity"]["nodeAffinity"][
        "requiredDuringSchedulingIgnoredDuringExecution"
    ]["nodeSelectorTerms"]  # fmt: skip
    wanted = {"key": "metadata.name", "operator": "In", "values": ["n1"]}
    assert term == {"matchFields": [wanted]}


def test_a_templates_affinity_holds_together_with_the_node() -> None:
    zones = [{"matchExpressions": [{"key": "zone", "operator": "In", "values": [z]}]} for z in "ab"]
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": zones}}
    template = checked({"spec": {"affinity": {"nodeAffinity": required}}})
    settings = PodSettings("c1", placement="affinity", template=template)
    affinity = pod_of(launch(), settings, None)["spec"]["affinity"]["nodeAffinity"]
    terms = affinity["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    assert len(terms) == 2
    assert all({"matchFields", "matchExpressions"} == set(term) for term in terms)


TEMPLATE = """
apiVersion: v1
kind: Pod
metadata:
  labels: {team: blue}
  annotations: {note: hello}
spec:
  serviceAccountName: runner
  tolerations: [{key: batch, operator: Exists}]
  imagePullSecrets: [{name: registry}]
  securityContext: {runAsNonRoot: true, runAsUser: 1000}
  volumes: [{name: data, persistentVolumeClaim: {claimName: data}}]
  containers:
  - name: task
    image: fallback
    env: [{name: HOME, value: /data}, {name: MODE, value: template}]
    volumeMounts: [{name: data, mountPath: /data}]
  initContainers: [{name: proxy, image: proxy, restartPolicy: Always}]
"""


def test_a_template_adds_and_the_run_wins(tmp_path: Path) -> None:
    file = tmp_path / "pod.yaml"
    file.write_text(TEMPLATE)
    settings = PodSettings("c1", template=read_template(file))
    program = Program(command=("run",), env={"MODE": "task"})
    pod = pod_of(launch(program=program, stage_in_s=1.0), settings, time.time())
    assert pod["metadata"]["labels"]["team"] == "blue"
    assert pod["metadata"]["labels"][at.RUN_ID] == "cb-1"
    assert pod["spec"]["serviceAccountName"] == "runner"
    env = {item["name"]: item["value"] for item in container(pod)["env"]}
    assert (env["HOME"], env["MODE"]) == ("/data", "task")
    assert container(pod)["image"] != "fallback"
    assert container(pod)["volumeMounts"] == [{"name": "data", "mountPath": "/data"}]
    assert [v["name"] for v in pod["spec"]["volumes"]] == ["cerebrum-fence", "data"]
    order = [c["name"] for c in pod["spec"]["initContainers"]]
    assert order == ["fence", "stage-in", "proxy"]
    again = pod_of(launch(program=program), settings, None)
    assert [v["name"] for v in again["spec"]["volumes"]] == ["data"], "templates are not changed"


@pytest.mark.parametrize(
    ("text", "field", "hint"),
    [
        ("spec: {toleration: []}", "spec.toleration", "tolerations"),
        ("spec: {nodeName: n1}", "spec.nodeName", "decided by the run"),
        ("spec: {activeDeadlineSeconds: 5}", "spec.activeDeadlineSeconds", "decided by the run"),
        ("spec: {containers: [{name: other}]}", "spec.containers[0].name", "restartPolicy: Always"),
        ("spec: {containers: [{name: task, command: [x]}]}", "spec.containers[0].command", "task"),
        ("spec: {initContainers: [{name: fence}]}", "spec.initContainers[0].name", "other than"),
        ("metadata: {labels: {cerebrum.dev/run-id: x}}", "metadata.labels.cerebrum.dev/run-id", ""),
        ("metadata: {labels: {a: 1}}", "metadata.labels.a", "expected text"),
        ("metadata: {ownerReferences: []}", "metadata.ownerReferences", "decided by the run"),
        ("spec: []", "spec", "expected a mapping"),
        ("- a", "template", "expected a mapping"),
        ("spce: {}", "template.spce", "did you mean 'spec'"),
        ("a: [", "", "expected YAML"),
        ("x: " + "y" * (256 << 10), "", "at most"),
    ],
)
def test_a_template_that_makes_no_sense_is_refused_by_place(
    tmp_path: Path, text: str, field: str, hint: str
) -> None:
    file = tmp_path / "pod.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError) as refusal:
        read_template(file)
    assert str(file) in str(refusal.value)
    assert field in str(refusal.value)
    assert hint in str(refusal.value)


@pytest.mark.parametrize("run_id", ["Upper", "dot.ted", "under_score", "x" * 64, "-a"])
def test_a_run_whose_id_names_no_pod_is_refused(run_id: str) -> None:
    with pytest.raises(InputError, match="names a pod"):
        pod_of(Launch(run_id, "t", "n1"), SETTINGS, None)


# -- what pods say, in any order -------------------------------------------------------------

_STATES = st.sampled_from([
    {},
    {"waiting": {"reason": "ContainerCreating"}},
    {"running": {"startedAt": "2026-01-01T00:00:00Z"}},
    {"terminated": {"exitCode": 0, "startedAt": "2026-01-01T00:00:00Z",
                    "finishedAt": "2026-01-01T00:00:05Z"}},
    {"terminated": {"exitCode": 128, "reason": "StartError", "startedAt": "1970-01-01T00:00:00Z"}},
])  # fmt: skip
_PODS = st.builds(
    lambda phase, state, deleted, grace, node, mark: {
        "metadata": {
            "name": "r1", "namespace": "batch", "uid": "u", "labels": {at.RUN_ID: "r1"},
            "annotations": {at.TASK: "w/t", at.NODE: "n1", **({at.END: mark} if mark else {})},
            "creationTimestamp": "2026-01-01T00:00:00Z",
            **({"deletionTimestamp": "2026-01-01T00:00:09Z", "deletionGracePeriodSeconds": grace}
               if deleted else {}),
        },
        "spec": {"nodeName": node},
        "status": {"phase": phase, "containerStatuses": [{"name": "task", "state": state}]},
    },
    st.sampled_from(["Pending", "Running", "Succeeded", "Failed", "Unknown", ""]), _STATES,
    st.booleans(), st.sampled_from([0, 1, 30]), st.sampled_from(["", "n1"]),
    st.sampled_from(["", "by hand", *(f'{{"phase":"{phase}","reason":"x"}}'
                                      for phase in ("stopped", "start_failed", "failed"))]),
)  # fmt: skip


@given(st.lists(_PODS, min_size=1, max_size=6), st.booleans())
def test_however_a_pod_changes_its_run_is_told_as_the_protocol_wants(
    pods: list[dict[str, Any]], gone: bool
) -> None:
    import msgspec

    book = Book()
    seen = [msgspec.convert(pod, at.RunPod, strict=False) for pod in pods]
    for pod in seen:
        book.seen(pod)
    if gone:
        book.gone(seen[-1])
    phases = [status.phase for status in book.take()]
    assert phases in (
        [], [RunPhase.RUNNING], [RunPhase.START_FAILED], [RunPhase.STOPPED],
        [RunPhase.RUNNING, RunPhase.SUCCEEDED], [RunPhase.RUNNING, RunPhase.FAILED],
        [RunPhase.RUNNING, RunPhase.STOPPED],
    )  # fmt: skip
    if gone:
        assert phases
        assert phases[-1].final
    assert repr(status_of(seen[-1])) == repr(status_of(seen[-1]))


# -- the watchdog ----------------------------------------------------------------------------


def test_the_watchdog_ends_everything_in_its_pod_at_the_deadline_and_not_before(
    tmp_path: Path,
) -> None:
    """In a process namespace of its own, as in a pod: what it kills there is all there is."""
    inside = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]
    if os.geteuid() or subprocess.run([*inside, "true"], capture_output=True).returncode:
        pytest.skip("no process namespaces here")
    deadline, said = tmp_path / "deadline", tmp_path / "said"
    pod = f'sleep 60 & echo $! > {tmp_path}/main; sh -c "$1" {deadline} {said} & wait %1; echo $?'
    for junk in ("", "soon", "12x"):
        deadline.write_text(junk)
    process = subprocess.Popen(
        [*inside, "sh", "-c", pod, "sh", SCRIPT], stdout=subprocess.PIPE, text=True
    )
    try:
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(2.5)  # junk is no deadline
        deadline.write_text(str(int(time.time()) + 600))
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(2.5)
        assert not said.exists()
        deadline.write_text(str(int(time.time())))  # no newline, as the kubelet writes it
        out, _ = process.communicate(timeout=20)
        assert out.strip() == "137"
        assert said.read_text() == "fenced"
    finally:
        process.kill()
        process.communicate()
