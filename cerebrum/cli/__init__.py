"""The `cerebrum` command. Results go to stdout, everything else to stderr.

Exit codes: 0 done, 1 failed, 2 wrong usage or input, 3 not found, 130 interrupted.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command and leave with its exit code."""
    sys.exit(run(arguments))


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code; problems become one line on stderr."""
    from cerebrum.cli._app import build

    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        code = build(given)(args=given, prog_name="cerebrum", standalone_mode=False)
        sys.stdout.flush()
    except (BrokenPipeError, SystemExit):
        # The reader has seen enough: the parser turns that into SystemExit. Python must not try to
        # flush what is left.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 0
    except KeyboardInterrupt:
        return _say("interrupted", 130)
    except Exception as problem:
        return _explain(problem)
    return code if isinstance(code, int) else 0


def _explain(problem: Exception) -> int:
    """One line for a problem, and its exit code."""
    from cerebrum.model.errors import CerebrumError

    if os.environ.get("CEREBRUM_DEBUG"):
        import traceback

        traceback.print_exc()
    if isinstance(problem, CerebrumError):
        return _say(str(problem), problem.exit_code)
    if hasattr(problem, "format_message"):  # usage errors of the argument parser
        context = getattr(problem, "ctx", None)
        command = getattr(context, "command_path", "cerebrum")
        message = " ".join(str(problem.format_message()).split())  # type: ignore[attr-defined]
        return _say(f"{message} (try `{command} --help`)", int(getattr(problem, "exit_code", 2)))
    if isinstance(problem, OSError):
        return _say(f"{problem.filename or 'cerebrum'}: {problem.strerror or problem}", 1)
    if type(problem).__name__ == "Abort":
        return _say("interrupted", 130)
    kind = type(problem).__name__
    text = " ".join(str(problem).split())
    return _say(f"internal: {kind}: {text} (CEREBRUM_DEBUG=1 shows where)", 1)


def _say(message: str, code: int) -> int:
    print(f"error: {message}", file=sys.stderr)
    return code
