# pyright: basic, reportPrivateImportUsage=false
"""PWR: the node whose power rises least (Lettich et al., arXiv 2412.17484), alone or with FGD.

    score = power before - power after, W, cut; then min-max to 0..100 over the nodes that fit

Power is that of `cerebrum.model.cluster.PowerModel`: a GPU draws its full power as soon as it has
any work, a CPU package likewise. The GPU share is scored for the GPU that suits power best, one in
use if any fits, whichever GPU the task then takes: that is the rule of the policy's `gpus`.

Mixes with FGD are named by their weights out of 1000, `pwr100-fgd900` or `pwr-fgd:100`; they take
the GPU that FGD likes best.
"""

from __future__ import annotations

from cerebrum.engine.compiled import kernel, scorer
from cerebrum.model.errors import ConfigError

WHOLE = 1000


@kernel
def _busy_packages(node, cpu_free):
    """CPU packages with any work; work fills one package before the next."""
    package = node.cpu_package_milli
    return (node.cpu_milli - cpu_free + package - 1) // package


@kernel
def _gpus_woken(node, task):
    """How many idle GPUs the task wakes: none if one in use has room for its share."""
    if task.gpu_kind == 0:
        for g in range(node.gpu_count):
            if task.gpu_milli <= node.gpu_free[g] < WHOLE:
                return 0
    return task.gpu_count


@scorer
def pwr(before, after, task, typical):
    """Watts saved by placing the task here: never positive."""
    packages = _busy_packages(before, after.cpu_free) - _busy_packages(before, before.cpu_free)
    watts = packages * (before.cpu_full_w - before.cpu_idle_w)
    watts += _gpus_woken(before, task) * (before.gpu_full_w - before.gpu_idle_w)
    return -watts


_SCORE = {"name": "pwr", "normalize": "minmax", "equal": 100, "rounding": "truncate"}
PROFILE = {"scores": [_SCORE], "gpus": "first-used"}


def mix(weight: int = 100, original: int = -1) -> dict[str, object]:
    """PWR at `weight` of 1000 and FGD at the rest; the paper has 500, 200, 100 and 50.

    `original` of 0 or more takes `fgd-original` for a reference trace of that many tasks.
    """
    if not isinstance(weight, int) or isinstance(weight, bool) or not 0 <= weight <= 1000:
        raise ConfigError(f"expected a whole number in 0..1000, got {weight!r}").at(field="weight")
    name = "fgd" if original < 0 else f"fgd-original:{original}"
    fgd = {"name": name, "weight": 1000 - weight, "rounding": "truncate"}
    power = {**_SCORE, "weight": weight}
    gpus_by_fgd = weight <= 500  # the heavier part chooses the GPU, FGD if equal
    return {
        "name": f"pwr{weight}-fgd{1000 - weight}",
        "scores": [fgd, power] if gpus_by_fgd else [power, fgd],
        "gpus": "score" if gpus_by_fgd else "first-used",
    }


def pwr500_fgd500(original: int = -1) -> dict[str, object]:
    """Half and half."""
    return mix(500, original)


def pwr200_fgd800(original: int = -1) -> dict[str, object]:
    """PWR a fifth."""
    return mix(200, original)


def pwr100_fgd900(original: int = -1) -> dict[str, object]:
    """PWR a tenth."""
    return mix(100, original)


def pwr50_fgd950(original: int = -1) -> dict[str, object]:
    """PWR a twentieth."""
    return mix(50, original)
