"""A pod template: what the cluster's owner wants every run to have.

A YAML file with `metadata` (labels, annotations) and `spec` of a Pod, bare or inside a Pod or
PodTemplate object. It is merged as `kubectl patch` merges: mappings by key, lists of things with a
name by that name (the run's container is called `task`), other lists one after the other. What the
run itself says wins, and what decides over its life cannot be in a template at all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

import yaml

from cerebrum.executors.kubernetes._runs_objects import CONTAINER, STAGE, WATCHDOG
from cerebrum.model.errors import ConfigError, nearest

MAX_BYTES = 256 << 10
_OBJECT = ("apiVersion", "kind", "metadata", "spec", "template")
_METADATA = ("annotations", "labels", "name", "namespace", "creationTimestamp")
_SPEC = (
    "affinity", "automountServiceAccountToken", "containers", "dnsConfig", "dnsPolicy",
    "enableServiceLinks", "hostAliases", "hostIPC", "hostNetwork", "hostPID", "hostUsers",
    "imagePullSecrets", "initContainers", "nodeSelector", "os", "overhead", "preemptionPolicy",
    "priorityClassName", "resources", "runtimeClassName", "securityContext", "serviceAccount",
    "serviceAccountName", "setHostnameAsFQDN", "subdomain", "terminationGracePeriodSeconds",
    "tolerations", "topologySpreadConstraints", "volumes",
)  # fmt: skip
_OURS = (
    "activeDeadlineSeconds", "ephemeralContainers", "hostname", "nodeName", "priority",
    "readinessGates", "resourceClaims", "restartPolicy", "schedulerName", "schedulingGates",
    "shareProcessNamespace",
)  # fmt: skip
_CONTAINER_OURS = ("args", "command", "resources", "workingDir")
_LABELS_OURS = ("cerebrum.dev/", "app.kubernetes.io/managed-by")
_NAMED = ("containers", "initContainers", "volumes", "env", "imagePullSecrets", "volumeMounts")


@dataclass(frozen=True, slots=True)
class Template:
    """A template that was read and checked: the `metadata` and `spec` to start from."""

    metadata: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    spec: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))


EMPTY = Template()


def read_template(path: Path) -> Template:
    """Raises `ConfigError` naming file and field."""
    try:
        with path.open("rb") as file:
            text = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"cannot read: {error.strerror}").at(path) from None
    if len(text) > MAX_BYTES:
        raise ConfigError(f"expected at most {MAX_BYTES} bytes").at(path)
    try:
        data: Any = yaml.load(text, yaml.CSafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = None if mark is None else mark.line + 1
        raise ConfigError("expected YAML").at(path, line) from None
    try:
        return checked(data)
    except ConfigError as error:
        raise error.at(path) from None


def checked(data: Any) -> Template:
    """A template from plain data. Raises `ConfigError` naming the field."""
    body = _mapping(data, "template")
    _known(body, _OBJECT, (), "template")
    if "template" in body:  # a PodTemplate
        body = _mapping(body["template"], "template")
        _known(body, _OBJECT, (), "template")
    metadata = _mapping(body.get("metadata"), "metadata")
    _known(metadata, _METADATA, ("finalizers", "ownerReferences", "uid"), "metadata")
    kept = {key: _texts(metadata.get(key), f"metadata.{key}") for key in ("labels", "annotations")}
    spec = _mapping(body.get("spec"), "spec")
    _known(spec, _SPEC, _OURS, "spec")
    _check_containers(spec)
    return Template(kept, spec)


def merged(template: Template, pod: dict[str, Any]) -> dict[str, Any]:
    """The pod with what the template adds."""
    return _merge({"metadata": template.metadata, "spec": template.spec}, pod, "")


def _check_containers(spec: Mapping[str, Any]) -> None:
    for i, container in enumerate(_list(spec.get("containers"), "spec.containers")):
        where = f"spec.containers[{i}]"
        given = _mapping(container, where)
        if given.get("name") != CONTAINER:
            raise ConfigError(
                f"expected only {CONTAINER!r}: others would keep the pod from ending; put them "
                "into initContainers with restartPolicy: Always"
            ).at(field=f"{where}.name")
        for key in _CONTAINER_OURS:
            if key in given:
                raise ConfigError("comes from the task, not from the template").at(
                    field=f"{where}.{key}"
                )
    for i, container in enumerate(_list(spec.get("initContainers"), "spec.initContainers")):
        where = f"spec.initContainers[{i}]"
        if _mapping(container, where).get("name") in (None, "", STAGE, WATCHDOG):
            raise ConfigError(f"expected a name other than {STAGE} and {WATCHDOG}").at(
                field=f"{where}.name"
            )


def _known(
    data: Mapping[str, Any], known: tuple[str, ...], ours: tuple[str, ...], where: str
) -> None:
    for key in data:
        if key in ours:
            raise ConfigError("is decided by the run, not by the template").at(
                field=f"{where}.{key}"
            )
        if key not in known:
            near = nearest(key, known)
            hint = f"did you mean {near!r}?" if near else f"expected one of {', '.join(known)}"
            raise ConfigError(f"unknown field: {hint}").at(field=f"{where}.{key}")


def _texts(value: Any, where: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for key, text in _mapping(value, where).items():
        if not isinstance(text, str):
            raise ConfigError(f"expected text, got {text!r}").at(field=f"{where}.{key}")
        if key.startswith(_LABELS_OURS):
            raise ConfigError("is set by the run").at(field=f"{where}.{key}")
        found[key] = text
    return found


def _mapping(value: Any, where: str) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ConfigError(f"expected a mapping, got {type(value).__name__}").at(field=where)
    known = cast("dict[object, Any]", value)
    for key in known:
        if not isinstance(key, str):
            raise ConfigError(f"expected text as key, got {key!r}").at(field=where)
    return cast("dict[str, Any]", known)


def _list(value: Any, where: str) -> list[Any]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise ConfigError(f"expected a list, got {type(value).__name__}").at(field=where)
    return cast("list[Any]", value)


def _merge(base: Any, ours: Any, name: str) -> Any:
    """`ours` over `base`; nothing of either is changed."""
    if isinstance(base, Mapping) and isinstance(ours, dict):
        below, above = cast("Mapping[str, Any]", base), cast("dict[str, Any]", ours)
        both = {key: _merge(below[key], above[key], key) for key in above if key in below}
        return {**below, **above, **both}
    if isinstance(base, list) and isinstance(ours, list):
        return _joined(cast("list[Any]", base), cast("list[Any]", ours), name)
    return ours


def _joined(base: list[Any], ours: list[Any], name: str) -> list[Any]:
    if name == "nodeSelectorTerms":  # one of them has to hold: each of both sides, together
        return [_merge(below, term, "") for below in base for term in ours]
    if name not in _NAMED:
        return [*base, *ours]
    below = {item.get("name"): item for item in base}
    known = {item["name"]: _merge(below.get(item["name"], {}), item, "") for item in ours}
    rest = [item for item in base if item.get("name") not in known]
    return [*known.values(), *rest]  # the fence begins before anything else does
