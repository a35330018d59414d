"""What a forecast is worth to placement: batch work done beside 50 BitBrains machines, at 5 % risk.

Ten nodes hold the 50 virtual machines; a node is as large as the peak of its machines' use in the
first 70 % of the trace, as a consolidated host would be. Batch tasks of 5 to 60 minutes want more
CPU than there is, all week (the last 30 %, which nothing was fitted on). The policy is always
`headroom`; only what it is told about the machines' use differs:

    reserved        all they have reserved: what a scheduler by requests assumes
    mean            their mean use so far: a fixed overcommit factor, chosen with care
    histogram P90   the 90th percentile of the Vertical Pod Autoscaler, summed over the machines
    last value      what they use now goes on
    forecast        the model chosen by backtest, plus its upper conformal bound at the stated risk
    perfect         what they will really use

A node-step is a violation when the machines' real use and the batch work exceed the node. The value
is the batch work of `forecast` over that of the best other (not `perfect`) within the stated risk.
"""

from __future__ import annotations

import numpy as np
from rich.table import Table

from benchmarks._harness import DATA, Benchmark, CannotRun, Measured, console, progress
from cerebrum.executors.simulated import Simulation
from cerebrum.forecast import get_forecaster
from cerebrum.forecast.backtest import rolling
from cerebrum.forecast.intervals import online_half_widths
from cerebrum.model.cluster import Cluster, Node
from cerebrum.model.resources import Resources
from cerebrum.model.scenario import Scenario
from cerebrum.model.tasks import TaskClass, TaskTable
from cerebrum.policies import get_policy
from cerebrum.signals.usage import read_usage

NODES, HORIZON, STEP_S, RISK, TASKS_PER_STEP = 10, 12, 300.0, 0.05, 8


def machines() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Use float64[machines, time] and capacity in MHz (taken as milli-cores); node of each."""
    path = DATA / "usage" / "bitbrains_trace.parquet"
    if not path.exists():
        raise CannotRun(f"there is no {path}: set CEREBRUM_DATA to the folder of real data")
    usage = read_usage(path)
    load, node = np.zeros(NODES), np.zeros(len(usage.names), np.int64)
    for i in np.argsort(-usage.capacity):
        node[i] = np.argmin(load)
        load[node[i]] += usage.capacity[i]
    return np.nan_to_num(usage.values), usage.capacity, node


def by_node(values: np.ndarray, node: np.ndarray) -> np.ndarray:
    out = np.zeros((NODES, *values.shape[1:]))
    np.add.at(out, node, values)
    return out


def scenario(capacity: np.ndarray, steps: int) -> Scenario:
    rng = np.random.default_rng(7)
    count = steps * TASKS_PER_STEP
    sizes = (0.05 * np.median(capacity) * np.array([1, 2, 4])).astype(int)
    nodes = [Node(f"n{i}", Resources(int(c), 2**30), slots=10_000) for i, c in enumerate(capacity)]
    duration = rng.uniform(300, 3600, count)
    tasks = TaskTable.build(
        [f"b{i}" for i in range(count)],
        [TaskClass(Resources(int(size), 1)) for size in sizes],
        rng.integers(0, len(sizes), count),
        np.repeat(np.arange(steps) * STEP_S, TASKS_PER_STEP),
        duration,
    )
    return Scenario(Cluster(tuple(nodes)), tasks)


def play(story: Scenario, told: np.ndarray, used: np.ndarray) -> tuple[float, float]:
    """Core-hours of batch work done, and the share of node-steps over capacity."""
    simulation, policy = Simulation(story), get_policy("headroom", queue="reject")
    engine, capacity = simulation.engine, used.shape[1]
    engine.forecasts["step_s"] = np.full((NODES, 1), STEP_S)
    over = steps = 0
    cpu = np.array([node.capacity.cpu_milli for node in story.cluster.nodes], float)
    while (snapshot := simulation.next_snapshot()) is not None:
        step = int(snapshot.time_s // STEP_S)
        if step >= capacity:
            break
        engine.forecasts["others_cpu_upper"] = told[:, step]
        snapshot = engine.snapshot()
        while decision := policy.decide(snapshot):
            snapshot = simulation.act(decision)
        batch = cpu - snapshot.nodes["cpu_free"]
        over += int((batch + used[:, step] > cpu * (1 + 1e-9)).sum())
        steps += NODES
    table = story.tasks
    rows = engine.log.rows
    ran = np.unique(rows["subject"][rows["kind"] == 15])
    work = table.request("cpu_milli")[ran] / 1000 * table.duration_s[ran] / 3600
    return float(work.sum()), over / max(1, steps)


def tables(values: np.ndarray, reserved: np.ndarray, node: np.ndarray, cpu: np.ndarray) -> dict:
    """What each variant is told: float64[nodes, steps, horizon] as shares of the node."""
    start = int(0.7 * values.shape[1])
    whole = by_node(values, node)
    share = cpu[:, None, None]
    progress("forecasting every node at every step")
    chosen = rolling(get_forecaster("auto:candidates=naive+ewma+seasonal+ridge"), whole, HORIZON,
                     start)  # fmt: skip
    upper = chosen.forecast + online_half_widths(chosen, risk=2 * RISK)  # misses on one side only
    steps = chosen.forecast.shape[1]
    flat = np.ones((NODES, steps, HORIZON))
    histogram = rolling(get_forecaster("histogram"), values, 1, start)
    p90 = by_node(histogram.forecast[:, :steps, 0], node)[:, :, None]
    full = by_node(reserved, node)[:, None, None] / share
    return {
        "reserved": flat * full,
        "mean": flat * whole[:, :start].mean(axis=1)[:, None, None] / share,
        "histogram P90": flat * p90 / share,
        "last value": flat * whole[:, chosen.origins][:, :, None] / share,
        "forecast": np.minimum(upper, full * share) / share,
        "perfect": chosen.truth / share,
        "used": chosen.truth[:, :, 0],
    }


def run() -> Measured:
    values, reserved, node = machines()
    start = int(0.7 * values.shape[1])
    cpu = by_node(values, node)[:, :start].max(axis=1)
    told = tables(values, reserved, node, np.floor(cpu))
    used = told.pop("used")
    story = scenario(cpu, used.shape[1])
    table = Table("told", "batch core-hours", "violations", title=f"risk stated: {RISK:.0%}")
    results: dict[str, tuple[float, float]] = {}
    for name, forecast in told.items():
        progress(name)
        results[name] = play(story, forecast, used)
        table.add_row(name, f"{results[name][0]:,.0f}", f"{results[name][1]:.2%}")
    console.print(table)
    kept = {n: w for n, (w, over) in results.items() if over <= RISK}
    rivals = [w for n, w in kept.items() if n not in ("forecast", "perfect")]
    gain = kept.get("forecast", 0.0) / max(rivals)
    peer = {f"{n}: core-hours": round(w) for n, (w, _) in results.items()}
    peer |= {f"{n}: violations": round(over, 4) for n, (_, over) in results.items()}
    return Measured(round(gain, 3), peer=peer)


BENCHMARK = Benchmark(
    name="forecast_placement", unit="x_best_baseline", target=1.0, direction="at_least", run=run
)

if __name__ == "__main__":
    BENCHMARK.main()
