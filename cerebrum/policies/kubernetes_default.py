# pyright: basic, reportPrivateImportUsage=false
"""kube-scheduler's default profile (Kubernetes 1.30), as far as our tasks have what it looks at.

| plugin | weight | normalised |
|---|---|---|
| NodeResourcesFit, least allocated | 1 | no |
| NodeResourcesBalancedAllocation | 1 | no |
| NodeAffinity: weights of the preferred terms that match | 2 | score x 100 / highest |
| TaintToleration: PreferNoSchedule taints not tolerated | 3 | 100 - count x 100 / highest |

All in whole numbers. Ties are drawn at random. Inter-pod affinity, topology spread and image
locality are the same for every node here and left out. All nodes are scored (kube-scheduler samples
in clusters above 100 nodes). Preemption is off unless asked for: `preempt=True`.
"""

from __future__ import annotations

from cerebrum.engine.compiled import scorer


@scorer
def node_affinity(before, after, task, typical):
    """Summed weights of the task's preferred terms the node satisfies."""
    return float(after.preference)


@scorer
def taint_toleration(before, after, task, typical):
    """How many PreferNoSchedule taints of the node the task does not tolerate."""
    return float(after.disliked_taints)


PROFILE = {
    "scores": [
        {"name": "least-allocated"},
        {"name": "balanced-allocation", "rounding": "truncate"},
        {"name": "node-affinity", "weight": 2, "normalize": "max", "rounding": "truncate"},
        {
            "name": "taint-toleration",
            "weight": 3,
            "normalize": "max-reversed",
            "rounding": "truncate",
        },
    ],
    "ties": "random",
    "gpus": "best",
}
