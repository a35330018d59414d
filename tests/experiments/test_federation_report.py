"""The page of a federation: complete in itself, honest about what did not end, safe."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cerebrum.experiments.federation_report import WorkflowRecord, render, write_federation_report


def task(name: str, start: float | None, end: float | None, node: str = "n0", **more):
    return {
        "uid": f"w/{name}", "name": name, "state": "succeeded", "cluster": "east", "node": node,
        "started_unix_s": start, "ended_unix_s": end, "attempt": 1, "reason": "", "why": "",
        "energy_j": 0.0, **more,
    }  # fmt: skip


def workflow(*tasks, state="succeeded", bounds=None):
    record = {"name": "w", "state": state, "tasks": len(tasks), "decomposition": "cerebrum",
              "assignment": "cerebrum"}  # fmt: skip
    return WorkflowRecord(record, tasks, bounds or {})


CLUSTERS = [{"id": "east", "nodes": 2}]


def bars(page: str) -> list[tuple[float, float, float]]:
    """x, y and width of each bar."""
    found = re.findall(r'<rect class="f[^"]*" x="([\d.]+)" y="([\d.]+)" width="([\d.]+)"', page)
    return [(float(x), float(y), float(width)) for x, y, width in found]


def test_tasks_that_overlap_on_a_node_get_lanes_and_others_share_one():
    page = render(
        [workflow(task("a", 10, 20), task("b", 15, 25), task("c", 20, 30))], CLUSTERS, "t"
    )
    (ax, ay, aw), (_, by, _), (cx, cy, _) = bars(page)
    assert ay != by
    assert cy == ay
    assert cx == pytest.approx(ax + aw, abs=0.02)


def test_makespan_is_held_against_its_bounds():
    flow = workflow(task("a", 10, 20), task("b", 20, 32), bounds={"critical path": 20.0})
    assert flow.makespan_s == 22.0
    assert "critical path 20.00 s (1.10 x)" in render([flow], CLUSTERS, "t")


def test_a_workflow_that_has_not_ended_has_no_makespan():
    flow = workflow(task("a", 10, 20), task("b", None, None, state="pending", node=""),
                    state="running", bounds={"critical path": 20.0})  # fmt: skip
    page = render([flow], CLUSTERS, "t")
    assert flow.makespan_s is None
    assert not re.search(r"\(\d+\.\d+ x\)", page)
    assert len(bars(page)) == 1


def test_names_from_outside_cannot_become_markup():
    evil = "<script>alert(1)</script>"
    page = render([workflow(task(evil, 1, 2, why=evil))], CLUSTERS, evil)
    assert "<script" not in page
    assert "&lt;script&gt;" in page


def test_the_page_asks_nobody_for_anything(tmp_path: Path):
    path = tmp_path / "page.html"
    write_federation_report([workflow(task("a", 1, 2))], CLUSTERS, path, "t")
    page = path.read_text("utf-8")
    assert "default-src 'none'" in page
    assert not re.search(r"(src|href)\s*=|url\(|https?://", page)
    assert " style=" not in page  # the policy would refuse it
