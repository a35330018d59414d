"""`python -m tests.kubernetes`: a cluster to play with, until Ctrl-C (`make kubernetes`)."""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
import tempfile
from pathlib import Path

from tests.kubernetes import build
from tests.kubernetes.objects import node
from tests.kubernetes.plane import ControlPlane
from tests.kubernetes.process import ServerError


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make kubernetes ARGS=...", description=__doc__)
    parser.add_argument("--nodes", type=int, default=3, help="how many nodes (default: 3)")
    parser.add_argument("--cpu", default="8", help="processors of each (default: 8)")
    parser.add_argument("--memory", default="32Gi", help="memory of each (default: 32Gi)")
    parser.add_argument("--bare", action="store_true", help="only etcd and the API server")
    return parser.parse_args()


def main() -> int:
    """Build what is missing, start, say where it is, and wait to be ended."""
    options = _arguments()
    with_others = not options.bare
    try:
        build.build()
        with (
            tempfile.TemporaryDirectory(prefix="cerebrum-kubernetes-") as folder,
            ControlPlane(
                Path(folder), scheduler=with_others, controller_manager=with_others,
                kwok=with_others,
            ) as plane,
        ):  # fmt: skip
            plane.api.create_all(
                node(f"node-{i}", options.cpu, options.memory) for i in range(options.nodes)
            )
            print(f"export KUBECONFIG={plane.kubeconfig}")
            print(f"export PATH={build.program('kubectl').parent}:$PATH", flush=True)
            print(f"{plane.url} runs until Ctrl-C; logs are in {folder}", file=sys.stderr)
            with contextlib.suppress(KeyboardInterrupt):
                signal.sigwait({signal.SIGTERM, signal.SIGINT})
    except (build.BuildError, ServerError) as problem:
        print(problem, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
