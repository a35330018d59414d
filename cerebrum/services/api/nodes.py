"""The nodes of an agent: described by kind, read from a file, or this machine itself."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from cerebrum.model.cluster import Node
from cerebrum.model.errors import ConfigError, InputError
from cerebrum.model.quantity import cpu_milli, memory_mib
from cerebrum.model.resources import GPU_MILLI, Resources

MAX_NODES = 20_000
RESERVED_MIB = 512
"""Memory of this machine that is left to the agent itself."""
MIB_PER_CORE = 4096
"""Memory of a described node when none is given."""
_KIND = re.compile(
    r"(?P<count>[0-9]{1,6})x(?P<cpu>[0-9.]+m?)(,(?P<memory>[0-9.]+[A-Za-z]*))?"
    r"(,(?P<gpus>[0-9]{1,2})x(?P<model>[A-Za-z0-9._-]+))?(@(?P<speed>[0-9.]+))?"
)
_EXAMPLE = "expected COUNTxCPU[,MEMORY][,GPUSxMODEL][@SPEED] such as 2x4000m,16Gi,8xA100@1.5"


def cluster_nodes(kinds: Sequence[str], file: Path | None) -> tuple[Node, ...]:
    """The nodes; without kinds and file, this machine as one. Raises `InputError`."""
    if kinds and file is not None:
        raise ConfigError("give either kinds or a file").at(field="nodes")
    if file is not None:
        return _from_file(file)
    nodes = tuple(node for i, kind in enumerate(kinds) for node in _of_kind(kind, i))
    if len(nodes) > MAX_NODES:
        raise ConfigError(f"expected at most {MAX_NODES:,}, got {len(nodes):,}").at(field="nodes")
    return nodes or (this_machine(),)


def this_machine() -> Node:
    """All cores this process may use, and the memory but for what the agent needs."""
    import psutil

    cores = len(os.sched_getaffinity(0))
    total_mib = psutil.virtual_memory().total // 2**20
    memory = max(0, total_mib - RESERVED_MIB)
    return Node("node-0", Resources(cpu_milli=cores * 1000, memory_mib=memory))


def _of_kind(text: str, kind: int) -> list[Node]:
    """`2x4000m` as node-0, node-1; of the second kind node-1-0, node-1-1."""
    found = _KIND.fullmatch(text.strip())
    if found is None:
        raise ConfigError(f"{_EXAMPLE}, got {text!r}").at(field="nodes")
    count, gpus = int(found["count"]), int(found["gpus"] or 0)
    if not 1 <= count <= MAX_NODES:
        raise ConfigError(f"expected 1 to {MAX_NODES:,} nodes, got {count}").at(field="nodes")
    cpu, memory = cpu_milli(found["cpu"], "nodes"), found["memory"]
    capacity = Resources(
        cpu_milli=cpu,
        memory_mib=memory_mib(memory, "nodes") if memory else cpu * MIB_PER_CORE // 1000,
        gpu_count=gpus,
        gpu_milli=GPU_MILLI if gpus else 0,
    )
    prefix = f"node-{kind}-" if kind else "node-"
    try:
        speed = float(found["speed"] or 1.0)
    except ValueError:
        raise ConfigError(f"{_EXAMPLE}, got {text!r}").at(field="nodes") from None
    model = found["model"] or ""
    return [Node(f"{prefix}{i}", capacity, model, speed=speed) for i in range(count)]


def _from_file(path: Path) -> tuple[Node, ...]:
    """The nodes of anything that `cerebrum traces` reads, such as Kubernetes' YAML."""
    from cerebrum.traces import read

    nodes = read(path).cluster.nodes
    if not 1 <= len(nodes) <= MAX_NODES:
        raise InputError(f"expected 1 to {MAX_NODES:,} nodes, found {len(nodes):,}").at(path)
    return nodes
