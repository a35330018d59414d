"""The command lines of a control plane's servers, all on 127.0.0.1."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.kubernetes.build import SOURCES
from tests.kubernetes.certificates import Certificates

NO_CONTROLLERS = ("ServiceAccount", "TaintNodesByCondition")
"""Admission plug-ins that wait for a controller: off, or no pod and no ready node could be made."""

_AUDIT_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [
        {
            "level": "RequestResponse",
            "verbs": ["create", "update", "patch", "delete"],
            "resources": [
                {"resources": ["pods", "pods/binding", "pods/status", "nodes", "nodes/status"]},
                {"group": "coordination.k8s.io", "resources": ["leases"]},
            ],
        },
        {"level": "Metadata"},
    ],
}
"""What changes who may use a node is noted with all that was said: `judge` reads it."""


def etcd(data: Path, port: int, peer_port: int) -> list[str]:
    """One member that does not wait for the disk."""
    client, peer = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{peer_port}"
    return [
        f"--data-dir={data}", "--name=test",
        f"--listen-client-urls={client}", f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}", f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=test={peer}",
        "--unsafe-no-fsync", "--log-level=warn", f"--quota-backend-bytes={4 * 2**30}",
    ]  # fmt: skip


def api_server(
    folder: Path,
    files: Certificates,
    port: int,
    *,
    etcd_port: int,
    inflight: int,
    disable_admission: Sequence[str],
) -> list[str]:
    """kube-apiserver with RBAC, and the tokens in `tokens.csv` of `folder`."""
    return [
        f"--etcd-servers=http://127.0.0.1:{etcd_port}",
        "--bind-address=127.0.0.1", "--advertise-address=127.0.0.1",
        f"--secure-port={port}", f"--cert-dir={folder}",
        f"--tls-cert-file={files.certificate}", f"--tls-private-key-file={files.key}",
        f"--client-ca-file={files.authority}",
        f"--token-auth-file={folder / 'tokens.csv'}", "--authorization-mode=Node,RBAC",
        f"--service-account-issuer=https://127.0.0.1:{port}",
        f"--service-account-key-file={files.account_public_key}",
        f"--service-account-signing-key-file={files.account_key}",
        "--service-cluster-ip-range=10.0.0.0/24", "--endpoint-reconciler-type=none",
        f"--disable-admission-plugins={','.join(disable_admission)}",
        f"--max-requests-inflight={inflight}", f"--max-mutating-requests-inflight={inflight}",
        "--event-ttl=5m",
    ]  # fmt: skip


def audit(folder: Path) -> list[str]:
    """Flags of kube-apiserver that note every request in `audit.log` of `folder`."""
    policy = folder / "audit.json"
    policy.write_text(json.dumps(_AUDIT_POLICY), "utf-8")
    return [
        f"--audit-policy-file={policy}",
        f"--audit-log-path={folder / 'audit.log'}",
        "--audit-log-maxsize=1000",
    ]


def scheduler(
    kubeconfig: Path, files: Certificates, port: int, api_qps: int, settings: Mapping[str, Any]
) -> list[str]:
    """kube-scheduler; `settings` are fields of its configuration and win over ours."""
    client = {"kubeconfig": str(kubeconfig), "qps": api_qps, "burst": api_qps}
    config = {
        "apiVersion": "kubescheduler.config.k8s.io/v1",
        "kind": "KubeSchedulerConfiguration",
        "clientConnection": client,
        "leaderElection": {"leaderElect": False},
        **settings,
    }
    file = kubeconfig.parent / "kube-scheduler.json"
    file.write_text(json.dumps(config, indent=1), "utf-8")
    return [f"--config={file}", *_https(kubeconfig, files, port)]


def controller_manager(kubeconfig: Path, files: Certificates, port: int, api_qps: int) -> list[str]:
    """kube-controller-manager with all its controllers."""
    return [
        f"--kubeconfig={kubeconfig}", "--leader-elect=false",
        f"--kube-api-qps={api_qps}", f"--kube-api-burst={api_qps}",
        f"--service-account-private-key-file={files.account_key}",
        f"--root-ca-file={files.authority}", *_https(kubeconfig, files, port),
    ]  # fmt: skip


def kwok(kubeconfig: Path, port: int) -> list[str]:
    """kwok for all nodes, with our stages for pods."""
    return [
        f"--kubeconfig={kubeconfig}", "--manage-all-nodes=true",
        f"--config={SOURCES / 'kwok' / 'stages.yaml'}",
        "--node-lease-duration-seconds=40", "--cidr=10.1.0.0/16", "--node-ip=127.0.0.1",
        f"--server-address=127.0.0.1:{port}",
    ]  # fmt: skip


def _https(kubeconfig: Path, files: Certificates, port: int) -> list[str]:
    """Where the scheduler and the controllers serve their own health and metrics."""
    return [
        f"--authentication-kubeconfig={kubeconfig}", f"--authorization-kubeconfig={kubeconfig}",
        "--bind-address=127.0.0.1", f"--secure-port={port}",
        f"--tls-cert-file={files.certificate}", f"--tls-private-key-file={files.key}",
    ]  # fmt: skip
