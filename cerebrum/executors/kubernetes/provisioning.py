"""Volumes that wait for their first consumer: chosen with the node, and bound before the pod is.

A claim that a free volume will do for is given it (`spec.claimRef` of the volume); one that has to
be provisioned gets the annotation `selected-node`. Then the volume controller binds them, which
can take minutes; the pod keeps its room meanwhile, up to `timeout_s`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import msgspec

from cerebrum.executors.kubernetes.binder import Api, Order
from cerebrum.executors.kubernetes.client import ApiError, Unreachable
from cerebrum.kube import names
from cerebrum.kube.objects import PersistentVolumeClaim
from cerebrum.kube.volumes import VolumeDemands, choose_volumes

_MERGE = "application/merge-patch+json"
_LOOK_S = 0.5
_ANNOTATION_BIND = "pv.kubernetes.io/bound-by-controller"


class Provisioning:
    """Prepares the claims of pods. `claims` is the live copy of them, by `namespace/name`."""

    def __init__(
        self,
        api: Api,
        claims: Mapping[str, PersistentVolumeClaim],
        node_labels: Callable[[str], Mapping[str, str]],
        timeout_s: float = 600.0,
    ) -> None:
        self._api = api
        self._claims = claims
        self._node_labels = node_labels
        self._timeout_s = timeout_s

    async def prepare(self, order: Order, demands: VolumeDemands) -> str:
        """Wait until every claim is bound for the order's node; '' or why it could not be."""
        chosen = choose_volumes(demands, order.node, self._node_labels(order.node))
        if chosen is None:
            return "the volumes it could use were taken meanwhile"
        try:
            for claim, volume in chosen.items():
                await self._reserve(claim, volume)
            for claim in demands.to_provision:
                if claim not in chosen:
                    await self._select_node(claim, order.node)
            async with asyncio.timeout(self._timeout_s):
                wanted = {claim for claim, _ in demands.to_bind} | set(demands.to_provision)
                while not all(self._is_bound(claim) for claim in wanted):
                    if rejected := self._rejected(demands.to_provision, chosen, order.node):
                        return rejected
                    await asyncio.sleep(_LOOK_S)
        except TimeoutError:
            return f"its volumes were not bound within {self._timeout_s:g} s"
        except (ApiError, Unreachable) as problem:
            return f"its volumes cannot be prepared: {problem}"
        return ""

    def _is_bound(self, key: str) -> bool:
        claim = self._claims.get(key)
        return claim is not None and bool(claim.spec.volume_name) and claim.status.phase == "Bound"

    def _rejected(self, provisioned: tuple[str, ...], chosen: Mapping[str, str], node: str) -> str:
        """A provisioner that cannot serve the node takes the annotation away again."""
        for key in provisioned:
            claim = self._claims.get(key)
            if key in chosen or self._is_bound(key):
                continue
            if claim is None:
                return f"claim {key} is gone"
            noted = (claim.metadata.annotations or {}).get(names.SELECTED_NODE)
            if noted is not None and noted != node:
                return f"claim {key} was given to node {noted}"
        return ""

    async def _reserve(self, key: str, volume: str) -> None:
        """Point the volume at the claim; the server refuses a second claim on it by version."""
        claim = self._claims[key]
        namespace, _, name = key.partition("/")
        path = f"/api/v1/persistentvolumes/{volume}"
        there = msgspec.json.decode(await self._api.request("GET", path))
        reference = there["spec"].get("claimRef")
        if reference and reference.get("uid", claim.metadata.uid) != claim.metadata.uid:
            raise ApiError(409, "Conflict", f"volume {volume} belongs to another claim")
        body = {
            "metadata": {
                "resourceVersion": there["metadata"]["resourceVersion"],
                "annotations": {_ANNOTATION_BIND: "yes"},
            },
            "spec": {
                "claimRef": {
                    "apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": namespace,
                    "name": name, "uid": claim.metadata.uid,
                }
            },
        }  # fmt: skip
        await self._patch(path, body)

    async def _select_node(self, key: str, node: str) -> None:
        namespace, _, name = key.partition("/")
        path = f"/api/v1/namespaces/{namespace}/persistentvolumeclaims/{name}"
        await self._patch(path, {"metadata": {"annotations": {names.SELECTED_NODE: node}}})

    async def _patch(self, path: str, body: object) -> None:
        data = msgspec.json.encode(body)
        await self._api.request("PATCH", path, body=data, content_type=_MERGE)
