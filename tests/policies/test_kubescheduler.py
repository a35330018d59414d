"""KubeSchedulerConfiguration files: Kubernetes' own, and those of the openb simulator."""

from __future__ import annotations

import textwrap

import pytest

from cerebrum.model.errors import CerebrumError
from cerebrum.policies import get_policy

V1 = "apiVersion: kubescheduler.config.k8s.io/v1\nkind: KubeSchedulerConfiguration\n"
SIMULATOR = """
apiVersion: kubescheduler.config.k8s.io/v1beta1
kind: KubeSchedulerConfiguration
percentageOfNodesToScore: 100
profiles:
  - schedulerName: simon-scheduler
    plugins:
      filter:
        enabled:
          - name: Open-Gpu-Share
      score:
        disabled:
          - name: RandomScore
          - name: ImageLocality
          - name: NodeAffinity
          - name: PodTopologySpread
          - name: TaintToleration
          - name: NodeResourcesBalancedAllocation
          - name: InterPodAffinity
          - name: NodeResourcesLeastAllocated
          - name: NodePreferAvoidPods
        enabled:
ENABLED
      bind:
        disabled:
          - name: DefaultBinder
        enabled:
          - name: Simon
    pluginConfig:
      - name: Open-Gpu-Share
        args:
          dimExtMethod: share
          normMethod: max
          gpuSelMethod: METHOD
"""


@pytest.fixture
def read(tmp_path):
    def write(text: str):
        path = tmp_path / "scheduler.yaml"
        path.write_text(textwrap.dedent(text))
        return get_policy(str(path))

    return write


def simulator(method: str, **weights: int) -> str:
    lines = [f"          - {{name: {name}, weight: {w}}}" for name, w in weights.items()]
    return SIMULATOR.replace("ENABLED", "\n".join(lines)).replace("METHOD", method)


def summary(policy) -> list[tuple[str, float, str]]:
    return [(w.scorer.name, w.weight, w.normalize) for w in policy.scores]


def test_defaults_are_kubernetes_defaults(read):
    policy = read(V1)
    assert summary(policy) == [
        ("least_allocated", 1, "none"),
        ("balanced_allocation", 1, "none"),
        ("node_affinity", 2, "max"),
        ("taint_toleration", 3, "max-reversed"),
    ]
    assert (policy.rules.ties, policy.rules.queue) == ("random", "skip")
    same = get_policy("kubernetes-default")
    assert summary(same) == summary(policy)


def test_plugins_are_switched_off_and_weighed(read):
    policy = read(
        V1
        + """
profiles:
- schedulerName: packer
  plugins:
    score:
      disabled: [{name: NodeResourcesBalancedAllocation}, {name: TaintToleration}]
      enabled: [{name: NodeAffinity, weight: 7}]
  pluginConfig:
  - name: NodeResourcesFit
    args:
      scoringStrategy:
        type: MostAllocated
        resources: [{name: cpu, weight: 1}, {name: memory, weight: 1}]
"""
    )
    assert policy.name == "packer"
    assert summary(policy) == [("most_allocated", 1, "none"), ("node_affinity", 7, "max")]


def test_everything_can_be_switched_off(read):
    policy = read(V1 + "profiles: [{plugins: {score: {disabled: [{name: '*'}]}}}]")
    assert summary(policy) == [("constant", 1, "none")]


@pytest.mark.parametrize(
    ("plugin", "method", "scorer", "gpus", "ties"),
    [
        ("FGDScore", "FGDScore", "fgd-original", "score", "first"),
        ("BestFitScore", "best", "best_fit", "best", "first"),
        ("DotProductScore", "best", "dot_product", "best", "first"),
        ("GpuPackingScore", "best", "gpu_packing", "best", "first"),
        ("GpuClusteringScore", "best", "gpu_clustering", "best", "first"),
        ("PWRScore", "PWRScore", "pwr", "first-used", "first"),
        ("RandomScore", "random", "constant", "random", "random"),
    ],
)
def test_the_simulators_plugins(read, plugin, method, scorer, gpus, ties):
    policy = read(simulator(method, **{plugin: 1000}))
    assert [w.scorer.name for w in policy.scores] == [scorer]
    rules = policy.rules
    assert (rules.gpus, rules.ties, rules.queue) == (gpus, ties, "reject")


def test_in_a_mix_the_heaviest_chooses_the_gpu(read):
    policy = read(simulator("FGDScore", PWRScore=100, FGDScore=900))
    assert summary(policy) == [("fgd-original", 900, "none"), ("pwr", 100, "minmax")]
    assert policy.rules.gpus == "score"


WRONG = {
    "apiVersion: v1\nkind: Pod": "apiVersion: expected apiVersion kubescheduler.config.k8s.io/v1",
    V1.replace("/v1", "/v2"): "scheduler.yaml:1: apiVersion: unknown version 'v2'",
    V1
    + "profile: []": "scheduler.yaml:3: profile: unknown field 'profile': did you mean 'profiles'?",
    V1 + "profiles: [{}, {}]": "scheduler.yaml:3: profiles: expected one profile, got 2",
    V1 + "profiles: [3]": "profiles[0]: expected fields, got 3",
    V1 + "profiles: [{plugins: {score: {enabled: [{name: FGDscore}]}}}]": (
        "profiles[0].plugins.score.enabled[0].name: unknown score plugin 'FGDscore': "
        "did you mean 'FGDScore'?"
    ),
    V1 + "profiles: [{plugins: {score: {enabled: [{name: NodeAffinity, weight: -1}]}}}]": (
        "weight: expected a whole number above 0, got -1"
    ),
    V1 + "profiles: [{pluginConfig: [{name: NodeResourcesFit, args: {scoringStrategy: "
    "{type: RequestedToCapacityRatio}}}]}]": "unknown scoring strategy 'RequestedToCapacityRatio'",
    simulator("bestt", BestFitScore=1): "unknown gpuSelMethod 'bestt': did you mean 'best'?",
    simulator("best", RandomScore=1, BestFitScore=1): "RandomScore cannot be mixed",
}


@pytest.mark.parametrize("text", WRONG)
def test_what_cannot_be_followed_is_said(read, text):
    with pytest.raises(CerebrumError) as problem:
        read(text)
    assert WRONG[text] in str(problem.value)
