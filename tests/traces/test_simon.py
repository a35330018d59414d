"""simon's cluster.yaml and scheduler.yaml, and its topology tool."""

from __future__ import annotations

from pathlib import Path

import pytest

from cerebrum import traces
from cerebrum.model.errors import TraceError
from cerebrum.traces import simon

CLUSTER = """\
apiVersion: simon/v1alpha1
kind: Config
metadata:
  name: test
spec:
  cluster:
    customConfig: data/openb
  customConfig:
    shufflePod: true
    workloadTuningConfig:
      ratio: 1.3
      seed: 42
    typicalPodsConfig:
      isInvolvedCpuPods: true
      podPopularityThreshold: 95
      podIncreaseStep: 1
"""
SCHEDULER = """\
apiVersion: kubescheduler.config.k8s.io/v1beta1
kind: KubeSchedulerConfiguration
percentageOfNodesToScore: 100
profiles:
- schedulerName: simon-scheduler
  plugins:
    score:
      disabled:
      - name: RandomScore
      enabled:
      - name: FGDScore
        weight: 1000
  pluginConfig:
  - name: FGDScore
    args: {dimExtMethod: share, normMethod: max}
  - name: Open-Gpu-Share
    args: {dimExtMethod: share, normMethod: max, gpuSelMethod: FGDScore}
"""


@pytest.fixture
def experiment(tmp_path: Path, shared_data: Path) -> Path:
    """A cluster.yaml over the published trace as Kubernetes objects."""
    traces.write(traces.read(shared_data / "openb"), tmp_path / "data" / "openb", "kubernetes")
    (tmp_path / "cluster.yaml").write_text(CLUSTER)
    return tmp_path


def small(tmp_path: Path, text: str = CLUSTER) -> Path:
    folder = tmp_path / "data" / "openb"
    folder.mkdir(parents=True, exist_ok=True)
    node = "kind: Node\nmetadata: {name: n}\nstatus: {capacity: {cpu: 8, nvidia.com/gpu: 8}}\n"
    pods = [
        f"kind: Pod\nmetadata: {{name: p{i}}}\nspec: {{containers: [{{resources: "
        "{requests: {nvidia.com/gpu: 1}}}]}\n"
        for i in range(3)
    ]
    (folder / "all.yaml").write_text("---\n".join([node, *pods]))
    (tmp_path / "cluster.yaml").write_text(text)
    return tmp_path / "cluster.yaml"


def test_the_published_experiment_comes_out_of_its_configuration(
    experiment: Path, shared_data: Path
):
    scenario = traces.read(experiment / "cluster.yaml")
    published = traces.read(shared_data / "openb", arrivals="fgd", seed=42)
    assert scenario.tasks.names == published.tasks.names
    assert [n.name for n in scenario.cluster] == [n.name for n in published.cluster]
    assert scenario.typical == published.typical


def test_applications_follow_the_pods_of_the_cluster(tmp_path: Path):
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "web.yaml").write_text(
        "kind: Deployment\nmetadata: {name: web}\nspec:\n  replicas: 2\n"
        "  template: {spec: {containers: [{resources: {requests: {cpu: 1}}}]}}\n"
    )
    text = CLUSTER.replace("  customConfig:\n    shuffle", "  appList: [{name: web, path: app}]\n"
                           "  customConfig:\n    shuffle")  # fmt: skip
    tasks = traces.read(small(tmp_path, text)).tasks
    assert list(tasks.names[-2:]) == ["web-0", "web-1"]
    assert tasks.submit_s.tolist() == list(range(len(tasks)))


def test_without_shuffle_pods_come_by_time_and_name(tmp_path: Path):
    text = CLUSTER.replace("shufflePod: true", "shufflePod: false").replace("1.3", "0")
    assert list(traces.read(small(tmp_path, text)).tasks.names) == ["p0", "p1", "p2"]


def test_workload_inflation_draws_clones(tmp_path: Path):
    text = CLUSTER.replace("ratio: 1.3", "ratio: 0")
    text += "    workloadInflationConfig: {ratio: 2, seed: 1}\n"
    names = list(traces.read(small(tmp_path, text)).tasks.names)
    assert [name.split("-")[1:] for name in names[3:]] == [["clone", str(i)] for i in range(3)]


@pytest.mark.parametrize(
    ("change", "to", "message"),
    [
        ("kind: Config", "kind: Confg", "cluster.yaml:2: kind: expected Config, got 'Confg'"),
        ("data/openb", "data/opnb", "cluster.yaml:7: spec.cluster.customConfig: no such folder"),
        ("shufflePod: true", "shufflePod: 3", "cluster.yaml:9: spec.customConfig.shufflePod: exp"),
        ("shufflePod:", "shufflePods:", "cluster.yaml:9: spec.customConfig.shufflePods: unknown "),
        ("ratio: 1.3", "ratio: .inf", "cluster.yaml:11: spec.customConfig.workloadTuningConfig.r"),
        ("seed: 42", "seed: 4.5", "cluster.yaml:12: spec.customConfig.workloadTuningConfig.seed:"),
        ("Step: 1", "Step: -1", "cluster.yaml:16: spec.customConfig.typicalPodsConfig.podIncreas"),
        ("  cluster:", "  appList: [{path: x, chart: true}]\n  cluster:", "cluster.yaml:6: spec.a"),
    ],
)
def test_a_wrong_setting_is_named_by_line(tmp_path: Path, change: str, to: str, message: str):
    path = small(tmp_path, CLUSTER.replace(change, to, 1))
    with pytest.raises(TraceError) as caught:
        simon.read(path)
    assert str(caught.value).replace(f"{tmp_path}/", "").startswith(message)


def profile(tmp_path: Path, text: str) -> dict[str, object]:
    (tmp_path / "scheduler.yaml").write_text(text)
    return simon.read_profile(tmp_path / "scheduler.yaml")


def test_a_scheduler_configuration_becomes_a_profile(tmp_path: Path):
    fgd = {"name": "fgd-original", "rounding": "truncate"}
    assert profile(tmp_path, SCHEDULER) == {"scores": [fgd], "gpus": "score", "queue": "reject"}
    scenario = simon.read(small(tmp_path), scheduler=str(tmp_path / "scheduler.yaml"))
    assert scenario.profile is not None
    assert scenario.profile["gpus"] == "score"


def test_a_mixture_has_weights_and_the_heaviest_first(tmp_path: Path):
    mixed = SCHEDULER.replace(
        "        weight: 1000\n", "        weight: 900\n      - {name: PWRScore, weight: 100}\n"
    )
    found = profile(tmp_path, mixed)
    assert [(s["name"], s["weight"]) for s in found["scores"]] == [  # type: ignore[attr-defined]
        ("fgd-original", 900),
        ("pwr", 100),
    ]


def test_random_breaks_ties_by_chance(tmp_path: Path):
    text = SCHEDULER.replace("FGDScore}", "random}").replace("FGDScore", "RandomScore")
    assert profile(tmp_path, text) == {
        "scores": [{"name": "constant"}],
        "gpus": "random",
        "queue": "reject",
        "ties": "random",
    }


@pytest.mark.parametrize(
    ("change", "to", "message"),
    [
        ("- name: FGDScore\n        w", "- name: FGDScor\n        w", ":11: profiles[0].plugins."),
        ("weight: 1000", "weight: 0", ":12: profiles[0].plugins.score.enabled[0].weight: expect"),
        ("gpuSelMethod: FGDScore", "gpuSelMethod: bst", ":17: profiles[0].pluginConfig[1].args.g"),
        ("share, normMethod: max}\n  -", "shared, normMethod: max}\n  -", ":15: profiles[0].plug"),
        ("kind: Kube", "kind: Kub", ": expected one KubeSchedulerConfiguration, found 0"),
    ],
)
def test_a_wrong_plugin_is_named_by_line(tmp_path: Path, change: str, to: str, message: str):
    assert change in SCHEDULER
    with pytest.raises(TraceError) as caught:
        profile(tmp_path, SCHEDULER.replace(change, to, 1))
    assert str(caught.value).startswith(f"{tmp_path}/scheduler.yaml{message}")


def test_topology_is_written_beside_the_originals_and_read(tmp_path: Path, shared_data: Path):
    for name in ("openb_node_list_gpu_node.csv", "openb_pod_list_default.csv"):
        (tmp_path / name).write_bytes((shared_data / "openb" / name).read_bytes())
    yaml_file = tmp_path / "nodes.yaml"
    yaml_file.write_bytes((shared_data / "openb" / "openb_node_list_gpu_node.yaml").read_bytes())
    before = yaml_file.read_bytes()
    written = simon.add_topology(tmp_path, servers_per_rack=4)
    assert [path.name for path in written] == [
        "nodes-hier.yaml",
        "openb_node_list_gpu_node-hier.csv",
    ]
    assert yaml_file.read_bytes() == before
    node = traces.read(tmp_path, "openb").cluster.nodes[9]
    assert node.labels == {"rack": "rack-2", "server": "srv-1"}
    text = written[0].read_text()
    assert text.count("rack: rack-2\n") == 4
    assert text.count("kind: Node\n") == 1_213


def test_a_labelled_copy_stands_for_its_original(tmp_path: Path):
    path = small(tmp_path)
    simon.add_topology(tmp_path / "data" / "openb", servers_per_rack=1)
    scenario = traces.read(path)
    assert len(scenario.cluster) == 1
    assert scenario.cluster.nodes[0].labels["rack"] == "rack-0"
    assert len(scenario.tasks) == 10  # 8 GPUs x 1.3 = 10.4


def test_topology_needs_nodes_and_a_rack_size(tmp_path: Path):
    with pytest.raises(TraceError, match="no nodes here"):
        simon.add_topology(tmp_path)
    with pytest.raises(Exception, match="servers_per_rack: expected at least 1, got 0"):
        simon.add_topology(tmp_path, 0)
