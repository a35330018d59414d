"""Kills, at the worst moments: of the agent, of a supervisor, of the machine. Nothing is lost, and
nothing runs twice."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest

from cerebrum.executors import _local_folders as folders
from cerebrum.executors import _local_records as records
from cerebrum.executors import _local_tree as tree
from cerebrum.executors._local_command import base_environment
from cerebrum.executors.conformance import Watch
from cerebrum.executors.local import LocalProcesses, _Known
from cerebrum.model.runs import Launch, RunPhase
from tests.executors._stories import (
    DAEMON,
    PYTHON,
    alive,
    played,
    shell,
    supervisor_pid,
    until,
)

ROOT = Path(__file__).resolve().parents[2]

# An agent that starts what it is told, says so, and then lives on until it is killed.
OWNER = """
import asyncio, sys
from cerebrum.executors.local import LocalProcesses
from tests.executors._stories import shell

async def main():
    executor = LocalProcesses(sys.argv[1])
    print("open", flush=True)
    for i in range(int(sys.argv[3])):
        await executor.start(shell(f"r{i:03}", sys.argv[2]))
        print(f"r{i:03}", flush=True)
    if sys.argv[4] != "never":
        await executor.fence([f"r{i:03}" for i in range(int(sys.argv[3]))], float(sys.argv[4]))
    print("all", flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""


@contextlib.contextmanager
def owner(root: Path, text: str, runs: int = 1, fence: str = "never"):
    """An agent in a process of its own; killed at the end, if not before."""
    agent = subprocess.Popen(
        [PYTHON, "-c", OWNER, str(root), text, str(runs), fence], cwd=ROOT, stdout=subprocess.PIPE
    )
    try:
        yield agent
    finally:
        agent.kill()
        agent.communicate()


def said(agent: subprocess.Popen[bytes], word: bytes) -> None:
    """Wait until the agent says something."""
    while line := agent.stdout.readline():
        if line.strip() == word:
            return
    raise AssertionError(f"the agent ended before it said {word!r}")


def write_intent(root: Path, launch: Launch) -> Path:
    """What an agent that is killed at the worst moment leaves."""
    folder = root / launch.run_id
    folders.write_intent(folder, launch, base_environment(os.environ), 2**20)
    return folder


def test_a_run_outlives_its_agent_and_is_adopted(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    with owner(tmp_path / "runs", f"while [ ! -e {gate} ]; do sleep 0.05; done; echo through") as a:
        said(a, b"all")
        os.kill(a.pid, signal.SIGKILL)
        a.wait()

        async def story(executor, watch):
            await until(lambda: (tmp_path / "runs/r000/started.json").exists())
            (before,) = await executor.runs()
            gate.touch()
            return before, await watch.ended("r000"), await executor.logs("r000")

        before, end, out = played(tmp_path / "runs", story)
    assert before.phase is RunPhase.RUNNING
    assert (end.phase, out) == (RunPhase.SUCCEEDED, b"through\n")


def test_what_ended_while_nobody_looked_is_known_afterwards(tmp_path: Path) -> None:
    with owner(tmp_path, "sleep 0.2; exit 5") as agent:
        said(agent, b"all")
        os.kill(agent.pid, signal.SIGKILL)
        agent.wait()

        async def look():
            await until((tmp_path / "r000" / "ended.json").exists)

        asyncio.run(look())

        async def story(executor, watch):
            return (await executor.runs())[0]

        end = played(tmp_path, story)
    assert (end.phase, end.exit_code, end.task) == (RunPhase.FAILED, 5, "task r000")


def test_a_fence_holds_though_the_agent_is_dead(tmp_path: Path) -> None:
    with owner(tmp_path, "sleep 600", fence="0.5") as agent:
        said(agent, b"all")
        os.kill(agent.pid, signal.SIGKILL)
        agent.wait()

        async def look():
            await until((tmp_path / "r000" / "ended.json").exists)

        asyncio.run(look())
    ended = records.read_record(str(tmp_path / "r000" / "ended.json"))
    assert (ended["phase"], ended["reason"]) == ("stopped", "fenced")


def test_an_agent_killed_before_it_asked_for_a_supervisor_has_one_afterwards(
    tmp_path: Path,
) -> None:
    write_intent(tmp_path, shell("r", "echo ran"))

    async def story(executor, watch):
        return (await watch.ended("r")).phase, await executor.logs("r")

    assert played(tmp_path, story) == (RunPhase.SUCCEEDED, b"ran\n")


def test_many_supervisors_for_one_run_start_it_once(tmp_path: Path) -> None:
    async def story(executor, watch):
        folder = write_intent(tmp_path, shell("r", f"echo ran >> {tmp_path}/count; sleep 0.3"))
        executor._runs["r"] = _Known(folders.read_status(folder), folder)
        for _ in range(10):
            executor._spawner.spawn(folder)
        return await watch.ended("r")

    assert played(tmp_path, story).phase is RunPhase.SUCCEEDED
    assert (tmp_path / "count").read_text() == "ran\n"


def test_a_killed_supervisor_takes_its_whole_run_along(tmp_path: Path) -> None:
    note = tmp_path / "daemon"

    async def story(executor, watch):
        command = (PYTHON, "-S", "-c", DAEMON, str(note), "600")
        await executor.start(shell("r", "", command=command))
        await watch.running("r")
        await until(note.exists)
        main = json.loads((tmp_path / "runs/r/started.json").read_text())["pid"]
        os.kill(supervisor_pid(tmp_path / "runs", "r"), signal.SIGKILL)
        return main, await watch.ended("r")

    main, end = played(tmp_path / "runs", story)
    assert (end.phase, end.reason) == (RunPhase.FAILED, "supervisor killed")
    assert not alive(main)
    assert not alive(int(note.read_text()))


def test_a_supervisor_killed_before_the_command_began_is_replaced(tmp_path: Path) -> None:
    async def story(executor, watch):
        launch = Launch("r", "t", "n", shell("r", "").resources, shell("r", "echo ran").program,
                        stage_in_s=0.6)  # fmt: skip
        await executor.start(launch)
        await until(lambda: records.supervisor(str(tmp_path / "r"))[1])
        os.kill(supervisor_pid(tmp_path, "r"), signal.SIGKILL)
        return await watch.ended("r"), await executor.logs("r")

    end, out = played(tmp_path, story)
    assert (end.phase, out) == (RunPhase.SUCCEEDED, b"ran\n")


@pytest.mark.parametrize(
    ("started", "fenced", "phase", "reason"),
    [
        (True, False, "failed", "machine restarted"),
        (False, False, "start_failed", "machine restarted"),
        (True, True, "stopped", "fenced"),
    ],
)
def test_a_restart_of_the_machine_ends_every_run(
    tmp_path: Path, started: bool, fenced: bool, phase: str, reason: str
) -> None:
    folder = write_intent(tmp_path, shell("r", "echo ran"))
    intent = json.loads((folder / "launch.json").read_text()) | {"boot_id": "an earlier boot"}
    (folder / "launch.json").write_text(json.dumps(intent))
    if started:
        (folder / "started.json").write_text(json.dumps({"pid": os.getpid(), "unix_s": 1e9}))
    if fenced:
        fences = {"boot_id": "an earlier boot", "deadlines": {"r": 1e12}}
        (tmp_path / ".fences.json").write_text(json.dumps(fences))

    async def story(executor, watch):
        await watch.adopt()  # that it ran is known from before
        return await watch.ended("r"), await executor.logs("r")

    end, out = played(tmp_path, story)
    assert (end.phase, end.reason, out) == (phase, reason, b"")


def test_a_supervisor_killed_just_as_the_command_began_still_tells_that_it_ran(
    tmp_path: Path,
) -> None:
    folder = write_intent(tmp_path, shell("r", "echo ran"))
    (folder / "prepared.json").write_text(json.dumps({"pid": 1, "unix_s": 1e9}))

    async def story(executor, watch):
        end = await watch.ended("r")
        return watch.phases("r"), end.reason

    assert played(tmp_path, story) == ([RunPhase.RUNNING, RunPhase.FAILED], "supervisor killed")


def test_a_pid_that_is_somebody_elses_by_now_is_not_signalled(tmp_path: Path) -> None:
    (tmp_path / "r").mkdir()
    stranger = subprocess.Popen(["sleep", "600"])
    try:
        lock = records.lock_run(str(tmp_path / "r"))
        os.pwrite(lock, f"{stranger.pid} 1".encode(), 0)  # a supervisor long gone had this pid
        assert records.supervisor(str(tmp_path / "r")) == (True, 0)
        records.nudge(str(tmp_path / "r"))
        time.sleep(0.1)
        assert stranger.poll() is None
        os.close(lock)
    finally:
        stranger.kill()
        stranger.wait()


def test_a_lock_is_free_as_soon_as_its_holder_is_gone(tmp_path: Path) -> None:
    lock = records.lock_run(str(tmp_path))
    assert records.has_supervisor(str(tmp_path))
    assert records.lock_run(str(tmp_path)) is None
    fcntl.flock(lock, fcntl.LOCK_UN)
    os.close(lock)
    assert not records.has_supervisor(str(tmp_path))


def test_a_process_is_found_by_its_mark_whoever_its_parent_is() -> None:
    env = {**os.environ, tree.RUN_ID_VARIABLE: "cb-marked"}
    with subprocess.Popen(["sleep", "600"], env=env) as process:
        deadline = time.monotonic() + 30
        while tree.marked("cb-marked") != [process.pid] and time.monotonic() < deadline:
            time.sleep(0.01)
        assert tree.marked("cb-marked") == [process.pid]
        assert tree.marked("cb-mark") == []
        tree.end_marked("cb-marked")
        assert process.wait() == -signal.SIGKILL


def adopted(root: Path, ids: list[str]) -> None:
    """Every run that was promised is there, and ends well."""

    async def story(executor, watch):
        await watch.adopt()
        known = [status.run_id for status in await executor.runs()]
        assert set(ids) <= set(known)
        for run_id in known:
            end = await watch.ended(run_id)
            assert end.phase is RunPhase.SUCCEEDED, end

    played(root, story)


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.slow),
                                  pytest.param(3, marks=pytest.mark.slow)])  # fmt: skip
def test_an_agent_killed_at_any_moment_loses_nothing_and_repeats_nothing(
    tmp_path: Path, seed: int
) -> None:
    count, pause_s = tmp_path / "count", random.Random(seed).uniform(0.05, 0.4)
    with owner(tmp_path / "runs", f"echo $CEREBRUM_RUN_ID >> {count}", runs=200) as agent:
        said(agent, b"open")
        time.sleep(pause_s)
        os.kill(agent.pid, signal.SIGKILL)
        promised = [line.decode().strip() for line in agent.stdout if line.startswith(b"r")]
    adopted(tmp_path / "runs", promised)
    ran = count.read_text().split() if count.exists() else []
    assert set(promised) <= set(ran)
    assert len(ran) == len(set(ran))


def test_restarts_of_a_watching_agent_report_each_end_once(tmp_path: Path) -> None:
    async def main():
        ended: list[str] = []
        first = LocalProcesses(tmp_path)
        for i in range(20):
            await first.start(shell(f"r{i}", f"sleep 0.{i}"))
        await first.close()
        while len(ended) < 20:
            executor = LocalProcesses(tmp_path)
            for status in await executor.runs():
                if status.phase.final:
                    ended.append(status.run_id)
                    await executor.forget(status.run_id)
            await executor.close()
            await asyncio.sleep(0.05)
        return ended

    ended = asyncio.run(asyncio.wait_for(main(), 60))
    assert len(set(ended)) == 20


def test_a_cancelled_start_is_there_or_not_but_not_half(tmp_path: Path) -> None:
    async def story(executor, watch: Watch):
        for i in range(20):
            task = asyncio.create_task(executor.start(shell(f"r{i}", "true")))
            await asyncio.sleep(0.0005 * (i % 7))
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        await until(lambda: not executor._starting)
        for status in await executor.runs():
            assert (await watch.ended(status.run_id)).phase is RunPhase.SUCCEEDED
        return len(await executor.runs())

    assert played(tmp_path, story) > 0
