"""Agents in network namespaces of their own: links that are cut, in both directions or in one."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.chaos.killing import insist, see_it_end
from tests.chaos.servers import Federation
from tests.chaos.work import problems, workflow

pytestmark = [pytest.mark.slow, pytest.mark.needs(command="ip")]
HERE, THERE = "10.213.77.1", "10.213.77.2"
SPACE, NEAR, FAR = "cerebrum-east", "cerebrum-n", "cerebrum-f"


def ip(arguments: str) -> bool:
    """One command of iproute2; whether it worked."""
    return (
        subprocess.run(["ip", *arguments.split()], capture_output=True, check=False).returncode == 0
    )


class Link:
    """The only way between the controller and the agent `east`."""

    def cut(self) -> None:
        """Nothing passes."""
        assert ip(f"-n {SPACE} link set {FAR} down")

    def cut_answers(self) -> None:
        """Requests arrive, answers do not."""
        assert ip(f"route add blackhole {THERE}/32")

    def join(self) -> None:
        """Everything passes again."""
        ip(f"-n {SPACE} link set {FAR} up")
        ip(f"route del blackhole {THERE}/32")


@pytest.fixture
def link(require: Callable[[bool, str], None]) -> Iterator[Link]:
    require(ip(f"netns add {SPACE}"), "network namespaces cannot be made here (not root?)")
    try:
        assert ip(f"link add {NEAR} type veth peer name {FAR} netns {SPACE}")
        assert ip(f"addr add {HERE}/30 dev {NEAR}")
        assert ip(f"link set {NEAR} up")
        assert ip(f"-n {SPACE} addr add {THERE}/30 dev {FAR}")
        assert ip(f"-n {SPACE} link set {FAR} up")
        assert ip(f"-n {SPACE} link set lo up")
        yield Link()
    finally:
        ip(f"route del blackhole {THERE}/32")
        ip(f"link del {NEAR}")
        ip(f"netns del {SPACE}")


@pytest.fixture
def federation(tmp_path: Path, link: Link) -> Iterator[Federation]:
    """`east` behind the link, `west` beside the controller."""
    prefixes = {"east": ("ip", "netns", "exec", SPACE), "west": ()}
    with Federation(tmp_path, host=HERE, prefixes=prefixes) as made:
        made.start()
        yield made


@pytest.mark.parametrize("way", ["cut", "cut_answers"])
def test_cut_off_for_long_its_tasks_are_replaced_and_take_effect_once(
    federation: Federation, link: Link, way: str
) -> None:
    spec = workflow("long", federation.effects, lasts_s=4.0, on_cluster_lost="replace")
    workflow_id = insist(federation, spec.model_copy(update={"assignment": "spread"}))
    time.sleep(3.0)
    getattr(link, way)()
    time.sleep(30.0)  # lease and margin, and some more
    link.join()
    assert see_it_end(federation, workflow_id) == "succeeded"
    time.sleep(5.0)  # what should not be there any more would end now
    assert problems("long", federation.effects, begins=(1, 2)) == []


def test_cut_off_for_a_moment_nothing_begins_twice(federation: Federation, link: Link) -> None:
    workflow_id = insist(federation, workflow("short", federation.effects, lasts_s=2.0))
    time.sleep(2.0)
    link.cut()
    time.sleep(3.0)
    link.join()
    assert see_it_end(federation, workflow_id) == "succeeded"
    assert problems("short", federation.effects) == []
