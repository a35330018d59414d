"""`python -m benchmarks`: list the benchmarks, or run one of them or all."""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path

from rich.table import Table

from benchmarks._harness import Benchmark, CannotRun, console


def names() -> list[str]:
    """Return the name of every benchmark: its file's, without the private ones."""
    files = Path(__file__).parent.glob("*.py")
    return sorted(file.stem for file in files if not file.stem.startswith("_"))


def load(name: str) -> Benchmark:
    """Return what `benchmarks/NAME.py` declares."""
    return importlib.import_module(f"benchmarks.{name}").BENCHMARK


def show() -> None:
    """Print what there is, with the first line of each file as its explanation."""
    table = Table("name", "target", "what")
    for name in names():
        benchmark = load(name)
        bound = f"{benchmark.direction.replace('_', ' ')} {benchmark.target:g} {benchmark.unit}"
        explanation = sys.modules[f"benchmarks.{name}"].__doc__ or ""
        table.add_row(name, bound, explanation.strip().splitlines()[0])
    console.print(table)


def main() -> int:
    """Return 0 when everything asked for ran; with --check, only if every target held too."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--list", action="store_true", help="say what there is")
    what.add_argument("--only", metavar="NAME", choices=[*names(), "all"], help="run one, or all")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a target is missed")
    arguments = parser.parse_args()
    if arguments.list:
        show()
        return 0
    held = True
    for name in names() if arguments.only == "all" else [arguments.only]:
        try:
            held &= load(name).main()
        except CannotRun as reason:
            console.print(f"{name}: {reason}", style="red", highlight=False)
            return 2
    return 0 if held or not arguments.check else 1


if __name__ == "__main__":
    sys.exit(main())
