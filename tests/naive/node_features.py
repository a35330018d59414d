"""Naive twin of what a node scorer sees: from the words of the schema, in fractions."""

from __future__ import annotations

from fractions import Fraction

from tests.naive.scores import Ask, Class, Look, fragmentation


def observed(
    before: Look, after: Look, ask: Ask, typical: list[tuple[Class, int]], prices: list[float]
) -> dict[str, float]:
    """Every feature by name, scaled."""
    gpus, gpu = len(after.left), sum(after.left)
    whole = sum(left == 1000 for left in after.left)
    per_gpu = typical_cpu_per_gpu(typical)
    balance = after.cpu_left / per_gpu - gpu
    cut = cut_from(before, after) if ask.shared else None
    stretch = after.cpu_left / (gpu + 500) - before.cpu_left / (sum(before.left) + 500)
    relief = fragmentation(before, typical) - fragmentation(after, typical)
    return {
        "relief": float(relief) / 1000,
        "fragmentation": float(fragmentation(after, typical)) / 4000,
        "deep_relief": deep_relief(*cut, typical) / 1000 if cut else 0.0,
        "starved_relief": float(starved(before, typical) - starved(after, typical)) / 1000,
        "starved": float(starved(after, typical)) / 4000,
        "short_of_cpu": max(0.0, float(-balance)) / 4000,
        "spare_cpu": min(2.0, max(0.0, float(balance)) / 4000),
        "cpu_free": after.cpu_left / after.cpu,
        "gpu_free": gpu / (1000 * gpus),
        "whole_free": whole / 8,
        "part_free": sum(left for left in after.left if left < 1000) / 4000,
        "opened": float(cut is not None and cut[0] == 1000),
        "empty": float(before.cpu_left == before.cpu and set(before.left) == {1000}),
        "left": cut[1] / 1000 if cut else 0.0,
        "bargain": 100 * bargain(*cut, prices) if cut else 0.0,
        "gpus": gpus / 8,
        "cpu_per_gpu": min(100_000, after.cpu / gpus) / 50_000,
        "sought": float(sought(after.model, typical)),
        "stretch": min(2.0, max(-2.0, float(stretch / per_gpu))),
    }


def typical_cpu_per_gpu(typical: list[tuple[Class, int]]) -> Fraction:
    cpu = sum(n * cpu for (cpu, _, gpus, _), n in typical if gpus)
    gpu = sum(n * milli * gpus for (_, milli, gpus, _), n in typical)
    return Fraction(cpu, gpu)


def starved(node: Look, typical: list[tuple[Class, int]]) -> Fraction:
    """GPU left over when one class fills the node until its CPU ends, by popularity."""
    total, lost = sum(n for _, n in typical), Fraction(0)
    for (cpu, milli, gpus, _), n in typical:
        if gpus:
            served = Fraction(node.cpu_left * milli * gpus, cpu)
            lost += Fraction(n, total) * max(Fraction(0), sum(node.left) - served)
    return lost


def cut_from(before: Look, after: Look) -> tuple[int, int]:
    """What was left of the GPU that changed, before and after."""
    (changed,) = [pair for pair in zip(before.left, after.left, strict=True) if pair[0] != pair[1]]
    return changed


def deep_relief(had: int, has: int, typical: list[tuple[Class, int]]) -> float:
    total = sum(n for _, n in typical)
    lost = sum(n * (had % milli - has % milli) for (_, milli, gpus, _), n in typical if gpus)
    return lost / total


def bargain(had: int, has: int, prices: list[float]) -> float:
    return prices[has // 10] + prices[(had - has) // 10] - prices[had // 10]


def sought(model: str, typical: list[tuple[Class, int]]) -> Fraction:
    total = sum(n for _, n in typical)
    asked = sum(n for (_, _, gpus, models), n in typical if gpus and model in models)
    return Fraction(asked, total)
