"""Affinity, spread and host ports of a pod, read as the API server checks them."""

from __future__ import annotations

from typing import Any

import pytest

from cerebrum.kube.fields import Fields
from cerebrum.kube.peers import read_labels, read_peers
from cerebrum.model.constraints import Requirement
from cerebrum.model.errors import InputError
from cerebrum.model.peers import HostPort, PeerRules, TaskLabels

REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"
LABELS = {"app": "web", "pod-template-hash": "h1"}


def rules(**spec: Any) -> PeerRules:
    return read_peers(Fields.of({"labels": LABELS}), Fields.of(spec), "shop")


def near(**term: Any) -> PeerRules:
    term.setdefault("topologyKey", "zone")
    return rules(affinity={"podAffinity": {REQUIRED: [term]}})


def spread(**constraint: Any) -> PeerRules:
    base = {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}
    return rules(topologySpreadConstraints=[base | constraint])


def labels(namespace: str = "shop", around: tuple[Any, ...] = (), **pairs: str) -> TaskLabels:
    return TaskLabels(namespace, tuple(sorted(pairs.items())), around)


def test_an_absent_selector_is_nobody_and_an_empty_one_everybody():
    assert near().near[0].selector.nothing
    everybody = near(labelSelector={}).near[0].selector
    assert everybody.matches(labels(app="anything"))
    assert everybody.matches(labels())
    assert not near().near[0].selector.matches(labels(app="web"))


def test_labels_and_expressions_must_all_hold():
    expressions = [{"key": "tier", "operator": "NotIn", "values": ["test"]}]
    selector = {"matchLabels": {"app": "web"}, "matchExpressions": expressions}
    found = near(labelSelector=selector).near[0].selector
    assert found.matches(labels(app="web"))
    assert not found.matches(labels(app="web", tier="test"))
    assert not found.matches(labels(tier="live"))


def test_namespaces_are_the_own_one_the_named_and_the_selected():
    own = near(labelSelector={}).near[0].selector
    assert own.matches(labels("shop"))
    assert not own.matches(labels("bank"))
    named = near(labelSelector={}, namespaces=["bank"]).near[0].selector
    assert named.matches(labels("bank"))
    assert not named.matches(labels("shop"))
    every = near(labelSelector={}, namespaceSelector={}).near[0].selector
    assert every.matches(labels("bank"))
    assert every.matches(labels("shop"))
    some = near(
        labelSelector={}, namespaces=["bank"], namespaceSelector={"matchLabels": {"a": "1"}}
    )
    selector = some.near[0].selector
    assert selector.matches(labels("bank"))
    assert selector.matches(labels("x", (("a", "1"),)))
    assert not selector.matches(labels("shop"))


def test_label_keys_take_over_the_pods_own_values():
    found = near(
        labelSelector={"matchLabels": {"app": "web"}},
        matchLabelKeys=["pod-template-hash", "absent"],
        mismatchLabelKeys=["app"],
    )
    assert found.near[0].selector.requirements == (
        Requirement("app", "In", ("web",)),
        Requirement("pod-template-hash", "In", ("h1",)),
        Requirement("app", "NotIn", ("web",)),
    )
    done = {"matchExpressions": [{"key": "app", "operator": "In", "values": ["web"]}]}
    merged = spread(labelSelector=done, matchLabelKeys=["app"]).spread[0].selector
    assert len(merged.requirements) == 1, "the API server has merged it already"


def test_wishes_have_weights_and_anti_affinity_is_apart():
    term = {"labelSelector": {}, "topologyKey": "host"}
    found = rules(
        affinity={
            "podAntiAffinity": {
                REQUIRED: [term],
                PREFERRED: [{"weight": 7, "podAffinityTerm": term}],
            },
            "podAffinity": {PREFERRED: [{"weight": 100, "podAffinityTerm": term}]},
        }
    )
    assert (len(found.near), len(found.apart)) == (0, 1)
    assert found.prefer_apart[0] == (7, found.apart[0])
    assert found.prefer_near[0][0] == 100


def test_spread_is_a_rule_or_a_wish_with_its_policies():
    hard = spread(minDomains=3, nodeAffinityPolicy="Ignore", nodeTaintsPolicy="Honor").spread[0]
    assert (hard.max_skew, hard.min_domains) == (1, 3)
    assert (hard.honor_affinity, hard.honor_taints) == (False, True)
    assert hard.selector.nothing
    soft = spread(whenUnsatisfiable="ScheduleAnyway", labelSelector={}, maxSkew=5)
    assert not soft.spread
    assert soft.prefer_spread[0].max_skew == 5
    assert soft.prefer_spread[0].honor_affinity
    assert not soft.prefer_spread[0].honor_taints
    assert soft.prefer_spread[0].selector.namespaces == ("shop",)


def test_ports_are_those_of_containers_and_sidecars():
    port = {"containerPort": 80, "hostPort": 8080}
    udp = {"containerPort": 53, "hostPort": 53, "protocol": "UDP", "hostIP": "10.0.0.1"}
    found = rules(
        containers=[{"ports": [port, {"containerPort": 1}]}, {"ports": [port]}],
        initContainers=[
            {"ports": [{"containerPort": 9, "hostPort": 9}]},
            {"restartPolicy": "Always", "ports": [udp]},
        ],
    )
    assert found.ports == (HostPort(53, "UDP", "10.0.0.1"), HostPort(8080))


def test_on_the_hosts_network_every_port_is_the_nodes():
    assert rules(hostNetwork=True, containers=[{"ports": [{"containerPort": 80}]}]).ports == (
        HostPort(80),
    )


def test_a_pod_without_rules_has_none_of_its_own():
    assert rules(containers=[{"name": "main"}]) == PeerRules()
    found = read_labels(Fields.of({"labels": {"b": "2", "a": "1"}}), "ns", (("team", "x"),))
    assert found == TaskLabels("ns", (("a", "1"), ("b", "2")), (("team", "x"),))


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (
            {"affinity": {"podAffinity": {REQUIRED: [{"labelSelector": {}}]}}},
            r"podAffinity\.requiredDuring.*\[0\]\.topologyKey: expected text, found nothing",
        ),
        (
            {"affinity": {"podAffinity": {PREFERRED: [{"podAffinityTerm": {"topologyKey": "z"}}]}}},
            r"weight: expected a whole number 1\.\.100, found nothing",
        ),
        (
            {
                "affinity": {
                    "podAffinity": {REQUIRED: [{"topologyKey": "z", "matchLabelKeys": ["a"]}]}
                }
            },
            "labelSelector: expected a selector beside the keys",
        ),
        (
            {
                "topologySpreadConstraints": [
                    {"maxSkew": 1, "topologyKey": "z", "whenUnsatisfiable": "DoNotSchedul"}
                ]
            },
            "whenUnsatisfiable: expected DoNotSchedule or .*did you mean 'DoNotSchedule'",
        ),
        (
            {
                "topologySpreadConstraints": [
                    {"maxSkew": 0, "topologyKey": "z", "whenUnsatisfiable": "DoNotSchedule"}
                ]
            },
            "maxSkew",
        ),
        (
            {
                "topologySpreadConstraints": [
                    {
                        "maxSkew": 1,
                        "topologyKey": "z",
                        "whenUnsatisfiable": "ScheduleAnyway",
                        "minDomains": 2,
                    }
                ]
            },
            "minDomains: expected none with ScheduleAnyway",
        ),
        (
            {
                "topologySpreadConstraints": [
                    {"maxSkew": k, "topologyKey": "z", "whenUnsatisfiable": "DoNotSchedule"}
                    for k in (1, 2)
                ]
            },
            "'z' is there twice with DoNotSchedule",
        ),
        (
            {"containers": [{"ports": [{"hostPort": 70000}]}]},
            r"containers\[0\]\.ports\[0\]\.hostPort: expected a whole number 0\.\.65535",
        ),
        (
            {"containers": [{"ports": [{"hostPort": 7, "protocol": "tcp"}]}]},
            "protocol: expected one of TCP",
        ),
        (
            {
                "hostNetwork": True,
                "containers": [{"ports": [{"hostPort": 7, "containerPort": 8}]}],
            },
            "hostPort: expected 8, the containerPort, got 7",
        ),
    ],
)
def test_what_the_api_server_refuses_is_refused(spec: dict[str, Any], message: str):
    with pytest.raises(InputError, match=message):
        rules(**spec)


def test_a_selector_of_pods_compares_no_numbers():
    expressions = [{"key": "a", "operator": "Gt", "values": ["1"]}]
    with pytest.raises(InputError, match=r"matchExpressions\[0\]\.operator: expected one of In"):
        near(labelSelector={"matchExpressions": expressions})
