"""Random clusters and pods, as Kubernetes objects, that make filters disagree if they can.

Small worlds with few label values, tight capacity and many rules: a verdict hangs on a detail more
often than not. All is drawn from one generator, so a seed is a case.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

Json = dict[str, Any]

ZONE, HOST, RACK = "topology.kubernetes.io/zone", "kubernetes.io/hostname", "example.com/rack"
KEYS = (ZONE, HOST, RACK)
NAMESPACES = {"red": {"team": "a"}, "blue": {"team": "b", "env": "test"}, "green": {}}
APPS = ("web", "db", "cache")
EXTENDED = "example.com/widget"
EFFECTS = ("NoSchedule", "NoExecute", "PreferNoSchedule")
CLASS_LATE, CLASS_LOCAL, CLASS_NOW = "late", "local", "now"


class Draw:
    """Draws of one case."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)

    def chance(self, probability: float) -> bool:
        return bool(self.rng.random() < probability)

    def one(self, values: Sequence[Any]) -> Any:
        return values[int(self.rng.integers(len(values)))]

    def some(self, values: Sequence[Any], most: int | None = None) -> list[Any]:
        """At least one of them, in order."""
        count = int(self.rng.integers(1, (most or len(values)) + 1))
        return [values[i] for i in sorted(self.rng.permutation(len(values))[:count])]

    def number(self, low: int, high: int) -> int:
        """From low to high, both included."""
        return int(self.rng.integers(low, high + 1))


def cluster(seed: int, pods: int) -> Json:
    """A cluster with running pods, and `pods` pods to judge."""
    draw = Draw(seed)
    nodes = [node(draw, i) for i in range(draw.number(1, 12))]
    storage = _storage(draw, nodes)
    claims = [claim["metadata"] for claim in storage["claims"]]
    running = []
    for i in range(draw.number(0, 30)):
        item = pod(draw, f"running-{i}", claims, calm=True)
        item["spec"]["nodeName"] = draw.one(nodes)["metadata"]["name"]
        item["status"] = {"phase": draw.one(("Running", "Running", "Pending"))}
        running.append(item)
    return {
        "nodes": nodes,
        "pods": running,
        "namespaces": [
            {
                "metadata": {
                    "name": name,
                    "labels": {"kubernetes.io/metadata.name": name, **labels},
                }
            }
            for name, labels in NAMESPACES.items()
        ],
        **storage,
        "judge": [pod(draw, f"judged-{i}", claims) for i in range(pods)],
    }


# -- nodes ----------------------------------------------------------------------------------


def node(draw: Draw, index: int) -> Json:
    name = f"n{index}"
    labels = {HOST: name, "number": str(draw.number(0, 9))}
    if draw.chance(0.85):
        labels[ZONE] = draw.one(("z1", "z2", "z3"))
    if draw.chance(0.7):
        labels[RACK] = draw.one(("r1", "r2"))
    if draw.chance(0.5):
        labels["disk"] = draw.one(("ssd", "hdd"))
    spec: Json = {}
    if draw.chance(0.3):
        spec["taints"] = [taint(draw) for _ in range(draw.number(1, 2))]
        spec["taints"] = list({(t["key"], t["effect"]): t for t in spec["taints"]}.values())
    if draw.chance(0.07):
        spec["unschedulable"] = True
        spec.setdefault("taints", []).append(
            {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}
        )
    offered = {
        "cpu": draw.one(("1", "2", "3500m", "8")),
        "memory": draw.one(("1Gi", "2000Mi", "4G", "16Gi")),
        "pods": draw.one(("3", "10", "110")),
        "ephemeral-storage": draw.one(("1Gi", "10Gi", "100Gi")),
    }
    if draw.chance(0.4):
        offered[EXTENDED] = str(draw.number(0, 4))
    return {
        "metadata": {"name": name, "labels": labels},
        "spec": spec,
        "status": {"allocatable": offered, "capacity": dict(offered)},
    }


def taint(draw: Draw) -> Json:
    found: Json = {"key": draw.one(("dedicated", "broken")), "effect": draw.one(EFFECTS)}
    if draw.chance(0.6):
        found["value"] = draw.one(("x", "y"))
    return found


# -- pods -----------------------------------------------------------------------------------


def pod(draw: Draw, name: str, claims: Sequence[Json], calm: bool = False) -> Json:
    """A pod; a calm one asks for little, so that running ones leave room."""
    namespace = draw.one(tuple(NAMESPACES))
    labels = {"app": draw.one(APPS)}
    if draw.chance(0.5):
        labels["version"] = draw.one(("v1", "v2"))
    spec: Json = {"containers": [container(draw, f"c{i}", calm) for i in range(draw.number(1, 2))]}
    if draw.chance(0.25):
        spec["initContainers"] = [init_container(draw, i) for i in range(draw.number(1, 3))]
    if draw.chance(0.1):
        spec["overhead"] = {"cpu": "250m", "memory": "120Mi"}
    if draw.chance(0.08):
        spec["resources"] = _pod_level(draw, spec)
    if draw.chance(0.4):
        spec["tolerations"] = [toleration(draw) for _ in range(draw.number(1, 2))]
    if draw.chance(0.2):
        spec["nodeSelector"] = draw.one(
            ({"disk": "ssd"}, {ZONE: "z1"}, {"disk": "hdd", RACK: "r1"}, {"nowhere": "at-all"})
        )
    affinity: Json = {}
    if draw.chance(0.3):
        affinity["nodeAffinity"] = {
            "requiredDuringSchedulingIgnoredDuringExecution": {
                "nodeSelectorTerms": [node_term(draw) for _ in range(draw.number(1, 2))]
            }
        }
    for kind, likely in (("podAffinity", 0.2), ("podAntiAffinity", 0.25)):
        if draw.chance(likely):
            affinity[kind] = {
                "requiredDuringSchedulingIgnoredDuringExecution": [
                    peer_term(draw, labels) for _ in range(draw.number(1, 2))
                ]
            }
    if affinity:
        spec["affinity"] = affinity
    if draw.chance(0.3):
        spec["topologySpreadConstraints"] = _spreads(draw, labels)
    same = [claim for claim in claims if claim["namespace"] == namespace]
    if not calm and draw.chance(0.2):
        names = [claim["name"] for claim in same] or ["missing"]
        spec["volumes"] = [
            {"name": f"v{i}", "persistentVolumeClaim": {"claimName": claim}}
            for i, claim in enumerate(draw.some(names, 1))
        ]
    if calm and same and draw.chance(0.1):
        spec["volumes"] = [
            {"name": "v", "persistentVolumeClaim": {"claimName": draw.one(same)["name"]}}
        ]
    metadata = {"name": name, "namespace": namespace, "labels": labels, "uid": f"uid-{name}"}
    return {"metadata": metadata, "spec": spec}


def container(draw: Draw, name: str, calm: bool) -> Json:
    found: Json = {"name": name, "image": "image"}
    requests: Json = {}
    if draw.chance(0.8):
        requests["cpu"] = draw.one(("1m", "50m", "100m") if calm else ("100m", "700m", "1", "1.5"))
    if draw.chance(0.7):
        requests["memory"] = draw.one(("16Mi",) if calm else ("100M", "512Mi", "1Gi", "1500Mi"))
    if draw.chance(0.1):
        requests["ephemeral-storage"] = draw.one(("100Mi", "2Gi", "20Gi"))
    resources: Json = {"requests": requests}
    if draw.chance(0.12):
        amount = str(draw.number(1, 2))
        resources["limits"] = {EXTENDED: amount}
        requests[EXTENDED] = amount
    if draw.chance(0.15):  # a limit without a request is the request
        resources.setdefault("limits", {})["cpu"] = "900m"
        requests.pop("cpu", None)
    found["resources"] = resources
    if draw.chance(0.15):
        found["ports"] = [port(draw) for _ in range(draw.number(1, 2))]
    return found


def init_container(draw: Draw, index: int) -> Json:
    found = container(draw, f"i{index}", calm=False)
    found.pop("ports", None)
    if draw.chance(0.5):
        found["restartPolicy"] = "Always"
        if draw.chance(0.2):
            found["ports"] = [port(draw)]
    return found


def port(draw: Draw) -> Json:
    number = draw.one((80, 443, 8080))
    found: Json = {"containerPort": number}
    if draw.chance(0.8):
        found["hostPort"] = number
        if draw.chance(0.4):
            found["hostIP"] = draw.one(("0.0.0.0", "10.0.0.1", "10.0.0.2"))
        if draw.chance(0.4):
            found["protocol"] = draw.one(("TCP", "UDP"))
    return found


def _pod_level(draw: Draw, spec: Json) -> Json:
    """More than the containers ask for, as the API server demands; containers keep no limits."""
    for item in [*spec["containers"], *spec.get("initContainers", ())]:
        for kind in ("limits", "requests"):
            for name in ("cpu", "memory"):
                item["resources"].get(kind, {}).pop(name, None)
    return {"requests": {draw.one(("cpu",)): draw.one(("1", "3")), "memory": "700Mi"}}


def toleration(draw: Draw) -> Json:
    found: Json = {}
    if draw.chance(0.85):
        found["key"] = draw.one(("dedicated", "broken"))
    if "key" not in found or draw.chance(0.4):
        found["operator"] = "Exists"
    elif draw.chance(0.7):
        found["value"] = draw.one(("x", "y"))
    if draw.chance(0.5):
        found["effect"] = draw.one(EFFECTS)
    return found


def node_term(draw: Draw) -> Json:
    term: Json = {"matchExpressions": [requirement(draw) for _ in range(draw.number(1, 2))]}
    if draw.chance(0.15):
        names = [f"n{draw.number(0, 12)}"]
        term["matchFields"] = [
            {"key": "metadata.name", "operator": draw.one(("In", "NotIn")), "values": names}
        ]
    return term


def requirement(draw: Draw) -> Json:
    operator = draw.one(("In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"))
    if operator in ("Gt", "Lt"):
        return {"key": "number", "operator": operator, "values": [str(draw.number(0, 9))]}
    key, values = draw.one(
        ((ZONE, ("z1", "z2", "z3")), ("disk", ("ssd", "hdd")), (RACK, ("r1", "r2")))
    )
    found: Json = {"key": key, "operator": operator}
    if operator in ("In", "NotIn"):
        found["values"] = draw.some(values)
    return found


def selector(draw: Draw, labels: Json) -> Json | None:
    """A label selector: often about the pod itself, sometimes about all, rarely none."""
    if draw.chance(0.05):
        return None
    if draw.chance(0.07):
        return {}
    if draw.chance(0.35):
        return {"matchLabels": {"app": labels["app"]}}
    if draw.chance(0.5):
        return {"matchLabels": {"app": draw.one(APPS)}}
    operator = draw.one(("In", "NotIn", "Exists", "DoesNotExist"))
    expression: Json = {"key": draw.one(("app", "version")), "operator": operator}
    if operator in ("In", "NotIn"):
        known = APPS if expression["key"] == "app" else ("v1", "v2")
        expression["values"] = draw.some(known)
    return {"matchExpressions": [expression]}


def peer_term(draw: Draw, labels: Json) -> Json:
    term: Json = {"topologyKey": draw.one(KEYS)}
    if (found := selector(draw, labels)) is not None:
        term["labelSelector"] = found
        if "version" not in str(found) and draw.chance(0.2):  # a key may not be in both
            _match_keys(draw, term, labels)
    if draw.chance(0.3):
        term["namespaces"] = draw.some(tuple(NAMESPACES), 2)
    if draw.chance(0.3):
        term["namespaceSelector"] = draw.one(
            ({}, {"matchLabels": {"team": "a"}}, {"matchLabels": {"env": "test"}})
        )
    return term


def _match_keys(draw: Draw, term: Json, labels: Json) -> None:
    """Keys of labels to be alike or unlike in, and what the API server makes of them."""
    field, operator = draw.one((("matchLabelKeys", "In"), ("mismatchLabelKeys", "NotIn")))
    term[field] = ["version"]
    if "version" in labels:
        merged = {"key": "version", "operator": operator, "values": [labels["version"]]}
        term["labelSelector"] = dict(term["labelSelector"])
        expressions = term["labelSelector"].get("matchExpressions", [])
        term["labelSelector"]["matchExpressions"] = [*expressions, merged]


def _spreads(draw: Draw, labels: Json) -> list[Json]:
    found: dict[tuple[str, str], Json] = {}
    for _ in range(draw.number(1, 2)):
        hard = draw.chance(0.85)
        item: Json = {
            "maxSkew": draw.number(1, 3),
            "topologyKey": draw.one(KEYS),
            "whenUnsatisfiable": "DoNotSchedule" if hard else "ScheduleAnyway",
        }
        if (chosen := selector(draw, labels)) is not None:
            item["labelSelector"] = chosen
            if draw.chance(0.15) and "version" not in str(chosen):
                item["matchLabelKeys"] = ["version"]
        if hard and draw.chance(0.25):
            item["minDomains"] = draw.number(1, 4)
        for field in ("nodeAffinityPolicy", "nodeTaintsPolicy"):
            if draw.chance(0.3):
                item[field] = draw.one(("Honor", "Ignore"))
        found[item["topologyKey"], item["whenUnsatisfiable"]] = item
    return list(found.values())


# -- volumes --------------------------------------------------------------------------------


def _storage(draw: Draw, nodes: Sequence[Json]) -> Json:
    """Claims bound to volumes with a place, claims that wait for a pod, and a few broken ones."""
    claims: list[Json] = []
    volumes: list[Json] = []
    for i in range(draw.number(0, 6)):
        namespace = draw.one(tuple(NAMESPACES))
        mode = draw.one(("ReadWriteOnce", "ReadWriteMany", "ReadWriteOncePod"))
        kind = draw.one(("bound", "bound", "late", "local", "now"))
        name = f"claim-{i}"
        claim: Json = {
            "metadata": {"name": name, "namespace": namespace, "uid": f"uid-{name}"},
            "spec": {
                "accessModes": [mode],
                "resources": {"requests": {"storage": "1Gi"}},
                "storageClassName": CLASS_LATE if kind == "bound" else kind,
            },
            "status": {"phase": "Pending"},
        }
        if kind == "bound":
            volume = _volume(draw, f"volume-{i}", nodes, mode)
            volume["spec"]["claimRef"] = {
                "name": name, "namespace": namespace, "uid": f"uid-{name}",
            }  # fmt: skip
            volumes.append(volume)
            claim["spec"]["volumeName"] = volume["metadata"]["name"]
            claim["metadata"]["annotations"] = {"pv.kubernetes.io/bind-completed": "yes"}
            claim["status"] = {"phase": "Bound"}
        claims.append(claim)
    for i in range(draw.number(0, 2)):  # there to be taken by a claim of the class `local`
        volume = _volume(draw, f"free-{i}", nodes, "ReadWriteOnce")
        volume["spec"]["storageClassName"] = CLASS_LOCAL
        volumes.append(volume)
    return {"claims": claims, "volumes": volumes, "storageClasses": _classes(draw), "csiNodes": []}


def _volume(draw: Draw, name: str, nodes: Sequence[Json], mode: str) -> Json:
    spec: Json = {
        "capacity": {"storage": "2Gi"},
        "accessModes": [mode],
        "storageClassName": CLASS_LATE,
        "csi": {"driver": "csi.example.com", "volumeHandle": name},
    }
    if draw.chance(0.7):
        place = draw.one(
            (
                {"key": ZONE, "operator": "In", "values": draw.some(("z1", "z2", "z3"), 2)},
                {
                    "key": HOST,
                    "operator": "In",
                    "values": [draw.one(nodes)["metadata"]["name"]],
                },
            )
        )
        spec["nodeAffinity"] = {"required": {"nodeSelectorTerms": [{"matchExpressions": [place]}]}}
    return {"metadata": {"name": name}, "spec": spec, "status": {"phase": "Available"}}


def _classes(draw: Draw) -> list[Json]:
    late: Json = {
        "metadata": {"name": CLASS_LATE},
        "provisioner": "csi.example.com",
        "volumeBindingMode": "WaitForFirstConsumer",
    }
    if draw.chance(0.5):
        late["allowedTopologies"] = [
            {"matchLabelExpressions": [{"key": ZONE, "values": draw.some(("z1", "z2"))}]}
        ]
    return [
        late,
        {
            "metadata": {"name": CLASS_LOCAL},
            "provisioner": "kubernetes.io/no-provisioner",
            "volumeBindingMode": "WaitForFirstConsumer",
        },
        {
            "metadata": {"name": CLASS_NOW},
            "provisioner": "csi.example.com",
            "volumeBindingMode": "Immediate",
        },
    ]
