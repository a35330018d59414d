"""Profiles in YAML: what they may say, and how they are corrected."""

from __future__ import annotations

import textwrap

import pytest

from cerebrum.model.errors import CerebrumError, ConfigError
from cerebrum.policies import get_policy
from cerebrum.policies.profile import FILTERS, load_profile, parse
from tests.engine.stories import node, scenario, simulate, task, told


@pytest.fixture
def profile(tmp_path):
    """Writes `mine.yaml` and gives its path."""

    def write(text: str) -> str:
        path = tmp_path / "mine.yaml"
        path.write_text(textwrap.dedent(text))
        return str(path)

    return write


def complaint(path: str) -> str:
    with pytest.raises(CerebrumError) as problem:
        get_policy(path)
    return str(problem.value).removeprefix(path.removesuffix("mine.yaml"))


def test_a_whole_profile(profile):
    policy = load_profile(
        profile("""
        name: quiet
        scores:
          - {name: fgd, weight: 900, rounding: truncate}
          - {name: pwr, weight: 100, normalize: minmax, equal: 100, rounding: truncate}
        gpus: score
        ties: name
        queue: {discipline: reject, order: fcfs}
        preempt: true
        """)
    )
    first, second = policy.scores
    assert policy.name == "quiet"
    assert (first.scorer.name, first.weight, first.truncate) == ("fgd", 900, True)
    assert (second.normalize, second.equal, second.truncate) == ("minmax", 100, True)
    rules = policy.rules
    assert (rules.gpus, rules.ties, rules.queue, rules.preempt) == ("score", "name", "reject", True)


def test_the_least_a_profile_says(profile):
    policy = load_profile(profile("scores: [{name: best-fit}]"))
    assert policy.name == "mine"
    assert (policy.rules.gpus, policy.rules.ties, policy.rules.queue) == ("best", "first", "skip")


def test_the_queue_in_short(profile):
    assert load_profile(profile("{scores: [{name: fgd}], queue: block}")).rules.queue == "block"


def test_a_scorer_file_is_looked_for_beside_the_profile(profile, tmp_path):
    code = "def score(before, after, task, typical):\n    return float(after.cpu_free)\n"
    (tmp_path / "own.py").write_text(code)
    policy = get_policy(profile("scores: [{name: 'own.py:score'}]"))
    story = scenario([node("small", 2), node("big", 8)], [task("t")])
    assert told(simulate(story, policy)) == ["0 bound t@big"]


def test_weights_decide(profile):
    text = "scores: [{{name: best-fit, weight: {}}}, {{name: worst-fit, weight: {}}}]"
    story = scenario([node("small", 2), node("big", 8)], [task("t")])
    for weights, winner in (((2, 1), "small"), ((1, 2), "big")):
        policy = get_policy(profile(text.format(*weights)))
        assert told(simulate(story, policy)) == [f"0 bound t@{winner}"]


WRONG = {
    "": "mine.yaml: expected a profile with scores, got None",
    "- fgd": "mine.yaml: expected a profile with scores, got ['fgd']",
    "name: x": "mine.yaml:1: scores: is missing",
    "scores: []": "mine.yaml:1: scores: expected",
    "scores: [{name: fdg}]": "scores[0].name: unknown scorer 'fdg': did you mean 'fgd'?",
    "scores:\n  - name: fgd\n    wieght: 3": (
        "scores[0].wieght: unknown field 'wieght': did you mean 'weight'?"
    ),
    "scores: [{name: fgd}]\ngpu: best": ":2: gpu: unknown field 'gpu': did you mean 'gpus'?",
    "scores: [{name: fgd}]\ngpus: bets": (
        "mine.yaml:2: gpus: expected one of best, worst, first, random, score, first-used, "
        "got 'bets': did you mean 'best'?"
    ),
    "scores: [{name: fgd, weight: .nan}]": "scores[0].weight: expected a finite number",
    "scores: [{name: fgd, weight: -.inf}]": "scores[0].weight: expected a finite number",
    "scores: [{name: fgd, weight: true}]": "scores[0].weight: expected a valid number",
    "scores: [{name: fgd, weight: '3'}]": "scores[0].weight: expected a valid number",
    "scores: [{name: fgd, equal: 101}]": "scores[0].equal: expected less than or equal",
    "scores: [{name: fgd}]\npreempt: 1": "mine.yaml:2: preempt: expected a valid boolean, got 1",
    "scores: [{name: fgd}]\nqueue: {order: sjf}": "mine.yaml:2: queue.order: expected one of fcfs",
    "scores: [{name: fgd}]\nqueue: wait": "mine.yaml:2: queue.discipline: expected one of skip",
    "scores: [{name: fgd}]\nties: first\nties: name": "mine.yaml:3: ties: given twice",
    "scores: [{name: fgd": "not valid YAML: did not find",
    "a: &x [1]\nscores: *x": "YAML aliases are not supported",
    "scores: [{name: 'fgd:3'}]": "scorer 'fgd' takes no argument, got '3'",
    "scores: [{name: 'fgd-original:x'}]": "scorer 'fgd-original' takes a whole number, got 'x'",
    "scores: [{name: ./no.py:f}]": "there is no such file",
    "scores: [{name: fgd}]\nfilters: [taints]": (
        "mine.yaml:2: filters: filters cannot be switched off, and these are missing: resources"
    ),
    "scores: [{name: fgd}]\nfilters: [tains]": "did you mean 'taints'?",
    "[" * 200: "mine.yaml",
}


@pytest.mark.parametrize("text", WRONG)
def test_a_wrong_profile_is_answered_with_place_and_remedy(profile, text):
    assert WRONG[text] in complaint(profile(text))


def test_yaml_is_data_never_code(profile):
    assert "not valid YAML" in complaint(profile("scores: !!python/object/apply:os.getcwd []"))


def test_what_is_no_text_is_refused(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_bytes(b"\xff\xfe\x00scores")
    assert "mine.yaml" in complaint(str(path))


def test_a_huge_file_is_refused(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_bytes(b"#" * 2_000_000)
    assert "expected at most 1,048,576 bytes" in complaint(str(path))


def test_all_filters_may_be_listed():
    assert parse({"scores": [{"name": "fgd"}], "filters": list(FILTERS)}).filters == list(FILTERS)


def test_a_profile_as_a_dict_is_checked_too():
    with pytest.raises(ConfigError, match="scores: is missing"):
        load_profile({})


def test_the_shape_the_simulators_reader_brings_along():
    """`Scenario.profile` of a `simon` experiment."""
    policy = load_profile(
        {
            "scores": [{"name": "fgd-original", "rounding": "truncate"}],
            "gpus": "score",
            "queue": "reject",
        }
    )
    assert policy.rules.queue == "reject"
