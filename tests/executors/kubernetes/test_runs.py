"""Runs as pods keep the executors' contract, on a fake API server with a fake kubelet."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cerebrum.executors.conformance import CHECKS, Subject, run_check
from cerebrum.executors.kubernetes._runs_pod import PodSettings
from cerebrum.executors.kubernetes.runs import KubernetesRuns
from tests.executors.kubernetes.fake_runs_api import FakeApi

SETTINGS = PodSettings("c1")


@pytest.fixture
def api() -> Iterator[FakeApi]:
    with FakeApi() as fake:
        yield fake


def executor(api: FakeApi, settings: PodSettings = SETTINGS, **more: float) -> KubernetesRuns:
    return KubernetesRuns(api.access, settings, **{"qps": 0, **more})


@pytest.mark.parametrize("check", CHECKS)
def test_runs_keep_the_contract(check: str, api: FakeApi) -> None:
    run_check(check, Subject(lambda: executor(api), lambda _: executor(api)))
