"""Settings of the two servers: command line, else environment (`CEREBRUM_*`), else default."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr, model_validator

from cerebrum.model.errors import InputError
from cerebrum.policies.learned.ladder import parse_target
from cerebrum.services.api.server_settings import Port, ServerSettings, load
from cerebrum.services.rollouts import RolloutSettings

__all__ = ["GccSettings", "LcaSettings", "RolloutOptions", "ServerSettings", "load"]


class RolloutOptions(ServerSettings):
    """A candidate beside the policy (see `services.rollouts`): empty for none. `rollout` is the
    mode it begins in; once a mode is stored, that one holds."""

    candidate: Annotated[str, Field(max_length=2000)] = ""
    rollout: Annotated[str, Field(max_length=40)] = "shadow"
    explore: Annotated[float, Field(ge=0, lt=1)] = 0.0
    candidate_deadline_s: Annotated[float, Field(gt=0, le=600)] = 0.1
    candidate_patience_s: Annotated[float, Field(ge=0, le=1e9)] = 0.0

    @model_validator(mode="after")
    def _rollout_is_one(self) -> RolloutOptions:
        try:
            parse_target(self.rollout)
        except InputError as problem:
            raise ValueError(str(problem)) from None
        return self

    def rollout_settings(self) -> RolloutSettings | None:
        """None: there is no candidate."""
        if not self.candidate:
            return None
        return RolloutSettings(
            self.candidate, self.rollout, self.explore, self.candidate_deadline_s,
            self.candidate_patience_s,
        )  # fmt: skip


class GccSettings(RolloutOptions):
    """The controller. `amqp_url` turns on the message bus; `decomposition` and `assignment` are
    what workflows get that name none; `name` tells replicas apart (default: host and process);
    `tokens_file` brings tokens from a mounted secret (see `token_file`)."""

    port: Port = 8000
    database: str = "sqlite:///cerebrum.db"
    name: Annotated[str, Field(max_length=200)] = ""
    lease_s: Annotated[float, Field(gt=0, le=86_400)] = 30.0
    margin_s: Annotated[float, Field(ge=0, le=86_400)] = 10.0
    patience_s: Annotated[float, Field(ge=0, le=1e7)] = 300.0
    leader_ttl_s: Annotated[float, Field(gt=0, le=3600)] = 10.0
    window_tasks: Annotated[int, Field(ge=1, le=1_000_000)] = 2000
    max_tasks: Annotated[int, Field(ge=1)] = 2_000_000
    tenant_tasks: Annotated[int, Field(ge=1)] = 1_000_000
    decomposition: str = "cerebrum"
    assignment: str = "cerebrum"
    tokens_file: Path | None = None
    amqp_url: SecretStr = SecretStr("")
    amqp_exchange: Annotated[str, Field(min_length=1, max_length=200)] = "cerebrum"


class LcaSettings(RolloutOptions):
    """The agent. `gcc_url` one address or several (replicas), with commas between them.

    `nodes` are kinds such as `2x4000m,8Gi`, or `nodes_file` names a file that `cerebrum traces`
    reads; neither: this machine. `token` is for the controller, `api_token` what callers of this
    agent's own API have to show.

    For the executor `kubernetes`: `kubeconfig` and `kube_context` (None: as kubectl finds them, or
    the pod's own account); `namespace` of the runs (empty: the context's); `mode` of the pod
    scheduler for pods whose schedulerName is `scheduler_name`; `placement` of runs (empty:
    `affinity` to that scheduler where it binds, else `direct`); `pod_template` a file; `image` for
    tasks without one; `start_timeout_s` until a pod has to run; `kube_qps` requests a second;
    `extender` answers the stock scheduler's questions, `extender_open` to callers without a token
    too (binds excepted); `extender_shortlist` is how many nodes its filter leaves (0: all).

    `auction_bidder`, such as `learned:qmix-bidder`, makes this agent's bids for parts of workflows
    (empty: by when it expects to be done); all agents of a federation need the same.
    `bidder`, a model's name or file, answers `/schedule` (empty: nothing does). `/score` is
    answered by `policy`, where that scores nodes.
    """

    port: Port = 8001
    cluster_id: Annotated[str, Field(min_length=1, max_length=253)]
    gcc_url: str = "http://127.0.0.1:8000"
    nodes: list[str] = Field(default_factory=list[str])
    nodes_file: Path | None = None
    executor: str = "local"
    policy: str = "best-fit"
    zone: Annotated[str, Field(max_length=100)] = ""
    state: Path = Path("cerebrum-agent")
    token: SecretStr = SecretStr("")
    api_token: SecretStr = SecretStr("")
    ca: Path | None = None
    forecaster: str = "auto"
    kubeconfig: Path | None = None
    kube_context: Annotated[str, Field(min_length=1, max_length=500)] | None = None
    namespace: Annotated[str, Field(pattern=r"^([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)?$")] = ""
    scheduler_name: Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9.]{0,61}[a-z0-9])?$")] = (
        "cerebrum"
    )
    mode: Literal["bind", "shadow", "off"] = "bind"
    placement: Literal["", "affinity", "direct"] = ""
    pod_template: Path | None = None
    image: Annotated[str, Field(max_length=1000)] = ""
    start_timeout_s: Annotated[float, Field(gt=0, le=86_400)] = 300.0
    kube_qps: Annotated[float, Field(gt=0, le=10_000)] = 50.0
    leader_election: bool = False
    extender: bool = False
    extender_open: bool = False
    extender_shortlist: Annotated[int, Field(ge=0, le=50_000)] = 0
    auction_bidder: Annotated[str, Field(max_length=4000)] = ""
    bidder: Annotated[str, Field(max_length=4000)] = "schedule-bidder"
