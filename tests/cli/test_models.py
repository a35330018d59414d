"""`cerebrum models` as a person uses it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from cerebrum.cli import run
from cerebrum.policies.learned import artefact as artefacts
from cerebrum.policies.learned.artefact import EvaluationRow
from tests.policies.learned import bidders, made

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Call:
    def run_it(*arguments: str) -> tuple[int, str, str]:
        code = run(["models", *arguments])
        told = capsys.readouterr()
        return code, told.out, told.err

    return run_it


@pytest.fixture
def model(tmp_path: Path) -> str:
    """A bidder that bids 5, with two figures on its card."""
    whole = bidders.always(5)
    rows = (
        EvaluationRow(scenario="openb", policy="tiny", metric="reward", value=1.5, low=1, high=2),
        EvaluationRow(scenario="openb", policy="best-fit", metric="reward", value=1.25),
    )
    card = whole.card.model_copy(update={"evaluation": rows, "seeds": tuple(range(1000, 1020))})
    artefacts.write(
        tmp_path / "tiny.safetensors", artefacts.Artefact(card, whole.weights, whole.statistics)
    )
    return str(tmp_path / "tiny.safetensors")


def test_shipped_models_are_listed(call: Call) -> None:
    code, out, _ = call("list", "-o", "json")
    assert code == 0
    assert [row["name"] for row in json.loads(out)] == list(artefacts.shipped())


def test_a_card_is_described(call: Call, model: str) -> None:
    code, out, _ = call("describe", model)
    assert code == 0
    assert "1000..1019" in out
    assert "it has learnt nothing" in out
    assert "cpu_taken" in out
    assert "best-fit" in out

    _, out, _ = call("describe", model, "-o", "json")
    card = json.loads(out)
    assert card["observation"]["hash"] == bidders.SCHEMA.hash
    assert card["evaluation"][1]["value"] == 1.25
    assert card["weights"] == {"b0": "float32[11]", "w0": f"float32[{len(bidders.SCHEMA)}, 11]"}


def test_a_sound_model_is_verified(call: Call, model: str) -> None:
    code, out, _ = call("verify", model, "-o", "json")
    assert code == 0
    assert json.loads(out)[0]["valid"] is True


def test_a_damaged_model_is_one_line_and_exit_code_2(
    call: Call, model: str, tmp_path: Path
) -> None:
    (tmp_path / "half.safetensors").write_bytes(Path(model).read_bytes()[:500])
    code, out, err = call("verify", model, str(tmp_path / "half.safetensors"))
    assert code == 2
    assert out == ""
    assert "half.safetensors" in err
    assert len(err.strip().splitlines()) == 1


def test_a_model_of_features_nobody_computes_is_not_valid(call: Call, tmp_path: Path) -> None:
    artefacts.write(tmp_path / "m.safetensors", made.artefact())
    code, _, err = call("verify", str(tmp_path / "m.safetensors"))
    assert code == 2
    assert "schema 'test'" in err


def test_every_shipped_model_is_valid(call: Call) -> None:
    code, out, _ = call("verify", "-o", "json")
    assert code == 0
    assert len(json.loads(out)) == len(artefacts.shipped())


@pytest.mark.needs(module="onnx")
def test_a_model_is_exported(call: Call, model: str, tmp_path: Path) -> None:
    target = tmp_path / "tiny.onnx"
    code, out, _ = call("export", model, str(target))
    assert (code, out.strip()) == (0, str(target))
    assert target.stat().st_size > 500


def test_a_name_that_does_not_ship_is_told(call: Call) -> None:
    code, _, err = call("describe", "no-such-model")
    assert code == 2
    assert "unknown model 'no-such-model'" in err


def test_a_model_is_served_until_it_is_told_to_stop(model: str) -> None:
    """The whole way: a process, a socket, an answer, a clean end."""
    command = [sys.executable, "-m", "cerebrum", "models", "serve", "-m", model, "--port", "0",
               "--log-format", "json"]  # fmt: skip
    environment = {k: v for k, v in os.environ.items() if not k.startswith("CEREBRUM_")}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as server:
        assert server.stderr is not None
        address = json.loads(server.stderr.readline())["url"]
        node = {"node_id": "a", "cpu_available": 2, "memory_available": 2}
        body = {"cpu_request": 1, "memory_request": 1, "node_states": [node]}
        request = urllib.request.Request(
            f"{address}/schedule", json.dumps(body).encode(), {"content-type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            assert json.load(answer) == {"scheduled_node": "a", "bids": [5]}
        server.send_signal(signal.SIGTERM)
        assert server.wait(60) == 0


def test_a_server_that_all_could_reach_wants_a_token(
    call: Call, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CEREBRUM_API_TOKEN", raising=False)
    code, _, err = call("serve", "-m", model, "--host", "0.0.0.0", "--port", "0")
    assert code == 2
    assert "set CEREBRUM_API_TOKEN" in err
