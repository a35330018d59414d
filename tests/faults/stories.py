"""Hand-written histories for the checker's own tests: one that is as it should be, to be spoilt."""

from __future__ import annotations

from typing import Any

from tests.faults.history import Entry, History
from tests.faults.reading import name_of_run

FLOW = "wf-1"
A, B = f"{FLOW}/a", f"{FLOW}/b"
RUN_A, RUN_B = name_of_run(A, 1, 1), name_of_run(B, 1, 1)
SETTINGS = {"lease_s": 30.0, "window_tasks": 4}


class Story:
    """A history with one entry a second; `at` moves on by hand."""

    def __init__(self) -> None:
        self.history, self.at_s = History(), 0.0

    def tell(self, who: str, kind: str, **data: Any) -> Story:
        """The next entry, a second later."""
        self.at_s += 1.0
        self.history.add(self.at_s, who, kind, **data)
        return self

    def gcc(self, kind: str, task: str = "", epoch: int = 1, **data: Any) -> Story:
        """A row of the controller's table."""
        return self.tell("gcc", kind, task=task, workflow=FLOW, epoch=epoch, **data)

    def lca(self, kind: str, task: str = "", who: str = "lca:east", **data: Any) -> Story:
        """A row of an agent's table."""
        return self.tell(who, kind, task=task, workflow=FLOW, cluster="east", **data)

    def accepted(self, edges: list[tuple[str, str]], **more: Any) -> Story:
        """A client was told that its workflow of `a` and `b` is accepted."""
        given = {"max_attempts": 2, "cpu_milli": 1000}
        tasks = [{"name": "a", **given}, {"name": "b", **given}]
        options = {"key": "k1", "on_cluster_lost": "replace", **more}
        return self.tell("client", "accepted", workflow=FLOW, tasks=tasks, edges=edges, **options)

    def held(self, task: str, generation: int = 1, cluster: str = "east", part: int = 0) -> Story:
        """A task goes all the way to an agent's disk and back."""
        given: dict[str, Any] = {
            "assignment": f"as-{task[-1]}-{generation}", "generation": generation,
            "cluster": cluster,
        }  # fmt: skip
        self.gcc("assigned", task, part=part, **given)
        self.gcc("offered", task, **given)
        self.lca("received", task, f"lca:{cluster}", **_without(given, "cluster"), epoch=1)
        self.gcc("held", task, **given)
        return self.lca("confirmed", task, f"lca:{cluster}", **_without(given, "cluster"))

    def run(self, task: str, run_id: str, phase: str = "succeeded", **more: Any) -> Story:
        """A run starts and ends in the world."""
        self.start(task, run_id, **more)
        return self.stop(task, run_id, phase, **{k: more[k] for k in ("node",) if k in more})

    def start(self, task: str, run_id: str, node: str = "n1", **more: Any) -> Story:
        """A run starts in the world."""
        amounts = {"cpu_milli": 1000, "memory_mib": 0, "gpus": [], "cluster": "east", **more}
        return self.tell("world", "run_started", task=task, run_id=run_id, node=node, **amounts)

    def stop(self, task: str, run_id: str, phase: str, node: str = "n1", **more: Any) -> Story:
        """A run ends in the world."""
        about = {"run_id": run_id, "node": node, "phase": phase, "cluster": "east", **more}
        return self.tell("world", "run_ended", task=task, **about)

    def ended(self, task: str, kind: str, run_id: str = "", generation: int = 1) -> Story:
        """The controller says how a task ended."""
        about = {"generation": generation, "run_id": run_id, "attempt": 1, "cluster": "east"}
        return self.gcc(kind, task, **about)


def opening(edges: list[tuple[str, str]] | None = None, **more: Any) -> Story:
    """Everything up to the moment at which a workflow of two tasks has been accepted."""
    story = Story().tell("faults", "settings", **SETTINGS)
    story.tell(
        "world", "node", cluster="east", node="n1", cpu_milli=2000, memory_mib=8, gpu_count=1
    )
    story.tell(
        "world", "node", cluster="west", node="n1", cpu_milli=2000, memory_mib=8, gpu_count=1
    )
    story.gcc("elected").gcc("submitted", name="flow")
    return story.accepted([("a", "b")] if edges is None else edges, **more)


def good() -> Story:
    """`a`, then `b`, each once, and all is well."""
    story = opening().held(A).held(B)
    story.run(A, RUN_A).ended(A, "succeeded", RUN_A)
    story.run(B, RUN_B).ended(B, "succeeded", RUN_B)
    return story.gcc("workflow_ended", state="succeeded")


def without(story: Story, kind: str, task: str = "", who: str = "") -> History:
    """The same history where entries of that kind never happened."""

    def gone(entry: Entry) -> bool:
        return entry.kind == kind and task in (entry.task, "") and who in (entry.who, "")

    return History([entry for entry in story.history if not gone(entry)])


def _without(given: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in given.items() if name != key}
