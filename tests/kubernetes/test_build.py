"""Programs are built once for each version, whole or not at all; who cannot is told why."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.kubernetes import build

FakeGo = Callable[..., Path]


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def fake_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeGo:
    """A `go` first on PATH, whose `build` does what the script says ($OUT: what it is to make)."""

    def make(script: str, version: str = "go version go1.99.0 linux/amd64") -> Path:
        calls = tmp_path / "calls"
        go = tmp_path / "bin" / "go"
        go.parent.mkdir()
        go.write_text(
            f'#!/bin/sh\nif [ "$1" = version ]; then echo {version}; exit; fi\n'
            f'echo "$@" >> {calls}\nwhile [ "$1" != -o ]; do shift; done; OUT=$2\n{script}\n'
        )
        go.chmod(0o755)
        monkeypatch.setenv("PATH", f"{go.parent}{os.pathsep}{os.environ['PATH']}")
        return calls

    return make


def test_every_go_mod_pins_the_version_that_names_its_folder() -> None:
    for module in build.MODULES:
        assert f"{module.name}-{module.version}-" in str(module.cache)
        assert (module.folder / "go.sum").stat().st_size > 0
    staging = (build.SOURCES / "kubernetes" / "go.mod").read_text("utf-8")
    minor_and_patch = build.PROGRAMS["kubectl"].version.removeprefix("v1.")
    replaced = [line for line in staging.splitlines() if "=>" in line]
    assert len(replaced) == 33
    assert all(line.endswith(f" v0.{minor_and_patch}") for line in replaced)


def test_what_is_built_is_not_built_again_even_by_two_at_once(fake_go: FakeGo) -> None:
    calls = fake_go("sleep 0.2; echo program > $OUT")
    with ThreadPoolExecutor(2) as two:
        list(two.map(build.build, [["etcd"], ["etcd"]]))
    build.build(["etcd"])
    assert len(calls.read_text().splitlines()) == 1
    assert build.program("etcd").read_text() == "program\n"
    assert build.missing(["etcd", "kwok"]) == ["kwok"]


def test_a_build_that_breaks_off_leaves_nothing_that_looks_whole(fake_go: FakeGo) -> None:
    fake_go("echo half > $OUT; exit 1")
    with pytest.raises(build.BuildError, match=r"ended with 1.*module proxy"):
        build.build(["kwok"])
    assert build.missing(["kwok"]) == ["kwok"]
    assert list(build.PROGRAMS["kwok"].cache.iterdir()) == []
    with pytest.raises(build.BuildError, match="kwok is not built: run `make kubernetes-build`"):
        build.program("kwok")


def test_another_version_is_another_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = build.PROGRAMS["etcd"].cache
    shutil.copytree(build.SOURCES, tmp_path / "sources")
    monkeypatch.setattr(build, "SOURCES", tmp_path / "sources")
    assert build.PROGRAMS["etcd"].cache == before
    with (tmp_path / "sources" / "etcd" / "go.sum").open("a") as sums:
        sums.write("one more\n")
    assert build.PROGRAMS["etcd"].cache != before


def test_a_go_that_is_missing_or_too_old_is_told_in_words(
    fake_go: FakeGo, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(build, "_USUAL_GO", tmp_path / "go")
    fake_go("exit 9", version="go version go1.19.8 linux/amd64")
    with pytest.raises(build.BuildError, match=r"go1\.19\.8.*Go 1\.26 or newer"):
        build.find_go()
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(build.BuildError, match=r"no `go` on PATH.*Go 1\.26"):
        build.find_go()


def test_an_unknown_program_is_refused_with_the_known_ones(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        build.main(["kube-shceduler"])
    assert "there are etcd, kube-apiserver, kube-scheduler" in capsys.readouterr().err
