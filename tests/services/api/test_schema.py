"""The OpenAPI document is true: no 5xx, no status, type or body that it does not declare."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.services.api.fuzz import fuzz


@pytest.mark.needs(module="schemathesis")
def test_a_few_hundred_requests_keep_to_the_document(tmp_path: Path) -> None:
    assert fuzz(tmp_path, 300, key=1) >= 300


@pytest.mark.slow
@pytest.mark.needs(module="schemathesis")
def test_many_requests_keep_to_the_document(tmp_path: Path) -> None:
    cases = int(os.environ.get("CEREBRUM_FUZZ_CASES", "20000"))
    assert fuzz(tmp_path, cases, key=2) >= cases
