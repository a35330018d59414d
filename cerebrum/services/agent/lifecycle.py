"""What becomes of tasks: from the offer to the end, in memory, engine and ledger alike."""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from typing import Any

from cerebrum.model.runs import Launch, RunPhase, RunStatus, run_id
from cerebrum.services.agent.holding import Holding, back_off_s, program_of
from cerebrum.services.agent.placing import Placed
from cerebrum.services.agent.records import Assignment, HeldRun, HeldState, HeldTask

_MAX_TRIES = 3  # of one start, before it counts as failed
_MAX_LOST = 10  # attempts whose end nobody saw, beyond those allowed: some tasks take machines down
LOST = "lost"


class Lifecycle(Holding):
    """Takes offers in, has them placed, and follows their runs."""

    # -- coming in --------------------------------------------------------------------------

    def hold(self, assignment: Assignment, tasks: Iterable[HeldTask]) -> None:
        """Take over an assignment, not to be started before it is confirmed."""
        ledger = self.ledger
        held = list(tasks)
        assignment.tasks = {task.uid for task in held}
        ledger.add(assignment)
        for task in held:
            ledger.add(task)
            self._follow(task)
            ledger.event(
                "received", task, assignment=assignment.id,
                generation=task.generation, epoch=assignment.epoch,
            )  # fmt: skip

    def confirm(self, assignment: Assignment) -> None:
        """It is ours: queue what waits for nothing."""
        assignment.confirmed = True
        self.ledger.touch(assignment)
        tasks = sorted(
            (self.ledger.tasks[uid] for uid in assignment.tasks), key=lambda task: task.number
        )
        self.placement.admit(self._placeable(task) for task in tasks)
        for task in tasks:
            task.state = HeldState.BLOCKED
            self.ledger.touch(task)
            self.ledger.event(
                "confirmed", task, assignment=assignment.id, generation=task.generation
            )
            if task.ending:
                self.end_task(task, task.ending, task.reason)
            elif not task.waits_for:
                self._ready(task, self._now)

    # -- placing ----------------------------------------------------------------------------

    def decide(self) -> None:
        """Ask the policy about everything that can be placed now, and carry out what it says."""
        now = self._now
        while self._timers and self._timers[0][0] <= now:
            _, uid = heapq.heappop(self._timers)
            if uid in self.ledger.tasks:
                self.placement.due(uid, now)
        if len(self.placement.engine.log) == self._decided_at:
            return
        stopping = {run.uid: run.stop for run in self.ledger.runs.values() if run.stop}
        answers = self.placement.decide(stopping)
        for placed in answers.placed:
            self._bind(placed)
        for uid in answers.preempts:
            self.stop_run(self.ledger.tasks[uid], "preempted")
        for uid, reason in answers.waits.items():
            self.ledger.tasks[uid].reason = reason
        for uid, reason in answers.rejects.items():
            self._end(self.ledger.tasks[uid], HeldState.FAILED, f"rejected by the policy: {reason}")
        for uid, until_s in answers.defers.items():
            task = self.ledger.tasks[uid]
            task.not_before_s = until_s
            self.ledger.touch(task)
            heapq.heappush(self._timers, (until_s, uid))
        self._complain(answers.problem)
        self._decided_at = len(self.placement.engine.log)

    def _complain(self, problem: str) -> None:
        if problem and problem != self.problem:
            self.ledger.event_of("policy_failed", "", "", problem=problem[:2000])
        self.problem = problem

    def _bind(self, placed: Placed) -> None:
        task = self.ledger.tasks[placed.uid]
        task.attempts += 1
        task.state, task.node, task.reason = HeldState.BOUND, placed.node, placed.reason[:1000]
        task.run_id = run_id(task.uid, task.generation, task.attempts)
        run = HeldRun(
            task.run_id, task.uid, task.generation, task.attempts,
            placed.node, placed.gpus, placed.cache_ways,
        )  # fmt: skip
        self.ledger.add(run)
        self.ledger.touch(task)
        wants = task.spec.resources
        beside = {} if placed.beside is None else {"rollout": dict(placed.beside)}
        self.ledger.event(
            "bound", task, node=placed.node, attempt=task.attempts, generation=task.generation,
            run_id=run.run_id, cpu_milli=wants.cpu_milli, memory_mib=wants.memory_mib,
            gpus=placed.gpus, gpu_milli=wants.gpu_milli, reason=task.reason, **beside,
        )  # fmt: skip
        self.orders.starts[run.run_id] = None

    def launch(self, run: HeldRun) -> Launch | None:
        """What the executor is to start; None when the task is not held any more."""
        task = self.ledger.tasks.get(run.uid)
        if task is None:
            return None
        spec, links = task.spec, self.settings.links
        stage_in_s = max(
            (
                links[name].latency_s + volume_mb / links[name].bandwidth_mb_s
                for name, volume_mb in task.inputs.items()
                if name in links and volume_mb > 0
            ),
            default=0.0,
        )
        return Launch(
            run.run_id, run.uid, run.node, spec.resources, program_of(spec), spec.duration_s,
            tuple(i for i in range(run.gpus.bit_length()) if run.gpus >> i & 1),
            stage_in_s, self.nodes[run.node].speed if run.node in self.nodes else 1.0,
        )  # fmt: skip

    # -- what runs do -----------------------------------------------------------------------

    def observe(self, status: RunStatus) -> None:
        """The executor says where a run stands. Saying it twice changes nothing."""
        run = self.ledger.runs.get(status.run_id)
        if run is None or run.phase.final:
            if status.phase.final:
                self.orders.forgets[status.run_id] = None
            elif run is None:
                self.orders.stops[status.run_id] = ("unknown", self.settings.grace_s)
        elif status.phase.final:
            self._run_ended(run, status)
        elif status.phase is RunPhase.RUNNING and run.phase is RunPhase.STARTING:
            self._run_started(run, status)

    def missing(self, run: HeldRun) -> None:
        """The executor does not have a run that we believe in."""
        if run.stop:
            status = RunStatus(run.run_id, RunPhase.STOPPED, reason=run.stop)
        elif run.phase is RunPhase.STARTING and run.tries < _MAX_TRIES:
            self.orders.starts[run.run_id] = None
            return
        elif run.phase is RunPhase.STARTING:
            status = RunStatus(run.run_id, RunPhase.START_FAILED, reason="cannot be started")
        else:
            status = RunStatus(run.run_id, RunPhase.FAILED, reason=LOST)
        self._run_ended(run, status)

    def _task_of(self, run: HeldRun) -> HeldTask | None:
        task = self.ledger.tasks.get(run.uid)
        return task if task is not None and task.run_id == run.run_id else None

    def _run_started(self, run: HeldRun, status: RunStatus) -> None:
        now = self._now  # once: what is charged later is counted from exactly here
        run.phase, run.started_s = RunPhase.RUNNING, now
        run.started_unix_s = _known(status.started_unix_s)
        self.ledger.touch(run)
        task = self._task_of(run)
        if task is None:
            return
        self.energy.begin(run.run_id, run.node, task.spec.resources, now)
        self._meter(run.node)
        task.state = HeldState.RUNNING
        self.ledger.touch(task)
        self.placement.started(task.uid, now)
        self.ledger.event("started", task, run_id=run.run_id, node=run.node, attempt=run.attempt)
        self.ledger.report(
            task, "running", node=run.node, run_id=run.run_id,
            started_unix_s=run.started_unix_s, reason="" if task.ending else task.reason,
        )  # fmt: skip

    def _run_ended(self, run: HeldRun, status: RunStatus) -> None:
        energy_j = self.energy.end(run.run_id, self._now)
        self._meter(run.node)
        run.phase = status.phase
        if run.started_unix_s is None:
            run.started_unix_s = _known(status.started_unix_s)
        self.ledger.touch(run)
        self.orders.starts.pop(run.run_id, None)
        self.orders.stops.pop(run.run_id, None)
        self.orders.forgets[run.run_id] = None
        task = self._task_of(run)
        if task is None:
            return
        kind = "start_failed" if status.phase is RunPhase.START_FAILED else "ended"
        self.ledger.event(
            kind, task, run_id=run.run_id, phase=str(status.phase), exit_code=status.exit_code,
            energy_j=energy_j, reason=status.reason, node=run.node, attempt=run.attempt,
        )  # fmt: skip
        if run.started_s is not None and status.phase is RunPhase.SUCCEEDED:
            speed = self.nodes[run.node].speed if run.node in self.nodes else 1.0
            self._finished(task.spec, (self._now - run.started_s) * speed)
        more = {
            "node": run.node, "run_id": run.run_id, "exit_code": status.exit_code,
            "started_unix_s": run.started_unix_s, "energy_j": energy_j,
        }  # fmt: skip
        self._settle(task, run, status, more)

    def _settle(
        self, task: HeldTask, run: HeldRun, status: RunStatus, more: dict[str, Any]
    ) -> None:
        """What the end of its run means for a task."""
        now = self._now
        asked = task.ending or run.stop
        if not asked and status.phase is RunPhase.STOPPED and status.reason == "fenced":
            asked = "fenced"  # its executor kept the deadline, as it should
        if status.phase is RunPhase.SUCCEEDED and asked != "dropped":
            self.placement.succeeded(task.uid, now)
            self._end(task, HeldState.SUCCEEDED, status.reason, more)
        elif asked == "dropped":
            self._drop(task)
        elif asked in ("cancelled", "fenced"):
            self.placement.cancelled(task.uid, now)
            reason = task.reason if task.ending else asked
            task.ending = asked
            self._end(task, HeldState.CANCELLED, reason or asked, more)
        elif not asked and self._excused(task, status):
            self._wait_again(task, f"its run on {run.node} was lost", 0.0)
        elif asked:  # preempted or drained: it is not the task's fault
            self._wait_again(task, f"{asked} on {run.node}", 0.0)
        else:
            self._failed(task, status, more)

    def _excused(self, task: HeldTask, status: RunStatus) -> bool:
        """Whether nobody knows how the run ended (its machine was switched off): it may have
        succeeded, so it does not count as a failure of the task."""
        lost = status.phase is RunPhase.FAILED and status.reason == LOST
        return lost and task.attempts < task.spec.max_attempts + _MAX_LOST

    def _failed(self, task: HeldTask, status: RunStatus, more: dict[str, Any]) -> None:
        spec, now = task.spec, self._now
        task.failures += 1
        reason = status.reason or f"exit code {status.exit_code}"
        if task.failures >= spec.max_attempts:
            self.placement.failed(task.uid, now)
            self._end(task, HeldState.FAILED, reason, more)
            return
        delay_s = back_off_s(task)
        self._wait_again(
            task, f"attempt {task.attempts} failed ({reason}), again in {delay_s:g} s", delay_s
        )

    def _wait_again(self, task: HeldTask, reason: str, delay_s: float) -> None:
        now = self._now
        task.state, task.reason = HeldState.WAITING, reason
        task.not_before_s = now + delay_s if delay_s > 0 else 0.0
        self.ledger.touch(task)
        if self.placement.knows(task.uid):
            self.placement.returned(task.uid, now)
        else:  # its node is not ours any more, so the engine did not carry it
            self.placement.admit([self._placeable(task)])
            self.placement.submit(task.uid, now)
        self._hold_back(task, now)


def _known(unix_s: float) -> float | None:
    return unix_s if 0 <= unix_s <= 1e11 else None
