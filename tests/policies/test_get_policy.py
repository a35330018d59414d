"""Policies from names, files, entry points and objects; and what is said when there is none."""

from __future__ import annotations

import textwrap
from importlib.metadata import EntryPoint

import pytest

from cerebrum import policies
from cerebrum.engine.compiled import JIT, scorer
from cerebrum.engine.incremental import Incremental
from cerebrum.model.errors import CerebrumError, ConfigError, UnknownName
from cerebrum.policies import POLICIES, get_policy, policy_names
from tests.engine.stories import fullest, node, scenario, simulate, task, told

TWO_NODES = [node("big", 8), node("small", 2)]


@pytest.fixture
def mine(tmp_path):
    """Writes `mine.py` and gives what names something in it."""

    def write(code: str) -> str:
        (tmp_path / "mine.py").write_text(textwrap.dedent(code))
        return f"{tmp_path}/mine.py"

    return write


def placed(policy) -> str:
    return told(simulate(scenario(TWO_NODES, [task("t", 2)]), policy))[0].split("@")[1]


def complaint(*args, **options) -> str:
    with pytest.raises(CerebrumError) as problem:
        get_policy(*args, **options)
    return str(problem.value)


@pytest.mark.parametrize("name", policy_names())
def test_every_name_gives_a_policy_with_a_name(name):
    policy = get_policy(name)
    assert policy.name
    assert get_policy(name.replace("-", "_").upper()).name == policy.name


def test_every_policy_says_where_it_comes_from():
    for target in POLICIES.values():
        module = target.partition(":")[0]
        assert __import__(module, fromlist=["x"]).__doc__


def test_a_wrong_name_is_answered_with_the_nearest():
    with pytest.raises(UnknownName) as problem:
        get_policy("best_fitt")
    assert problem.value.nearest == "best-fit"


def test_rules_of_a_profile_can_be_chosen():
    policy = get_policy("fgd", gpus="worst", ties="random", queue="block", preempt=True)
    assert isinstance(policy, Incremental)
    rules = policy.rules
    assert (rules.gpus, rules.ties, rules.queue, rules.preempt) == (
        "worst",
        "random",
        "block",
        True,
    )


def test_options_can_be_written_in_the_name():
    assert get_policy("fgd:queue=reject").rules.queue == "reject"
    assert get_policy("pwr-fgd:200").name == "pwr200-fgd800"
    assert get_policy("pwr-fgd:200,queue=block").rules.queue == "block"


def test_a_scorer_in_a_file_of_ones_own(mine):
    path = mine("""
        def score(before, after, task, typical):
            return -float(after.cpu_free)
    """)
    assert placed(get_policy(f"{path}:score")) == "small"


def test_a_scorer_may_call_compiled_functions(mine):
    path = mine("""
        from cerebrum.engine.compiled import kernel, scorer

        @kernel
        def left(node):
            return float(node.cpu_free)

        @scorer
        def roomy(before, after, task, typical):
            return left(after)
    """)
    policy = get_policy(f"{path}:roomy")
    assert (policy.name, placed(policy)) == ("roomy", "big")


def test_a_scorer_is_compiled_anew_when_the_file_changes(mine):
    text = "def score(before, after, task, typical):\n    return {}float(after.cpu_free)\n"
    assert placed(get_policy(f"{mine(text.format('-'))}:score")) == "small"
    assert placed(get_policy(f"{mine(text.format(''))}:score")) == "big"


def test_a_vectorised_scorer(mine):
    path = mine("""
        import numpy as np

        def score(snapshot, task):
            return -snapshot.nodes["cpu_free"].astype(float)
    """)
    assert placed(get_policy(f"{path}:score")) == "small"


def test_a_vectorised_scorer_sees_every_change_and_may_veto():
    def emptiest(snapshot, task):
        free = snapshot.nodes["cpu_free"].astype(float)
        free[snapshot.node_names.index("n2")] = float("-inf")
        return free

    story = scenario([node(f"n{i}") for i in range(3)], [task(f"t{i}") for i in range(3)])
    lines = told(simulate(story, get_policy(emptiest)))
    assert lines == ["0 bound t0@n0", "0 bound t1@n1", "0 bound t2@n0"]


@pytest.mark.parametrize(
    ("result", "message"),
    [
        ("float('nan')", "scores node 'big' nan"),
        ("float('inf')", "scores node 'big' inf"),
    ],
)
def test_a_vectorised_score_must_be_a_number(mine, result, message):
    path = mine(f"""
        import numpy as np

        def score(snapshot, task):
            return np.full(len(snapshot.nodes), {result})
    """)
    with pytest.raises(ConfigError, match=message):
        placed(get_policy(f"{path}:score"))


def test_a_vectorised_score_must_have_one_number_a_node():
    def short(snapshot, task):
        return [1.0]

    with pytest.raises(
        ConfigError, match=r"expected a number for each of 2 nodes, got float64 \(1,\)"
    ):
        placed(get_policy(short))


def test_a_class_of_ones_own_gets_its_options(mine):
    path = mine("""
        from cerebrum.model.decisions import Bind, Decision

        class Last:
            def __init__(self, back=1):
                self.back = back

            def decide(self, snapshot):
                waiting = snapshot.pending
                if not len(waiting):
                    return Decision()
                return Decision((Bind(int(waiting[0]), len(snapshot.nodes) - self.back),))
    """)
    assert get_policy(f"{path}:Last").name == "Last"
    assert placed(get_policy(f"{path}:Last")) == "small"
    assert placed(get_policy(f"{path}:Last", back=2)) == "big"


def test_a_function_may_give_a_policy_or_a_profile(mine):
    path = mine("""
        def profile():
            return {"scores": [{"name": "worst-fit"}]}

        def policy():
            from cerebrum.policies import get_policy
            return get_policy("best-fit")
    """)
    assert placed(get_policy(f"{path}:profile", queue="block")) == "big"
    assert placed(get_policy(f"{path}:policy")) == "small"


def test_an_object_that_decides_is_taken_as_it_is():
    class Custom:
        name = "custom"

        def decide(self, snapshot):
            raise NotImplementedError

    custom = Custom()
    assert get_policy(custom) is custom


def test_a_compiled_scorer_is_a_policy():
    assert placed(get_policy(fullest)) == "small"
    assert placed(
        get_policy(scorer(lambda before, after, task, typical: float(after.cpu_free)))
    ) == ("big")


def test_a_policy_of_an_installed_package(monkeypatch):
    point = EntryPoint("lonely", "tests.policies.test_get_policy:Lonely", policies.GROUP)
    broken = EntryPoint("broken", "no.such.module:Thing", policies.GROUP)
    monkeypatch.setattr(policies, "entry_points", lambda group: [point, broken])
    assert get_policy("lonely").name == "lonely"
    assert "lonely" in policy_names()
    assert complaint("lonley") == "unknown policy 'lonley': did you mean 'lonely'?"
    assert "entry point 'broken' (no.such.module:Thing) cannot be loaded" in complaint("broken")


class Lonely:
    """What another package might bring."""

    def decide(self, snapshot):
        raise NotImplementedError


@pytest.mark.parametrize(
    ("code", "name", "message"),
    [
        ("", "score", "mine.py: unknown attribute 'score'"),
        ("def scores(a, b): pass", "score", "did you mean 'scores'?"),
        ("def score(a): pass", "score", "this one takes (a)"),
        ("def score(a, b, c): pass", "score", "this one takes (a, b, c)"),
        ("score = 3", "score", "expected a policy, a profile or a function of"),
        ("def score(:", "score", "mine.py:1: not valid Python: invalid syntax"),
        ("x = 1\ny = x / 0", "score", "mine.py:2: fails with ZeroDivisionError: division by zero"),
        ("class P:\n    def decide(self): pass", "P", "decide takes (snapshot), this one takes ()"),
        ("class P:\n    pass", "P", "expected an object with decide(snapshot)"),
        ("class P:\n    def __init__(self, n): pass", "P", "cannot be made with no options"),
        ("def make(): pass", "make", "expected the function to give a policy, got None"),
    ],
)
def test_what_is_wrong_in_a_file_of_ones_own_is_said(mine, code, name, message):
    path = mine(code)
    assert message in complaint(f"{path}:{name}")


@pytest.mark.skipif(not JIT, reason="nothing is compiled")
@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("after.cpu_fee * 1.0", "score: unknown field 'cpu_fee': did you mean 'cpu_free'?"),
        ("no_such_thing * 1.0", "score: cannot be compiled by Numba:"),
    ],
)
def test_a_scorer_that_cannot_be_compiled_is_named(mine, body, message):
    path = mine(f"def score(before, after, task, typical):\n    return {body}\n")
    assert message in complaint(f"{path}:score")


def test_a_file_without_a_name_lists_what_it_has(mine):
    path = mine("import math\ndef one(a, b): pass\ndef two(a, b): pass\n")
    assert "say which one" in complaint(path)
    assert "one, two" in complaint(path)


def test_a_missing_file_is_said():
    assert complaint("./nowhere.py:score") == "nowhere.py: there is no such file"
    assert complaint("nowhere.yaml") == "nowhere.yaml: cannot be read: No such file or directory"
