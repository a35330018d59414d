"""A real control plane on loopback: etcd and kube-apiserver, and whom a test wants beside them.

    with ControlPlane(tmp_path, scheduler=True) as plane:
        plane.api.create(node("n1"))
        ...  # plane.kubeconfig is for programs: kubectl, an agent, the stock scheduler

Any number of them run at once. What a cluster suffers in the field can be done to it: servers
killed, started again on the same data, stopped in mid-sentence, etcd compacted. They need the
programs of `tests.kubernetes.build`, and `openssl`.
"""

from __future__ import annotations

import base64
import contextlib
import json
import secrets
import ssl
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
import yaml

from tests.kubernetes import flags
from tests.kubernetes.api import Api, ApiError, Json
from tests.kubernetes.build import program
from tests.kubernetes.certificates import make_certificates
from tests.kubernetes.process import Guard, PortTaken, Server, free_ports, scratch_folder
from tests.waiting import wait_until

_TRIES = 5


class ControlPlane:
    """One cluster, from `with` to the end of it.

    `scheduler` starts kube-scheduler: true, or settings that are merged into its configuration
    (`percentageOfNodesToScore`, `extenders`, `profiles`). `controller_manager` only together with
    `kwok`, which keeps the nodes' leases; without it nodes would be tainted. `kwok` plays kubelet:
    see `objects.pod` for how a pod says when it ends. `api_qps` bounds what the scheduler and the
    controllers ask for a second; `inflight` what the API server serves at once. `audit` notes
    every request: `requests()`. `api_flags` are further flags of kube-apiserver.
    """

    def __init__(
        self,
        folder: Path,
        *,
        scheduler: bool | Mapping[str, Any] = False,
        controller_manager: bool = False,
        kwok: bool = False,
        api_qps: int = 5000,
        inflight: int = 3000,
        audit: bool = False,
        api_flags: Sequence[str] = (),
        disable_admission: Sequence[str] = flags.NO_CONTROLLERS,
    ) -> None:
        self.folder, self.api_qps, self.inflight = folder, api_qps, inflight
        self._scheduler, self._audit, self._more_api_flags = scheduler, audit, api_flags
        self._with = {"controller_manager": controller_manager, "kwok": kwok}
        self._disable_admission = disable_admission
        self.token = secrets.token_urlsafe(24)
        self.servers: dict[str, Server] = {}
        self._ports: dict[str, list[int]] = {}
        self._apis: list[Api] = []

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o700)
        self._data = scratch_folder(self.folder)
        self._guard = Guard(self.folder / "pids", remove=[self._data])
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None:
        for api in self._apis:
            api.close()
        for server in reversed(self.servers.values()):
            server.kill()
        self._guard.close()

    # --- where it is, and as whom to come ------------------------------------------

    @property
    def url(self) -> str:
        """The address of the API server."""
        return f"https://127.0.0.1:{self._ports['kube-apiserver'][0]}"

    @property
    def authority(self) -> Path:
        """The certificate (PEM) that vouches for the API server."""
        return self._certificates.authority

    @property
    def kubeconfig(self) -> Path:
        """A kubeconfig of the administrator, who is above RBAC, priority and fairness."""
        return self.folder / "admin.kubeconfig"

    def as_administrator(self, namespace: str = "default") -> Api:
        """A client of its own for the administrator; closed at the end of the cluster."""
        return self._client(self.token, namespace)

    def account_token(self, account: str, namespace: str = "default", ttl_s: int = 3600) -> str:
        """A token of a service account, which is made if there is none."""
        body = {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {"name": account, "namespace": namespace},
        }
        try:
            self.api.create(body)
        except ApiError as problem:
            if problem.status != 409:
                raise
        asked = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"expirationSeconds": ttl_s},
        }
        path = self.api.path("ServiceAccount", account, namespace=namespace, subresource="token")
        return self.api.call("POST", path, asked)["status"]["token"]

    def scoped_kubeconfig(self, account: str, namespace: str = "default") -> Path:
        """A kubeconfig of a service account, which may do what RBAC objects let it, no more."""
        path = self.folder / f"{namespace}-{account}.kubeconfig"
        self._write_kubeconfig(path, self.account_token(account, namespace), namespace)
        return path

    def scoped_api(self, account: str, namespace: str = "default") -> Api:
        """A client that comes as a service account; closed at the end of the cluster."""
        return self._client(self.account_token(account, namespace), namespace)

    # --- what can be done to it ------------------------------------------------------

    def kill_api(self) -> None:
        """`kill -9` of the API server; every connection breaks."""
        self.servers["kube-apiserver"].kill()

    def start_api(self) -> None:
        """Start the API server again, on the same port and data, and wait until it is ready."""
        self._start_again("kube-apiserver", self._api_ready)

    def kill_etcd(self) -> None:
        """`kill -9` of etcd; the API server stays, and fails."""
        self.servers["etcd"].kill()

    def start_etcd(self) -> None:
        """Start etcd again on the same data, and wait until both serve again."""
        self._start_again("etcd", self._etcd_ready)
        if self.servers["kube-apiserver"].alive:
            self.servers["kube-apiserver"].wait_until(self._api_ready)

    def kill_scheduler(self) -> None:
        """`kill -9` of kube-scheduler."""
        self.servers["kube-scheduler"].kill()

    def start_scheduler(self, settings: Mapping[str, Any] | None = None) -> None:
        """Start kube-scheduler (again); `settings` replace those of before."""
        if settings is not None:
            self._scheduler = settings
        self._start_scheduler()

    def pause(self, name: str = "kube-apiserver") -> None:
        """SIGSTOP a server by name: its connections stay open and nothing comes."""
        self.servers[name].pause()

    def resume(self, name: str = "kube-apiserver") -> None:
        """SIGCONT it."""
        self.servers[name].resume()

    def compact_etcd(self) -> int:
        """Drop all history from etcd, and give the revision that is now the oldest.

        The API server still answers old watches from what it remembers itself: `forget_history`.
        """
        key = base64.b64encode(b"/").decode()
        now = self._etcd("/v3/kv/range", {"key": key})["header"]["revision"]
        self._etcd("/v3/kv/compaction", {"revision": now, "physical": True})
        return int(now)

    def forget_history(self) -> int:
        """Compact etcd and restart the API server: older watches and lists now get a 410."""
        oldest = self.compact_etcd()
        self.kill_api()
        self.start_api()
        return oldest

    # --- what it did -------------------------------------------------------------------

    def requests(self) -> Iterator[Json]:
        """The audit events of all requests so far (needs `audit=True`), oldest first."""
        with (self.folder / "audit.log").open("rb") as log:
            for line in log:
                if line.endswith(b"\n"):
                    yield json.loads(line)

    def metrics(self, name: str = "kube-apiserver") -> str:
        """The Prometheus page of the API server or `kube-scheduler`."""
        with self.metrics_client(name) as api:
            return api.text("/metrics")

    def metrics_client(self, name: str) -> Api:
        """A client of that server itself, for who asks often; closed at the end of the cluster."""
        return self._client(self.token, "default", self._ports[name][0])

    # --- how it starts -------------------------------------------------------------------

    def _start(self) -> None:
        self._certificates = make_certificates(self.folder)
        self._launch("etcd", 2, self._etcd_flags, self._etcd_ready)
        tokens = self.folder / "tokens.csv"
        tokens.write_text(f'{self.token},admin,admin,"system:masters"\n', "ascii")
        self._launch("kube-apiserver", 1, self._api_flags, self._api_ready)
        self._write_kubeconfig(self.kubeconfig, self.token, "default")
        self.api = self.as_administrator()
        wait_until(self._has_default_namespace, "the API server makes its own objects")
        if self._scheduler:
            self._start_scheduler()
        if self._with["controller_manager"]:
            self._launch("kube-controller-manager", 1, self._manager_flags)
        if self._with["kwok"]:
            self._launch("kwok", 1, self._kwok_flags)

    def _start_scheduler(self) -> None:
        self._launch("kube-scheduler", 1, self._scheduler_flags)

    def _launch(
        self,
        name: str,
        ports: int,
        make_flags: Callable[[list[int]], list[str]],
        ready: Callable[[], bool] | None = None,
    ) -> None:
        """Start a server on ports that are free, on others if somebody was quicker."""
        for left in reversed(range(_TRIES)):
            self._ports[name] = free_ports(ports)
            parts = [program(name), *make_flags(self._ports[name])]
            self.servers[name] = Server(name, parts, self.folder / f"{name}.log", self._guard)
            self.servers[name].start()
            try:
                return self.servers[name].wait_until(ready or partial(self._is_well, name))
            except PortTaken:
                if not left:
                    raise

    def _start_again(self, name: str, ready: Callable[[], bool]) -> None:
        self.servers[name].start()
        self.servers[name].wait_until(ready)

    def _etcd_flags(self, ports: list[int]) -> list[str]:
        return flags.etcd(self._data / "etcd", *ports)

    def _api_flags(self, ports: list[int]) -> list[str]:
        return [
            *flags.api_server(
                self.folder, self._certificates, ports[0],
                etcd_port=self._ports["etcd"][0], inflight=self.inflight,
                disable_admission=self._disable_admission,
            ),
            *(flags.audit(self.folder) if self._audit else ()),
            *self._more_api_flags,
        ]  # fmt: skip

    def _scheduler_flags(self, ports: list[int]) -> list[str]:
        settings = self._scheduler if isinstance(self._scheduler, Mapping) else {}
        return flags.scheduler(
            self.kubeconfig, self._certificates, ports[0], self.api_qps, settings
        )

    def _manager_flags(self, ports: list[int]) -> list[str]:
        return flags.controller_manager(self.kubeconfig, self._certificates, ports[0], self.api_qps)

    def _kwok_flags(self, ports: list[int]) -> list[str]:
        return flags.kwok(self.kubeconfig, ports[0])

    # --- does it answer? ---------------------------------------------------------------

    def _etcd_ready(self) -> bool:
        try:
            return bool(self._etcd("/v3/maintenance/status", {}).get("leader"))
        except (httpx.TransportError, httpx.HTTPStatusError):
            return False

    def _etcd(self, path: str, body: Json) -> Json:
        url = f"http://127.0.0.1:{self._ports['etcd'][0]}{path}"
        answer = httpx.post(url, json=body, timeout=30, trust_env=False)
        return answer.raise_for_status().json()

    def _api_ready(self) -> bool:
        return self._ok(f"{self.url}/readyz")

    def _is_well(self, name: str) -> bool:
        scheme = "http" if name == "kwok" else "https"
        return self._ok(f"{scheme}://127.0.0.1:{self._ports[name][0]}/healthz")

    def _ok(self, url: str) -> bool:
        verify = ssl.create_default_context(cafile=str(self.authority))
        with contextlib.suppress(httpx.TransportError):
            return httpx.get(url, verify=verify, timeout=5, trust_env=False).is_success
        return False

    def _has_default_namespace(self) -> bool:
        try:
            return bool(self.api.get("Namespace", "default"))
        except ApiError:
            return False

    def _client(self, token: str, namespace: str, port: int | None = None) -> Api:
        url = self.url if port is None else f"https://127.0.0.1:{port}"
        api = Api(url, token=token, authority=self.authority, namespace=namespace)
        self._apis.append(api)
        return api

    def _write_kubeconfig(self, path: Path, token: str, namespace: str) -> None:
        authority = base64.b64encode(self.authority.read_bytes()).decode()
        cluster = {"server": self.url, "certificate-authority-data": authority}
        context = {"cluster": "test", "user": "test", "namespace": namespace}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "test", "cluster": cluster}],
            "users": [{"name": "test", "user": {"token": token}}],
            "contexts": [{"name": "test", "context": context}],
            "current-context": "test",
        }
        path.touch(mode=0o600)
        path.write_text(yaml.dump(config, sort_keys=False), "utf-8")
