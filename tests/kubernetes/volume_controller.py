"""Plays volume controller and provisioner, for clusters that have neither."""

from __future__ import annotations

import threading
from typing import Any

from tests.kubernetes.agents import persistently
from tests.kubernetes.api import Api


def volume(name: str, storage: str, at: str) -> dict[str, Any]:
    wanted = {"key": "kubernetes.io/hostname", "operator": "In", "values": [at]}
    return {
        "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name},
        "spec": {
            "storageClassName": storage, "accessModes": ["ReadWriteOnce"],
            "capacity": {"storage": "1Gi"}, "local": {"path": "/nowhere"},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [wanted]}]}},
        },
    }  # fmt: skip


class VolumeController(threading.Thread):
    """Does to claims what the volume controller and a provisioner would."""

    def __init__(self, api: Api) -> None:
        super().__init__(daemon=True)
        self._api, self.over = api, threading.Event()

    def run(self) -> None:
        while not self.over.wait(0.2):
            persistently(self._once)

    def _once(self) -> None:
        wanted = {}
        for found in self._api.list("PersistentVolume"):
            if reference := found["spec"].get("claimRef"):
                wanted[reference["name"]] = found["metadata"]["name"]
        for claim in self._api.list("PersistentVolumeClaim"):
            name, notes = claim["metadata"]["name"], claim["metadata"].get("annotations") or {}
            if claim["status"]["phase"] == "Bound":
                continue
            chosen = notes.get("volume.kubernetes.io/selected-node")
            if chosen and claim["spec"]["storageClassName"] == "made":
                persistently(lambda n=name, c=chosen: self._api.create(volume(f"v-{n}", "made", c)))
                wanted[name] = f"v-{name}"
            if name in wanted:
                self._bind(name, wanted[name])

    def _bind(self, claim: str, volume: str) -> None:
        self._api.patch("PersistentVolumeClaim", claim, {"spec": {"volumeName": volume}})
        status = {"status": {"phase": "Bound", "capacity": {"storage": "1Gi"}}}
        self._api.patch("PersistentVolumeClaim", claim, status, subresource="status")
