"""A call that does not end is ended, and nothing else is hit."""

from __future__ import annotations

import signal
import threading
import time
from typing import Any

import pytest

from cerebrum.policies import get_policy
from cerebrum.policies.conformance import busy_day
from cerebrum.policies.learned.guards import CutOff, Limits
from cerebrum.policies.learned.ladder import Standing
from cerebrum.policies.learned.rollout import beside
from cerebrum.policies.trial import Trial
from cerebrum.services.cutting_off import within


def for_ever() -> Any:
    while True:
        try:
            sum(range(1000))
        except Exception:
            continue


def test_a_call_that_does_not_end_is_cut_off():
    with pytest.raises(CutOff, match=r"within 0\.05 s"):
        within(0.05, for_ever)


def test_a_quick_call_is_left_alone_and_leaves_nothing_behind():
    before = signal.getsignal(signal.SIGALRM)
    assert within(0.02, lambda: 7) == 7
    with pytest.raises(KeyError):
        within(0.02, lambda: {}[1])
    time.sleep(0.05)  # an alarm left behind would ring now
    assert signal.getsignal(signal.SIGALRM) is before
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_in_another_thread_a_call_takes_what_it_takes():
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(within(0.01, lambda: time.sleep(0.05))))
    thread.start()
    thread.join()
    assert found == [None]


class Hanging:
    """Decides like best fit for a while, and then never returns."""

    name = "hanging"

    def __init__(self, after: int) -> None:
        self._policy, self._left = get_policy("best-fit"), after

    def decide(self, snapshot: Any) -> Any:
        self._left -= 1
        return self._policy.decide(snapshot) if self._left >= 0 else for_ever()


@pytest.mark.parametrize("after", [0, 10])
@pytest.mark.parametrize("mode", ["shadow", "canary", "on"])
def test_a_candidate_that_never_returns_costs_no_placement(mode: Any, after: int):
    limits = Limits(deadline_s=0.02, first_s=0.2)
    policy = beside(
        Hanging(after), get_policy("best-fit"), Standing(mode, 1.0), limits=limits, within=within
    )
    binds = Trial(busy_day(), policy).run().binds()
    assert binds == Trial(busy_day(), get_policy("best-fit")).run().binds()
    assert policy.standing.mode == "off"
    assert policy.standing.trips["deadline"] == len(policy.standing.history)
    assert "no answer within 0.2 s" in policy.standing.history[-1].reason
