# pyright: basic, reportPrivateImportUsage=false
"""What a learned job order looks at: each waiting job, as the queue and the machine are now.

Only what a scheduler can know goes in: requested times, processors, waits and the requested ends
of what runs. The run time does not appear. One compiled function serves training and serving.
"""

from __future__ import annotations

import numpy as np

from cerebrum.engine.compiled import kernel
from cerebrum.policies.learned.schema import Feature, Schema

SCHEMA = Schema(
    "job-order",
    1,
    (
        Feature("requested", "ln(1 + s)", 10.0, "requested run time"),
        Feature("processors", "ln(1 + n)", 5.0, "processors asked for"),
        Feature("share", "of the machine", 1.0, "processors asked for"),
        Feature("waited", "ln(1 + s)", 10.0, "since submission"),
        Feature("slowdown", "ln", 5.0, "bounded slowdown if it started now and ran as requested"),
        Feature("fits", "0 or 1", 1.0, "whether as many processors are free"),
        Feature("left", "of the machine", 1.0, "free processors less those asked for"),
        Feature("delay", "ln(1 + s)", 10.0, "until it could start, by the requested ends"),
        Feature("held_up", "ln(1 + n)", 10.0, "slowdown the others gain during the delay"),
        Feature("occupied", "ln(1 + n)", 10.0, "slowdown the others gain by what it occupies"),
        Feature("shorter", "ln", 5.0, "requested run time over the queue's geometric mean"),
        Feature("free", "of the machine", 1.0, "free processors"),
        Feature("queue", "ln(1 + n)", 5.0, "jobs that wait"),
        Feature("fitting", "of the queue", 1.0, "jobs that wait and fit now"),
        Feature("backlog", "ln(1 + s)", 10.0, "the queue's requested work over the machine"),
        Feature("next_end", "ln(1 + s)", 10.0, "until the first requested end of what runs"),
    ),
)
"""Seconds enter as logarithms: they span five decades, and slowdown is a ratio."""

FLOOR_S = 10.0
"""Shorter run times count as this in bounded slowdown."""

FAR_S = 1e8
"""Stands for never, and for longer: where a job fits at no requested end, or asks for ever."""


@kernel
def observe(now, submit, requested, processors, free, machine, ends, held, out):
    """Fill `out[jobs, features]`, each already divided by its scale.

    `now` s; `submit`, `requested` s and `processors` float64[jobs]; `free` and `machine`
    processors; `ends` s and `held` processors float64[running], by end, the earliest first.
    """
    jobs, fitting, work, logs, urgency = len(submit), 0, 0.0, 0.0, 0.0
    for i in range(jobs):
        asked = min(requested[i], FAR_S)
        fitting += processors[i] <= free
        work += processors[i] * asked
        logs += np.log(max(asked, 1.0))
        urgency += 1.0 / max(asked, FLOOR_S)
    next_end = np.log1p(min(max(ends[0] - now, 0.0), FAR_S)) / 10.0 if len(ends) else 0.0
    queue, backlog = np.log1p(jobs) / 5.0, np.log1p(work / machine) / 10.0
    growing = np.empty(len(ends))  # free processors after each requested end
    after = free
    for k in range(len(ends)):
        after += held[k]
        growing[k] = after
    for i in range(jobs):
        asked = min(requested[i], FAR_S)
        floored = max(asked, FLOOR_S)
        wait = max(now - submit[i], 0.0)
        delay = _delay(processors[i], now, free, ends, growing)
        others = max(urgency - 1.0 / floored, 0.0)
        row = out[i]
        row[0] = np.log1p(asked) / 10.0
        row[1] = np.log1p(processors[i]) / 5.0
        row[2] = processors[i] / machine
        row[3] = np.log1p(wait) / 10.0
        row[4] = np.log(max((wait + asked) / floored, 1.0)) / 5.0
        row[5] = 1.0 if processors[i] <= free else 0.0
        row[6] = (free - processors[i]) / machine
        row[7] = np.log1p(delay) / 10.0
        row[8] = np.log1p(delay * others) / 10.0
        row[9] = np.log1p(asked * processors[i] / machine * others) / 10.0
        row[10] = (np.log(max(asked, 1.0)) - logs / jobs) / 5.0
        row[11] = free / machine
        row[12] = queue
        row[13] = fitting / jobs
        row[14] = backlog
        row[15] = next_end


@kernel
def _delay(processors, now, free, ends, growing):
    """Seconds until as many processors are free, if all that runs lasts as long as requested."""
    if processors <= free:
        return 0.0
    k = np.searchsorted(growing, processors)
    return min(max(ends[k] - now, 0.0), FAR_S) if k < len(ends) else FAR_S


@kernel
def rate(features, inner, bias, outer, direct, out):
    """Fill `out[jobs]` with the network's value of each job; the highest goes first.

    One hidden layer of rectified units beside a direct linear path, the same for every job:
    `inner` [features, hidden], `bias` and `outer` [hidden], `direct` [features].
    """
    units = np.empty(len(bias))
    for i in range(len(features)):
        total = 0.0
        units[:] = bias
        for f in range(len(direct)):
            x = features[i, f]
            total += x * direct[f]
            for h in range(len(bias)):
                units[h] += x * inner[f, h]
        for h in range(len(bias)):
            total += max(units[h], 0.0) * outer[h]
        out[i] = total
