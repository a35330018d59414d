"""Policies: where a task goes, when, and on which GPUs. One a file, its paper in the docstring.

`get_policy(name)` gives a fresh one. Adding a policy is a file and a line below. Importing this
module is cheap: what compiles is imported when a policy is made.
"""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from typing import Any

from cerebrum.model.protocols import Policy

GROUP = "cerebrum.policies"
"""The entry point group in which other packages declare policies."""

LEARNED = "learned"
"""`learned:NAME` or `learned:FILE.safetensors`: see `cerebrum.policies.learned.serving`."""

POLICIES: dict[str, str] = {
    "best-fit": "cerebrum.policies.best_fit:PROFILE",
    "dot-product": "cerebrum.policies.dot_product:PROFILE",
    "ecsched-dp": "cerebrum.policies.ecsched:dp",
    "ecsched-k8s": "cerebrum.policies.slots:kubernetes",
    "ecsched-ml": "cerebrum.policies.ecsched:ml",
    "f1": "cerebrum.policies.f1:make",
    "fcfs": "cerebrum.policies.fcfs:make",
    "fgd": "cerebrum.policies.fgd:PROFILE",
    "fgd-original": "cerebrum.policies.fgd:original",
    "first-fit": "cerebrum.policies.first_fit:PROFILE",
    "gpu-clustering": "cerebrum.policies.gpu_clustering:PROFILE",
    "gpu-packing": "cerebrum.policies.gpu_packing:PROFILE",
    "headroom": "cerebrum.policies.headroom:make",
    "kubernetes-default": "cerebrum.policies.kubernetes_default:PROFILE",
    "least-allocated": "cerebrum.policies.allocation:LEAST",
    "max-min": "cerebrum.policies.max_min:MaxMin",
    "min-min": "cerebrum.policies.min_min:MinMin",
    "most-allocated": "cerebrum.policies.allocation:MOST",
    "pwr": "cerebrum.policies.pwr:PROFILE",
    "pwr-fgd": "cerebrum.policies.pwr:mix",
    "pwr100-fgd900": "cerebrum.policies.pwr:pwr100_fgd900",
    "pwr200-fgd800": "cerebrum.policies.pwr:pwr200_fgd800",
    "pwr50-fgd950": "cerebrum.policies.pwr:pwr50_fgd950",
    "pwr500-fgd500": "cerebrum.policies.pwr:pwr500_fgd500",
    "random": "cerebrum.policies.random:PROFILE",
    "round-robin": "cerebrum.policies.round_robin:PROFILE",
    "sjf": "cerebrum.policies.sjf:make",
    "swarm": "cerebrum.policies.slots:swarm",
    "topology-compact": "cerebrum.policies.topology_compact:TopologyCompact",
    "unicep": "cerebrum.policies.unicep:make",
    "wfp3": "cerebrum.policies.wfp3:make",
    "worst-fit": "cerebrum.policies.worst_fit:PROFILE",
}
"""Name -> `module:attribute`: a profile, or a function of options that gives one or a policy."""


def policy_names() -> list[str]:
    """Every name `get_policy` knows: ours, the models that ship, those of installed packages."""
    from cerebrum.policies.learned.files import shipped

    return sorted({*POLICIES, *(f"{LEARNED}:{name}" for name in shipped()), *installed()})


def installed() -> dict[str, EntryPoint]:
    """Policies of installed packages, by name."""
    return {point.name: point for point in entry_points(group=GROUP)}


def get_policy(source: Any, **options: Any) -> Policy:
    """A fresh policy.

    `source` is a registered name (`fgd`, `pwr-fgd:100`, `sjf+easy`, `fgd:queue=reject`), a trained
    model (`learned:NAME`, `learned:FILE.safetensors`), the path of a profile or
    KubeSchedulerConfiguration in YAML, `./mine.py:score` or `./mine.py:MyPolicy`, a profile as a
    dict, a scorer, or an object with `decide`. Profiles take the options `gpus`, `ties`, `queue`
    and `preempt`; other policies their own. Raises `UnknownName` with the nearest name, or
    `ConfigError`.
    """
    from cerebrum.policies.registry import make

    return make(source, options)


__all__ = ["GROUP", "LEARNED", "POLICIES", "get_policy", "installed", "policy_names"]
