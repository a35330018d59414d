"""Naive twin of the ECSched experiment (Hu et al., 2018) on the 9,549-container input.

Run as a script to print the mean completion time of four placement policies beside the author's.
Slow and plain on purpose: it is what faster code is checked against. The protocol is written down
in docs/reference/ecsched-protocol.md.

    python tests/naive/ecsched.py [--solver paths|ortools] [--experiment published|later|small]
"""

from __future__ import annotations

import argparse
import sys
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

DATA = Path(__file__).resolve().parents[3] / "shared/data/ecsched"
EPSILON = 1e-8  # a path is shorter only if it is shorter by more than this
SCALE = 10**9  # integer cost units per unit of cost, for solvers that want integers

Slots = tuple[int, ...]
Placement = list[tuple[int, int]]  # (position in the queue, machine)


@dataclass(frozen=True)
class Container:
    number: int
    submit: int
    duration: int
    need: Slots


@dataclass(frozen=True)
class Setup:
    """A cluster and how much each scheduler may do in one second."""

    capacities: tuple[Slots, ...]
    slot: int  # the length unit of the dot product
    flow_look: int = 100  # containers in one flow problem
    flow_rounds: int = 1
    greedy_look: int = 100  # containers a greedy policy may look at
    greedy_limit: int = 1  # containers a greedy policy may start


def mixed(small: int, medium: int, large: int) -> tuple[Slots, ...]:
    return ((25, 25),) * small + ((50, 50),) * medium + ((100, 100),) * large


LATER = {"slot": 100, "flow_rounds": 5, "greedy_look": 50, "greedy_limit": 50}
FULL = DATA / "Input_9549_2018-05-31.txt"


@dataclass(frozen=True)
class Experiment:
    path: Path
    setup: Setup
    published: dict[str, float]  # mean completion; empty where the author gave none


EXPERIMENTS = {
    "published": Experiment(
        FULL,
        Setup(capacities=((50, 50),) * 50, slot=50),
        {"ml": 1368.18, "dp": 1416.36, "swarm": 1773.02, "k8s": 1801.77},
    ),
    # The author's later code and cluster on the same input: no published figures.
    "later": Experiment(FULL, Setup(capacities=mixed(20, 20, 10), **LATER), {}),
    "small": Experiment(
        DATA / "Input_85.txt",
        Setup(capacities=mixed(10, 10, 10), **LATER),
        {"ml": 164.89, "dp": 164.89, "swarm": 165.24, "k8s": 165.24},
    ),
}
POLICIES = ("ml", "dp", "swarm", "k8s")


def read_input(path: Path = FULL) -> list[Container]:
    jobs = []
    for line in path.read_text().splitlines():
        number, submit, duration, *need = map(int, line.split())
        jobs.append(Container(number, submit, duration, tuple(need)))
    return jobs


class Cluster:
    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.free = [list(c) for c in setup.capacities]

    def fits(self, job: Container, machine: int) -> bool:
        return all(d <= a for d, a in zip(job.need, self.free[machine], strict=True))

    def change(self, job: Container, machine: int, sign: int) -> None:
        for k, d in enumerate(job.need):
            self.free[machine][k] += sign * d
            assert 0 <= self.free[machine][k] <= self.setup.capacities[machine][k]


# --- greedy policies: score of one container on one machine it fits on; the largest wins ----------


def k8s_score(job: Container, free: list[int], capacity: Slots) -> float:
    """Least requested, plus twice the balance of every pair of resources."""
    share = [d / a for d, a in zip(job.need, free, strict=True)]
    score = 0.0
    for a in range(len(share)):
        score += 1 - share[a]
        for b in range(a + 1, len(share)):
            score += 2 * (1 - abs(share[a] - share[b]))
    return score


def swarm_score(job: Container, free: list[int], capacity: Slots) -> float:
    """Binpack: use after placing, as a share of the machine."""
    return sum((c - a + d) / c for d, a, c in zip(job.need, free, capacity, strict=True))


Score = Callable[[Container, list[int], Slots], float]


def greedy(queue: list[Container], cluster: Cluster, score: Score) -> Placement:
    """In queue order, the best machine for each; containers that fit nowhere are passed over."""
    placed: Placement = []
    hopeless: set[Slots] = set()  # room only shrinks within a round
    for position, job in enumerate(queue[: cluster.setup.greedy_look]):
        if job.need in hopeless:
            continue
        best, target = 0.0, -1
        for m, free in enumerate(cluster.free):
            if cluster.fits(job, m):
                value = score(job, free, cluster.setup.capacities[m])
                if value > best:  # the first machine keeps a tie
                    best, target = value, m
        if target >= 0:
            cluster.change(job, target, -1)
            placed.append((position, target))
            if len(placed) == cluster.setup.greedy_limit:
                break
        else:
            hopeless.add(job.need)
    return placed


# --- flow policies --------------------------------------------------------------------------------


def cost_matrix(queue: list[Container], cluster: Cluster, policy: str) -> np.ndarray:
    """Cost of each (container, machine) pair, always negative; infinite where it does not fit."""
    need = np.array([j.need for j in queue], dtype=float)[:, None, :]
    free = np.array(cluster.free, dtype=float)[None, :, :]
    slot = cluster.setup.slot
    total = np.zeros((len(queue), len(cluster.free)))
    for k in range(need.shape[2]):
        if policy == "dp":
            total -= free[:, :, k] * need[:, :, k] / slot / slot
        else:
            total -= need[:, :, k] / np.maximum(free[:, :, k], 0.5)
    return np.where((need <= free).all(axis=2), total, np.inf)


def solve_ortools(cost: np.ndarray) -> Placement:
    """Largest assignment, and among those the cheapest; ties are the solver's."""
    from ortools.graph.python import min_cost_flow

    jobs, machines = cost.shape
    flow = min_cost_flow.SimpleMinCostFlow()
    for i in range(jobs):
        flow.add_arc_with_capacity_and_unit_cost(0, 1 + i, 1, 0)
    pairs = [(int(i), int(m)) for i, m in np.argwhere(np.isfinite(cost))]
    first = jobs
    for i, m in pairs:
        unit = round(float(cost[i, m]) * SCALE)
        flow.add_arc_with_capacity_and_unit_cost(1 + i, 1 + jobs + m, 1, unit)
    sink = 1 + jobs + machines
    for m in range(machines):
        flow.add_arc_with_capacity_and_unit_cost(1 + jobs + m, sink, 1, 0)
    flow.set_node_supply(0, min(jobs, machines))
    flow.set_node_supply(sink, -min(jobs, machines))
    status = flow.solve_max_flow_with_min_cost()
    assert status == flow.OPTIMAL, status
    return [pair for arc, pair in enumerate(pairs, first) if flow.flow(arc)]


class PathSolver:
    """Successive shortest paths with a first-in first-out relaxation, ties as in the original.

    Nodes: source, containers, machines, sink. Every arc carries one unit, so the flow is a
    matching: `machine_of[i]` and `job_on[m]`, -1 where unmatched.
    """

    def __init__(self, cost: np.ndarray) -> None:
        self.cost = cost
        self.jobs, self.machines = cost.shape
        self.source, self.sink = 0, 1 + self.jobs + self.machines
        self.machine_of = [-1] * self.jobs
        self.job_on = [-1] * self.machines

    def solve(self) -> Placement:
        while self.relax():
            self.augment()
        return [(i, m) for i, m in enumerate(self.machine_of) if m >= 0]

    def arcs(self, node: int) -> tuple[np.ndarray, np.ndarray]:
        """Heads and costs of the residual arcs out of `node`, in the original's order."""
        first = 1 + self.jobs
        if node == self.source:
            heads = [1 + i for i, m in enumerate(self.machine_of) if m < 0]
        elif node == self.sink:
            heads = [first + m for m, i in enumerate(self.job_on) if i >= 0]
        elif node >= first:
            i = self.job_on[node - first]
            if i < 0:
                return np.array([self.sink]), np.zeros(1)
            return np.array([1 + i]), np.array([-self.cost[i, node - first]])
        else:
            row = self.cost[node - 1].copy()
            if self.machine_of[node - 1] >= 0:
                row[self.machine_of[node - 1]] = np.inf
            return np.arange(first, self.sink), row
        return np.array(heads, dtype=int), np.zeros(len(heads))

    def relax(self) -> bool:
        """Shortest distances from the source; False when the sink cannot be reached."""
        distance = np.full(self.sink + 1, np.inf)
        distance[self.source] = 0.0
        self.parent = np.full(self.sink + 1, -1)
        waiting = deque([self.source])
        member = {self.source}
        while waiting:
            node = waiting.popleft()
            member.discard(node)
            heads, costs = self.arcs(node)
            through = distance[node] + costs
            for k in np.flatnonzero(through < distance[heads] - EPSILON):
                head = int(heads[k])
                distance[head] = through[k]
                self.parent[head] = node
                if head not in member:
                    member.add(head)
                    waiting.append(head)
        return bool(distance[self.sink] < np.inf)

    def augment(self) -> None:
        """Shift the matching along the path found; only container-to-machine arcs matter."""
        path = [self.sink]
        while path[-1] != self.source:
            path.append(int(self.parent[path[-1]]))
        first = 1 + self.jobs
        for head, tail in pairwise(path):
            if tail < first <= head < self.sink and tail != self.source:
                self.machine_of[tail - 1] = head - first
                self.job_on[head - first] = tail - 1


def solve_paths(cost: np.ndarray) -> Placement:
    return PathSolver(cost).solve()


SOLVERS: dict[str, Callable[[np.ndarray], Placement]] = {
    "ortools": solve_ortools, "paths": solve_paths,
}  # fmt: skip


def flow_round(queue: list[Container], cluster: Cluster, policy: str, solver: str) -> Placement:
    """One matching of the head of the queue: at most one container per machine."""
    head = queue[: cluster.setup.flow_look]
    cost = cost_matrix(head, cluster, policy)
    usable = np.flatnonzero(np.isfinite(cost).any(axis=1))  # rows without an arc change nothing
    if not len(usable):
        return []
    placed = [(int(usable[i]), m) for i, m in SOLVERS[solver](cost[usable])]
    for position, machine in placed:
        cluster.change(queue[position], machine, -1)
    return placed


# --- simulator ------------------------------------------------------------------------------------


def rounds(policy: str, setup: Setup) -> int:
    return setup.flow_rounds if policy in ("ml", "dp") else 1


def one_round(queue: list[Container], cluster: Cluster, policy: str, solver: str) -> Placement:
    if policy in ("ml", "dp"):
        return flow_round(queue, cluster, policy, solver)
    return greedy(queue, cluster, k8s_score if policy == "k8s" else swarm_score)


def simulate(
    jobs: list[Container], setup: Setup, policy: str, solver: str = "paths"
) -> dict[int, int]:
    """Start second of every container, by its number in the input."""
    cluster = Cluster(setup)
    coming = deque(jobs)
    queue: list[Container] = []
    ends: dict[int, list[tuple[Container, int]]] = {}
    starts: dict[int, int] = {}
    now = 0
    while coming or queue:
        for job, machine in ends.pop(now, []):
            cluster.change(job, machine, +1)
        while coming and coming[0].submit == now:
            queue.append(coming.popleft())
        for _ in range(rounds(policy, setup)):
            placed = one_round(queue, cluster, policy, solver) if queue else []
            for position, machine in placed:
                job = queue[position]
                starts[job.number] = now
                ends.setdefault(now + job.duration, []).append((job, machine))
            for position, _ in sorted(placed, reverse=True):
                queue.pop(position)
            if not placed:
                break
        now += 1
    return starts


def completions(jobs: list[Container], starts: dict[int, int]) -> list[int]:
    """Seconds from submission to end, in input order."""
    return [starts[j.number] + j.duration - j.submit for j in jobs]


def equal_count(done: list[int], folder: Path, policy: str) -> int:
    """How many containers end when the author's own per-container file says they do."""
    file = folder / (f"ecs_{policy}" if policy in ("ml", "dp") else policy)
    theirs = [int(line.split()[1]) for line in file.read_text().splitlines()]
    return sum(a == b for a, b in zip(done, theirs, strict=True))


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--solver", choices=sorted(SOLVERS), default="paths")
    parser.add_argument("--experiment", choices=sorted(EXPERIMENTS), default="published")
    parser.add_argument("--compare", type=Path, help="folder of the author's per-container files")
    parser.add_argument("policies", nargs="*", default=list(POLICIES))
    args = parser.parse_args()
    experiment = EXPERIMENTS[args.experiment]
    jobs = read_input(experiment.path)
    worst = 0.0
    for policy in args.policies:
        done = completions(jobs, simulate(jobs, experiment.setup, policy, args.solver))
        mean = float(np.mean(done))
        line = f"{policy:6} {mean:9.2f}"
        if policy in experiment.published:
            error = mean / experiment.published[policy] - 1
            worst = max(worst, abs(error))
            line += f"  published {experiment.published[policy]:8.2f}  {error:+.3%}"
        if args.compare:
            line += f"  equal {equal_count(done, args.compare, policy)} of {len(jobs)}"
        print(line, flush=True)
    return 0 if worst <= 0.1 else 1


if __name__ == "__main__":
    sys.exit(main())
