"""Generated scenarios: what was asked for comes out, the same for a seed, and quickly."""

from __future__ import annotations

import csv
import math
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from cerebrum import traces
from cerebrum.model.cluster import Cluster, Node, PowerModel
from cerebrum.model.errors import ConfigError, InputError
from cerebrum.model.resources import Resources
from cerebrum.model.scenario import Scenario
from cerebrum.model.tasks import TaskClass
from cerebrum.traces import _openb_counts as counts
from cerebrum.traces._arrivals import PROCESSES, Bursty, Compound, Diurnal, Poisson
from cerebrum.traces._durations import (
    Constant,
    Exponential,
    Forever,
    LogNormal,
    Pareto,
    Quantiles,
    Uniform,
    residual,
)
from cerebrum.traces.synthetic import JobKind, Recipe, generate, openb_like, plain

SMALL = Cluster((Node("n", Resources(cpu_milli=8000)),))


def rows(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def same(a: Scenario, b: Scenario) -> bool:
    columns = ("class_id", "submit_s", "duration_s", "requested_s", "priority", "job_id")
    return (
        a.cluster == b.cluster
        and list(a.tasks.names) == list(b.tasks.names)
        and a.tasks.classes == b.tasks.classes
        and all(
            np.array_equal(getattr(a.tasks, c), getattr(b.tasks, c), equal_nan=c != "class_id")
            for c in columns
        )
    )


def test_the_tables_are_the_counts_of_the_published_trace(shared_data: Path) -> None:
    nodes = Counter(
        (n["model"], int(n["gpu"]), int(n["cpu_milli"]), int(n["memory_mib"]))
        for n in rows(shared_data / "openb" / "openb_node_list_gpu_node.csv")
    )
    assert {row[:4]: row[4] for row in counts.NODES} == nodes
    pods = rows(shared_data / "openb" / "openb_pod_list_default.csv")
    shape = ("cpu_milli", "memory_mib", "num_gpu", "gpu_milli")
    shapes = Counter(tuple(int(p[name]) for name in shape) for p in pods)
    assert {row[:4]: row[4] for row in counts.PODS} == shapes
    assert (sum(row[-1] for row in counts.NODES), sum(row[-1] for row in counts.PODS)) == (
        1_213,
        8_152,
    )


def test_the_run_times_are_those_of_the_published_trace(shared_data: Path) -> None:
    found: dict[str, list[float]] = {name: [] for name in counts.RUN_TIMES_S}
    for pod in rows(shared_data / "openb" / "openb_pod_list_default.csv"):
        if not pod["scheduled_time"]:
            continue
        gpus, milli = int(pod["num_gpu"]), int(pod["gpu_milli"])
        sort = "cpu" if not gpus else "shared" if milli < 1000 else "one" if gpus == 1 else "many"
        run_s = int(pod["deletion_time"]) - int(pod["scheduled_time"])
        found[sort].append(min(run_s, 86_400))
    assert sum(map(len, found.values())) == 7_255
    for sort, values in counts.RUN_TIMES_S.items():
        assert np.quantile(found[sort], counts.PROBABILITIES) == pytest.approx(values, abs=0.5)


def test_the_openb_like_cluster_is_the_published_one() -> None:
    cluster = openb_like(tasks=1).cluster
    assert (len(cluster), cluster.gpu_capacity) == (1_213, 6_212)
    assert sum(node.capacity.cpu_milli for node in cluster) == 107_018_000
    assert sum(node.capacity.memory_mib for node in cluster) == 503_828_480
    t4 = next(node for node in cluster if node.gpu_model == "T4")
    assert t4.power == PowerModel(15, 120, 32_000, 10, 70)


def test_packing_goes_up_to_130_percent_and_nothing_ends() -> None:
    scenario = openb_like(seed=3)
    asked = scenario.tasks.request("gpu_milli_total").sum() / 1000 / 6_212
    assert 1.29 < asked <= 1.3
    assert len(scenario.tasks) == pytest.approx(10_800, rel=0.05)
    assert np.isinf(scenario.tasks.duration_s).all()
    assert (np.diff(scenario.tasks.submit_s) == 1).all()
    assert scenario.typical is not None
    assert (len(scenario.typical), sum(count for _, count in scenario.typical)) == (35, 7_766)


def test_a_steady_state_starts_full_and_stays_so() -> None:
    scenario = openb_like(departures=True, load=0.8, tasks=30_000, seed=1)
    tasks = scenario.tasks
    gpus = tasks.request("gpu_milli_total") / 1000
    for now in np.linspace(0, tasks.submit_s[-1], 5):
        running = (tasks.submit_s <= now) & (tasks.submit_s + tasks.duration_s > now)
        assert gpus[running].sum() / 6_212 == pytest.approx(0.8, rel=0.05)
    assert len(tasks) == 30_000


def test_a_small_openb_has_the_same_proportions() -> None:
    cluster = openb_like(nodes=121, tasks=1).cluster
    models = Counter(node.gpu_model for node in cluster)
    assert len(cluster) == 121
    assert abs(models["G2"] - 54.9) <= 1
    assert abs(models["T4"] - 40.4) <= 1


def test_a_name_stands_for_a_scenario() -> None:
    scenario = traces.read("openb-like:nodes=100,seed=7,load=0.5")
    assert same(scenario, openb_like(nodes=100, seed=7, load=0.5))
    assert same(traces.read("synthetic"), plain())
    with pytest.raises(
        ConfigError, match=r"openb-like: nodes: expected a whole number 1\.\.100,000"
    ):
        traces.read("openb-like:nodes=0")
    with pytest.raises(ConfigError, match="synthetic: departures: only openb-like takes this"):
        traces.read("synthetic:departures=true")


def test_a_seed_gives_the_same_scenario_and_another_seed_another() -> None:
    for make in (openb_like, plain):
        assert same(make(nodes=20, tasks=50, seed=5), make(nodes=20, tasks=50, seed=5))
        assert not same(make(nodes=20, tasks=50, seed=5), make(nodes=20, tasks=50, seed=6))


def test_names_are_in_order_and_unique() -> None:
    names = openb_like(tasks=1_000).tasks.names
    assert names[0] == "task-000"
    assert sorted(set(names)) == list(names)


def test_a_million_tasks_take_seconds_and_little_memory() -> None:
    # The peak of the kernel's accounts would be at least that of the process which starts this one.
    code = (
        "import time; from cerebrum.traces.synthetic import openb_like\n"
        "began = time.perf_counter(); made = openb_like(tasks=1_000_000, departures=True)\n"
        "seconds = time.perf_counter() - began\n"
        "peak = next(line for line in open('/proc/self/status') if line.startswith('VmHWM'))\n"
        "print(len(made.tasks), seconds, peak.split()[1])"
    )
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    tasks, seconds, kib = map(float, found.stdout.split())
    assert tasks == 1_000_000
    assert seconds < 15
    assert kib < 1.5 * 2**20


@pytest.mark.parametrize("process", list(PROCESSES.values()))
def test_every_process_keeps_its_mean_rate(process: type) -> None:
    times = process(rate_per_s=2.0).times(np.random.default_rng(0), 400_000)
    assert len(times) == 400_000
    assert (np.diff(times) >= 0).all()
    assert times[0] >= 0
    # Bursts come about 33 times in this span, so their mean is only known to about a sixth.
    assert 400_000 / times[-1] == pytest.approx(2.0, rel=0.15 if process is Bursty else 0.05)


@pytest.mark.parametrize("process", list(PROCESSES.values()))
@pytest.mark.parametrize("count", [0, 1, 2])
def test_a_process_gives_as_few_as_asked(process: type, count: int) -> None:
    assert len(process(rate_per_s=1.0).times(np.random.default_rng(0), count)) == count


def dispersion(times: np.ndarray, window_s: float) -> float:
    """Variance over mean of the arrivals in a window: 1 for a Poisson process."""
    arrivals = np.bincount((times // window_s).astype(int))[:-1]
    return float(arrivals.var() / arrivals.mean())


def test_poisson_is_even_and_the_others_come_in_waves() -> None:
    rng = np.random.default_rng(1)
    assert dispersion(Poisson(2.0).times(rng, 200_000), 60) == pytest.approx(1, abs=0.1)
    assert dispersion(Compound(2.0, 20).times(rng, 200_000), 60) == pytest.approx(39, rel=0.15)
    assert dispersion(Bursty(2.0).times(rng, 200_000), 60) > 50
    assert dispersion(Diurnal(2.0, 0.9).times(rng, 400_000), 3600) > 500


def test_a_diurnal_process_has_its_crest_where_asked() -> None:
    times = Diurnal(1.0, amplitude=0.8, peak_s=50_400).times(np.random.default_rng(2), 864_000)
    by_hour = np.bincount((times % 86_400 // 3600).astype(int), minlength=24) / 36_000
    hours = np.arange(24) + 0.5
    wave = 1 + 0.8 * np.cos(2 * np.pi * (hours - 14) / 24)
    assert by_hour == pytest.approx(wave, abs=0.05)


@pytest.mark.parametrize(
    "duration",
    [
        Constant(60),
        Uniform(10, 30),
        Exponential(600),
        LogNormal(100, 1),
        Pareto(1.5, 10, 1000),
        Pareto(1, 10, 1000),
        Quantiles((0, 0.5, 1), (0, 10, 100)),
    ],
)
def test_a_sample_has_the_stated_mean(duration: Constant) -> None:
    sample = duration.sample(np.random.default_rng(3), 400_000)
    assert (sample >= 0).all()
    assert sample.mean() == pytest.approx(duration.mean_s, rel=0.02)


def test_what_is_left_of_running_tasks() -> None:
    """Renewal theory: the mean residual life is E[D^2] / 2 E[D]; memoryless stays as it was."""
    rng = np.random.default_rng(4)
    assert residual(Constant(60), rng, 200_000).mean() == pytest.approx(30, rel=0.02)
    assert residual(Exponential(60), rng, 200_000).mean() == pytest.approx(60, rel=0.02)
    assert residual(Uniform(0, 30), rng, 200_000).mean() == pytest.approx(10, rel=0.02)
    assert len(residual(Exponential(60), rng, 0)) == 0
    assert residual(Constant(0), rng, 3).tolist() == [0, 0, 0]


def test_a_gang_is_a_job_of_tasks_that_start_together() -> None:
    kinds = (
        JobKind("pair", TaskClass(Resources(cpu_milli=1000)), Constant(5), weight=1, gang=2),
        JobKind("one", TaskClass(Resources(cpu_milli=2000)), Constant(9), weight=1),
    )
    tasks = generate(Recipe(SMALL, kinds, jobs=100)).tasks
    sizes = np.bincount(tasks.job_id)
    assert len(tasks.jobs) == len(sizes) == 100
    assert [job.gang for job in tasks.jobs] == sizes.tolist()
    pairs = np.flatnonzero(sizes == 2)
    assert 30 < len(pairs) < 70
    members = np.flatnonzero(tasks.job_id == pairs[0])
    assert tasks.submit_s[members[0]] == tasks.submit_s[members[1]]
    assert tasks.duration_s[members].tolist() == [5, 5]


def test_weights_are_shares_and_users_overestimate() -> None:
    kinds = (
        JobKind("a", TaskClass(Resources(cpu_milli=1000)), Constant(10), weight=3, overestimate=2),
        JobKind("b", TaskClass(Resources(cpu_milli=2000)), Constant(10), weight=1),
    )
    tasks = generate(Recipe(SMALL, kinds, jobs=20_000)).tasks
    first = tasks.class_id == 0
    assert first.mean() == pytest.approx(0.75, abs=0.02)
    asked = tasks.requested_s[first]
    assert 10 <= asked.min() <= asked.max() <= 20
    assert np.isnan(tasks.requested_s[~first]).all()
    assert asked.mean() == pytest.approx(15, rel=0.02)


def test_tasks_that_never_end_cannot_start_stationary() -> None:
    kinds = (JobKind("a", duration=Forever()),)
    assert np.isinf(generate(Recipe(SMALL, kinds, jobs=3)).tasks.duration_s).all()
    with pytest.raises(InputError, match="start: a stationary start needs run times that end"):
        generate(Recipe(SMALL, kinds, jobs=3, stationary=True))


DESCRIPTION = """\
# made for this test
kind: Synthetic
name: two-sizes
seed: 7
jobs: 200
start: stationary
zone: DE
arrivals: {process: compound, rate_per_s: 0.5, batch_mean: 4}
nodes:
  - name: gpu
    count: 2
    cpu: "64"
    memory: 256Gi
    gpus: 4
    gpu_model: A100
    labels: {rack: r1}
  - {name: cpu, cpu: 500m, slots: 3, speed: 0.5, power: {cpu_idle_w: 5, cpu_full_w: 50}}
classes:
  - name: train
    weight: 3
    cpu: 8
    memory: 32Gi
    gpus: 1
    gpu_milli: 500
    gpu_models: [A100]
    priority: 2
    preemptible: false
    duration: {distribution: quantiles, probabilities: [0, 0.5, 1], values_s: [1, 10, 100]}
  - {name: tiny, cpu: 100m, duration: {distribution: uniform, low_s: 1, high_s: 2}, gang: 2}
"""


def test_a_description_says_everything(tmp_path: Path) -> None:
    path = tmp_path / "made.yaml"
    path.write_text(DESCRIPTION)
    assert traces.detect(path) == "synthetic"
    scenario = traces.read(path)
    assert (scenario.name, scenario.cluster.zone) == ("two-sizes", "DE")
    gpu, _, cpu = scenario.cluster
    assert [node.name for node in scenario.cluster] == ["gpu-0", "gpu-1", "cpu"]
    assert gpu.capacity == Resources(64_000, 262_144, 4, 1000)
    assert (dict(gpu.labels), gpu.power) == ({"rack": "r1"}, PowerModel(15, 120, 32_000, 50, 400))
    assert (cpu.capacity.cpu_milli, cpu.slots, cpu.speed) == (500, 3, 0.5)
    assert cpu.power == PowerModel(5, 50)
    train = scenario.tasks.classes[0]
    assert train == TaskClass(Resources(8000, 32_768, 1, 500), ("A100",))
    mine = scenario.tasks.class_id == 0
    assert set(scenario.tasks.priority[mine]) == {2}
    assert not scenario.tasks.preemptible[mine].any()
    found = int(scenario.report.notes[0].split()[0])
    assert found > 0
    assert len(scenario.tasks.jobs) == 200 + found
    assert same(scenario, traces.read(path, seed=7))
    assert not same(scenario, traces.read(path, seed=8))
    assert math.isfinite(scenario.tasks.submit_s[-1])


def test_a_description_may_name_a_ready_made_one(tmp_path: Path) -> None:
    path = tmp_path / "made.yaml"
    path.write_text("kind: Synthetic\npreset: openb-like\nnodes: 50\ntasks: 20\nseed: 4\n")
    assert same(traces.read(path), openb_like(nodes=50, tasks=20, seed=4))
