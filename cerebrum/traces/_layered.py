"""Made-up workflows: layers of any size, and one in the shape of Montage. Both are synthetic."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cerebrum.model.errors import ConfigError
from cerebrum.model.workflow import Workflow
from cerebrum.traces._workflow_build import MAX_TASKS, Draft

_EDGES = 3


def layered_workflow(tasks: int = 1000, width: int = 0, seed: int = 0) -> Workflow:
    """`tasks` in layers of `width` (0: the square root), each after 1 to 3 of the layer before.

    Durations are log-normal around 20 s, volumes around 10 MB; tasks ask for 1, 2 or 4 cores.
    """
    _check(tasks, 1)
    width = width or max(1, round(tasks**0.5))
    if not 1 <= width <= tasks:
        raise ConfigError(f"width: expected 1..{tasks}, got {width}")
    rng = np.random.default_rng(seed)
    late = np.arange(width, tasks)
    picks = rng.integers(0, width, (len(late), _EDGES))
    before = (late // width - 1)[:, None] * width + picks
    pairs = np.unique((before * tasks + late[:, None]).ravel())
    entry = np.arange(tasks) < width
    return (
        Draft(
            Path("layered"),
            "layered",
            f"layered-{tasks}",
            [f"step-{i:06d}" for i in range(tasks)],
            np.round(rng.lognormal(np.log(20.0), 0.8, tasks), 3),
            rng.choice([1000, 2000, 4000], tasks, p=[0.7, 0.2, 0.1]),
            rng.choice([512, 1024, 2048, 4096], tasks),
            0,
            pairs // tasks,
            pairs % tasks,
            _volumes(rng, len(pairs), 10.0, 1.0),
            np.where(entry, _volumes(rng, tasks, 20.0, 1.0), 0.0),
        )
        .finish()
        .workflow
    )


def montage_like(tasks: int = 50, seed: int = 0) -> Workflow:
    """About the sky mosaic of Montage: three bands of projecting, fitting, correcting, adding.

    Synthetic. Its shape, and its mean runtimes, memory and volumes are those of WfCommons' instance
    `montage-chameleon-2mass-005d-001` (58 tasks); each draw is spread by 10 %. `tasks` is met
    exactly: images are added to bands, then overlaps between them, as far as there is room.
    """
    _check(tasks, 25)
    rng = np.random.default_rng(seed)
    drawn = _Drawn(rng)
    shares = _shares(tasks - 1)
    viewers = [_band(drawn, band, share) for band, share in enumerate(shares)]
    last = drawn.task("mViewer-all", 0.12, 11)
    for viewer in viewers:
        drawn.edge(viewer, last, 0.026)
    drawn.output[last] = 0.05
    return drawn.workflow(f"montage-like-{tasks}")


def _shares(tasks: int) -> list[int]:
    """Three nearly equal parts."""
    return [tasks // 3 + (band < tasks % 3) for band in range(3)]


def _band(drawn: _Drawn, band: int, tasks: int) -> int:
    """One colour: n images (a project and a background each), their overlaps, five single steps."""
    images = max(1, 2 * (tasks - 5) // 7)
    overlaps = tasks - 5 - 2 * images
    project = [drawn.task(f"mProject-{band}-{i}", 17.3, 15, 1.53) for i in range(images)]
    fit = drawn.task(f"mConcatFit-{band}", 0.19, 71)
    for i in range(overlaps):
        diff = drawn.task(f"mDiffFit-{band}-{i}", 0.27, 3)
        step = 1 + i // images  # neighbours first, then the next but one
        for image in {i % images, (i + step) % images}:
            drawn.edge(project[image], diff, 8.3)
        drawn.edge(diff, fit, 0.0003)
    model = drawn.task(f"mBgModel-{band}", 0.79, 137)
    drawn.edge(fit, model, 0.0015)
    table = drawn.task(f"mImgtbl-{band}", 0.17, 71)
    add = drawn.task(f"mAdd-{band}", 0.18, 70)
    for i, image in enumerate(project):
        corrected = drawn.task(f"mBackground-{band}-{i}", 0.4, 69)
        drawn.edge(image, corrected, 8.3)
        drawn.edge(model, corrected, 0.0003)
        drawn.edge(corrected, table, 4.15)
        drawn.edge(corrected, add, 8.3)
    drawn.edge(table, add, 0.0026)
    viewer = drawn.task(f"mViewer-{band}", 0.12, 11)
    drawn.edge(add, viewer, 0.262)
    return viewer


class _Drawn:
    """Tasks and dependencies as they are drawn, around the means given."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.names: list[str] = []
        self.duration_s: list[float] = []
        self.memory_mib: list[int] = []
        self.input: list[float] = []
        self.output: dict[int, float] = {}
        self.edges: list[tuple[int, int, float]] = []

    def task(self, name: str, mean_s: float, memory_mib: int, input_mb: float = 0.0) -> int:
        """A task; returns its row."""
        self.names.append(name)
        self.duration_s.append(round(mean_s * float(self.rng.uniform(0.9, 1.1)), 3))
        self.memory_mib.append(memory_mib)
        self.input.append(self._spread(input_mb))
        return len(self.names) - 1

    def edge(self, before: int, after: int, mean_mb: float) -> None:
        """A dependency with a volume."""
        self.edges.append((before, after, self._spread(mean_mb)))

    def workflow(self, name: str) -> Workflow:
        """All that was drawn."""
        before, after, volume_mb = zip(*self.edges, strict=True)
        output = np.zeros(len(self.names))
        output[list(self.output)] = list(self.output.values())
        return (
            Draft(
                Path(name),
                "montage-like",
                name,
                self.names,
                np.asarray(self.duration_s),
                1000,
                self.memory_mib,
                0,
                before,
                after,
                volume_mb,
                np.asarray(self.input),
                output,
            )
            .finish()
            .workflow
        )

    def _spread(self, mean_mb: float) -> float:
        return round(mean_mb * float(self.rng.uniform(0.9, 1.1)) * 1e6) / 1e6


def _volumes(
    rng: np.random.Generator, count: int, median_mb: float, sigma: float
) -> NDArray[np.float64]:
    # whole bytes, as files have
    return np.round(rng.lognormal(np.log(median_mb), sigma, count) * 1e6) / 1e6


def _check(tasks: int, low: int) -> None:
    if not low <= tasks <= MAX_TASKS:
        raise ConfigError(f"tasks: expected a whole number {low}..{MAX_TASKS:,}, got {tasks!r}")


GENERATORS: dict[str, Callable[..., Workflow]] = {
    "layered": layered_workflow,
    "montage-like": montage_like,
}
