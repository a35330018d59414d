"""What every test may use: the real data, and a way to say what a test needs.

A test that cannot run here skips and says why. Where `CEREBRUM_REQUIRE_ALL=1` (CI sets it)
everything is meant to be present, so the same test fails instead: a suite that silently
skips half of itself would look green.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# No test asserts absolute times, so neither does Hypothesis; and CI must not depend on luck.
settings.register_profile("cerebrum", deadline=None, derandomize=bool(os.environ.get("CI")))
settings.load_profile("cerebrum")

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("CEREBRUM_DATA", ROOT.parent / "shared" / "data"))


def _require(available: bool, reason: str) -> None:
    """Go on when `available`; otherwise skip, or fail where everything must be present."""
    if available:
        return
    if os.environ.get("CEREBRUM_REQUIRE_ALL") == "1":
        pytest.fail(f"CEREBRUM_REQUIRE_ALL=1, and {reason}", pytrace=False)
    pytest.skip(reason)


def _missing(
    module: str | None = None, command: str | None = None, data: str | None = None
) -> Iterator[str]:
    """Yield one reason for each thing a `needs` marker names and this machine lacks."""
    if module and importlib.util.find_spec(module) is None:
        yield f"the Python module {module} is not installed"
    if command and shutil.which(command) is None:
        yield f"the command {command} is not on PATH"
    if data is not None and not (DATA / data).exists():
        yield f"there is no {DATA / data} (set CEREBRUM_DATA to the folder of real data)"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A slow test may take an hour on a busy machine before it counts as one that hangs."""
    for item in items:
        if item.get_closest_marker("slow") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(3600))


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Honour `@pytest.mark.needs(module="distributed", command="gcc", data="openb")`."""
    for marker in item.iter_markers("needs"):
        for reason in _missing(**marker.kwargs):
            _require(False, reason)


@pytest.fixture(scope="session")
def require() -> Callable[[bool, str], None]:
    """`require(available, reason)`: for what a `needs` marker cannot name."""
    return _require


@pytest.fixture
def look(tmp_path: Path) -> Callable[[str], str]:
    """`look(url)`: the page's DOM as a real browser makes it, without a word on its console."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    _require(browser is not None, "no chromium is on PATH")

    def see(url: str) -> str:
        command = [
            str(browser), "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
            "--disable-background-networking", "--disable-component-update", "--disable-sync",
            f"--user-data-dir={tmp_path / 'profile'}", "--enable-logging=stderr",
            "--virtual-time-budget=5000", "--dump-dom", url,
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0
        assert "CONSOLE" not in done.stderr, done.stderr
        return done.stdout

    return see


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data: CEREBRUM_DATA, else ../shared/data beside the repository."""
    for reason in _missing(data="."):
        _require(False, reason)
    return DATA
