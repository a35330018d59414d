"""Training of a job order: the fast simulator is the engine, test windows stay unseen, and a search
that was stopped goes on as if it had not been."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cerebrum.executors.simulated import Simulation
from cerebrum.learn import job_order as training
from cerebrum.learn.batch_queue import Window, bounded_slowdown, starts
from cerebrum.learn.job_evaluation import by_window
from cerebrum.learn.job_sequences import columns, part, resampled
from cerebrum.learn.recipes import Settings
from cerebrum.model.errors import CerebrumError
from cerebrum.policies import get_policy
from cerebrum.policies.learned.artefact import find, read
from cerebrum.policies.learned.job_order import JobOrder, Network, make
from cerebrum.policies.machine import Machine
from cerebrum.policies.queueing import Jobs, QueuePolicy
from cerebrum.traces.windows import LENGTH, outside, start_indices, window
from tests.engine.stories import node, scenario, task
from tests.naive import rlscheduler

PUBLISHED = {"none": 254.67, "easy": 58.64}


def drawn(seed: int) -> Network:
    return Network.of(np.random.default_rng(seed).normal(size=Network.size(4)))


def crowd(seed: int):
    """Sixty jobs on 8 processors; whole seconds from a small range, so that much coincides."""
    rng = np.random.default_rng(seed)
    at, tasks = 0, []
    for i in range(60):
        at += int(rng.integers(0, 6))
        run, over = int(rng.integers(1, 13)), float(rng.choice([0.5, 1, 1, 2]))
        tasks.append(task(f"t{i}", int(rng.integers(1, 9)), at, run, requested_s=run * over))
    return scenario([node("n", 8)], tasks)


@settings(max_examples=25)
@given(seed=st.integers(0, 10_000), easy=st.booleans())
def test_every_job_starts_when_it_does_in_the_engine(seed, easy):
    """Requests below and above the true run time, several events at one time, any network."""
    world, backfill = crowd(seed), "easy" if easy else "none"
    learned = QueuePolicy("x", JobOrder(drawn(seed)), backfill, reads_machine=True)
    for network, policy in (
        (drawn(seed), learned),
        (None, get_policy("sjf", backfill=backfill)),
    ):
        begun = starts(columns(world), network, easy)
        simulation = Simulation(world)
        simulation.run(policy)
        assert begun.tolist() == simulation.engine.snapshot().tasks.started_s.tolist()


@pytest.mark.needs(data="jobs/lublin_256.swf.gz")
@pytest.mark.parametrize(("easy", "published"), [(False, 277.35), (True, 73.31)])
def test_shortest_first_in_the_fast_simulator_is_the_published_figure(shared_data, easy, published):
    trace = columns(training.read_trace(shared_data))
    windows = [part(trace, first, LENGTH) for first in start_indices(len(trace))]
    means = [bounded_slowdown(one, starts(one, None, easy)).mean() for one in windows]
    assert np.mean(means) == pytest.approx(published, abs=0.005)


def test_a_job_that_never_ends_or_fits_nowhere_is_refused():
    for bad in (task("big", 9, 0, 5), task("long", 1, 0)):
        with pytest.raises(CerebrumError, match="jobs that end and fit on 8 processors"):
            columns(scenario([node("n", 8)], [bad]))


# -- what is trained on ----------------------------------------------------------------------------


def test_outside_are_the_jobs_in_no_window_the_longest_stretch_first():
    found = outside(20, [4, 6, 15], length=3)
    assert [one.tolist() for one in found] == [[9, 10, 11, 12, 13, 14], [0, 1, 2, 3], [18, 19]]


def test_no_job_of_a_test_window_is_trained_or_validated_on():
    """Against the naive twin's windows, and by job: each job here has a run time of its own."""
    tasks = [task(f"{i}", 1, i, 1 + i) for i in range(10_000)]
    split = training.Split.of(scenario([node("n", 8)], tasks))
    held_out = {
        float(1 + job)
        for first in rlscheduler.start_indices(10_000)
        for job in range(first, first + rlscheduler.LENGTH)
    }
    rng = np.random.default_rng(0)
    trained, validated = (
        {run for _ in range(30) for run in resampled(split.trace, use, rng).run_s}
        for use in (split.train, split.validate)
    )
    assert not (trained | validated) & held_out
    assert not trained & validated
    assert len(trained) > 1500


def test_resampled_windows_are_as_long_and_as_loaded_as_asked():
    tasks = [task(f"{i}", 1 + i % 5, 7 * i, 1 + i % 40) for i in range(400)]
    trace = columns(scenario([node("n", 8)], tasks))
    rng = np.random.default_rng(1)
    for wanted in (0.5, 1.2):
        got = resampled(trace, [np.arange(400)], rng, 2000, (wanted, wanted))
        work = (got.run_s * got.processors).sum() / got.machine
        assert len(got) == 2000
        assert work / (got.submit_s[-1] - got.submit_s[0]) == pytest.approx(wanted, rel=0.02)
        assert (np.diff(got.submit_s) >= 0).all()


# -- the search ------------------------------------------------------------------------------------


@pytest.fixture
def small(monkeypatch) -> training.Split:
    for name, value in {"POPULATION": 4, "SHARED": 1, "VALIDATION": 2, "EVERY": 2}.items():
        monkeypatch.setattr(training, name, value)
    rng = np.random.default_rng(5)
    submit = np.cumsum(rng.integers(0, 60, 600)).astype(float)
    run = rng.integers(1, 400, 600).astype(float)
    trace = Window(submit, run, run, rng.integers(1, 8, 600).astype(float), 8)
    halves = (np.arange(300),), (np.arange(300, 600),)
    return training.Split(trace, (), *halves)


def test_a_search_that_was_stopped_ends_as_one_that_was_not(tmp_path, small):
    whole = training.Search(Settings(tmp_path / "whole"), small, "none")
    whole.run(6)
    training.Search(Settings(tmp_path / "cut"), small, "none").run(4)
    resumed = training.Search(Settings(tmp_path / "cut", resume=True), small, "none")
    assert resumed.strategy.generation == 4
    resumed.run(6)
    assert resumed.strategy.mean.tolist() == whole.strategy.mean.tolist()
    assert resumed.best.tolist() == whole.best.tolist()
    assert resumed.curve == whole.curve
    curve = (tmp_path / "cut" / "curve.csv").read_text()
    assert curve == (tmp_path / "whole" / "curve.csv").read_text()
    assert curve.startswith("generation,validation_bounded_slowdown")
    assert len(curve.splitlines()) == 1 + 4


def test_what_is_kept_is_the_best_on_validation_not_the_last(tmp_path, small):
    search = training.Search(Settings(tmp_path), small, "none")
    search.run(6)
    assert search.best_slowdown == min(x["validation_bounded_slowdown"] for x in search.curve)
    again, _ = search._score(search.best, search.validation)
    assert again == search.best_slowdown


def test_a_checkpoint_of_the_other_backfill_is_refused(tmp_path, small):
    training.Search(Settings(tmp_path), small, "none").run(2)
    with pytest.raises(CerebrumError, match="backfill 'none'"):
        training.Search(Settings(tmp_path, resume=True), small, "easy")


# -- what is shipped -------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.needs(data="jobs/lublin_256.swf.gz")
@pytest.mark.parametrize(("name", "backfill"), [("job-order", "none"), ("job-order-easy", "easy")])
def test_the_shipped_order_beats_the_published_agent_on_its_windows(shared_data, name, backfill):
    scenario = training.read_trace(shared_data)
    made = read(find(name))
    found = by_window(scenario, start_indices(len(scenario.tasks)), make(made)).mean()
    assert found < PUBLISHED[backfill]
    row = next(r for r in made.card.evaluation if r.policy == name)
    assert found == pytest.approx(row.value, abs=1e-3), "the card says what comes out"


class Rated(rlscheduler.Simulation):
    """The naive twin of the authors' simulator, events one at a time, under a learned order."""

    def __init__(self, jobs, procs, order: JobOrder, backfill: bool) -> None:
        super().__init__(jobs, procs, lambda job, now: 0, backfill)
        self.order, self.procs = order, float(procs)

    def run(self) -> dict[int, int]:
        while self.pending or self.queue:
            while not self.queue:
                self.next_event()
            self.queue.sort(key=lambda job: job.submit)
            rated = self.order(self.seen())[0]
            self.start_head(self.queue[int(np.argmin(rated))])
        return self.starts

    def seen(self) -> Jobs:
        def column(values) -> np.ndarray:
            return np.array(list(values), float)

        running = sorted(self.running, key=lambda r: r.promised_end)
        ends = column(r.promised_end for r in running)
        held = column(r.job.procs for r in running)
        return Jobs(
            float(self.now),
            column(job.submit for job in self.queue),
            column(job.request for job in self.queue),
            column(job.procs for job in self.queue),
            Machine(float(self.free), self.procs, ends, held),
        )


@pytest.mark.slow
@pytest.mark.needs(data="jobs/lublin_256.swf.gz")
@pytest.mark.parametrize(("name", "backfill"), [("job-order", "none"), ("job-order-easy", "easy")])
def test_it_does_so_in_the_authors_own_order_of_events_too(shared_data, name, backfill):
    """Their simulator takes the events of an instant one by one, ours all before it decides."""
    order = JobOrder(Network.read(read(find(name)).weights))
    jobs, procs = rlscheduler.read_trace(shared_data / "jobs" / "lublin_256.swf.gz")
    means = []
    for first in start_indices(len(jobs)):
        chosen = jobs[first : first + LENGTH]
        begun = Rated(chosen, procs, order, backfill == "easy").run()
        means.append(np.mean([rlscheduler.bounded_slowdown(j, begun[j.number]) for j in chosen]))
    assert np.mean(means) < PUBLISHED[backfill]


@pytest.mark.needs(data="jobs/lublin_256.swf.gz")
def test_the_shipped_file_starts_each_job_of_a_window_as_the_training_simulator(shared_data):
    made = read(find("job-order-easy"))
    trace = training.read_trace(shared_data)
    short = window(trace, 0, 200)
    simulation = Simulation(short)
    simulation.run(make(made))
    begun = starts(part(columns(trace), 0, 200), Network.read(made.weights), True)
    assert begun.tolist() == simulation.engine.snapshot().tasks.started_s.tolist()


def test_a_file_of_another_kind_is_refused():
    made = read(find("job-order"))
    card = made.card.model_copy(update={"kind": "bidder"})
    with pytest.raises(CerebrumError, match="expected a job-order, got a bidder"):
        make(replace(made, card=card))


@pytest.mark.needs(data="jobs/lublin_256.swf.gz")
def test_lublin_is_read_as_the_authors_did(shared_data):
    """The larger of the two processor counts: 256 nodes' worth, 10,000 jobs."""
    trace = columns(training.read_trace(shared_data))
    naive, processors = rlscheduler.read_trace(shared_data / "jobs" / "lublin_256.swf.gz")
    assert trace.machine == processors
    assert trace.processors.tolist() == [float(j.procs) for j in naive]
