"""One episode: an engine at the start of a scenario, and the arrays its kernels step it with."""

from __future__ import annotations

from typing import Any

import numpy as np

from cerebrum.engine.engine import Engine
from cerebrum.executors import simulated
from cerebrum.learn import _levels as levels
from cerebrum.learn import _tables as tables
from cerebrum.learn._ends import push_end_of
from cerebrum.learn.sources import rows_of
from cerebrum.model.errors import InputError
from cerebrum.model.events import Event, EventKind
from cerebrum.model.scenario import NodeChange, Scenario


class Episode:
    """A scenario from its beginning; `state_handle` and `handle` are what kernels take."""

    def __init__(self, scenario: Scenario, rows: int, signal: Any = None) -> None:
        """`rows` nodes at most, those that join included. Raises `InputError` for more."""
        if rows_of(scenario) > rows:
            raise InputError(
                f"scenario {scenario.name!r} has {rows_of(scenario)} nodes, those that join "
                f"included: expected at most {rows}"
            ).at(field="nodes")
        if any(job.gang > 1 for job in scenario.tasks.jobs):
            raise InputError(
                f"scenario {scenario.name!r} has gangs: an environment places task by task"
            ).at(field="gang")
        self.scenario = scenario
        self.engine = Engine(scenario)
        bound = simulated.bound_tasks(scenario, self.engine)
        self._changes = sorted(simulated.node_changes(scenario))
        self._table = self._made(rows, list(bound), signal)
        self._start_bound(bound)
        self._leaving: set[str] = set()
        self._start: tuple[list[np.ndarray], list[np.ndarray]] | None = None

    def _made(self, rows: int, bound: list[int], signal: Any) -> tables.ProgressTable:
        tasks = self.scenario.tasks
        arrivals = np.argsort(tasks.submit_s, kind="stable")
        stops = sum(
            e.change in (NodeChange.FAIL, NodeChange.DRAIN) for e in self.scenario.node_events
        )
        ends = len(tasks) * min(1 + stops, max(1, self.scenario.max_attempts)) + 1
        signal_s, values = (np.zeros(0), np.zeros(0)) if signal is None else signal
        table = tables.ProgressTable(
            arrivals=arrivals[~np.isin(arrivals, bound)],
            end_s=ends,
            end_task=ends,
            end_attempt=ends,
            change_s=np.array([time_s for time_s, _, _ in self._changes]),
            declined=np.full(len(tasks), -1),
            nowhere=np.full(max(1, len(tasks.classes)), -1),
            signal_s=signal_s,
            signal=values,
            rows=(rows + 1) * levels.ROW_WIDTH,
            levels=levels.N_LEVELS,
            terms=levels.N_TERMS,
            cursor=tables.N_CURSOR,
            scratch=1,
        )
        table.progress.levels[levels.TIME_S] = -np.inf
        table.progress.cursor[tables.SEEN] = -1
        table.progress.cursor[tables.FREED_BEFORE] = -1
        return table

    # -- once more --------------------------------------------------------------------------

    @property
    def reusable(self) -> bool:
        """Whether `restart` can bring the beginning back: node events change more than arrays."""
        return not self.scenario.node_events

    @property
    def size(self) -> int:
        """Bytes of the arrays, those kept for `restart` included."""
        state, mine = self.engine.table.state, self._table.progress
        twice = sum(a.nbytes for a in [*_mutable(state), *mine])
        return 2 * twice + state.log.nbytes

    def keep_start(self) -> None:
        """Remember this moment for `restart`."""
        state, mine = self.engine.table.state, self._table.progress
        self._start = [a.copy() for a in _mutable(state)], [a.copy() for a in mine]

    def restart(self) -> None:
        """Go back to `keep_start`: a hundred times quicker than a new engine."""
        assert self._start is not None
        state, mine = self.engine.table.state, self._table.progress
        for arrays, kept in zip((_mutable(state), mine), self._start, strict=True):
            for array, values in zip(arrays, kept, strict=True):
                array[:] = values

    # -- stepping ---------------------------------------------------------------------------

    @property
    def state_handle(self) -> Any:
        """Of the engine's tables; another one whenever they grew."""
        return self.engine.table.handle

    @property
    def handle(self) -> Any:
        """Of the arrays beside them."""
        return self._table.handle

    def _start_bound(self, bound: dict[int, tuple[int, int]]) -> None:
        """What runs when the scenario starts."""
        for task, end_s in simulated.start_bound(self.engine, bound):
            if end_s < np.inf:
                attempt = int(self.engine.table.state.t_attempts[task])
                push_end_of(self.handle, end_s, task, attempt)
        if bound:
            self._table.progress.levels[levels.TIME_S] = self.engine.now_s

    def change_node(self) -> None:
        """The next node event: what ran there fails or goes back to the queue first."""
        cursor = self._table.progress.cursor
        _, kind, index = self._changes[int(cursor[tables.CHANGE])]
        change = simulated.change_node(self.engine, EventKind(kind), index)
        if change.change == NodeChange.LEAVE:
            self._leaving.add(change.name)
        elif change.change == NodeChange.UNCORDON:
            self._leaving.discard(change.name)
        self._see_who_left()
        cursor[tables.CHANGE] += 1

    def finish_task(self) -> None:
        """A task ended while nodes are leaving: the engine removes those that are empty."""
        progress = self._table.progress
        task = int(progress.cursor[tables.TASK])
        now = float(progress.levels[levels.NEXT_S])
        self.engine.apply(Event(now, EventKind.FINISHED, task))
        self._see_who_left()

    def _see_who_left(self) -> None:
        self._leaving &= self.engine.fleet.rows.keys()
        self._table.progress.cursor[tables.LEAVING] = len(self._leaving)

    def make_room(self) -> None:
        """Have a longer log."""
        self.engine.make_room(len(self.engine.table.state.log))


_FIXED = ("log", "pending", "changed", "members", "classes", "typical", "t_class", "t_job")


def _mutable(state: Any) -> list[np.ndarray]:
    """What events about tasks change; the queue and the ring are void once `counts` is back."""
    return [a for name, a in zip(state._fields, state, strict=True) if name not in _FIXED]
