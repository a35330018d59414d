"""The controller over HTTP: for agents (asynchronous) and for people (synchronous)."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import quote, urlsplit

import httpx
from pydantic import BaseModel, ValidationError

from cerebrum.model.errors import ConfigError, NotFound
from cerebrum.services import wire
from cerebrum.services.errors import Refused, Unreachable

M = TypeVar("M", bound=BaseModel)
CONNECT_S = 5.0
MARGIN_S = 15.0
"""What a long poll's answer may take beyond the wait that was asked for."""
MAX_HOPS = 3
_SUBMIT = "/api/v1/workflows"
_MEDIA_TYPES = {
    ".json": "application/json", ".yaml": "application/yaml", ".yml": "application/yaml",
    ".dax": "application/xml", ".xml": "application/xml",
}  # fmt: skip


class HttpController:
    """`ports.ControllerPeer` over HTTP. With several addresses, the next one is asked after each
    failure; a follower's answer names the leader, which is asked at once and remembered.

    `token` of scope agent; `ca` a file of certificates to trust instead of the system's.
    """

    def __init__(self, urls: Sequence[str], token: str = "", ca: Path | None = None) -> None:
        if not urls:
            raise ConfigError("expected at least one address").at(field="gcc_url")
        self._urls = [_checked(url) for url in urls]
        self._at = 0
        self._leader = ""
        self._client = httpx.AsyncClient(
            headers=_headers(token), verify=_trust(ca, self._urls), trust_env=False,
            limits=httpx.Limits(max_connections=8, keepalive_expiry=60),
        )  # fmt: skip

    async def register(self, message: wire.Register) -> wire.Registered:
        """See `ControllerPeer`."""
        return await self._ask("register", message, wire.Registered)

    async def poll(self, message: wire.Poll) -> wire.Offers:
        """See `ControllerPeer`."""
        return await self._ask("poll", message, wire.Offers, message.wait_s)

    async def ack(self, message: wire.Ack) -> wire.Acked:
        """See `ControllerPeer`."""
        return await self._ask("ack", message, wire.Acked)

    async def report(self, message: wire.Report) -> wire.Reported:
        """See `ControllerPeer`."""
        return await self._ask("report", message, wire.Reported)

    async def sync(self, message: wire.Sync) -> wire.Synced:
        """See `ControllerPeer`."""
        return await self._ask("sync", message, wire.Synced)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def _ask(self, what: str, message: BaseModel, answer: type[M], wait_s: float = 0.0) -> M:
        body = message.model_dump_json().encode()
        url = self._leader or self._urls[self._at]
        try:
            response = await self._post(url, f"/api/v1/agents/{what}", body, wait_s)
            return _message(response, answer)
        except Unreachable:
            self._leader, self._at = "", (self._at + 1) % len(self._urls)
            raise

    async def _post(self, url: str, path: str, body: bytes, wait_s: float) -> httpx.Response:
        timeout = httpx.Timeout(wait_s + MARGIN_S, connect=CONNECT_S)
        for _ in range(MAX_HOPS):
            try:
                response = await self._client.post(
                    url + path, content=body, timeout=timeout,
                    headers={"content-type": "application/json"},
                )  # fmt: skip
            except (httpx.HTTPError, OSError) as error:
                raise Unreachable(f"{url}: {type(error).__name__}: {error}") from error
            if response.status_code != 307:
                return response
            # By hand: httpx drops the token on the way to another address, rightly so in general.
            url = _origin(response, url)
            self._leader = url
        raise Unreachable(f"{url}: sent from one replica to the next; there is no leader now")


class _AskNext(Unreachable):
    """This address has no answer, another may. `unsent`: nothing can have been done here."""

    def __init__(self, problem: str, unsent: bool) -> None:
        self.unsent = unsent
        super().__init__(problem)


class CerebrumClient:
    """The controller's API for commands and scripts. Answers are what the API gives, as dicts.

    `url` is one address or several (replicas), with commas between them: where one does not answer,
    or answers that it cannot (503, nobody leads), the next is asked, and asked first from then on.
    A submission without a key goes on to the next only if nothing can have come of it.

    Raises `NotFound`, `Refused` with the controller's own words, `Unreachable`.
    """

    def __init__(
        self, url: str, token: str = "", ca: Path | None = None, timeout_s: float = 30.0
    ) -> None:
        self._urls = [_checked(part.strip()) for part in url.split(",")]
        self._at = 0
        self._client = httpx.Client(
            headers=_headers(token), verify=_trust(ca, self._urls), trust_env=False,
            timeout=httpx.Timeout(timeout_s, connect=CONNECT_S),
        )  # fmt: skip

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    @property
    def url(self) -> str:
        """The address that is asked first now."""
        return self._urls[self._at]

    def version(self) -> dict[str, Any]:
        """Version and role of who answers."""
        return self._json("GET", "/api/v1/version")

    def ready(self) -> dict[str, Any]:
        """Whether the controller's database answers and it leads."""
        return self._json("GET", "/readyz")

    def submit(
        self, workflow: wire.WorkflowSpec | Mapping[str, Any] | bytes, *,
        key: str = "", content_type: str = "application/json",
    ) -> dict[str, Any]:  # fmt: skip
        """Submit; with a `key`, repeating it is harmless. Bytes may be any format that is read."""
        headers = {"content-type": content_type} | ({"idempotency-key": key} if key else {})
        body = workflow if isinstance(workflow, bytes) else _body(workflow)
        return self._json("POST", _SUBMIT, content=body, headers=headers)

    def submit_file(self, path: Path, *, key: str = "") -> dict[str, Any]:
        """Submit a file: native JSON, WfFormat, the prototype's JSON, DAX or Argo YAML."""
        try:
            body = path.read_bytes()
        except FileNotFoundError as error:
            raise NotFound(f"{path}: there is no such file") from error
        kind = _MEDIA_TYPES.get(path.suffix.lower(), "application/octet-stream")
        return self.submit(body, key=key, content_type=kind)

    def workflows(self, **filters: Any) -> Iterator[dict[str, Any]]:
        """All workflows, newest first. Filters: state, kind, name, tenant."""
        return self._items("/api/v1/workflows", filters)

    def workflow(self, id: str) -> dict[str, Any]:
        """One workflow with its parts."""
        return self._json("GET", f"/api/v1/workflows/{_part(id)}")

    def workflow_spec(self, id: str) -> wire.WorkflowSpec:
        """What was submitted."""
        response = self._send("GET", f"/api/v1/workflows/{_part(id)}/spec")
        return wire.WorkflowSpec.model_validate_json(response.content)

    def cancel(self, id: str) -> dict[str, Any]:
        """Cancel a workflow, or, with a slash in the name, one task."""
        if "/" in id:
            return self._json("POST", f"/api/v1/cancel/{quote(id, safe='/')}")
        return self._json("POST", f"/api/v1/workflows/{_part(id)}/cancel")

    def tasks(self, workflow: str | None = None, **filters: Any) -> Iterator[dict[str, Any]]:
        """Tasks of one workflow, or all. Filters: state, cluster, node."""
        return self._items("/api/v1/tasks", {"workflow": workflow, **filters})

    def task(self, uid: str) -> dict[str, Any]:
        """One task with its specification and history."""
        return self._json("GET", f"/api/v1/tasks/{quote(uid, safe='/')}")

    def logs(
        self, uid: str, stream: str = "stdout", offset: int = 0, run: str | None = None
    ) -> bytes:
        """What a task wrote, from byte `offset` on, by way of its agent."""
        query = _given({"stream": stream, "offset": offset, "run": run})
        return self._send("GET", f"/api/v1/logs/{quote(uid, safe='/')}", params=query).content

    def clusters(self) -> Iterator[dict[str, Any]]:
        """All clusters."""
        return self._items("/api/v1/clusters", {})

    def nodes(self, cluster: str | None = None) -> list[dict[str, Any]]:
        """Nodes of one cluster, or all."""
        query = _given({"cluster": cluster})
        return self._json("GET", "/api/v1/nodes", params=query)["items"]

    def assignments(self, **filters: Any) -> Iterator[dict[str, Any]]:
        """What was given to whom. Filters: workflow, cluster."""
        return self._items("/api/v1/assignments", filters)

    def policies(self) -> list[dict[str, Any]]:
        """Policies that can be named."""
        return self._json("GET", "/api/v1/policies")["items"]

    def quotas(self) -> Iterator[dict[str, Any]]:
        """Tenants: unended tasks, and how many they may have."""
        return self._items("/api/v1/quotas", {})

    def set_quota(self, tenant: str, max_tasks: int | None) -> dict[str, Any]:
        """Limit a tenant's unended tasks; None: as those of any tenant without a quota."""
        path = f"/api/v1/quotas/{quote(tenant, safe='/')}"
        return self._json("PUT", path, json={"max_tasks": max_tasks})

    def rollout(self) -> dict[str, Any]:
        """Where the candidate stands, of a controller or an agent. Raises `NotFound`."""
        return self._json("GET", "/api/v1/rollout")

    def move_rollout(self, to: str, reason: str = "") -> dict[str, Any]:
        """Promote or demote it: `up`, `down`, or a mode such as `canary:0.1`. Stored on return."""
        return self._json("POST", "/api/v1/rollout", json={"to": to, "reason": reason})

    def drain(self, cluster: str) -> dict[str, Any]:
        """Give a cluster nothing new, and take back what it has not started."""
        return self._cluster(cluster, "drain")

    def uncordon(self, cluster: str) -> dict[str, Any]:
        """Give it work again."""
        return self._cluster(cluster, "uncordon")

    def forget(self, cluster: str) -> dict[str, Any]:
        """It will never come back: somebody has made sure that nothing runs there."""
        return self._cluster(cluster, "forget")

    def events(
        self, after: int = 0, *, workflow: str | None = None, kind: str | None = None
    ) -> Iterator[dict[str, Any]]:
        """Events that are there now, oldest first."""
        query = _given({"workflow": workflow, "kind": kind, "stream": "false", "limit": 1000})
        while True:
            page = self._json("GET", "/api/v1/events", params={**query, "after": after})
            yield from page["items"]
            after = page["next"]
            if len(page["items"]) < 1000:
                return

    def watch(self, after: int | None = None, *, workflow: str | None = None,
              kind: str | None = None) -> Iterator[dict[str, Any]]:  # fmt: skip
        """Events as they happen, from `after` on (None: from now on), until the reader stops."""
        failed = 0
        while True:
            query = _given({"workflow": workflow, "kind": kind, "after": after})
            try:
                for event in self._stream(query):
                    after, failed = event["seq"], 0
                    yield event
                return
            except _AskNext:  # the next one goes on after the last event that was seen
                failed += 1
                if failed >= len(self._urls):
                    raise
                self._next()

    def _stream(self, query: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        timeout = httpx.Timeout(60.0, connect=CONNECT_S)
        with (
            self._answers(self.url),
            self._client.stream(
                "GET", self.url + "/api/v1/events", params=query, timeout=timeout
            ) as response,
        ):
            if response.is_error:
                response.read()
            _raise(response)
            for line in response.iter_lines():
                if line.startswith("data: "):
                    yield json.loads(line[6:])

    def _cluster(self, cluster: str, verb: str) -> dict[str, Any]:
        return self._json("POST", f"/api/v1/clusters/{quote(cluster, safe='/')}/{verb}")

    def _items(self, path: str, filters: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        query = _given({"limit": 1000, **filters})
        while True:
            page = self._json("GET", path, params=query)
            yield from page["items"]
            if not page.get("next"):
                return
            query["cursor"] = page["next"]

    def _json(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        response = self._send(method, path, **options)
        try:
            return response.json()
        except ValueError as error:
            raise Unreachable(f"{self.url}: this is not Cerebrum's API") from error

    def _send(self, method: str, path: str, **options: Any) -> httpx.Response:
        """The answer of the first address that has one."""
        repeatable = path != _SUBMIT or method != "POST" or "idempotency-key" in options["headers"]
        for left in reversed(range(len(self._urls))):
            try:
                return self._ask(method, path, **options)
            except _AskNext as problem:
                if not left or not (repeatable or problem.unsent):
                    raise
                self._next()
        raise AssertionError("there is an address")

    def _ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        """The answer of the address that is asked first, or of the leader it names."""
        url = self.url
        for _ in range(MAX_HOPS):
            with self._answers(url):
                response = self._client.request(method, url + path, **options)
            if response.status_code != 307:
                _raise(response)
                return response
            url = _origin(response, url)
        raise _AskNext(f"{url}: there is no leader now", unsent=True)

    def _next(self) -> None:
        self._at = (self._at + 1) % len(self._urls)

    @contextmanager
    def _answers(self, url: str) -> Generator[None]:
        try:
            yield
        except httpx.HTTPError as error:
            unsent = isinstance(error, httpx.ConnectError | httpx.ConnectTimeout)
            raise _AskNext(f"{url}: {error or type(error).__name__}", unsent) from error


def _message(response: httpx.Response, answer: type[M]) -> M:
    """The answer to an agent. Only a refusal in the controller's own words is a refusal: whether a
    5xx, or a page of some proxy, means that nothing was done nobody knows."""
    if response.status_code == 200:
        try:
            return answer.model_validate_json(response.content)
        except ValidationError as error:
            raise Unreachable(f"{response.url}: {error.errors()[0]['msg']}") from error
    _raise(response)
    raise Unreachable(f"{response.url}: status {response.status_code}")


def _raise(response: httpx.Response) -> None:
    if response.status_code < 400:
        return
    try:
        said: Any = response.json()
        title, detail = str(said["title"]), str(said.get("detail", ""))
    except (ValueError, KeyError, TypeError):
        unknown = f"{response.url}: unexpected answer: status {response.status_code}"
        if response.status_code == 503:  # a proxy's, perhaps
            raise _AskNext(unknown, unsent=False) from None
        raise Unreachable(unknown) from None
    if response.status_code == 404:
        raise NotFound(detail or title)
    said_so = f"{response.url}: {title}: {detail}"
    if response.status_code in (421, 503):  # 421: somebody else leads
        raise _AskNext(said_so, unsent=response.status_code == 421)
    if response.status_code >= 500:
        raise Unreachable(said_so)
    raise Refused(response.status_code, title, detail, _retry_after_s(response))


def _retry_after_s(response: httpx.Response) -> float | None:
    value = response.headers.get("retry-after", "")
    return float(value) if value.isascii() and value.isdigit() else None


def _origin(response: httpx.Response, url: str) -> str:
    """Where a follower says the leader is; never from https to http, which would show the token."""
    parts = urlsplit(str(response.headers.get("location", "")))
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise _AskNext(f"{url}: it does not lead, and does not know who does", unsent=True)
    if urlsplit(url).scheme == "https" and parts.scheme != "https":
        raise Unreachable(f"{url}: refusing to go on without TLS to {parts.netloc}")
    return f"{parts.scheme}://{parts.netloc}"


def _checked(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError(f"expected an address such as http://127.0.0.1:8000, got {url!r}").at(
            field="url"
        )
    return url.rstrip("/")


def _headers(token: str) -> dict[str, str]:
    from cerebrum import __version__

    agent = {"user-agent": f"cerebrum/{__version__}"}
    return agent | ({"authorization": f"Bearer {token}"} if token else {})


def _trust(ca: Path | None, urls: Sequence[str]) -> Any:
    """The TLS context; none is built for plain HTTP, since loading the system's takes 30 ms."""
    import ssl

    if not any(url.startswith("https:") for url in urls):
        return False
    try:
        return ssl.create_default_context(cafile=None if ca is None else str(ca))
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"cannot read certificates: {error}").at(path=ca, field="ca") from error


def _body(workflow: wire.WorkflowSpec | Mapping[str, Any]) -> bytes:
    if isinstance(workflow, wire.WorkflowSpec):
        return workflow.model_dump_json(exclude_defaults=True).encode()
    return json.dumps(workflow, allow_nan=False).encode()


def _given(query: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in query.items() if value is not None}


def _part(text: str) -> str:
    return quote(text, safe="")
