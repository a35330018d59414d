"""KubeSchedulerConfiguration of the openb simulator -> a policy profile."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cerebrum.model.errors import TraceError, nearest
from cerebrum.traces._fields import Fields, documents
from cerebrum.traces._yaml import Source

_MIXED_BEST_FIT = {"name": "best-fit", "rounding": "truncate", "normalize": "minmax"}
_SCORES: dict[str, dict[str, Any]] = {
    "FGDScore": {"name": "fgd-original", "rounding": "truncate"},
    "BestFitScore": {"name": "best-fit", "rounding": "truncate"},
    "DotProductScore": {"name": "dot-product", "rounding": "truncate"},
    "GpuClusteringScore": {"name": "gpu-clustering"},
    "GpuPackingScore": {"name": "gpu-packing"},
    "PWRScore": {"name": "pwr", "normalize": "minmax", "equal": 100, "rounding": "truncate"},
    "RandomScore": {"name": "constant"},
}
_GPU_RULES = {"best": "best", "worst": "worst", "random": "random", "PWRScore": "first-used"}
_METHODS = {
    "dimExtMethod": ("merge", "share", "divide", "extend"),
    "normMethod": ("node", "pod", "max"),
}
_DOT_PRODUCT = {"dimExtMethod": "merge", "normMethod": "max"}
"""The methods our dot product follows."""


def read_profile(path: Path) -> dict[str, Any]:
    """`{"scores": [{"name", "weight", ...}], "gpus": ..., "queue": "reject"}` of a scheduler.yaml.

    A task that fits nowhere is not tried again, as in the original.
    """
    configs = [
        root
        for root in documents(Source(path))
        if root.text("kind", "") == "KubeSchedulerConfiguration"
    ]
    if len(configs) != 1:
        raise TraceError(f"expected one KubeSchedulerConfiguration, found {len(configs)}").at(path)
    profiles = list(configs[0].children("profiles"))
    if len(profiles) != 1:
        raise configs[0].error(f"expected one profile, found {len(profiles)}", "profiles")
    arguments = {
        item.text("name"): item.child("args") for item in profiles[0].children("pluginConfig")
    }
    enabled = _enabled(profiles[0].at("plugins", "score"))
    rule = arguments.get("Open-Gpu-Share")
    found: dict[str, Any] = {
        "scores": [_score(name, weight, len(enabled), item) for name, weight, item in enabled],
        "gpus": _gpu_rule(rule, [name for name, _, _ in enabled]),
        "queue": "reject",
    }
    if enabled[0][0] == "RandomScore":
        found["ties"] = "random"
    for name, _, _ in enabled:
        _check_methods(name, arguments.get(name))
    return found


def _enabled(score: Fields) -> list[tuple[str, int, Fields]]:
    """Score plugins, the heaviest first: it is the one that chooses GPUs."""
    found: list[tuple[str, int, Fields]] = []
    for item in score.children("enabled"):
        name = item.text("name")
        if name not in _SCORES:
            near = nearest(name, _SCORES)
            hint = f"did you mean {near!r}?" if near else "known are " + ", ".join(_SCORES)
            raise item.error(f"score plugin {name!r} is not known: {hint}", "name")
        found.append((name, item.integer("weight", 1, low=1), item))
    if not found:
        raise score.error("expected at least one score plugin", "enabled")
    return sorted(found, key=lambda entry: -entry[1])


def _score(name: str, weight: int, count: int, item: Fields) -> dict[str, Any]:
    """One scorer of the profile. A single one needs no weight; Random cannot be mixed."""
    if count == 1:
        return dict(_SCORES[name])
    if name == "RandomScore":
        raise item.error("RandomScore cannot be mixed with other scores", "name")
    base = _MIXED_BEST_FIT if name == "BestFitScore" else _SCORES[name]
    return {**base, "weight": weight}


def _gpu_rule(arguments: Fields | None, enabled: list[str]) -> str:
    """How the GPUs of the chosen node are picked."""
    if arguments is None:
        return "best"
    method = arguments.text("gpuSelMethod", "best")
    if method in _GPU_RULES:
        return _GPU_RULES[method]
    if method == enabled[0]:
        return "score"
    near = nearest(method, [*_GPU_RULES, *enabled])
    hint = f", did you mean {near!r}?" if near else ""
    expected = "best, worst, random or the heaviest score plugin"
    raise arguments.error(f"expected {expected}, got {method!r}{hint}", "gpuSelMethod")


def _check_methods(plugin: str, arguments: Fields | None) -> None:
    if arguments is None:
        return
    for name, known in _METHODS.items():
        method = arguments.text(name, known[-1])
        if method not in known:
            near = nearest(method, known)
            hint = f", did you mean {near!r}?" if near else ""
            raise arguments.error(f"expected {' or '.join(known)}, got {method!r}{hint}", name)
        if plugin == "DotProductScore" and name in arguments and method != _DOT_PRODUCT[name]:
            raise arguments.error(f"expected {_DOT_PRODUCT[name]}: {method} is not supported", name)
