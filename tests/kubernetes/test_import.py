"""`cerebrum import` from a real API server: its paging, its defaults, its account's rights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from cerebrum.cli import run
from cerebrum.traces import kubernetes as trace
from tests.kubernetes.objects import namespace, node, pod
from tests.kubernetes.plane import ControlPlane


def test_what_is_imported_is_what_is_there_page_by_page(
    control_plane: Callable[..., ControlPlane], tmp_path: Path
) -> None:
    plane = control_plane()
    plane.api.create_all([node(f"n{i}") for i in range(3)])
    plane.api.create(namespace("team"))
    plane.api.create_all([pod(f"p{i}", node_name=f"n{i % 3}") for i in range(601)])
    plane.api.create(pod("waits", namespace="team", tolerations=[{"operator": "Exists"}]))
    for extra in ([], ["--anonymise"]):
        file = tmp_path / "snapshot.yaml"
        access = ["--kubeconfig", str(plane.kubeconfig)]
        assert run(["import", *access, "-o", str(file), *extra]) == 0
        scenario = trace.read(file)
        assert len(scenario.cluster) == 3
        assert len(scenario.tasks) == 602
        assert len(scenario.bound) == 601
        assert ("waits" in file.read_text()) == (not extra)
        assert "image" not in file.read_text()
    assert not list(tmp_path.glob("*.partial"))
