"""What a task asks for and a node offers: one fixed-order vector."""

from __future__ import annotations

from dataclasses import dataclass

from cerebrum.model.errors import InputError

MAX_GPUS = 16
"""GPUs a node may have: what the engine's node record holds."""
MAX_EXTENDED = 6
"""Named extended resources one scenario may use together."""
GPU_MILLI = 1000
"""A whole GPU, in thousandths."""
_LIMIT = 2**53  # above this, sums of float64 would no longer be exact


@dataclass(frozen=True, slots=True)
class Resources:
    """Request of a task or capacity of a node.

    `cpu_milli` thousandths of a core; `memory_mib` MiB; `gpu_count` GPUs, each with `gpu_milli`
    thousandths (a request below 1000 shares one GPU; a node's GPUs are whole); `cache_ways`
    last-level cache ways; `extended` named extended resources, sorted by name. All whole, >= 0.
    """

    cpu_milli: int = 0
    memory_mib: int = 0
    gpu_count: int = 0
    gpu_milli: int = 0
    cache_ways: int = 0
    extended: tuple[tuple[str, int], ...] = ()

    def __post_init__(self) -> None:
        for field in ("cpu_milli", "memory_mib", "gpu_count", "gpu_milli", "cache_ways"):
            _check(field, getattr(self, field))
        for name, amount in self.extended:
            _check(name, amount)
        if self.gpu_count > MAX_GPUS:
            raise InputError(f"expected at most {MAX_GPUS} GPUs, got {self.gpu_count}").at(
                field="gpu_count"
            )
        if self.gpu_milli > GPU_MILLI:
            raise InputError(f"expected 0..{GPU_MILLI} per GPU, got {self.gpu_milli}").at(
                field="gpu_milli"
            )
        if self.gpu_count == 0 and self.gpu_milli:
            raise InputError("expected 0 without GPUs").at(field="gpu_milli")
        if self.gpu_count and not self.gpu_milli:
            raise InputError(f"expected 1..{GPU_MILLI} per GPU, got 0").at(field="gpu_milli")
        if self.gpu_count > 1 and self.gpu_milli != GPU_MILLI:
            raise InputError(
                f"expected {GPU_MILLI} for {self.gpu_count} GPUs: only a single GPU can be shared"
            ).at(field="gpu_milli")
        if len(self.extended) > MAX_EXTENDED:
            raise InputError(f"expected at most {MAX_EXTENDED} extended resources").at(
                field="extended"
            )
        names = [name for name, _ in self.extended]
        if names != sorted(set(names)):
            raise InputError("expected distinct names in sorted order").at(field="extended")

    @property
    def gpu_milli_total(self) -> int:
        """GPU request over all GPUs, in thousandths of a GPU."""
        return self.gpu_count * self.gpu_milli

    @property
    def gpu_kind(self) -> int:
        """-1 without GPUs, 0 for a shared GPU, otherwise the number of whole GPUs."""
        if self.gpu_count == 0:
            return -1
        return 0 if self.gpu_milli < GPU_MILLI else self.gpu_count


def extended_resources(amounts: dict[str, int]) -> tuple[tuple[str, int], ...]:
    """The `extended` field from a mapping: sorted, zero amounts left out."""
    return tuple(sorted((name, amount) for name, amount in amounts.items() if amount))


def _check(field: str, amount: object) -> None:
    if not isinstance(amount, int) or isinstance(amount, bool):
        raise InputError(f"expected a whole number, got {amount!r}").at(field=field)
    if not 0 <= amount < _LIMIT:
        raise InputError(f"expected 0..2^53, got {amount}").at(field=field)
