"""Random clusters of zones, racks and hosts, and tasks with rules about each other."""

from __future__ import annotations

import dataclasses

import numpy as np
from hypothesis import strategies as st

from cerebrum.model.cluster import Taint
from cerebrum.model.constraints import Constraints, Requirement, Toleration
from cerebrum.model.peers import (
    NO_RULES,
    UNLABELLED,
    HostPort,
    PeerRules,
    PeerSelector,
    PeerTerm,
    Spread,
    TaskLabels,
)
from cerebrum.model.scenario import Scenario
from cerebrum.model.tasks import Task
from tests.engine.stories import node, scenario, task

HERE = ("default",)
KEYS = ("zone", "rack", "host")
APPS = ("web", "db", "job")


def labels(app: str = "", namespace: str = "default", **more: str) -> TaskLabels:
    pairs = {**({"app": app} if app else {}), **more}
    team = (("team", "a"),) if namespace == "default" else (("team", "b"),)
    return TaskLabels(namespace, tuple(sorted(pairs.items())), team)


def about(*apps: str, namespaces: tuple[str, ...] = HERE) -> PeerSelector:
    """Tasks of these apps; of any app without."""
    asked = (Requirement("app", "In", apps),) if apps else ()
    return PeerSelector(asked, namespaces)


SELECTORS = (
    about("web"),
    about("db"),
    about("web", "job"),
    about(),
    about("web", namespaces=("default", "other")),
    PeerSelector((Requirement("app", "NotIn", ("db",)),), HERE),
    PeerSelector((Requirement("app", "Exists"),), (), ()),
    PeerSelector((), (), (Requirement("team", "In", ("b",)),)),
    PeerSelector(nothing=True),
)
PORTS = (
    HostPort(80),
    HostPort(80, "UDP"),
    HostPort(80, ip="10.0.0.1"),
    HostPort(80, ip="10.0.0.2"),
    HostPort(443),
)
LABELS = (
    UNLABELLED,
    *(labels(app) for app in APPS),
    labels("web", tier="front"),
    labels("web", "other"),
)


def peer_task(name: str, rules: PeerRules = NO_RULES, who=UNLABELLED, **more) -> Task:
    plain = task(name, **more)
    chosen = dataclasses.replace(plain.task_class, peers=rules)
    return dataclasses.replace(plain, task_class=chosen, labels=who)


def cluster(zones: int = 2, racks: int = 2, hosts: int = 2, cpu: int = 8, **more):
    return [
        node(
            f"z{z}r{r}h{h}",
            cpu,
            labels={"zone": f"z{z}", "rack": f"z{z}r{r}", "host": f"z{z}r{r}h{h}"},
            **more,
        )
        for z in range(zones)
        for r in range(racks)
        for h in range(hosts)
    ]


@st.composite
def some_nodes(draw):
    nodes = []
    for i in range(draw(st.integers(1, 7))):
        here = {"zone": draw(st.sampled_from("abc")), "rack": draw(st.sampled_from("pq"))}
        here["host"] = f"n{i}"
        for key in KEYS:
            if draw(st.integers(0, 9)) == 0:
                del here[key]
        if draw(st.booleans()):
            here["disk"] = "ssd"
        tainted = draw(st.integers(0, 5)) == 0
        nodes.append(
            node(
                f"n{i}",
                draw(st.integers(2, 8)),
                labels=here,
                taints=(Taint("own"),) if tainted else (),
            )
        )
    return nodes


terms = st.builds(PeerTerm, st.sampled_from(SELECTORS), st.sampled_from(KEYS))
spreads = st.builds(
    Spread,
    st.sampled_from(SELECTORS),
    st.sampled_from(KEYS),
    st.integers(1, 2),
    st.integers(1, 4),
    st.booleans(),
    st.booleans(),
)


@st.composite
def rules(draw) -> PeerRules:
    """Mostly one kind of rule, now and then several."""
    kinds = draw(st.sampled_from(["", "", "n", "a", "s", "p", "x", "na", "ss", "as", "nn", "nasp"]))
    several = st.lists(terms, min_size=1, max_size=2)
    return PeerRules(
        near=tuple(draw(several)) if "n" in kinds else (),
        apart=tuple(draw(several)) if "a" in kinds else (),
        spread=tuple(draw(spreads) for _ in range(kinds.count("s"))),
        ports=tuple(draw(st.lists(st.sampled_from(PORTS), min_size=1, max_size=2)))
        if "p" in kinds
        else (),
        exclusive=(draw(st.sampled_from(["claim", "other"])),) if "x" in kinds else (),
    )


CONSTRAINTS = (
    Constraints(),
    Constraints(),
    Constraints(selector=(("disk", "ssd"),)),
    Constraints(tolerations=(Toleration("own", "Exists"),)),
)


@st.composite
def some_tasks(draw, most=16, gangs=False):
    """Few kinds of tasks, several of each, as deployments are."""
    kinds = [
        (draw(rules()), draw(st.sampled_from(LABELS)), draw(st.sampled_from(CONSTRAINTS)))
        for _ in range(draw(st.integers(1, 5)))
    ]
    found = []
    for i in range(draw(st.integers(0, most))):
        asked, who, constraints = draw(st.sampled_from(kinds))
        found.append(
            peer_task(
                f"t{i}",
                asked,
                who,
                cpu=draw(st.sampled_from([0.5, 1, 2])),
                memory=draw(st.sampled_from([0, 700])),
                at=float(draw(st.integers(0, 6))),
                runs=float(draw(st.sampled_from([1, 2, 3, np.inf]))),
                priority=draw(st.sampled_from([0, 0, 1, 2])),
                job=draw(st.sampled_from(["", "", "j1"])) if gangs else "",
                constraints=constraints,
            )
        )
    return found


@st.composite
def peer_stories(draw) -> Scenario:
    gangs = draw(st.booleans())
    return scenario(
        draw(some_nodes()), draw(some_tasks(gangs=gangs)), {"j1": draw(st.integers(0, 4))}
    )
