"""All bad inputs with the one line each must give; for the tests of the readers and of the CLI.

    @pytest.mark.parametrize(("case", "error"), CASES, ids=IDS)

`expected.yaml` is the table: case -> the whole message, with paths relative to the case's folder.
"""

from __future__ import annotations

from pathlib import Path

import yaml

from tests.traces.bad import build, objects, rows
from tests.traces.bad._case import Case

ERRORS: dict[str, str] = yaml.load(
    Path(__file__).with_name("expected.yaml").read_text("utf-8"), Loader=yaml.CSafeLoader
)
CASES: list[tuple[Case, str]] = [
    (case, ERRORS[case.name]) for case in (*rows.CASES, *objects.CASES, *build.CASES)
]
IDS = [case.name for case, _ in CASES]
