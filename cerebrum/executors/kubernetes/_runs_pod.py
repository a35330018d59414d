"""A launch as a pod."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from cerebrum.executors.kubernetes import _runs_objects as at
from cerebrum.executors.kubernetes import _runs_watchdog as watchdog
from cerebrum.executors.kubernetes._runs_template import EMPTY, Template, merged
from cerebrum.kube import names
from cerebrum.model.errors import InputError
from cerebrum.model.resources import GPU_MILLI, Resources
from cerebrum.model.runs import Launch

Placement = Literal["affinity", "direct"]
IMAGE = "busybox:1.37"
"""For tasks that name none, for staging and for fences: a shell with sleep, date and kill."""
NO_SCHEDULER = "cerebrum-direct"
"""`schedulerName` of pods that come with their node; nobody answers to it."""
_TAKES_TERM = "trap 'exit 143' TERM; sleep {} & wait $!"
_VARIABLE = re.compile(r"[ -<>-~]+")  # printable ASCII without "="
_MAX_SECONDS = 2**31 - 1


@dataclass(frozen=True)
class PodSettings:
    """What the pods of an executor have in common.

    `cluster` labels them; `image` runs tasks without one, staging and fences. `placement` `direct`
    gives the pod its node outright, `affinity` requires the node and leaves the last word to the
    scheduler `scheduler_name`. `gpu_resource` is the device plugin's resource for whole GPUs;
    empty: GPUs are asked for by Alibaba's annotations only. `watchdog` puts the container in that
    ends runs at their fence, agent or not.
    """

    cluster: str
    namespace: str = "default"
    image: str = IMAGE
    placement: Placement = "direct"
    scheduler_name: str = "default-scheduler"
    gpu_resource: str = names.GPU
    watchdog: bool = True
    template: Template = field(default=EMPTY)


def pod_of(launch: Launch, settings: PodSettings, fence_unix_s: float | None) -> dict[str, Any]:
    """The pod that is this run. Raises `InputError` for what no pod can be."""
    spec: dict[str, Any] = {
        "restartPolicy": "Never",
        "containers": [_task(launch, settings)],
        "initContainers": [],
        **_placed(launch.node, settings),
    }
    if fence_unix_s is not None and settings.watchdog:
        spec["initContainers"].append(watchdog.container(settings.image))
        spec["volumes"] = [watchdog.volume()]
        spec["shareProcessNamespace"] = True
    if launch.stage_in_s > 0:
        spec["initContainers"].append(_stage(launch, settings))
    if launch.program.timeout_s < math.inf:
        allowed_s = math.ceil(launch.program.timeout_s + launch.stage_in_s)
        spec["activeDeadlineSeconds"] = min(max(1, allowed_s), _MAX_SECONDS)
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": _metadata(launch, settings, fence_unix_s),
        "spec": {key: value for key, value in spec.items() if value != []},
    }
    return merged(settings.template, pod)


def _metadata(launch: Launch, settings: PodSettings, fence_unix_s: float | None) -> dict[str, Any]:
    if not at.is_pod_name(launch.run_id):
        raise InputError(
            f"expected at most 63 of a-z 0-9 -, since it names a pod, got {launch.run_id!r}"
        ).at(field="run_id")
    labels = {
        at.MANAGED_BY: at.MANAGER,
        at.RUN_ID: launch.run_id,
        at.TASK: hashlib.sha256(launch.task.encode()).hexdigest()[:24],
        at.CLUSTER: at.label_value(settings.cluster),
    }
    notes = {at.TASK: launch.task, at.NODE: launch.node, **_gpu_notes(launch, settings)}
    if fence_unix_s is not None:
        notes[at.FENCE] = fence_text(fence_unix_s)
    return {
        "name": launch.run_id,
        "namespace": settings.namespace,
        "labels": labels,
        "annotations": notes,
        "finalizers": [at.FINALIZER],
    }


def fence_text(unix_s: float) -> str:
    """A deadline as its annotation holds it: never later than it is."""
    return str(max(1, math.floor(unix_s)))


def _placed(node: str, settings: PodSettings) -> dict[str, Any]:
    """Either the node itself, in the same request that makes the pod, so that no pod is ever
    without its node; or the wish for it, as DaemonSets write it."""
    if settings.placement == "direct":
        return {"nodeName": node, "schedulerName": NO_SCHEDULER}
    field_ = {"key": "metadata.name", "operator": "In", "values": [node]}
    terms = {"nodeSelectorTerms": [{"matchFields": [field_]}]}
    return {
        "schedulerName": settings.scheduler_name,
        "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}},
    }


def _task(launch: Launch, settings: PodSettings) -> dict[str, Any]:
    program = launch.program
    container: dict[str, Any] = {
        "name": at.CONTAINER,
        "image": program.image or settings.image,
        "env": _environment(launch),
        # The end of what it wrote, where it failed and said nothing else.
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }
    if program.command:
        container["command"] = [_literal(word) for word in program.command]
    elif not program.image:
        container["command"] = _sleep(launch.duration_s / launch.speed)
    if program.workdir:
        container["workingDir"] = program.workdir
    asked = _quantities(launch.resources, settings)
    if asked:
        container["resources"] = {"requests": asked, "limits": dict(asked)}
    return container


def _stage(launch: Launch, settings: PodSettings) -> dict[str, Any]:
    return {
        "name": at.STAGE,
        "image": settings.image,
        "command": _sleep(launch.stage_in_s),
    }


def _sleep(seconds: float) -> list[str]:
    """Passes time, and ends at once when it is asked to: process 1 would ignore SIGTERM."""
    length = "infinity" if math.isinf(seconds) else f"{seconds:.3f}".rstrip("0").rstrip(".")
    return ["sh", "-c", _literal(_TAKES_TERM.format(length or "0"))]


def _environment(launch: Launch) -> list[dict[str, str]]:
    fixed = {
        "CEREBRUM_RUN_ID": launch.run_id,
        "CEREBRUM_TASK": launch.task,
        "CEREBRUM_NODE": launch.node,
    }
    found: list[dict[str, str]] = []
    for name, value in {**launch.program.env, **fixed}.items():
        if not _VARIABLE.fullmatch(name):
            raise InputError(f"expected printable ASCII without '=', got {name!r}").at(field="env")
        found.append({"name": name, "value": _literal(value)})
    return found


def _literal(text: str) -> str:
    """Text that Kubernetes gives to the process as it is: `$(NAME)` would be replaced."""
    return text.replace("$", "$$")


def _quantities(r: Resources, settings: PodSettings) -> dict[str, str]:
    found: dict[str, str] = {}
    if r.cpu_milli:
        found["cpu"] = f"{r.cpu_milli}m"
    if r.memory_mib:
        found["memory"] = f"{r.memory_mib}Mi"
    if r.gpu_count and r.gpu_milli == GPU_MILLI and settings.gpu_resource:
        found[settings.gpu_resource] = str(r.gpu_count)
    return found | {name: str(amount) for name, amount in r.extended}


def _gpu_notes(launch: Launch, settings: PodSettings) -> Mapping[str, str]:
    """Shares of GPUs have no resource that all clusters agree on; Alibaba's annotations say it."""
    r = launch.resources
    if not r.gpu_count or (r.gpu_milli == GPU_MILLI and settings.gpu_resource):
        return {}
    notes = {names.GPU_COUNT: str(r.gpu_count), names.GPU_MILLI: str(r.gpu_milli)}
    if launch.gpus:
        notes[names.GPU_INDEX] = "-".join(map(str, launch.gpus))
    return notes
