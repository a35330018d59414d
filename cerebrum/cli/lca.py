"""`cerebrum lca`: the local agent of one cluster as a process."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cerebrum.cli import _server as server


def register(app: typer.Typer, line: str) -> None:
    """Add the command."""
    app.command("lca", help=line)(lca)


def lca(
    cluster_id: Annotated[str | None, typer.Option(help="This cluster's name.")] = None,
    gcc_url: Annotated[
        str | None,
        typer.Option(help="The controller's address; several with commas; '' works alone."),
    ] = None,
    host: server.Host = None,
    port: server.Port = None,
    nodes: Annotated[
        list[str] | None,
        typer.Option(
            help="COUNTxCPU[,MEMORY][,GPUSxMODEL][@SPEED] such as 2x4000m,16Gi. Repeat. "
            "Default: this machine."
        ),
    ] = None,
    nodes_file: Annotated[
        Path | None, typer.Option(help="Nodes from a file, such as Kubernetes' YAML.")
    ] = None,
    executor: Annotated[
        str | None,
        typer.Option(help="local (processes), kubernetes (pods), simulated or dry_run."),
    ] = None,
    policy: Annotated[str | None, typer.Option(help="Placement policy.")] = None,
    candidate: server.Candidate = None,
    rollout: server.RolloutMode = None,
    explore: server.Explore = None,
    candidate_deadline: server.CandidateDeadline = None,
    candidate_patience: server.CandidatePatience = None,
    state: Annotated[
        Path | None, typer.Option(help="Folder of its database, runs and logs.")
    ] = None,
    zone: Annotated[str | None, typer.Option(help="Grid zone of the cluster.")] = None,
    forecaster: Annotated[
        str | None, typer.Option(help="Of node usage: auto, a name, or none.")
    ] = None,
    kubeconfig: Annotated[
        Path | None,
        typer.Option(help="Kubernetes: this file. Default: as kubectl, else the pod's account."),
    ] = None,
    context: Annotated[str | None, typer.Option(help="Kubernetes: context of that file.")] = None,
    namespace: Annotated[
        str | None, typer.Option(help="Kubernetes: where runs are pods. Default: the context's.")
    ] = None,
    mode: Annotated[
        str | None,
        typer.Option(help="Kubernetes: pods of our schedulerName: bind, shadow (only say) or off."),
    ] = None,
    scheduler_name: Annotated[
        str | None, typer.Option(help="Kubernetes: our schedulerName. Default: cerebrum.")
    ] = None,
    placement: Annotated[
        str | None,
        typer.Option(help="Kubernetes: how runs get their node: affinity or direct."),
    ] = None,
    pod_template: Annotated[
        Path | None, typer.Option(help="Kubernetes: YAML that every run's pod begins with.")
    ] = None,
    image: Annotated[
        str | None, typer.Option(help="Kubernetes: for tasks without one; needs a shell.")
    ] = None,
    leader_election: Annotated[
        bool | None,
        typer.Option(
            "--leader-election/--no-leader-election",
            help="Kubernetes: of several agents one schedules pods.",
        ),
    ] = None,
    extender: Annotated[
        bool | None,
        typer.Option(
            "--extender/--no-extender",
            help="Kubernetes: answer the stock scheduler at /extender/filter, /prioritize, ...",
        ),
    ] = None,
    extender_open: Annotated[
        bool | None,
        typer.Option(
            "--extender-open/--no-extender-open",
            help="Kubernetes: answer its questions (not binds) without a token.",
        ),
    ] = None,
    auction_bidder: Annotated[
        str | None,
        typer.Option(help="Model that bids for parts of workflows, as learned:NAME-or-file."),
    ] = None,
    bidder: Annotated[
        str | None, typer.Option(help="Model that answers /schedule: a name or a file; '': none.")
    ] = None,
    extender_shortlist: Annotated[
        int | None,
        typer.Option(help="Kubernetes: leave it so many nodes a pod, the policy's best; 0: all."),
    ] = None,
    kube_qps: Annotated[
        float | None, typer.Option(help="Requests a second to the API server, at most.")
    ] = None,
    url: server.Url = None,
    ca: Annotated[Path | None, typer.Option(help="Certificates to trust, PEM.")] = None,
    tls_cert: server.TlsCert = None,
    tls_key: server.TlsKey = None,
    log_format: server.LogFormat = None,
    log_level: server.LogLevel = None,
) -> int:
    """Run the agent until SIGTERM. Its token for the controller is CEREBRUM_TOKEN."""
    from cerebrum.services.api.lca import run_lca
    from cerebrum.services.api.settings import LcaSettings, load

    settings = load(
        LcaSettings, cluster_id=cluster_id, gcc_url=gcc_url, host=host, port=port,
        nodes=nodes or None, nodes_file=nodes_file, executor=executor, policy=policy, state=state,
        candidate=candidate, rollout=rollout, explore=explore,
        candidate_deadline_s=candidate_deadline, candidate_patience_s=candidate_patience,
        kubeconfig=kubeconfig, kube_context=context, namespace=namespace, mode=mode,
        scheduler_name=scheduler_name, placement=placement, pod_template=pod_template,
        image=image, leader_election=leader_election,
        extender=extender, extender_open=extender_open, extender_shortlist=extender_shortlist,
        bidder=bidder, auction_bidder=auction_bidder,
        kube_qps=kube_qps, zone=zone, forecaster=forecaster, url=url, ca=ca,
        tls_cert=tls_cert, tls_key=tls_key,
        log_format=log_format, log_level=log_level,
    )  # fmt: skip
    return server.run(run_lca(settings), many_requests=settings.executor == "kubernetes")
