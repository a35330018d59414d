"""Advice to the stock kube-scheduler: which nodes, how good, who would have to go; and its binds.

Everything but a bind is answered from what the informers and the engine have already: no request to
the API server, and no wait. A pod in question is no task of ours: pods that ask for the same share
one task that is never queued, so that the engine can judge every node for it. A bind takes the
room in the mirror at once; the next question sees it before the watch does.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cerebrum.executors.kubernetes import preemption
from cerebrum.executors.kubernetes.binder import Binder, Fate, Order, Outcome
from cerebrum.executors.kubernetes.extender_forms import (
    MAX_SCORE,
    BindingArgs,
    ExtenderArgs,
    FilterResult,
    HostPriority,
    MetaPod,
    MetaVictims,
    NodeList,
    PreemptionArgs,
    names_of,
)
from cerebrum.executors.kubernetes.facts import PodFacts
from cerebrum.executors.kubernetes.mirror import Held, Mirror, Phase
from cerebrum.executors.kubernetes.preemption import Budget
from cerebrum.kube import names as kube_names
from cerebrum.kube.messages import Refused, may_help, node_texts
from cerebrum.kube.objects import Pod
from cerebrum.model.errors import CerebrumError, InfeasibleDecision, InputError, InvalidEvent
from cerebrum.model.events import Refusal, gpu_indices
from cerebrum.model.protocols import Scores

UNKNOWN = "node(s) not known to Cerebrum yet"
_MAX_PROBES = 256
_MAX_REMEMBERED = 4096


class Unjudged(CerebrumError):
    """A pod about which we can say nothing, and why; kube-scheduler has to do without us."""


class Extender:
    """Answers for one mirror. `facts` reads a pod, `find` gives one by `namespace/name`.

    `shortlist` is how many nodes a filter leaves at most, the policy's best (0: all that can take
    the pod): kube-scheduler scores, and we are asked to score, no others then.
    """

    def __init__(
        self,
        mirror: Mirror,
        binder: Binder,
        facts: Callable[[str, Pod], PodFacts],
        find: Callable[[str], Pod | None],
        budgets: Callable[[], Sequence[Budget]],
        shortlist: int = 0,
    ) -> None:
        self._mirror = mirror
        self._shortlist = shortlist
        self._binder = binder
        self._facts = facts
        self._find = find
        self._budgets = budgets
        self._probes: OrderedDict[tuple[object, ...], int] = OrderedDict()
        self._asked: OrderedDict[str, PodFacts] = OrderedDict()

    # -- answers ------------------------------------------------------------------------------

    def filter(self, args: ExtenderArgs) -> FilterResult:
        """Nodes of those given that can take the pod, and in kube-scheduler's words why not."""
        asked = names_of(args)
        try:
            pod = self._read(args.pod)
            rows, bits = self._judge(pod, asked)
        except Unjudged as problem:
            return FilterResult(error=str(problem))
        result = FilterResult()
        if rows.min(initial=0) < 0 or bits.any():
            self._refuse(pod, asked, rows, bits, result)
        failed = result.failed_nodes.keys() | result.failed_and_unresolvable_nodes.keys()
        left = [i for i, name in enumerate(asked) if name not in failed] if failed else None
        if self._shortlist and len(asked) - len(failed) > self._shortlist:
            left = self._best(pod, rows, left)
        if args.nodes is not None and args.node_names is None:
            items = args.nodes.items or []
            result.nodes = NodeList(items if left is None else [items[i] for i in left])
        else:
            result.node_names = asked if left is None else [asked[i] for i in left]
        return result

    def _best(
        self, pod: PodFacts, rows: NDArray[np.int64], left: list[int] | None
    ) -> list[int] | None:
        """Of the places that are left (None: all) those of the policy's favourite nodes, in order;
        of equals the first."""
        policy = self._mirror.recorded.policy
        if not isinstance(policy, Scores):
            return left
        totals = policy.totals(self._mirror.recorded.engine.snapshot(), self._probe(pod))
        places = np.arange(len(rows)) if left is None else np.asarray(left, np.int64)
        order = np.argsort(-totals[rows[places]], kind="stable")[: self._shortlist]
        best: list[int] = np.sort(places[order]).tolist()
        return best

    def prioritize(self, args: ExtenderArgs) -> list[HostPriority]:
        """The policy's opinion of nodes given, 0 to 10; 10 for its first choices only.

        A node that is not named has 0, as kube-scheduler reads it, and every name costs it time.
        None is named where all are equal to the policy, where it has no opinion, or cannot judge
        the pod.
        """
        policy = self._mirror.recorded.policy
        if not isinstance(policy, Scores):
            return []
        try:
            task = self._probe(self._read(args.pod))
        except Unjudged:
            return []
        asked = names_of(args)
        totals = policy.totals(self._mirror.recorded.engine.snapshot(), task)
        scores = scaled(_at(totals, self._mirror.nodes.rows_of(asked), -np.inf))
        if scores.min(initial=MAX_SCORE) == MAX_SCORE:
            return []
        named: list[int] = np.flatnonzero(scores).tolist()
        return [HostPriority(asked[i], int(scores[i])) for i in named]

    async def bind(self, args: BindingArgs) -> str:
        """Bind, with the uid as a precondition; '' or why it is not bound there."""
        held = self._mirror.held.get(args.pod_uid)
        if held is not None and held.node and held.node != args.node:
            return f"pod {args.pod_namespace}/{args.pod_name} is given to node {held.node}"
        try:
            held = held if held is not None and held.node else self._take(args)
        except (Unjudged, InputError, InvalidEvent, InfeasibleDecision) as problem:
            return f"node {args.node}: {problem}"
        notes: dict[str, str] = {}
        if held.gpus:
            notes[kube_names.GPU_INDEX] = "-".join(map(str, gpu_indices(held.gpus)))
        order = Order(args.pod_namespace, args.pod_name, args.pod_uid, args.node, notes)
        return self._settle(held, order, await self._binder.bind(order))

    def preempt(self, args: PreemptionArgs) -> dict[str, MetaVictims]:
        """Of the nodes given the one on which we would make room, and whom we would end there."""
        try:
            pod = self._read(args.pod)
            rows, _ = self._judge(pod, list(args.meta or args.whole or ()))
            task = self._probe(pod)
        except Unjudged:
            return dict(args.meta or {})
        bits = self._mirror.recorded.engine.snapshot().refusals(task).copy()
        others = np.ones(len(bits), np.bool_)
        others[rows[rows >= 0]] = False
        bits[others] |= int(Refusal.SELECTOR)
        plan = preemption.plan(self._mirror, Held(pod, Phase.QUEUED, task), bits, self._budgets())
        if plan is None:
            return {}
        name = self._mirror.recorded.engine.node_names[plan.row]
        victims = [MetaPod(victim.pod.uid) for victim in plan.victims]
        return {name: MetaVictims(victims, plan.violations)}

    # -- judging ------------------------------------------------------------------------------

    def _read(self, item: Pod) -> PodFacts:
        meta = item.metadata
        pod = self._facts(f"{meta.namespace or 'default'}/{meta.name}", item)
        if pod.problem:
            raise Unjudged(pod.problem)
        self._asked[pod.uid] = pod
        self._asked.move_to_end(pod.uid)
        if len(self._asked) > _MAX_REMEMBERED:
            self._asked.popitem(last=False)
        return pod

    def _probe(self, pod: PodFacts) -> int:
        """A task that asks for the same as the pod, known to the engine and not queued."""
        recorded, key = self._mirror.recorded, (pod.task_class, pod.labels)
        task = self._probes.get(key)
        if task is None:
            try:
                task = self._probes[key] = self._mirror.probe(pod)
            except InputError as problem:
                raise Unjudged(str(problem)) from None
            if len(self._probes) > _MAX_PROBES:
                recorded.retire([self._probes.popitem(last=False)[1]])
        self._probes.move_to_end(key)
        return task

    def _judge(
        self, pod: PodFacts, asked: Sequence[str]
    ) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """Rows of the nodes (-1: not known) and the Refusal bits of each."""
        bits = self._mirror.recorded.engine.snapshot().refusals(self._probe(pod))
        rows = self._mirror.nodes.rows_of(asked)
        return rows, _at(bits, rows, 0)

    def _refuse(
        self,
        pod: PodFacts,
        asked: Sequence[str],
        rows: NDArray[np.int64],
        bits: NDArray[np.int32],
        result: FilterResult,
    ) -> None:
        refused: list[int] = np.flatnonzero((rows < 0) | (bits != 0)).tolist()
        nodes = [self._mirror.nodes.get(asked[i]) for i in refused]
        texts = node_texts(Refused(bits[refused], nodes, pod.task_class))
        hopeful = may_help(bits[refused]).tolist()
        for i, text, hope in zip(refused, texts, hopeful, strict=True):
            if rows[i] < 0:
                result.failed_nodes[asked[i]] = UNKNOWN
            else:
                failed = result.failed_nodes if hope else result.failed_and_unresolvable_nodes
                failed[asked[i]] = text

    # -- binding ------------------------------------------------------------------------------

    def _take(self, args: BindingArgs) -> Held:
        """The room is the pod's from now on. Raises what the engine says if it is not there."""
        pod = self._asked.get(args.pod_uid)
        if pod is None:
            item = self._find(f"{args.pod_namespace}/{args.pod_name}")
            if item is None or item.metadata.uid != args.pod_uid:
                raise Unjudged(f"pod {args.pod_namespace}/{args.pod_name} is not known here")
            pod = self._read(item)
        row = self._mirror.nodes.row(args.node)
        if row is None:
            raise Unjudged(f"node {args.node} is not known here")
        self._mirror.recorded.engine.snapshot()
        return self._mirror.take(pod, row, self._gpus)

    def _gpus(self, task: int, row: int) -> int:
        policy = self._mirror.recorded.policy
        if not isinstance(policy, Scores):
            return 0
        return max(0, policy.gpus_on(self._mirror.recorded.engine.snapshot(), task, row))

    def _settle(self, held: Held, order: Order, outcome: Outcome) -> str:
        """The mirror follows what became of it; the watch may have been quicker."""
        self._asked.pop(order.uid, None)
        if outcome.fate is Fate.BOUND:
            return ""
        if held.phase is Phase.ASSUMED:
            if outcome.fate is Fate.ELSEWHERE:
                self._mirror.reassume(held, outcome.node)
            else:
                self._mirror.forget(order.uid)
        where = f" on {outcome.node}" if outcome.node else ""
        return f"{outcome.fate.value}{where}: {outcome.message}".removesuffix(": ")


def _at(values: NDArray[Any], rows: NDArray[np.int64], absent: float) -> NDArray[Any]:
    """Values of rows, `absent` for those that are -1."""
    out = np.full(len(rows), absent, values.dtype)
    known = rows >= 0
    out[known] = values[rows[known]]
    return out


def scaled(totals: NDArray[np.float64]) -> NDArray[np.int64]:
    """Scores as whole numbers, 0 to `MAX_SCORE`: order is kept, equals stay equal.

    Only the best get the highest number, however close others are; -inf gets 0.
    """
    out = np.zeros(len(totals), np.int64)
    fits = np.isfinite(totals)
    if not fits.any():
        return out
    low, high = float(totals[fits].min()), float(totals[fits].max())
    if high > low:
        share = (totals[fits] - low) / (high - low)
        out[fits] = np.minimum(share * MAX_SCORE, MAX_SCORE - 1).astype(np.int64)
    out[totals == high] = MAX_SCORE
    return out
