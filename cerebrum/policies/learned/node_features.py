# pyright: basic, reportPrivateImportUsage=false
"""What a node scorer sees: one node with the task placed, next to the node as it was.

Every number is of this node, this task and the typical classes only, so that the scores the engine
remembers stay right until the node itself changes. Amounts are thousandths of a GPU unless said
otherwise; what is relative to demand is measured against the scenario's typical classes.
"""

from __future__ import annotations

from math import exp

import numpy as np

from cerebrum.engine.compiled import kernel
from cerebrum.engine.placement import fragmentation
from cerebrum.policies.learned.schema import Feature, Schema

SCHEMA = Schema(
    name="node-after-placement",
    version=1,
    features=(
        Feature("relief", "gpu_milli", 1000.0, "F_n before less F_n after (FGD's gradient)"),
        Feature("fragmentation", "gpu_milli", 4000.0, "F_n after"),
        Feature("deep_relief", "gpu_milli", 1000.0,
                "what stays of the GPU a part is cut from when it is filled with copies of a "
                "typical class: before less after"),
        Feature("starved_relief", "gpu_milli", 1000.0,
                "GPU left over when a typical class fills the node until its CPU ends: before "
                "less after"),
        Feature("starved", "gpu_milli", 4000.0, "the same, after"),
        Feature("short_of_cpu", "gpu_milli", 4000.0,
                "GPU left beyond what the CPU left serves at the typical CPU per GPU"),
        Feature("spare_cpu", "gpu_milli", 4000.0,
                "CPU left beyond what the GPU left needs, as the GPU it would serve; at most 2"),
        Feature("cpu_free", "share", 1.0, "CPU left of the node's own"),
        Feature("gpu_free", "share", 1.0, "GPU left of the node's own"),
        Feature("whole_free", "GPUs", 8.0, "GPUs nobody uses"),
        Feature("part_free", "gpu_milli", 4000.0, "GPU left on GPUs in use"),
        Feature("opened", "GPUs", 1.0, "whether a part is cut from a GPU nobody used"),
        Feature("empty", "nodes", 1.0, "whether nothing was taken of the node before"),
        Feature("left", "gpu_milli", 1000.0, "what is left of the GPU a part is cut from"),
        Feature("bargain", "GPUs", 0.01,
                "worth of the part and of what is left of its GPU, less what that GPU was worth, "
                "by the model's price list: 0 at best"),
        Feature("gpus", "GPUs", 8.0, "GPUs of the node"),
        Feature("cpu_per_gpu", "cpu_milli", 50000.0, "the node's own CPU per GPU, at most 100,000"),
        Feature("sought", "share", 1.0,
                "typical tasks that insist on GPU models, this node's among them"),
        Feature("stretch", "ratio", 1.0,
                "CPU left per GPU left over the typical CPU per GPU: after less before, -2 to 2"),
    ),
)  # fmt: skip
"""The features in the order of `features`."""

KINDS = ("cpu", "part", "whole")
"""Kinds of tasks, by what they ask: no GPU, a part of one, whole ones."""

PRICE_STEP_MILLI = 10
PRICES = 1000 // PRICE_STEP_MILLI + 1
"""A model's price list: what 0, 10, 20 ... 1000 milli of one GPU are worth."""

_CPU_LIMIT = 100_000.0


@kernel
def kind_of(task):
    """The task's place in KINDS."""
    if task.gpu_count == 0:
        return 0
    return 1 if task.gpu_kind == 0 else 2


@kernel
def fgd_score(before, after, typical):
    """FGD's whole number 0..100, and F_n after; 50 where there is nothing to measure against."""
    if len(typical) == 0:
        return 50.0, 0.0
    now = fragmentation(after, typical)
    return np.trunc(100.0 / (1.0 + exp((now - before.fragmentation) / 1000.0))), now


@kernel
def _demand(before, after, typical):
    """What the typical classes make of the node, in one pass over them.

    Typical CPU milli per GPU milli; GPU left over when the node is filled with one typical class
    until its CPU ends, before and after; share of the classes that name models, this one's too.
    """
    cpu, gpu, lost_before, lost_after, asked = 0.0, 0.0, 0.0, 0.0, 0.0
    rest_before, rest_after = float(before.gpu_free_sum), float(after.gpu_free_sum)
    cpu_before, cpu_after = max(0.0, float(before.cpu_free)), max(0.0, float(after.cpu_free))
    model = max(0, after.gpu_model)
    for m in range(len(typical)):
        wanted = typical[m]
        if wanted.gpu_count == 0:
            continue
        share = float(wanted.popularity)
        wanted_gpu, wanted_cpu = float(wanted.gpu_milli * wanted.gpu_count), float(wanted.cpu_milli)
        cpu += share * wanted_cpu
        gpu += share * wanted_gpu
        if wanted_cpu > 0.0:
            served = wanted_gpu / wanted_cpu
            lost_before += share * max(0.0, rest_before - cpu_before * served)
            lost_after += share * max(0.0, rest_after - cpu_after * served)
        if wanted.gpu_models != -1 and (wanted.gpu_models >> model) & 1:
            asked += share
    if len(typical) == 0:
        return 1.0, 0.0, 0.0, 0.0
    total = float(typical[0].popularity_total)
    rate = cpu / gpu if cpu > 0.0 and gpu > 0.0 else 1.0
    return rate, lost_before / total, lost_after / total, asked / total


@kernel
def _deep_relief(had, has, typical):
    """What stays of a GPU that is filled with copies of a typical class: before less after."""
    if len(typical) == 0:
        return 0.0
    had, has, seen, share, lost = (
        np.int32(had),
        np.int32(has),
        np.int32(0),
        np.int64(0),
        np.int64(0),
    )
    for m in range(len(typical)):
        wanted = typical[m]
        if wanted.gpu_count == 0:
            continue
        if wanted.gpu_milli != seen:
            seen = wanted.gpu_milli
            share = np.int64(had % seen - has % seen)
        lost += wanted.popularity * share
    return lost / typical[0].popularity_total


@kernel
def _whole_free(node):
    count = 0
    for g in range(node.gpu_count):
        if node.gpu_free[g] == 1000:
            count += 1
    return count


@kernel
def _cut(before, after):
    """What was left of the GPU a part was cut from, before and after."""
    for g in range(before.gpu_count):
        if before.gpu_free[g] != after.gpu_free[g]:
            return before.gpu_free[g], after.gpu_free[g]
    return np.int16(0), np.int16(0)


@kernel
def _per_gpu(cpu, gpu):
    """CPU per GPU left; half a GPU is added so that a full node has one too."""
    return cpu / (gpu + 500.0)


@kernel
def _worth(prices, milli):
    """The price of this much of one GPU."""
    return prices[max(0, min(PRICES - 1, milli // PRICE_STEP_MILLI))]


@kernel
def features(before, after, task, typical, fragmented, prices):
    """The numbers of SCHEMA, scaled, as a tuple; `fragmented` is F_n of `after`.

    `prices` float64[PRICES]: what k x PRICE_STEP_MILLI of one GPU is worth, in GPUs.
    """
    cpu, gpu = float(after.cpu_free), float(after.gpu_free_sum)
    rate, starved_before, starved, sought = _demand(before, after, typical)
    balance = cpu / rate - gpu
    whole = float(_whole_free(after))
    deep, opened, left, bargain = 0.0, 0.0, 0.0, 0.0
    if task.gpu_kind == 0:
        had, has = _cut(before, after)
        deep = _deep_relief(had, has, typical)
        opened = 1.0 if had == 1000 else 0.0
        left = float(has)
        bargain = _worth(prices, has) + _worth(prices, task.gpu_milli) - _worth(prices, had)
    gpus = max(1, after.gpu_count)
    empty = before.cpu_free == before.cpu_milli and before.gpu_free_sum == 1000 * before.gpu_count
    stretch = _per_gpu(cpu, gpu) - _per_gpu(float(before.cpu_free), float(before.gpu_free_sum))
    return (
        (before.fragmentation - fragmented) / 1000.0,
        fragmented / 4000.0,
        deep / 1000.0,
        (starved_before - starved) / 1000.0,
        starved / 4000.0,
        max(0.0, -balance) / 4000.0,
        min(2.0, max(0.0, balance) / 4000.0),
        cpu / max(1.0, float(after.cpu_milli)),
        gpu / (1000.0 * gpus),
        whole / 8.0,
        (gpu - 1000.0 * whole) / 4000.0,
        opened,
        1.0 if empty else 0.0,
        left / 1000.0,
        bargain / 0.01,
        after.gpu_count / 8.0,
        min(_CPU_LIMIT, after.cpu_milli / gpus) / 50000.0,
        sought,
        min(2.0, max(-2.0, stretch / rate)),
    )
