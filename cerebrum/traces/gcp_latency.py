"""Round-trip times between Google Cloud regions: a square matrix in ms and the names of its rows.

`gcp_latency_matrix_ms.csv` has a row and a column for each region, under the code of its power
grid zone; `gcp_dc_zonecode_mapper.json` gives each region its code, in the order of the rows. Two
regions share one grid zone, so rows are found by their place, and the codes are checked. A measured
time is there and back, which is what asking for data and getting its first byte takes.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from cerebrum.model.errors import TraceError, UnknownName
from cerebrum.traces import _files

MATRIX, REGIONS = "gcp_latency_matrix_ms.csv", "gcp_dc_zonecode_mapper.json"
_MAX_MS = 60_000.0
_ZONE = re.compile(r"(.+\d)-[a-f]")


@dataclass(frozen=True, eq=False)
class GcpLatency:
    """`round_trip_ms` float64[regions, regions], row = from; `codes` the grid zone of each."""

    regions: tuple[str, ...]
    codes: tuple[str, ...] = field(repr=False)
    round_trip_ms: NDArray[np.float64] = field(repr=False)

    def index(self, place: str) -> int:
        """The row of a region (`europe-west3`), a zone in it (`europe-west3-b`) or a grid zone.

        A grid zone stands for its first region. Raises `UnknownName` with the nearest region.
        """
        zone = _ZONE.fullmatch(place)
        name = zone.group(1) if zone else place
        if name in self.regions:
            return self.regions.index(name)
        if name in self.codes:
            return self.codes.index(name)
        raise UnknownName("region", place, self.regions)

    def latency_s(self, source: str, target: str) -> float:
        """Seconds from asking for data to its first byte."""
        return float(self.round_trip_ms[self.index(source), self.index(target)]) / 1000


def read_gcp_latency(folder: str | Path) -> GcpLatency:
    """The matrix and its regions from a folder that holds both files. Raises `TraceError`."""
    codes_by_region = _regions(Path(folder) / REGIONS)
    path = Path(folder) / MATRIX
    rows = [line.strip().split(",") for line in _files.read_text(path).splitlines() if line.strip()]
    codes = tuple(codes_by_region.values())
    if not rows or tuple(rows[0][1:]) != codes:
        raise TraceError(f"expected a column for each region of {REGIONS}, in its order").at(
            path, 1
        )
    if len(rows) != len(codes) + 1:
        raise TraceError(f"expected {len(codes)} rows, found {len(rows) - 1}").at(path)
    times = np.zeros((len(codes), len(codes)))
    for i, (row, code) in enumerate(zip(rows[1:], codes, strict=True)):
        if row[0] != code or len(row) != len(codes) + 1:
            raise TraceError(f"expected {code!r} and {len(codes)} times").at(path, i + 2)
        times[i] = [_milliseconds(path, i + 2, text) for text in row[1:]]
    return GcpLatency(tuple(codes_by_region), codes, times)


def _regions(path: Path) -> dict[str, str]:
    try:
        data: object = json.loads(_files.read_text(path))
    except ValueError as problem:
        raise TraceError(f"expected JSON: {problem}").at(path) from problem
    if not isinstance(data, dict):
        raise TraceError("expected a mapping of regions to grid zones").at(path)
    for region, code in cast(dict[str, object], data).items():
        if not isinstance(code, str):
            raise TraceError(f"expected text, got {code!r}").at(path, field=region)
    return cast(dict[str, str], data)


def _milliseconds(path: Path, line: int, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = np.nan
    if not 0 <= value <= _MAX_MS:
        raise TraceError(f"expected milliseconds 0..{_MAX_MS:g}, got {text!r}").at(path, line)
    return value
