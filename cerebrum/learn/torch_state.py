"""Networks and Adam as plain arrays, for checkpoints, and back; and runs that repeat to the bit."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

Arrays = dict[str, NDArray[Any]]


@contextmanager
def one_thread() -> Generator[None]:
    """What torch computes here on the CPU is the same to the bit in every run and on every machine.

    On several threads sums are split as these happen to be free: two runs of a quarter of a million
    steps were seen to part. Layers of 64 units are faster on one anyway.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def arrays_of(modules: Mapping[str, nn.Module], optimiser: torch.optim.Adam) -> Arrays:
    """Weights under `name.`, and what Adam remembers of each under `adam.`."""
    arrays: Arrays = {}
    for part, module in modules.items():
        for name, tensor in module.state_dict().items():
            arrays[f"{part}.{name}"] = tensor.cpu().numpy()
    for number, slot in optimiser.state_dict()["state"].items():
        for name, tensor in slot.items():
            arrays[f"adam.{number}.{name}"] = tensor.cpu().numpy()
    return arrays


def put_back(
    arrays: Mapping[str, NDArray[Any]],
    modules: Mapping[str, nn.Module],
    optimiser: torch.optim.Adam,
) -> None:
    """The reverse of `arrays_of`, in place."""
    for part, module in modules.items():
        names = module.state_dict()
        module.load_state_dict({n: torch.from_numpy(arrays[f"{part}.{n}"].copy()) for n in names})
    state: dict[int, dict[str, Tensor]] = {}
    for key, array in arrays.items():
        if key.startswith("adam."):
            _, number, name = key.split(".", 2)
            state.setdefault(int(number), {})[name] = torch.from_numpy(array.copy())
    groups = optimiser.state_dict()["param_groups"]
    optimiser.load_state_dict({"state": state, "param_groups": groups})
