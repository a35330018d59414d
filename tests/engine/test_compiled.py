"""Compiling scorers: what is refused, what is kept on disk, and when that is out of date."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cerebrum.engine.compiled import JIT, Scorer
from cerebrum.model.errors import ConfigError, UnknownName
from tests.engine.stories import fullest

MINE = """
from extra import factor


def score(before, after, task, typical):
    return factor() * after.cpu_free
"""

EXTRA = """
import numba


@numba.njit
def factor():
    return {factor}
"""

CHILD = """
import numpy as np
from mine import score
from cerebrum.engine.compiled import Scorer, call_scorer
from cerebrum.model.layout import NODE, TASK
import numba
nodes, tasks = np.zeros(1, NODE), np.zeros(1, TASK)
nodes["cpu_free"] = 10

@numba.njit
def call(address, nodes, tasks):
    return call_scorer(address, nodes[0], nodes[0], tasks[0], tasks)

print(call(Scorer(score).address, nodes, tasks))
"""

compiled_only = pytest.mark.skipif(not JIT, reason="is about compiled code; Numba is off")


def test_a_scorer_with_other_arguments_is_refused_by_name():
    with pytest.raises(ConfigError, match=r"score: a scorer takes \(before, after"):
        Scorer(lambda node, pod: 1.0, name="score")


@compiled_only
def test_a_scorer_that_cannot_be_compiled_says_which_and_why():
    def broken(before, after, task, typical):
        return after.cpu_fre

    def worse(before, after, task, typical):
        return "high"

    with pytest.raises(
        UnknownName, match="broken: unknown field 'cpu_fre': did you mean 'cpu_free'"
    ):
        _ = Scorer(broken).address
    with pytest.raises(ConfigError, match="worse: cannot be compiled"):
        _ = Scorer(worse).address


def test_a_scorer_is_known_to_look_at_memory_through_what_it_calls():
    def helper(node):
        return node.memory_free

    def direct(before, after, task, typical):
        return float(after.memory_free)

    def indirect(before, after, task, typical):
        return float(helper(after))

    assert Scorer(direct).looks_at_memory
    assert Scorer(indirect).looks_at_memory
    assert not fullest.looks_at_memory


@compiled_only
def test_a_change_in_a_helpers_file_is_seen_by_the_next_process(tmp_path: Path):
    """Numba's own cache looks at the scorer's file only and would run the old code."""

    def score() -> float:
        paths = [str(tmp_path), *sys.path]
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "NUMBA_CACHE_DIR": str(cache)}
        done = subprocess.run(
            [sys.executable, "-c", CHILD], env=env, check=True, capture_output=True, text=True
        )
        return float(done.stdout)

    cache = tmp_path / "cache"
    (tmp_path / "mine.py").write_text(MINE)
    (tmp_path / "extra.py").write_text(EXTRA.format(factor=2.0))
    assert score() == 20.0
    kept = sorted(path for path in cache.rglob("mine*/*") if path.is_file())
    assert kept, "nothing was kept: does Numba still ask our cache locator?"
    assert score() == 20.0
    assert sorted(path for path in cache.rglob("mine*/*") if path.is_file()) == kept
    (tmp_path / "extra.py").write_text(EXTRA.format(factor=3.0))
    assert score() == 30.0
