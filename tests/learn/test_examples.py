"""The examples train other libraries' algorithms on our environment, here for a few steps."""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def example(name: str):
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
@pytest.mark.needs(module="sb3_contrib")
def test_maskable_ppo_trains():
    learnt, drawn = example("train_with_maskable_ppo").main(steps=512, episodes=2)
    assert all(math.isfinite(value) and value < 0 for value in (learnt, drawn))
    assert learnt != drawn


@pytest.mark.slow
@pytest.mark.needs(module="torchrl")
def test_torchrl_trains():
    returns = example("train_with_torchrl").main(frames=512)
    assert len(returns) == 2
    assert all(math.isfinite(value) and value < 0 for value in returns)
