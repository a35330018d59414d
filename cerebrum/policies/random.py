# pyright: basic, reportPrivateImportUsage=false
"""Random: any node that fits, any GPU that fits, drawn from the scenario's seed."""

from __future__ import annotations

from cerebrum.engine.compiled import scorer


@scorer
def constant(before, after, task, typical):
    """All nodes alike: the tie rule decides."""
    return 0.0


PROFILE = {"scores": [{"name": "constant"}], "ties": "random", "gpus": "random"}
