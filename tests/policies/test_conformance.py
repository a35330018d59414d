"""Every registered policy keeps the contract, check by check; and the checks catch who does not."""

from __future__ import annotations

import pytest

from cerebrum.model.decisions import NOTHING, Bind, Decision
from cerebrum.policies import get_policy, policy_names
from cerebrum.policies.conformance import CHECKS, ConformanceError, check_policy

BATCH_ORDERS = ("fcfs", "sjf", "f1", "wfp3", "unicep")
VARIANTS = [
    *policy_names(),
    *(f"{name}+easy" for name in BATCH_ORDERS),
    "sjf:queue=skip",
    "sjf:final=false",
    "sjf+easy:final=false",
    "sjf:score=fgd",
    "pwr-fgd:800",
    "ecsched-ml:round_s=0,rounds=3",
    "ecsched-dp:solver=paths",
    "swarm:starts=0,round_s=0",
    "topology-compact:score=best-fit",
]


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("name", VARIANTS)
def test_a_policy_keeps_the_contract(name: str, check: str) -> None:
    CHECKS[check](lambda: get_policy(name))


@pytest.mark.parametrize("gpus", ["best", "worst", "first", "random", "score", "first-used"])
@pytest.mark.parametrize("ties", ["first", "name", "random"])
def test_every_rule_of_a_profile_keeps_the_contract(gpus: str, ties: str) -> None:
    check_policy(lambda: get_policy("fgd", gpus=gpus, ties=ties))


@pytest.mark.parametrize("queue", ["skip", "block", "reject"])
def test_every_discipline_keeps_the_contract(queue: str) -> None:
    check_policy(lambda: get_policy("best-fit", queue=queue))
    check_policy(lambda: get_policy(lambda: {"scores": [{"name": "fgd"}], "queue": queue}))


class Stubborn:
    """Binds the first task to the first node, room or not."""

    name = "stubborn"

    def decide(self, snapshot):
        return Decision((Bind(int(snapshot.pending[0]), 0),))


class Moody:
    """Changes its mind once it was asked often enough."""

    name = "moody"

    def __init__(self) -> None:
        self._first, self._then, self.asked = get_policy("best-fit"), get_policy("worst-fit"), 0

    def decide(self, snapshot):
        self.asked += 1
        return (self._first if self.asked < 80 else self._then).decide(snapshot)


class Lazy:
    """Never does anything."""

    name = "lazy"

    def decide(self, snapshot):
        return NOTHING


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        (Stubborn, "never_infeasible: Bind.*cannot be carried out"),
        (Lazy, "never_infeasible: task 't00' fits an idle node but ended PENDING"),
    ],
)
def test_the_checks_catch_who_breaks_the_contract(policy: type, message: str) -> None:
    with pytest.raises(ConformanceError, match=message):
        check_policy(policy)


def test_a_policy_that_remembers_what_it_should_not_is_caught() -> None:
    with pytest.raises(ConformanceError, match="deterministic: a policy that was used before"):
        check_policy(Moody)
