"""The page: one file, nothing loaded, no name of a run can become markup, everything has a unit."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest

import cerebrum
from cerebrum.experiments.report import render, write_report
from cerebrum.experiments.run import Run
from cerebrum.model.errors import ConfigError
from tests.engine.stories import node, scenario, task

ATTACK = "</script><img src=x onerror=alert(1)>\u2028'\"`&amp;"


@pytest.fixture(scope="module")
def gpu_runs() -> list[Run]:
    return [cerebrum.simulate("openb-like:nodes=30", p, seed=2) for p in ("fgd", "random")]


def data_of(page: str) -> dict:
    return json.loads(page.split('<script type="application/json" id="data">')[1].split("<")[0])


class Elements(HTMLParser):
    def __init__(self, page: str):
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))


def test_nothing_is_loaded_and_the_policy_names_our_blocks_only(gpu_runs: list[Run]) -> None:
    page = render(gpu_runs)
    elements = Elements(page).found
    assert not [tag for tag, a in elements if a.keys() & {"src", "href", "srcset", "style"}]
    assert not [a for _, a in elements if any(name.startswith("on") for name in a)]
    (policy,) = [a["content"] for _, a in elements if "http-equiv" in a]
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    assert "http" not in policy
    for tag in ("style", "script"):
        (block,) = re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.S)
        digest = base64.b64encode(hashlib.sha256(block.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy


def test_names_cannot_become_markup(tmp_path: Path) -> None:
    story = scenario([node(f"node{ATTACK}", 4)], [task(f"task{ATTACK}", 2, runs=4)], name=ATTACK)
    run = cerebrum.simulate(story, "first-fit")
    page = render([run])
    assert ATTACK not in page
    assert "<img" not in page
    assert "\u2028" not in page.split('id="data">')[1].split("</script>")[0]
    assert [tag for tag, _ in Elements(page).found if tag == "script"] == ["script", "script"]
    data = data_of(page)
    assert data["runs"][0]["decisions"][0]["task"] == f"task{ATTACK}"
    assert data["runs"][0]["gantt"]["nodes"] == [f"node{ATTACK}"]


def test_what_the_page_holds_is_bounded_and_says_so(gpu_runs: list[Run]) -> None:
    (run, other) = data_of(render(gpu_runs))["runs"]
    assert run["label"] == "fgd"
    assert other["label"] == "random"
    assert len(run["x"]) <= 1800
    assert len(run["decisions"]) <= 40
    assert run["heat"]["note"] == "30 nodes, one line each."
    assert "20 of 30 nodes" in run["gantt"]["note"]
    assert "are kept on this page" in run["explorer_note"]
    large = cerebrum.simulate("openb-like:nodes=400", "fgd", seed=1)
    heat = data_of(render([large]))["runs"][0]["heat"]
    assert len(heat["values"]) <= 210
    assert heat["note"] == "400 nodes; each line is the mean of 2 neighbours."


def test_curves_end_where_the_summary_does(gpu_runs: list[Run]) -> None:
    run = gpu_runs[0]
    data = data_of(render([run]))
    assert data["x_label"] == "GPUs asked for so far, % of capacity"
    found = data["runs"][0]
    assert found["gpu"][-1] == pytest.approx(run.summary["gpu_allocation_pct_end"], abs=1e-3)
    assert found["fragmentation"][-1] == pytest.approx(
        run.summary["fragmentation_pct_end"], abs=1e-3
    )
    assert found["queue"][-1] == run.summary["pending"]
    assert found["x"] == sorted(found["x"])


def test_waits_and_bars_of_a_small_story() -> None:
    tasks = [task("a", 2, runs=10), task("b", 2, at=4, runs=5), task("c", 2, at=5)]
    data = data_of(render([cerebrum.simulate(scenario([node("n", 2)], tasks), "first-fit")]))
    run = data["runs"][0]
    assert data["x_label"] == "time since start"
    assert run["wait"]["x"] == [0, 6, 10]
    assert run["wait"]["y"] == pytest.approx([100 / 3, 200 / 3, 100], abs=1e-3)
    assert run["wait"]["note"] == "2 of 3 started tasks waited."
    assert [bar[2:4] + bar[5:] for bar in run["gantt"]["bars"]] == [
        [0, 10, "a"], [10, 15, "b"], [15, 15, "c"],
    ]  # fmt: skip
    assert run["waiting"] == {"Insufficient cpu": 2}


@pytest.mark.parametrize("tasks", [[], [task("large", 64)], [task("one", 1)]])
def test_a_page_of_almost_nothing_is_a_page(tasks: list) -> None:
    page = render([cerebrum.simulate(scenario([node("n", 2)], tasks), "first-fit")])
    assert "NaN" not in page.split('id="data">')[1].split("</script>")[0]


def test_a_report_has_at_least_one_run_and_not_too_many(gpu_runs: list[Run]) -> None:
    for count in (0, 17):
        with pytest.raises(ConfigError, match="1 to 16"):
            render([gpu_runs[0]] * count)


@pytest.mark.slow
def test_a_browser_draws_it_and_reports_no_error(
    gpu_runs: list[Run], tmp_path: Path, look: Callable[[str], str]
) -> None:
    page = tmp_path / "report.html"
    write_report(gpu_runs, page)
    seen = look(page.as_uri())
    assert seen.count('<path class="series') >= 6
    assert seen.count("<canvas") >= 2
    assert 'class="winner"' in seen
