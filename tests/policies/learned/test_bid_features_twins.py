"""What a bidder sees over HTTP is what it saw in training: NumPy and the kernels agree."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cerebrum.model.layout import NODE, TASK
from cerebrum.policies.learned import availability, bid_arrays
from cerebrum.policies.learned.availability_features import availability_features
from cerebrum.policies.learned.bid_features import bid_features

MIB = 1024


def _node(cpu_milli: int, memory_mib: int, cpu_free: int, memory_free: int, slots: int) -> Any:
    """A node without GPUs whose power nobody knows, as the engine holds it."""
    node = np.zeros(1, NODE).view(np.recarray)
    node["cpu_milli"], node["memory_mib"] = cpu_milli, memory_mib
    node["cpu_free"], node["memory_free"] = cpu_free, memory_free
    node["slots"], node["slots_free"], node["speed"], node["gpu_model"] = slots, slots, 1.0, -1
    return node


def _task(cpu_milli: int, memory_mib: int) -> Any:
    task = np.zeros(1, TASK).view(np.recarray)
    task["cpu_milli"], task["memory_mib"], task["gpu_kind"] = cpu_milli, memory_mib, -1
    task["gpu_models"] = -1
    return task


sizes = st.integers(1, 2**22)


@settings(max_examples=60, deadline=None)
@given(cpu=sizes, memory=sizes, capacity=st.tuples(sizes, sizes), used=st.tuples(
    st.floats(-0.5, 1.5), st.floats(-0.5, 1.5)
))  # fmt: skip
def test_numpy_and_kernel_see_the_same(
    cpu: int, memory: int, capacity: tuple[int, int], used: tuple[float, float]
) -> None:
    """Overdrawn nodes among them: the one thing that differs is what HTTP cannot tell."""
    free = [
        int(whole * (1 - min(1.5, max(0.0, part))))
        for whole, part in zip(capacity, used, strict=True)
    ]
    before, task = _node(*capacity, *free, slots=110), _task(cpu, memory)
    after = before.copy()
    after["cpu_free"] -= cpu
    after["memory_free"] -= memory
    idle = free == list(capacity)
    if not idle:  # the slot of some task is gone, but HTTP does not say how many
        before["slots_free"] = 109
    arrays = [np.array([value], np.float64) for value in (
        free[0] / 1000, free[1] / MIB, capacity[0] / 1000, capacity[1] / MIB,
    )]  # fmt: skip
    typical = np.zeros(0, TASK)

    seen = np.zeros(len(availability.SCHEMA), np.float32)
    availability_features(before[0], after[0], task[0], typical, seen)
    ours = availability.observe(arrays[0], arrays[1], cpu / 1000, memory / MIB)[0]
    assert ours == pytest.approx(seen, abs=1e-6)

    seen = np.zeros(len(bid_arrays.SCHEMA), np.float32)
    bid_features(before[0], after[0], task[0], typical, seen)
    ours = bid_arrays.observe(*arrays, cpu / 1000, memory / MIB)[0]
    slots = bid_arrays.SCHEMA.names.index("slots_free")
    assert np.delete(ours, slots) == pytest.approx(np.delete(seen, slots), abs=1e-6)
    assert ours[slots] == pytest.approx(seen[slots], abs=0.01)


def test_an_overdrawn_node_has_nothing_left() -> None:
    seen = availability.observe(np.array([-4.0]), np.array([-1.0]), 2.0, 1.0)[0]

    by_name = dict(zip(availability.SCHEMA.names, seen.tolist(), strict=True))
    assert by_name["cpu_available"] == by_name["cpu_left"] == by_name["cpu_taken"] == 0.0
    assert np.isfinite(seen).all()


def test_room_falls_in_steps_of_what_still_fits() -> None:
    """16 cores and 128 GB hold one reference task of 16 cores; with half a core gone, none."""
    whole, broken = availability.room(np.array([16.0, 15.5]), np.array([128.0, 128.0]))
    small = availability.room(np.array([15.5, 15.0]), np.array([128.0, 128.0]))

    assert whole - broken > 2 * (small[0] - small[1])
    assert availability.room(np.array([-1.0, 0.2]), np.array([64.0, 64.0])).tolist() == [0.0, 0.0]
    # One task of each of the five kinds of a quarter core, and nothing larger.
    quarter = availability.room(np.array([0.25]), np.array([2.0]))
    assert quarter == pytest.approx(sum(max(4, gb) / 256 for gb in (0.5, 1, 2, 4, 8)) / 35)


def test_decimals_that_do_not_add_up_lose_no_room() -> None:
    """2.3 - 0.3 is a little less than 2 in binary."""
    assert availability.room(np.array([2.3 - 0.3]), np.array([4.0])) == pytest.approx(
        availability.room(np.array([2.0]), np.array([4.0]))
    )
