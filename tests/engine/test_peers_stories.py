"""Rules about other tasks, told one by one, where the naive twin alone would not say why."""

from __future__ import annotations

import pytest

from cerebrum.engine.engine import Engine
from cerebrum.model.constraints import Constraints
from cerebrum.model.errors import InvalidEvent
from cerebrum.model.events import Event, EventKind, Refusal
from cerebrum.model.peers import NO_RULES, UNLABELLED, HostPort, PeerRules, PeerTerm, Spread
from cerebrum.model.scenario import NodeChange, NodeEvent
from cerebrum.model.tasks import TaskTable
from tests.engine.peer_worlds import about, cluster, labels, peer_task
from tests.engine.stories import fullest, node, policy, scenario, simulate, task, told

WEB, DB = labels("web"), labels("db")


def near(app: str, key: str = "zone") -> PeerRules:
    return PeerRules(near=(PeerTerm(about(app), key),))


def apart(app: str, key: str = "host") -> PeerRules:
    return PeerRules(apart=(PeerTerm(about(app), key),))


def evenly(app: str, key: str = "zone", **more) -> PeerRules:
    return PeerRules(spread=(Spread(about(app), key, **more),))


def starts(story, **rules) -> dict[str, str]:
    """Where each task starts first, compiled and step by step alike."""
    logs = [simulate(story, policy(**rules), compiled) for compiled in (True, False)]
    assert logs[0].engine.log.digest == logs[1].engine.log.digest
    pairs = [line.split()[2].split("@") for line in told(logs[0], "bound")]
    return dict(reversed(pairs))


def live(nodes, tasks, binds: dict[str, str] | None = None, **more) -> Engine:
    """An engine in which all tasks were submitted and some are bound."""
    engine = Engine(scenario(nodes, tasks, **more))
    for i in range(len(tasks)):
        engine.apply(Event(0.0, EventKind.SUBMITTED, i))
    for name, where in (binds or {}).items():
        i = list(engine.scenario.tasks.names).index(name)
        engine.apply(Event(0.0, EventKind.BOUND, i, engine.row_of(where)))
    return engine


def refused(engine: Engine, name: str) -> dict[str, Refusal]:
    i = list(engine.scenario.tasks.names).index(name)
    bits = engine.snapshot().refusals(i)
    return {engine.node_names[row]: Refusal(int(b)) for row, b in enumerate(bits) if b > 0}


def test_the_first_of_its_kind_goes_anywhere_and_the_rest_beside_it():
    crew = [peer_task(f"w{i}", near("web"), WEB, cpu=3) for i in range(4)]
    lonely = peer_task("lonely", near("db"), WEB)
    where = starts(scenario(cluster(cpu=4), [*crew, lonely]))
    assert {place[:2] for name, place in where.items()} == {"z0"}
    assert sorted(where) == ["w0", "w1", "w2", "w3"]  # nobody is a db: lonely never starts


def test_company_on_a_node_without_the_label_is_no_company():
    nodes = [node("bare", 8), node("zoned", 8, labels={"zone": "a"})]
    engine = live(nodes, [peer_task("db", who=DB), peer_task("web", near("db"))], {"db": "bare"})
    assert refused(engine, "web") == dict.fromkeys(("bare", "zoned"), Refusal.POD_AFFINITY)


def test_anti_affinity_holds_for_both_sides():
    """A task without rules stays away from one that wants no company."""
    hermit, plain = peer_task("hermit", apart("web", "rack"), DB), peer_task("web", who=WEB)
    engine = live(cluster(1), [hermit, plain], {"hermit": "z0r0h0"})
    away = dict.fromkeys(("z0r0h0", "z0r0h1"), Refusal.EXISTING_ANTI_AFFINITY)
    assert refused(engine, "web") == away
    with pytest.raises(InvalidEvent, match=r"'web'.*rules about other tasks"):
        engine.apply(Event(0.0, EventKind.BOUND, 1, 1))
    engine.apply(Event(0.0, EventKind.PREEMPTED, 0))
    assert refused(engine, "web") == {}


def test_a_bind_makes_room_for_tasks_passed_over_before():
    """`late` waits for company that is placed behind it in the queue, at the same time."""
    late = peer_task("late", near("db"), WEB, priority=5)
    other = peer_task("other", evenly("db", min_domains=1), UNLABELLED, priority=4)
    story = scenario(cluster(), [late, other, *(peer_task(f"db{i}", who=DB) for i in range(2))])
    assert set(starts(story)) == {"late", "other", "db0", "db1"}


def test_a_task_passed_over_long_ago_is_helped_by_a_later_arrival():
    late, crowd = peer_task("late", near("db"), WEB), [task(f"t{i}", at=i) for i in range(3)]
    story = scenario(cluster(cpu=2), [late, *crowd, peer_task("db", who=DB, at=2)])
    lines = told(simulate(story), "bound")
    assert lines[-1].startswith("2 bound late@z0")


def test_spread_keeps_zones_even():
    story = scenario(cluster(cpu=8), [peer_task(f"w{i}", evenly("web"), WEB) for i in range(7)])
    zones = [place[:2] for place in starts(story).values()]
    assert abs(zones.count("z0") - zones.count("z1")) == 1


def test_too_few_zones_count_as_an_empty_one():
    tasks = [peer_task(f"w{i}", evenly("web", min_domains=3), WEB) for i in range(4)]
    assert len(starts(scenario(cluster(), tasks))) == 2


def test_nodes_that_are_not_eligible_do_not_hold_the_count_down():
    """The zone without SSDs is empty; it counts only if affinity is not honoured."""
    nodes = [
        node("a", 8, labels={"zone": "a", "disk": "ssd"}),
        node("b", 8, labels={"zone": "b", "disk": "hdd"}),
    ]
    ssd = Constraints(selector=(("disk", "ssd"),))
    for honor, started in ((True, 3), (False, 1)):
        rules = evenly("web", honor_affinity=honor)
        tasks = [peer_task(f"w{i}", rules, WEB, constraints=ssd) for i in range(3)]
        assert len(starts(scenario(nodes, tasks))) == started


def test_ports_clash_on_a_node_and_claims_everywhere():
    tasks = [
        *(peer_task(f"p{i}", PeerRules(ports=(HostPort(80),))) for i in range(3)),
        peer_task("udp", PeerRules(ports=(HostPort(80, "UDP"),))),
        *(peer_task(f"x{i}", PeerRules(exclusive=("disk",))) for i in range(2)),
    ]
    engine = live(cluster(1, 1), tasks, {"p0": "z0r0h0", "udp": "z0r0h0", "x0": "z0r0h0"})
    assert refused(engine, "p1") == {"z0r0h0": Refusal.HOST_PORT}
    assert refused(engine, "x1") == dict.fromkeys(("z0r0h0", "z0r0h1"), Refusal.EXCLUSIVE)
    assert len(starts(scenario(cluster(1, 1), tasks))) == 4


def test_tasks_on_a_cordoned_node_count():
    change = NodeEvent(1.0, NodeChange.CORDON, "z0r0h0")
    tasks = [peer_task("web", who=WEB), peer_task("friend", near("web", "rack"), DB, at=2)]
    lines = told(simulate(scenario(cluster(), tasks, node_events=(change,))), "bound")
    assert lines == ["0 bound web@z0r0h0", "2 bound friend@z0r0h1"]


def test_members_of_a_gang_see_each_other():
    gang = [peer_task(f"m{i}", apart("web"), WEB, job="g") for i in range(3)]
    assert starts(scenario(cluster(1, 1), gang, {"g": 3})) == {}
    assert len(set(starts(scenario(cluster(1, 2), gang, {"g": 3})).values())) == 3


def test_the_log_says_why_nothing_took_the_task():
    tasks = [
        peer_task("web", apart("web", "zone"), WEB),
        peer_task("w2", apart("web", "zone"), WEB),
    ]
    ported = [peer_task(f"p{i}", PeerRules(ports=(HostPort(80),))) for i in range(2)]
    for story, reason in (
        (scenario(cluster(1), tasks), Refusal.PEERS),
        (scenario(cluster(1, 1, 1), ported), Refusal.PORT),
    ):
        rows = simulate(story).engine.log.of(EventKind.UNSCHEDULABLE)
        assert rows["reason"].tolist() == [int(reason)]


def test_an_explanation_names_the_rule_for_each_node():
    tasks = [peer_task("hermit", apart("web"), DB), peer_task("web", evenly("db"), WEB)]
    engine = live([*cluster(1, 1), node("bare", 8)], tasks, {"hermit": "z0r0h0"})
    rows = policy().explain(engine.snapshot(), 1).rows
    assert [Refusal(row.refusals) for row in rows] == [
        Refusal.EXISTING_ANTI_AFFINITY,
        Refusal(0),
        Refusal.SPREAD_LABEL,
    ]


def test_tasks_admitted_later_bring_rules_about_those_that_run():
    """Selectors never seen before are counted over the running tasks once."""
    engine = live(cluster(1), [peer_task("web", who=WEB), peer_task("old", who=DB)],
                  {"web": "z0r0h0"})  # fmt: skip
    new = [peer_task("a", apart("web"), DB), peer_task("b", near("web", "rack")),
           peer_task("c", who=labels("web", tier="x"))]  # fmt: skip
    ids = engine.admit(TaskTable.from_tasks(new))
    for i in ids:
        engine.apply(Event(0.0, EventKind.SUBMITTED, int(i)))
    assert refused(engine, "a") == {"z0r0h0": Refusal.POD_ANTI_AFFINITY}
    assert set(refused(engine, "b")) == {"z0r1h0", "z0r1h1"}
    engine.apply(Event(0.0, EventKind.BOUND, int(ids[0]), engine.row_of("z0r1h1")))
    assert refused(engine, "c") == {"z0r1h1": Refusal.EXISTING_ANTI_AFFINITY}
    assert refused(engine, "old") == {}


def test_nodes_that_join_are_domains_too():
    """Two nodes in a third zone come; spread tasks that waited for one go there."""
    more = cluster(3)[8:10]
    joins = tuple(NodeEvent(1.0, NodeChange.JOIN, n.name, n) for n in more)
    waiting = [peer_task(f"w{i}", evenly("web", min_domains=3), WEB) for i in range(6)]
    story = scenario(cluster(2), waiting, node_events=joins)
    lines = told(simulate(story), "bound")
    assert [line.split("@")[1][:2] for line in lines[2:]].count("z2") == 2
    assert len(lines) == 6


def test_preemption_stops_whom_a_rule_forbids_and_nobody_else():
    """The hermit keeps web away from its host; stopping the plain task would not help."""
    hermit = peer_task("hermit", apart("web"), DB, cpu=1)
    tasks = [hermit, peer_task("plain", cpu=1), peer_task("web", who=WEB, at=1, priority=9)]
    run = simulate(scenario([node("n", 8, labels={"host": "n"})], tasks), policy(preempt=True))
    assert told(run, "preempted") == ["1 preempted hermit"]


def test_preemption_cannot_make_company_or_labels():
    nodes = [node("bare", 1)]
    tasks = [task("low"), peer_task("web", evenly("db"), WEB, at=1, priority=9),
             peer_task("lonely", near("db", "host"), WEB, at=1, priority=9)]  # fmt: skip
    run = simulate(scenario(nodes, tasks), policy(preempt=True))
    assert told(run, "preempted") == []


def test_rules_that_are_wishes_change_nothing():
    wish = PeerRules(prefer_near=((5, PeerTerm(about("db"), "zone")),))
    plain, wishing = (
        simulate(scenario(cluster(), [peer_task(f"t{i}", rules, WEB) for i in range(5)]))
        for rules in (NO_RULES, wish)
    )
    assert plain.engine.log.digest == wishing.engine.log.digest
    assert not wishing.engine.table.state.p_counts[0]


def test_a_normalised_score_looks_at_allowed_nodes_only():
    """kube-scheduler normalises over the nodes that passed the filters."""
    from cerebrum.engine.incremental import Incremental, Weighted

    tasks = [peer_task("web", apart("db"), WEB), peer_task("db", who=DB)]
    chosen = Incremental("even", (Weighted(fullest, normalize="minmax", equal=7.0),))
    engine = live(cluster(1), tasks, {"db": "z0r0h0"})
    rows = chosen.explain(engine.snapshot(), 0).rows
    assert [row.total for row in rows if not row.refusals] == [7.0, 7.0, 7.0]
    assert [bind.row for bind in chosen.decide(engine.snapshot()).actions] == [1]
