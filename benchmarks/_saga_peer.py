"""SAGA's HEFT on instances from a file, and SAGA's own check of schedules: run by its Python.

    python _saga_peer.py INSTANCES.json ANSWERS.json

An instance: `tasks` {name: cost}, `edges` [[from, to, size]], `nodes` {name: speed}, `links`
[[a, b, speed]], `ours` {label: {task: [node, start, end]}}. The answer: `schedule` as `ours`,
`cpu_s`, `makespan`, and for each of ours what SAGA finds wrong with it and its makespan.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from pathlib import Path

from saga import Network, Schedule, ScheduledTask, TaskGraph
from saga.schedulers.heft import HeftScheduler

SLACK = 1e-6
logging.disable(logging.WARNING)  # it says for each workflow that it adds a first and last task


def objects(instance: dict) -> tuple[Network, TaskGraph]:
    network = Network.create(
        nodes=list(instance["nodes"].items()), edges=[tuple(link) for link in instance["links"]]
    )
    graph = TaskGraph.create(
        tasks=list(instance["tasks"].items()),
        dependencies=[tuple(edge) for edge in instance["edges"]],
    )
    return network, graph


def placed(schedule: Schedule) -> dict[str, tuple[str, float, float]]:
    return {
        task.name: (task.node, task.start, task.end) for _, on in schedule.items() for task in on
    }


def judged(network: Network, graph: TaskGraph, ours: dict) -> dict:
    """Rebuild a schedule with SAGA's classes; what it or its link speeds object to."""
    schedule, wrong = Schedule(graph, network), []
    for name, (node, start, end) in sorted(ours.items(), key=lambda item: item[1][1:]):
        try:
            schedule.add_task(ScheduledTask(node=node, name=name, start=start, end=end))
        except ValueError as problem:
            wrong.append(str(problem))
    speeds = {node.name: node.speed for node in network.nodes}
    links = {(e.source, e.target): e.speed for e in network.edges}
    links |= {(b, a): speed for (a, b), speed in links.items()}
    costs = {task.name: task.cost for task in graph.tasks}
    for name, (node, start, end) in ours.items():
        if abs(end - start - costs[name] / speeds[node]) > SLACK:
            wrong.append(f"{name} runs {end - start}")
    for edge in graph.dependencies:
        if edge.source in ours and edge.target in ours:
            a, b = ours[edge.source], ours[edge.target]
            if a[2] + edge.size / links[a[0], b[0]] > b[1] + SLACK:
                wrong.append(f"{edge.target} starts before the data of {edge.source}")
    return {"wrong": wrong, "makespan": schedule.makespan}


def answer(instance: dict) -> dict:
    network, graph = objects(instance)
    start = time.process_time()
    schedule = HeftScheduler().schedule(network, graph)
    spent = time.process_time() - start
    ours = {label: judged(network, graph, one) for label, one in instance["ours"].items()}
    return {
        "schedule": placed(schedule),
        "makespan": schedule.makespan,
        "cpu_s": spent,
        "ours": ours,
    }


def main() -> None:
    instances = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    answers = []
    for i, instance in enumerate(instances):
        answers.append(answer(instance))
        if (i + 1) % 24 == 0:
            print(f"  SAGA: {i + 1} of {len(instances)}", file=sys.stderr, flush=True)
    Path(sys.argv[2]).write_text(json.dumps(answers), "utf-8")


if __name__ == "__main__":
    main()
