"""Whatever is wrong with an input, one line says what, where and what was expected."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from cerebrum import traces
from cerebrum.model.errors import InputError
from tests.traces.bad._case import Case
from tests.traces.bad.cases import CASES, ERRORS, IDS

LONGEST_S = 5.0


def tree(folder: Path) -> list[str]:
    return sorted(str(path) for path in folder.rglob("*"))


@pytest.mark.parametrize(("case", "error"), CASES, ids=IDS)
def test_a_bad_input_is_refused_with_one_line(case: Case, error: str, tmp_path: Path) -> None:
    path = case.make(tmp_path)
    before = tree(tmp_path)
    began = time.perf_counter()
    with pytest.raises(InputError) as caught:
        traces.read(path, **case.options)
    assert time.perf_counter() - began < LONGEST_S
    line = str(caught.value)
    assert line.replace(f"{tmp_path}/", "").replace(str(tmp_path), ".") == error
    assert "\n" not in line
    assert caught.value.exit_code == 2
    assert tree(tmp_path) == before, "reading must not write"


def test_the_table_and_the_cases_agree() -> None:
    assert sorted(ERRORS) == sorted(IDS)
    assert len(set(IDS)) == len(IDS) >= 60


def test_every_format_has_bad_inputs() -> None:
    names = {"carbon_csv": "carbon"}
    wanted = {names.get(name, name) for name in traces.FORMATS}
    assert wanted <= {name.split(":")[0] for name in IDS}
