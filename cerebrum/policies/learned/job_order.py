"""A learned order of a batch queue: a small network rates every job that waits; the best is next.

The same network rates each job from its own features (`job_features.SCHEMA`), so the order of the
queue does not matter and any length will do: all jobs are visible, where RLScheduler's agent saw
128. The setting is RLScheduler's (Zhang et al., SC'20): the choice is final, the chosen job waits
until it fits, optionally with EASY backfilling behind it. Weights come from
`cerebrum.learn.job_order`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cerebrum.model.errors import ConfigError
from cerebrum.policies.learned.job_features import SCHEMA, observe, rate
from cerebrum.policies.queueing import Jobs, QueuePolicy

if TYPE_CHECKING:
    from cerebrum.policies.learned.artefact import Artefact

KIND = "job-order"
_NAMES = ("inner", "bias", "outer", "direct")


@dataclass(frozen=True, eq=False)
class Network:
    """One hidden layer of rectified units beside a direct linear path: float64.

    `inner` [features, hidden], `bias` and `outer` [hidden], `direct` [features].
    """

    inner: NDArray[np.float64]
    bias: NDArray[np.float64]
    outer: NDArray[np.float64]
    direct: NDArray[np.float64]

    def __post_init__(self) -> None:
        features, hidden = len(SCHEMA), len(self.bias)
        wanted = ((features, hidden), (hidden,), (hidden,), (features,))
        for name, shape in zip(_NAMES, wanted, strict=True):
            array = getattr(self, name)
            if array.shape != shape or not np.isfinite(array).all():
                raise ConfigError(
                    f"weights {name!r}: expected {shape} finite numbers, got {array.shape}"
                )

    @classmethod
    def of(cls, flat: NDArray[np.float64]) -> Network:
        """Cut a vector of `size(hidden)` numbers into weights."""
        features = len(SCHEMA)
        hidden, rest = divmod(len(flat) - features, features + 2)
        if rest or hidden < 0:
            raise ConfigError(f"expected the weights of a network, got {len(flat)} numbers")
        ends = np.cumsum([features * hidden, hidden, hidden])
        inner, bias, outer, direct = np.split(np.ascontiguousarray(flat, np.float64), ends)
        return cls(inner.reshape(features, hidden), bias, outer, direct)

    @staticmethod
    def size(hidden: int) -> int:
        """Numbers in the weights."""
        return (len(SCHEMA) + 2) * hidden + len(SCHEMA)

    def weights(self) -> dict[str, NDArray[np.float32]]:
        """As they are kept in a file."""
        return {name: getattr(self, name).astype(np.float32) for name in _NAMES}

    @classmethod
    def read(cls, weights: Mapping[str, NDArray[Any]]) -> Network:
        """From a file. Raises `ConfigError` for arrays that are missing or of another shape."""
        missing = [name for name in _NAMES if name not in weights]
        if missing:
            raise ConfigError(f"weights of a job order: expected {_NAMES}, missing {missing}")
        arrays = (np.ascontiguousarray(weights[name], np.float64) for name in _NAMES)
        return cls(*arrays)


class JobOrder:
    """Sort keys for `QueuePolicy`: the job rated highest first."""

    def __init__(self, network: Network) -> None:
        self._network = network

    def observe(self, jobs: Jobs) -> NDArray[np.float64]:
        """float64[jobs, features], as the network sees them."""
        if jobs.machine is None:
            raise ConfigError("a learned job order needs to see the machine: reads_machine=True")
        seen = np.empty((len(jobs.submit_s), len(SCHEMA)))
        machine = jobs.machine
        # A cluster without nodes has no processors to divide by; a milli of one is the least.
        observe(
            jobs.now_s, jobs.submit_s, jobs.requested_s, jobs.processors, machine.free,
            max(machine.processors, 0.001), machine.ends_s, machine.held, seen,
        )  # fmt: skip
        return seen

    def __call__(self, jobs: Jobs) -> Sequence[NDArray[np.float64]]:
        """One key: less is sooner."""
        values = np.empty(len(jobs.submit_s))
        net = self._network
        rate(self.observe(jobs), net.inner, net.bias, net.outer, net.direct, values)
        return (-values,)


def make(
    artefact: Artefact,
    backfill: str = "",
    queue: str = "block",
    final: bool = True,
    score: str = "",
) -> QueuePolicy:
    """The policy of an artefact; it backfills as in its training unless told otherwise.

    Raises `ConfigError` if the file is no job order or was trained on other features.
    """
    card = artefact.card
    if card.kind != KIND:
        raise ConfigError(f"model {card.name!r}: expected a {KIND}, got a {card.kind}")
    card.require(SCHEMA)
    trained = str(card.architecture.get("backfill", "none"))
    chosen, order = backfill or trained, JobOrder(Network.read(artefact.weights))
    policy = QueuePolicy(card.name, order, chosen, queue, final, score=score, reads_machine=True)
    if chosen == trained:
        policy.name = card.name
    return policy
