"""Where controller and agent keep what must survive: SQLite or PostgreSQL, written in groups."""

from cerebrum.services.store.database import Database

__all__ = ["Database"]
