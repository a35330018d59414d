"""KubeSchedulerConfiguration files as profiles: kube-scheduler's own, and the openb simulator's.

Read are the score plugins with their weights (defaults, `multiPoint`, enabled and disabled), the
arguments of NodeResourcesFit, and the simulator's `dimExtMethod`, `normMethod`, `gpuSelMethod`.
Filters are always the engine's. `percentageOfNodesToScore` is not followed: all nodes are scored.
kube-scheduler draws among the best nodes; the simulator takes the first and drops what fits
nowhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from cerebrum.model.errors import ConfigError, UnknownName
from cerebrum.policies import _yaml

Json = Mapping[str, Any]
_CUT = {"rounding": "truncate"}
_LEAST = {"name": "least-allocated"}
_MOST = {"name": "most-allocated"}

PLUGINS: dict[str, dict[str, Any]] = {
    "NodeResourcesFit": _LEAST,
    "NodeResourcesLeastAllocated": _LEAST,
    "NodeResourcesMostAllocated": _MOST,
    "NodeResourcesBalancedAllocation": {"name": "balanced-allocation", **_CUT},
    "NodeAffinity": {"name": "node-affinity", "normalize": "max", **_CUT},
    "TaintToleration": {"name": "taint-toleration", "normalize": "max-reversed", **_CUT},
    "RandomScore": {"name": "constant"},
    "DotProductScore": {"name": "dot-product", **_CUT},
    "GpuClusteringScore": {"name": "gpu-clustering"},
    "GpuPackingScore": {"name": "gpu-packing"},
    "BestFitScore": {"name": "best-fit", "normalize": "minmax", **_CUT},
    "FGDScore": {"name": "fgd-original", **_CUT},
    "PWRScore": {"name": "pwr", "normalize": "minmax", "equal": 100, **_CUT},
}
"""Score plugin -> scorer of ours. The last seven are the simulator's."""

SAME_FOR_ALL = ("ImageLocality", "InterPodAffinity", "PodTopologySpread", "NodePreferAvoidPods")
"""Score plugins that look at what our tasks do not have: no node is better for them."""

_SIMULATOR = (*list(PLUGINS)[-7:], "Open-Gpu-Share", "Simon")
_NEW = {
    "NodeResourcesFit": 1, "NodeResourcesBalancedAllocation": 1, "NodeAffinity": 2,
    "TaintToleration": 3,
}  # fmt: skip
_OLD = {
    "NodeResourcesLeastAllocated": 1, "NodeResourcesBalancedAllocation": 1, "NodeAffinity": 1,
    "TaintToleration": 1,
}  # fmt: skip
_BETA2 = {**_NEW, "NodeAffinity": 1, "TaintToleration": 1}
DEFAULTS = {"v1": _NEW, "v1beta3": _NEW, "v1beta2": _BETA2, "v1beta1": _OLD}
"""API version -> score plugins that are on, with their weights."""

_TOP = (
    "apiVersion", "kind", "profiles", "percentageOfNodesToScore", "parallelism", "leaderElection",
    "clientConnection", "healthzBindAddress", "metricsBindAddress", "enableProfiling",
    "enableContentionProfiling", "podInitialBackoffSeconds", "podMaxBackoffSeconds",
    "delayCacheUntilActive",
)  # fmt: skip
_GPUS = {"best": "best", "worst": "worst", "random": "random", "PWRScore": "first-used"}


def is_configuration(data: Json) -> bool:
    """Whether this is a KubeSchedulerConfiguration rather than a profile of ours."""
    return "apiVersion" in data or "kind" in data


def translate(data: Json, lines: _yaml.Lines | None = None) -> dict[str, Any]:
    """The same as a profile of ours. Raises what cannot be followed, with its field and line."""
    try:
        return _translate(data)
    except (ConfigError, UnknownName) as problem:
        problem.at(line=lines.find(problem.place.field) if lines else None)
        raise


def _translate(data: Json) -> dict[str, Any]:
    group, _, version = str(data.get("apiVersion", "")).rpartition("/")
    if group != "kubescheduler.config.k8s.io" or data.get("kind") != "KubeSchedulerConfiguration":
        raise ConfigError(
            "expected apiVersion kubescheduler.config.k8s.io/v1, kind KubeSchedulerConfiguration"
        ).at(field="apiVersion")
    if version not in DEFAULTS:
        raise UnknownName("version", version, DEFAULTS).at(field="apiVersion")
    for key in data:
        if key not in _TOP:
            raise UnknownName("field", str(key), _TOP).at(field=str(key))
    profiles = _list(data.get("profiles", [{}]), "profiles")
    if len(profiles) != 1:
        raise ConfigError(f"expected one profile, got {len(profiles)}").at(field="profiles")
    return _profile(_map(profiles[0], "profiles[0]"), version)


def _profile(profile: Json, version: str) -> dict[str, Any]:
    plugins = _map(profile.get("plugins") or {}, "profiles[0].plugins")
    weights = _weights(plugins, dict(DEFAULTS[version]))
    arguments = _arguments(profile)
    simulator = any(name in _SIMULATOR for name in [*weights, *arguments])
    if simulator:  # the heaviest may choose the GPU: it goes first
        weights = dict(sorted(weights.items(), key=lambda item: -item[1]))
    scores = [_score(name, weight, arguments.get(name, {})) for name, weight in weights.items()]
    gpus = _gpu_rule(arguments.get("Open-Gpu-Share", {}), next(iter(weights), ""))
    random = "RandomScore" in weights
    if random and len(scores) > 1:
        raise ConfigError("RandomScore cannot be mixed with other scores").at(
            field="profiles[0].plugins.score"
        )
    if len(scores) == 1 and scores[0]["name"] == "best-fit":
        del scores[0]["normalize"]  # changes no winner, and without it scores can be remembered
    return {
        "name": str(profile.get("schedulerName", "default-scheduler")),
        "scores": scores or [{"name": "constant"}],
        "gpus": gpus,
        "ties": "random" if random or not simulator else "first",
        "queue": {"discipline": "reject" if simulator else "skip"},
    }


def _weights(plugins: Json, weights: dict[str, int]) -> dict[str, int]:
    """Score plugins that are on: defaults, less the disabled, with the enabled ones' weights."""
    for point in ("multiPoint", "score"):
        where = f"profiles[0].plugins.{point}"
        part = _map(plugins.get(point) or {}, where)
        for i, item in enumerate(_list(part.get("disabled") or [], f"{where}.disabled")):
            name = _name(item, f"{where}.disabled[{i}]", every=True)
            weights = {} if name == "*" else {k: w for k, w in weights.items() if k != name}
        for i, item in enumerate(_list(part.get("enabled") or [], f"{where}.enabled")):
            at = f"{where}.enabled[{i}]"
            name = _name(item, at, every=point == "multiPoint")
            weight = item.get("weight") or 1
            if not isinstance(weight, int) or isinstance(weight, bool) or not 0 < weight < 2**31:
                raise ConfigError(f"expected a whole number above 0, got {weight!r}").at(
                    field=f"{at}.weight"
                )
            if name in PLUGINS:
                weights[name] = weight
    return weights


def _name(item: object, where: str, every: bool) -> str:
    name = str(_map(item, where).get("name", ""))
    if not every and name not in PLUGINS and name not in SAME_FOR_ALL:
        raise UnknownName("score plugin", name, [*PLUGINS, *SAME_FOR_ALL]).at(field=f"{where}.name")
    return name


def _arguments(profile: Json) -> dict[str, Json]:
    where = "profiles[0].pluginConfig"
    found: dict[str, Json] = {}
    for i, item in enumerate(_list(profile.get("pluginConfig") or [], where)):
        entry = _map(item, f"{where}[{i}]")
        found[str(entry.get("name", ""))] = {
            **_map(entry.get("args") or {}, f"{where}[{i}].args"), "at": f"{where}[{i}].args",
        }  # fmt: skip
    return found


def _score(name: str, weight: int, arguments: Json) -> dict[str, Any]:
    score = {**PLUGINS[name], "weight": weight}
    at = str(arguments.get("at", ""))
    if name == "NodeResourcesFit" and "scoringStrategy" in arguments:
        return {**score, **_strategy(_map(arguments["scoringStrategy"], at), at)}
    if name == "DotProductScore":
        for key, wanted in (("dimExtMethod", "merge"), ("normMethod", "max")):
            if arguments.get(key, wanted) != wanted:
                raise ConfigError(f"only {wanted!r} is supported, got {arguments[key]!r}").at(
                    field=f"{at}.{key}"
                )
    return score


def _strategy(strategy: Json, at: str) -> dict[str, Any]:
    kinds = {"LeastAllocated": _LEAST, "MostAllocated": _MOST}
    kind = str(strategy.get("type", "LeastAllocated"))
    if kind not in kinds:
        raise UnknownName("scoring strategy", kind, kinds).at(field=f"{at}.scoringStrategy.type")
    for i, item in enumerate(_list(strategy.get("resources") or [], at)):
        entry = _map(item, at)
        if entry.get("name") not in ("cpu", "memory") or entry.get("weight", 1) != 1:
            raise ConfigError("only cpu and memory with weight 1 are supported").at(
                field=f"{at}.scoringStrategy.resources[{i}]"
            )
    return kinds[kind]


def _gpu_rule(arguments: Json, heaviest: str) -> str:
    method = str(arguments.get("gpuSelMethod", "best"))
    if method in _GPUS:
        return _GPUS[method]
    if method != heaviest:
        raise UnknownName("gpuSelMethod", method, [*_GPUS, heaviest]).at(
            field=f"{arguments.get('at', '')}.gpuSelMethod"
        )
    return "score"


def _map(value: object, where: str) -> Json:
    if not isinstance(value, Mapping):
        raise ConfigError(f"expected fields, got {_yaml.shown(value)}").at(field=where)
    return cast(Json, value)


def _list(value: object, where: str) -> list[Any]:
    if not isinstance(value, list):
        raise ConfigError(f"expected a list, got {_yaml.shown(value)}").at(field=where)
    return cast(list[Any], value)
