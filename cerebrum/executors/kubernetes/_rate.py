"""How often we may ask: a token bucket, and pauses that grow while things fail."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from cerebrum.model.errors import ConfigError


@dataclass(slots=True)
class TokenBucket:
    """`qps` a second on average, `burst` at once (client-go's flow control); `qps` 0: no limit.

    A reservation is a place in the queue: who asks first goes first, however long they sleep.
    """

    qps: float
    burst: float
    clock: Callable[[], float]
    _tokens: float = field(init=False)
    _at: float = field(init=False)

    def __post_init__(self) -> None:
        if not (math.isfinite(self.qps) and self.qps >= 0):
            raise ConfigError(f"expected a number of 0 or more, got {self.qps}").at(field="qps")
        if not (math.isfinite(self.burst) and self.burst >= 1):
            raise ConfigError(f"expected 1 or more, got {self.burst}").at(field="burst")
        self._tokens, self._at = float(self.burst), self.clock()

    def reserve(self) -> float:
        """Take a token; the seconds to wait before using it."""
        if not self.qps:
            return 0.0
        now = self.clock()
        earned = max(0.0, now - self._at) * self.qps
        self._tokens, self._at = min(self._tokens + earned, float(self.burst)) - 1.0, now
        return max(0.0, -self._tokens / self.qps)

    def give_back(self) -> None:
        """The token was not used: who waited was cancelled."""
        self._tokens = min(self._tokens + 1.0, float(self.burst))


@dataclass(slots=True)
class BackOff:
    """Pauses after failures: uniform between 0 and a ceiling that doubles from `first_s` to
    `longest_s` ("full jitter": a crowd that failed together does not come back together)."""

    rng: np.random.Generator
    first_s: float = 0.5
    longest_s: float = 30.0
    failures: int = 0

    def next_s(self, retry_after_s: float | None = None) -> float:
        """The next pause; not shorter than what the server asked for, up to `4 * longest_s`."""
        ceiling = min(self.longest_s, self.first_s * 2.0 ** min(self.failures, 30))
        self.failures += 1
        asked = min(retry_after_s or 0.0, 4 * self.longest_s)
        return asked + float(self.rng.uniform(0.0, ceiling))

    def reset(self) -> None:
        """Something worked."""
        self.failures = 0
