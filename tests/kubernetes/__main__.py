"""`python -m tests.kubernetes`: a cluster to play with, until Ctrl-C (`make kubernetes`)."""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from pathlib import Path
from typing import Never

from tests.kubernetes import build
from tests.kubernetes.objects import node
from tests.kubernetes.plane import ControlPlane
from tests.kubernetes.process import ServerError

_BARE = ("etcd", "kube-apiserver", "kubectl")
_ALL = (*_BARE, "kube-scheduler", "kube-controller-manager", "kwok")


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
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        build.build(_BARE if options.bare else _ALL)
        with tempfile.TemporaryDirectory(prefix="cerebrum-kubernetes-") as folder:
            _run(Path(folder), options)
    except KeyboardInterrupt:
        return 0
    except (build.BuildError, ServerError) as problem:
        print(problem, file=sys.stderr)
        return 1


def _run(folder: Path, options: argparse.Namespace) -> Never:
    full = not options.bare
    with ControlPlane(folder, scheduler=full, controller_manager=full, kwok=full) as plane:
        names = [f"node-{i}" for i in range(options.nodes)]
        plane.api.create_all(node(name, options.cpu, options.memory) for name in names)
        print(f"export KUBECONFIG={plane.kubeconfig}")
        print(f"export PATH={build.program('kubectl').parent}:$PATH", flush=True)
        print(f"{plane.url} runs until Ctrl-C; logs are in {folder}", file=sys.stderr)
        while True:
            signal.pause()


if __name__ == "__main__":
    sys.exit(main())
