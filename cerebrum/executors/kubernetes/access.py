"""How to reach a cluster: address, trust, identity; from a kubeconfig or from inside a pod."""

from __future__ import annotations

import base64
import binascii
import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from cerebrum.executors.kubernetes import _kubeconfig
from cerebrum.executors.kubernetes._credentials import (
    Credentials,
    ExecToken,
    FixedToken,
    TokenFile,
    use_certificate,
)
from cerebrum.executors.kubernetes._kubeconfig import Cluster, Entry, User
from cerebrum.model.errors import ConfigError

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where every pod finds its token, the cluster's certificate authority and its namespace."""
MAX_PEM_BYTES = 4 << 20
_LOOPBACK = ("127.0.0.1", "::1", "localhost")

_REFUSED = {
    "username": "API servers no longer take passwords (since 1.19): use a token or a certificate",
    "password": "API servers no longer take passwords (since 1.19): use a token or a certificate",
    "auth_provider": "was replaced by exec plugins (since 1.26): use `exec`",
    "impersonate": "acting as somebody else is not supported: give Cerebrum its own account",
    "impersonate_uid": "acting as somebody else is not supported",
    "impersonate_groups": "acting as somebody else is not supported",
    "impersonate_extra": "acting as somebody else is not supported",
}


@dataclass(frozen=True)
class Access:
    """Where a cluster is and who we are there. `server` is `https://host:port[/prefix]`;
    `namespace` the one to work in unless told otherwise; `origin` says for messages and logs where
    this came from. Plain http is for tests and `kubectl proxy`."""

    server: str
    namespace: str = "default"
    credentials: Credentials = field(default_factory=FixedToken, repr=False)
    tls: ssl.SSLContext | None = field(default=None, repr=False)
    server_name: str | None = None
    proxy: str | None = None
    origin: str = ""

    @property
    def loopback(self) -> bool:
        """Is the API server on this machine?"""
        return urlsplit(self.server).hostname in _LOOPBACK


def load_access(kubeconfig: Path | None = None, context: str | None = None) -> Access:
    """Find the cluster: the given file, else `$KUBECONFIG` (several files joined as in `$PATH`),
    else `~/.kube/config`, else the service account of the pod we run in.

    Raises `ConfigError` or `UnknownName`, naming file, field and the nearest context.
    """
    paths = _files(kubeconfig)
    if paths:
        return _from_kubeconfig(_kubeconfig.load(paths), context)
    if context is not None:
        raise ConfigError(f"there is no kubeconfig, so no context {context!r}: give --kubeconfig")
    return _in_cluster()


def _files(kubeconfig: Path | None) -> list[Path]:
    if kubeconfig is not None:
        return [kubeconfig]
    named = [Path(part) for part in os.environ.get("KUBECONFIG", "").split(os.pathsep) if part]
    found = [path for path in named if path.exists()]  # kubectl passes over missing ones as well
    if named and not found:
        raise ConfigError("names no file that exists").at(field="$KUBECONFIG")
    usual = Path("~/.kube/config").expanduser()
    return found or ([usual] if usual.exists() else [])


def _from_kubeconfig(merged: _kubeconfig.Kubeconfig, name: str | None) -> Access:
    entry, context = merged.pick(name)
    at_cluster = merged.find("clusters", context.cluster, entry.path, f"{entry.field}.cluster")
    cluster = at_cluster.read(Cluster)
    _check_server(at_cluster, cluster)
    tls = _tls(at_cluster, cluster)
    at_user, user = None, User()
    if context.user:
        at_user = merged.find("users", context.user, entry.path, f"{entry.field}.user")
        user = at_user.read(User)
    access = Access(
        cluster.server.rstrip("/"),
        context.namespace or "default",
        FixedToken() if at_user is None else _credentials(at_user, user, at_cluster, cluster, tls),
        tls,
        cluster.tls_server_name,
        cluster.proxy_url,
        f"{entry.path}, context {entry.name}",
    )
    if tls is None and not access.loopback and (user.token or user.token_file or user.exec):
        raise at_cluster.fault("expected https: over http the token could be read", "server")
    return access


def _check_server(entry: Entry, cluster: Cluster) -> None:
    for name, url in (("server", cluster.server), ("proxy-url", cluster.proxy_url)):
        try:
            parts = urlsplit(url or "https://unused")
            good = parts.scheme in ("http", "https") and parts.hostname and (parts.port or 1) > 0
        except ValueError:
            good = False
        if not good or (name == "server" and "@" in cluster.server):
            raise entry.fault("expected http(s)://host[:port]", name)


def _tls(entry: Entry, cluster: Cluster) -> ssl.SSLContext | None:
    if not cluster.server.startswith("https:"):
        return None
    authority = _pem(
        entry, "certificate-authority", cluster.certificate_authority,
        cluster.certificate_authority_data,
    )  # fmt: skip
    if cluster.insecure_skip_tls_verify:
        if authority is not None:
            raise entry.fault(
                "contradicts certificate-authority: give one", "insecure-skip-tls-verify"
            )
        tls = tls_context()
        tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
        return tls
    try:
        return tls_context(authority)
    except ConfigError as problem:
        raise entry.fault(problem.problem, "certificate-authority") from None


def tls_context(authority: str | None = None) -> ssl.SSLContext:
    """Trust these certificates (PEM text) only, or the system's. Raises `ConfigError`."""
    try:
        tls = ssl.create_default_context(cadata=authority)
    except (ssl.SSLError, ValueError):
        raise ConfigError("expected certificates in PEM") from None
    # Certificate authorities that kubeadm made carry no key identifier, which strict checking
    # (Python's default from 3.13 on) refuses.
    tls.verify_flags &= ~ssl.VERIFY_X509_STRICT
    tls.minimum_version = ssl.TLSVersion.TLSv1_2
    return tls


def _credentials(
    entry: Entry, user: User, at_cluster: Entry, cluster: Cluster, tls: ssl.SSLContext | None
) -> Credentials:
    for name, reason in _REFUSED.items():
        if getattr(user, name) is not None:
            raise entry.fault(reason, User.model_fields[name].alias or name)
    _certificate(entry, user, tls)
    try:
        if user.token_file is not None:  # wins over a token, as in client-go
            return TokenFile(entry.beside(user.token_file))
        if user.token is not None:
            return FixedToken(user.token)
    except ConfigError as problem:
        raise entry.fault(problem.problem, "token") from None
    if user.exec is None:
        return FixedToken()
    return _exec(entry, user.exec, _cluster_info(at_cluster, cluster), tls)


def _certificate(entry: Entry, user: User, tls: ssl.SSLContext | None) -> None:
    name = "client-certificate"
    certificate = _pem(entry, name, user.client_certificate, user.client_certificate_data)
    key = _pem(entry, "client-key", user.client_key, user.client_key_data)
    if (certificate is None) != (key is None):
        raise entry.fault("is missing: a certificate and its key come together",
                          name if certificate is None else "client-key")  # fmt: skip
    if certificate is None or key is None or tls is None:
        return
    try:
        use_certificate(tls, certificate, key)
    except ConfigError as problem:
        raise entry.fault(problem.problem, name) from None


def _exec(
    entry: Entry,
    plugin: _kubeconfig.ExecPlugin,
    cluster: Mapping[str, object],
    tls: ssl.SSLContext | None,
) -> ExecToken:
    if plugin.interactive_mode == "Always":
        raise entry.fault("the plugin wants a person at a terminal", "exec.interactiveMode")
    # A command with a slash is relative to the file, one without is looked for in $PATH.
    command = plugin.command
    if "/" in command:
        command = str(entry.beside(command))
    return ExecToken(
        [command, *(plugin.args or [])],
        plugin.api_version,
        {variable.name: variable.value for variable in plugin.env or []},
        plugin.install_hint,
        cluster if plugin.provide_cluster_info else None,
        tls,
    )


def _cluster_info(entry: Entry, cluster: Cluster) -> dict[str, object]:
    authority = _pem(
        entry, "certificate-authority", cluster.certificate_authority,
        cluster.certificate_authority_data,
    )  # fmt: skip
    info: dict[str, object] = {"server": cluster.server}
    if cluster.tls_server_name:
        info["tls-server-name"] = cluster.tls_server_name
    if cluster.insecure_skip_tls_verify:
        info["insecure-skip-tls-verify"] = True
    if authority:
        info["certificate-authority-data"] = base64.b64encode(authority.encode()).decode()
    return info


def _pem(entry: Entry, name: str, path: str | None, data: str | None) -> str | None:
    """The text of a certificate or key; data in the file wins over a path, as in client-go."""
    try:
        if data is not None:
            return base64.b64decode("".join(data.split()), validate=True).decode()
        if path is None:
            return None
        with entry.beside(path).open("rb") as source:
            return source.read(MAX_PEM_BYTES).decode()
    except OSError as problem:
        raise entry.fault(f"{path} cannot be read: {problem.strerror}", name) from None
    except (binascii.Error, ValueError):
        raise entry.fault("expected base64 of PEM text", f"{name}-data" if data else name) from None


def _in_cluster() -> Access:
    host = os.environ.get("KUBERNETES_SERVICE_HOST", "")
    port = os.environ.get("KUBERNETES_SERVICE_PORT", "443")
    if not host or not (SERVICE_ACCOUNT / "token").exists():
        raise ConfigError(
            "no cluster to talk to: no kubeconfig is given, $KUBECONFIG is not set, there is no "
            "~/.kube/config, and this is not a pod with a service account"
        )
    authority, place = SERVICE_ACCOUNT / "ca.crt", SERVICE_ACCOUNT / "namespace"
    try:
        tls = tls_context(authority.read_text())
        namespace = place.read_text().strip() if place.exists() else ""
    except OSError as problem:
        raise ConfigError(f"cannot be read: {problem.strerror}").at(authority) from None
    except ConfigError as problem:
        raise problem.at(authority) from None
    server = f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
    token = TokenFile(SERVICE_ACCOUNT / "token")
    return Access(server, namespace or "default", token, tls, origin="the pod's service account")
