"""How `get_policy` finds a policy: by name, in a file, at an entry point, or as an object."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from cerebrum.engine.compiled import Scorer
from cerebrum.engine.incremental import Incremental, Weighted
from cerebrum.model.errors import ConfigError, InputError, UnknownName
from cerebrum.model.options import parse_options, refuse_unknown, resolve
from cerebrum.model.protocols import Policy
from cerebrum.policies import LEARNED, POLICIES, installed, loading
from cerebrum.policies.profile import build, load_profile, parse
from cerebrum.policies.scorers import own_scorer

_RULES = ("gpus", "ties", "queue", "preempt")
_SIGNATURES = (
    "(before, after, task, typical) for a compiled scorer, (snapshot, task) for a vectorised one, "
    "or () for a function that gives a policy"
)


def make(source: Any, options: dict[str, Any]) -> Policy:
    """`cerebrum.policies.get_policy`."""
    if not isinstance(source, str | Path):
        return _from_object(source, "policy", options)
    text = str(source)
    if loading.names_file(text):
        try:
            return _from_object(loading.load(text), text.rpartition(":")[2], options)
        except InputError as problem:
            problem.at(text.rpartition(":")[0])
            raise
    if text.endswith((".yaml", ".yml", ".json")) or isinstance(source, Path):
        return _ruled(load_profile(Path(text)), options)
    return _from_name(text, options)


def _from_name(text: str, options: dict[str, Any]) -> Policy:
    head, colon, rest = text.partition(":")
    head, plus, backfill = head.partition("+")
    if plus:
        options = {"backfill": backfill, **options}
    name, known = head.replace("_", "-").lower(), POLICIES
    if name == LEARNED:
        return _learned(rest, options)
    if name in known:
        found, shown = resolve(known[name]), name
    else:
        points = installed()
        if head not in points:
            raise UnknownName("policy", head, [*known, f"{LEARNED}:MODEL", *points])
        found, shown = _load_point(points[head]), head
    if colon:
        # `name:value` is for the first parameter.
        first = next(iter(_parameters(found) if callable(found) else ()), "")
        given = parse_options(rest, f"{shown}:key=value", field=shown, first=first)
        options = {**given, **options}
    return _from_object(found, shown, options)


def _learned(rest: str, options: dict[str, Any]) -> Policy:
    """`learned:MODEL,key=value`: what a trained model decides."""
    from cerebrum.policies.learned.serving import learned

    given = parse_options(rest, f"{LEARNED}:MODEL,key=value", field=LEARNED, first="model")
    return _checked(learned(**{**given, **options}), LEARNED)


def _load_point(point: Any) -> Any:
    try:
        return point.load()
    except Exception as problem:
        raise ConfigError(
            f"entry point {point.name!r} ({point.value}) cannot be loaded: {problem}"
        ) from problem


def _from_object(found: Any, name: str, options: dict[str, Any]) -> Policy:
    if isinstance(found, Mapping):
        profile = parse(cast(Mapping[str, Any], found), default_name=name)
        return _ruled(build(profile), options)
    if isinstance(found, Scorer):
        return _ruled(Incremental(found.name, (Weighted(own_scorer(found, name)),)), options)
    if isinstance(found, Incremental):
        return _ruled(found, options)
    if inspect.isclass(found):
        return _checked(_call(found, name, options), name)
    if callable(getattr(found, "decide", None)):
        refuse_unknown(options, [], field=name)
        return _checked(found, name)
    if callable(found):
        return _from_function(found, name, options)
    raise ConfigError(
        f"expected a policy, a profile or a function of {_SIGNATURES}, got {found!r}"
    ).at(field=name)


def _from_function(function: Any, name: str, options: dict[str, Any]) -> Policy:
    required, own = _required(function), _parameters(function)
    if len(required) == 4:
        return _ruled(Incremental(name, (Weighted(own_scorer(function, name)),)), options)
    if len(required) == 2:
        from cerebrum.policies.vectorised import Vectorised

        return _call(Vectorised, name, {"name": name, "score": function, **options})
    if required:
        raise ConfigError(
            f"a policy function takes {_SIGNATURES}; this one takes ({', '.join(own)})"
        ).at(field=name)
    rules = {key: value for key, value in options.items() if key in _RULES and key not in own}
    made = _call(function, name, {k: v for k, v in options.items() if k not in rules})
    if made is None:
        raise ConfigError("expected the function to give a policy, got None").at(field=name)
    return _from_object(made, name, rules)


def _ruled(policy: Incremental, options: dict[str, Any]) -> Policy:
    """A profile's policy with some of its rules replaced, checked like the profile itself."""
    if not options:
        return policy
    refuse_unknown(options, _RULES, field=policy.name)
    rules = policy.rules
    given = {
        "scores": [{"name": "constant"}],
        "gpus": options.get("gpus", rules.gpus),
        "ties": options.get("ties", rules.ties),
        "queue": options.get("queue", rules.queue),
        "preempt": options.get("preempt", rules.preempt),
    }
    return Incremental(policy.name, policy.scores, build(parse(given)).rules)


def _call(function: Any, name: str, options: dict[str, Any]) -> Any:
    refuse_unknown(options, _parameters(function), field=name)
    try:
        return function(**options)
    except TypeError as problem:
        raise ConfigError(f"cannot be made with {options or 'no options'}: {problem}").at(
            field=name
        ) from problem


def _checked(made: Any, name: str) -> Policy:
    decide = getattr(made, "decide", None)
    if not callable(decide):
        raise ConfigError(f"expected an object with decide(snapshot), got {made!r}").at(field=name)
    takes = _required(decide)
    if len(takes) != 1:
        raise ConfigError(f"decide takes (snapshot), this one takes ({', '.join(takes)})").at(
            field=name
        )
    if not isinstance(getattr(made, "name", None), str):
        try:
            made.name = name
        except AttributeError as problem:
            raise ConfigError("expected an attribute `name`").at(field=name) from problem
    return made


def _parameters(function: Any) -> list[str]:
    try:
        return list(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        return []


def _required(function: Any) -> list[str]:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return []
    wanted = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [p.name for p in parameters if p.default is p.empty and p.kind in wanted]
