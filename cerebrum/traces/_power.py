"""Watts of the GPUs and CPUs that traces name (PWR, arXiv 2412.17484, tables I and II)."""

from __future__ import annotations

from cerebrum.model.cluster import PowerModel

GPU_WATTS = {
    "T4": (10.0, 70.0),
    "A10": (30.0, 150.0),
    "P100": (25.0, 250.0),
    "V100": (30.0, 300.0),
    "V100M16": (30.0, 300.0),
    "V100M32": (30.0, 300.0),
    "A100": (50.0, 400.0),
    "G2": (30.0, 150.0),
    "G3": (50.0, 400.0),
}
"""GPU model -> watts idle and with any work. G2 and G3 are undisclosed: taken as A10 and A100."""

GPU_MODELS = (*GPU_WATTS, "G1")
"""GPU models the openb traces may name."""

_CPU_PACKAGE_MILLI = 32_000  # 16 cores of two threads
_CPU_IDLE_W = 15.0
_CPU_FULL_W = 120.0


def node_power(gpu_model: str) -> PowerModel | None:
    """The power model of a node with GPUs of that model ('' for none); None if it is not known."""
    if gpu_model and gpu_model not in GPU_WATTS:
        return None
    idle, full = GPU_WATTS.get(gpu_model, (0.0, 0.0))
    return PowerModel(_CPU_IDLE_W, _CPU_FULL_W, _CPU_PACKAGE_MILLI, idle, full)
