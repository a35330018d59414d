"""What the templates of an Argo Workflow say: calls of other templates, and containers to run."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from cerebrum.model import quantity
from cerebrum.model.errors import InputError, nearest
from cerebrum.model.program import Program
from cerebrum.model.resources import MAX_GPUS
from cerebrum.traces import _workflow_build as build
from cerebrum.traces._fields import Fields, shown
from cerebrum.traces._workflow_argo_text import depends_on, fill, seconds

DURATION = "cerebrum.io/duration-s"
"""Annotation of a template: how long it takes, as an estimate for the scheduler."""
KINDS = ("dag", "steps", "container", "script")

_TEMPLATES_REFUSED = ("containerSet", "data", "http", "plugin", "resource", "suspend")
_CALL_KEYS = ("name", "template", "arguments", "dependencies", "depends", "withItems")
_CALLS_REFUSED = (
    "continueOn",
    "hooks",
    "inline",
    "onExit",
    "templateRef",
    "when",
    "withParam",
    "withSequence",
)
_GPUS = ("nvidia.com/gpu", "amd.com/gpu")
_INLINE = ("sh", "bash", "ash", "python", "python3")
_MAX_ATTEMPTS = 100


@dataclass(frozen=True, slots=True)
class Call:
    """One task of a DAG or one step: a template with arguments, once for each item (None: once)."""

    name: str
    template: str
    waits_for: tuple[str, ...]
    items: list[Any] | None
    place: Fields


@dataclass(frozen=True, slots=True)
class Leaf:
    """What a container template runs, and what for."""

    program: Program
    cpu_milli: int
    memory_mib: int
    gpus: int
    duration_s: float | None


def kind(template: Fields) -> str:
    """Which of `KINDS` a template is."""
    for name in _TEMPLATES_REFUSED:
        if name in template:
            raise template.error(f"{name} templates are not supported: expected a container", name)
    found = [name for name in KINDS if template.data.get(name) is not None]
    if len(found) != 1:
        got = " and ".join(found) or "none"
        raise template.error(f"expected one of {', '.join(KINDS)}, found {got}")
    return found[0]


def calls(template: Fields) -> list[Call]:
    """What a DAG or steps template calls, each name once."""
    found = _dag(template.child("dag")) if "dag" in template else _steps(template)
    if not found:
        raise template.error("expected at least one task, found none", kind(template))
    seen: dict[str, Call] = {}
    for call in found:
        if call.name in seen:
            raise call.place.error(f"task {call.name!r} is named twice", "name")
        seen[call.name] = call
    for call in found:
        for name in call.waits_for:
            if name not in seen:
                problem = f"task {call.name!r}: {build.no_such(name, seen)}"
                key = "depends" if "depends" in call.place else "dependencies"
                raise call.place.error(problem, key)
    return found


def _dag(dag: Fields) -> list[Call]:
    if "target" in dag:
        raise dag.error("is not supported: the whole DAG runs", "target")
    found: list[Call] = []
    for place in dag.children("tasks"):
        if "depends" in place and "dependencies" in place:
            raise place.error("expected depends or dependencies, found both", "depends")
        waits_for = place.texts("dependencies")
        if "depends" in place:
            text = place.text("depends")
            waits_for = tuple(place.checked(lambda text=text: depends_on(text), "depends"))
        found.append(_call(place, waits_for))
    return found


def _steps(template: Fields) -> list[Call]:
    groups: Any = template.data["steps"]
    if not isinstance(groups, list):
        raise template.error("expected a list of lists of steps", "steps")
    found: list[Call] = []
    previous: tuple[str, ...] = ()
    for i, group in enumerate(cast(list[Any], groups)):
        if not isinstance(group, list) or not group:
            raise template.error("expected a list of at least one step", "steps", i)
        members: list[Call] = []
        for j, step in enumerate(cast(list[Any], group)):
            if not isinstance(step, dict):
                raise template.error(f"expected a step, got {shown(step)}", "steps", i, j)
            keys = (*template.keys, "steps", i, j)
            data = cast(dict[str, Any], step)
            place = Fields(template.source, template.document, keys, data)
            for key in ("depends", "dependencies"):
                if key in place:
                    raise place.error("belongs to a DAG: steps wait for the group before", key)
            members.append(_call(place, previous))
        found += members
        previous = tuple(call.name for call in members)
    return found


def _call(place: Fields, waits_for: tuple[str, ...]) -> Call:
    for key in _CALLS_REFUSED:
        if key in place:
            who = f"task {build.short(place.text('name', ''))}: "
            raise place.error(f"{who}not supported: what runs must be known beforehand", key)
    place.only(_CALL_KEYS, "key of a task")
    name = place.text("name")
    if not name.replace("-", "").replace("_", "").isalnum() or not name.isascii():
        raise place.error(f"expected letters, digits, - and _, got {build.short(name)}", "name")
    items: Any = place.data.get("withItems")
    if items is not None and not (isinstance(items, list) and items):
        raise place.error("expected a list of at least one item", "withItems")
    return Call(name, place.text("template"), waits_for, cast(Any, items), place)


def arguments(place: Fields, scope: Mapping[str, str], path: str = "arguments") -> dict[str, str]:
    """The parameters that a call (or the workflow) gives, filled in."""
    given: dict[str, str] = {}
    for parameter in place.child(path).children("parameters"):
        name = parameter.text("name")
        if name in given:
            raise parameter.error(f"the parameter {name!r} is given twice", "name")
        if "valueFrom" in parameter:
            raise parameter.error("is known only while the workflow runs", "valueFrom")
        if "value" not in parameter:
            raise parameter.error(f"the parameter {name!r} has no value", "value")
        given[name] = _filled(parameter, "value", scope)
    return given


def bind(template: Fields, given: Mapping[str, str], call: Fields) -> dict[str, str]:
    """The template's inputs with the values of a call, or their defaults."""
    declared: dict[str, str] = {}
    for parameter in template.child("inputs").children("parameters"):
        name = parameter.text("name")
        if name in given:
            declared[name] = given[name]
        elif parameter.data.get("value") is not None or "default" in parameter:
            key = "value" if parameter.data.get("value") is not None else "default"
            declared[name] = _as_text(parameter.data[key])
        else:
            raise call.error(f"the parameter {name!r} has no value", "arguments")
    for name in given:
        if name not in declared:
            near = nearest(name[:200], declared)
            hint = f", did you mean {near!r}?" if near else ""
            raise call.error(f"the template has no parameter {name!r}{hint}", "arguments")
    return {f"inputs.parameters.{name}": value for name, value in declared.items()}


def item_values(item: Any) -> dict[str, str]:
    """`item`, and `item.key` when it is a mapping."""
    values = {"item": _as_text(item)}
    if isinstance(item, dict):
        for key, value in cast(dict[str, Any], item).items():
            values[f"item.{key}"] = _as_text(value)
    return values


def leaf(template: Fields, scope: Mapping[str, str]) -> Leaf:
    """A container or script template with its parameters filled in."""
    run = template.child(kind(template))
    command = _words(run, "command", scope)
    if "script" in template:
        command = _script(run, command, scope)
    else:
        command += _words(run, "args", scope)
    attempts, backoff_s = _retries(template, scope)
    program = template.checked(
        lambda: Program(
            tuple(command),
            _filled(run, "image", scope) if "image" in run else "",
            _environment(run, scope),
            _filled(run, "workingDir", scope) if "workingDir" in run else "",
            _number(template, "activeDeadlineSeconds", scope, build.MAX_DURATION_S) or math.inf,
            attempts,
            backoff_s,
        )
    )
    asked = run.at("resources", "requests")
    limits = run.at("resources", "limits")

    def amount(name: str, read: Any, high: int) -> int:
        place = asked if name in asked else limits
        if name not in place:
            return 0
        value = place.checked(lambda: read(_filled(place, name, scope)), name)
        if value > high:
            raise place.error(f"expected at most {high}, got {value}", name)
        return value

    notes = template.at("metadata", "annotations")
    return Leaf(
        program,
        amount("cpu", quantity.cpu_milli, build.MAX_CORES * 1000),
        amount("memory", quantity.memory_mib, build.MAX_MEMORY_MIB),
        max(amount(name, quantity.count, MAX_GPUS) for name in _GPUS),
        _number(notes, DURATION, scope, build.MAX_DURATION_S),
    )


def _script(run: Fields, command: list[str], scope: Mapping[str, str]) -> list[str]:
    """Argo saves the source and names it last; interpreters that know `-c` need no file."""
    if not command or command[-1].rpartition("/")[2] not in _INLINE:
        raise run.error(f"expected an interpreter, one of {', '.join(_INLINE)}", "command")
    return [*command, "-c", _filled(run, "source", scope)]


def _words(run: Fields, name: str, scope: Mapping[str, str]) -> list[str]:
    return [
        run.checked(lambda text=text: fill(text, scope), name, i)
        for i, text in enumerate(run.texts(name))
    ]


def _environment(run: Fields, scope: Mapping[str, str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for variable in run.children("env"):
        if "valueFrom" in variable:
            raise variable.error("is not supported: expected a value", "valueFrom")
        found[variable.text("name")] = _filled(variable, "value", scope, "")
    return found


def _retries(template: Fields, scope: Mapping[str, str]) -> tuple[int, float]:
    """Starts (the limit counts repeats), and the seconds before the first repeat."""
    if "retryStrategy" not in template:
        return 1, 1.0
    strategy = template.child("retryStrategy")
    limit = _number(strategy, "limit", scope, 2**31)
    attempts = _MAX_ATTEMPTS if limit is None else min(int(limit) + 1, _MAX_ATTEMPTS)
    backoff = strategy.child("backoff")
    if "duration" not in backoff:
        return attempts, 1.0
    text = _filled(backoff, "duration", scope)
    return attempts, backoff.checked(lambda: seconds(text), "duration")


def _number(place: Fields, name: str, scope: Mapping[str, str], high: float) -> float | None:
    """A number, or a text that is one once filled in; None when it is absent."""
    if name not in place:
        return None
    text = _filled(place, name, scope)
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= high:
        raise place.error(f"expected a finite number 0..{high:g}, got {build.short(text)}", name)
    return value


def _filled(place: Fields, name: str, scope: Mapping[str, str], default: str | None = None) -> str:
    value = place.data.get(name)
    if value is None:
        if default is None:
            raise place.error("expected text, found nothing", name)
        return default
    if isinstance(value, (dict, list)):
        raise place.error(f"expected text, got {shown(value)}", name)
    return place.checked(lambda: fill(_as_text(value), scope), name)


def _as_text(value: Any) -> str:
    if isinstance(value, str):
        return value
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    except (ValueError, RecursionError):
        raise InputError(f"expected plain data, got {shown(value)}") from None
