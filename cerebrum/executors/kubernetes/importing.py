"""A cluster as a file: what scheduling depends on, and nothing else.

Read-only lists in pages, each kind at one resourceVersion, written as they come. What is written is
what our own structs know of an object, so what a container runs, its environment and whatever else
the API server holds never gets into the file; of annotations only those that we read.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import msgspec

from cerebrum.executors.kubernetes.client import ApiError, Client
from cerebrum.kube import names, objects
from cerebrum.kube.anonymise import Anonymiser
from cerebrum.kube.yaml_text import document
from cerebrum.model.errors import InputError

PAGE = 500
_TRIES = 5
_NOTES = frozenset(
    (names.GPU_COUNT, names.GPU_MILLI, names.GPU_INDEX, names.GPU_MODEL, names.CREATED,
     names.DELETED, names.SELECTED_NODE, *names.GROUP_LABELS)
)  # fmt: skip
_ENDED = ("Succeeded", "Failed")
_RESIZING = ("PodResizePending", "PodResizeInProgress")
Progress = Callable[[str, int], None]


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of object: where it is listed, and whether a cluster without it is no cluster."""

    name: str
    group: str
    plural: str
    struct: type[objects.Object]
    namespaced: bool = False
    needed: bool = False

    def path(self, namespace: str) -> str:
        """Of the list, of one namespace or of all ('')."""
        root = f"/apis/{self.group}" if "/" in self.group else f"/api/{self.group}"
        return f"{root}/namespaces/{namespace}/{self.plural}" if namespace else (
            f"{root}/{self.plural}"
        )  # fmt: skip


KINDS = (
    Kind("Namespace", "v1", "namespaces", objects.Namespace),
    Kind("PriorityClass", "scheduling.k8s.io/v1", "priorityclasses", objects.PriorityClass),
    Kind("StorageClass", "storage.k8s.io/v1", "storageclasses", objects.StorageClass),
    Kind("Node", "v1", "nodes", objects.Node, needed=True),
    Kind("CSINode", "storage.k8s.io/v1", "csinodes", objects.CSINode),
    Kind("PersistentVolume", "v1", "persistentvolumes", objects.PersistentVolume),
    Kind(
        "PersistentVolumeClaim", "v1", "persistentvolumeclaims", objects.PersistentVolumeClaim,
        namespaced=True,
    ),
    Kind(
        "PodDisruptionBudget", "policy/v1", "poddisruptionbudgets", objects.PodDisruptionBudget,
        namespaced=True,
    ),
    Kind(
        "PodGroup", "scheduling.x-k8s.io/v1alpha1", "podgroups", objects.PodGroup, namespaced=True
    ),
    Kind("Pod", "v1", "pods", objects.Pod, namespaced=True, needed=True),
)  # fmt: skip
"""In the order in which they are written."""


@dataclass(slots=True)
class Imported:
    """What came of it: objects by kind, pods left out by reason, kinds that could not be read."""

    counts: dict[str, int] = field(default_factory=dict[str, int])
    left_out: dict[str, int] = field(default_factory=dict[str, int])
    unread: dict[str, str] = field(default_factory=dict[str, str])


class Importer:
    """Writes a cluster to `out`, which can be sought in: a list that expired is written again.

    `namespaces` limits what has a namespace to these; empty: all. `progress(kind, count)` hears of
    each page.
    """

    def __init__(
        self,
        client: Client,
        out: BinaryIO,
        namespaces: Sequence[str] = (),
        anonymiser: Anonymiser | None = None,
        progress: Progress = lambda kind, count: None,
    ) -> None:
        self._client = client
        self._out = out
        self._namespaces = tuple(dict.fromkeys(namespaces))
        self._anonymiser = anonymiser
        self._progress = progress
        self._nodes: set[str] = set()

    async def run(self) -> Imported:
        """Everything, once. Raises `ApiError`, `Unreachable`, `InputError` for what is needed."""
        found = Imported()
        for kind in KINDS:
            try:
                await self._kind(kind, found)
            except ApiError as problem:
                if kind.needed or problem.status not in (403, 404):
                    raise
                found.unread[kind.name] = problem.message
        return found

    async def _kind(self, kind: Kind, found: Imported) -> None:
        """All of a kind; from the start again where the server forgot the list meanwhile."""
        start = self._out.tell()
        for left in reversed(range(_TRIES)):
            before = dict(found.left_out)
            try:
                count = 0
                for namespace in (
                    self._namespaces if kind.namespaced and self._namespaces else ("",)
                ):
                    count = await self._list(kind, namespace, count, found)
                found.counts[kind.name] = count
                return
            except ApiError as problem:
                self._out.seek(start)
                self._out.truncate()
                found.left_out = before
                if problem.status != 410 or not left:
                    raise

    async def _list(self, kind: Kind, namespace: str, count: int, found: Imported) -> int:
        decoder = msgspec.json.Decoder(kind.struct)
        async for page in self._client.pages(kind.path(namespace), page_size=PAGE):
            texts: list[str] = []
            for raw in page:
                try:
                    item = decoder.decode(raw)
                except msgspec.MsgspecError as problem:
                    raise InputError(f"{kind.name}: {problem}") from None
                if reason := self._left_out(item):
                    found.left_out[reason] = found.left_out.get(reason, 0) + 1
                    continue
                texts.append(self._text(kind, item))
            self._out.write("".join(texts).encode())
            count += len(texts)
            self._progress(kind.name, count)
        return count

    def _left_out(self, item: objects.Object) -> str:
        if isinstance(item, objects.Node):
            self._nodes.add(item.metadata.name)
        if not isinstance(item, objects.Pod):
            return ""
        if item.status.phase in _ENDED:
            return "pods that have ended"
        if item.spec.node_name and item.spec.node_name not in self._nodes:
            return "pods on nodes that were not there when nodes were listed"
        return ""

    def _text(self, kind: Kind, item: objects.Object) -> str:
        slim = {"apiVersion": kind.group, "kind": kind.name, **slimmed(item)}
        return document(slim if self._anonymiser is None else self._anonymiser.object(slim))


def slimmed(item: objects.Object) -> dict[str, Any]:
    """An object as plain data, with what scheduling depends on and no more."""
    data: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(item))
    meta = data["metadata"] = _metadata(data.get("metadata") or {})
    if isinstance(item, objects.Pod):
        _slim_pod(item, data, meta)
    elif isinstance(item, objects.Node):
        data.get("status", {}).pop("conditions", None)
    return {key: value for key, value in data.items() if value not in (None, {}, [])}


def _metadata(meta: dict[str, Any]) -> dict[str, Any]:
    kept = {key: meta[key] for key in ("name", "namespace", "labels") if meta.get(key)}
    written: dict[str, str] = meta.get("annotations") or {}
    notes = {key: text for key, text in written.items() if key in _NOTES}
    if notes:
        kept["annotations"] = notes
    owners = [
        {"kind": owner["kind"], "name": owner["name"], "controller": True}
        for owner in meta.get("ownerReferences") or ()
        if owner.get("controller")
    ]
    if owners:
        kept["ownerReferences"] = owners
    if meta.get("deletionTimestamp"):
        kept["deletionTimestamp"] = meta["deletionTimestamp"]
    return kept


def _slim_pod(item: objects.Pod, data: dict[str, Any], meta: dict[str, Any]) -> None:
    """Volumes that are no claims place nobody; statuses matter while a pod is resized."""
    volumes = [
        {"name": volume.name, "persistentVolumeClaim": {"claimName": claim}}
        for volume in item.spec.volumes or ()
        if (claim := _claim(item, volume))
    ]
    data["spec"].pop("volumes", None)
    if volumes:
        data["spec"]["volumes"] = volumes
    resizing = any(c.type in _RESIZING for c in item.status.conditions or ())
    dropped = ("startTime",) if resizing else (
        "startTime", "conditions", "containerStatuses", "initContainerStatuses", "resources",
        "allocatedResources",
    )  # fmt: skip
    data["status"] = {k: v for k, v in data.get("status", {}).items() if k not in dropped}
    for condition in data["status"].get("conditions") or ():
        condition.pop("message", None)


def _claim(item: objects.Pod, volume: objects.Volume) -> str:
    if volume.persistent_volume_claim is not None:
        return volume.persistent_volume_claim.claim_name
    return f"{item.metadata.name}-{volume.name}" if volume.ephemeral is not None else ""


def new_key() -> bytes:
    """A key that nobody can guess, for an `Anonymiser`."""
    import secrets

    return base64.b64encode(secrets.token_bytes(32))
