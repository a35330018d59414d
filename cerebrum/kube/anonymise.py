"""Kubernetes objects without the names people gave, but with every verdict as before.

One keyed hash stands for every name, namespace, label key, label value, taint and resource that is
not well known, wherever it occurs: what was equal stays equal, what selected still selects. Kept
are Kubernetes' own keys, values that say nothing of their owner (architecture, instance type, GPU
model), whole numbers (`Gt` and `Lt` compare them), quantities and priorities. Whoever lacks the key
cannot find out a name by trying.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from typing import Any, cast

from cerebrum.kube import names

_KEPT_WORDS = frozenset(
    (
        "", "default", "kube-system", "kube-public", "kube-node-lease", "default-scheduler",
        "cerebrum", "system-cluster-critical", "system-node-critical", "true", "false",
    )
)  # fmt: skip
_KEPT_DOMAINS = (
    "node.kubernetes.io/", "topology.kubernetes.io/", "failure-domain.beta.kubernetes.io/",
    "volume.kubernetes.io/",
)  # fmt: skip
_TELLING_NOTHING = frozenset(
    (
        "kubernetes.io/os", "kubernetes.io/arch", "beta.kubernetes.io/os",
        "beta.kubernetes.io/arch", "beta.kubernetes.io/instance-type",
        "node.kubernetes.io/instance-type", *names.MODEL_LABELS,
    )
)  # fmt: skip
"""Labels whose values are the same in everybody's clusters."""
_KEPT_KEYS = _TELLING_NOTHING | {
    "kubernetes.io/hostname",
    "kubernetes.io/metadata.name",
    "node-role.kubernetes.io/control-plane",
    "node-role.kubernetes.io/master",
    *names.GROUP_LABELS,
}
_KEPT_RESOURCES = re.compile(
    r"cpu|memory|pods|ephemeral-storage|storage|hugepages-.*|attachable-volumes-.*|"
    r"(nvidia|amd|gpu\.intel|alibabacloud)\.com/.*|cerebrum\.io/.*"
)
_KEPT_OWNERS = frozenset(
    ("ReplicaSet", "StatefulSet", "DaemonSet", "Job", "CronJob", "Node", "Pod",
     "ReplicationController", "Deployment")
)  # fmt: skip
_AS_THEY_ARE = frozenset(
    (names.GPU_COUNT, names.GPU_MILLI, names.GPU_INDEX, names.GPU_MODEL, names.CREATED,
     names.DELETED)
)  # fmt: skip
_NUMBER = re.compile(r"-?[0-9]{1,18}")


class Anonymiser:
    """Replaces by a secret `key`; the same key gives the same replacements."""

    def __init__(self, key: bytes) -> None:
        self._key = hashlib.blake2b(key, digest_size=32).digest()
        self._known: dict[str, str] = {}

    # -- words --------------------------------------------------------------------------------

    def word(self, text: str) -> str:
        """A name or a value: again a valid name."""
        if text in _KEPT_WORDS or _NUMBER.fullmatch(text):
            return text
        known = self._known.get(text)
        if known is None:
            digest = hashlib.blake2b(text.encode(), digest_size=9, key=self._key).hexdigest()
            known = self._known[text] = f"x{digest}"
        return known

    def key(self, text: str) -> str:
        """A label's or taint's key."""
        return text if text in _KEPT_KEYS or text.startswith(_KEPT_DOMAINS) else self.word(text)

    def value(self, key: str, text: str) -> str:
        """A value of that (original) key."""
        return text if key in _TELLING_NOTHING else self.word(text)

    # -- objects ------------------------------------------------------------------------------

    def object(self, item: Mapping[str, Any]) -> dict[str, Any]:
        """An object as `importing` writes it."""
        kept = {name: item[name] for name in ("apiVersion", "kind") if name in item}
        return {**kept, **self._walk({k: v for k, v in item.items() if k not in kept})}

    def _walk(self, item: Mapping[str, Any]) -> dict[str, Any]:
        return {name: self._part(name, value) for name, value in item.items()}

    def _part(self, name: str, value: Any) -> Any:
        how = _PARTS.get(name)
        if how is not None and value is not None:
            return how(self, value)
        if isinstance(value, dict):
            return self._walk(cast(dict[str, Any], value))
        if isinstance(value, list):
            return [self._part("", one) for one in cast(list[Any], value)]
        return value

    def _labels(self, value: Mapping[str, str]) -> dict[str, str]:
        return {self.key(key): self.value(key, text) for key, text in value.items()}

    def _expressions(self, value: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [self._expression(one) for one in value]

    def _expression(self, one: Mapping[str, Any]) -> dict[str, Any]:
        """A requirement, a taint or a toleration: a key, and what it is compared with."""
        key: str = one.get("key") or ""
        out = {**one, **({"key": self.key(key)} if key else {})}
        if one.get("value"):
            out["value"] = self.value(key, one["value"])
        if one.get("values"):
            out["values"] = [self.value(key, text) for text in one["values"]]
        return out

    def _fields(self, value: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [{**one, "values": [self.word(v) for v in one.get("values") or ()]} for one in value]

    def _notes(self, value: Mapping[str, str]) -> dict[str, str]:
        return {k: text if k in _AS_THEY_ARE else self.word(text) for k, text in value.items()}

    def _amounts(self, value: Mapping[str, Any]) -> dict[str, Any]:
        return {self._resource(name): amount for name, amount in value.items()}

    def _resource(self, name: str) -> str:
        return name if _KEPT_RESOURCES.fullmatch(name) else f"x.example/{self.word(name)}"

    def _words(self, value: list[str]) -> list[str]:
        return [self.word(text) for text in value]

    def _keys(self, value: list[str]) -> list[str]:
        return [self.key(text) for text in value]

    def _owners(self, value: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [
            {
                **self._walk(one),
                "kind": one["kind"] if one.get("kind") in _KEPT_OWNERS else self.word(one["kind"]),
            }
            for one in value
        ]

    def _address(self, value: str) -> str:
        """Of a host port: another one of the private ones; all and loopback stay."""
        if value in ("", "0.0.0.0", "::") or value.startswith("127."):
            return value
        digest = hashlib.blake2b(value.encode(), digest_size=3, key=self._key).digest()
        return "10." + ".".join(str(byte) for byte in digest)

    def _drivers(self, value: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return value  # of public software; their names are in resource names as well


def _text(anonymiser: Anonymiser, value: Any) -> Any:
    return anonymiser.word(value) if isinstance(value, str) else value


_NAMES = (
    "name", "namespace", "nodeName", "nominatedNodeName", "claimName", "volumeName",
    "storageClassName", "priorityClassName", "schedulerName", "podGroupName", "request", "uid",
    "volumeAttributesClassName", "resourceClaimName", "resourceClaimTemplateName",
)  # fmt: skip
_PARTS: dict[str, Callable[[Anonymiser, Any], Any]] = {
    **dict.fromkeys(_NAMES, _text),
    **dict.fromkeys(("labels", "matchLabels", "nodeSelector"), Anonymiser._labels),  # pyright: ignore[reportPrivateUsage]
    **dict.fromkeys(
        ("matchExpressions", "matchLabelExpressions", "taints", "tolerations"),
        Anonymiser._expressions,  # pyright: ignore[reportPrivateUsage]
    ),
    "matchFields": Anonymiser._fields,  # pyright: ignore[reportPrivateUsage]
    "annotations": Anonymiser._notes,  # pyright: ignore[reportPrivateUsage]
    **dict.fromkeys(
        ("requests", "limits", "allocatable", "capacity", "overhead", "allocatedResources"),
        Anonymiser._amounts,  # pyright: ignore[reportPrivateUsage]
    ),
    "namespaces": Anonymiser._words,  # pyright: ignore[reportPrivateUsage]
    **dict.fromkeys(("matchLabelKeys", "mismatchLabelKeys"), Anonymiser._keys),  # pyright: ignore[reportPrivateUsage]
    "topologyKey": Anonymiser.key,
    "ownerReferences": Anonymiser._owners,  # pyright: ignore[reportPrivateUsage]
    "hostIP": Anonymiser._address,  # pyright: ignore[reportPrivateUsage]
    "drivers": Anonymiser._drivers,  # pyright: ignore[reportPrivateUsage]
}
