"""Racks and servers for clusters that name none: node i is `srv-{i % k}` of `rack-{i // k}`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from cerebrum.model.errors import ConfigError, TraceError
from cerebrum.traces._fields import documents
from cerebrum.traces._files import read_bytes, write_text
from cerebrum.traces._kube_objects import HIER, SUFFIXES
from cerebrum.traces._yaml import Source


def add_topology(path: Path, servers_per_rack: int = 4) -> list[Path]:
    """Write `NAME-hier.yaml` and `NAME-hier.csv` beside every file of nodes, with labels `rack` and
    `server`; the originals stay as they are. `path` is a file or a folder. Returns what it wrote.
    """
    if servers_per_rack < 1:
        raise ConfigError(f"expected at least 1, got {servers_per_rack}").at(
            field="servers_per_rack"
        )
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    written: list[Path] = []
    for file in files:
        if file.is_dir() or file.stem.endswith(HIER):
            continue
        if file.suffix == ".csv":
            text = _label_csv(file, servers_per_rack)
        elif file.suffix in SUFFIXES and file.suffix != ".json":
            text = _label_yaml(file, servers_per_rack)
        else:
            continue
        if text:
            target = file.with_name(f"{file.stem}{HIER}{file.suffix}")
            write_text(target, text)
            written.append(target)
    if not written:
        raise TraceError("no nodes here: expected YAML with Node objects or openb's node list").at(
            path
        )
    return written


def topology_labels(i: int, servers_per_rack: int) -> dict[str, str]:
    """The labels of the i-th node, counted from 0."""
    return {"rack": f"rack-{i // servers_per_rack}", "server": f"srv-{i % servers_per_rack}"}


def _label_csv(file: Path, servers_per_rack: int) -> str:
    """openb's node list with two more columns; '' for other tables."""
    header, *rows = read_bytes(file).decode().replace("\r\n", "\n").rstrip("\n").split("\n")
    if not header.startswith("sn,") or "rack" in header.split(","):
        return ""
    lines = [f"{header},rack,server"]
    for i, row in enumerate(rows):
        labels = topology_labels(i, servers_per_rack)
        lines.append(f"{row},{labels['rack']},{labels['server']}")
    return "\n".join(lines) + "\n"


def _label_yaml(file: Path, servers_per_rack: int) -> str:
    """The objects of a file, its nodes labelled; '' if it has none."""
    objects: list[dict[str, Any]] = []
    nodes = 0
    for root in documents(Source(file)):
        items = root.children("items") if root.text("kind", "").endswith("List") else [root]
        for item in items:
            objects.append(item.data)
            if item.text("kind", "") != "Node":
                continue
            metadata = item.child("metadata")
            labels = metadata.labels("labels") | topology_labels(nodes, servers_per_rack)
            item.data["metadata"] = {**metadata.data, "labels": labels}
            nodes += 1
    if not nodes:
        return ""
    return "---\n".join(yaml.dump(item, Dumper=yaml.CSafeDumper) for item in objects)
