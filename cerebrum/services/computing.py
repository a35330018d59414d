"""Long computations beside the event loop, in threads that no end of the process waits for.

With a cold cache the first decision compiles for minutes. `asyncio.to_thread` would hold up a
SIGTERM until that is done: the loop waits for its threads, and so does the interpreter.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from contextvars import copy_context
from threading import Thread
from threading import enumerate as threads
from typing import Any

_NAME = "cerebrum-compute"
MOST = 8


class Computing:
    """A `ports.Compute`. At most `most` threads at a time, the rest waits for its turn."""

    def __init__(self, most: int = MOST) -> None:
        self._free = asyncio.Semaphore(most)

    async def __call__(self, work: Callable[[], Any]) -> Any:
        """What `work` returns or raises. Cancelled, it is left to end by itself."""
        async with self._free:
            loop = asyncio.get_running_loop()
            answer: asyncio.Future[Any] = loop.create_future()
            context = copy_context()

            def compute() -> None:
                try:
                    result, error = context.run(work), None
                except BaseException as raised:
                    result, error = None, raised
                with suppress(RuntimeError):  # the loop is closed: nobody asks any more
                    loop.call_soon_threadsafe(_tell, answer, result, error)

            Thread(target=compute, name=_NAME, daemon=True).start()
            return await answer


def leave(code: int) -> int:
    """`code`; but while something is still computed the process ends here and now.

    For the very end, when everything is closed: the interpreter must not be taken apart under a
    thread that compiles.
    """
    if any(thread.name == _NAME for thread in threads()):
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    return code


def _tell(answer: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
    if answer.done():  # cancelled meanwhile
        return
    if error is None:
        answer.set_result(result)
    else:
        answer.set_exception(error)
