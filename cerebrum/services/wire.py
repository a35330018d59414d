"""Messages between clients, controller and agents: strict, bounded, no unknown keys.

Documented in docs/reference/federation.md. Numbers are finite; sizes are bounded here, so that no
message can ask for more than a machine has.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from cerebrum.model.resources import GPU_MILLI, Resources

NAME = r"^[A-Za-z0-9]([A-Za-z0-9._:/-]{0,251}[A-Za-z0-9])?$"
MAX_TASKS = 1_000_000
MAX_DEPENDENCIES = 10_000_000

Name = Annotated[str, Field(pattern=NAME)]
Seconds = Annotated[float, Field(ge=0, le=3.2e9, allow_inf_nan=False)]
Megabytes = Annotated[float, Field(ge=0, le=1e12, allow_inf_nan=False)]
Whole = Annotated[int, Field(ge=0, le=2**53)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Text = Annotated[str, Field(max_length=8192)]
OnClusterLost = Literal["wait", "replace", "never"]
Result = Literal["succeeded", "failed", "cancelled"]
Change = Literal["running", "succeeded", "failed", "cancelled", "waiting"]
TERMINAL = ("succeeded", "failed", "cancelled", "rejected")
"""States that neither a task nor a workflow leaves."""


class Message(BaseModel):
    """Strict (no text for numbers, no true for 1), frozen, no unknown keys, no NaN."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)


class TaskSpec(Message):
    """One task. Without `command` and `image` it stands for `duration_s` of work."""

    name: Name
    cpu_milli: Annotated[int, Field(ge=0, le=10_000_000)] = 100
    memory_mib: Annotated[int, Field(ge=0, le=100_000_000)] = 0
    gpu_count: Annotated[int, Field(ge=0, le=16)] = 0
    gpu_milli: Annotated[int, Field(ge=0, le=1000)] = 0
    gpu_models: list[Name] = Field(default_factory=list[str], max_length=64)
    duration_s: Seconds = 0.0
    image: Text = ""
    command: list[Text] = Field(default_factory=list[str], max_length=1000)
    env: dict[Annotated[str, Field(max_length=256)], Text] = Field(
        default_factory=dict[str, str], max_length=1000
    )
    workdir: Annotated[str, Field(max_length=4096)] = ""
    timeout_s: Annotated[float, Field(gt=0, le=3.2e9, allow_inf_nan=False)] | None = None
    max_attempts: Annotated[int, Field(ge=1, le=100)] = 3
    backoff_s: Annotated[float, Field(ge=0, le=86_400, allow_inf_nan=False)] = 1.0

    @property
    def resources(self) -> Resources:
        """What it asks for; GPUs without thousandths are whole ones.

        Raises `InputError` for what contradicts itself.
        """
        gpu_milli = self.gpu_milli or (GPU_MILLI if self.gpu_count else 0)
        return Resources(self.cpu_milli, self.memory_mib, self.gpu_count, gpu_milli)


class DependencySpec(Message):
    """`after` may start when `before` has succeeded."""

    before: Name
    after: Name
    volume_mb: Megabytes = 0.0


class WorkflowSpec(Message):
    """A submission. `kind` "job" is a batch of tasks without dependencies.

    `on_cluster_lost`: what happens to tasks whose cluster does not answer: `replace` gives them to
    another as soon as that is safe, `wait` after the controller's patience, `never` not at all.
    """

    name: Name
    kind: Literal["workflow", "job"] = "workflow"
    tasks: list[TaskSpec] = Field(min_length=1, max_length=MAX_TASKS)
    dependencies: list[DependencySpec] = Field(
        default_factory=list[DependencySpec], max_length=MAX_DEPENDENCIES
    )
    priority: Annotated[int, Field(ge=-1_000_000, le=1_000_000)] = 0
    on_cluster_lost: OnClusterLost = "wait"
    decomposition: Annotated[str, Field(max_length=200)] = ""
    assignment: Annotated[str, Field(max_length=200)] = ""


class NodeSpec(Message):
    """A node as its agent declares it."""

    name: Name
    cpu_milli: Annotated[int, Field(ge=0, le=10_000_000)]
    memory_mib: Annotated[int, Field(ge=0, le=1_000_000_000)]
    gpu_count: Annotated[int, Field(ge=0, le=16)] = 0
    gpu_model: Annotated[str, Field(max_length=100)] = ""
    speed: Annotated[float, Field(gt=0, le=1000, allow_inf_nan=False)] = 1.0
    schedulable: bool = True
    labels: dict[Annotated[str, Field(max_length=317)], Annotated[str, Field(max_length=253)]] = (
        Field(default_factory=dict[str, str], max_length=256)
    )


class NodeStatus(Message):
    """What a node has free now, and what is forecast for it."""

    name: Name
    cpu_free_milli: Annotated[int, Field(ge=0, le=10_000_000)]
    memory_free_mib: Annotated[int, Field(ge=0, le=1_000_000_000)]
    gpu_free: Annotated[int, Field(ge=0, le=16)] = 0
    schedulable: bool = True
    forecast_cpu: Share = 0.0


class Register(Message):
    """`identity` is a secret of the agent's own database: two agents with one id differ in it.

    `held` lists the assignments it holds, so that a registration is a reconciliation too.
    """

    cluster: Name
    identity: Annotated[str, Field(min_length=16, max_length=128)]
    nodes: list[NodeSpec] = Field(min_length=0, max_length=20_000)
    zone: Annotated[str, Field(max_length=100)] = ""
    url: Annotated[str, Field(max_length=2000)] = ""
    version: Annotated[str, Field(max_length=100)] = ""
    epoch: Whole = 0


class Registered(Message):
    """`lease_s` seconds without contact after which the controller counts a cluster as lost."""

    epoch: Whole
    lease_s: Seconds
    poll_s: Seconds
    report_seq: Whole


class Bid(Message):
    """An agent's bid for a part: higher wins. `start_s`, `finish_s` seconds from now it expects."""

    auction: Annotated[str, Field(max_length=200)]
    value: Annotated[float, Field(ge=-1e12, le=1e12, allow_inf_nan=False)]
    finish_s: Seconds = 0.0


class Poll(Message):
    """One contact. Renews the leases of everything the agent holds."""

    cluster: Name
    identity: Annotated[str, Field(min_length=16, max_length=128)]
    epoch: Whole
    wait_s: Annotated[float, Field(ge=0, le=60, allow_inf_nan=False)] = 0.0
    nodes: list[NodeStatus] = Field(default_factory=list[NodeStatus], max_length=20_000)
    waiting: Whole = 0
    running: Whole = 0
    backlog_core_s: Annotated[float, Field(ge=0, le=1e15, allow_inf_nan=False)] = 0.0
    bids: list[Bid] = Field(default_factory=list[Bid], max_length=1000)


class OfferedTask(Message):
    """A task of an offer. `uid` is unique in the federation; `rank_s` HEFT's upward rank.

    `inputs` are megabytes to fetch from other clusters: data of predecessors that ran there.
    """

    uid: Annotated[str, Field(max_length=600)]
    spec: TaskSpec
    rank_s: Seconds = 0.0
    after: list[Annotated[str, Field(max_length=600)]] = Field(default_factory=list[str])
    inputs: dict[Name, Megabytes] = Field(default_factory=dict[str, float])


class Offer(Message):
    """An assignment: tasks of one workflow for one cluster, whose predecessors in other clusters
    have all succeeded; `after` of a task names predecessors in this cluster, offered now or before.

    `fence_after_s`: without contact for that long the agent must have ended these tasks, since the
    controller may then give them to another cluster; None: it keeps them whatever happens.
    """

    assignment: Name
    generation: Annotated[int, Field(ge=1, le=2**31)]
    epoch: Whole
    workflow: Name
    workflow_name: Name
    part: Whole = 0
    priority: int = 0
    fence_after_s: Seconds | None = None
    tasks: list[OfferedTask] = Field(min_length=1)


class Auction(Message):
    """A part to bid for: what it asks for in all, and where its data lies (MB by cluster)."""

    auction: Annotated[str, Field(max_length=200)]
    tasks: Whole
    core_s: Annotated[float, Field(ge=0, le=1e15, allow_inf_nan=False)]
    critical_path_s: Seconds
    largest_cpu_milli: Whole
    largest_memory_mib: Whole
    largest_gpu_count: Whole = 0
    data_mb: dict[Name, Megabytes] = Field(default_factory=dict[str, float])


class Offers(Message):
    """The answer to a poll. `cancel` task uids to end; `resync` asks for a `Sync` at once."""

    epoch: Whole
    offers: list[Offer] = Field(default_factory=list[Offer])
    cancel: list[str] = Field(default_factory=list[str])
    cordon: bool = False
    auctions: list[Auction] = Field(default_factory=list[Auction])
    resync: bool = False


class Ack(Message):
    """The agent has stored these offers: (assignment, generation).

    `number` is 1, 2, 3 ... for the acks of one agent database, a repeated one keeps its own or
    takes a new one; 0: not counted (see `Sync.acks`).
    """

    cluster: Name
    identity: Annotated[str, Field(min_length=16, max_length=128)]
    epoch: Whole
    number: Whole = 0
    stored: list[tuple[Name, int]] = Field(max_length=100_000)
    refused: dict[Name, Text] = Field(default_factory=dict[str, str])


class Acked(Message):
    """`confirmed` may start; `dropped` were taken back meanwhile and must be forgotten."""

    epoch: Whole
    confirmed: list[str]
    dropped: list[str] = Field(default_factory=list[str])


class TaskReport(Message):
    """What became of a task. `seq` grows by one with each report of this agent's database.

    `generation` is that of the offer it ran under. `waiting` carries the reason it is not placed.
    """

    seq: Annotated[int, Field(ge=1, le=2**53)]
    uid: Annotated[str, Field(max_length=600)]
    generation: Annotated[int, Field(ge=1, le=2**31)]
    change: Change
    node: Annotated[str, Field(max_length=253)] = ""
    run_id: Annotated[str, Field(max_length=64)] = ""
    attempt: Whole = 0
    unix_s: Annotated[float, Field(ge=0, le=1e11, allow_inf_nan=False)] = 0.0
    started_unix_s: Annotated[float, Field(ge=0, le=1e11, allow_inf_nan=False)] | None = None
    exit_code: int | None = None
    reason: Text = ""
    energy_j: Annotated[float, Field(ge=0, le=1e15, allow_inf_nan=False)] = 0.0


class Report(Message):
    """Task reports in the order of their `seq`."""

    cluster: Name
    identity: Annotated[str, Field(min_length=16, max_length=128)]
    epoch: Whole
    reports: list[TaskReport] = Field(max_length=10_000)


class Reported(Message):
    """Everything up to `seq` is on the controller's disk: the agent may forget it."""

    epoch: Whole
    seq: Whole


class Sync(Message):
    """Everything the agent holds: assignment -> generation, and task uid -> its state.

    `acks` is the highest `Ack.number` used when this list was read: a list that was overtaken by a
    later ack (late, or repeated by the network) must not make the controller take back what that
    ack stored. 0: not counted; then what was confirmed within the last lease is left alone.
    """

    cluster: Name
    identity: Annotated[str, Field(min_length=16, max_length=128)]
    epoch: Whole
    acks: Whole = 0
    held: dict[Name, int]
    tasks: dict[str, Literal["unconfirmed", "waiting", "running", "ended"]]


class Synced(Message):
    """`drop` are task uids that are not the agent's (any more): end and forget them."""

    epoch: Whole
    drop: list[str] = Field(default_factory=list[str])
