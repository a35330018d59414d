"""What a mixer must never do, whatever its weights."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from cerebrum.learn.mixing import METHODS, make_mixer  # noqa: E402

FEATURES, STATES = 5, 4
seeds = st.integers(0, 10_000)
sizes = st.integers(1, 40)


def _case(seed: int, agents: int, method: str = "qmix"):
    torch.manual_seed(seed)
    mixer = make_mixer(method, FEATURES, STATES)
    q = 5 * torch.randn(3, agents)
    active = (torch.rand(3, agents) < 0.7).float()
    return mixer, q, active, torch.randn(3, agents, FEATURES), torch.randn(3, STATES)


@given(seeds, sizes)
def test_the_team_never_gains_by_an_agent_losing(seed, agents):
    mixer, q, active, seen, state = _case(seed, agents)
    q.requires_grad_()
    mixer(q, active, seen, state).sum().backward()
    assert (q.grad >= 0).all()
    assert (q.grad[active == 0] == 0).all()


@given(seeds, sizes, st.sampled_from(METHODS))
def test_the_order_of_agents_changes_nothing(seed, agents, method):
    mixer, q, active, seen, state = _case(seed, agents, method)
    order = torch.randperm(agents)
    plain = mixer(q, active, seen, state)
    shuffled = mixer(q[:, order], active[:, order], seen[:, order], state)
    expected = plain if plain.shape[1] == 1 else plain[:, order]
    np.testing.assert_allclose(shuffled.detach(), expected.detach(), rtol=1e-4, atol=1e-4)


@given(seeds, sizes)
def test_an_agent_without_a_choice_is_as_if_it_were_not_there(seed, agents):
    mixer, q, active, seen, state = _case(seed, agents)
    active[:] = active[:1]
    there = active[0].bool()
    plain = mixer(q, active, seen, state)
    without = mixer(q[:, there], active[:, there], seen[:, there], state)
    np.testing.assert_allclose(without.detach(), plain.detach(), rtol=1e-4, atol=1e-4)
