"""Bad descriptions: Kubernetes objects, simon configurations and generated scenarios."""

from __future__ import annotations

from tests.traces.bad._case import Case

NODE = """\
apiVersion: v1
kind: Node
metadata: {name: n0}
status:
  allocatable: {cpu: "8", memory: 16Gi, pods: "110"}
"""
POD = """\
---
apiVersion: v1
kind: Pod
metadata:
  name: p0
spec:
  containers:
    - name: main
      resources:
        requests: {cpu: "1", memory: 1Gi}
"""
BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 9)
)
KUBERNETES = {"format": "kubernetes"}


def kube(name: str, text: str) -> Case:
    return Case(f"kubernetes: {name}", {"objects.yaml": text}, options=KUBERNETES)


def pod(name: str, old: str, new: str) -> Case:
    """The good pod with one thing changed."""
    assert old in POD
    return kube(name, NODE + POD.replace(old, new))


SIMON = """\
apiVersion: simon/v1alpha1
kind: Config
metadata: {name: c}
spec:
  cluster: {customConfig: objects}
  customConfig:
    workloadTuningConfig: {ratio: 1.3, seed: 42}
"""


def simon(name: str, old: str, new: str) -> Case:
    assert old in SIMON
    files = {"cluster.yaml": SIMON.replace(old, new), "objects/all.yaml": NODE + POD}
    return Case(f"simon: {name}", files, read="cluster.yaml")


GENERATED = """\
kind: Synthetic
seed: 7
jobs: 10
arrivals: {process: poisson, rate_per_s: 0.5}
nodes:
  - {name: gpu, count: 2, cpu: "64", memory: 256Gi, gpus: 4, gpu_model: A100}
classes:
  - name: train
    cpu: "8"
    gpus: 1
    duration: {distribution: lognormal, median_s: 1800}
"""


def made(name: str, text: str) -> Case:
    return Case(f"synthetic: {name}", {"made.yaml": text}, options={"format": "synthetic"})


def synthetic(name: str, old: str, new: str) -> Case:
    """The good description with one thing changed."""
    assert old in GENERATED
    return made(name, GENERATED.replace(old, new))


CASES = [
    kube("no nodes", POD),
    kube("a tab", "apiVersion: v1\nkind: Node\n\tmetadata: {}\n"),
    kube(
        "a tag that makes objects", "apiVersion: v1\nkind: !!python/object/apply:os.system [ls]\n"
    ),
    kube("an alias bomb", "apiVersion: v1\nkind: Node\n" + BOMB),
    kube("an alias to itself", "apiVersion: v1\nkind: Node\nspec: &a\n  b: *a\n"),
    kube("deep nesting", "apiVersion: v1\nkind: " + "[" * 100 + "]" * 100 + "\n"),
    kube("a key twice", NODE + "kind: Node\n"),
    kube("a list of numbers", "# apiVersion kind\n- 1\n- 2\n"),
    kube("truncated JSON", '{"apiVersion": "v1", "kind": "Node", "metadata": {"na'),
    kube("NaN in JSON", '{"apiVersion": "v1", "kind": "Node", "status": NaN}'),
    kube("twice the same node", NODE + "---\n" + NODE),
    kube("twice the same pod", NODE + POD + POD),
    kube(
        "a billion replicas",
        NODE
        + """---
apiVersion: apps/v1
kind: Deployment
metadata: {name: d}
spec:
  replicas: 1000000000
  template: {spec: {containers: [{name: c}]}}
""",
    ),
    kube(
        "negative replicas",
        NODE
        + """---
apiVersion: apps/v1
kind: Deployment
metadata: {name: d}
spec:
  replicas: -1
  template: {spec: {containers: [{name: c}]}}
""",
    ),
    pod("memory with a space", "1Gi", "4 GB"),
    pod("negative cpu", '"1"', '"-1"'),
    pod("NaN cpu", '"1"', ".nan"),
    pod(
        "more than a whole GPU",
        "name: p0",
        "name: p0\n  annotations:\n"
        '    {alibabacloud.com/gpu-milli: "1200", alibabacloud.com/gpu-count: "1"}',
    ),
    pod("no name", "  name: p0", "  labels: {a: b}"),
    pod(
        "unknown operator",
        "containers:",
        "affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: "
        "{nodeSelectorTerms: [{matchExpressions: [{key: a, operator: Inn, values: [b]}]}]}}}\n"
        "  containers:",
    ),
    pod(
        "containers that are no list",
        '    - name: main\n      resources:\n        requests: {cpu: "1", memory: 1Gi}\n',
        "    main: {}\n",
    ),
    simon("another kind", "kind: Config", "kind: Simon"),
    simon("no such folder", "customConfig: objects", "customConfig: objets"),
    simon("seed that is no number", "seed: 42", "seed: forty-two"),
    simon("misspelt key", "workloadTuningConfig", "workloadTunningConfig"),
    synthetic("unknown process", "process: poisson", "process: poison"),
    synthetic("no rate", ", rate_per_s: 0.5", ""),
    synthetic("negative rate", "rate_per_s: 0.5", "rate_per_s: -1"),
    synthetic("rate that is text", "rate_per_s: 0.5", "rate_per_s: fast"),
    synthetic("infinite rate", "rate_per_s: 0.5", "rate_per_s: .inf"),
    synthetic("bursts of more than all", "process: poisson", "burst_factor: 20, process: bursty"),
    synthetic("misspelt key of a process", "rate_per_s: 0.5", "rate_per_s: 0.5, burst_facter: 2"),
    synthetic("unknown distribution", "lognormal", "gamma"),
    synthetic("sigma beyond reason", "median_s: 1800", "median_s: 1800, sigma: 50"),
    synthetic("a billion jobs", "jobs: 10", "jobs: 1000000000"),
    synthetic("a billion nodes", "count: 2", "count: 1000000000"),
    synthetic("gangs beyond the limit", "    gpus: 1\n", "    gpus: 1\n    gang: 10001\n"),
    made(
        "tasks beyond the limit", GENERATED.replace("jobs: 10", "jobs: 2000") + "    gang: 10000\n"
    ),
    synthetic("jobs that are true", "jobs: 10", "jobs: true"),
    synthetic("negative seed", "seed: 7", "seed: -7"),
    synthetic("no jobs", "jobs: 10\n", ""),
    synthetic("no classes", GENERATED[GENERATED.index("classes") :], "classes: []\n"),
    synthetic("no nodes", GENERATED[GENERATED.index("nodes") : GENERATED.index("classes")], ""),
    synthetic("8 GPUs on 4-GPU nodes", "    gpus: 1\n", "    gpus: 8\n"),
    synthetic("unknown GPU model", "    gpus: 1\n", "    gpus: 1\n    gpu_models: [A10]\n"),
    synthetic("a share of two GPUs", "    gpus: 1\n", "    gpus: 2\n    gpu_milli: 500\n"),
    synthetic("GPUs without a model", ", gpu_model: A100", ""),
    synthetic("memory with a space", "256Gi", "256 GB"),
    synthetic("twice the same node", "classes:", "  - {name: gpu-0, cpu: 1}\nclasses:"),
    synthetic("negative weight", '    cpu: "8"', '    cpu: "8"\n    weight: -1'),
    synthetic("misspelt key", "jobs: 10", "job: 10"),
    made(
        "stationary without an end",
        GENERATED.replace("jobs: 10", "jobs: 10\nstart: stationary").replace(
            "lognormal, median_s: 1800", "forever"
        ),
    ),
    synthetic("unknown preset", GENERATED[GENERATED.index("seed") :], "preset: openb\n"),
    synthetic(
        "preset with too few tasks",
        GENERATED[GENERATED.index("seed") :],
        "preset: openb-like\ndepartures: true\ntasks: 100\n",
    ),
    Case("synthetic: an option of names", {"made.yaml": GENERATED}, options={"load": 0.5}),
    synthetic("another kind", "Synthetic", "synthetic"),
]
