"""`simulate(scenario, policy, seed) -> Run`: one experiment, from names or objects."""

from __future__ import annotations

import inspect
import platform
import subprocess
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, cast

import numpy as np

from cerebrum import policies, traces
from cerebrum.engine.compiled import Scorer
from cerebrum.executors.simulated import Simulation
from cerebrum.experiments.run import Meta, Run
from cerebrum.model.errors import ConfigError, InputError
from cerebrum.model.protocols import Policy
from cerebrum.model.scenario import Scenario

Progress = Callable[[int, int], None]
PolicyLike = Policy | Scorer | Mapping[str, Any] | str | Path | None
"""A policy, a scorer, a profile, a name, a path; None for what the scenario brings along."""
MAX_SEED = 2**63 - 1
DEFAULT_POLICY = "fgd"
_OWN = "profile:"
_REMOTE = "score-service:"


def simulate(
    scenario: Scenario | str | Path,
    policy: PolicyLike = None,
    seed: int = 42,
    *,
    format: str | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> Run:
    """Run a policy on a scenario to the end.

    `scenario` is one, or what `cerebrum.read` takes: a path or a name such as `openb-like`;
    `format` and `options` go to the reader. `policy` is one, a scorer, a registered name, a
    `file.py:function`, or None: what the scenario brought along, else FGD. `seed` drives the
    policy's random draws and whatever the reader draws. `progress(events, tasks ended)` is called
    now and then.
    """
    rng = np.random.default_rng(check_seed(seed))
    world = find_scenario(scenario, seed, format, **options)
    chosen = find_policy(policy, world)
    simulation = Simulation(world, rng)
    wall, cpu = time.perf_counter(), time.process_time()
    simulation.run(chosen, progress)
    spent = time.perf_counter() - wall, time.process_time() - cpu
    meta = Meta(
        policy=policy_text(policy, chosen),
        seed=seed,
        key=simulation.engine.key,
        scenario=world.name,
        source=world.source,
        created=datetime.now(UTC).isoformat(timespec="milliseconds"),
        wall_s=spent[0],
        cpu_s=spent[1],
        versions=versions(),
        commit=commit(),
    )
    return Run(world, simulation.engine.log, meta)


def check_seed(seed: int) -> int:
    """The seed, if it is one."""
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed <= MAX_SEED:  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ConfigError(f"expected a whole number 0..2^63-1, got {seed!r}").at(field="seed")
    return seed


def find_scenario(
    scenario: Scenario | str | Path, seed: int = 42, format: str | None = None, **options: Any
) -> Scenario:
    """A scenario from a name or path; the seed goes along where the reader draws anything."""
    if isinstance(scenario, Scenario):
        if format or options:
            raise ConfigError("a scenario is given already: format and options do not apply")
        return scenario
    if "seed" not in options and "seed=" not in str(scenario) and _takes_seed(scenario, format):
        options["seed"] = seed
    return traces.read(scenario, format, **options)


def _takes_seed(scenario: str | Path, format: str | None) -> bool:
    name = str(scenario).partition(":")[0]
    if format is None:
        try:
            format = traces.GENERATED.get(name) or traces.detect(Path(scenario))
        except (InputError, OSError):
            return False  # reading it will say what is wrong
    return "seed" in inspect.signature(traces.load_format(format).read).parameters


def find_policy(policy: PolicyLike, scenario: Scenario) -> Policy:
    """A policy from a name, a `file.py:function`, or the scenario's own profile.

    `profile:NAME`, as runs write it down, is the scenario's own profile again;
    `score-service:URL` asks a server's `/score` about every task.
    """
    if policy is None or str(policy).startswith(_OWN):
        return _own_policy(scenario)
    if isinstance(policy, str) and policy.startswith(_REMOTE):
        from cerebrum.experiments.score_service import score_service

        return score_service(policy.removeprefix(_REMOTE), scenario)
    return policies.get_policy(str(policy) if isinstance(policy, Path) else policy)


def _own_policy(scenario: Scenario) -> Policy:
    """The policy a scenario brought along, named after its scores; FGD if it brought none."""
    if not scenario.profile:
        return policies.get_policy(DEFAULT_POLICY)
    profile = dict(scenario.profile)
    scores = cast(list[dict[str, Any]], profile.get("scores") or [])
    profile.setdefault("name", _OWN + "+".join(str(score.get("name")) for score in scores))
    return policies.get_policy(profile)


def policy_text(policy: PolicyLike, chosen: Policy) -> str:
    """What to write down so that the policy can be found again: its name or path."""
    if isinstance(policy, str | Path):
        return str(policy)
    return chosen.name


@cache
def versions() -> dict[str, str]:
    """Versions of what a result may depend on."""
    found = {"python": platform.python_version()}
    for package in ("cerebrum", "numpy", "numba", "polars", "ortools"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


@cache
def commit() -> str:
    """Cerebrum's git commit when it runs from a checkout, `-dirty` when files differ; else ''."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return ""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
