"""Alembic without its command line: the revisions are in the package, the connection is ours.

To change the tables: change the schema, add a revision under `migrations/controller` or
`migrations/agent` (copy the newest file, set `down_revision` to it), and run the test that compares
the upgraded tables with the schema. A revision that was released is never edited.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any, Literal

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import Connection, Engine, MetaData, text

Tables = Literal["controller", "agent"]
_HERE = Path(__file__).parent / "migrations"
_SCHEMAS = {
    "controller": "cerebrum.services.store.schema",
    "agent": "cerebrum.services.agent.schema",
}
_LOCK = 0x6365726562  # of PostgreSQL, so that replicas that start together upgrade once


def upgrade(engine: Engine, tables: Tables, revision: str = "head") -> None:
    """Run the revisions that are missing, in one transaction."""
    with engine.connect() as connection, connection.begin():
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
        command.upgrade(_config(connection, tables), revision)


def differences(connection: Connection, tables: Tables) -> list[Any]:
    """What the tables lack, or have beyond the schema; empty when the revisions are complete."""
    context = MigrationContext.configure(connection, opts={"compare_type": True})
    return list(compare_metadata(context, schema(tables)))


def schema(tables: Tables) -> MetaData:
    """The tables as the code uses them."""
    return importlib.import_module(_SCHEMAS[tables]).metadata


def _config(connection: Connection, tables: Tables) -> Config:
    config = Config()
    config.set_main_option("path_separator", "newline")
    config.set_main_option("script_location", _escaped(_HERE))
    config.set_main_option("version_locations", _escaped(_HERE / tables))
    config.attributes["connection"] = connection
    return config


def _escaped(path: Path) -> str:
    return str(path).replace("%", "%%")  # a configuration file's own meaning of %
