"""Policies x scenarios x seeds: every finished cell is on disk before it counts.

A bench that is killed goes on where it was: the same call finds its finished cells by their keys.
Cells run in local processes (joblib), or on a Dask or Ray cluster.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import polars as pl

from cerebrum.experiments import _store, table
from cerebrum.experiments._parallel import Advance, Backend, each
from cerebrum.experiments.simulate import check_seed, find_policy, find_scenario, simulate
from cerebrum.model.errors import ConfigError
from cerebrum.model.scenario import Scenario

CELLS, RESULTS, SUMMARY = "cells", "results.csv", "summary.csv"


@dataclass(frozen=True, slots=True)
class Cell:
    """One run to make: what `simulate` takes, as text."""

    scenario: str
    policy: str
    seed: int
    format: str | None = None
    options: tuple[tuple[str, str | int | float | bool], ...] = ()

    @property
    def key(self) -> str:
        """Equal exactly when the result must be: the cell, the files it names, our version."""
        parts = json.dumps(asdict(self), sort_keys=True)
        digest = hashlib.blake2b(parts.encode(), digest_size=12)
        digest.update(version("cerebrum").encode())
        for name in (self.scenario, self.policy.rpartition(":")[0] or self.policy):
            digest.update(_stamp(Path(name)))
        return digest.hexdigest()


@dataclass(frozen=True, eq=False)
class Bench:
    """Finished cells, one row each, and where they are kept (None: nowhere)."""

    rows: tuple[dict[str, Any], ...] = field(repr=False)
    folder: Path | None = None

    @property
    def results(self) -> pl.DataFrame:
        """One row a cell: scenario, policy, seed, every number of the run, its digest."""
        return pl.DataFrame(list(self.rows), infer_schema_length=None)

    @property
    def summary(self) -> pl.DataFrame:
        """Mean, standard deviation and 95 % half width over the seeds, a row for each metric."""
        return table.aggregate(self.rows)


def bench(
    scenarios: str | Sequence[str],
    policies: str | Sequence[str],
    seeds: Sequence[int] = (42,),
    *,
    folder: Path | str | None = None,
    jobs: int | None = None,
    backend: Backend = "local",
    scheduler: str | None = None,
    format: str | None = None,
    options: dict[str, str | int | float | bool] | None = None,
    advance: Advance = lambda done, total: None,
) -> Bench:
    """Run every policy on every scenario with every seed.

    With a `folder`, each finished cell is a file in it, and cells found there are not run again.
    `jobs` local processes (default: one a core); `scheduler` is the address of a Dask or Ray
    cluster (default: a local one). `advance(done, total)` is called after each cell.
    """
    cells = plan(scenarios, policies, seeds, format, options or {})
    keep = None if folder is None else Path(folder)
    done = {} if keep is None else _finished(keep, cells)
    missing = [cell for cell in cells if cell not in done]
    advance(len(done), len(cells))
    if missing:
        _check(missing)
        for cell, row in each(run_cell, missing, jobs, backend=backend, scheduler=scheduler):
            if keep is not None:
                _store.write_whole(keep / CELLS / f"{cell.key}.json", _store.to_json(row))
            done[cell] = row
            advance(len(done), len(cells))
    found = Bench(tuple(done[cell] for cell in cells), keep)
    if keep is not None:
        _store.write_whole(keep / RESULTS, found.results.write_csv())
        _store.write_whole(keep / SUMMARY, found.summary.write_csv())
    return found


def plan(
    scenarios: str | Sequence[str], policies: str | Sequence[str], seeds: Sequence[int],
    format: str | None = None, options: dict[str, str | int | float | bool] | None = None,
) -> list[Cell]:  # fmt: skip
    """All cells, scenario by scenario, each once."""
    names = [scenarios] if isinstance(scenarios, str) else list(scenarios)
    wanted = [policies] if isinstance(policies, str) else list(policies)
    if not (names and wanted and len(seeds)):
        raise ConfigError("expected at least one scenario, one policy and one seed")
    given = tuple(sorted((options or {}).items()))
    cells = [
        Cell(str(name), str(policy), check_seed(seed), format, given)
        for name in names
        for seed in seeds
        for policy in wanted
    ]
    return list(dict.fromkeys(cells))


def run_cell(cell: Cell) -> tuple[Cell, dict[str, Any]]:
    """One cell's row. Runs in a worker process."""
    scenario = _scenario(cell.scenario, cell.seed, cell.format, cell.options)
    run = simulate(scenario, cell.policy, cell.seed)
    return cell, {**table.row(run), "scenario": cell.scenario, "policy": cell.policy}


@lru_cache(maxsize=2)
def _scenario(
    name: str, seed: int, format: str | None, options: tuple[tuple[str, Any], ...]
) -> Scenario:
    """The scenario of cells that follow one another: policies share it, so it is read once."""
    return find_scenario(name, seed, format, **dict(options))


def _check(cells: Iterable[Cell]) -> None:
    """Wrong names are told before anything runs."""
    pairs = {(c.scenario, c.format, c.options): c for c in cells}
    scenarios = {
        key: find_scenario(c.scenario, c.seed, c.format, **dict(c.options))
        for key, c in pairs.items()
    }
    some = next(iter(scenarios.values()))
    for policy in dict.fromkeys(cell.policy for cell in cells):
        find_policy(policy, some)


def _stamp(path: Path) -> bytes:
    """What tells two versions of a file or folder apart; empty for a name that is no file."""
    files = sorted(path.rglob("*")) if path.is_dir() else [path] if path.is_file() else []
    stats = [(str(file), file.stat()) for file in files]
    return repr([(name, s.st_size, s.st_mtime_ns) for name, s in stats]).encode() if stats else b""


def _finished(folder: Path, cells: Iterable[Cell]) -> dict[Cell, dict[str, Any]]:
    """Cells whose files are there and whole."""
    found: dict[Cell, dict[str, Any]] = {}
    for cell in cells:
        path = folder / CELLS / f"{cell.key}.json"
        try:
            found[cell] = json.loads(path.read_text("utf-8"))
        except (OSError, ValueError):
            continue
    return found
