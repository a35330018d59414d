"""What a benchmark file declares, and how it is run and reported.

A file `benchmarks/NAME.py` looks like this:

    '''Decisions per CPU-second on openb, because a user waits for a table, not for a night.'''

    from benchmarks._harness import Benchmark, Measured, progress

    def run() -> Measured:
        progress("10,866 decisions, five runs")
        ...
        return Measured(best, peer={"the same loop in C": floor})

    BENCHMARK = Benchmark(
        name="decisions", unit="cpu_s", target=0.25, direction="at_most", run=run
    )

    if __name__ == "__main__":
        BENCHMARK.main()

The last line on stdout, and the only one, is JSON with exactly the keys `name`, `value`,
`unit`, `target`, `holds` and `peer`. Progress and tables go to stderr.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from rich.console import Console

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("CEREBRUM_DATA", ROOT.parent / "shared" / "data"))
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cerebrum"

# No fused multiply-add: Numba does not use it either, and results must agree bit for bit.
FLAGS = ("-O3", "-march=native", "-ffp-contract=off")

console = Console(stderr=True)


class CannotRun(Exception):
    """This machine lacks what a benchmark needs. The message says what, and how to get it."""


@dataclass(frozen=True)
class Measured:
    """What one run gave, and what others reach at the same task, in the same unit."""

    value: float
    peer: Mapping[str, float] = field(default_factory=dict[str, float])


@dataclass(frozen=True)
class Benchmark:
    """One number, the bound it is held to, and the function that measures it."""

    name: str
    unit: str
    target: float
    direction: Literal["at_most", "at_least"]
    run: Callable[[], Measured]

    def report(self) -> dict[str, object]:
        """Measure, and return the fields of the JSON line."""
        # Whatever a library prints must not end up beside the JSON line.
        with redirect_stdout(console.file):
            measured = self.run()
        at_most = self.direction == "at_most"
        holds = measured.value <= self.target if at_most else measured.value >= self.target
        return {
            "name": self.name,
            "value": measured.value,
            "unit": self.unit,
            "target": self.target,
            "holds": bool(holds),
            "peer": dict(measured.peer),
        }

    def main(self) -> bool:
        """Measure, print the JSON line, and return whether the target holds."""
        console.rule(f"{self.name}: {self.direction.replace('_', ' ')} {self.target:g} {self.unit}")
        line = self.report()
        print(json.dumps(line), flush=True)
        return bool(line["holds"])


def progress(message: str) -> None:
    """Tell the person who waits what is going on."""
    console.print(message, style="dim", highlight=False)


def need_data(*parts: str) -> Path:
    """Return a file of the real data."""
    path = DATA.joinpath(*parts)
    if not path.exists():
        raise CannotRun(f"no {path}: set CEREBRUM_DATA to the folder of real data")
    return path


def compile_c(source: Path, flags: Sequence[str] = FLAGS) -> Path:
    """Compile one C file to a program and return its path.

    The program lies in a cache outside the repository, under a name made from the source,
    the flags and the compiler, so that nothing stale is ever run.
    """
    compiler = shutil.which(os.environ.get("CC", "gcc"))
    if compiler is None:
        raise CannotRun("no C compiler: install gcc, or set CC")
    version = subprocess.run([compiler, "--version"], check=True, capture_output=True).stdout
    key = hashlib.sha256(source.read_bytes() + " ".join(flags).encode() + version).hexdigest()
    program = CACHE / "benchmarks" / f"{source.stem}-{key[:16]}"
    if not program.exists():
        program.parent.mkdir(parents=True, exist_ok=True)
        # Written under another name and then renamed: two runs at once cannot collide.
        fresh = program.with_suffix(f".{os.getpid()}")
        subprocess.run([compiler, *flags, "-o", str(fresh), str(source), "-lm"], check=True)
        fresh.replace(program)
    return program
