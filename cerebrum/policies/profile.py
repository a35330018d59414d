"""A policy as a profile: weighted scores, GPU rule, tie rule and queue, in YAML or a dict.

    name: quiet-fgd                 # optional
    filters: [...]                  # optional, must list all FILTERS: none can be switched off
    scores:
      - {name: fgd, weight: 900, rounding: truncate}
      - {name: pwr, weight: 100, normalize: minmax, equal: 100, rounding: truncate}
    gpus: score                     # best worst first random score first-used
    ties: first                     # first name random next
    queue: skip                     # skip block reject; or {discipline: skip, order: fcfs}
    preempt: false

The total of a node is the sum of weight x normalised score; the highest wins. `normalize` is over
the nodes that fit: `minmax` to 0..100 (`equal` if all are the same), `max` score x 100 / highest,
`max-reversed` 100 less that. `rounding: truncate` cuts a score to a whole number before and after.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cerebrum.engine.incremental import Incremental, Rules, Weighted
from cerebrum.model.errors import ConfigError
from cerebrum.policies import _yaml, scorers

Filter = Literal[
    "resources", "gpus", "gpu-model", "cache-ways", "node-affinity", "taints", "cordon", "gang"
]
FILTERS: dict[str, str] = {
    "resources": "CPU, memory, slots and extended resources left on the node",
    "gpus": "as many GPUs with as much left as the task asks",
    "gpu-model": "the GPU model is one the task accepts",
    "cache-ways": "cache ways left on the node",
    "node-affinity": "node selector and required node affinity",
    "taints": "NoSchedule and NoExecute taints are tolerated",
    "cordon": "the node takes new tasks",
    "gang": "a gang starts together or not at all",
}
"""What every policy filters by. None can be switched off: feasibility is the engine's."""

Finite = Annotated[float, Field(allow_inf_nan=False)]


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class Score(_Part):
    """One scorer: a registered name, or `file.py:function`."""

    name: str
    weight: Finite = 1.0
    normalize: Literal["none", "minmax", "max", "max-reversed"] = "none"
    equal: Annotated[float, Field(allow_inf_nan=False, ge=0, le=100)] = 0.0
    rounding: Literal["none", "truncate"] = "none"


class Queue(_Part):
    """What happens to a task that fits nowhere. Other orders: policies `sjf`, `f1`, ..."""

    discipline: Literal["skip", "block", "reject"] = "skip"
    order: Literal["fcfs"] = "fcfs"


class Profile(_Part):
    """A whole profile; see the module's docstring."""

    name: Annotated[str, Field(min_length=1)] = "profile"
    filters: list[Filter] | None = None
    scores: Annotated[list[Score], Field(min_length=1)]
    gpus: Literal["best", "worst", "first", "random", "score", "first-used"] = "best"
    ties: Literal["first", "name", "random", "next"] = "first"
    queue: Queue = Queue()
    preempt: bool = False


def load_profile(source: str | Path | Mapping[str, Any], name: str | None = None) -> Incremental:
    """The policy of a YAML file or a dict: our format, or a KubeSchedulerConfiguration.

    Raises `ConfigError` or `UnknownName` naming file, line and field. `name` names a nameless one.
    """
    if isinstance(source, Mapping):
        return build(parse(source, default_name=name))
    path = Path(source)
    data, lines = _yaml.load(path)
    try:
        return build(parse(data, default_name=name or path.stem, lines=lines), folder=path.parent)
    except ConfigError as problem:
        problem.at(path)
        raise
    except scorers.UnknownName as problem:
        problem.at(path, lines.find(problem.place.field))
        raise


def parse(
    data: object, default_name: str | None = None, lines: _yaml.Lines | None = None
) -> Profile:
    """Validated: strict types, no unknown fields, no NaN or infinities, nearest names in errors."""
    from cerebrum.policies import kubescheduler

    if not isinstance(data, Mapping):
        raise ConfigError(f"expected a profile with scores, got {_yaml.shown(data)}")
    given = dict(cast(Mapping[str, Any], data))
    if kubescheduler.is_configuration(given):
        given = kubescheduler.translate(given, lines)
        lines = None  # its lines are those of the original, already checked
    if default_name is not None and "name" not in given:
        given["name"] = default_name
    if isinstance(given.get("queue"), str):  # `queue: block` for short
        given["queue"] = {"discipline": given["queue"]}
    try:
        profile = Profile.model_validate(given)
    except ValidationError as problem:
        raise _yaml.explain(problem, lines) from None
    _check_filters(profile, lines)
    return profile


def build(profile: Profile, folder: Path | None = None) -> Incremental:
    """The policy of a profile. `folder` is where relative scorer files are looked for."""
    weighted: list[Weighted] = []
    for i, score in enumerate(profile.scores):
        try:
            found = scorers.get_scorer(score.name, folder)
        except (ConfigError, scorers.UnknownName) as problem:
            problem.at(field=f"scores[{i}].name")
            raise
        truncate = score.rounding == "truncate"
        weighted.append(Weighted(found, score.weight, score.normalize, truncate, score.equal))
    rules = Rules(profile.gpus, profile.ties, profile.queue.discipline, profile.preempt)
    return Incremental(profile.name, tuple(weighted), rules)


def _check_filters(profile: Profile, lines: _yaml.Lines | None) -> None:
    if profile.filters is None:
        return
    off = [name for name in FILTERS if name not in profile.filters]
    if off:
        line = lines.find("filters") if lines else None
        raise ConfigError(
            f"filters cannot be switched off, and these are missing: {', '.join(off)} "
            "(leave the field out: all are on)"
        ).at(line=line, field="filters")
