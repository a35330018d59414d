"""The Helm chart for tests: rendered by the real Helm, as plain dicts."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.kubernetes.build import program

Json = dict[str, Any]
CHART = Path(__file__).resolve().parents[2] / "deploy" / "charts" / "cerebrum"
NEEDED: Json = {
    "controller": {"tokensSecret": "controller-tokens"},
    "agent": {"clusterId": "berlin", "tokenSecret": "agent-token"},
}
"""The values that have no default."""


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> Json:
    """Values over values, as Helm merges them."""
    result = dict(below)
    for key, value in above.items():
        old = result.get(key)
        both = isinstance(old, Mapping) and isinstance(value, Mapping)
        result[key] = merged(old, value) if both else value
    return result


def values(**changes: Mapping[str, Any]) -> Json:
    """`NEEDED`, and what a test changes: `values(agent={"mode": "off"})`."""
    return merged(NEEDED, changes)


def helm(folder: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run Helm with a home of its own in `folder`."""
    homes = {f"HELM_{what}_HOME": str(folder / what) for what in ("CACHE", "CONFIG", "DATA")}
    return subprocess.run(
        [program("helm"), *arguments], env={**os.environ, **homes}, capture_output=True,
        text=True, timeout=300, check=False,
    )  # fmt: skip


def values_file(folder: Path, given: Mapping[str, Any]) -> Path:
    """The values as a file for `helm -f`."""
    file = folder / "values.json"
    file.write_text(json.dumps(given), "utf-8")
    return file


def template(
    folder: Path, given: Mapping[str, Any], namespace: str = "cerebrum"
) -> subprocess.CompletedProcess[str]:
    """`helm template`, whatever comes of it."""
    file = values_file(folder, given)
    return helm(folder, "template", "cerebrum", CHART, "--namespace", namespace, "-f", file)


def render(folder: Path, given: Mapping[str, Any], namespace: str = "cerebrum") -> list[Json]:
    """The objects that the chart makes of these values, each with its namespace."""
    done = template(folder, given, namespace)
    assert done.returncode == 0, done.stderr
    found = [body for body in yaml.safe_load_all(done.stdout) if body]
    for body in found:
        if not body["kind"].startswith("Cluster"):
            body["metadata"].setdefault("namespace", namespace)
    return found


def of(objects: list[Json], kind: str, name: str = "") -> Json:
    """The only object of that kind (and name)."""
    (found,) = [
        body
        for body in objects
        if body["kind"] == kind and (not name or body["metadata"]["name"] == name)
    ]
    return found


def kinds(objects: list[Json]) -> list[str]:
    """Each object as `Kind/name`, sorted."""
    return sorted(f"{body['kind']}/{body['metadata']['name']}" for body in objects)


def container(objects: list[Json], part: str) -> Json:
    """The container of the controller or the agent."""
    body = of(objects, "StatefulSet", f"cerebrum-{part}")
    (found,) = body["spec"]["template"]["spec"]["containers"]
    return found


def variables(objects: list[Json], part: str) -> dict[str, Any]:
    """Its environment: text, or where the kubelet takes it from."""
    env = container(objects, part)["env"]
    names = [entry["name"] for entry in env]
    assert len(names) == len(set(names)), "a variable twice"
    return {entry["name"]: entry.get("value", entry.get("valueFrom")) for entry in env}
