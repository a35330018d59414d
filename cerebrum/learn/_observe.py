# pyright: basic, reportPrivateImportUsage=false
"""What a decision maker sees of a cluster: a mask, features of each node, the cluster pooled."""

from __future__ import annotations

from cerebrum.engine.compiled import kernel
from cerebrum.engine.placement import BEST_FIT, choose_gpus, take
from cerebrum.engine.state import LABELLED, STRIDE
from cerebrum.learn import _levels as levels
from cerebrum.learn._feasible import fill_mask
from cerebrum.learn._levels import imbalance, refresh
from cerebrum.learn._tables import TASK
from cerebrum.learn.encoders import encode


@kernel
def observe(s, p, encoder, mask, observation, pooled):
    """Mask, one row of features a feasible node, and the pooled state of the cluster."""
    task = p.cursor[TASK]
    kind, features = s.classes[s.t_class[task]], observation.shape[1]
    able = fill_mask(s, task, mask)
    after = p.scratch[0]
    pooled[:] = 0.0
    first = True
    for row in range(len(mask)):
        seen = observation[row]
        if not mask[row]:
            seen[:] = 0.0
            continue
        before = s.nodes[row]
        p.scratch[0] = before
        if s.counts[LABELLED]:
            at = kind.constraints * s.counts[STRIDE] + row
            after.preference, after.disliked_taints = s.preference[at], s.disliked[at]
        take(after, kind, choose_gpus(before, kind, BEST_FIT, 0), kind.cache_ways)
        encode(encoder, before, after, kind, s.typical, seen)
        for i in range(features):
            pooled[i] += seen[i] / able
            pooled[features + i] = seen[i] if first else max(pooled[features + i], seen[i])
        first = False
    _pool_levels(s, p, able, pooled[2 * features :])


@kernel
def _pool_levels(s, p, able, out):
    """What the whole cluster is like: see `clusters.STATE`."""
    refresh(s, p)
    nodes = max(1.0, p.levels[levels.PRESENT])
    waiting = levels.waiting(s)
    out[0] = able / nodes
    out[1] = nodes / (nodes + 64.0)
    out[2] = waiting / (waiting + 16.0)
    out[3] = imbalance(p)
    out[4] = p.levels[levels.FRAGMENTED] / nodes
    for resource in range(3):
        at = levels.RESOURCE + levels.PER_RESOURCE * resource
        whole = p.levels[at + levels.CAPACITY]
        out[5 + resource] = p.levels[at + levels.USED] / whole if whole > 0 else 0.0
