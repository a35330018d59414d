"""Agents in network namespaces of their own: links that are cut, in both directions or in one."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cerebrum.services import wire
from tests.chaos.servers import LEASE_S, Federation, wait_for
from tests.chaos.story import Story
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
    ip(f"link del {NEAR}")  # what a run that was killed has left
    ip(f"netns del {SPACE}")
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
    with Federation(tmp_path, host=HERE, clusters={"east": SPACE, "west": ""}) as made:
        made.start()
        yield made


def begin(federation: Federation, story: Story, spec: wire.WorkflowSpec) -> str:
    """Have `east` take it on, and see its first tasks at work there."""
    with federation.client() as client:
        client.drain("west")
    workflow_id = story.insist(spec)

    def at_work() -> bool:
        return set(running(federation, workflow_id).values()) == {"east"}

    wait_for(at_work, "tasks run behind the link")
    with federation.client() as client:
        client.uncordon("west")
    return workflow_id


def running(federation: Federation, workflow_id: str) -> dict[str, str]:
    """Which of its tasks run where, as far as the controller knows."""
    with federation.client() as client:
        tasks = client.tasks(workflow_id, state="running")
        return {str(task["uid"]): str(task["cluster"]) for task in tasks}


@pytest.mark.parametrize("way", ["cut", "cut_answers"])
def test_cut_off_for_long_its_tasks_are_replaced_and_take_effect_once(
    federation: Federation, link: Link, way: str
) -> None:
    """They last longer than their fence: one that comes to its effect behind the cut in time, and
    cannot say so, would be repeated (rule 6)."""
    story = Story(federation, "long")
    spec = workflow("long", federation.effects, lasts_s=15.0, on_cluster_lost="replace")
    workflow_id = begin(federation, story, spec)
    getattr(link, way)()
    wait_for(lambda: "west" in running(federation, workflow_id).values(), "tasks run elsewhere")
    link.join()
    assert story.see_end(workflow_id) == "succeeded"
    assert problems("long", federation.effects, begins=(1, 2, 3)) == []


@pytest.mark.parametrize("cut_s", [3.0, 16.0], ids=["for a moment", "beyond its lease"])
@pytest.mark.parametrize("way", ["cut", "cut_answers"])
def test_cut_off_and_waited_for_it_goes_on_and_nothing_begins_twice(
    federation: Federation, link: Link, way: str, cut_s: float
) -> None:
    story = Story(federation, "short")
    workflow_id = begin(federation, story, workflow("short", federation.effects, lasts_s=2.0))
    getattr(link, way)()
    time.sleep(cut_s)
    if way == "cut" and cut_s > LEASE_S:
        with federation.client() as client:
            assert next(client.events(kind="cluster_lost"))["cluster"] == "east"
    link.join()
    assert story.see_end(workflow_id) == "succeeded"
    assert problems("short", federation.effects) == []
