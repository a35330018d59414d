"""What every Kubernetes object says about itself, as far as we read it."""

from __future__ import annotations

from typing import Protocol, TypeVar

import msgspec


class OwnerReference(msgspec.Struct, omit_defaults=True, gc=False):
    """Whom an object belongs to: gone with it."""

    apiVersion: str
    kind: str
    name: str
    uid: str
    controller: bool | None = None
    blockOwnerDeletion: bool | None = None


class Metadata(msgspec.Struct, omit_defaults=True, gc=False):
    """`metadata` of an object; other fields are ignored. Timestamps are RFC 3339 text."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    resourceVersion: str = ""
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    creationTimestamp: str | None = None
    deletionTimestamp: str | None = None
    ownerReferences: list[OwnerReference] = []

    @property
    def key(self) -> str:
        """`namespace/name`, or `name` where the kind has no namespaces."""
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


class KubernetesObject(Protocol):
    """A msgspec Struct of some kind."""

    @property
    def metadata(self) -> Metadata:
        """What the object says about itself."""
        ...


T = TypeVar("T", bound=KubernetesObject)
