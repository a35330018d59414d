"""What volumes demand of a node, by the rules of kube-scheduler's volume plugins."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from cerebrum.kube.constraints import narrowed
from cerebrum.kube.objects import (
    ClaimSource,
    CSINode,
    PersistentVolume,
    PersistentVolumeClaim,
    StorageClass,
    Volume,
    convert,
)
from cerebrum.kube.volumes import (
    NO_DEMANDS,
    Storage,
    VolumeDemands,
    choose_volumes,
    volume_demands,
)
from cerebrum.model.constraints import Constraints, Requirement, Term
from cerebrum.model.errors import InputError

ZONE, BETA = "topology.kubernetes.io/zone", "failure-domain.beta.kubernetes.io/zone"
MOUNT = [Volume("v", ClaimSource("data"))]


def affinity(key: str, *values: str) -> dict[str, Any]:
    part = {"key": key, "operator": "In", "values": list(values)}
    return {"required": {"nodeSelectorTerms": [{"matchExpressions": [part]}]}}


class Cluster:
    """Storage objects, put in one by one."""

    def __init__(self) -> None:
        self.storage = Storage()

    def claim(self, name: str = "data", **spec: Any) -> Cluster:
        metadata = {"name": name, "namespace": "ns", "uid": f"uid-{name}"}
        metadata |= spec.pop("metadata", {})
        status = spec.pop("status", {})
        data = {"metadata": metadata, "spec": spec, "status": status}
        self.storage.claims[f"ns/{name}"] = convert(data, PersistentVolumeClaim)
        return self

    def bound(self, name: str = "data", volume: str = "pv", **spec: Any) -> Cluster:
        done = {"annotations": {"pv.kubernetes.io/bind-completed": "yes"}}
        return self.claim(name, volumeName=volume, metadata=done, **spec)

    def volume(self, name: str = "pv", **spec: Any) -> Cluster:
        metadata = {"name": name, "labels": spec.pop("labels", {})}
        status = {"phase": spec.pop("phase", "Available")}
        data = {"metadata": metadata, "spec": spec, "status": status}
        self.storage.volumes[name] = convert(data, PersistentVolume)
        return self

    def kind(self, name: str = "fast", **fields: Any) -> Cluster:
        fields = {"provisioner": "ebs", "volumeBindingMode": "WaitForFirstConsumer"} | fields
        data = {"metadata": {"name": name}, **fields}
        self.storage.classes[name] = convert(data, StorageClass)
        return self

    def node(self, name: str, driver: str, count: int | None) -> Cluster:
        allocatable = {} if count is None else {"allocatable": {"count": count}}
        data = {"metadata": {"name": name}, "spec": {"drivers": [{"name": driver, **allocatable}]}}
        self.storage.csi_nodes[name] = convert(data, CSINode)
        return self

    def demands(self, volumes: list[Volume] = MOUNT) -> VolumeDemands:
        return volume_demands("pod", "uid-pod", "ns", volumes, self.storage)


def admits(demands: VolumeDemands, own: Constraints | None = None, **labels: str) -> bool:
    named = {key.replace("_", "/"): value for key, value in labels.items()}
    constraints = replace(own or Constraints(), volumes=demands.terms)
    return constraints.selects("n0", named) and constraints.reaches("n0", named)


def test_volumes_that_are_no_claims_demand_nothing():
    assert Cluster().demands([Volume("tmp")]) is NO_DEMANDS


def test_a_bound_claim_holds_the_pod_where_its_volume_is():
    demands = Cluster().bound().volume(nodeAffinity=affinity("rack", "a", "b")).demands()
    assert admits(demands, rack="b")
    assert not admits(demands, rack="c")
    assert not admits(demands)
    assert Cluster().bound().volume().demands() is NO_DEMANDS


def test_the_pods_own_terms_hold_too():
    demands = Cluster().bound().volume(nodeAffinity=affinity("rack", "a", "b")).demands()
    own = Constraints(
        required=(Term((Requirement("disk", "Exists"),)), Term((Requirement("gpu", "Exists"),)))
    )
    assert len(narrowed(own, demands.terms).required) == 2  # as it is written
    assert admits(demands, own, rack="a", gpu="yes")
    assert not admits(demands, own, rack="a")
    assert not admits(demands, own, gpu="yes")


def test_a_pod_that_shuns_where_its_volume_is_goes_nowhere():
    demands = Cluster().bound().volume(nodeAffinity=affinity("rack", "a")).demands()
    own = Constraints(required=(Term((Requirement("rack", "DoesNotExist"),)),))
    assert not admits(demands, own, rack="a")
    assert not admits(demands, own)


def test_zone_labels_of_old_volumes_hold_only_among_labelled_nodes():
    cluster = Cluster().bound().volume(labels={BETA: "a__b"})
    constraints = narrowed(Constraints(), cluster.demands().terms)
    for labels, good in (
        ({BETA: "a"}, True),
        ({ZONE: "b"}, True),
        ({BETA: "c"}, False),
        ({BETA: "c", ZONE: "a"}, False),
        ({"topology.kubernetes.io/region": "x"}, False),
        ({}, True),
    ):
        assert constraints.selects("n", labels) is good, labels


@pytest.mark.parametrize(
    ("cluster", "problem"),
    [
        (Cluster(), 'persistentvolumeclaim "data" not found'),
        (
            Cluster().claim(status={"phase": "Lost"}, volumeName="pv"),
            'persistentvolumeclaim "data" bound to non-existent persistentvolume "pv"',
        ),
        (
            Cluster().claim(metadata={"deletionTimestamp": "2026-01-01T00:00:00Z"}),
            'persistentvolumeclaim "data" is being deleted',
        ),
        (Cluster().bound(), 'persistentvolume "pv" not found'),
        (
            Cluster().claim(storageClassName="now").kind("now", volumeBindingMode="Immediate"),
            "pod has unbound immediate PersistentVolumeClaims",
        ),
        (
            Cluster().claim(storageClassName="fast", volumeName="pv").kind().volume(),
            "pod has unbound immediate PersistentVolumeClaims",
        ),
        (
            Cluster()
            .bound()
            .volume(
                nodeAffinity={
                    "required": {"nodeSelectorTerms": [{"matchExpressions": [{"key": "a"}]}]}
                }
            ),
            'persistentvolumeclaim "data": nodeSelectorTerms[0].matchExpressions[0].operator: '
            "expected text, found nothing",
        ),
    ],
)
def test_what_keeps_a_pod_waiting_is_said_in_kube_schedulers_words(cluster: Cluster, problem: str):
    assert cluster.demands().problems == (problem,)


def test_a_claim_the_pod_makes_itself_is_called_after_it():
    own = [Volume("scratch", ephemeral={})]
    waiting = "waiting for ephemeral volume controller to create the persistentvolumeclaim"
    assert Cluster().demands(own).problems == (f'{waiting} "pod-scratch"',)
    stranger = Cluster().bound("pod-scratch").volume()
    assert stranger.demands(own).problems == (
        'persistentvolumeclaim "pod-scratch" was not created for the pod',
    )
    owner = {"kind": "Pod", "name": "pod", "uid": "uid-pod", "controller": True}
    mine = Cluster().claim(
        "pod-scratch",
        volumeName="pv",
        metadata={
            "ownerReferences": [owner],
            "annotations": {"pv.kubernetes.io/bind-completed": "yes"},
        },
    )
    assert mine.volume().demands(own) is NO_DEMANDS


def test_a_waiting_claim_goes_where_its_class_makes_volumes():
    part = {"matchLabelExpressions": [{"key": ZONE, "values": ["a"]}]}
    cluster = Cluster().claim(storageClassName="fast").kind(allowedTopologies=[part])
    demands = cluster.demands()
    assert demands.to_provision == ("ns/data",)
    constraints = narrowed(Constraints(), demands.terms)
    assert constraints.selects("n", {ZONE: "a"})
    assert not constraints.selects("n", {ZONE: "b"})
    assert Cluster().claim(storageClassName="fast").kind().demands().terms == ()


def local(**kind: Any) -> Cluster:
    """A claim of 5 Gi for volumes of fixed places."""
    wanted: dict[str, Any] = {"storageClassName": "fast", "accessModes": ["ReadWriteOnce"]}
    wanted["resources"] = {"requests": {"storage": "5Gi"}}
    kind = {"provisioner": "kubernetes.io/no-provisioner"} | kind
    return Cluster().claim(**wanted).kind(**kind)


def disk(rack: str, size: str = "10Gi", **spec: Any) -> dict[str, Any]:
    return {
        "capacity": {"storage": size},
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": "fast",
        "nodeAffinity": affinity("rack", rack),
    } | spec


def test_a_waiting_claim_goes_where_a_free_volume_would_do():
    cluster = local().volume("big", **disk("a", "20Gi")).volume("fit", **disk("b", "5Gi"))
    cluster.volume("small", **disk("c", "4Gi")).volume("taken", **disk("d"), phase="Bound")
    cluster.volume("other", **disk("e", storageClassName="slow"))
    cluster.volume("shared", **disk("f", accessModes=["ReadOnlyMany"]))
    cluster.volume("block", **disk("g", volumeMode="Block"))
    demands = cluster.demands()
    assert [rack for rack in "abcdefg" if admits(demands, rack=rack)] == ["a", "b"]
    assert [volume.metadata.name for volume in demands.to_bind[0][1]] == ["fit", "big"]
    assert demands.to_provision == ()
    assert choose_volumes(demands, "n", {"rack": "a"}) == {"ns/data": "big"}
    assert choose_volumes(demands, "n", {"rack": "c"}) is None


def test_a_volume_kept_for_the_claim_goes_first_and_nothing_free_is_nowhere():
    kept = {"namespace": "ns", "name": "data"}
    cluster = local().volume("free", **disk("a")).volume("kept", **disk("b", claimRef=kept))
    assert not admits(cluster.demands(), rack="a")
    assert admits(cluster.demands(), rack="b")
    other = local().volume("kept", **disk("b", claimRef={"namespace": "ns", "name": "other"}))
    assert not admits(other.demands(), rack="b")


def test_two_claims_do_not_get_one_volume():
    cluster = local().volume("one", **disk("a"))
    cluster.storage.claims["ns/more"] = cluster.storage.claims["ns/data"]
    both = cluster.demands([*MOUNT, Volume("w", ClaimSource("more"))])
    assert choose_volumes(both, "n", {"rack": "a"}) is None


def test_where_volumes_can_be_made_a_free_one_is_only_one_way():
    demands = local(provisioner="ebs").volume("one", **disk("a")).demands()
    assert demands.terms == ()
    assert demands.to_provision == ("ns/data",)
    assert choose_volumes(demands, "n", {"rack": "b"}) == {}


def test_a_claim_promised_to_a_node_stays_there():
    note = {"annotations": {"volume.kubernetes.io/selected-node": "n0"}}
    demands = Cluster().claim(storageClassName="fast", metadata=note).kind().demands()
    constraints = narrowed(Constraints(), demands.terms)
    assert constraints.selects("n0", {})
    assert not constraints.selects("n1", {})


def test_a_claim_for_one_pod_is_exclusive():
    cluster = Cluster().bound(accessModes=["ReadWriteOncePod"]).volume()
    assert cluster.demands().exclusive == ("ns/data",)


def test_volumes_count_towards_the_drivers_limit_where_there_is_one():
    csi = {"driver": "ebs"}
    cluster = Cluster().bound().volume(csi=csi).bound("more", "pv2").volume("pv2", csi=csi)
    volumes = [*MOUNT, Volume("w", ClaimSource("more")), Volume("again", ClaimSource("data"))]
    assert cluster.node("n", "ebs", None).demands(volumes).extended == ()
    limited = cluster.node("m", "ebs", 25).demands(volumes).extended
    assert limited == (("attachable-volumes-csi-ebs", 2),)


def test_too_many_combinations_of_terms_are_refused():
    one = tuple(Term((Requirement("a", "In", (str(i),)),)) for i in range(20))
    other = tuple(Term((Requirement("b", "In", (str(i),)),)) for i in range(20))
    with pytest.raises(InputError, match="at most 256 combinations"):
        narrowed(Constraints(), (one, other))
