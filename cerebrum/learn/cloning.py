"""Behaviour cloning: a network learns to place tasks where a teacher places them.

A lesson is one decision of the teacher: the ways that look different among which it chose, some 64
of them, and the one it took. The network's scores of these ways are logits, and the teacher's
choice is the class to predict. Ways that look the same are one way: which of them the teacher takes
is its tie rule, which the engine applies by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cerebrum.executors.simulated import Simulation
from cerebrum.learn import checkpoints, curve, torch_state
from cerebrum.learn.placements import N, Placements, placements
from cerebrum.learn.scorer_network import ScorerNetwork
from cerebrum.model.errors import ConfigError
from cerebrum.model.protocols import Policy
from cerebrum.model.scenario import Scenario
from cerebrum.policies.learned.sides import single

_OUT = -1e9  # the logit of what is no way


@dataclass(frozen=True, eq=False)
class Lessons:
    """D decisions over up to C ways: `x` float32[D, C, features], `fgd` float32[D, C], `mask`
    bool[D, C] which ways there are, `kind` int64[D], `chosen` int64[D] the teacher's way."""

    x: NDArray[np.float32]
    fgd: NDArray[np.float32]
    mask: NDArray[np.bool_]
    kind: NDArray[np.int64]
    chosen: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.chosen)

    @staticmethod
    def joined(several: Sequence[Lessons]) -> Lessons:
        """All of them as one."""
        names = ("x", "fgd", "mask", "kind", "chosen")
        return Lessons(*(np.concatenate([getattr(one, name) for one in several]) for name in names))


def lessons(
    scenario: Scenario,
    teacher: Policy,
    prices: NDArray[np.float64],
    every: int = 10,
    ways: int = 64,
    seed: int = 0,
) -> Lessons:
    """Every so many binds of the teacher over a scenario; decisions without a choice are left out.

    Raises `ConfigError` if there was nothing to choose at all.
    """
    world, draw = Simulation(scenario, np.random.default_rng(seed)), np.random.default_rng(seed)
    found: list[_Lesson] = []
    binds = 0
    for snapshot, decision in world.decisions(teacher):
        bind = single(decision)
        if bind is None:
            continue
        if binds % every == 0:
            given = placements(snapshot, bind.task, prices)
            taken = given.index_of(bind.row, bind.gpus)
            if taken >= 0 and (one := _lesson(given, taken, ways, draw)):
                found.append(one)
        binds += 1
    if not found:
        raise ConfigError("the teacher had no choice in any decision of the scenario")
    return _packed(found, ways)


@dataclass(frozen=True, eq=False)
class _Lesson:
    seen: NDArray[np.float32]  # features and FGD's number of each way
    kind: int
    chosen: int


def _lesson(given: Placements, taken: int, ways: int, draw: np.random.Generator) -> _Lesson | None:
    """The teacher's way among others that look different, in random order; None without others."""
    seen = np.column_stack([given.x, given.fgd]).astype(np.float32)
    different, place = np.unique(seen, axis=0, return_inverse=True)
    best = int(place.ravel()[taken])
    others = np.delete(np.arange(len(different)), best)
    if not len(others):
        return None
    picked = draw.permutation([best, *draw.permutation(others)[: ways - 1]])
    return _Lesson(different[picked], given.kind, int(np.flatnonzero(picked == best)[0]))


def _packed(found: Sequence[_Lesson], ways: int) -> Lessons:
    seen = np.zeros((len(found), ways, N + 1), np.float32)
    mask = np.zeros((len(found), ways), np.bool_)
    for i, one in enumerate(found):
        seen[i, : len(one.seen)], mask[i, : len(one.seen)] = one.seen, True
    kinds, chosen = (np.array([getattr(o, n) for o in found]) for n in ("kind", "chosen"))
    return Lessons(seen[..., :N], seen[..., N], mask, kinds, chosen)


@dataclass(frozen=True)
class CloningSettings:
    """`epochs` passes over all lessons in batches, by Adam."""

    epochs: int = 30
    batch: int = 64
    learning_rate: float = 0.02
    seed: int = 0

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch < 1 or not 0.0 < self.learning_rate < 10.0:
            raise ConfigError("expected epochs and batch of 1 or more, a learning rate of 0..10")


class Cloner:
    """Trains `network` on lessons; checkpoints between epochs, and a resumed run is the same."""

    def __init__(self, network: ScorerNetwork, given: Lessons, settings: CloningSettings) -> None:
        self.network, self.lessons, self.settings = network, given, settings
        self._rng = np.random.default_rng(settings.seed)
        self._optimiser = torch.optim.Adam(network.parameters(), lr=settings.learning_rate)
        self.epoch = 0

    def train(
        self, log: Path | None = None, checkpoint: Path | None = None,
        progress: Callable[[int, int, dict[str, float]], None] = lambda done, of, line: None,
    ) -> None:  # fmt: skip
        """All epochs that are left."""
        while self.epoch < self.settings.epochs:
            line = {"loss": self._run_epoch(), "agreement": agreement(self.network, self.lessons)}
            self.epoch += 1
            if log is not None:
                curve.append(log, {"epoch": self.epoch, **line})
            if checkpoint is not None:
                self.save(checkpoint)
            progress(self.epoch, self.settings.epochs, line)

    @torch_state.one_thread()
    def _run_epoch(self) -> float:
        order, size = self._rng.permutation(len(self.lessons)), self.settings.batch
        losses: list[float] = []
        for first in range(0, len(order), size):
            rows = order[first : first + size]
            logits = logits_of(self.network, self.lessons, rows)
            target = torch.from_numpy(self.lessons.chosen[rows])
            loss = torch.nn.functional.cross_entropy(logits, target)
            self._optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            self._optimiser.step()
            losses.append(float(loss.detach()))
        return float(np.mean(losses))

    def save(self, path: Path) -> None:
        """Everything a resumed run needs."""
        arrays = torch_state.arrays_of({"network": self.network}, self._optimiser)
        facts = {"settings": asdict(self.settings), "epoch": self.epoch,
                 "random": self._rng.bit_generator.state}  # fmt: skip
        checkpoints.save(path, arrays, facts)

    def resume(self, path: Path) -> None:
        """Go on from `save`. Raises `ConfigError` if that run had other settings."""
        arrays, facts = checkpoints.load_of(path, self.settings)
        torch_state.put_back(arrays, {"network": self.network}, self._optimiser)
        self._rng.bit_generator.state, self.epoch = facts["random"], facts["epoch"]


def logits_of(network: ScorerNetwork, given: Lessons, rows: NDArray[np.integer]) -> Tensor:
    """float32[rows, C]: scores, far below all others where there is no way."""
    x, fgd = torch.from_numpy(given.x[rows]), torch.from_numpy(given.fgd[rows])
    scores = network(x, torch.from_numpy(given.kind[rows]), fgd)
    return scores.masked_fill(~torch.from_numpy(given.mask[rows]), _OUT)


def agreement(network: ScorerNetwork, given: Lessons) -> float:
    """Share of the lessons in which the network takes the teacher's way."""
    with torch.inference_mode():
        best = logits_of(network, given, np.arange(len(given))).argmax(-1).numpy()
    return float((best == given.chosen).mean())
