"""A learned scorer in the engine: FGD where it has learnt nothing, blind to order and to nodes
that cannot take the task, and no other's weights under its name."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cerebrum.engine.engine import Engine
from cerebrum.learn.generated import Generated
from cerebrum.model.errors import ConfigError
from cerebrum.model.events import Event, EventKind
from cerebrum.model.scenario import Scenario
from cerebrum.policies import get_policy
from cerebrum.policies.learned import node_scorer as learned
from cerebrum.policies.learned.artefact import find, read
from cerebrum.policies.learned.node_features import PRICES, SCHEMA
from tests.engine.stories import simulate, told
from tests.policies.learned import made

PRICE_LIST = np.linspace(0.0, 1.0, PRICES)
STORY = Generated(nodes=(12, 12), tasks=150, gpu_nodes=0.8, gpu_tasks=0.7, load=1.5).scenario(1)


def drawn(seed: int, hidden: int = 2) -> np.ndarray:
    return np.random.default_rng(seed).normal(scale=0.3, size=learned.size(hidden))


def scores_by_name(story: Scenario, policy, task: int = 0) -> dict[str, float]:
    engine = Engine(story, key=1)
    engine.apply(Event(0.0, EventKind.SUBMITTED, task))
    totals = policy.totals(engine.snapshot(), task)
    return dict(zip(engine.node_names, totals.tolist(), strict=True))


@pytest.mark.parametrize("hidden", [0, 3])
def test_without_anything_learnt_it_is_fgd_to_the_last_placement(hidden: int) -> None:
    nothing = learned.frozen(np.zeros(learned.size(hidden)), PRICE_LIST)
    ours, fgd = simulate(STORY, learned.policy(nothing)), simulate(STORY, get_policy("fgd"))
    assert told(ours) == told(fgd)


def test_weights_change_what_is_placed_where() -> None:
    ours = simulate(STORY, learned.policy(learned.frozen(drawn(1), PRICE_LIST)))
    assert told(ours) != told(simulate(STORY, get_policy("fgd")))


def test_a_score_does_not_depend_on_the_order_of_the_nodes() -> None:
    policy = learned.policy(learned.frozen(drawn(1), PRICE_LIST))
    nodes = STORY.cluster.nodes
    shuffled = tuple(nodes[i] for i in np.random.default_rng(3).permutation(len(nodes)))
    other = replace(STORY, cluster=replace(STORY.cluster, nodes=shuffled))
    assert scores_by_name(STORY, policy) == pytest.approx(scores_by_name(other, policy), rel=1e-12)


def test_a_node_that_cannot_take_the_task_decides_nothing() -> None:
    """The first task does not fit on a node of one core, whatever else is on that node."""
    policy = learned.policy(learned.frozen(drawn(1), PRICE_LIST))
    nodes = STORY.cluster.nodes
    seen = []
    for cores, gib in ((0, 1), (0, 512)):
        capacity = replace(nodes[0].capacity, cpu_milli=cores, memory_mib=gib * 1024)
        tiny = replace(nodes[0], capacity=capacity)
        seen.append(replace(STORY, cluster=replace(STORY.cluster, nodes=(tiny, *nodes[1:]))))
    first, second = (scores_by_name(story, policy) for story in seen)
    assert first == second
    assert first[nodes[0].name] == -np.inf


def test_what_fits_nowhere_is_refused_with_its_reasons_however_high_the_scores_are() -> None:
    small = replace(STORY, cluster=replace(STORY.cluster, nodes=STORY.cluster.nodes[:1]))
    policy = learned.policy(learned.frozen(np.abs(drawn(1)) * 1e6, PRICE_LIST), queue="reject")
    rejected = [row for row in simulate(small, policy).engine.log.rows
                if row["kind"] == EventKind.REJECTED]  # fmt: skip
    assert rejected
    assert all(row["reason"] > 0 for row in rejected)


def test_scorers_with_other_weights_do_not_share_compiled_code() -> None:
    """Both come from the same line of the same file; only what they close over differs."""
    first = learned.policy(learned.frozen(drawn(1), PRICE_LIST))
    second = learned.policy(learned.frozen(drawn(2), PRICE_LIST))
    again = learned.policy(learned.frozen(drawn(1), PRICE_LIST))
    assert scores_by_name(STORY, first) != scores_by_name(STORY, second)
    assert scores_by_name(STORY, first) == scores_by_name(STORY, again)


def test_weights_can_be_exchanged_under_a_trainable_scorer() -> None:
    scorer = learned.TrainableScorer(2, PRICE_LIST)
    for seed in (1, 2, 1):
        scorer.weights = drawn(seed)
        fixed = learned.policy(learned.frozen(drawn(seed), PRICE_LIST))
        assert scores_by_name(STORY, learned.policy(scorer)) == scores_by_name(STORY, fixed)


def artefact(**changed):
    arrays = learned.arrays_of(drawn(4), PRICE_LIST)
    base = made.artefact(SCHEMA, kind="node-scorer", **changed)
    return replace(base, weights=arrays)


def test_an_artefact_gives_back_its_weights() -> None:
    weights, prices = learned.weights_of(artefact())
    assert (weights == drawn(4)).all()
    assert (prices == PRICE_LIST).all()
    assert learned.make(artefact()).name == "tiny"


def test_an_artefact_without_fgd_below_it_scores_by_the_network_alone() -> None:
    alone = learned.make(artefact(architecture={"base": 0.0}))
    above = learned.make(artefact(architecture={"base": 1.0}))
    ours, fgd = scores_by_name(STORY, alone), scores_by_name(STORY, get_policy("fgd"))
    summed = {name: score + fgd[name] for name, score in ours.items()}
    assert scores_by_name(STORY, above) == pytest.approx(summed)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"linear": np.zeros((3, len(SCHEMA) + 1))}, "linear"),
        ({"linear": np.zeros((3, len(SCHEMA)), np.float32)}, "linear"),
        ({"hidden": np.zeros((2, 5))}, "hidden"),
        ({"prices": np.linspace(1.0, 0.0, PRICES)}, "prices"),
        ({"prices": np.linspace(0.0, 1.0, 7)}, "prices"),
    ],
)
def test_arrays_that_do_not_belong_to_a_node_scorer_are_refused(change, expected: str) -> None:
    wrong = replace(artefact(), weights={**artefact().weights, **change})
    with pytest.raises(ConfigError, match=expected):
        learned.make(wrong)


@pytest.mark.parametrize("weights", [np.zeros(3), np.full(learned.size(0), np.nan)])
def test_weights_of_no_scorer_are_refused(weights) -> None:
    with pytest.raises(ConfigError, match="weights"):
        learned.frozen(weights, PRICE_LIST)


def test_another_schema_is_refused() -> None:
    with pytest.raises(ConfigError, match="schema"):
        learned.make(made.artefact(made.SCHEMA, kind="node-scorer"))


def test_the_shipped_scorer_says_what_it_was_trained_on_and_places() -> None:
    shipped = read(find("openb-scorer"))
    assert not set(shipped.card.seeds) & set(range(42, 52)), "trained on the published seeds"
    log = told(simulate(STORY, get_policy("learned:openb-scorer")))
    assert log
    assert log != told(simulate(STORY, get_policy("fgd")))
