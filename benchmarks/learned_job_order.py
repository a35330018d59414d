"""The learned job order on RLScheduler's ten Lublin-1 windows, by the engine, against its agent.

Mean bounded slowdown without backfilling, the published figure as target; with EASY, and the
published agent, SJF and F1 in the same run, as peers.
"""

from __future__ import annotations

from benchmarks._harness import Benchmark, Measured, need_data, progress

PUBLISHED = {"none": 254.67, "easy": 58.64}


def run() -> Measured:
    from cerebrum.learn.job_evaluation import by_window
    from cerebrum.learn.job_order import read_trace
    from cerebrum.policies import get_policy
    from cerebrum.traces.windows import start_indices

    scenario = read_trace(need_data("jobs"))
    first = start_indices(len(scenario.tasks))
    found: dict[str, float] = {}
    for backfill, published in PUBLISHED.items():
        suffix, words = ("", "no backfill") if backfill == "none" else ("-easy", "EASY")
        policies = {
            f"learned, {words}": get_policy(f"learned:job-order{suffix}"),
            f"SJF, {words}": get_policy("sjf", backfill=backfill),
            f"F1, {words}": get_policy("f1", backfill=backfill),
        }
        for name, policy in policies.items():
            found[name] = round(float(by_window(scenario, first, policy).mean()), 2)
            progress(f"{name}: {found[name]}")
        found[f"RLScheduler as published, {words}"] = published
    return Measured(found.pop("learned, no backfill"), found)


BENCHMARK = Benchmark(
    name="learned_job_order", unit="slowdown", target=254.67, direction="at_most", run=run
)

if __name__ == "__main__":
    BENCHMARK.main()
