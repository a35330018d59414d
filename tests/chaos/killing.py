"""`kill -9` at each named point and at random: the workflow ends, each task ran once.

`python -m tests.chaos.killing` does all of it and prints one JSON line.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress

from cerebrum.model.errors import CerebrumError
from cerebrum.services import wire
from tests.chaos.servers import Federation, Server, wait_for
from tests.chaos.work import problems, workflow

console = Console(stderr=True, highlight=False)


def insist(federation: Federation, spec: wire.WorkflowSpec) -> str:
    """Submit under one key until there is an answer; whoever has died is started again."""
    found: list[str] = []

    def submitted() -> bool:
        federation.keep_alive()
        with federation.client() as client:
            found.append(str(client.submit(spec, key=spec.name)["id"]))
        return True

    wait_for(submitted, f"{spec.name} accepted")
    return found[0]


def see_it_end(federation: Federation, workflow_id: str) -> str:
    """The state in which the workflow ends; whoever dies meanwhile is started again."""
    state: list[str] = []

    def ended() -> bool:
        federation.keep_alive()
        with federation.client() as client:
            found: dict[str, Any] = client.workflow(workflow_id)
        state.append(str(found["state"]))
        return state[-1] not in ("pending", "running")

    wait_for(ended, f"{workflow_id} ended")
    return state[-1]


def census(federation: Federation, folder: Path) -> dict[str, list[str]]:
    """Names of the points that each side passes on the way through one workflow."""
    found: dict[str, list[str]] = {}
    for name, server in (("gcc", federation.gcc), ("lca", federation.lca)):
        server.points = folder / f"{name}.points"
    federation.start()
    workflow_id = insist(federation, workflow("census", federation.effects, lasts_s=1.0))
    cancelled = insist(federation, workflow("cancelled", federation.effects, lasts_s=30.0))
    time.sleep(1.0)
    with federation.client() as client:
        client.cancel(cancelled)
    see_it_end(federation, cancelled)
    assert see_it_end(federation, workflow_id) == "succeeded", federation.lca.tail()
    for name in ("gcc", "lca"):
        lines = (folder / f"{name}.points").read_text().splitlines()
        found[name] = sorted(set(lines))
    for server in federation.servers():
        server.stop()
        server.points = None
    return found


def at_point(federation: Federation, server: Server, point: str, count: int) -> tuple[bool, str]:
    """One workflow during which `server` dies at `point`: whether it did, and what went wrong."""
    name = f"w-{point.replace('_', '-')}-{count}"
    server.stop()
    server.start(crash_at=f"{point}:{count}")
    process = server.process
    workflow_id = insist(federation, workflow(name, federation.effects))
    state = see_it_end(federation, workflow_id)
    died = process is not None and process.poll() == -9
    wrong = problems(name, federation.effects)
    if state != "succeeded":
        wrong.append(f"{name} {state}")
    return died, "; ".join(wrong)


def at_random(federation: Federation, rng: random.Random, number: int) -> str:
    """One workflow during which either side dies at a random moment; what went wrong."""
    name = f"random-{number}"
    federation.keep_alive()
    workflow_id = insist(federation, workflow(name, federation.effects, lasts_s=0.3))
    for _ in range(rng.randint(1, 3)):
        time.sleep(rng.uniform(0.0, 0.8))
        rng.choice(federation.servers()).kill()
        federation.keep_alive()
    state = see_it_end(federation, workflow_id)
    wrong = problems(name, federation.effects)
    if state != "succeeded":
        wrong.append(f"{name} {state}")
    return "; ".join(wrong)


def kill_everywhere(
    folder: Path, at_random_points: int = 20, limit: int | None = None, seed: int = 0
) -> dict[str, Any]:
    """All of it. `limit` takes a sample of the named points."""
    rng, wrong, died = random.Random(seed), dict[str, str](), 0
    with Federation(folder) as federation:
        points = [
            (server, point)
            for server, found in census(federation, folder).items()
            for point in found
        ]
        known = len(points)
        if limit is not None:
            points = sorted(rng.sample(points, min(limit, len(points))))
        federation.keep_alive()
        with Progress(console=console) as bar:
            task = bar.add_task("kill -9", total=len(points) + at_random_points)
            for which, point in points:
                server = federation.gcc if which == "gcc" else federation.lca
                dead, problem = at_point(federation, server, point, 1)
                died += dead
                if problem:
                    wrong[f"{which} {point}"] = problem
                    console.print(f"{which} {point}: {problem}", style="red", markup=False)
                bar.advance(task)
            for number in range(at_random_points):
                problem = at_random(federation, rng, number)
                if problem:
                    wrong[f"random {number}"] = problem
                    console.print(f"random {number}: {problem}", style="red", markup=False)
                bar.advance(task)
    return {
        "known": known,
        "points": len(points),
        "died": died,
        "random": at_random_points,
        "wrong": wrong,
    }


def main() -> int:
    """0 when nothing was lost and nothing ran twice."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.killing", description=__doc__)
    parser.add_argument("--random", type=int, default=20)
    parser.add_argument("--limit", type=int)
    options = parser.parse_args()
    began_s = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        try:
            found = kill_everywhere(Path(folder), options.random, options.limit)
        except (AssertionError, CerebrumError) as problem:
            for log in sorted(Path(folder).glob("*.log")):
                console.print(log.name, log.read_text()[-3000:], markup=False)
            console.print(str(problem), style="red", markup=False)
            return 1
    print(json.dumps(found | {"wall_s": round(time.monotonic() - began_s, 1)}))
    return 1 if found["wrong"] else 0


if __name__ == "__main__":
    sys.exit(main())
