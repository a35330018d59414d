"""The judge: reads a history and says which promises of docs/reference/federation.md were broken.

It shares no code with what it judges: it knows the rows of the event tables, the world's own record
of what ran when, and the page with the rules. `check(history)` gives the broken promises, each a
sentence with the entries that show it; none means that the history is as it should be.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import chain

from tests.faults.checks import clusters, results, runs, tasks
from tests.faults.history import History
from tests.faults.reading import Reading, Violation

CHECKS: tuple[Callable[[Reading], Iterable[Violation]], ...] = (
    tasks.every_accepted_task_ends_once,
    tasks.one_key_one_workflow,
    tasks.generations_rise,
    tasks.nothing_after_the_end,
    tasks.steps_in_order,
    tasks.remote_predecessors_first,
    tasks.nothing_new_after_a_cancel,
    tasks.quotients_are_acyclic,
    results.results_really_happened,
    results.failures_have_a_cause,
    results.cancellations_have_a_cause,
    results.workflow_states_follow,
    runs.one_run_at_a_time,
    runs.no_run_after_take_back,
    runs.cancelled_is_over,
    runs.run_ids_follow_the_rule,
    runs.nodes_hold_what_they_have,
    runs.predecessors_first,
    runs.only_confirmed_work_starts,
    runs.energy_adds_up,
    clusters.epochs_rise,
    clusters.stored_before_held,
    clusters.windows_are_kept,
    clusters.no_stampede,
    clusters.one_identity_at_a_time,
    clusters.reports_are_kept_until_confirmed,
    clusters.nothing_broke_by_itself,
)


def check(history: History) -> list[Violation]:
    """All broken promises, in the order of the checks."""
    reading = Reading(history)
    return list(chain.from_iterable(one(reading) for one in CHECKS))
