"""What is asked of the API server for runs. Each request can be repeated, and none hits a pod that
is not meant: pods are named by run, and what ends one names its uid as well.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import msgspec

from cerebrum.executors.kubernetes import _runs_objects as at
from cerebrum.executors.kubernetes._runs_objects import Mark, RunPod
from cerebrum.executors.kubernetes._runs_status import is_over, mark_of
from cerebrum.executors.kubernetes.client import ApiError, Client
from cerebrum.model.errors import CerebrumError, InputError

MERGE = "application/merge-patch+json"
_TRIES = 5
_LOG_BYTES = 256 << 20
_pod = msgspec.json.Decoder(RunPod)


class RunRequests:
    """The pods of one namespace and cluster label."""

    def __init__(self, client: Client, namespace: str, cluster: str) -> None:
        self._client, self._cluster = client, cluster
        self.path = f"/api/v1/namespaces/{namespace}/pods"

    async def create(self, pod: dict[str, Any]) -> RunPod:
        """Make a pod, or find the one that is this run already.

        Raises `InputError` when it can never be made, `CerebrumError` when it could not be now.
        """
        name = str(pod["metadata"]["name"])
        for _ in range(_TRIES):
            try:
                return _pod.decode(await self._client.request("POST", self.path, body=pod))
            except ApiError as refusal:
                if refusal.status in (400, 413, 422):
                    raise InputError(refusal.message).at(field="pod") from None
                if refusal.status != 409:
                    raise
            found = await self.get(name)
            if found is not None and not await self._makes_room(found, name):
                return found
        raise CerebrumError(f"pod {name!r} comes and goes")

    async def get(self, name: str) -> RunPod | None:
        """The pod of that name, if there is one."""
        try:
            return _pod.decode(await self._client.request("GET", f"{self.path}/{name}"))
        except ApiError as refusal:
            if refusal.status == 404:
                return None
            raise

    async def list(self, selector: str) -> list[RunPod]:
        """Every pod that the selector means."""
        found: list[RunPod] = []
        async for page in self._client.pages(self.path, query={"labelSelector": selector}):
            found += [_pod.decode(item) for item in page]
        return found

    async def end(self, name: str, mark: Mark, grace_s: int, known: RunPod | None) -> None:
        """Write down why, then delete. What is over stays as it is, and the first reason stays.

        `known` is the pod as last seen; its uid is what may be ended and nothing else.
        """
        pod = known if known is not None else await self.get(name)
        for _ in range(_TRIES):
            if pod is None or is_over(pod) or not self._is_ours(pod, name):
                return
            if mark_of(pod) is None:
                try:
                    pod = await self._annotate(pod, {at.END: _text(mark)})
                except ApiError as refusal:
                    if refusal.status not in (404, 409, 422):
                        raise
                    pod = await self._again(name, pod)
                    continue
            await self._delete(pod, grace_s)
            return
        raise CerebrumError(f"pod {name!r} changes faster than it can be ended")

    async def fence(self, name: str, deadline: str | None) -> None:
        """Show the pod its deadline; None: it has none any more. A pod that is gone is ignored."""
        body = {"metadata": {"annotations": {at.FENCE: deadline}}}
        try:
            await self._patch(name, body)
        except ApiError as refusal:
            if refusal.status != 404:
                raise

    async def let_go(self, pod: RunPod) -> None:
        """Its end is recorded: others may delete it now, and the sweep will."""
        m = pod.metadata
        for _ in range(_TRIES):
            left = [name for name in m.finalizers if name != at.FINALIZER]
            body = {
                "metadata": {
                    "uid": m.uid,
                    "resourceVersion": m.resourceVersion,
                    "labels": {at.FORGOTTEN: "true"},
                    "finalizers": left or None,
                }
            }
            try:
                await self._patch(m.name, body)
                return
            except ApiError as refusal:
                if refusal.status not in (404, 409, 422):
                    raise
            found = await self._again(m.name, pod)
            if found is None:
                return
            m = found.metadata
        raise CerebrumError(f"pod {m.name!r} changes faster than it can be let go of")

    async def sweep(self, pods: Iterable[RunPod]) -> None:
        """Delete pods that nobody needs any more."""
        for pod in pods:
            await self._delete(pod, 0)

    async def log(self, name: str, offset: int, limit: int) -> bytes:
        """Bytes of the run's output. The API knows no offset, so all before it is read as well."""
        query = {"container": at.CONTAINER, "limitBytes": str(min(offset + limit, _LOG_BYTES))}
        try:
            found = await self._client.request("GET", f"{self.path}/{name}/log", query=query)
        except ApiError as refusal:
            if refusal.status == 400:  # it has not begun, so it wrote nothing
                return b""
            raise
        return found[offset : offset + limit]

    async def _makes_room(self, pod: RunPod, name: str) -> bool:
        """Whether the name is free again: a forgotten run is unknown, so it may be made anew.

        Raises `InputError` when the pod is somebody else's.
        """
        labels = pod.metadata.labels
        if not self._is_ours(pod, name):
            raise InputError(f"there is a pod {name!r} that is not a run of this cluster")
        if at.FORGOTTEN not in labels:
            return False
        await self._delete(pod, 0)
        return True

    def _is_ours(self, pod: RunPod, name: str) -> bool:
        labels = pod.metadata.labels
        ours = {
            at.MANAGED_BY: at.MANAGER, at.RUN_ID: name,
            at.CLUSTER: at.label_value(self._cluster),
        }  # fmt: skip
        return ours.items() <= labels.items()

    async def _annotate(self, pod: RunPod, notes: dict[str, str]) -> RunPod:
        m = pod.metadata
        same = {"uid": m.uid, "resourceVersion": m.resourceVersion}
        return await self._patch(m.name, {"metadata": {**same, "annotations": notes}})

    async def _patch(self, name: str, body: dict[str, Any]) -> RunPod:
        path = f"{self.path}/{name}"
        answer = await self._client.request("PATCH", path, body=body, content_type=MERGE)
        return _pod.decode(answer)

    async def _delete(self, pod: RunPod, grace_s: int) -> None:
        body = {
            "kind": "DeleteOptions",
            "apiVersion": "v1",
            "gracePeriodSeconds": grace_s,
            "preconditions": {"uid": pod.metadata.uid},
        }
        try:
            await self._client.request("DELETE", f"{self.path}/{pod.metadata.name}", body=body)
        except ApiError as refusal:
            if refusal.status not in (404, 409):  # gone, or another pod by now
                raise

    async def _again(self, name: str, old: RunPod) -> RunPod | None:
        """The pod as it is now, if it is still the same one."""
        pod = await self.get(name)
        return pod if pod is not None and pod.metadata.uid == old.metadata.uid else None


def _text(mark: Mark) -> str:
    return json.dumps({"phase": mark.phase, "reason": mark.reason[:1000]})
