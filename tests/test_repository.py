"""The repository keeps its own habits: sizes, names, and nothing of the machine it grew on."""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks import __main__ as benchmarks
from benchmarks._harness import Benchmark, Measured

ROOT = Path(__file__).resolve().parent.parent
MAX_FILE_BYTES = 512 * 1024
MAX_MODULE_LINES = 450
MAX_NAMES = 20
MAX_AGENTS_LINES = 80

# Kept apart here, so that this file does not contain what it forbids.
PACKAGE_HOSTS = [
    ("pypi", "org"),
    ("pythonhosted", "org"),
    ("crates", "io"),
    ("npmjs", "org"),
    ("golang", "org"),
    ("maven", "org"),
    ("maven", "apache.org"),
    ("deb", "debian.org"),
]
MACHINE_FOLDERS = ("work", "root", "home")


def repository_files() -> list[Path]:
    """Return what git tracks, or would: new files that it does not ignore count too."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def texts() -> Iterator[tuple[str, str]]:
    """Yield the path and the content of every text file."""
    for path in repository_files():
        content = path.read_bytes()
        if b"\0" not in content:
            yield str(path.relative_to(ROOT)), content.decode("utf-8")


def package_modules() -> list[Path]:
    """Return every module of the package."""
    return sorted((ROOT / "cerebrum").rglob("*.py"))


def test_no_file_is_large() -> None:
    large = [str(p) for p in repository_files() if p.stat().st_size > MAX_FILE_BYTES]
    assert large == []


def test_no_file_names_a_folder_of_one_machine() -> None:
    folder = re.compile(rf"(?<![\w.~$}}/-])/(?:{'|'.join(MACHINE_FOLDERS)})/[\w.]")
    found = [(path, m[0]) for path, text in texts() for m in folder.finditer(text)]
    assert found == []


def test_no_file_names_a_package_host() -> None:
    hosts = [".".join(parts) for parts in PACKAGE_HOSTS]
    # The names of Go modules begin with a domain, wherever they are fetched from.
    files = [found for found in texts() if not found[0].endswith(("/go.mod", "/go.sum"))]
    found = [(path, host) for path, text in files for host in hosts if host in text.lower()]
    assert found == []


def test_the_lock_pins_every_package_by_hash_and_holds_no_address() -> None:
    lock = (ROOT / "requirements.lock").read_text("utf-8")
    pins = re.findall(
        r"^[\w.-]+==[^\n]*\\\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)", lock, re.M
    )
    assert len(pins) == len(re.findall(r"^\w", lock, re.M)) > 0
    assert "://" not in lock


def test_the_lock_has_every_declared_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    declared = [*project["dependencies"], *extras["dev"], *extras["dask"]]
    wanted = {re.split(r"[\[<>=!~ ]", line)[0] for line in declared} - {"cerebrum"}
    lock = (ROOT / "requirements.lock").read_text("utf-8")
    assert wanted - set(re.findall(r"^([\w.-]+)==", lock, re.M)) == set(), "run `make lock`"


def test_agents_md_is_short() -> None:
    assert len((ROOT / "AGENTS.md").read_text("utf-8").splitlines()) < MAX_AGENTS_LINES


def test_modules_are_short() -> None:
    lengths = {
        str(path.relative_to(ROOT)): len(path.read_text("utf-8").splitlines())
        for path in package_modules()
    }
    assert {path: n for path, n in lengths.items() if n > MAX_MODULE_LINES} == {}


def test_rooms_are_at_most_two_levels_deep() -> None:
    deep = [p for p in package_modules() if len(p.relative_to(ROOT / "cerebrum").parts) > 3]
    assert [p for p in deep if "migrations" not in p.parts] == []  # whose layout is Alembic's


# That `__all__` is sorted is checked by ruff (RUF022).
def test_the_package_root_exports_few_names_and_they_exist() -> None:
    package = importlib.import_module("cerebrum")
    assert len(package.__all__) == len(set(package.__all__)) <= MAX_NAMES
    assert [name for name in package.__all__ if not hasattr(package, name)] == []


@pytest.mark.parametrize(
    ("module", "unwanted"),
    [
        ("cerebrum", {"pandas", "ortools", "torch", "distributed", "ray", "matplotlib"}),
        ("cerebrum.cli", {"pandas", "ortools", "torch", "numba", "polars", "joblib", "jinja2"}),
    ],
)
def test_an_import_is_light(module: str, unwanted: set[str]) -> None:
    code = f"import sys, {module}; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    ).stdout.split()
    assert unwanted & set(loaded) == set()


@pytest.mark.parametrize("name", benchmarks.names())
def test_a_benchmark_declares_what_its_report_needs(name: str) -> None:
    benchmark = benchmarks.load(name)
    assert benchmark.name == name
    assert benchmark.unit
    assert benchmark.target >= 0
    assert benchmark.direction in ("at_most", "at_least")
    assert (sys.modules[f"benchmarks.{name}"].__doc__ or "").strip()


@pytest.mark.parametrize(("direction", "holds"), [("at_most", False), ("at_least", True)])
def test_a_benchmark_prints_one_json_line(
    direction: str, holds: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    def measure() -> Measured:
        print("a library that talks")
        return Measured(3.0, peer={"C": 1.5})

    sample = Benchmark(name="sample", unit="s", target=2.0, direction=direction, run=measure)
    assert sample.main() is holds
    assert json.loads(capsys.readouterr().out) == {
        "name": "sample",
        "value": 3.0,
        "unit": "s",
        "target": 2.0,
        "holds": holds,
        "peer": {"C": 1.5},
    }
