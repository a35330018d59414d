"""The network of a node scorer in torch: the numbers `node_scorer` computes in the engine."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cerebrum.policies.learned.node_scorer import UNIT, K, N, checked, flat_of


class ScorerNetwork(nn.Module):
    """Scores ways to place a task, each by itself: permutation-equivariant, any number of them.

    At the start the score is `base` times FGD's number: all other weights that reach the output
    are 0, and hidden units look at random mixtures drawn by `seed`.
    """

    def __init__(self, hidden: int = 16, base: float = 1.0, seed: int = 0) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.base = base
        draw = np.random.default_rng(seed)
        units = draw.normal(scale=1.0 / np.sqrt(N), size=(hidden, UNIT)).astype(np.float32)
        units[:, -1] = 0.0
        self.linear = nn.Parameter(torch.zeros(K, N))
        self.hidden = nn.Parameter(torch.from_numpy(units))

    def forward(self, x: Tensor, kind: Tensor, fgd: Tensor) -> Tensor:
        """Scores [..., n] of features [..., n, N], kinds of task int64[...], FGD [..., n]."""
        straight = (x * self.linear[kind][..., None, :]).sum(-1)
        drive = x @ self.hidden[:, :N].T
        drive = drive + (self.hidden[:, N : N + K].T[kind] + self.hidden[:, N + K])[..., None, :]
        return self.base * fgd + straight + torch.tanh(drive) @ self.hidden[:, -1]

    def weights(self) -> dict[str, NDArray[np.float32]]:
        """The weights as they are in an artefact (copies)."""
        parts = {"linear": self.linear, "hidden": self.hidden}
        return {name: part.detach().cpu().numpy().copy() for name, part in parts.items()}

    def flat(self) -> NDArray[np.float64]:
        """The weights as `node_scorer` takes them."""
        return flat_of(self.weights())

    def take(self, weights: NDArray[np.float64]) -> None:
        """Take over weights of this many hidden units, as `flat` gives them."""
        w = checked(weights).astype(np.float32)
        with torch.no_grad():
            self.linear.copy_(torch.from_numpy(w[: K * N].reshape(K, N)))
            self.hidden.copy_(torch.from_numpy(w[K * N :].reshape(self.hidden.shape)))
