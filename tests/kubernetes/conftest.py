"""Clusters for tests: everything in this folder is `slow` and `kubernetes`, and may use these.

`control_plane(**options)` starts a cluster of the test's own, ended with the test. `plane` is one
shared by the session, which every test finds empty. With `CEREBRUM_TEST_KUBECONFIG` that one is the
user's: then each test gets a namespace of its own there, and whatever needs a cluster of its own,
to make nodes in it or to hurt it, skips.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.kubernetes import build
from tests.kubernetes.api import Api
from tests.kubernetes.plane import ControlPlane
from tests.kubernetes.shared import OwnCluster, SharedCluster, Tenant

OWN_CLUSTER = "CEREBRUM_TEST_KUBECONFIG"
_FOLDER = Path(__file__).parent
Require = Callable[[bool, str], None]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Real servers are slow: `make test` leaves this folder out, `make test-kubernetes` runs it."""
    for item in items:
        if _FOLDER in item.path.parents:
            item.add_marker(pytest.mark.slow)
            item.add_marker(pytest.mark.kubernetes)


@pytest.fixture(scope="session")
def built(require: Require) -> Callable[..., None]:
    """`built("kwok")` skips, or fails where everything must be present, unless it is built."""

    def check(*programs: str) -> None:
        absent = ", ".join(build.missing(programs))
        require(not absent, f"{absent} not built for these tests: run `make kubernetes-build`")
        require(shutil.which("openssl") is not None, "the command openssl is not on PATH")

    return check


@pytest.fixture
def control_plane(
    built: Callable[..., None], tmp_path: Path
) -> Iterator[Callable[..., ControlPlane]]:
    """`control_plane(scheduler=True)` starts a cluster that ends with the test."""
    numbers = itertools.count(1)
    with contextlib.ExitStack() as stack:

        def start(**options: Any) -> ControlPlane:
            if os.environ.get(OWN_CLUSTER):
                pytest.skip(f"it needs a cluster of its own, and {OWN_CLUSTER} names yours")
            built(*programs_for(**options))
            folder = tmp_path / f"cluster-{next(numbers)}"
            return stack.enter_context(ControlPlane(folder, **options))

        yield start


@pytest.fixture(scope="session")
def shared_cluster(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SharedCluster | OwnCluster]:
    """The cluster behind `plane`: ours, started once, or the one the user points to."""
    kubeconfig = os.environ.get(OWN_CLUSTER)
    built: Callable[..., None] = request.getfixturevalue("built")
    folder = tmp_path_factory.mktemp("shared-cluster")
    if kubeconfig:
        built("kubectl")
        with OwnCluster(Path(kubeconfig), folder) as cluster:
            yield cluster
    else:
        built(*programs_for())
        with SharedCluster(folder) as cluster:
            yield cluster


@pytest.fixture
def plane(shared_cluster: SharedCluster | OwnCluster) -> Iterator[Tenant]:
    """The shared cluster, as a test without schedulers or controllers finds it: empty."""
    with shared_cluster.tenant() as tenant:
        yield tenant


@pytest.fixture
def plane_with_scheduler(
    shared_cluster: SharedCluster | OwnCluster, built: Callable[..., None]
) -> Iterator[Tenant]:
    """The shared cluster with the stock kube-scheduler, which is ended after the test."""
    if isinstance(shared_cluster, SharedCluster):
        built("kube-scheduler")
    with shared_cluster.tenant(scheduler=True) as tenant:
        yield tenant


@pytest.fixture
def api(plane: Tenant) -> Api:
    """The administrator's client of the shared cluster, in the test's namespace."""
    return plane.api


def programs_for(**options: Any) -> list[str]:
    """The programs that `ControlPlane(**options)` starts."""
    named = {"controller_manager": "kube-controller-manager", "kwok": "kwok"}
    extra = [name for option, name in named.items() if options.get(option)]
    scheduler = ["kube-scheduler"] if options.get("scheduler") else []
    return ["etcd", "kube-apiserver", *scheduler, *extra]
