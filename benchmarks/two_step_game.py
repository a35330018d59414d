"""Seeds of ten on which QMIX learns the two-step game, because a mixer that is wrong still trains.

On each seed every value must be within 0.05 of 6.93 / 7.92 / [0, 1; 1, 8] and greedy play must
return 8. Beside it what VDN gets: it must fail the way it is known to, 2B = [-1.5, 2.5; 2.5, 6.5],
return 7, mean squared error 0.75. And the matrix game, on which QMIX must find one of the two
monotone fits within 5 %: mean squared error 35.56 or 32.0.
"""

from __future__ import annotations

import numpy as np
from rich.table import Table

from benchmarks._harness import Benchmark, Measured, console, progress
from cerebrum.learn.games import Learned, learn_game, matrix_game, two_step_game

SEEDS = range(10)
TRUE = np.array([[[6.93, 6.93], [7.92, 7.92]], [[7, 7], [7, 7]], [[0, 1], [1, 8]]])
VDN_2B = np.array([[-1.5, 2.5], [2.5, 6.5]])
FITS = (35.56, 32.0)


def learnt(found: Learned) -> bool:
    """Whether all values are right and the return is the best there is."""
    return bool(np.abs(found.values - TRUE).max() <= 0.05) and found.played == 8.0


def run() -> Measured:
    """Ten seeds of QMIX, two of VDN, two of the matrix game."""
    table = Table("game", "method", "seed", "values", "return", "error")
    held = 0
    for seed in SEEDS:
        progress(f"two-step game, QMIX, seed {seed}")
        found = learn_game(two_step_game, "qmix", seed)
        held += learnt(found)
        _row(table, "two-step", "QMIX", seed, found)
    for seed in range(2):
        progress(f"VDN and the matrix game, seed {seed}")
        _row(table, "two-step", "VDN", seed, learn_game(two_step_game, "vdn", seed))
        found = learn_game(matrix_game, "qmix", seed)
        _row(table, "matrix", "QMIX", seed, found)
        if min(abs(found.error / fit - 1.0) for fit in FITS) > 0.05:
            raise AssertionError(f"the matrix game: expected an error in {FITS}, got {found.error}")
    console.print(table)
    return Measured(held)


def _row(table: Table, game: str, method: str, seed: int, found: Learned) -> None:
    shown = found.values if len(found.values) == 1 else found.values[[0, 2]]
    values = " | ".join(" ".join(f"{v:.2f}" for v in state.ravel()) for state in shown)
    table.add_row(game, method, str(seed), values, f"{found.played:g}", f"{found.error:.3f}")


BENCHMARK = Benchmark(name="two_step_game", unit="seeds", target=10, direction="at_least", run=run)

if __name__ == "__main__":
    BENCHMARK.main()
