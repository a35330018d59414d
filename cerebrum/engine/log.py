"""The event log: the truth every metric is computed from. In memory, to Parquet and back."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cerebrum.model.errors import TraceError
from cerebrum.model.events import EVENT, EventKind

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True, slots=True)
class EventLog:
    """Rows of `EVENT` in the order they were applied."""

    rows: NDArray[np.void]

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def digest(self) -> str:
        """Equal exactly when two logs are equal, byte for byte."""
        rows = np.ascontiguousarray(self.rows).tobytes()
        return hashlib.blake2b(rows, digest_size=16).hexdigest()

    def of(self, *kinds: EventKind) -> NDArray[np.void]:
        """Only the rows of these kinds."""
        return self.rows[np.isin(self.rows["kind"], [int(kind) for kind in kinds])]

    def frame(self) -> pl.DataFrame:
        """As a polars frame, one column a field, `kind` as a word."""
        import polars as pl

        words = pl.Series([kind.name.lower() for kind in EventKind])
        columns = {name: np.ascontiguousarray(self.rows[name]) for name in EVENT.fields or ()}
        frame = pl.DataFrame(columns)
        return frame.with_columns(words[columns["kind"].astype(np.int64)].alias("kind"))

    def write(self, path: Path) -> None:
        """To Parquet."""
        self.frame().write_parquet(path)


def read_log(path: Path) -> EventLog:
    """A log written by `EventLog.write`. Raises `TraceError` for anything else."""
    import polars as pl

    try:
        frame = pl.read_parquet(path)
    except (OSError, pl.exceptions.PolarsError) as problem:
        raise TraceError(f"expected an event log in Parquet: {problem}").at(path) from problem
    missing = [name for name in EVENT.fields or () if name not in frame.columns]
    if missing:
        raise TraceError(f"expected an event log, columns are missing: {', '.join(missing)}").at(
            path
        )
    rows = np.zeros(len(frame), EVENT)
    numbers = {kind.name.lower(): int(kind) for kind in EventKind}
    for name in EVENT.fields or ():
        column = frame[name]
        rows[name] = [numbers[word] for word in column] if name == "kind" else column.to_numpy()
    return EventLog(rows)
