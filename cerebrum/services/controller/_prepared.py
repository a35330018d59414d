"""Statements of the hot paths, put together once and handed to the driver with plain values.

For a row of a few columns SQLAlchemy takes longer to prepare the parameters than the database to
store them. Here the text is compiled once per kind of database, and executed with the driver's own
`executemany`. Only for columns whose values the drivers take as they are (numbers, text, bytes).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, CursorResult, Insert, SelectBase, Update
from sqlalchemy.sql.compiler import SQLCompiler


class Prepared:
    """A statement and the names of its parameters."""

    def __init__(self, statement: Insert | Update | SelectBase, names: Sequence[str] = ()) -> None:
        # inline: no RETURNING of a row number that nobody asks for.
        self._statement = statement.inline() if isinstance(statement, Insert) else statement
        self._names = list(names) if isinstance(statement, Insert) else None
        self._texts: dict[str, tuple[str, list[str] | None]] = {}

    def run(self, connection: Connection, *rows: Mapping[str, Any]) -> CursorResult[Any]:
        """Execute with one or more sets of values by name; none: without parameters."""
        sql, order = self._texts.get(connection.dialect.name) or self._compile(connection)
        if not rows:
            return connection.exec_driver_sql(sql)
        if order is None:
            values: Any = [dict(row) for row in rows]
        else:
            values = [tuple([row[name] for name in order]) for row in rows]
        return connection.exec_driver_sql(sql, values if len(rows) > 1 else values[0])

    def _compile(self, connection: Connection) -> tuple[str, list[str] | None]:
        compiled = self._statement.compile(dialect=connection.dialect, column_keys=self._names)
        assert isinstance(compiled, SQLCompiler)
        # Literal values of the statement would be parameters nobody gives.
        order = compiled.positiontup
        found = (str(compiled), None if order is None else list(order))
        self._texts[connection.dialect.name] = found
        return found
