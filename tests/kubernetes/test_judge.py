"""The judge itself, on logs that are written by hand: it must see what it is there to see."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.kubernetes.judge import entries, judged, quantity
from tests.kubernetes.objects import node, pod


class Log:
    """Audit entries, a second apart."""

    def __init__(self) -> None:
        self.entries: list[dict[str, Any]] = []

    def add(self, verb: str, resource: str, name: str, sub: str = "", **more: Any) -> None:
        at = f"2026-01-01T00:00:{len(self.entries):02}.000000Z"
        about = {"resource": resource, "namespace": "default", "name": name, "subresource": sub}
        self.entries.append({
            "verb": verb, "objectRef": about, "responseStatus": {"code": 200},
            "requestReceivedTimestamp": at, "stageTimestamp": at, **more,
        })  # fmt: skip

    def node(self, name: str, cpu: str) -> None:
        self.add("create", "nodes", name, responseObject=node(name, cpu))

    def pod(self, name: str, cpu: str, **more: Any) -> dict[str, Any]:
        made = pod(name, cpu, scheduler_name="cerebrum", **more)
        made["metadata"] |= {"uid": f"uid-{name}", "namespace": "default"}
        made["status"] = {}
        self.add("create", "pods", name, responseObject=made)
        return made

    def bind(self, name: str, to: str, code: int = 201, gpu: str = "") -> None:
        notes = {"alibabacloud.com/gpu-index": gpu} if gpu else {}
        asked = {"metadata": {"uid": f"uid-{name}", "annotations": notes}, "target": {"name": to}}
        status = {"code": code}
        self.add("create", "pods", name, "binding", requestObject=asked, responseStatus=status)


@pytest.fixture
def log() -> Log:
    made = Log()
    made.node("n1", "2")
    return made


def faults(log: Log, *pods: dict[str, Any]) -> list[str]:
    return judged(log.entries, list(pods), "cerebrum").faults()


def test_a_node_that_is_too_full_is_seen_even_if_it_is_not_in_the_end(log: Log) -> None:
    for name in ("a", "b", "c"):
        log.pod(name, "1")
        log.bind(name, "n1")
    log.add("delete", "pods", "c", responseObject={"kind": "Pod", "metadata": {"name": "c"}})
    assert len(faults(log)) == 1
    assert "n1" in faults(log)[0]
    assert "cpu 3" in faults(log)[0]


def test_room_that_was_given_back_may_be_used(log: Log) -> None:
    log.pod("a", "2")
    log.bind("a", "n1")
    log.add("delete", "pods", "a", responseObject={"kind": "Pod", "metadata": {"name": "a"}})
    log.pod("b", "2")
    log.bind("b", "n1")
    assert faults(log) == []


def test_a_pod_whose_deletion_was_asked_for_while_it_was_bound_does_not_stay(log: Log) -> None:
    for name in ("a", "b"):
        log.pod(name, "2")
    log.add("delete", "pods", "a", responseObject={"kind": "Pod", "metadata": {"name": "a"}})
    log.bind("a", "n1")
    log.bind("b", "n1")
    assert faults(log) == []


def test_a_deletion_whose_client_died_counts_if_the_pod_is_gone_by_it_alone(log: Log) -> None:
    made = log.pod("a", "2")
    log.bind("a", "n1")
    log.add("delete", "pods", "a", responseStatus={"code": 504})
    log.pod("b", "2")
    log.bind("b", "n1")
    assert faults(log) == []
    still = {**made, "spec": {**made["spec"], "nodeName": "n1"}}
    assert "cpu 4" in faults(log, still)[0]
    # Somebody deleted it later, so it was still there until then.
    log.add("delete", "pods", "a", responseObject={"kind": "Pod", "metadata": {"name": "a"}})
    assert "cpu 4" in faults(log)[0]


def test_two_binds_of_one_pod_are_seen_and_one_that_was_refused_is_not_one(log: Log) -> None:
    log.pod("a", "1")
    log.bind("a", "n1")
    log.bind("a", "n2", code=409)
    assert faults(log) == []
    log.bind("a", "n2")
    assert [fault[:11] for fault in faults(log)] == ["bound twice"]


def test_a_pod_that_waits_without_a_word_is_forgotten(log: Log) -> None:
    waits = log.pod("a", "1")
    assert faults(log, waits) == ["forgotten: default/a"]
    told = {"type": "PodScheduled", "status": "False", "message": "0/1 nodes are available"}
    waits["status"]["conditions"] = [told]
    assert faults(log, waits) == []


def test_shares_of_one_gpu_and_host_ports_are_counted(log: Log) -> None:
    share = {"alibabacloud.com/gpu-count": "1", "alibabacloud.com/gpu-milli": "600"}
    for name in ("a", "b"):
        log.pod(name, "1m", annotations=share)
        log.bind(name, "n1", gpu="0")
    assert "GPU 0 1200 thousandths" in faults(log)[0]


def test_half_a_line_of_a_killed_server_costs_only_itself(tmp_path: Path) -> None:
    whole = b'{"kind":"Event","stage":"ResponseComplete","objectRef":{"resource":"pods"}}'
    path = tmp_path / "audit.log"
    path.write_bytes(whole + b"\n" + whole[:40] + whole + b"\n" + whole[:30])
    assert len(list(entries(path))) == 2


@pytest.mark.parametrize(
    ("text", "is_"), [("500m", "0.5"), ("2", "2"), ("1Ki", "1024"), ("3E", str(3 * 10**18))]
)
def test_quantities(text: str, is_: str) -> None:
    assert str(quantity(text).normalize()) == str(quantity(is_).normalize())
