"""`up`, `submit` and what follows, as a person types them, on real processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cerebrum.cli.submit import wait_for
from cerebrum.model.errors import ConfigError
from cerebrum.services.local import LocalFederation, parse_clusters

Call = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def federation(tmp_path_factory) -> Iterator[LocalFederation]:
    state = tmp_path_factory.mktemp("up")
    with LocalFederation(state, parse_clusters("east:2,west:1@2")) as running:
        yield running


@pytest.fixture(scope="module")
def call(federation: LocalFederation) -> Call:
    environment = {
        **os.environ, "CEREBRUM_SERVER": federation.url,
        "CEREBRUM_CONFIG": str(federation.state / "contexts.yaml"),
    }  # fmt: skip

    def run(*words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", "cerebrum", *words],
            capture_output=True, text=True, env=environment, timeout=120,
        )  # fmt: skip
        assert done.returncode == code, done.stderr
        return done

    return run


@pytest.fixture(scope="module")
def finished(call: Call, tmp_path_factory) -> str:
    """The id of a workflow that has succeeded: hello, then twice in parallel."""
    path = tmp_path_factory.mktemp("files") / "hello.json"
    say = {"command": ["sh", "-c", "echo $CEREBRUM_TASK says hello; echo oops >&2"]}
    path.write_text(json.dumps({
        "name": "hello",
        "tasks": [{"name": n, "cpu_milli": 500, **say} for n in ("first", "left", "right")],
        "dependencies": [{"before": "first", "after": n} for n in ("left", "right")],
    }))  # fmt: skip
    done = call("submit", str(path), "--wait", "-o", "json")
    ended = json.loads(done.stdout)
    assert ended["state"] == "succeeded"
    assert ended["succeeded"] == 3
    return str(ended["id"])


def test_what_was_submitted_is_listed_in_every_form(call: Call, finished: str):
    table = call("get", "workflows").stdout
    assert table.splitlines()[0].split()[:3] == ["ID", "NAME", "STATE"]
    assert finished in call("get", "workflows", "-o", "name").stdout.split()
    tasks = json.loads(call("get", "tasks", finished, "-o", "json").stdout)
    assert {t["name"]: t["state"] for t in tasks} == dict.fromkeys(
        ("first", "left", "right"), "succeeded"
    )
    first = next(t for t in tasks if t["name"] == "first")
    others = [t for t in tasks if t["name"] != "first"]
    assert all(t["started_unix_s"] >= first["ended_unix_s"] - 0.01 for t in others)
    assert "east" in call("get", "clusters", "-o", "csv").stdout
    assert len(json.loads(call("get", "nodes", "-o", "json").stdout)) == 3
    assert finished in call("get", "assignments").stdout
    assert "workflow_ended" in call("get", "events", finished).stdout


def test_a_task_says_where_it_went_why_and_what_it_wrote(call: Call, finished: str):
    told = call("describe", "task", f"{finished}/first").stdout
    for word in ("assigned", "offered", "held", "running", "succeeded"):
        assert word in told
    assert call("logs", f"{finished}/first").stdout.endswith("first says hello\n")
    assert call("logs", f"{finished}/first", "--stream", "stderr").stdout == "oops\n"
    assert "parts" in json.loads(call("describe", "workflow", finished, "-o", "json").stdout)
    assert "node_list" in json.loads(call("describe", "cluster", "west", "-o", "json").stdout)


def test_a_failed_workflow_is_exit_code_1_and_its_followers_are_cancelled(call: Call, tmp_path):
    path = tmp_path / "bad.json"
    fails = {"command": ["sh", "-c", "exit 7"], "max_attempts": 2, "backoff_s": 0.1}
    path.write_text(json.dumps({
        "name": "bad", "tasks": [{"name": "a", **fails}, {"name": "b"}],
        "dependencies": [{"before": "a", "after": "b"}],
    }))  # fmt: skip
    done = call("submit", str(path), "--wait", "-o", "json", code=1)
    ended = json.loads(done.stdout)
    assert (ended["state"], ended["failed"], ended["cancelled"]) == ("failed", 1, 1)
    tasks = json.loads(call("get", "tasks", ended["id"], "-o", "json").stdout)
    failed = next(t for t in tasks if t["name"] == "a")
    assert (failed["exit_code"], failed["attempt"]) == (7, 2)


def test_a_running_workflow_can_be_cancelled(call: Call, federation: LocalFederation, tmp_path):
    path = tmp_path / "long.json"
    task = {"name": "t", "command": ["sleep", "300"]}
    path.write_text(json.dumps({"name": "long", "tasks": [task]}))
    accepted = json.loads(call("submit", str(path), "-o", "json").stdout)
    call("cancel", accepted["id"])
    with federation.client() as client:
        assert wait_for(client, accepted["id"], 60)["state"] == "cancelled"


def test_contexts_are_kept_and_hold_no_visible_token(call: Call, tmp_path):
    secret = tmp_path / "token"
    secret.write_text("s3cret\n")
    call("context", "add", "lab", "--server", "http://127.0.0.1:1", "--token-file", str(secret))
    listed = call("context", "list").stdout
    assert "lab" in listed
    assert "s3cret" not in listed
    assert "did you mean 'lab'" in call("context", "use", "lap", code=2).stderr
    call("context", "remove", "lab")
    assert "not" not in call("context", "list").stdout


def test_what_is_not_there_is_exit_code_3_and_nonsense_is_2(call: Call, tmp_path):
    assert call("describe", "workflow", "w-nothing", code=3).stderr.startswith("error:")
    assert call("describe", "cluster", "north", code=3).stderr.startswith("error:")
    assert "RUN TASK or WORKFLOW/TASK" in call("describe", "task", "x", code=2).stderr
    path = tmp_path / "nan.json"
    path.write_text('{"name": "x", "tasks": [{"name": "a", "duration_s": -1}]}')
    assert "tasks.0.duration_s" in call("submit", str(path), code=2).stderr


def test_a_drained_cluster_gets_nothing_new(call: Call, tmp_path):
    call("drain", "east")
    path = tmp_path / "one.json"
    path.write_text('{"name": "one", "tasks": [{"name": "a", "command": ["true"]}]}')
    ended = json.loads(call("submit", str(path), "--wait", "-o", "json").stdout)
    tasks = json.loads(call("get", "tasks", ended["id"], "-o", "json").stdout)
    assert [t["cluster"] for t in tasks] == ["west"]
    call("uncordon", "east")


def test_clusters_are_told_in_words():
    plans = parse_clusters("2x4@8")
    assert [(p.name, p.nodes) for p in plans] == [
        ("east", ("4x8000m,16Gi",)), ("west", ("4x8000m,16Gi",)),
    ]  # fmt: skip
    assert [p.name for p in parse_clusters("a:1,b:2")] == ["a", "b"]
    for wrong in ("", "2", "x4", "0x1", "2x-1", "a:", "2x4@many"):
        with pytest.raises(ConfigError, match="expected 2x4"):
            parse_clusters(wrong)


def test_a_workflow_is_simulated_on_clusters(call: Call, tmp_path):
    rows = json.loads(
        call("simulate", "montage-like:tasks=40,seed=1", "--clusters", "2x3", "--decomposition",
             "cerebrum,levels", "--runs-dir", str(tmp_path), "-o", "json").stdout
    )  # fmt: skip
    assert [row["decomposition"] for row in rows] == ["cerebrum", "levels"]
    assert all(row["over_critical_path"] >= 1 - 1e-9 for row in rows)
    assert "<svg" in (tmp_path / "workflow.html").read_text()
    nothing = call("simulate", "--clusters", "2x3", code=2).stderr
    assert "expected a workflow" in nothing
    assert Path(tmp_path / "workflow.html").stat().st_size > 5_000


def test_the_demo_runs_a_workflow_and_a_batch_and_leaves_a_page(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "cerebrum", "demo", "--seconds", "1", "--runs-dir", str(tmp_path)],
        capture_output=True, text=True, timeout=240,
        env={**os.environ, "CEREBRUM_DATA": str(tmp_path)},  # as on a machine without real data
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "synthetic" in done.stdout
    assert "critical path" in done.stdout
    assert "batch: succeeded, 24 tasks" in done.stdout
    assert "<svg" in (tmp_path / "demo.html").read_text()
