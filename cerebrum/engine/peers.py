# pyright: basic, reportPrivateImportUsage=false
"""Rules about other tasks, judged as kube-scheduler 1.36 does: kernels over counts per node.

Its filters are InterPodAffinity, PodTopologySpread (DoNotSchedule), NodePorts and the
ReadWriteOncePod half of VolumeRestrictions. What binds and releases keep up are counts per node, so
they cost a task's own rules and no more. Domains (racks, zones: nodes with one value of a label)
are added up when a task that rules can keep away is decided: nodes x its rules.

Arrays of `State`, with stride `width(s)` where they have a column a node:

- `p_rules` WIDTH numbers a rule; class c has `p_size[c]` of them from `p_first[c]` on.
  `p_demand[c]` is 0 without rules, 2 if a bind of another can make room (NEAR, SPREAD), else 1.
- `p_matched[l]` and `p_about[l]` start chains in `p_links` (value, next): the groups that a task
  with label set l belongs to, and the apart terms that are about it. `p_clashing[p]`: ports that
  port p clashes with.
- `p_domain` keys x n: the domain of a node under a label key (-1: no such label), of
  `p_domains[key]` numbers.
- `p_selected` groups x n, `p_holders` terms x n, `p_ports` ports x n: tasks there that belong to a
  group, have an apart term, use a port. `p_held` a term's tasks anywhere, `p_names` an exclusive
  name's.
- `p_active`, `p_tally`, `p_lows`, `p_barred`: work space, see `_summarise`.
"""

from __future__ import annotations

import numpy as np

from cerebrum.engine.compiled import kernel
from cerebrum.engine.state import ROWS, STRIDE, unpack_state

# Kinds of rules, and the places in a rule's record.
NEAR, APART, SPREAD, PORT, ONLY, HOLDS = 0, 1, 2, 3, 4, 5
KIND, WHAT, KEY, SKEW, DOMAINS, HONOR = 0, 1, 2, 3, 4, 5
WIDTH = 6
HONOR_AFFINITY, HONOR_TAINTS = 1, 2  # the bits of `forbidden`, see `filters`

# Places in `p_counts`.
RULED = 0  # 1 once any class has a rule that is more than a wish
CHANGES = 1  # changes of anything these rules look at
N_KEYS = 2
BREADTH = 3  # stride of `p_tally`: the largest number of domains of a key
BARRED_CLASS, BARRED_LABELS, BARRED_AT = 4, 5, 6  # whom `p_barred` is about, and as of when
N_PEER_COUNTS = 8

# What `_summarise` finds out about a rule, in `p_lows`.
LOW, SEEN, ITSELF, TOTAL = 0, 1, 2, 3
N_LOWS = 4
MANY = 2**31 - 1

# Refusal bits.
POD_AFFINITY, POD_ANTI_AFFINITY, EXISTING_ANTI_AFFINITY = 1 << 16, 1 << 17, 1 << 18
UNEVEN, SPREAD_LABEL, HOST_PORT, EXCLUSIVE = 1 << 19, 1 << 20, 1 << 21, 1 << 22
OF_PEERS = POD_AFFINITY | POD_ANTI_AFFINITY | EXISTING_ANTI_AFFINITY | UNEVEN | SPREAD_LABEL
OF_PORTS = HOST_PORT | EXCLUSIVE
BEYOND_EVICTION = POD_AFFINITY | SPREAD_LABEL  # stopping tasks there cannot help


@kernel
def width(s):
    """The stride of arrays that have a column a node."""
    return s.counts[STRIDE]


@kernel
def coarse(bits):
    """Refusal bits that a log row has room for: PEERS and PORT for what was refused here."""
    return (8192 if bits & OF_PEERS else 0) | (16384 if bits & OF_PORTS else 0)


@kernel
def _linked(s, at, value):
    """Whether a chain holds the value."""
    while at >= 0:
        if s.p_links[2 * at] == value:
            return True
        at = s.p_links[2 * at + 1]
    return False


@kernel
def ruled(s, task):
    """Whether a rule, its own or another's, can ever keep the task from a node."""
    return s.p_counts[RULED] != 0 and (
        s.p_demand[s.t_class[task]] != 0 or s.p_about[s.t_labels[task]] >= 0
    )


@kernel
def peered(s, task):
    """Whether a rule can keep the task from a node now."""
    if s.p_counts[RULED] == 0:
        return False
    if s.p_demand[s.t_class[task]]:
        return True
    at = s.p_about[s.t_labels[task]]
    while at >= 0:
        if s.p_held[s.p_links[2 * at]] > 0:
            return True
        at = s.p_links[2 * at + 1]
    return False


@kernel
def helped(s, task):
    """Whether a bind of another task can make room for this one."""
    return s.p_counts[RULED] != 0 and s.p_demand[s.t_class[task]] == 2


@kernel
def count_peer(s, task, row, step):
    """A task came to a node (step 1) or left it (-1)."""
    if s.p_counts[RULED] == 0:
        return
    stride, changed = width(s), False
    at = s.p_matched[s.t_labels[task]]
    while at >= 0:
        s.p_selected[s.p_links[2 * at] * stride + row] += step
        changed = True
        at = s.p_links[2 * at + 1]
    kind = s.t_class[task]
    for rule in range(s.p_first[kind], s.p_first[kind] + s.p_size[kind]):
        name, what = s.p_rules[rule * WIDTH + KIND], s.p_rules[rule * WIDTH + WHAT]
        if name == HOLDS:
            s.p_holders[what * stride + row] += step
            s.p_held[what] += step
        elif name == PORT:
            s.p_ports[what * stride + row] += step
        elif name == ONLY:
            s.p_names[what] += step
        changed = changed or name >= PORT
    if changed:
        s.p_counts[CHANGES] += 1


# -- what a task's rules find ------------------------------------------------------------------


@kernel
def _summarise(s, task):
    """Add up, by domain, what the rules that concern a task look at.

    `p_tally` has a line of domains per label key, for apart terms of others that are about the
    task (where `p_active`), then one per rule of its class: how many tasks the domain holds; for a
    spread rule -1 where no eligible node is in the domain. `p_lows` has a line a rule: a spread
    rule's lowest count and how many domains count; whether the task is one the rule is about; the
    sum over domains. Leaves in `p_barred` SPREAD_LABEL for nodes
    without a label that the class spreads over.
    """
    kind, labels, n, stride = s.t_class[task], s.t_labels[task], s.counts[ROWS], width(s)
    keys, breadth = s.p_counts[N_KEYS], s.p_counts[BREADTH]
    s.p_counts[BARRED_AT] = -1
    s.p_active[:keys] = 0
    tally, domain = s.p_tally, s.p_domain
    at = s.p_about[labels]
    while at >= 0:
        term = s.p_links[2 * at]
        if s.p_held[term] > 0:
            key = s.p_term_key[term]
            if not s.p_active[key]:
                s.p_active[key] = 1
                tally[key * breadth : key * breadth + s.p_domains[key]] = 0
            _add(tally, key * breadth, domain, key * stride, s.p_holders, term * stride, n)
        at = s.p_links[2 * at + 1]
    first, size = s.p_first[kind], s.p_size[kind]
    _note_missing(s, first, size)
    for i in range(size):
        at_rule, line, lows = (first + i) * WIDTH, (keys + i) * breadth, i * N_LOWS
        name, group, key = s.p_rules[at_rule], s.p_rules[at_rule + 1], s.p_rules[at_rule + 2]
        if name == PORT or name == ONLY:
            tally[line] = 0
        if name > SPREAD:
            continue
        s.p_lows[lows + ITSELF] = _linked(s, s.p_matched[labels], group)
        if name == SPREAD:
            tally[line : line + s.p_domains[key]] = -1
            _spread_over(s, task, at_rule, line)
            _find_lows(s.p_lows, lows, tally, line, s.p_domains[key])
        else:
            tally[line : line + s.p_domains[key]] = 0
            total = _add(tally, line, domain, key * stride, s.p_selected, group * stride, n)
            s.p_lows[lows + TOTAL] = total


@kernel
def _add(tally, line, domain, key_at, counts, at, n):
    """Add counts of nodes to their domains' tally; returns the sum."""
    total = np.int64(0)
    for row in range(n):
        where, many = domain[key_at + row], counts[at + row]
        if many and where >= 0:
            tally[line + where] += many
            total += many
    return total


@kernel
def _note_missing(s, first, size):
    """SPREAD_LABEL in `p_barred` where a node lacks a label that the class spreads over."""
    barred, domain, n = s.p_barred, s.p_domain, s.counts[ROWS]
    barred[:n] = 0
    for rule in range(first, first + size):
        if s.p_rules[rule * WIDTH] == SPREAD:
            base = s.p_rules[rule * WIDTH + KEY] * width(s)
            for row in range(n):
                if domain[base + row] < 0:
                    barred[row] = SPREAD_LABEL


@kernel
def _spread_over(s, task, at_rule, line):
    """Count the group's tasks on nodes that are eligible for a spread rule."""
    group, key, honor = s.p_rules[at_rule + WHAT], s.p_rules[at_rule + KEY], s.p_rules[at_rule + 5]
    stride = width(s)
    judged = s.classes[s.t_class[task]].constraints * stride
    tally, domain, barred, selected = s.p_tally, s.p_domain, s.p_barred, s.p_selected
    present, forbidden = s.present, s.forbidden
    for row in range(s.counts[ROWS]):
        if barred[row] or not present[row] or forbidden[judged + row] & honor:
            continue
        at = line + domain[key * stride + row]
        tally[at] = max(tally[at], 0) + selected[group * stride + row]


@kernel
def _find_lows(lows, at, tally, line, domains):
    low, seen = MANY, 0
    for d in range(domains):
        if tally[line + d] >= 0:
            low = min(low, tally[line + d])
            seen += 1
    lows[at + LOW], lows[at + SEEN] = low, seen


@kernel
def _too_uneven(s, at_rule, lows, line, where):
    """Whether one more task in the domain would differ too much from the emptiest domain.

    The emptiest takes one more under any skew, so it does not matter that LOW was found before
    tasks of this domain were imagined gone.
    """
    here, low = s.p_tally[line + where], s.p_lows[lows + LOW]
    if s.p_lows[lows + SEEN] < s.p_rules[at_rule + DOMAINS]:
        low = 0
    return max(here, 0) + s.p_lows[lows + ITSELF] - low > s.p_rules[at_rule + SKEW]


@kernel
def _port_in_use(s, port, row):
    """How many tasks of the node use a port that clashes with this one."""
    used, at = 0, s.p_clashing[port]
    while at >= 0:
        used += s.p_ports[s.p_links[2 * at] * width(s) + row]
        at = s.p_links[2 * at + 1]
    return used


@kernel
def _judge(s, task, row):
    """Refusal bits of one node, from what `_summarise` found (and `_shift` changed)."""
    kind, stride = s.t_class[task], width(s)
    keys, breadth = s.p_counts[N_KEYS], s.p_counts[BREADTH]
    bits = 0
    for key in range(keys):
        where = s.p_domain[key * stride + row]
        if s.p_active[key] and where >= 0 and s.p_tally[key * breadth + where] > 0:
            bits |= EXISTING_ANTI_AFFINITY
    alone, first_of_kind = False, True
    for i in range(s.p_size[kind]):
        at_rule, line, lows = (s.p_first[kind] + i) * WIDTH, (keys + i) * breadth, i * N_LOWS
        name, what = s.p_rules[at_rule], s.p_rules[at_rule + WHAT]
        if name == PORT and _port_in_use(s, what, row) + s.p_tally[line] > 0:
            bits |= HOST_PORT
        if name == ONLY and s.p_names[what] + s.p_tally[line] > 0:
            bits |= EXCLUSIVE
        if name > SPREAD:
            continue
        where = s.p_domain[s.p_rules[at_rule + KEY] * stride + row]
        if name == NEAR:
            if where < 0:
                bits |= POD_AFFINITY
            elif s.p_tally[line + where] <= 0:
                alone = True
            if s.p_lows[lows + TOTAL] > 0 or not s.p_lows[lows + ITSELF]:
                first_of_kind = False
        elif name == APART:
            if where >= 0 and s.p_tally[line + where] > 0:
                bits |= POD_ANTI_AFFINITY
        elif where < 0:
            bits |= SPREAD_LABEL
        elif _too_uneven(s, at_rule, lows, line, where):
            bits |= UNEVEN
    if alone and not first_of_kind:
        bits |= POD_AFFINITY
    return bits


@kernel
def bar(s, task):
    """Fill `p_barred`: for each node, the Refusal bits of rules that keep the task away."""
    kind, labels = s.t_class[task], s.t_labels[task]
    now = s.p_counts[CHANGES]
    same = s.p_counts[BARRED_CLASS] == kind and s.p_counts[BARRED_LABELS] == labels
    if same and s.p_counts[BARRED_AT] == now:
        return
    _summarise(s, task)
    for row in range(s.counts[ROWS]):
        s.p_barred[row] = _judge(s, task, row)
    s.p_counts[BARRED_CLASS], s.p_counts[BARRED_LABELS] = kind, labels
    s.p_counts[BARRED_AT] = now


# -- what if tasks of one node were not there --------------------------------------------------


@kernel
def consider(s, task):
    """Get ready to ask `would_refuse` about nodes without some of their tasks."""
    _summarise(s, task)


@kernel
def would_refuse(s, task, row):
    """Refusal bits of a node for the task last given to `consider`, after `imagine`."""
    return _judge(s, task, row)


@kernel
def imagine(s, task, other, row, step):
    """Imagine that `other` left the row (step -1) or came back (1), for rules of `task`.

    Nothing but work space changes. Tasks of one row at a time, and back before the next row.
    """
    kind, labels, stride = s.t_class[task], s.t_labels[task], width(s)
    keys, breadth = s.p_counts[N_KEYS], s.p_counts[BREADTH]
    their_kind, groups = s.t_class[other], s.p_matched[s.t_labels[other]]
    for i in range(s.p_size[kind]):
        at_rule, line = (s.p_first[kind] + i) * WIDTH, (keys + i) * breadth
        name, what = s.p_rules[at_rule], s.p_rules[at_rule + WHAT]
        if name == PORT or name == ONLY:
            s.p_tally[line] += step * _shares(s, name, what, their_kind)
        if name > SPREAD or not _linked(s, groups, what):
            continue
        where = s.p_domain[s.p_rules[at_rule + KEY] * stride + row]
        if where < 0 or (name == SPREAD and not _eligible(s, task, at_rule, row)):
            continue
        s.p_tally[line + where] += step
        s.p_lows[i * N_LOWS + TOTAL] += step
    for rule in range(s.p_first[their_kind], s.p_first[their_kind] + s.p_size[their_kind]):
        term = s.p_rules[rule * WIDTH + WHAT]
        if s.p_rules[rule * WIDTH] == HOLDS and _linked(s, s.p_about[labels], term):
            key = s.p_term_key[term]
            where = s.p_domain[key * stride + row]
            if where >= 0:
                s.p_tally[key * breadth + where] += step


@kernel
def _shares(s, name, what, kind):
    """How many ports or exclusive names of a class clash with this one."""
    found = 0
    for rule in range(s.p_first[kind], s.p_first[kind] + s.p_size[kind]):
        other = s.p_rules[rule * WIDTH + WHAT]
        if s.p_rules[rule * WIDTH] != name:
            continue
        if name == ONLY:
            found += other == what
        else:
            found += _linked(s, s.p_clashing[what], other)
    return found


@kernel
def _eligible(s, task, at_rule, row):
    """Whether a node counts for a spread rule of the task."""
    kind, stride = s.t_class[task], width(s)
    for rule in range(s.p_first[kind], s.p_first[kind] + s.p_size[kind]):
        key = s.p_rules[rule * WIDTH + KEY]
        if s.p_rules[rule * WIDTH] == SPREAD and s.p_domain[key * stride + row] < 0:
            return False
    judged = s.classes[kind].constraints * stride + row
    return s.present[row] and not s.forbidden[judged] & s.p_rules[at_rule + HONOR]


# -- for Python --------------------------------------------------------------------------------


@kernel
def bar_task(handle, task):
    """`bar` for Python, where a rule can keep the task away; else zeros."""
    s = unpack_state(handle)
    if peered(s, task):
        bar(s, task)
    else:
        s.p_counts[BARRED_AT] = -1
        s.p_barred[:] = 0


@kernel
def is_ruled(handle, task):
    """`ruled` for Python."""
    return ruled(unpack_state(handle), task)


@kernel
def count_task(handle, task, row, step):
    """`count_peer` for Python."""
    count_peer(unpack_state(handle), task, row, step)


@kernel
def count_groups(handle, tasks, first):
    """Count running tasks into the groups from number `first` on, which are new."""
    s = unpack_state(handle)
    for task in tasks:
        at = s.p_matched[s.t_labels[task]]
        while at >= 0:
            group = s.p_links[2 * at]
            if group >= first:
                s.p_selected[group * width(s) + s.t_row[task]] += 1
            at = s.p_links[2 * at + 1]
    s.p_counts[CHANGES] += 1
