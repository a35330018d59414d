"""Submissions: every format, every refusal, and what a refusal says."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from cerebrum.services.controller import ControllerSettings
from tests.services.api.worlds import HELLO, World, tell

PROTOTYPE = {
    "id": "video-1",
    "tasks": [
        {"id": "in-gest", "image": "nginx", "cpu_req": 100, "mem_req": 128},
        {"id": "detect", "image": "ubuntu", "cpu_req": 500, "mem_req": 512},
    ],
    "dependencies": {"detect": ["in-gest"]},
    "data_volumes": {"in-gest-detect": 256},
}
WFFORMAT = {
    "name": "wf",
    "schemaVersion": "1.5",
    "workflow": {
        "specification": {
            "tasks": [
                {"name": "a", "id": "a", "parents": [], "children": ["b"], "inputFiles": [],
                 "outputFiles": ["f"]},
                {"name": "b", "id": "b", "parents": ["a"], "children": [], "inputFiles": ["f"],
                 "outputFiles": []},
            ],
            "files": [{"id": "f", "sizeInBytes": 5_000_000}],
        },
        "execution": {
            "makespanInSeconds": 3, "executedAt": "2020-01-01T00:00:00Z",
            "tasks": [{"id": "a", "runtimeInSeconds": 1}, {"id": "b", "runtimeInSeconds": 2}],
        },
    },
}  # fmt: skip
DAX = """<?xml version="1.0"?><adag xmlns="http://pegasus.isi.edu/schema/DAX" name="dax">
<job id="ID1" name="first" runtime="1"/><job id="ID2" name="second" runtime="2"/>
<child ref="ID2"><parent ref="ID1"/></child></adag>"""
ARGO = """
apiVersion: argoproj.io/v1alpha1
kind: Workflow
metadata: {name: argo}
spec:
  entrypoint: main
  templates:
  - name: main
    dag:
      tasks:
      - {name: a, template: echo}
      - {name: b, template: echo, dependencies: [a]}
  - name: echo
    container: {image: alpine, command: [echo, hi]}
"""


@pytest.mark.parametrize(
    ("body", "kind", "edge"),
    [
        (json.dumps(HELLO), "application/json", ("a", "b")),
        (json.dumps(PROTOTYPE), "application/json", ("in-gest", "detect")),
        (json.dumps(WFFORMAT), "application/json", ("a", "b")),
        (DAX, "application/xml", ("ID1", "ID2")),
        (DAX, "application/octet-stream", ("ID1", "ID2")),
        (ARGO, "application/yaml", ("a", "b")),
    ],
    ids=["native", "prototype", "wfformat", "dax", "dax by content", "argo"],
)
def test_every_format_is_recognised(
    body: str, kind: str, edge: tuple[str, str], tmp_path: Path
) -> None:
    async def story(world: World) -> None:
        answer = await world.http.post(
            "/api/v1/workflows", content=body, headers={"content-type": kind}
        )
        assert answer.status_code == 202, answer.text
        assert answer.json()["tasks"] == 2
        spec = (await world.http.get(answer.headers["location"] + "/spec")).json()
        assert [(e["before"], e["after"]) for e in spec["dependencies"]] == [edge]

    tell(tmp_path, story)


def test_key_order_does_not_decide_the_format(tmp_path: Path) -> None:
    """`command` before `name`, and names that occur in other formats: still our own JSON."""
    spec = {
        "tasks": [{"command": ["schemaVersion"], "env": {"workflow": "specification"},
                   "name": "a"}],
        "dependencies": [], "name": "ours",
    }  # fmt: skip

    async def story(world: World) -> None:
        answer = await world.http.post("/api/v1/workflows", json=spec)
        assert answer.status_code == 202, answer.text
        assert answer.json()["name"] == "ours"

    tell(tmp_path, story)


def native(**changes: Any) -> str:
    return json.dumps(HELLO | changes)


def with_task(**changes: Any) -> str:
    return native(tasks=[{"name": "a", **changes}], dependencies=[])


CYCLE = [{"before": "a", "after": "b"}, {"before": "b", "after": "a"}]


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ("", 400, "EOF"),
        ("{", 400, "EOF"),
        ('{"a":' * 3000, 400, "recursion limit"),
        ("[" * 100_000, 400, "recursion limit"),
        (b"\xff\xfe", 400, "expected value"),
        ("[]", 422, "object"),
        ('{"name":"x","tasks":[{"name":"a","duration_s":NaN}]}', 422, "finite"),
        ('{"name":"x","tasks":[{"name":"a","duration_s":1e999}]}', 422, "finite"),
        (with_task(cpu_milli=-1), 422, "tasks.0.cpu_milli"),
        (with_task(cpu_milli=True), 422, "tasks.0.cpu_milli"),
        (with_task(cpu_milli="64"), 422, "tasks.0.cpu_milli"),
        (with_task(surprise=1), 422, "tasks.0.surprise"),
        (with_task(workdir="a\0b"), 400, "NUL"),
        (native(tasks=[]), 422, "tasks"),
        (native(tasks=[{"name": "a"}, {"name": "a"}]), 422, "'a'"),
        (native(dependencies=CYCLE), 422, "cycle"),
        (native(dependencies=[{"before": "a", "after": "c"}]), 422, "'c'"),
        (native(decomposition="cerebrun"), 422, "did you mean 'cerebrum'"),
        (native(kind="job"), 422, "dependencies"),
        (json.dumps(PROTOTYPE | {"dependencies": {"detect": ["nobody"]}}), 422, "nobody"),
    ],
)
def test_nonsense_is_refused_and_named(
    body: str | bytes, status: int, words: str, tmp_path: Path
) -> None:
    async def story(world: World) -> None:
        answer = await world.http.post(
            "/api/v1/workflows", content=body, headers={"content-type": "application/json"}
        )
        assert answer.status_code == status, answer.text
        assert answer.headers["content-type"] == "application/problem+json"
        problem = answer.json()
        assert problem["status"] == status
        assert words in problem["detail"]
        assert (await world.http.get("/api/v1/workflows")).json()["items"] == []

    tell(tmp_path, story)


def test_only_types_that_a_foreign_page_cannot_send(tmp_path: Path) -> None:
    """A form or text/plain needs no preflight: a page could submit commands to loopback."""

    async def story(world: World) -> None:
        for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""):
            answer = await world.http.post(
                "/api/v1/workflows", content=json.dumps(HELLO), headers={"content-type": kind}
            )
            assert answer.status_code == 415, kind
        for path in ("/submit_workflow", "/ingest", "/register_lca", "/api/v1/agents/poll"):
            answer = await world.http.post(
                path, content="{}", headers={"content-type": "text/plain"}
            )
            assert answer.status_code == 415, path

    tell(tmp_path, story)


def test_a_body_too_large_is_refused_before_it_is_read(tmp_path: Path) -> None:
    read = 0

    async def endless() -> Any:
        nonlocal read
        while True:
            read += 2**20
            yield b"x" * 2**20

    async def story(world: World) -> None:
        kind = {"content-type": "application/json"}
        said = await world.http.post(
            "/api/v1/workflows", content=b"{}", headers=kind | {"content-length": str(2**30)}
        )
        assert said.status_code == 413
        assert said.json()["title"] == "body too large"
        chunked = await world.http.post("/api/v1/workflows", content=endless(), headers=kind)
        assert chunked.status_code == 413
        assert read < 100 * 2**20

    tell(tmp_path, story)


def test_a_compressed_body_is_not_unpacked(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        body = gzip.compress(json.dumps(HELLO).encode())
        kind = {"content-type": "application/json", "content-encoding": "gzip"}
        answer = await world.http.post("/api/v1/workflows", content=body, headers=kind)
        assert answer.status_code == 400

    tell(tmp_path, story)


def test_the_same_key_means_the_same_submission(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        key = {"idempotency-key": "night-run-7"}
        first = await world.http.post("/api/v1/workflows", json=HELLO, headers=key)
        again = await world.http.post("/api/v1/workflows", json=HELLO, headers=key)
        assert again.status_code == 202
        assert again.json() == first.json()
        other = await world.http.post(
            "/api/v1/workflows", json=HELLO | {"name": "other"}, headers=key
        )
        assert other.status_code == 409
        assert "night-run-7" in other.json()["detail"]
        assert len((await world.http.get("/api/v1/workflows")).json()["items"]) == 1
        bad = await world.http.post(
            "/api/v1/workflows", json=HELLO, headers={"idempotency-key": "a b"}
        )
        assert bad.status_code == 422

    tell(tmp_path, story)


def test_too_much_at_once_says_when_to_come_back(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        assert (await world.http.post("/api/v1/workflows", json=HELLO)).status_code == 202
        answer = await world.http.post("/api/v1/workflows", json=HELLO)
        assert answer.status_code == 429
        assert int(answer.headers["retry-after"]) >= 1

    tell(tmp_path, story, settings=ControllerSettings(max_tasks=3, leader_ttl_s=60.0))


def test_a_job_is_a_batch(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        batch = {"name": "sweep", "tasks": [{"name": f"t{i}"} for i in range(5)]}
        answer = await world.http.post("/api/v1/jobs", json=batch)
        assert answer.status_code == 202
        await world.http.post("/api/v1/workflows", json=HELLO)
        jobs = (await world.http.get("/api/v1/jobs")).json()["items"]
        assert [job["name"] for job in jobs] == ["sweep"]
        assert (await world.http.post("/api/v1/jobs", json=HELLO)).status_code == 422

    tell(tmp_path, story)


def test_the_prototypes_routes_answer_as_they_did(tmp_path: Path, shared_data: Path) -> None:
    sample = (shared_data / "federation" / "sample_workflow.json").read_bytes()

    async def story(world: World) -> None:
        kind = {"content-type": "application/json"}
        answer = await world.http.post("/submit_workflow", content=sample, headers=kind)
        assert answer.status_code == 200
        assert answer.json()["status"] == "workflow accepted and being processed"
        shown = await world.http.get(f"/api/v1/workflows/{answer.json()['id']}")
        assert shown.json()["name"] == "video-analytics-1"

        node = {"name": "n1", "cpu_avail": 4000.0, "mem_avail": 8192, "labels": {},
                "predicted_cpu_avail": 3800.0}  # fmt: skip
        state = {"cluster_id": "edge", "nodes": [node]}
        registered = await world.http.post(
            "/register_lca", json={"cluster_id": "edge", "lca_url": "http://x:8001", "state": state}
        )
        assert registered.status_code == 200, registered.text
        (cluster,) = (await world.http.get("/api/v1/clusters")).json()["items"]
        assert (cluster["id"], cluster["cpu_milli"], cluster["memory_mib"]) == ("edge", 4000, 8192)

        job = {"ID": "job-1", "SubmitTime": "2020-01-01T00:00:00Z", "Duration": 90_000_000_000,
               "CPU": 1.5, "Memory": 2, "Tag": "batch", "Labels": {}}  # fmt: skip
        for path in ("/ingest", "/workload-ingest"):
            taken = await world.http.post(path, json=job)
            assert taken.status_code == 200, taken.text
            spec = await world.http.get(f"/api/v1/workflows/{taken.json()['id']}/spec")
            assert spec.json()["tasks"] == [
                {"name": "job-1", "cpu_milli": 1500, "memory_mib": 2048, "duration_s": 90.0}
            ]

    tell(tmp_path, story)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1])
def test_prototype_numbers_are_checked_too(value: float, tmp_path: Path) -> None:
    async def story(world: World) -> None:
        body = json.dumps({"ID": "a", "CPU": value})
        kind = {"content-type": "application/json"}
        answer = await world.http.post("/ingest", content=body, headers=kind)
        assert answer.status_code == 422

    tell(tmp_path, story)
