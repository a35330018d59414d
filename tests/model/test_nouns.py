"""Nouns refuse what cannot be, with the field and what was expected."""

import math
from dataclasses import FrozenInstanceError

import pytest

from cerebrum.model.cluster import Cluster, Node, PowerModel, Taint
from cerebrum.model.constraints import Constraints, Requirement, Term, Toleration
from cerebrum.model.errors import CerebrumError, InputError, UnknownName
from cerebrum.model.federation import ClusterView
from cerebrum.model.resources import Resources
from cerebrum.model.tasks import Task, TaskClass, TaskTable
from cerebrum.model.workflow import Dependency, Workflow


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda: Resources(cpu_milli=-1), "cpu_milli: expected 0"),
        (lambda: Resources(cpu_milli=True), "cpu_milli: expected a whole number"),
        (lambda: Resources(cpu_milli=1.5), "cpu_milli: expected a whole number"),
        (lambda: Resources(gpu_count=17, gpu_milli=1000), "gpu_count: expected at most 16"),
        (lambda: Resources(gpu_count=1, gpu_milli=1200), "gpu_milli: expected 0..1000"),
        (lambda: Resources(gpu_count=2, gpu_milli=500), "only a single GPU can be shared"),
        (lambda: Resources(gpu_milli=500), "gpu_milli: expected 0 without GPUs"),
        (lambda: Resources(extended=(("b", 1), ("a", 1))), "extended: expected distinct names"),
        (lambda: PowerModel(cpu_idle_w=math.nan), "cpu_idle_w: expected finite watts"),
        (lambda: Node("", Resources()), "name: expected a name"),
        (lambda: Node("n", Resources(), speed=0), "speed: expected a finite speed above 0"),
        (lambda: Taint("k", effect="NoSchedul"), "effect: expected NoSchedule"),  # type: ignore[arg-type]
        (lambda: Requirement("k", "in", ("a",)), "operator: expected one of In"),  # type: ignore[arg-type]
        (lambda: Requirement("k", "Gt", ("x",)), "values: Gt expects one whole number"),
        (lambda: Cluster((Node("n", Resources()),) * 2), "node 'n' is named twice"),
        (lambda: TaskTable.from_tasks([Task("t"), Task("t")]), "task 't' is named twice"),
        (lambda: TaskTable.from_tasks([Task("t", submit_s=math.nan)]), "submit_s: task 't'"),
        (lambda: TaskTable.from_tasks([Task("t", duration_s=-1)]), "duration_s: task 't'"),
    ],
)
def test_what_cannot_be_is_refused(make, complaint):
    with pytest.raises(InputError) as refused:
        make()
    assert complaint in str(refused.value)


def test_nouns_are_frozen():
    with pytest.raises(FrozenInstanceError):
        Task("t").priority = 3  # type: ignore[misc]


def test_a_task_table_is_a_sequence_of_the_tasks_it_was_made_of():
    tasks = [Task("a", TaskClass(Resources(1)), 0.0, 5.0, job="j"), Task("b", priority=2)]
    table = TaskTable.from_tasks(tasks, {"j": 2})
    again = list(table)
    assert [t.name for t in again] == ["a", "b"]
    assert (again[0].job, again[0].duration_s, again[1].priority) == ("j", 5.0, 2)
    assert table.jobs[0].gang == 2
    assert [t.name for t in table[1:]] == ["b"]


def test_an_absent_label_satisfies_not_in_and_an_empty_term_matches_nothing():
    assert Requirement("k", "NotIn", ("v",)).matches({})
    assert not Term().matches("n", {})
    assert not Requirement("k", "Gt", ("3",)).matches({"k": "two"})


def test_tolerations_cover_taints_as_in_kubernetes():
    taint = Taint("gpu", "a100", "NoExecute")
    assert Toleration(operator="Exists").tolerates(taint)
    assert Toleration("gpu", "Exists").tolerates(taint)
    assert Toleration("gpu", "Equal", "a100", "NoExecute").tolerates(taint)
    assert not Toleration("gpu", "Equal", "t4").tolerates(taint)
    assert not Toleration("gpu", "Exists", effect="NoSchedule").tolerates(taint)
    assert not Toleration().tolerates(taint)
    avoided = Constraints().disliked_taints((Taint("k", effect="PreferNoSchedule"),))
    assert avoided == 1


def test_a_workflow_names_the_task_that_is_wrong():
    a, b = Task("a-1"), Task("a")
    flow = Workflow.from_tasks("w", (b, a), (Dependency("a-1", "a", 5.0),))
    assert [flow.tasks.names[i] for i in flow.order] == ["a-1", "a"]
    with pytest.raises(InputError, match="there is no task 'c'"):
        Workflow.from_tasks("w", (a,), (Dependency("a-1", "c"),))
    with pytest.raises(InputError, match="waits for itself, through a cycle"):
        Workflow.from_tasks("w", (a, b), (Dependency("a-1", "a"), Dependency("a", "a-1")))
    with pytest.raises(InputError, match="'a-1' -> 'a': expected finite megabytes"):
        Workflow.from_tasks("w", (a, b), (Dependency("a-1", "a", math.inf),))


def test_a_cycle_is_reported_by_a_task_on_it_not_by_one_behind_it():
    tasks = [Task(name) for name in ("behind", "start", "x", "y")]
    edges = [("start", "x"), ("x", "y"), ("y", "x"), ("y", "behind")]
    with pytest.raises(InputError, match=r"task '[xy]' waits for itself"):
        Workflow.from_tasks("w", tasks, [Dependency(*edge) for edge in edges])


def test_levels_and_the_critical_path_follow_the_longest_chain():
    tasks = [Task(name, duration_s=d) for name, d in (("d", 1), ("a", 5), ("b", 2), ("c", 4))]
    edges = [("a", "b"), ("a", "c"), ("b", "d"), ("c", "d"), ("a", "d"), ("a", "d", 2.0)]
    flow = Workflow.from_tasks("diamond", tasks, [Dependency(*edge) for edge in edges])
    assert flow.level.tolist() == [2, 0, 1, 1]
    assert flow.critical_path_s() == 5 + 4 + 1
    assert len(flow.before) == 5  # the two a -> d are one, with the sum of their volumes
    assert flow.volume_mb.sum() == 2.0


def test_every_error_says_what_it_means_and_has_an_exit_code():
    kinds, seen = [CerebrumError], set()
    while kinds:
        kind = kinds.pop()
        kinds += kind.__subclasses__()
        assert kind.__doc__, kind
        assert kind.exit_code in (1, 2, 3)
        seen.add(kind.__name__)
    assert {"InputError", "TraceError", "ConfigError", "UnknownName", "NotFound"} <= seen


def test_an_unknown_name_comes_with_the_nearest_one():
    assert "did you mean 'fgd'" in str(UnknownName("policy", "fdg", ["fgd", "pwr"]))
    assert "choose one of fgd, pwr" in str(UnknownName("policy", "zzz", ["fgd", "pwr"]))


def test_the_row_of_a_cluster_adds_up_its_nodes_and_is_idle_unless_told_otherwise() -> None:
    small, large = Resources(1000, 4096), Resources(3000, 2048, gpu_count=2, gpu_milli=1000)
    row = ClusterView.of("c", [small, large], [1.0, 3.0], ["", "T4"])
    assert (row.cpu_milli, row.memory_mib, row.gpu_count, row.nodes) == (4000, 6144, 2, 2)
    largest = row.largest_cpu_milli, row.largest_memory_mib, row.largest_gpu_count
    assert largest == (3000, 4096, 2)
    assert (row.cpu_free_milli, row.memory_free_mib) == (4000, 6144)
    assert (row.speed, row.node_speeds, row.gpu_models) == (2.0, (1.0, 3.0), ("T4",))
    busy = ClusterView.of("c", [small], [1.0], [], speed=1.5, cpu_free_milli=10, zone="z")
    assert (busy.cpu_free_milli, busy.memory_free_mib, busy.speed) == (10, 4096, 1.5)
    assert ClusterView.of("c", [], [], []).speed == 1.0
