"""The controller's first tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "controller_0001"
down_revision = None


def upgrade() -> None:
    """Create everything."""
    op.create_table(
        "agents",
        sa.Column("cluster", sa.Text(), nullable=False),
        sa.Column("identity", sa.Text(), nullable=False),
        sa.Column("report_seq", sa.BigInteger(), nullable=False),
        sa.Column("ack_number", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("cluster", "identity", name="pk_agents"),
    )
    op.create_table(
        "clusters",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("identity", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("cordoned", sa.Integer(), nullable=False),
        sa.Column("zone", sa.Text(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("nodes", sa.Text(), nullable=False),
        sa.Column("registered_unix_s", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_clusters"),
    )
    op.create_table(
        "events",
        sa.Column(
            "seq",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("unix_s", sa.Float(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("workflow_id", sa.Text(), nullable=True),
        sa.Column("task", sa.Text(), nullable=True),
        sa.Column("cluster", sa.Text(), nullable=True),
        sa.Column("data", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_events"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_events_workflow_id", "events", ["workflow_id", "seq"], unique=False)
    op.create_table(
        "idempotency",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("body_hash", sa.Text(), nullable=False),
        sa.Column("workflow_id", sa.Text(), nullable=False),
        sa.Column("unix_s", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "key", name="pk_idempotency"),
    )
    op.create_table(
        "leader",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("holder", sa.Text(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("counter", sa.BigInteger(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_leader"),
    )
    op.create_table(
        "meta",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_meta"),
    )
    op.create_table(
        "quotas",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("max_tasks", sa.BigInteger(), nullable=True),
        sa.Column("tasks", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", name="pk_quotas"),
    )
    op.create_table(
        "strays",
        sa.Column("cluster", sa.Text(), nullable=False),
        sa.Column("workflow_id", sa.Text(), nullable=False),
        sa.Column("idx", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("cluster", "workflow_id", "idx", name="pk_strays"),
    )
    op.create_table(
        "tokens",
        sa.Column("hash", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("scopes", sa.Text(), nullable=False),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("cluster", sa.Text(), nullable=False),
        sa.Column("created_unix_s", sa.Float(), nullable=False),
        sa.Column("revoked_unix_s", sa.Float(), nullable=True),
        sa.PrimaryKeyConstraint("hash", name="pk_tokens"),
    )
    op.create_table(
        "workflows",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("on_cluster_lost", sa.Text(), nullable=False),
        sa.Column("decomposition", sa.Text(), nullable=False),
        sa.Column("assignment", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("to_plan", sa.Integer(), nullable=False),
        sa.Column("cancel_requested", sa.Integer(), nullable=False),
        sa.Column("tasks", sa.Integer(), nullable=False),
        sa.Column("unended", sa.Integer(), nullable=False),
        sa.Column("succeeded", sa.Integer(), nullable=False),
        sa.Column("failed", sa.Integer(), nullable=False),
        sa.Column("cancelled", sa.Integer(), nullable=False),
        sa.Column("rejected", sa.Integer(), nullable=False),
        sa.Column("submitted_unix_s", sa.Float(), nullable=False),
        sa.Column("started_unix_s", sa.Float(), nullable=True),
        sa.Column("ended_unix_s", sa.Float(), nullable=True),
        sa.Column("spec", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_workflows"),
    )
    op.create_index("ix_workflows_state_id", "workflows", ["state", "id"], unique=False)
    op.create_index("ix_workflows_tenant_id", "workflows", ["tenant", "id"], unique=False)
    op.create_index(
        "ix_workflows_to_plan",
        "workflows",
        [sa.literal_column("priority DESC"), "id"],
        unique=False,
        sqlite_where=sa.text("to_plan = 1"),
        postgresql_where=sa.text("to_plan = 1"),
    )
    op.create_table(
        "assignments",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("workflow_id", sa.Text(), nullable=False),
        sa.Column("part", sa.Integer(), nullable=False),
        sa.Column("cluster", sa.Text(), nullable=False),
        sa.Column("identity", sa.Text(), nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("tasks", sa.Integer(), nullable=False),
        sa.Column("fence_after_s", sa.Float(), nullable=True),
        sa.Column("offered_unix_s", sa.Float(), nullable=False),
        sa.Column("held_unix_s", sa.Float(), nullable=True),
        sa.ForeignKeyConstraint(
            ["workflow_id"], ["workflows.id"], name="fk_assignments_workflow_id"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_assignments"),
    )
    op.create_index(
        "ix_assignments_open",
        "assignments",
        ["cluster"],
        unique=False,
        sqlite_where=sa.text("state = 'offered'"),
        postgresql_where=sa.text("state = 'offered'"),
    )
    op.create_index("ix_assignments_workflow_id", "assignments", ["workflow_id"], unique=False)
    op.create_table(
        "parts",
        sa.Column("workflow_id", sa.Text(), nullable=False),
        sa.Column("part", sa.Integer(), nullable=False),
        sa.Column("cluster", sa.Text(), nullable=True),
        sa.Column("tasks", sa.Integer(), nullable=False),
        sa.Column("core_s", sa.Float(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["workflow_id"], ["workflows.id"], name="fk_parts_workflow_id"),
        sa.PrimaryKeyConstraint("workflow_id", "part", name="pk_parts"),
    )
    op.create_table(
        "tasks",
        sa.Column("workflow_id", sa.Text(), nullable=False),
        sa.Column("idx", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("part", sa.Integer(), nullable=True),
        sa.Column("cluster", sa.Text(), nullable=True),
        sa.Column("assignment", sa.Text(), nullable=True),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("waits_remote", sa.Integer(), nullable=False),
        sa.Column("cancel_requested", sa.Integer(), nullable=False),
        sa.Column("cpu_milli", sa.Integer(), nullable=False),
        sa.Column("core_s", sa.Float(), nullable=False),
        sa.Column("rank_s", sa.Float(), nullable=False),
        sa.Column("node", sa.Text(), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("attempt", sa.BigInteger(), nullable=False),
        sa.Column("exit_code", sa.BigInteger(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("energy_j", sa.Float(), nullable=False),
        sa.Column("started_unix_s", sa.Float(), nullable=True),
        sa.Column("ended_unix_s", sa.Float(), nullable=True),
        sa.ForeignKeyConstraint(["workflow_id"], ["workflows.id"], name="fk_tasks_workflow_id"),
        sa.PrimaryKeyConstraint("workflow_id", "idx", name="pk_tasks"),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "ix_tasks_active",
        "tasks",
        ["cluster", "state"],
        unique=False,
        sqlite_where=sa.text("state IN ('assigned', 'offered', 'held', 'running')"),
        postgresql_where=sa.text("state IN ('assigned', 'offered', 'held', 'running')"),
    )
    op.create_index(
        "ix_tasks_cancelling",
        "tasks",
        ["cluster"],
        unique=False,
        sqlite_where=sa.text("cancel_requested = 1 AND state IN ('held', 'running')"),
        postgresql_where=sa.text("cancel_requested = 1 AND state IN ('held', 'running')"),
    )
    op.create_index(
        "ix_tasks_dispatchable",
        "tasks",
        ["cluster", sa.literal_column("priority DESC"), "workflow_id", "position"],
        unique=False,
        sqlite_where=sa.text("state = 'assigned' AND waits_remote = 0"),
        postgresql_where=sa.text("state = 'assigned' AND waits_remote = 0"),
    )
    op.create_index(
        "ix_tasks_out",
        "tasks",
        ["assignment"],
        unique=False,
        sqlite_where=sa.text("state IN ('offered', 'held', 'running')"),
        postgresql_where=sa.text("state IN ('offered', 'held', 'running')"),
    )
