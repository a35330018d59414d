"""The chart's agent as a process: arguments and variables as rendered, on a real API server, as the
chart's own service account, with the chart's rights and no others.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.kubernetes.api import Json
from tests.kubernetes.chart import container, render, variables
from tests.kubernetes.objects import namespace
from tests.kubernetes.plane import ControlPlane
from tests.waiting import wait_until

RELEASE_NAMESPACE = "brain"
TASK_NAMESPACE = "batch"
ACCOUNT = "cerebrum-agent"
USER = f"system:serviceaccount:{RELEASE_NAMESPACE}:{ACCOUNT}"
_SECRETS = {"token": "t" * 32, "api-token": "a" * 32}
_RIGHTS = ("ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding")
Right = tuple[str, str, str]
"""Group, resource (with its subresource), verb."""


def give_rights(plane: ControlPlane, folder: Path, given: Mapping[str, object]) -> list[Json]:
    """Make the namespaces and the chart's account and roles; all that the chart renders."""
    for name in (RELEASE_NAMESPACE, TASK_NAMESPACE):
        plane.api.create(namespace(name))
    objects = render(folder, given, RELEASE_NAMESPACE)
    for body in objects:
        if body["kind"] in _RIGHTS:
            plane.api.create(body, fieldValidation="Strict")
    return objects


def rights(role: Json) -> set[Right]:
    """What a role allows."""
    return {
        (group, resource, verb)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


@dataclass(frozen=True, slots=True)
class Asked:
    """One request of the agent's account, from the audit log."""

    right: Right
    namespace: str
    status: int


def asked(plane: ControlPlane) -> list[Asked]:
    """All that the agent has asked the API server for."""
    found: list[Asked] = []
    for event in plane.requests():
        about = event.get("objectRef", {})
        if event["user"]["username"] == USER and about:
            parts = filter(None, (about["resource"], about.get("subresource")))
            right = (about.get("apiGroup", ""), "/".join(parts), event["verb"])
            code = event.get("responseStatus", {}).get("code", 0)
            found.append(Asked(right, about.get("namespace", ""), code))
    return found


@contextmanager
def running(plane: ControlPlane, objects: list[Json], folder: Path) -> Iterator[httpx.Client]:
    """The agent, ready; a client that shows the token of the chart's Secret. It must end well."""
    log, command = folder / "agent.log", [sys.executable, "-m", "cerebrum"]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, *container(objects, "agent")["args"]], cwd=folder,
            env=_environment(plane, objects, folder), stdout=output, stderr=output,
        )  # fmt: skip
    try:
        url = wait_until(lambda: _address(process, log), "the agent listens")
        headers = {"Authorization": f"Bearer {_SECRETS['api-token']}"}
        # Stories are long, and the server closes connections that wait: none is kept.
        once = httpx.Limits(max_keepalive_connections=0)
        with httpx.Client(base_url=url, headers=headers, timeout=60, limits=once) as http:
            wait_until(lambda: http.get("/readyz").is_success, "the agent is ready", 300)
            yield http
        process.terminate()
        assert process.wait(60) == 0, log.read_text()[-2000:]
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        process.wait()


def _environment(plane: ControlPlane, objects: list[Json], folder: Path) -> dict[str, str]:
    """As the kubelet would make it, but for what is only in a container: addresses and paths."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("CEREBRUM_")}
    for name, value in variables(objects, "agent").items():
        if isinstance(value, Mapping):
            env[name] = _SECRETS[value["secretKeyRef"]["key"]]
        elif name != "NUMBA_CACHE_DIR":
            env[name] = value
    here = {
        "CEREBRUM_HOST": "127.0.0.1", "CEREBRUM_PORT": "0", "CEREBRUM_URL": "",
        "CEREBRUM_STATE": str(folder / "state"),
        "KUBECONFIG": str(plane.scoped_kubeconfig(ACCOUNT, RELEASE_NAMESPACE)),
    }  # fmt: skip
    return {**env, **here}


def _address(process: subprocess.Popen[bytes], log: Path) -> str:
    assert process.poll() is None, log.read_text()[-2000:]
    found = re.search(r'"url": "([^"]+)"', log.read_text())
    return found[1] if found else ""
