"""What takes long runs beside the event loop, and never holds up the end."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading

import pytest

from cerebrum.services.computing import Computing

ABANDONED = """
import asyncio, time
from cerebrum.services.computing import Computing, leave

async def main():
    asyncio.ensure_future(Computing()(lambda: time.sleep(600)))
    await asyncio.sleep(0.05)
    print("closed")
    return 3

raise SystemExit(leave(asyncio.run(main())))
"""


def test_answers_and_errors_come_back():
    async def story() -> None:
        compute = Computing()
        here = threading.current_thread()
        assert await compute(lambda: threading.current_thread() is not here)
        with pytest.raises(ZeroDivisionError):
            await compute(lambda: 1 / 0)

    asyncio.run(story())


def test_no_more_threads_than_allowed_work_at_once():
    async def story() -> None:
        compute, go_on, begun = Computing(most=2), threading.Event(), list[int]()

        def work(number: int) -> int:
            begun.append(number)
            assert go_on.wait(60)
            return number

        asked = [asyncio.ensure_future(compute(lambda i=i: work(i))) for i in range(3)]
        while len(begun) < 2:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        assert begun == [0, 1]
        go_on.set()
        assert await asyncio.gather(*asked) == [0, 1, 2]

    asyncio.run(story())


def test_a_process_ends_though_something_is_still_computed():
    done = subprocess.run(
        [sys.executable, "-c", ABANDONED], timeout=60, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (3, "closed\n"), done.stderr
