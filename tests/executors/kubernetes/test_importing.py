"""A cluster becomes a file, page by page, with what scheduling depends on and nothing else."""

from __future__ import annotations

import asyncio
import io
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import web

from cerebrum.executors.kubernetes.access import Access
from cerebrum.executors.kubernetes.client import ApiError, Client
from cerebrum.executors.kubernetes.importing import Imported, Importer
from cerebrum.experiments.simulate import simulate
from cerebrum.kube.anonymise import Anonymiser
from cerebrum.model.events import EventKind
from cerebrum.traces import kubernetes as trace
from tests.executors.kubernetes.fake_api import FakeApi, _status

Json = dict[str, Any]
BOUND = int(EventKind.BOUND)
ZONE = "topology.kubernetes.io/zone"


def imported(api: FakeApi, **settings: Any) -> tuple[str, Imported]:
    """The file's text and what came of it."""

    async def run() -> tuple[str, Imported]:
        async with api.serve(), Client(Access(api.url), qps=0) as client:
            out = io.BytesIO()
            found = await Importer(client, out, **settings).run()
            return out.getvalue().decode(), found

    return asyncio.run(run())


def names(text: str, kind: str) -> list[str]:
    return [d["metadata"]["name"] for d in yaml.safe_load_all(text) if d["kind"] == kind]


def pod(api: FakeApi, name: str, where: str = "", app: str = "", **spec: Any) -> Json:
    meta = {"labels": {"acme.example/app": app} if app else {}}
    return api.pod(name, metadata=meta, spec={**({"nodeName": where} if where else {}), **spec})


def spread(key: str, app: str) -> list[Json]:
    return [{"topologyKey": key, "maxSkew": 1, "whenUnsatisfiable": "DoNotSchedule",
             "labelSelector": {"matchLabels": {"acme.example/app": app}}}]  # fmt: skip


def apart(app: str) -> Json:
    term = {
        "topologyKey": "acme.example/rack", "namespaces": ["default"],
        "labelSelector": {"matchExpressions": [
            {"key": "acme.example/app", "operator": "In", "values": [app, "other"]}]},
    }  # fmt: skip
    return {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}


def on_nodes(*requirements: Json) -> Json:
    terms = {"nodeSelectorTerms": [{"matchExpressions": list(requirements)}]}
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}}


def a_cluster() -> FakeApi:
    """Nearly everything that decides where a pod may go, with names that tell whose it is."""
    api = FakeApi()
    for i in range(6):
        api.node(
            f"acme-node-{i}", cpu="8", offers={"acme.example/licence": "2"} if i % 2 else {},
            labels={ZONE: f"acme-zone-{i % 3}", "acme.example/rack": f"rack-{i // 2}",
                    "acme.example/generation": str(i)},
            taints=[{"key": "acme.example/team", "value": "red", "effect": "NoSchedule"}]
            if i == 0 else [],
        )  # fmt: skip
    api.put("/api/v1/namespaces", {"metadata": {"name": "acme-ns", "labels": {"env": "prod"}}})
    api.put("/apis/scheduling.k8s.io/v1/priorityclasses",
            {"metadata": {"name": "acme-high"}, "value": 100})  # fmt: skip
    api.put("/apis/storage.k8s.io/v1/storageclasses",
            {"metadata": {"name": "acme-disk"}, "provisioner": "disk.csi"})  # fmt: skip
    there = {"key": "kubernetes.io/hostname", "operator": "In", "values": ["acme-node-4"]}
    local = {"required": {"nodeSelectorTerms": [{"matchExpressions": [there]}]}}
    api.put("/api/v1/persistentvolumes", {
        "metadata": {"name": "acme-pv"}, "status": {"phase": "Bound"},
        "spec": {"accessModes": ["ReadWriteOnce"], "nodeAffinity": local,
                 "storageClassName": "acme-disk",
                 "claimRef": {"namespace": "default", "name": "acme-data"}},
    })  # fmt: skip
    api.put("/api/v1/persistentvolumeclaims", {
        "metadata": {"name": "acme-data", "namespace": "default"}, "status": {"phase": "Bound"},
        "spec": {"accessModes": ["ReadWriteOnce"], "volumeName": "acme-pv",
                 "storageClassName": "acme-disk"},
    })  # fmt: skip
    red = [{"key": "acme.example/team", "operator": "Equal", "value": "red"}]
    pod(api, "acme-web-0", "acme-node-1", "web", priorityClassName="acme-high")
    pod(api, "acme-red", "acme-node-0", tolerations=red)
    for i in range(3):
        pod(api, f"acme-spread-{i}", app="web", topologySpreadConstraints=spread(ZONE, "web"))
        pod(api, f"acme-apart-{i}", app="db", affinity=apart("db"))
    pod(api, "acme-urgent", priorityClassName="acme-high", tolerations=red,
        nodeSelector={"acme.example/rack": "rack-0"})  # fmt: skip
    pod(api, "acme-modern", affinity=on_nodes(
        {"key": "acme.example/generation", "operator": "Gt", "values": ["4"]}))  # fmt: skip
    pod(api, "acme-old", affinity=on_nodes(
        {"key": "acme.example/rack", "operator": "NotIn", "values": ["rack-1", "rack-2"]},
        {"key": "acme.example/nothing", "operator": "DoesNotExist"}))  # fmt: skip
    volume = {"name": "d", "persistentVolumeClaim": {"claimName": "acme-data"}}
    pod(api, "acme-with-data", volumes=[volume])
    licences = {"requests": {"cpu": "1", "acme.example/licence": "2"}}
    pod(api, "acme-licensed", containers=[{"name": "c", "resources": licences}])
    port = [{"containerPort": 80, "hostPort": 8080, "hostIP": "192.168.7.7"}]
    for i in range(7):
        pod(api, f"acme-port-{i}", containers=[{"name": "c", "ports": port}])
    pod(api, "acme-nowhere", nodeSelector={"acme.example/rack": "rack-9"})
    return api


def test_the_file_has_every_kind_and_simulate_reads_it(tmp_path: Path) -> None:
    text, found = imported(a_cluster())
    assert found.counts["Node"] == 6
    assert found.counts["Pod"] == 21
    file = tmp_path / "snapshot.yaml"
    file.write_text(text)
    scenario = trace.read(file)
    assert scenario.bound == {"acme-web-0": ("acme-node-1", 0), "acme-red": ("acme-node-0", 0)}
    placed = final(file)
    assert placed["acme-with-data"] == "acme-node-4"
    assert placed["acme-modern"] == "acme-node-5"
    assert placed["acme-old"] == "acme-node-1"
    assert placed["acme-nowhere"] == ""
    assert [placed[f"acme-port-{i}"] for i in range(7)].count("") >= 2


def final(file: Path, policy: str = "best-fit", **options: Any) -> dict[str, str]:
    """Task -> node at the end, '' for none."""
    run = simulate(trace.read(file, **options), policy, seed=1)
    where: dict[str, str] = dict.fromkeys(run.scenario.tasks.names, "")
    nodes = [node.name for node in run.scenario.cluster]
    for row in run.log.rows:
        if row["kind"] == BOUND:
            where[run.scenario.tasks.names[row["subject"]]] = nodes[row["row"]]
    return where


def test_secrets_commands_images_and_unknown_annotations_stay_outside() -> None:
    api = a_cluster()
    api.pod("p", spec={
        "containers": [{
            "name": "c", "image": "acme/secret-image", "command": ["secret-command"],
            "env": [{"name": "PASSWORD", "value": "secret-value"}],
            "resources": {"requests": {"cpu": "1"}}, "envFrom": [{"secretRef": {"name": "secret"}}],
        }],
        "volumes": [{"name": "v", "secret": {"secretName": "secret-volume"}},
                    {"name": "h", "hostPath": {"path": "/secret"}}],
        "imagePullSecrets": [{"name": "secret-pull"}],
        "serviceAccountName": "secret-account",
    }, metadata={"annotations": {
        "kubectl.kubernetes.io/last-applied-configuration": "secret-config",
        "alibabacloud.com/gpu-milli": "100"}})  # fmt: skip
    text, _ = imported(api)
    assert "secret" not in text
    [found] = [d for d in yaml.safe_load_all(text) if d["metadata"]["name"] == "p"]
    assert found["metadata"]["annotations"] == {"alibabacloud.com/gpu-milli": "100"}
    assert found["spec"]["containers"] == [
        {"name": "c", "resources": {"requests": {"cpu": "1"}}}
    ]  # fmt: skip


def test_what_ended_and_what_lost_its_node_is_left_out_and_counted() -> None:
    api = a_cluster()
    api.pod("done", status={"phase": "Succeeded"})
    pod(api, "adrift", "a-node-that-went")
    text, found = imported(api)
    assert "done" not in names(text, "Pod")
    assert found.left_out == {
        "pods that have ended": 1, "pods on nodes that were not there when nodes were listed": 1,
    }  # fmt: skip


def test_namespaces_limit_pods_and_not_nodes() -> None:
    api = a_cluster()
    api.pod("theirs", metadata={"namespace": "acme-ns"})
    text, _ = imported(api, namespaces=["acme-ns"])
    assert names(text, "Pod") == ["theirs"]
    assert len(names(text, "Node")) == 6


def test_a_kind_that_is_lacking_or_forbidden_is_told_and_nodes_are_not_optional() -> None:
    api = a_cluster()
    api.faults = lambda method, path: "403" if "persistentvolumes" in path else ""
    api.lacking = ("podgroups",)
    _, found = imported(api)
    assert set(found.unread) == {"PersistentVolume", "PodGroup"}
    api.faults = lambda method, path: "403" if path.endswith("/nodes") else ""
    with pytest.raises(ApiError, match="you may not"):
        imported(api)


class Forgetful(FakeApi):
    """Says 410 in the middle of the first list of pods."""

    forgot = False

    def _list(self, collection: str, request: web.Request) -> web.Response:
        if collection.endswith("/pods") and request.query.get("continue") and not self.forgot:
            self.forgot = True
            return _status(410, "Expired", "the continue token is too old")
        return super()._list(collection, request)


def test_a_list_that_expires_is_begun_again_and_nothing_stands_twice() -> None:
    api = Forgetful()
    api.node("n1")
    for i in range(1201):
        api.pod(f"p{i}")
    text, found = imported(api)
    assert api.forgot
    assert found.counts["Pod"] == 1201
    assert len(set(names(text, "Pod"))) == len(names(text, "Pod")) == 1201


def test_an_anonymised_cluster_names_nobody_and_decides_identically(tmp_path: Path) -> None:
    api = a_cluster()
    plain, hidden = tmp_path / "plain.yaml", tmp_path / "hidden.yaml"
    plain.write_text(imported(api)[0])
    text, _ = imported(api, anonymiser=Anonymiser(b"a key of sixteen"))
    hidden.write_text(text)
    for word in ("acme", "rack-", ": red", "web", "prod", "192.168", "licence", "team"):
        assert word not in text, word
    for policy in ("best-fit", "worst-fit", "fgd"):
        for options in ({}, {"bindings": "forget"}):
            decisions = [
                logged(simulate(trace.read(file, **options), policy, seed=1))
                for file in (plain, hidden)
            ]
            assert decisions[0] == decisions[1]
            assert len(decisions[0]) > 30


def logged(run: Any) -> list[tuple[Any, ...]]:
    """Every event as numbers: tasks and nodes have the same ids in both."""
    return [tuple(row.tolist()) for row in run.log.rows]


def test_another_key_gives_other_names_and_the_same_key_the_same() -> None:
    texts = [imported(a_cluster(), anonymiser=Anonymiser(k * 16))[0] for k in (b"a", b"a", b"b")]
    assert texts[0] == texts[1] != texts[2]


def test_forgotten_bindings_are_decided_anew(tmp_path: Path) -> None:
    api = FakeApi()
    for i in range(4):
        api.node(f"n{i}", cpu="4")
        api.pod(f"p{i}", cpu="1", spec={"nodeName": f"n{i}"})
    file = tmp_path / "snapshot.yaml"
    file.write_text(imported(api)[0])
    assert len(set(final(file).values())) == 4
    assert len(set(final(file, bindings="forget").values())) == 1
