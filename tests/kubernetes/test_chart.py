"""The chart as Helm renders it, for each way of installing, and what it refuses."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from cerebrum.services.api.settings import GccSettings, LcaSettings, load
from tests.kubernetes.chart import (
    CHART,
    Json,
    container,
    helm,
    kinds,
    of,
    render,
    template,
    values,
    values_file,
    variables,
)

POSTGRES = {"database": {"existingSecret": "database"}}
WAYS: dict[str, Json] = {
    "sqlite": values(),
    "postgres": values(controller=POSTGRES),
    "tls": values(controller={**POSTGRES, "tlsSecret": "tls"}, agent={"caSecret": "tls"}),
    "controller-only": values(agent={"enabled": False}),
    "agent-only": values(
        controller={"enabled": False, "tokensSecret": ""},
        agent={"gccUrl": "https://a.example,https://b.example:8443", "taskNamespace": "batch"},
    ),
    "alone": values(controller={"enabled": False}, agent={"leaderElection": False}),
    "shadow": values(agent={"mode": "shadow"}),
    "off": values(agent={"mode": "off"}),
    "cache": values(controller={**POSTGRES, "kernelCache": {"size": "1Gi"}}),
    "open": values(networkPolicy={"enabled": False}),
    "everything": values(
        image={"repository": "registry.example/cerebrum", "tag": "1"},
        imagePullSecrets=[{"name": "registry"}],
        controller={
            **POSTGRES, "replicas": 3, "env": {"CEREBRUM_LEASE_S": 60},
            "envFrom": [{"secretRef": {"name": "bus"}}], "nodeSelector": {"pool": "infra"},
            "tolerations": [{"operator": "Exists"}], "priorityClassName": "high",
        },
        agent={
            "podTemplate": {"metadata": {"labels": {"team": "batch"}}},
            "env": {"CEREBRUM_KUBE_QPS": 200}, "placement": "direct", "url": "https://agent.example",
            "storage": {"size": "20Gi", "storageClassName": "fast"},
        },
        networkPolicy={"from": [{"namespaceSelector": {}}], "apiServerPorts": [443],
                       "apiServer": [{"ipBlock": {"cidr": "10.0.0.1/32"}}]},
        podAnnotations={"note": "1"}, podLabels={"team": "platform"},
    ),
}  # fmt: skip


@pytest.fixture(autouse=True)
def _needs_helm(built: Callable[..., None]) -> None:
    built("helm")


@pytest.mark.parametrize("way", WAYS)
def test_lint_has_nothing_to_say(way: str, tmp_path: Path) -> None:
    done = helm(tmp_path, "lint", "--strict", CHART, "-f", values_file(tmp_path, WAYS[way]))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("way", WAYS)
def test_every_part_finds_the_parts_that_it_names(way: str, tmp_path: Path) -> None:
    objects = render(tmp_path, WAYS[way])
    assert len(kinds(objects)) == len(set(kinds(objects)))
    sets = [body for body in objects if body["kind"] == "StatefulSet"]
    for body in sets:
        spec, pod = body["spec"], body["spec"]["template"]
        assert spec["selector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
        of(objects, "Service", spec["serviceName"])
        there = {volume["name"] for volume in pod["spec"]["volumes"]}
        there |= {claim["metadata"]["name"] for claim in spec.get("volumeClaimTemplates", [])}
        (only,) = pod["spec"]["containers"]
        assert {mount["name"] for mount in only["volumeMounts"]} == there
    labels = [body["spec"]["template"]["metadata"]["labels"] for body in sets]
    for body in objects:
        chosen = {
            "Service": lambda spec: spec["selector"],
            "NetworkPolicy": lambda spec: spec["podSelector"]["matchLabels"],
            "PodDisruptionBudget": lambda spec: spec["selector"]["matchLabels"],
        }.get(body["kind"])
        if chosen:
            wanted = chosen(body["spec"]).items()
            assert sum(wanted <= pod.items() for pod in labels) == 1, body["metadata"]["name"]


@pytest.mark.parametrize("way", WAYS)
def test_the_servers_know_every_variable_and_take_its_value(
    way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    objects = render(tmp_path, WAYS[way])
    for part, kind in (("controller", GccSettings), ("agent", LcaSettings)):
        if f"StatefulSet/cerebrum-{part}" not in kinds(objects):
            continue
        found = variables(objects, part)
        for name, value in found.items():
            if name.startswith("CEREBRUM_"):
                assert name.removeprefix("CEREBRUM_").lower() in kind.model_fields, name
                if isinstance(value, str) and not name.startswith("CEREBRUM_TLS"):
                    monkeypatch.setenv(name, value)
        load(kind)


def test_sqlite_is_one_replica_on_a_volume(tmp_path: Path) -> None:
    objects = render(tmp_path, values(controller={"replicas": 5}))
    spec = of(objects, "StatefulSet", "cerebrum-controller")["spec"]
    assert spec["replicas"] == 1
    assert [claim["metadata"]["name"] for claim in spec["volumeClaimTemplates"]] == ["data"]
    found = variables(objects, "controller")["CEREBRUM_DATABASE"]
    mounts = {mount["mountPath"] for mount in container(objects, "controller")["volumeMounts"]}
    assert found.removeprefix("sqlite:///").rpartition("/")[0] in mounts
    assert not any(kind.startswith("PodDisruptionBudget") for kind in kinds(objects))


@pytest.mark.parametrize("database", [{}, POSTGRES], ids=["sqlite", "postgres"])
def test_compiled_code_can_have_a_volume_of_its_own(database: Json, tmp_path: Path) -> None:
    cache = {"size": "2Gi", "storageClassName": "fast"}
    objects = render(tmp_path, values(controller={**database, "kernelCache": cache}))
    spec = of(objects, "StatefulSet", "cerebrum-controller")["spec"]
    claims = {c["metadata"]["name"]: c["spec"] for c in spec["volumeClaimTemplates"]}
    assert set(claims) == ({"cache"} if database else {"cache", "data"})
    assert claims["cache"]["resources"]["requests"]["storage"] == "2Gi"
    assert claims["cache"]["storageClassName"] == "fast"
    assert "cache" not in [volume["name"] for volume in spec["template"]["spec"]["volumes"]]
    mounts = {m["name"]: m["mountPath"] for m in container(objects, "controller")["volumeMounts"]}
    assert mounts["cache"] == variables(objects, "controller")["NUMBA_CACHE_DIR"]


def test_replicas_on_postgres_have_addresses_that_a_standby_can_send_clients_to(
    tmp_path: Path,
) -> None:
    objects = render(tmp_path, WAYS["tls"])
    spec = of(objects, "StatefulSet", "cerebrum-controller")["spec"]
    assert spec["replicas"] == 2
    assert "volumeClaimTemplates" not in spec
    found = variables(objects, "controller")
    assert found["CEREBRUM_DATABASE"] == {"secretKeyRef": {"name": "database", "key": "url"}}
    named = of(objects, "Service", spec["serviceName"])["spec"]
    assert (named["clusterIP"], named["publishNotReadyAddresses"]) == ("None", True)
    assert found["CEREBRUM_URL"] == (
        "https://$(CEREBRUM_NAME).cerebrum-controller-replicas.cerebrum.svc:8000"
    )
    assert list(found).index("CEREBRUM_NAME") < list(found).index("CEREBRUM_URL")
    assert of(objects, "PodDisruptionBudget")["spec"]["maxUnavailable"] == 1
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert container(objects, "controller")[probe]["httpGet"]["scheme"] == "HTTPS"
    agent = variables(objects, "agent")
    assert agent["CEREBRUM_GCC_URL"] == "https://cerebrum-controller.cerebrum.svc:8000"
    assert agent["CEREBRUM_CA"] == "/etc/cerebrum/ca/ca.crt"


def test_one_part_alone_brings_nothing_of_the_other(tmp_path: Path) -> None:
    assert kinds(render(tmp_path, WAYS["controller-only"])) == [
        "NetworkPolicy/cerebrum-controller", "Service/cerebrum-controller",
        "Service/cerebrum-controller-replicas", "StatefulSet/cerebrum-controller",
    ]  # fmt: skip
    objects = render(tmp_path, WAYS["agent-only"], "brain")
    assert kinds(objects) == [
        "ClusterRole/brain-cerebrum-agent", "ClusterRoleBinding/brain-cerebrum-agent",
        "NetworkPolicy/cerebrum-agent", "Role/brain-cerebrum-agent",
        "RoleBinding/brain-cerebrum-agent", "Service/cerebrum-agent",
        "ServiceAccount/cerebrum-agent", "StatefulSet/cerebrum-agent",
    ]  # fmt: skip
    for kind in ("Role", "RoleBinding"):
        assert of(objects, kind)["metadata"]["namespace"] == "batch"
    for kind in ("RoleBinding", "ClusterRoleBinding"):
        subject = {"kind": "ServiceAccount", "name": "cerebrum-agent", "namespace": "brain"}
        assert of(objects, kind)["subjects"] == [subject]
    assert variables(objects, "agent")["CEREBRUM_NAMESPACE"] == "batch"


def test_without_a_controller_the_agent_works_alone(tmp_path: Path) -> None:
    found = variables(render(tmp_path, WAYS["alone"]), "agent")
    assert found["CEREBRUM_GCC_URL"] == ""
    assert "CEREBRUM_TOKEN" not in found
    assert found["CEREBRUM_API_TOKEN"]["secretKeyRef"]["key"] == "api-token"


def rights(objects: list[Json], kind: str) -> set[tuple[str, str, str]]:
    """What a role allows, as (group, resource, verb)."""
    return {
        (group, resource, verb)
        for rule in of(objects, kind)["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def test_who_binds_nothing_may_write_nothing_outside_its_namespace(tmp_path: Path) -> None:
    for way in ("shadow", "off"):
        given = rights(render(tmp_path, WAYS[way]), "ClusterRole")
        assert {verb for _, _, verb in given} == {"list", "watch"}, way
    assert {resource for _, resource, _ in given} == {"nodes", "pods"}


@pytest.mark.parametrize("way", WAYS)
def test_no_role_holds_a_wildcard_or_reads_secrets(way: str, tmp_path: Path) -> None:
    objects = render(tmp_path, WAYS[way])
    if "agent" in "".join(kinds(objects)):
        for kind in ("ClusterRole", "Role"):
            for group, resource, verb in rights(objects, kind):
                assert "*" not in (group, resource, verb)
                assert resource not in ("secrets", "configmaps", "serviceaccounts", "pods/exec")


def test_a_role_has_a_lease_only_where_somebody_stands_for_election(tmp_path: Path) -> None:
    group = "coordination.k8s.io"
    for way, there in (("sqlite", True), ("alone", False), ("off", False)):
        found = any(given[0] == group for given in rights(render(tmp_path, WAYS[way]), "Role"))
        assert found == there, way


def ports(rules: list[Json]) -> list[int]:
    return [port["port"] for rule in rules for port in rule["ports"] if port["port"] != 53]


def test_the_network_policy_opens_the_ports_of_the_addresses_that_are_used(tmp_path: Path) -> None:
    objects = render(tmp_path, WAYS["agent-only"])
    policy = of(objects, "NetworkPolicy")["spec"]
    assert ports(policy["egress"]) == [443, 6443, 443, 8443]
    assert ports(policy["ingress"]) == [8001]
    objects = render(tmp_path, WAYS["everything"])
    controller = of(objects, "NetworkPolicy", "cerebrum-controller")["spec"]
    assert ports(controller["egress"]) == [5432, 5671, 5672, 8001]
    assert {"namespaceSelector": {}} in controller["ingress"][0]["from"]
    api = of(objects, "NetworkPolicy", "cerebrum-agent")["spec"]["egress"][1]
    assert api["to"] == [{"ipBlock": {"cidr": "10.0.0.1/32"}}]
    assert not any("NetworkPolicy" in kind for kind in kinds(render(tmp_path, WAYS["open"])))


def test_a_pod_template_reaches_the_agent_as_it_was_given(tmp_path: Path) -> None:
    from cerebrum.executors.kubernetes.runs import read_template

    objects = render(tmp_path, WAYS["everything"])
    (name, text), = of(objects, "ConfigMap")["data"].items()  # fmt: skip
    (tmp_path / name).write_text(text)
    assert read_template(tmp_path / name).metadata["labels"] == {"team": "batch"}
    path = Path(variables(objects, "agent")["CEREBRUM_POD_TEMPLATE"])
    mounts = {m["mountPath"]: m["name"] for m in container(objects, "agent")["volumeMounts"]}
    assert path.name == name
    assert mounts[str(path.parent)] == "pod-template"


REFUSED: list[tuple[Mapping[str, Any], str]] = [
    (values(agent={"replicas": 2}), "additional properties 'replicas' not allowed"),
    (values(agents={}), "additional properties 'agents' not allowed"),
    (values(agent={"mode": "bound"}), "one of 'bind', 'shadow', 'off'"),
    (values(agent={"placement": "near"}), "/agent/placement"),
    (values(agent={"schedulerName": "Cerebrum"}), "/agent/schedulerName"),
    (values(agent={"gccUrl": "gcc.example"}), "/agent/gccUrl"),
    (values(controller={"replicas": 0}), "/controller/replicas"),
    (values(controller={"replicas": 1.5}), "/controller/replicas"),
    (values(controller={"port": 80}), "/controller/port"),
    (values(controller={"logLevel": "loud"}), "/controller/logLevel"),
    (values(controller={"env": {"a b": "c"}}), "/controller/env"),
    (values(controller={"database": {"sqlite": {"size": "lots"}}}), "sqlite/size"),
    (values(controller={"tokensSecret": ""}), "controller.tokensSecret: expected the name"),
    (values(agent={"clusterId": ""}), "agent.clusterId: expected this cluster's name"),
    (values(agent={"tokenSecret": ""}), "agent.tokenSecret: expected the name of a Secret"),
    (values(agent={"env": {"CEREBRUM_MODE": "off"}}), "agent.env: CEREBRUM_MODE is set by"),
]


@pytest.mark.parametrize(("given", "message"), REFUSED, ids=[case[1] for case in REFUSED])
def test_wrong_values_are_refused_by_name(
    given: Mapping[str, Any], message: str, tmp_path: Path
) -> None:
    done = template(tmp_path, given)
    assert done.returncode != 0, json.dumps(given)
    assert message in done.stderr
