"""The agent's first tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "agent_0001"
down_revision = None


def upgrade() -> None:
    """Create everything."""
    op.create_table(
        "assignments",
        sa.Column("id", sa.String(600), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("workflow", sa.String(600), nullable=False),
        sa.Column("workflow_name", sa.String(600), nullable=False),
        sa.Column("part", sa.Integer(), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("fence_after_s", sa.Float(), nullable=True),
        sa.Column("arrived_s", sa.Float(), nullable=False),
        sa.Column("confirmed", sa.Boolean(), nullable=False),
        sa.Column("local", sa.Boolean(), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("live", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_assignments_live", "assignments", ["live"])
    op.create_table(
        "energy",
        sa.Column("node", sa.String(253), nullable=False),
        sa.Column("idle_pj", sa.Text(), nullable=False),
        sa.Column("runs_pj", sa.Text(), nullable=False),
        sa.Column("until_us", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("node"),
    )
    op.create_table(
        "events",
        sa.Column("seq", sa.Integer(), nullable=False, autoincrement=True),
        sa.Column("unix_s", sa.Float(), nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("workflow", sa.String(600), nullable=False),
        sa.Column("task", sa.String(600), nullable=False),
        sa.Column("cluster", sa.String(253), nullable=False),
        sa.Column("data", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("seq"),
        sqlite_autoincrement=True,
    )
    op.create_index("events_task", "events", ["task", "seq"])
    op.create_table(
        "journal",
        sa.Column("seq", sa.Integer(), nullable=False, autoincrement=True),
        sa.Column("session", sa.Integer(), nullable=False),
        sa.Column("entries", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("seq"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "meta",
        sa.Column("key", sa.String(64), nullable=False),
        sa.Column("value", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("key"),
    )
    op.create_table(
        "reports",
        sa.Column("seq", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("uid", sa.String(600), nullable=False),
        sa.Column("final", sa.Boolean(), nullable=False),
        sa.Column("body", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("seq"),
    )
    op.create_table(
        "runs",
        sa.Column("run_id", sa.String(64), nullable=False),
        sa.Column("uid", sa.String(600), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("node", sa.String(253), nullable=False),
        sa.Column("gpus", sa.Integer(), nullable=False),
        sa.Column("cache_ways", sa.Integer(), nullable=False),
        sa.Column("phase", sa.String(16), nullable=False),
        sa.Column("stop", sa.String(16), nullable=False),
        sa.Column("started_s", sa.Float(), nullable=True),
        sa.Column("started_unix_s", sa.Float(), nullable=True),
        sa.PrimaryKeyConstraint("run_id"),
    )
    op.create_table(
        "tasks",
        sa.Column("uid", sa.String(600), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("assignment", sa.String(600), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("spec", sa.JSON(), nullable=False),
        sa.Column("rank_s", sa.Float(), nullable=False),
        sa.Column("after", sa.JSON(), nullable=False),
        sa.Column("inputs", sa.JSON(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("not_before_s", sa.Float(), nullable=False),
        sa.Column("ending", sa.String(16), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("node", sa.String(253), nullable=False),
        sa.Column("run_id", sa.String(64), nullable=False),
        sa.Column("ended_unix_s", sa.Float(), nullable=True),
        sa.Column("live", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("uid"),
    )
    op.create_index("ix_tasks_assignment", "tasks", ["assignment"])
    op.create_index("ix_tasks_live", "tasks", ["live"])
