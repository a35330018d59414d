"""Logs: they never end what logs."""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import Iterator

import pytest
import structlog

from cerebrum.services.telemetry import configure_logs


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    handlers, level = logging.getLogger().handlers[:], logging.getLogger().level
    yield
    structlog.reset_defaults()
    logging.getLogger().handlers[:] = handlers
    logging.getLogger().setLevel(level)


def test_a_log_outlives_the_stderr_it_was_set_up_on(monkeypatch: pytest.MonkeyPatch) -> None:
    log = structlog.get_logger("somebody")
    first, second = io.StringIO(), io.StringIO()
    monkeypatch.setattr(sys, "stderr", first)
    configure_logs("json")
    log.info("one")
    monkeypatch.setattr(sys, "stderr", second)
    assert '"one"' in first.getvalue()
    first.close()
    log.info("two")
    assert '"two"' in second.getvalue()
