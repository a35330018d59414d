"""The controller's tables. Times are Unix seconds, JSON is compact text, 0/1 columns are integers.

A task is named `(workflow_id, idx)` here, idx its place in the submitted list, and `uid` in the
federation (see `uid`). Conditions that a partial index needs are constants with literal values:
SQLite does not recognise a partial index behind a bound parameter. In PostgreSQL and SQLite alike
all writes go through one leader, so counters in rows (`unended`, `tasks`) are never contended.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    text,
)

from cerebrum.services.wire import TERMINAL

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# A row number that grows: SQLite gives those only to INTEGER, PostgreSQL's should not end at 2^31.
_SEQUENCE = BigInteger().with_variant(Integer(), "sqlite")

ACTIVE = ("assigned", "offered", "held", "running")
"""States of a task that has a cluster and no end."""
WORKFLOW_STATES = ("pending", "running", *TERMINAL)

DISPATCHABLE = text("tasks.state = 'assigned' AND tasks.waits_remote = 0")
IS_ACTIVE = text("tasks.state IN ('assigned', 'offered', 'held', 'running')")
IS_OUT = text("tasks.state IN ('offered', 'held', 'running')")
CANCELLING = text("tasks.cancel_requested = 1 AND tasks.state IN ('held', 'running')")
TO_PLAN = text("workflows.to_plan = 1")
OPEN_OFFER = text("assignments.state = 'offered'")


def _bare(condition: object) -> object:
    """The condition without the table's name, as an index wants it."""
    return text(str(condition).replace("tasks.", "").replace("workflows.", ""))


# One row, id 1. `counter` moves with every renewal: a standby that sees (holder, counter, epoch)
# unchanged for the ttl on its own clock takes over. An empty holder has resigned.
leader = Table(
    "leader",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("holder", Text, nullable=False),
    Column("url", Text, nullable=False),
    Column("counter", BigInteger, nullable=False),
    Column("epoch", BigInteger, nullable=False),
)

# state: live | lost. `nodes` is a JSON list of wire.NodeSpec. `cordoned` 1: gets nothing new.
clusters = Table(
    "clusters",
    metadata,
    Column("id", Text, primary_key=True),
    Column("identity", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("cordoned", Integer, nullable=False),
    Column("zone", Text, nullable=False),
    Column("url", Text, nullable=False),
    Column("version", Text, nullable=False),
    Column("nodes", Text, nullable=False),
    Column("registered_unix_s", Float, nullable=False),
)

# Every agent database that ever was a cluster's. `report_seq`: highest report applied (rule 8);
# `ack_number`: highest ack applied, by which a sync that was overtaken by it is recognised.
agents = Table(
    "agents",
    metadata,
    Column("cluster", Text, nullable=False),
    Column("identity", Text, nullable=False),
    Column("report_seq", BigInteger, nullable=False),
    Column("ack_number", BigInteger, nullable=False),
    PrimaryKeyConstraint("cluster", "identity"),
)

# `spec` is zlib-compressed JSON of wire.WorkflowSpec, immutable. The four counters say how many
# tasks ended how; `unended` reaches 0 when the workflow ends. `to_plan` 1: has pending tasks that
# want a cluster. `decomposition`, `assignment`: names of the policies asked for ('': default), and
# once it is planned of those that were used. `reason`: why it waits, or why it ended as it did.
workflows = Table(
    "workflows",
    metadata,
    Column("id", Text, primary_key=True),
    Column("tenant", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("priority", Integer, nullable=False),
    Column("on_cluster_lost", Text, nullable=False),
    Column("decomposition", Text, nullable=False),
    Column("assignment", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("to_plan", Integer, nullable=False),
    Column("cancel_requested", Integer, nullable=False),
    Column("tasks", Integer, nullable=False),
    Column("unended", Integer, nullable=False),
    Column("succeeded", Integer, nullable=False),
    Column("failed", Integer, nullable=False),
    Column("cancelled", Integer, nullable=False),
    Column("rejected", Integer, nullable=False),
    Column("submitted_unix_s", Float, nullable=False),
    Column("started_unix_s", Float),
    Column("ended_unix_s", Float),
    Column("spec", LargeBinary, nullable=False),
)
Index("ix_workflows_tenant_id", workflows.c.tenant, workflows.c.id)
Index("ix_workflows_state_id", workflows.c.state, workflows.c.id)
Index(
    "ix_workflows_to_plan",
    workflows.c.priority.desc(),
    workflows.c.id,
    sqlite_where=_bare(TO_PLAN),
    postgresql_where=_bare(TO_PLAN),
)

idempotency = Table(
    "idempotency",
    metadata,
    Column("tenant", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("body_hash", Text, nullable=False),
    Column("workflow_id", Text, nullable=False),
    Column("unix_s", Float, nullable=False),
    PrimaryKeyConstraint("tenant", "key"),
)

# `position`: order of dispatch in the workflow, by falling HEFT rank, each task after all it
# depends on. `waits_remote`: predecessors that keep it from being offered (see controller/plan.py).
# `cluster`, `assignment`, `generation`: where it is or was last.
tasks = Table(
    "tasks",
    metadata,
    Column("workflow_id", Text, ForeignKey("workflows.id"), nullable=False),
    Column("idx", Integer, nullable=False),
    Column("name", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("priority", Integer, nullable=False),
    Column("position", Integer, nullable=False),
    Column("part", Integer),
    Column("cluster", Text),
    Column("assignment", Text),
    Column("generation", BigInteger, nullable=False),
    Column("waits_remote", Integer, nullable=False),
    Column("cancel_requested", Integer, nullable=False),
    Column("cpu_milli", Integer, nullable=False),
    Column("core_s", Float, nullable=False),
    Column("rank_s", Float, nullable=False),
    Column("node", Text, nullable=False),
    Column("run_id", Text, nullable=False),
    Column("attempt", BigInteger, nullable=False),
    Column("exit_code", BigInteger),
    Column("reason", Text, nullable=False),
    Column("energy_j", Float, nullable=False),
    Column("started_unix_s", Float),
    Column("ended_unix_s", Float),
    PrimaryKeyConstraint("workflow_id", "idx"),
    sqlite_with_rowid=False,
)
for _name, _columns, _where in (
    (
        "ix_tasks_dispatchable",
        (tasks.c.cluster, tasks.c.priority.desc(), tasks.c.workflow_id, tasks.c.position),
        DISPATCHABLE,
    ),
    ("ix_tasks_active", (tasks.c.cluster, tasks.c.state), IS_ACTIVE),
    ("ix_tasks_out", (tasks.c.assignment,), IS_OUT),
    ("ix_tasks_cancelling", (tasks.c.cluster,), CANCELLING),
):
    Index(_name, *_columns, sqlite_where=_bare(_where), postgresql_where=_bare(_where))

# One row per part of a planned workflow; `tasks`, `core_s` as planned.
parts = Table(
    "parts",
    metadata,
    Column("workflow_id", Text, ForeignKey("workflows.id"), nullable=False),
    Column("part", Integer, nullable=False),
    Column("cluster", Text),
    Column("tasks", Integer, nullable=False),
    Column("core_s", Float, nullable=False),
    Column("reason", Text, nullable=False),
    PrimaryKeyConstraint("workflow_id", "part"),
)

# state: offered -> held | withdrawn. `identity`: the agent database it was offered to.
# `fence_after_s` NULL: none. All its tasks have its generation while they are out with it.
assignments = Table(
    "assignments",
    metadata,
    Column("id", Text, primary_key=True),
    Column("workflow_id", Text, ForeignKey("workflows.id"), nullable=False),
    Column("part", Integer, nullable=False),
    Column("cluster", Text, nullable=False),
    Column("identity", Text, nullable=False),
    Column("generation", BigInteger, nullable=False),
    Column("state", Text, nullable=False),
    Column("tasks", Integer, nullable=False),
    Column("fence_after_s", Float),
    Column("offered_unix_s", Float, nullable=False),
    Column("held_unix_s", Float),
)
Index("ix_assignments_workflow_id", assignments.c.workflow_id)
Index(
    "ix_assignments_open",
    assignments.c.cluster,
    sqlite_where=text("state = 'offered'"),
    postgresql_where=text("state = 'offered'"),
)

# Runs that a cluster has to end although their task is no longer its: every poll says so until it
# reports the end, and the task is not offered to that cluster before.
strays = Table(
    "strays",
    metadata,
    Column("cluster", Text, nullable=False),
    Column("workflow_id", Text, nullable=False),
    Column("idx", Integer, nullable=False),
    Column("name", Text, nullable=False),
    Column("generation", BigInteger, nullable=False),
    PrimaryKeyConstraint("cluster", "workflow_id", "idx"),
)

# History, and outbox of the message bus (its cursor is meta['bus_cursor']). `task` is the name
# inside the workflow. Written by one leader at a time, so `seq` grows in the order of commits.
events = Table(
    "events",
    metadata,
    Column("seq", _SEQUENCE, primary_key=True, autoincrement=True),
    Column("unix_s", Float, nullable=False),
    Column("kind", Text, nullable=False),
    Column("workflow_id", Text),
    Column("task", Text),
    Column("cluster", Text),
    Column("data", Text, nullable=False),
    sqlite_autoincrement=True,
)
Index("ix_events_workflow_id", events.c.workflow_id, events.c.seq)

# `hash`: SHA-256 of the bearer token, hexadecimal. `scopes`: words with spaces between them.
# `cluster`: the only cluster an agent token may speak for.
tokens = Table(
    "tokens",
    metadata,
    Column("hash", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("scopes", Text, nullable=False),
    Column("tenant", Text, nullable=False),
    Column("cluster", Text, nullable=False),
    Column("created_unix_s", Float, nullable=False),
    Column("revoked_unix_s", Float),
)

# `tasks`: unended tasks of the tenant now; `max_tasks`: how many there may be (NULL: default).
quotas = Table(
    "quotas",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("max_tasks", BigInteger),
    Column("tasks", BigInteger, nullable=False),
)

meta = Table(
    "meta",
    metadata,
    Column("key", Text, primary_key=True),
    Column("value", Text, nullable=False),
)


def uid(workflow_id: str, name: str) -> str:
    """A task's name in the federation."""
    return f"{workflow_id}/{name}"


def split_uid(text_: str) -> tuple[str, str]:
    """`(workflow id, task name)`; a name may hold slashes, an id does not."""
    workflow_id, _, name = text_.partition("/")
    return workflow_id, name
