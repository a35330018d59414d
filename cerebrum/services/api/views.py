"""What the controller's API answers with. Times are Unix seconds, energy joules."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

WorkflowState = Literal["pending", "running", "succeeded", "failed", "cancelled", "rejected"]
TaskState = Literal[
    "pending", "assigned", "offered", "held", "running",
    "succeeded", "failed", "cancelled", "rejected",
]  # fmt: skip


class View(BaseModel):
    """Built from a database row."""

    model_config = ConfigDict(from_attributes=True, frozen=True)


class WorkflowView(View):
    """A workflow; the four counts say how many of its `tasks` ended how."""

    id: str
    tenant: str
    name: str
    kind: str
    state: WorkflowState
    reason: str
    priority: int
    on_cluster_lost: str
    decomposition: str
    assignment: str
    cancel_requested: bool
    tasks: int
    unended: int
    succeeded: int
    failed: int
    cancelled: int
    rejected: int
    submitted_unix_s: float
    started_unix_s: float | None
    ended_unix_s: float | None


class PartView(View):
    """A sub-workflow: which cluster it went to, and why."""

    part: int
    cluster: str | None
    tasks: int
    core_s: float
    reason: str


class WorkflowDetail(WorkflowView):
    """With its parts, once it is planned; `clusters` counts tasks, `energy_j` adds up."""

    parts: list[PartView]
    clusters: dict[str, int]
    energy_j: float


class Accepted(View):
    """A submission that is on disk. The same key and body give the same answer again."""

    id: str
    name: str
    tenant: str
    tasks: int


class TaskView(View):
    """A task. `uid` is its name in the federation: workflow id, slash, name."""

    uid: str
    workflow: str
    name: str
    state: TaskState
    part: int | None
    cluster: str | None
    node: str
    assignment: str | None
    generation: int
    attempt: int
    run_id: str
    cancel_requested: bool
    cpu_milli: int
    rank_s: float
    exit_code: int | None
    reason: str
    energy_j: float
    started_unix_s: float | None
    ended_unix_s: float | None


class EventView(View):
    """Something that happened; `seq` only grows. `task` is the name inside the workflow."""

    seq: int
    unix_s: float
    kind: str
    workflow: str | None
    task: str | None
    cluster: str | None
    data: dict[str, Any]


class TaskDetail(TaskView):
    """With what was asked for, and everything that happened to it, oldest first."""

    spec: dict[str, Any]
    after: list[str]
    events: list[EventView]


class NodeView(View):
    """A node as its agent declared it."""

    name: str
    cluster: str
    cpu_milli: int
    memory_mib: int
    gpu_count: int
    gpu_model: str
    speed: float
    schedulable: bool


class ClusterView(View):
    """A cluster: what it has, and how many of our tasks are there in each state."""

    id: str
    state: str
    cordoned: bool
    zone: str
    url: str
    version: str
    nodes: int
    cpu_milli: int
    memory_mib: int
    gpu_count: int
    registered_unix_s: float
    tasks: dict[str, int]


class AssignmentView(View):
    """Tasks of one part, given to a cluster at one moment."""

    id: str
    workflow: str
    part: int
    cluster: str
    generation: int
    state: str
    tasks: int
    fence_after_s: float | None
    offered_unix_s: float
    held_unix_s: float | None


class QuotaView(View):
    """A tenant's unended `tasks`, and the `limit` they may reach: its own `max_tasks`, or that of
    every tenant that has none."""

    tenant: str
    tasks: int
    limit: int
    max_tasks: int | None


class PolicyView(View):
    """A policy that can be named, and what it is for."""

    name: str
    role: Literal["decomposition", "assignment", "placement"]
    about: str


class Version(View):
    """Which program answers."""

    version: str
    api: str = "v1"
    role: Literal["controller", "agent", "models"]


class Readiness(View):
    """Whether the database answers, and whether this replica leads."""

    status: Literal["ready"]
    leader: bool


class Done(View):
    """What was asked for is on its way."""

    status: str


class PrototypeAccepted(View):
    """The prototype's answer, and what it lacked: a name to ask by."""

    status: str
    id: str


Cursor = Annotated[str | None, Field(description="Give it as `cursor` for the next page.")]


class Workflows(View):
    """A page, newest first."""

    items: list[WorkflowView]
    next: Cursor = None


class Tasks(View):
    """A page, by workflow and place in it."""

    items: list[TaskView]
    next: Cursor = None


class Clusters(View):
    """A page, by id."""

    items: list[ClusterView]
    next: Cursor = None


class Nodes(View):
    """A page, by cluster and name."""

    items: list[NodeView]
    next: Cursor = None


class Assignments(View):
    """A page, newest first."""

    items: list[AssignmentView]
    next: Cursor = None


class Quotas(View):
    """A page, by tenant."""

    items: list[QuotaView]
    next: Cursor = None


class Policies(View):
    """All of them."""

    items: list[PolicyView]


class Events(View):
    """A page; ask on with `after=next`."""

    items: list[EventView]
    next: int
