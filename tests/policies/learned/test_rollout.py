"""A candidate beside a baseline: who decides when, and that a bad one costs no placement."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cerebrum.model.decisions import Bind
from cerebrum.model.errors import ConfigError, InputError
from cerebrum.model.events import TaskState
from cerebrum.model.protocols import Scores
from cerebrum.policies import get_policy
from cerebrum.policies.conformance import busy_day, check_policy, neighbours
from cerebrum.policies.learned.guards import Limits
from cerebrum.policies.learned.ladder import Ladder, Standing, parse_target, unit
from cerebrum.policies.learned.rollout import Rollout, beside
from cerebrum.policies.learned.sides import Beside, key_of
from cerebrum.policies.trial import Trial
from tests.policies.learned.misbehaving import CANDIDATES, DEADLINE_S, HANGS_S, Clock, Dawdling

NEVER = Ladder(trips=10**6, window=10**6)


def wrapped(candidate: Any, mode: str = "on", share: float = 1.0, **more: Any) -> Rollout:
    standing = Standing(mode, share)  # type: ignore[arg-type]
    return beside(candidate, get_policy("best-fit"), standing, **more)


def placements(policy: Any) -> list[tuple[int, int]]:
    return [(bind.task, bind.row) for bind in Trial(busy_day(), policy).run().binds()]


BASELINE = placements(get_policy("best-fit"))
FGD = placements(get_policy("fgd"))


# -- a bad candidate costs no placement ------------------------------------------------------


@pytest.mark.parametrize("mode", ["shadow", "advise", "canary", "on"])
@pytest.mark.parametrize("name", CANDIDATES)
def test_whatever_a_mad_candidate_does_the_baseline_places_every_task(name: str, mode: str):
    reason, make = CANDIDATES[name]
    policy = wrapped(make(), mode, ladder=NEVER)
    assert placements(policy) == BASELINE
    assert policy.standing.trips.get(reason, 0) > 0
    assert policy.standing.mode == mode


@pytest.mark.parametrize("name", CANDIDATES)
def test_a_mad_candidate_falls_from_rung_to_rung_and_says_why(name: str):
    reason, make = CANDIDATES[name]
    policy = wrapped(make(), "on", ladder=Ladder(trips=2, window=50, share=0.9))
    assert placements(policy) == BASELINE
    history = policy.standing.history
    assert [change.now for change in history][:2] == ["canary:0.9", "shadow"]
    assert all(change.by == "guard" and reason in change.reason for change in history[:1])
    # In shadow it costs nothing to be wrong, but it does to raise.
    assert policy.standing.mode == ("off" if reason == "raised" else "shadow")


def test_one_that_hangs_is_found_out_afterwards_and_demoted_at_once():
    clock = Clock()
    policy = wrapped(Dawdling(clock, HANGS_S), clock=clock, limits=Limits(deadline_s=DEADLINE_S))
    assert placements(policy) == BASELINE
    assert [change.now for change in policy.standing.history] == ["canary:0.1", "shadow", "off"]
    assert "5000.0 ms, 100.0 ms are allowed" in policy.standing.history[0].reason
    # The first answer on an engine is not measured: it compiles.
    assert clock.now_s == 4 * HANGS_S


def test_a_candidate_that_is_in_time_never_trips():
    clock = Clock()
    policy = wrapped(
        Dawdling(clock, DEADLINE_S), clock=clock, limits=Limits(deadline_s=DEADLINE_S + 1e-9)
    )
    assert placements(policy) == BASELINE
    assert policy.standing.trips == {}
    assert policy.standing.decided["candidate"] > 0


def test_without_a_clock_nothing_is_late():
    clock = Clock()
    policy = wrapped(Dawdling(clock, HANGS_S))
    assert placements(policy) == BASELINE
    assert policy.standing.trips == {}


# -- modes -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "expected"),
    [("off", BASELINE), ("shadow", BASELINE), ("advise", BASELINE), ("on", FGD)],
)
def test_the_mode_says_who_decides(mode: str, expected: list[tuple[int, int]]):
    assert BASELINE != FGD
    assert placements(wrapped(get_policy("fgd"), mode)) == expected


def test_off_does_not_ask_the_candidate():
    policy = wrapped(CANDIDATES["raises"][1](), "off")
    assert placements(policy) == BASELINE
    assert policy.standing.answers == 0


def test_a_canary_decides_for_its_keys_only_and_the_same_ones_every_time():
    def decided() -> dict[str, set[str]]:
        seen: list[Beside] = []
        policy = wrapped(get_policy("fgd"), "canary", 0.5, record=seen.append)
        Trial(busy_day(), policy).run()
        asked = {one.key for one in seen if one.candidate}
        every = {f"t{i:02}" for i in range(60)}
        mine = {key for key in every if policy.on_candidates_side(key)}
        return {"asked": asked, "mine": mine}

    first, again = decided(), decided()
    assert first == again
    # Members of the gang have the key of its first member.
    assert first["asked"] <= first["mine"]
    assert 15 < len(first["mine"]) < 45


def test_a_growing_share_keeps_the_keys_it_had():
    small, large = (wrapped(get_policy("fgd"), "canary", share) for share in (0.1, 0.4))
    keys = [f"team-{i}" for i in range(2000)]
    few = {key for key in keys if small.on_candidates_side(key)}
    many = {key for key in keys if large.on_candidates_side(key)}
    assert few < many
    assert abs(len(few) / 2000 - 0.1) < 0.03
    assert abs(len(many) / 2000 - 0.4) < 0.04


def test_the_hash_of_a_key_is_the_same_on_every_machine():
    assert unit("fgd", "side", "team-7") == pytest.approx(0.15153257919132768, abs=1e-15)


def test_a_key_is_the_workflow_or_namespace_else_the_job_else_the_task():
    trial = Trial(busy_day(), get_policy("best-fit"))
    snapshot = trial.engine.snapshot()
    names = list(snapshot.task_names)
    assert key_of(snapshot, 3) == names[3]
    assert key_of(snapshot, 21) == key_of(snapshot, 20) == names[20]
    renamed = _Named(snapshot, {3: "web/api-1#7", 4: "web/api#x"})
    assert key_of(renamed, 3) == key_of(renamed, 4) == "web"  # type: ignore[arg-type]


class _Named:
    """A snapshot some of whose tasks have other names."""

    def __init__(self, snapshot: Any, names: dict[int, str]) -> None:
        self.tasks, self.gang = snapshot.tasks, snapshot.gang
        self.task_names = [names.get(i, name) for i, name in enumerate(snapshot.task_names)]


def test_the_candidate_is_told_beside_the_decision_in_advise():
    policy = wrapped(get_policy("fgd"), "advise")
    trial = Trial(busy_day(), policy)
    seen: list[Beside] = []
    told: list[str] = []
    decide = policy.decide

    def noting(snapshot: Any) -> Any:
        decision = decide(snapshot)
        if policy.noted is not None:
            seen.append(policy.noted)
            told.append(policy.advice)
        return decision

    trial.policy = type("Noting", (), {"name": "n", "decide": staticmethod(noting)})()
    trial.run()
    assert any(one.candidate != one.baseline for one in seen if one.candidate)
    assert all(one.node == one.baseline for one in seen)
    differing = [one.candidate for one in seen if one.candidate not in ("", one.node)]
    assert [text for text in told if text] == [f"fgd advises {node}" for node in differing]


def test_regret_is_what_the_judge_thinks_of_the_other_node():
    judge = get_policy("fgd")
    policy = wrapped(get_policy("random"), "shadow", judge=judge)
    placements(policy)
    standing = policy.standing
    assert standing.measured == standing.differed > 0
    measured = [one.regret for one in policy.recent if one.regret == one.regret]
    assert sum(measured) == pytest.approx(standing.regret)
    # Against the judge's own favourite nobody is better.
    own = beside(get_policy("random"), judge, Standing("shadow"), judge=judge)
    placements(own)
    assert own.standing.regret > 0
    assert min(one.regret for one in own.recent if one.regret == one.regret) >= 0


def test_a_judge_without_scores_is_refused():
    with pytest.raises(ConfigError, match="no scores"):
        wrapped(get_policy("fgd"), judge=get_policy("sjf"))


@pytest.mark.parametrize("candidate", ["fgd", "random", "sjf", "min-min", "first-fit:queue=block"])
@pytest.mark.parametrize("mode", ["shadow", "canary", "on"])
def test_a_wrapper_keeps_the_contract_of_policies(candidate: str, mode: str):
    check_policy(lambda: wrapped(get_policy(candidate), mode, 0.5, explore=0.3, ladder=NEVER))


def test_patience_lets_a_candidate_reserve_and_ends():
    """A task that is left is placed in the end, or nothing would ever run."""

    def idle(patience_s: float) -> tuple[float, int]:
        policy = wrapped(
            CANDIDATES["idle"][1](), limits=Limits(patience_s=patience_s), ladder=NEVER
        )
        trial = Trial(busy_day(), policy).run()
        assert len(trial.binds()) == len(BASELINE)
        return trial.decisions[-1][0], policy.standing.trips["withheld"]

    assert placements(wrapped(CANDIDATES["idle"][1](), ladder=NEVER)) == BASELINE
    assert idle(0.0)[0] < idle(50.0)[0]
    # While nothing runs nobody would ask again: patience does not hold then.
    assert idle(1e9)[1] > 0
    canary = wrapped(CANDIDATES["idle"][1](), "canary", 0.5, limits=Limits(patience_s=50.0))
    assert placements(canary) == BASELINE


# -- exploring -------------------------------------------------------------------------------


def test_propensities_of_a_choice_add_up_and_say_what_was_drawn():
    policy = wrapped(get_policy("fgd"), "canary", 0.5, explore=0.4)
    Trial(busy_day(), policy).run()
    drawn = [one for one in policy.recent if one.nodes]
    assert policy.standing.explored > 5
    for one in drawn:
        even = 0.4 / one.nodes
        greedy = one.candidate if one.decider == "candidate" else one.baseline
        expected = even + (0.6 if one.node == greedy else 0.0)
        assert one.propensity == pytest.approx(expected)
    assert {one.node == one.candidate for one in drawn if one.decider == "candidate"} == {
        True,
        False,
    }


def test_exploration_comes_out_the_same_again_and_a_trail_replays_it():
    policy = wrapped(get_policy("fgd"), "canary", 0.5, explore=0.4)
    trial, trails, made = Trial(busy_day(), policy), [], []
    other = wrapped(get_policy("fgd"), "canary", 0.5, explore=0.4)
    decide = policy.decide

    def noting(snapshot: Any) -> Any:
        decision = decide(snapshot)
        trails.append(policy.trail)
        assert other.again(snapshot, policy.trail) == decision
        made.append(decision)
        return decision

    trial.policy = type("Noting", (), {"name": "n", "decide": staticmethod(noting)})()
    trial.run()
    assert {"baseline", "candidate+explore", "baseline+explore"} <= set(trails)
    assert other.standing.answers == 0


# -- scores ----------------------------------------------------------------------------------


def _asked() -> tuple[Any, int]:
    """A snapshot and a task that best fit and worst fit would put on different nodes."""
    policies: list[Any] = [get_policy("best-fit"), get_policy("worst-fit")]
    trial = Trial(busy_day(), get_policy("best-fit"))
    found: list[tuple[Any, int]] = []

    class Stop(Exception):
        pass

    def decide(snapshot: Any) -> Any:
        task = int(snapshot.pending[0])
        if len({policy.explain(snapshot, task).winner for policy in policies}) == len(policies):
            found.append((snapshot, task))
            raise Stop
        return policies[0].decide(snapshot)

    trial.policy = type("Stopping", (), {"name": "s", "decide": staticmethod(decide)})()
    with pytest.raises(Stop):
        trial.run()
    return found[0]


@pytest.mark.parametrize("mode", ["off", "shadow", "advise", "canary", "on"])
def test_scores_are_those_of_the_side_in_charge(mode: str):
    snapshot, task = _asked()
    policy: Any = wrapped(get_policy("worst-fit"), mode)
    side = get_policy("worst-fit" if mode in ("canary", "on") else "best-fit")
    assert isinstance(policy, Scores)
    assert isinstance(side, Scores)
    assert np.array_equal(policy.totals(snapshot, task), side.totals(snapshot, task))
    row = int(np.argmax(side.totals(snapshot, task)))
    assert policy.gpus_on(snapshot, task, row) == side.gpus_on(snapshot, task, row)


def test_scores_that_are_no_numbers_are_the_baselines():
    snapshot, task = _asked()
    policy: Any = wrapped(CANDIDATES["nan-scores"][1]())
    base: Any = get_policy("best-fit")
    assert np.array_equal(policy.totals(snapshot, task), base.totals(snapshot, task))
    assert policy.standing.trips == {"not-a-number": 1}


def test_a_baseline_without_scores_makes_no_wrapper_with_scores():
    assert not isinstance(beside(get_policy("fgd"), get_policy("sjf")), Scores)


# -- explaining ------------------------------------------------------------------------------


def test_an_explanation_shows_the_side_in_charge_and_names_the_other_choice():
    snapshot, task = _asked()
    notes = {}
    for mode in ("off", "shadow", "on"):
        table = wrapped(get_policy("worst-fit"), mode).explain(snapshot, task)
        side: Any = get_policy("worst-fit" if mode == "on" else "best-fit")
        assert table.rows == side.explain(snapshot, task).rows
        notes[mode] = table.note
    other: Any = get_policy("worst-fit")
    node = snapshot.node_names[other.explain(snapshot, task).winner]
    assert notes["off"] == ""
    assert notes["shadow"] == f"the candidate worst-fit would choose {node}"
    assert notes["on"].startswith("the baseline best-fit would choose")


def test_an_explanation_of_a_candidate_that_raises_is_the_baselines():
    snapshot, task = _asked()

    class Explaining:
        name = "explaining"

        def decide(self, snapshot: Any) -> Any:
            return None

        def explain(self, snapshot: Any, task: int) -> Any:
            raise ZeroDivisionError("0")

    table = wrapped(Explaining()).explain(snapshot, task)
    base: Any = get_policy("best-fit")
    assert table.rows == base.explain(snapshot, task).rows
    assert "ZeroDivisionError" in table.note


# -- the ladder ------------------------------------------------------------------------------


def test_trips_count_within_a_window_and_not_for_ever():
    from cerebrum.policies.learned.guards import Trip

    standing, ladder = Standing("on"), Ladder(trips=3, window=10)
    trip = Trip("infeasible", "no room")
    for _ in range(5):  # one in eleven answers is never three in ten
        for _ in range(11):
            standing.answered()
        assert standing.trip(trip, ladder) is None
    standing.answered()
    assert standing.trip(trip, ladder) is None
    standing.answered()
    change = standing.trip(trip, ladder, unix_s=7.0)
    assert change is not None
    assert (change.was, change.now, change.unix_s) == ("on", "canary:0.1", 7.0)
    assert standing.trips == {"infeasible": 7}


def test_a_standing_outlives_its_process_as_json():
    import json

    policy = wrapped(CANDIDATES["raises"][1](), ladder=Ladder(trips=1))
    placements(policy)
    text = json.dumps(policy.standing.record(), allow_nan=False)
    again = Standing.of_record(json.loads(text))
    assert again == policy.standing or again.record() == policy.standing.record()
    assert again.mode == "off"


@pytest.mark.parametrize(
    "record",
    [{"mode": "maybe"}, {"mode": "on", "share": 0}, {"history": [{"x": 1}]}, {"history": 3}],
)
def test_a_damaged_record_is_refused(record: dict[str, Any]):
    with pytest.raises(ConfigError):
        Standing.of_record(record)


@pytest.mark.parametrize(
    "text", ["of", "on:0.1", "canary:0", "canary:2", "canary:nan", "canary:x", ""]
)
def test_a_target_that_is_none_is_refused(text: str):
    with pytest.raises(InputError):
        parse_target(text)


def test_targets_are_written_as_they_are_read():
    for text in ("off", "shadow", "advise", "canary:0.25", "on"):
        assert str(parse_target(text)) == text
    assert str(parse_target("canary")) == "canary:0.1"


def test_promotion_goes_up_one_rung_and_demotion_down():
    standing, seen = Standing("off"), []
    for _ in range(4):
        standing.move(standing.above(), "operator", "")
        seen.append(str(standing.target))
    assert seen == ["shadow", "canary:0.1", "on", "on"]
    for _ in range(4):
        standing.move(standing.below(Ladder()), "operator", "")
        seen.append(str(standing.target))
    assert seen[4:] == ["canary:0.1", "shadow", "off", "off"]


def test_rules_about_others_and_gangs_hold_whoever_decides():
    for mode in ("canary", "on"):
        trial = Trial(neighbours(), wrapped(get_policy("worst-fit"), mode, 0.5)).run()
        assert all(state == TaskState.SUCCEEDED for state in trial.states())
        assert len([b for b in trial.binds() if isinstance(b, Bind)]) == 42
