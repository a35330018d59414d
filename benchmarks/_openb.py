"""The openb cluster and arrivals for benchmarks, and the same as input of the C floor."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks._harness import ROOT, compile_c, need_data
from cerebrum.engine.typical import typical_classes
from cerebrum.model.cluster import Cluster
from cerebrum.model.scenario import Scenario
from cerebrum.model.tasks import TaskTable
from cerebrum.traces import read

FLOOR = ROOT / "benchmarks" / "floor" / "fgd.c"


def published(trace: str = "default", seed: int = 42) -> Scenario:
    """The published experiment: arrivals up to 130 % of the GPUs, nobody leaves."""
    return read(need_data("openb"), pods=trace, arrivals="fgd", seed=seed)


def copies(count: int, tasks: int, seed: int = 1) -> Scenario:
    """`count` openb clusters side by side and `tasks` tasks drawn from the trace, one a second."""
    base = read(need_data("openb"))
    nodes = tuple(
        replace(node, name=f"{node.name}-{k}") for k in range(count) for node in base.cluster.nodes
    )
    drawn = np.random.default_rng(seed).integers(len(base.tasks), size=tasks)
    table = TaskTable.build(
        names=[str(i) for i in range(tasks)],
        classes=base.tasks.classes,
        class_id=base.tasks.class_id[drawn],
        submit_s=np.arange(tasks, dtype=np.float64),
    )
    return Scenario(Cluster(nodes), table, typical=typical_classes(base.tasks))


def c_input(scenario: Scenario, path: Path, whole: int) -> None:
    """Write what `fgd.c` reads; `whole` is the size of the trace the typical classes are from."""
    models = sorted({node.gpu_model for node in scenario.cluster})
    known = {name: i for i, name in enumerate(models)}

    def mask(names: tuple[str, ...]) -> int:
        return sum(1 << known[n] for n in names if n in known) if names else -1

    lines = [f"nodes {len(scenario.cluster)}"]
    for node in scenario.cluster:
        c = node.capacity
        lines.append(f"{c.cpu_milli} {c.memory_mib} {c.gpu_count} {known[node.gpu_model]}")
    typical = scenario.typical or ()
    lines.append(f"typical {len(typical)} {whole}")
    for task_class, weight in typical:
        r = task_class.resources
        lines.append(
            f"{r.cpu_milli} {r.gpu_count} {r.gpu_milli} {mask(task_class.gpu_models)} {int(weight)}"
        )
    lines.append(f"classes {len(scenario.tasks.classes)}")
    for task_class in scenario.tasks.classes:
        r = task_class.resources
        allowed = mask(task_class.gpu_models)
        lines.append(f"{r.cpu_milli} {r.memory_mib} {r.gpu_count} {r.gpu_milli} {allowed}")
    lines.append(f"arrivals {len(scenario.tasks)}")
    lines += [str(i) for i in scenario.tasks.class_id.tolist()]
    path.write_text("\n".join(lines) + "\n")


def floor(scenario: Scenario, mode: str, *arguments: str, policy: str = "FGD") -> dict[str, float]:
    """Run the C floor on a scenario (`run` or `steady`) and return its JSON."""
    program = compile_c(FLOOR)
    with TemporaryDirectory() as folder:
        source = Path(folder) / "input.txt"
        c_input(scenario, source, whole=8152)
        command = [str(program), mode, str(source), policy, *arguments]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout)
