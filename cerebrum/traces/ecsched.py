"""ECSched input: containers derived from the Google 2011 trace (Hu et al., Euro-Par'18).

Rows `id submit_s duration_s cpu_slots mem_slots`, whole numbers, no header
(huyang1022/ECSched @ cbba0fd : Input). A slot is a unit of the author's clusters; here one CPU slot
is one core and one memory slot one GiB, so ratios stay as they are.
docs/reference/ecsched-protocol.md says which cluster belongs to which published figures.
"""

from __future__ import annotations

import re
from pathlib import Path

from cerebrum.model.cluster import Cluster, Node
from cerebrum.model.errors import TraceError, UnknownName
from cerebrum.model.resources import Resources
from cerebrum.model.scenario import Scenario
from cerebrum.model.tasks import TaskClass, TaskTable
from cerebrum.traces._csv import Column, read_table
from cerebrum.traces._files import Tally, write_text
from cerebrum.traces.swf import whole_numbers

DESCRIPTION = "ECSched container list (id submit duration cpu mem, in slots)"
EXTENSIONS = (".txt",)

CPU_SLOT_MILLI = 1000
MEMORY_SLOT_MIB = 1024
CLUSTERS: dict[str, tuple[tuple[int, int], ...]] = {
    "published": ((50, 50),),
    "mixed": ((20, 25), (20, 50), (10, 100)),
    "small": ((10, 25), (10, 50), (10, 100)),
}
"""Cluster name -> (nodes, slots of each resource): the one the published 1368 / 1416 / 1773 / 1802
were computed on, the one that came a day later, and the one beside Input_85."""
_SLOTS_MAX = 1_000_000
_SLOTS_PER_NODE = 32_767  # the author bounds slots only, not containers
_COLUMNS = (
    Column("id", "int", unique=True),
    Column("submit_s", "int"),
    Column("duration_s", "int"),
    Column("cpu_slots", "int", high=_SLOTS_MAX),
    Column("mem_slots", "int", high=_SLOTS_MAX),
)
_ROW = re.compile(rb"\s*\d+( +\d+){4}\s*")


def sniff(path: Path, head: bytes) -> bool:
    """Whether the first two lines are five whole numbers each."""
    rows = head.split(b"\n")[:2]
    return bool(head) and all(_ROW.fullmatch(row) for row in rows if row.strip())


def read(path: Path, cluster: str = "published") -> Scenario:
    """Containers as tasks, in the file's order, on one of the author's clusters."""
    nodes = _nodes(cluster)
    table = read_table(path, _COLUMNS, separator=" ", header=False)
    first, class_id = table.groups(["cpu_slots", "mem_slots"])
    shapes = table.frame[first].select("cpu_slots", "mem_slots").rows()
    classes = [
        TaskClass(Resources(cpu * CPU_SLOT_MILLI, memory * MEMORY_SLOT_MIB))
        for cpu, memory in shapes
    ]
    largest = max(node.capacity.cpu_milli for node in nodes) // CPU_SLOT_MILLI
    for row, shape in zip(first, shapes, strict=True):
        for name, amount in zip(("cpu_slots", "mem_slots"), shape, strict=True):
            if amount > largest:
                raise table.error(int(row), name, f"expected 0..{largest}, got {amount}")
    tally = Tally(read=len(table))
    return Scenario(
        cluster=Cluster(nodes, name=f"ecsched-{cluster}"),
        tasks=TaskTable.build(
            names=[str(number) for number in table.numbers("id")],
            classes=classes,
            class_id=class_id,
            submit_s=table.numbers("submit_s"),
            duration_s=table.numbers("duration_s"),
        ),
        name=path.name.split(".")[0],
        source=str(path),
        report=tally.report(path, "containers"),
    )


def write(scenario: Scenario, path: Path) -> None:
    """Write the tasks as rows. What the format cannot hold is refused: see the message."""
    rows: list[str] = []
    numbers = whole_numbers(scenario.tasks.names)
    for number, task in zip(numbers, scenario.tasks, strict=True):
        r = task.task_class.resources
        cpu, cpu_rest = divmod(r.cpu_milli, CPU_SLOT_MILLI)
        memory, memory_rest = divmod(r.memory_mib, MEMORY_SLOT_MIB)
        if cpu_rest or memory_rest or r.gpu_count or r.extended or r.cache_ways:
            problem = f"ECSched holds whole cores and GiB only (task {task.name!r})"
            raise TraceError(problem).at(path)
        if not (task.submit_s.is_integer() and task.duration_s.is_integer()):
            raise TraceError(f"ECSched holds whole seconds only (task {task.name!r})").at(path)
        rows.append(f"{number} {int(task.submit_s)} {int(task.duration_s)} {cpu} {memory}")
    write_text(path, "\n".join(rows) + "\n")


def _nodes(cluster: str) -> tuple[Node, ...]:
    if cluster not in CLUSTERS:
        raise UnknownName("cluster", cluster, CLUSTERS)
    sizes = [slots for count, slots in CLUSTERS[cluster] for _ in range(count)]
    return tuple(
        Node(
            name=f"node-{i:02d}",
            capacity=Resources(slots * CPU_SLOT_MILLI, slots * MEMORY_SLOT_MIB),
            slots=_SLOTS_PER_NODE,
        )
        for i, slots in enumerate(sizes)
    )
