"""Local processes: commands, limits, logs, and ends that reach the whole process tree."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import subprocess
from pathlib import Path

import pytest

from cerebrum.executors import _local_records as records
from cerebrum.executors._local_logs import LogRetention, prune
from cerebrum.executors._local_spawner import _CODE, _PACKAGE
from cerebrum.executors.local import LocalProcesses
from cerebrum.model.errors import CerebrumError, NotFound
from cerebrum.model.program import Program
from cerebrum.model.runs import Launch, RunPhase
from tests.executors._stories import (
    DAEMON,
    PYTHON,
    alive,
    done,
    played,
    shell,
    supervisor_pid,
    until,
)


def test_a_command_leaves_its_exit_code_its_output_and_what_it_used(tmp_path: Path) -> None:
    end, out, err = done(tmp_path, shell("r", "echo out; echo err >&2; exit 3"))
    assert (end.phase, end.exit_code, end.reason) == (RunPhase.FAILED, 3, "exit code 3")
    assert (out, err) == (b"out\n", b"err\n")
    assert end.cpu_s >= 0
    assert end.memory_peak_mib > 0


def test_what_children_used_counts(tmp_path: Path) -> None:
    burn = f"{PYTHON} -c 'import time\nwhile time.process_time() < 0.3: pass'"
    end, _, err = done(tmp_path, shell("r", f'sh -c "{burn}"; true'))
    assert (end.phase, err) == (RunPhase.SUCCEEDED, b"")
    assert end.cpu_s >= 0.3


def test_a_signal_that_ends_a_command_is_named(tmp_path: Path) -> None:
    end, _, _ = done(tmp_path, shell("r", "kill -SEGV $$"))
    assert (end.exit_code, end.reason) == (-signal.SIGSEGV, "ended by SIGSEGV")
    end, _, _ = done(tmp_path, shell("r2", f"kill -{signal.SIGRTMIN + 3} $$"))
    assert end.reason == f"ended by signal {signal.SIGRTMIN + 3}"


def test_a_run_sees_its_own_environment_and_none_of_our_secrets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGENT_TOKEN", "secret")
    own = {"MINE": "ä\udcff", "CEREBRUM_RUN_ID": "forged", "CUDA_VISIBLE_DEVICES": "7"}
    launch = Launch(
        "r", "wf/task", "node-1", program=Program(command=("env", "-0"), env=own), gpus=(0, 2)
    )
    _, out, _ = done(tmp_path, launch)
    seen = dict(line.partition(b"=")[::2] for line in out.rstrip(b"\0").split(b"\0"))
    assert seen[b"MINE"] == "ä".encode() + b"\xff"
    assert seen[b"CEREBRUM_RUN_ID"] == b"r"
    assert (seen[b"CEREBRUM_TASK"], seen[b"CEREBRUM_NODE"]) == (b"wf/task", b"node-1")
    assert seen[b"CUDA_VISIBLE_DEVICES"] == b"0,2"
    assert b"AGENT_TOKEN" not in seen


def test_a_command_starts_with_ordinary_signals_no_input_and_no_descriptor_of_ours(
    tmp_path: Path,
) -> None:
    code = (
        "import os, signal; print(os.read(0, 1), sorted(os.listdir('/proc/self/fd'))[:3], "
        "len(os.listdir('/proc/self/fd')), os.getsid(0) == os.getpid(), "
        "[n for n in (1, 2, 10, 13, 15, 17) if signal.getsignal(n) == signal.SIG_IGN], "
        "signal.pthread_sigmask(signal.SIG_BLOCK, []))"
    )
    _, out, err = done(tmp_path, shell("r", "", command=(PYTHON, "-S", "-c", code)))
    # Python itself ignores SIGPIPE (13); the fourth descriptor is the listing's own.
    assert (out, err) == (b"b'' ['0', '1', '2'] 4 True [13] set()\n", b"")


def test_a_run_without_a_workdir_has_a_fresh_one(tmp_path: Path) -> None:
    _, out, _ = done(tmp_path, shell("r", "pwd; ls -A; touch x"))
    assert out.decode() == f"{tmp_path.resolve()}/r/work\n"


@pytest.mark.parametrize(
    ("launch", "reason"),
    [
        (
            shell("r", "", command=("no-such-program",), env={"PATH": "/usr/bin:/bin"}),
            "command 'no-such-program': not found",
        ),
        (shell("r", "", command=("/etc/passwd",)), "Permission denied"),
        (shell("r", "true", workdir="/no/such/place"), "workdir '/no/such/place': no such dir"),
        (shell("r", "true", workdir="here"), "workdir 'here': expected an absolute path"),
        (shell("r", "", command=(), image="busybox"), "images need a container runtime"),
        (shell("r", "true", image="busybox"), "images need a container runtime"),
    ],
)
def test_what_cannot_start_says_why(tmp_path: Path, launch: Launch, reason: str) -> None:
    end, _, _ = done(tmp_path, launch)
    assert end.phase is RunPhase.START_FAILED
    assert reason in end.reason
    assert end.exit_code is None


def test_an_image_with_a_duration_and_no_command_passes_time(tmp_path: Path) -> None:
    end, _, _ = done(
        tmp_path, Launch("r", "t", "n", program=Program(image="busybox"), duration_s=0.1, speed=2)
    )
    assert end.phase is RunPhase.SUCCEEDED
    assert end.ended_unix_s - end.started_unix_s >= 0.04


def test_logs_are_bytes_and_read_in_pieces(tmp_path: Path) -> None:
    blob = bytes(range(256)) + "žluťoučký kůň\n".encode()
    (tmp_path / "blob").write_bytes(blob)

    async def story(executor, watch):
        await executor.start(shell("r", f"cat {tmp_path}/blob; sleep 600"))
        await watch.running("r")
        size = (tmp_path / "runs" / "r" / "stdout").stat
        await until(lambda: size().st_size == len(blob))  # while it runs
        return [await executor.logs("r", offset=o, limit=100) for o in range(0, 1000, 100)]

    assert b"".join(played(tmp_path / "runs", story)) == blob


def test_output_is_bounded_its_beginning_and_its_end_are_kept(tmp_path: Path) -> None:
    end, out, _ = done(tmp_path, shell("r", "seq 1 200000; echo last"), output_limit_bytes=200_000)
    total = sum(len(f"{i}\n") for i in range(1, 200_001)) + 5
    head, note, tail = out.partition(b"\n[cerebrum: ")
    assert end.phase is RunPhase.SUCCEEDED  # the command never noticed
    assert out.startswith(b"1\n2\n")
    assert tail.endswith(b"\n200000\nlast\n")
    left_out, _, kept = tail.partition(b" bytes left out]\n")
    assert len(head) + len(kept) == 200_000
    assert int(left_out) == total - 200_000
    assert note


def test_a_closed_stdout_does_not_keep_the_supervisor_busy(tmp_path: Path) -> None:
    def used(pid: int) -> int:
        fields = records.process_fields(pid)
        return int(fields[11]) + int(fields[12])  # ticks of a hundredth

    async def story(executor, watch):
        await executor.start(shell("r", "exec >&- 2>&-; exec sleep 600"))
        await watch.running("r")
        pid = supervisor_pid(tmp_path, "r")
        await asyncio.sleep(0.3)
        before = used(pid)
        await asyncio.sleep(1.0)
        return used(pid) - before

    assert played(tmp_path, story) <= 2


def test_more_memory_than_asked_for_is_refused_by_the_kernel(tmp_path: Path) -> None:
    take = (PYTHON, "-S", "-c", "import sys; x = bytearray(int(sys.argv[1]) << 20); print(len(x))")
    end, out, _ = done(tmp_path, shell("r", "", 200, command=(*take, "20")))
    assert (end.phase, out) == (RunPhase.SUCCEEDED, b"20971520\n")
    end, _, err = done(tmp_path, shell("r2", "", 200, command=(*take, "400")))
    assert end.phase is RunPhase.FAILED
    assert b"MemoryError" in err


def test_a_timeout_asks_first(tmp_path: Path) -> None:
    text = "trap 'echo bye; exit 0' TERM; echo on; while :; do sleep 0.05; done"
    end, out, _ = done(tmp_path, shell("r", text, timeout_s=0.3))
    assert (end.phase, end.reason) == (RunPhase.FAILED, "timed out after 0.3 s")
    assert out == b"on\nbye\n"


def test_a_stop_asks_first_and_then_does_not(tmp_path: Path) -> None:
    async def story(executor, watch):
        await executor.start(shell("deaf", "trap '' TERM; echo on; while :; do sleep 0.05; done"))
        await executor.start(
            shell("polite", "trap 'exit 7' TERM; echo on; while :; do sleep 0.05; done")
        )
        for name in ("deaf", "polite"):
            await until((tmp_path / name / "stdout").exists)
            await until(lambda name=name: (tmp_path / name / "stdout").read_bytes())
            await executor.stop(name, "cancelled", grace_s=0.3 if name == "deaf" else 600.0)
        return await watch.ended("deaf"), await watch.ended("polite")

    deaf, polite = played(tmp_path, story)
    assert (deaf.phase, deaf.reason, deaf.exit_code) == (RunPhase.STOPPED, "cancelled", -9)
    assert (polite.phase, polite.reason, polite.exit_code) == (RunPhase.STOPPED, "cancelled", 7)


def test_a_second_stop_hastens_the_first(tmp_path: Path) -> None:
    async def story(executor, watch):
        await executor.start(shell("r", "trap '' TERM; echo on; while :; do sleep 0.05; done"))
        await until((tmp_path / "r" / "stdout").exists)
        await until(lambda: (tmp_path / "r" / "stdout").read_bytes())
        await executor.stop("r", "first", grace_s=600.0)
        await asyncio.sleep(0.1)
        await executor.stop("r", "second", grace_s=0.0)
        return await watch.ended("r")

    assert played(tmp_path, story).reason == "first"


@pytest.mark.parametrize("how", ["stop", "timeout", "end"])
def test_a_daemon_does_not_get_away(tmp_path: Path, how: str) -> None:
    note = tmp_path / "daemon"
    stay_s = "0" if how == "end" else "600"
    limit_s = 1.5 if how == "timeout" else float("inf")
    command = (
        PYTHON,
        "-S",
        "-c",
        DAEMON + "\nwhile not os.path.exists(sys.argv[1]): time.sleep(0.01)",
        str(note),
        stay_s,
    )

    async def story(executor, watch):
        await executor.start(shell("r", "", command=command, timeout_s=limit_s))
        await watch.running("r")
        if how == "stop":
            await until(note.exists)
            await executor.stop("r", "cancelled", grace_s=0.1)
        return await watch.ended("r")

    end = played(tmp_path / "runs", story)
    expected = {"stop": "stopped", "timeout": "failed", "end": "succeeded"}[how]
    assert end.phase == expected
    assert not alive(int(note.read_text()))


def test_what_is_forgotten_leaves_its_logs_and_may_come_again(tmp_path: Path) -> None:
    async def story(executor, watch):
        await executor.start(shell("r", "echo first; touch file"))
        await watch.ended("r")
        await executor.forget("r")
        kept = await executor.logs("r"), sorted(p.name for p in (tmp_path / "r").iterdir())
        watch.history.clear()
        await executor.start(shell("r", "echo second"))
        await watch.ended("r")
        return kept, await executor.logs("r")

    kept, second = played(tmp_path, story)
    assert kept == (b"first\n", ["stderr", "stdout"])
    assert second == b"second\n"


def test_logs_are_kept_within_bounds_the_newest_longest(tmp_path: Path) -> None:
    for age, name in enumerate(("new", "old", "older", "ancient")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "stdout").write_bytes(b"x" * 2**20)
        os.utime(tmp_path / name, (1e9 - 100 * age, 1e9 - 100 * age))
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "launch.json").write_text("{}")
    assert prune(tmp_path, LogRetention(age_s=250, total_mib=10), now_s=1e9 + 1) == 1
    assert prune(tmp_path, LogRetention(age_s=1e9, total_mib=2.5), now_s=1e9 + 1) == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["new", "old", "runs"]


def test_a_root_has_one_owner(tmp_path: Path) -> None:
    async def story(executor, watch):
        with pytest.raises(CerebrumError, match="in use by another agent"):
            LocalProcesses(tmp_path)

    played(tmp_path, story)


def test_a_root_that_cannot_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CerebrumError, match="cannot keep runs here"):
        LocalProcesses(tmp_path / "file" / "runs")


def test_a_root_that_cannot_be_written_is_refused() -> None:
    with pytest.raises(CerebrumError, match="cannot keep runs here"):
        LocalProcesses("/proc/runs")  # not even root may


def test_a_full_disk_refuses_a_start_and_leaves_no_half_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    async def story(executor, watch):
        with monkeypatch.context() as patch:
            patch.setattr(records, "sync_directory", full)
            with pytest.raises(CerebrumError, match="No space left"):
                await executor.start(shell("r", "true"))
            assert not await executor.runs()
            assert not (tmp_path / "r").exists()
        await executor.start(shell("r", "true"))
        return await watch.ended("r")

    assert played(tmp_path, story).phase is RunPhase.SUCCEEDED


def test_a_disk_that_is_full_at_the_end_delays_the_end_but_does_not_lose_it(
    tmp_path: Path,
) -> None:
    async def story(executor, watch):
        blocker = tmp_path / "r" / "ended.json.new"
        await executor.start(shell("r", "sleep 0.3"))
        blocker.mkdir()  # where the record would be written
        await watch.running("r")
        await asyncio.sleep(1.0)
        assert watch.phases("r") == [RunPhase.RUNNING]
        blocker.rmdir()
        return await watch.ended("r")

    assert played(tmp_path, story).phase is RunPhase.SUCCEEDED


def test_the_zygote_is_replaced_when_it_was_killed(tmp_path: Path) -> None:
    async def story(executor, watch):
        await executor.start(shell("a", "sleep 0.5"))
        zygote = executor._spawner._zygote
        zygote.kill()
        zygote.wait()
        await executor.start(shell("b", "true"))
        return await watch.ended("a"), await watch.ended("b")

    assert {end.phase for end in played(tmp_path, story)} == {RunPhase.SUCCEEDED}


def test_a_supervisor_loads_little() -> None:
    code = _CODE.format(path=str(_PACKAGE)) + "; print(*sys.modules)"
    loaded = subprocess.run(
        [PYTHON, "-I", "-S", "-E", "-c", code], input=b"", check=True, capture_output=True
    ).stdout.split()
    assert not {b"numpy", b"asyncio", b"subprocess", b"pathlib", b"pydantic"} & set(loaded)


def test_a_closed_executor_says_so(tmp_path: Path) -> None:
    async def main():
        executor = LocalProcesses(tmp_path)
        await executor.close()
        await executor.close()
        with pytest.raises(CerebrumError, match="closed"):
            await executor.runs()
        with pytest.raises(NotFound):
            await executor.logs("r")

    asyncio.run(main())
