"""`get_policy("learned:...")`: model files decide in the engine; what does not fit is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from cerebrum import simulate
from cerebrum.executors.simulated import Simulation
from cerebrum.model.decisions import Bind
from cerebrum.model.errors import ConfigError, UnknownName
from cerebrum.policies import get_policy, policy_names
from cerebrum.policies.conformance import check_policy
from cerebrum.policies.learned import artefact as artefacts
from cerebrum.policies.learned import bid_schema, serving
from cerebrum.policies.learned.artefact import Observation
from cerebrum.policies.learned.guards import Features
from cerebrum.traces import read
from tests.policies.learned import bidders, made


def _file(folder: Path) -> str:
    path = folder / "model.safetensors"
    artefacts.write(path, bidders.always(5))
    return f"learned:{path}"


def test_a_model_file_is_a_policy_like_others(tmp_path: Path) -> None:
    policy = get_policy(_file(tmp_path))

    assert policy.name == "tiny"
    check_policy(lambda: get_policy(_file(tmp_path)))


@pytest.mark.parametrize("schema", ["bid", "availability"])
def test_bids_decide_where_tasks_go(tmp_path: Path, schema: str) -> None:
    """The same day under two bidders with other weights goes otherwise."""
    placements: list[str] = []
    for seed in (1, 2):
        drawn = bidders.drawn(bid_schema.SCHEMA if schema == "bid" else bidders.SCHEMA, seed)
        drawn.weights["b1"][0] = -1e6  # nobody abstains
        path = tmp_path / f"{seed}.safetensors"
        artefacts.write(path, drawn)
        run = simulate("openb-like:nodes=16,tasks=60", f"learned:{path}", 42)
        placements.append(run.log.digest)
    assert placements[0] != placements[1]


def test_a_bidder_shows_the_guards_what_it_looked_at(tmp_path: Path) -> None:
    """Guards of a rollout compare that with what was seen in training."""
    policy = get_policy(_file(tmp_path))
    assert isinstance(policy, Features)
    simulation = Simulation(read("openb-like:nodes=4,tasks=5"))
    snapshot = simulation.next_snapshot()
    assert snapshot is not None
    task = int(snapshot.pending[0])
    bind = next(a for a in policy.decide(snapshot).actions if isinstance(a, Bind))

    seen = policy.features_of(snapshot, task, bind.row)

    free = snapshot.nodes["cpu_free"][bind.row] / 1000
    assert seen[0] == pytest.approx(free / (free + 16), abs=1e-6)
    assert policy.statistics.outside(seen).shape == (len(bidders.SCHEMA),)


def test_names_that_do_not_ship_are_refused() -> None:
    with pytest.raises(UnknownName, match="unknown model 'nothing-of-ours'"):
        get_policy("learned:nothing-of-ours")
    with pytest.raises(ConfigError, match="expected learned:NAME"):
        get_policy("learned")


def test_options_of_the_wrong_kind_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="a bidder has no option 'backfill'"):
        get_policy(_file(tmp_path) + ",backfill=easy")
    assert get_policy(_file(tmp_path) + ",queue=reject").name == "tiny"


def test_a_model_trained_on_other_features_is_refused(tmp_path: Path) -> None:
    whole = bidders.drawn()
    features = (*bidders.SCHEMA.features[:-1], replace(bidders.SCHEMA.features[-1], scale=9.0))
    other = Observation.of(replace(bidders.SCHEMA, features=features))
    path = tmp_path / "other.safetensors"
    artefacts.write(path, replace(whole, card=whole.card.model_copy(update={"observation": other})))

    with pytest.raises(
        ConfigError, match=f"{other.hash}.*{bidders.SCHEMA.hash}.*{features[-1].name}"
    ):
        get_policy(f"learned:{path}")


def test_a_schema_nobody_computes_is_refused() -> None:
    with pytest.raises(ConfigError, match="schema 'test', which this Cerebrum does not compute"):
        serving.schema_of(made.artefact())


def test_every_shipped_model_is_a_policy_by_name() -> None:
    shipped = {f"learned:{name}" for name in artefacts.shipped()}
    assert shipped <= set(policy_names())
    for name in shipped:
        assert callable(get_policy(name).decide)
