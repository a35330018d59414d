"""Build etcd, Kubernetes, kwok and Helm once, into a cache folder keyed by their versions.

`python -m tests.kubernetes.build` (which `make kubernetes` calls) builds what is missing and prints
where it is; `--check` only says what is missing. The sources come through Go's module proxy,
pinned by the `go.mod` and checked by the `go.sum` of the modules in `control-plane/`. The first
build takes ten minutes of two cores and 3 GB of Go's own cache; later ones take nothing.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

SOURCES = Path(__file__).resolve().parent / "control-plane"
OLDEST_GO = (1, 26)
_USUAL_GO = Path("/usr/local/go/bin/go")
"""Where Go's own installer puts it: not on everybody's PATH."""
_RECIPE = "1"
"""Part of the key of the cache: raise it when the way of building changes, not the sources."""


class BuildError(Exception):
    """A program cannot be built here; the message says what is needed."""


@dataclass(frozen=True, slots=True)
class Module:
    """One Go module of `control-plane/`, and the programs built from it.

    `requires` is the module whose version names the cache folder; `programs` maps the name of a
    program to its package; `stamps` are the variables that hold the version it says it is. A
    program of our own lies in a folder of another module, its `home`.
    """

    name: str
    requires: str
    programs: Mapping[str, str]
    stamps: Sequence[str] = ()
    home: str = ""

    @property
    def folder(self) -> Path:
        """Where its `go.mod` is."""
        return SOURCES / (self.home or self.name)

    @property
    def version(self) -> str:
        """Its version, such as `v1.36.3`."""
        pinned = re.search(
            rf"^(?:require)?\s*{re.escape(self.requires)} (v\S+)",
            (self.folder / "go.mod").read_text("utf-8"),
            re.MULTILINE,
        )
        if pinned is None:
            raise BuildError(f"{self.folder / 'go.mod'} does not require {self.requires}")
        return pinned[1]

    @property
    def cache(self) -> Path:
        """The folder of its programs: another one as soon as one byte of its sources changes."""
        key = hashlib.sha256(f"{_RECIPE} {sys.platform} {platform.machine()}".encode())
        own = sorted((self.folder / self.name).glob("*.go")) if self.home else []
        for file in (self.folder / "go.mod", self.folder / "go.sum", *own):
            key.update(file.read_bytes())
        return cache_folder() / f"{self.name}-{self.version}-{key.hexdigest()[:12]}" / "bin"

    def missing(self, wanted: Iterable[str]) -> list[str]:
        """Those of its programs that are wanted and not built yet."""
        names = set(wanted)
        return [p for p in self.programs if p in names and not (self.cache / p).is_file()]


_KUBERNETES = ("kube-apiserver", "kube-scheduler", "kube-controller-manager", "kubectl")
MODULES = (
    Module("etcd", "go.etcd.io/etcd/server/v3", {"etcd": "go.etcd.io/etcd/server/v3"}),
    Module(
        "kubernetes",
        "k8s.io/kubernetes",
        {name: f"k8s.io/kubernetes/cmd/{name}" for name in _KUBERNETES},
        ("k8s.io/component-base/version.gitVersion", "k8s.io/client-go/pkg/version.gitVersion"),
    ),
    Module("verdicts", "k8s.io/kubernetes", {"verdicts": "./verdicts"}, home="kubernetes"),
    Module("kwok", "sigs.k8s.io/kwok", {"kwok": "sigs.k8s.io/kwok/cmd/kwok"}),
    Module("helm", "helm.sh/helm/v4", {"helm": "helm.sh/helm/v4/cmd/helm"}),
)
PROGRAMS = {program: module for module in MODULES for program in module.programs}


def cache_folder() -> Path:
    """Where built programs are kept: outside the clone, so that every clone shares them."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "cerebrum" / "kubernetes"


def program(name: str) -> Path:
    """The built program of this name; `BuildError` with the command that builds it, if absent."""
    path = PROGRAMS[name].cache / name
    if not path.is_file():
        raise BuildError(f"{name} is not built: run `make kubernetes-build` (needs Go {_oldest()})")
    return path


def missing(names: Iterable[str] = PROGRAMS) -> list[str]:
    """Those of these programs that are not built."""
    wanted = set(names)
    return [name for module in MODULES for name in module.missing(wanted)]


def build(names: Iterable[str] = PROGRAMS) -> None:
    """Build those of these programs that the cache lacks, saying so on the way."""
    wanted = set(names)
    for module in MODULES:
        if module.missing(wanted):
            with _alone(module.cache.parent):
                _build(module, module.missing(wanted), find_go())


def find_go() -> Path:
    """A `go` that is new enough: the one on PATH, else the usual one; `BuildError` for neither."""
    too_old: list[str] = []
    for found in filter(None, (shutil.which("go"), shutil.which(_USUAL_GO))):
        asked = subprocess.run([found, "version"], capture_output=True, text=True, check=False)
        said = asked.stdout.strip()
        version = re.search(r"go(\d+)\.(\d+)", said)
        if version and (int(version[1]), int(version[2])) >= OLDEST_GO:
            return Path(found)
        too_old.append(f"{found} is {said!r}")
    raise BuildError(
        f"{'; '.join(too_old) or f'there is no `go` on PATH, and no {_USUAL_GO}'}: install Go "
        f"{_oldest()} or newer from go.dev/dl (a distribution's package is often too old)"
    )


def _build(module: Module, names: Sequence[str], go: Path) -> None:
    """One program after the other (Go fetches what it needs), each put in place when whole."""
    module.cache.mkdir(parents=True, exist_ok=True)
    env = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-buildvcs=false"}
    flags = " ".join(["-s -w", *(f"-X {stamp}={module.version}" for stamp in module.stamps)])
    for name in names:
        _say(f"{module.name} {module.version}: building {name} ...")
        began, unfinished = time.monotonic(), module.cache / f".{name}.{os.getpid()}"
        package = module.programs[name]
        try:
            _go(
                [go, "build", "-trimpath", "-ldflags", flags, "-o", str(unfinished), package],
                module, env,
            )  # fmt: skip
            unfinished.rename(module.cache / name)
        finally:
            unfinished.unlink(missing_ok=True)
        size_mib = (module.cache / name).stat().st_size / 2**20
        _say(f"{name}: {size_mib:.0f} MiB in {time.monotonic() - began:.0f} s")


def _go(command: Sequence[str | Path], module: Module, env: Mapping[str, str]) -> None:
    done = subprocess.run(["nice", "-n", "5", *command], cwd=module.folder, env=env, check=False)
    if done.returncode:
        raise BuildError(
            f"`{' '.join(map(str, command))}` in {module.folder} ended with {done.returncode} "
            "(its words are above; the first build needs Go's module proxy, see GOPROXY)"
        )


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Two clones that build the same thing at once: the second waits, then finds it built."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _oldest() -> str:
    return ".".join(map(str, OLDEST_GO))


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Build what is missing, or say what is; 1 when something cannot be had."""
    parser = argparse.ArgumentParser(prog="python -m tests.kubernetes.build", description=__doc__)
    parser.add_argument("programs", nargs="*", metavar="PROGRAM", help=", ".join(PROGRAMS))
    parser.add_argument("--check", action="store_true", help="build nothing, say what is missing")
    options = parser.parse_args(arguments)
    names = options.programs or list(PROGRAMS)
    if unknown := sorted(set(names) - set(PROGRAMS)):
        parser.error(f"unknown: {', '.join(unknown)}; there are {', '.join(PROGRAMS)}")
    if options.check:
        absent = missing(names)
        print(*absent, sep="\n", end="\n" if absent else "")
        return int(bool(absent))
    try:
        build(names)
    except BuildError as problem:
        _say(str(problem))
        return 1
    for name in names:
        print(program(name))
    return 0


if __name__ == "__main__":
    sys.exit(main())
