"""The agent's tables. The first migration under `store/migrations/agent` creates the same."""

from __future__ import annotations

from sqlalchemy import JSON, Boolean, Column, Float, Index, Integer, MetaData, String, Table, Text

metadata = MetaData()

meta = Table(
    "meta",
    metadata,
    Column("key", String(64), primary_key=True),
    Column("value", JSON, nullable=False),
)
"""Single values: identity, epoch, report_seq, contact_s, boot_id, cordoned, session."""

assignments = Table(
    "assignments",
    metadata,
    Column("id", String(600), primary_key=True),
    Column("number", Integer, nullable=False),
    Column("generation", Integer, nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("workflow", String(600), nullable=False),
    Column("workflow_name", String(600), nullable=False),
    Column("part", Integer, nullable=False),
    Column("priority", Integer, nullable=False),
    Column("fence_after_s", Float),
    Column("arrived_s", Float, nullable=False),
    Column("confirmed", Boolean, nullable=False),
    Column("local", Boolean, nullable=False),
    Column("digest", String(64), nullable=False),
    Column("live", Boolean, nullable=False, index=True),
)
"""What was offered. `live` while a task of it has not ended; `digest` of a direct submission."""

tasks = Table(
    "tasks",
    metadata,
    Column("uid", String(600), primary_key=True),
    Column("number", Integer, nullable=False),
    Column("assignment", String(600), nullable=False, index=True),
    Column("generation", Integer, nullable=False),
    Column("spec", JSON, nullable=False),
    Column("rank_s", Float, nullable=False),
    Column("after", JSON, nullable=False),
    Column("inputs", JSON, nullable=False),
    Column("state", String(16), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("failures", Integer, nullable=False),
    Column("not_before_s", Float, nullable=False),
    Column("ending", String(16), nullable=False),
    Column("reason", Text, nullable=False),
    Column("node", String(253), nullable=False),
    Column("run_id", String(64), nullable=False),
    Column("ended_unix_s", Float),
    Column("live", Boolean, nullable=False, index=True),
)
"""One row a task; rows of ended ones stay a while, since later offers may depend on them."""

runs = Table(
    "runs",
    metadata,
    Column("run_id", String(64), primary_key=True),
    Column("uid", String(600), nullable=False),
    Column("generation", Integer, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("node", String(253), nullable=False),
    Column("gpus", Integer, nullable=False),
    Column("cache_ways", Integer, nullable=False),
    Column("phase", String(16), nullable=False),
    Column("stop", String(16), nullable=False),
    Column("started_s", Float),
    Column("started_unix_s", Float),
)
"""Runs that the executor has not been told to forget. `stop`: why an end was asked for."""

reports = Table(
    "reports",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("uid", String(600), nullable=False),
    Column("final", Boolean, nullable=False),
    Column("body", JSON, nullable=False),
)
"""What the controller has not confirmed yet."""

events = Table(
    "events",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=True),
    Column("unix_s", Float, nullable=False),
    Column("kind", String(32), nullable=False),
    Column("workflow", String(600), nullable=False),
    Column("task", String(600), nullable=False),
    Column("cluster", String(253), nullable=False),
    Column("data", JSON, nullable=False),
    Index("events_task", "task", "seq"),
    sqlite_autoincrement=True,
)
"""The history, as `docs/reference/federation.md` lists it."""

journal = Table(
    "journal",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=True),
    Column("session", Integer, nullable=False),
    Column("entries", Text, nullable=False),
    sqlite_autoincrement=True,
)
"""What the engine was told and what the policy answered, for `replay`: a row per transaction."""

energy = Table(
    "energy",
    metadata,
    Column("node", String(253), primary_key=True),
    Column("idle_pj", Text, nullable=False),
    Column("runs_pj", Text, nullable=False),
    Column("until_us", Text, nullable=False),
)
"""Energy of each node in whole picojoules (as text: they outgrow 64 bits), up to `until_us`."""
