"""Cerebrum's own planner: several rules, the best of them improved by local search.

HEFT is the first of the rules, so the plan is never longer than HEFT's. The others are HEFT with
ranks that count transfers less or more, or run times on the fastest node; PEFT, CPOP, Max-Min,
Min-Min and Sufferage. Then the tasks that make the best plan as long as it is are moved
(`_search`), in a number of steps that falls with the size of the workflow: time grows with its
length only. No draw depends on anything but the step, so a plan can be made again.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from cerebrum.engine import _schedule_kernels as kernels
from cerebrum.engine.schedule import Plan, Platform, list_schedule, mean_costs, rank_order
from cerebrum.model.errors import ConfigError
from cerebrum.model.federation import Federation
from cerebrum.model.workflow import Workflow
from cerebrum.policies.planning import _search
from cerebrum.policies.planning._tables import Tables
from cerebrum.policies.planning.cpop import Cpop
from cerebrum.policies.planning.greedy import MaxMin, MinMin, Sufferage
from cerebrum.policies.planning.heft import Heft, platform_of
from cerebrum.policies.planning.peft import Peft

TRANSFERS = (0.0, 0.25, 0.5, 0.75, 1.5, 2.0, 4.0)
"""How much transfers count in the ranks of HEFT's variants."""
WORK = 1_000_000
"""Placements the search may try in all: 10,000 rebuilds of 100 tasks."""
MOST_STEPS, MOST_TASKS = 20_000, 20_000
_GREEDY_TASKS = 5_000  # beyond, rules that look at all ready tasks take longer than they are worth


class Portfolio:
    """`work` bounds the search: it rebuilds the plan `work / tasks` times, at most 20,000."""

    name = "cerebrum"

    def __init__(self, work: int = WORK) -> None:
        if isinstance(work, bool) or not isinstance(work, int) or work < 0:  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ConfigError(f"expected a whole number of at least 0, got {work!r}").at(
                field="work"
            )
        self.work = work

    def plan(
        self,
        workflow: Workflow,
        where: Federation | Platform,
        cluster_of_task: NDArray[np.int32] | None = None,
    ) -> Plan:
        """See `Planner`."""
        platform = platform_of(where)
        best = Heft().plan(workflow, platform, cluster_of_task)
        if not len(workflow):
            return best
        for plan in _rules(workflow, platform, cluster_of_task):
            if plan.makespan_s < best.makespan_s:
                best = plan
        return self._improved(Tables.of(workflow, platform, cluster_of_task), best)

    def _improved(self, tables: Tables, plan: Plan) -> Plan:
        n = len(tables.workflow)
        steps = min(MOST_STEPS, self.work // n) if n <= MOST_TASKS else 0
        topological = np.empty(n, np.int64)
        topological[tables.workflow.order] = np.arange(n)
        found = Plan(plan.node.copy(), plan.start_s.copy(), plan.end_s.copy())
        _search.improve(
            steps, 0, _bound_s(tables), np.lexsort((topological, plan.start_s)), tables.length_s,
            tables.need, tables.platform.lanes, *tables.incoming, *tables.nodes, found.start_s,
            found.end_s, found.node,
        )  # fmt: skip
        return found


def _rules(
    workflow: Workflow, platform: Platform, cluster_of_task: NDArray[np.int32] | None
) -> Iterator[Plan]:
    """Plans of everything but HEFT itself."""
    work_s, move_s = mean_costs(workflow, platform, cluster_of_task)
    successors = (*workflow.successors, workflow.after)
    for factor in TRANSFERS:
        rank = np.zeros(len(workflow))
        kernels.upward(workflow.order, *successors, work_s, factor * move_s, rank)
        order = rank_order(workflow, rank)
        yield list_schedule(workflow, platform, order, cluster_of_task=cluster_of_task)
    yield Peft().plan(workflow, platform, cluster_of_task)
    yield Cpop().plan(workflow, platform, cluster_of_task)
    if len(workflow) <= _GREEDY_TASKS:
        for rule in (MinMin(), MaxMin(), Sufferage()):
            yield rule.plan(workflow, platform, cluster_of_task)


def _bound_s(tables: Tables) -> float:
    """No plan is shorter: the critical path with every task on its fastest node, data for free."""
    workflow, rank = tables.workflow, np.zeros(len(tables.workflow))
    fastest, free = tables.length_s.min(axis=1), np.zeros(len(workflow.before))
    kernels.upward(workflow.order, *workflow.successors, workflow.after, fastest, free, rank)
    return float(rank.max(initial=0.0))
