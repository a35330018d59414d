"""The carbon prototype's CSV files: nodes, workloads and sites (g-uva/KubEnergySched @ 4041a69).

- nodes `name,cpu,mem,ci_profile[,site_id[,peak_power_w]]`: cores, GiB, carbon intensity as
  `static:v`, `sine:mean:amp:periodSec` or `randwalk:min:max:stepSec` in gCO2e/kWh, watts (or 400).
- workloads `id,submit,cpu,mem,duration[,tag]`: RFC 3339, cores, GiB, whole seconds.
- sites `id,pue,k,ci_region`: two plain factors (0: 1) and a region.

The prototype reads a wrong number as 0 and a wrong time as the year 1; here both are refused.
Profile, site, factors and region become node labels `carbon/...`, for whoever accounts for carbon.
docs/reference/carbon-prototype-formats.md has the facts.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cerebrum.model.cluster import Cluster, Node, PowerModel
from cerebrum.model.errors import nearest
from cerebrum.model.resources import Resources
from cerebrum.model.scenario import Scenario
from cerebrum.model.tasks import TaskClass, TaskTable
from cerebrum.traces import _files
from cerebrum.traces._csv import Column, Table, read_table
from cerebrum.traces._files import Tally

DESCRIPTION = "The carbon prototype's CSV files (a folder of nodes.csv, workloads.csv, sites.csv)"
EXTENSIONS = (".csv",)

PEAK_POWER_W = 400.0
"""Watts of a node at full load, where the file says nothing (prototype)."""
IDLE_SHARE = 0.15
"""Watts without load, as a share of the peak (prototype)."""
_MAX_CORES = 1e6
_MAX_GIB = 1e9
_NODES = (
    Column("name", unique=True),
    Column("cpu", "float", high=_MAX_CORES),
    Column("mem", "float", high=_MAX_GIB),
    Column("ci_profile"),
    Column("site_id", empty="", required=False),
    Column("peak_power_w", "float", high=1e6, empty=PEAK_POWER_W, required=False),
)
_WORKLOADS = (
    Column("id", unique=True),
    Column("submit"),
    Column("cpu", "float", high=_MAX_CORES),
    Column("mem", "float", high=_MAX_GIB),
    Column("duration", "int", high=1e10),
    Column("tag", empty="", required=False),
)
_SITES = (
    Column("id", unique=True),
    Column("pue", "float", high=100),
    Column("k", "float", high=100),
    Column("ci_region", empty=""),
)
_HEADERS = (b"name,cpu,mem,ci_profile", b"id,submit,cpu,mem,duration")
_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_PROFILES = {"static": "static:v", "sine": "sine:mean:amp:periodSec"}
_PROFILES["randwalk"] = "randwalk:min:max:stepSec"


def sniff(path: Path, head: bytes) -> bool:
    """Whether the folder holds nodes.csv and workloads.csv, or the file begins with a header."""
    if path.is_dir():
        return all((path / name).is_file() for name in ("nodes.csv", "workloads.csv"))
    return head.removeprefix(b"\xef\xbb\xbf").startswith(_HEADERS)


def read(
    path: Path,
    nodes: str = "nodes.csv",
    workloads: str = "workloads.csv",
    sites: str = "sites.csv",
) -> Scenario:
    """The scenario of a folder, or of one of its files; `sites` may be absent.

    The options name the files. Second 0 is the first submission.
    """
    folder = path if path.is_dir() else path.parent
    node_file, work_file = folder / nodes, folder / workloads
    if not path.is_dir():
        is_nodes = _files.head(path).removeprefix(b"\xef\xbb\xbf").startswith(_HEADERS[0])
        node_file, work_file = (path, work_file) if is_nodes else (node_file, path)
    tally = Tally()
    found = _nodes(read_table(node_file, _NODES), _sites(folder / sites), tally)
    table = read_table(work_file, _WORKLOADS)
    _check_fit(table, found)
    tasks, start = _tasks(table, tally)
    regions = {node.labels.get("carbon/region", "") for node in found}
    return Scenario(
        cluster=Cluster(tuple(found), "carbon", zone=regions.pop() if len(regions) == 1 else ""),
        tasks=tasks,
        name=folder.resolve().name,
        source=str(path),
        report=tally.report(work_file, "workloads"),
        start_unix_s=start,
    )


def profile_problem(text: str) -> str:
    """What is wrong with a carbon intensity profile; '' when nothing is."""
    word, *numbers = text.split(":")
    if word not in _PROFILES:
        near = nearest(word, _PROFILES)
        known = ", ".join(_PROFILES.values())
        return f"expected {_PROFILES[near] if near else known}, got {text[:60]!r}"
    try:
        values = [float(number) for number in numbers]
    except ValueError:
        values = []
    if len(values) != _PROFILES[word].count(":") or not all(0 <= v <= 1e9 for v in values):
        return f"expected {_PROFILES[word]} with numbers of at least 0, got {text[:60]!r}"
    if word == "sine" and values[1] > values[0]:
        return f"expected an amplitude of at most the mean, got {text[:60]!r}"
    if word == "randwalk" and values[0] > values[1]:
        return f"expected min of at most max, got {text[:60]!r}"
    return ""


def _sites(path: Path) -> dict[str, dict[str, str]] | None:
    """Site -> its labels; None without a file."""
    if not path.exists():
        return None
    table = read_table(path, _SITES)
    return {
        site: {
            "carbon/site": site,
            "carbon/pue": f"{pue or 1.0:g}",
            "carbon/k": f"{k or 1.0:g}",
            "carbon/region": region,
        }
        for site, pue, k, region in table.frame.select("id", "pue", "k", "ci_region").rows()
    }


def _nodes(table: Table, sites: dict[str, dict[str, str]] | None, tally: Tally) -> list[Node]:
    names, profiles = table.texts("name"), table.texts("ci_profile")
    cpu, memory = table.numbers("cpu"), table.numbers("mem")
    site_ids = table.texts("site_id") if "site_id" in table else [""] * len(table)
    peaks = _peaks(table)
    if sites is None and any(site_ids):
        tally.note("there is no sites file: PUE and k are taken to be 1")
    nodes: list[Node] = []
    for i, (name, profile, site) in enumerate(zip(names, profiles, site_ids, strict=True)):
        if problem := profile_problem(profile):
            raise table.error(i, "ci_profile", problem)
        labels = {"carbon/profile": profile}
        if site:
            labels |= _site_labels(table, i, site, sites)
        capacity = Resources(math.floor(_fine(cpu[i], 1000)), math.floor(_fine(memory[i], 1024)))
        nodes.append(Node(name, capacity, labels=labels, power=_power(capacity, float(peaks[i]))))
    return nodes


def _peaks(table: Table) -> NDArray[np.floating]:
    """Watts at full load; 0 means unknown, as in the prototype."""
    if "peak_power_w" not in table:
        return np.full(len(table), PEAK_POWER_W)
    peaks = table.numbers("peak_power_w").astype(np.float64)
    return np.where(peaks > 0, peaks, PEAK_POWER_W)


def _site_labels(
    table: Table, row: int, site: str, sites: dict[str, dict[str, str]] | None
) -> dict[str, str]:
    if sites is None:
        return {"carbon/site": site}
    if site not in sites:
        near = nearest(site, sites)
        hint = f"did you mean {near!r}?" if near else f"the sites are {', '.join(sites)[:80]}"
        raise table.error(row, "site_id", f"unknown site {site!r}: {hint}")
    return sites[site]


def _power(capacity: Resources, peak_w: float) -> PowerModel:
    """Idle to peak in proportion to the cores in use: a package of its own for every core."""
    per_core = peak_w * 1000 / max(capacity.cpu_milli, 1)
    return PowerModel(IDLE_SHARE * per_core, per_core, cpu_package_milli=1000)


def _check_fit(table: Table, nodes: Sequence[Node]) -> None:
    for name, field, unit in (("cpu", "cpu_milli", 1000), ("mem", "memory_mib", 1024)):
        largest = max(getattr(node.capacity, field) for node in nodes) / unit
        if (wrong := table.numbers(name) > largest).any():
            row = int(np.argmax(wrong))
            got = table.numbers(name)[row]
            raise table.error(
                row, name, f"expected at most {largest:g}, what the largest node has, got {got:g}"
            )


def _tasks(table: Table, tally: Tally) -> tuple[TaskTable, float]:
    """The workloads, and the Unix time of second 0."""
    tally.read = len(table)
    if "tag" in table and any(table.texts("tag")):
        tally.note("tags are left out")
    first, class_id = table.groups(["cpu", "mem"])
    classes = [
        TaskClass(Resources(math.ceil(_fine(cpu, 1000)), math.ceil(_fine(memory, 1024))))
        for cpu, memory in table.frame[first].select("cpu", "mem").rows()
    ]
    unix_s = np.array([_unix_s(table, i, text) for i, text in enumerate(table.texts("submit"))])
    start = float(unix_s.min())
    tasks = TaskTable.build(
        table.texts("id"), classes, class_id, unix_s - start, table.numbers("duration")
    )
    return tasks, start


def _unix_s(table: Table, row: int, text: str) -> float:
    if _TIME.fullmatch(text):
        try:
            return datetime.fromisoformat(text.upper()).astimezone(UTC).timestamp()
        except (ValueError, OverflowError):
            pass
    raise table.error(
        row, "submit", f"expected RFC 3339 such as 2025-06-04T20:34:04Z, got {text[:40]!r}"
    )


def _fine(value: float, units: int) -> float:
    """`value` in a unit `units` times smaller, without the noise of decimal fractions."""
    return round(float(value) * units, 6)
