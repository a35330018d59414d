"""The command as a person uses it: results on stdout, a mistake is one line, right exit codes."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from cerebrum.cli import _options, _output, run

SMALL = ("openb-like", "--set", "nodes=12")
CLUSTER = """\
apiVersion: v1
kind: Node
metadata: {name: n1}
status: {allocatable: {cpu: "8", memory: 16Gi, pods: "110", alibabacloud.com/gpu-count: "2"}}
---
apiVersion: v1
kind: Pod
metadata:
  name: p1
  annotations: {alibabacloud.com/gpu-milli: "500", alibabacloud.com/gpu-count: "1"}
spec: {containers: [{name: c, resources: {requests: {cpu: "2", memory: 1Gi}}}]}
"""


@pytest.fixture
def at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CEREBRUM_DATA", raising=False)
    return tmp_path


@pytest.fixture
def call(at: Path, capsys: pytest.CaptureFixture[str]):
    """Run the command in this process: (exit code, stdout, stderr)."""

    def run_it(*arguments: str) -> tuple[int, str, str]:
        code = run(arguments)
        told = capsys.readouterr()
        return code, told.out, told.err

    return run_it


def shell(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "cerebrum", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=300)


# -- simulate ---------------------------------------------------------------------------------


def test_simulate_prints_a_line_a_run_and_keeps_them(call, at: Path) -> None:
    code, out, err = call("simulate", *SMALL, "-p", "fgd,random", "--seed", "7")
    assert code == 0
    lines = out.splitlines()
    assert lines[0].split()[:2] == ["RUN", "POLICY"]
    assert [line.split()[1] for line in lines[1:]] == ["fgd", "random"]
    kept = {line.split()[0] for line in lines[1:]}
    assert {path.name for path in (at / "runs").iterdir()} == kept
    assert all((at / "runs" / name / "report.html").is_file() for name in kept)
    assert "events in" in err


@pytest.mark.parametrize("form", ["json", "yaml", "csv", "wide"])
def test_every_form_holds_the_same_numbers(call, form: str) -> None:
    code, out, _ = call("simulate", *SMALL, "-p", "fgd", "--no-report", "-o", form)
    assert code == 0
    if form in ("json", "yaml"):
        (record,) = json.loads(out) if form == "json" else yaml.safe_load(out)
        assert record["policy"] == "fgd"
        assert record["summary"]["nodes"] == 12
    elif form == "csv":
        (record,) = csv.DictReader(io.StringIO(out))
        assert record["nodes"] == "12"
    else:
        assert "DIGEST" in out.splitlines()[0]


def test_simulate_takes_what_simon_apply_takes(call, at: Path) -> None:
    (at / "objects").mkdir()
    (at / "objects" / "all.yaml").write_text(CLUSTER)
    (at / "cluster.yaml").write_text(
        "apiVersion: simon/v1alpha1\nkind: Config\nmetadata: {name: c}\n"
        "spec: {cluster: {customConfig: objects}}\n"
    )
    (at / "scheduler.yaml").write_text(
        "apiVersion: kubescheduler.config.k8s.io/v1beta1\nkind: KubeSchedulerConfiguration\n"
        "profiles:\n- schedulerName: simon-scheduler\n  plugins:\n    score:\n"
        "      disabled: [{name: '*'}]\n      enabled: [{name: FGDScore, weight: 1000}]\n"
        "  pluginConfig:\n  - {name: Open-Gpu-Share, args: {gpuSelMethod: FGDScore}}\n"
    )
    code, out, err = call(
        "simulate", "-f", "cluster.yaml", "-s", "scheduler.yaml", "--extended-resources", "gpu",
        "-o", "json",
    )  # fmt: skip
    assert code == 0, err
    (record,) = json.loads(out)
    assert record["policy"] == "profile:fgd-original"
    assert record["summary"]["running"] == 1
    code, _, err = call("simulate", "-f", "cluster.yaml", "--extended-resources", "open-local")
    assert code == 2
    assert "only gpu is known" in err


def test_a_scorer_of_ones_own(call, at: Path) -> None:
    (at / "mine.py").write_text(
        "def score(before, after, task, typical):\n    return -float(after.cpu_free)\n"
    )
    code, out, err = call("simulate", *SMALL, "-p", "./mine.py:score", "-o", "json")
    assert code == 0, err
    (record,) = json.loads(out)
    assert record["policy"] == "./mine.py:score"
    code, out, _ = call("describe", "task", "latest", "auto")
    assert code == 0
    assert "SCORE RAW" in out or "TOTAL" in out


def test_simulate_explains_when_asked(call) -> None:
    code, out, _ = call("simulate", *SMALL, "-p", "fgd", "--explain", "auto")
    assert code == 0
    assert "nodes are available" in out
    assert ">  node-" in out


# -- mistakes ---------------------------------------------------------------------------------

MISTAKES = [
    (("nope",), 2, "No such command 'nope'"),
    (("simulate",), 2, "expected a scenario"),
    (("simulate", "--sede", "3"), 2, "No such option"),
    (("simulate", "nowhere.csv"), 2, "nowhere.csv: no such file"),
    (("simulate", "openb-like", "-p", "fdg"), 2, "did you mean 'fgd'"),
    (("simulate", "openb-like", "-p", "fgd,nope"), 2, "unknown policy 'nope'"),
    (("simulate", "openb-like", "--seed", "-3"), 2, "--seed"),
    (("simulate", "openb-like", "--set", "nodes"), 2, "expected key=value"),
    (("simulate", "openb-like", "--set", "nodes=0"), 2, "nodes"),
    (("simulate", "openb-like", "--format", "swff"), 2, "did you mean 'swf'"),
    (("simulate", "openb-like", "-o", "xml"), 2, "xml"),
    (("bench", "openb-like"), 2, "expected policies"),
    (("bench", "openb-like", "-p", "fgd", "--seeds", "9..1"), 2, "seeds"),
    (("reproduce", "fgdd"), 2, "did you mean 'fgd'"),
    (("reproduce", "fgd", "--data", "nowhere"), 3, "no such folder"),
    (("reproduce", "fgd"), 3, "CEREBRUM_DATA"),
    (("describe", "run", "nothing"), 3, "there is no run 'nothing'"),
    (("report", "nothing"), 3, "there is no run"),
    (("get", "pods"), 2, "pods"),
    (("traces", "describe", "nowhere"), 2, "nowhere: no such file"),
    (("traces", "fetch", "opneb"), 2, "did you mean 'openb'"),
    (("traces", "convert", "openb-like:nodes=2", "x.yaml", "--to", "simon"), 2, "not written"),
]


@pytest.mark.parametrize(("arguments", "code", "says"), MISTAKES)
def test_a_mistake_is_one_line_on_stderr(
    call, at: Path, arguments: tuple[str, ...], code: int, says: str
) -> None:
    found, out, err = call(*arguments)
    assert (found, out) == (code, "")
    assert says in err
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert list(at.iterdir()) == []


def test_a_broken_file_is_named_with_line_and_field_and_nothing_is_written(at: Path) -> None:
    (at / "openb_node_list_gpu_node.csv").write_text(
        "sn,cpu_milli,memory_mib,gpu,model\nn1,8000,1000,2,T4\n"
    )
    (at / "openb_pod_list_default.csv").write_text(
        "name,cpu_milli,memory_mib,num_gpu,gpu_milli\np1,1000,100,1,1200\n"
    )
    done = shell("simulate", ".", "-p", "fgd", cwd=at)
    assert done.returncode == 2
    assert done.stdout == ""
    assert "openb_pod_list_default.csv:2: gpu_milli: " in done.stderr
    assert "Traceback" not in done.stderr
    assert not (at / "runs").exists()


def test_a_bug_is_one_line_too(call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cerebrum.policies.policy_names", lambda: 1 / 0)
    code, out, err = call("get", "policies")
    assert (code, out) == (1, "")
    assert err == (
        "error: internal: ZeroDivisionError: division by zero (CEREBRUM_DEBUG=1 shows where)\n"
    )


# -- the other commands -----------------------------------------------------------------------


def test_describe_report_and_get(call, at: Path) -> None:
    call("simulate", *SMALL, "-p", "fgd,random", "--no-report")
    code, out, _ = call("get", "runs", "-o", "json")
    ids = [record["id"] for record in json.loads(out)]
    assert len(ids) == 2
    code, out, _ = call("describe", "run", ids[0], "-o", "json")
    assert json.loads(out)["summary"]["tasks"] > 0
    code, out, _ = call("describe", "task", ids[0], "task-020", "-o", "yaml")
    told = yaml.safe_load(out)
    assert told["name"] == "task-020"
    assert told["history"][0]["event"] == "submitted"
    assert told["decisions"][0]["scorers"] == ["fgd"]
    code, out, _ = call("describe", "node", ids[1], "node-03")
    assert code == 0
    assert "gpu_utilisation_pct" in out
    code, _, err = call("describe", "task", ids[0], "task-02x")
    assert code == 3
    assert "did you mean" in err
    code, out, _ = call("report", *ids)
    assert (code, out) == (0, "runs/comparison.html\n")
    assert "2 runs compared" in (at / "runs" / "comparison.html").read_text()


def test_bench_goes_on_and_prints_means(call, at: Path) -> None:
    arguments = ("bench", *SMALL, "-p", "fgd,random", "--seeds", "1..3", "-j", "1")
    code, first, _ = call(*arguments)
    assert code == 0
    assert [line.split()[1] for line in first.splitlines()] == ["POLICY", "fgd", "random"]
    assert " ± " in first
    (folder,) = (at / "runs").iterdir()
    stamps = {path: path.stat().st_mtime_ns for path in (folder / "cells").iterdir()}
    assert len(stamps) == 6
    code, again, _ = call(*arguments)
    assert again == first
    assert {path: path.stat().st_mtime_ns for path in (folder / "cells").iterdir()} == stamps
    code, out, _ = call(*arguments, "--all", "-o", "csv")
    assert len(list(csv.DictReader(io.StringIO(out)))) == 6


def test_demo_compares_and_gives_reasons(call, at: Path) -> None:
    code, out, err = call("demo", "gpu", "--nodes", "40", "-p", "fgd,random")
    assert code == 0, err
    assert "nodes are available" in out
    assert "runs/demo.html" in out
    assert out.index("fgd") < out.index("random")
    assert (at / "runs" / "demo.html").is_file()
    marks = set("▁▂▃▄▅▆▇█") | set("_.-=+*%#")
    assert any(set(line.split()[1]) <= marks for line in out.splitlines() if " fgd  " in line)


def test_traces_commands(call, at: Path) -> None:
    code, out, _ = call("traces", "list", "-o", "json")
    assert {"openb", "swf"} <= {row["format"] for row in json.loads(out)}
    code, out, _ = call("traces", "convert", "openb-like:nodes=12", "small.zip")
    assert out == "small.zip\n"
    code, out, _ = call("traces", "describe", "small.zip", "-o", "json")
    assert json.loads(out)["nodes"] == 12
    code, out, _ = call("traces", "validate", "small.zip", "-o", "json")
    assert json.loads(out)["valid"] is True
    code, out, err = call("traces", "convert", "small.zip", "k/all.yaml", "--to", "kubernetes")
    assert code == 0, err
    code, out, err = call("traces", "topology", "--data-dir", "k", "--servers-per-rack", "4")
    assert code == 0, err
    assert out == "k/all-hier.yaml\n"
    code, out, _ = call("traces", "fetch", "-o", "json")
    assert "sha256" in json.loads(out)[0]


def test_reproduce_prints_one_list_of_records(call, shared_data: Path) -> None:
    code, out, err = call(
        "reproduce", "fgd", "--data", str(shared_data / "openb"), "--traces", "default",
        "--policies", "FGD", "--seeds", "42", "-j", "1", "-o", "json",
    )  # fmt: skip
    assert code == 0, err
    records = json.loads(out)
    assert {frozenset(record) for record in records} == {
        frozenset({"table", "case", "metric", "published", "ours"})
    }
    assert all(record["published"] == pytest.approx(record["ours"], abs=1e-9) for record in records)


def test_doctor_finds_this_machine_sound(call) -> None:
    code, out, _ = call("doctor", "-o", "json")
    states = {row["what"]: row["state"] for row in json.loads(out)}
    assert code == 0
    assert states["numba"] == "ok"


# -- as a process -----------------------------------------------------------------------------


def test_help_and_version_are_quick(tmp_path: Path) -> None:
    for argument in ("--help", "--version"):
        shell(argument, cwd=tmp_path)  # warm the file cache
        begun = time.process_time(), os.times().children_user + os.times().children_system
        assert shell(argument, cwd=tmp_path).returncode == 0
        spent = os.times().children_user + os.times().children_system - begun[1]
        assert spent < 0.5


@pytest.mark.parametrize("command", ["simulate", "bench", "reproduce", "describe", "traces", "get"])
def test_help_of_a_command_loads_nothing_heavy(command: str, tmp_path: Path) -> None:
    code = (
        f"import sys; from cerebrum.cli import run; run([{command!r}, '--help']); "
        "heavy = {'numba', 'polars', 'numpy', 'joblib', 'jinja2', 'ortools'}; "
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, timeout=60
    )
    assert done.returncode == 0
    assert done.stderr.strip() == "[]"


def test_a_reader_who_has_seen_enough_is_no_error(tmp_path: Path) -> None:
    command = f"{sys.executable} -m cerebrum get policies -o json | head -c 20"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.stderr == ""
    assert done.returncode == 0


def test_no_progress_where_nobody_watches(tmp_path: Path) -> None:
    done = shell("bench", *SMALL, "-p", "fgd", "--seeds", "1", "-j", "1", cwd=tmp_path)
    assert done.returncode == 0
    assert (
        done.stderr == f"1 runs in {next((tmp_path / 'runs').iterdir()).relative_to(tmp_path)}/\n"
    )


# -- pieces -----------------------------------------------------------------------------------


def test_commas_separate_policies_but_not_their_options() -> None:
    assert _options.split(["fgd,best-fit", "pwr-fgd:weight=100"]) == [
        "fgd", "best-fit", "pwr-fgd:weight=100",
    ]  # fmt: skip
    assert _options.split(["ecsched-ml:batch=10,solver=paths,fgd"]) == [
        "ecsched-ml:batch=10,solver=paths", "fgd",
    ]  # fmt: skip


def test_seeds_are_ranges_and_lists() -> None:
    assert _options.seeds("42..44,7") == [42, 43, 44, 7]
    assert _options.seeds("5") == [5]


def test_a_table_shows_control_characters_instead_of_obeying_them() -> None:
    out = _output.render([{"name": "a\x1b[31m\nb", "n": 1.5}], _output.Output.TABLE)
    assert out == "NAME             N\na\\x1b[31m\\nb  1.50\n"
