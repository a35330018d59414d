"""A cable between two programs of this machine that can be cut and mended.

    with Link(port) as link:
        ...  # a client of link.url talks to 127.0.0.1:port
        link.cut()
        link.mend()

While it is cut, connections stay open and nothing comes through, as behind a switch without power:
nobody is told, and what was on its way comes late. Connections made meanwhile get no answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from types import TracebackType
from typing import Self

_CHUNK = 1 << 16
_START_S = 30.0


class Link:
    """Forwards connections to `127.0.0.1:port`, in a thread of its own."""

    def __init__(self, port: int) -> None:
        self._target, self.port = port, 0
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        if not self._ready.wait(_START_S):
            raise RuntimeError("the link did not start")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join()

    @property
    def url(self) -> str:
        """Where the near end listens."""
        return f"http://127.0.0.1:{self.port}"

    def cut(self) -> None:
        """Let nothing through, in either direction."""
        self._loop.call_soon_threadsafe(self._whole.clear)

    def mend(self) -> None:
        """Let everything through again."""
        self._loop.call_soon_threadsafe(self._whole.set)

    async def _serve(self) -> None:
        self._loop, self._over, self._whole = (
            asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()
        )  # fmt: skip
        self._whole.set()
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._over.wait()
        server.close()  # asyncio.run ends the connections

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.CancelledError):
            await self._whole.wait()
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._pump(reader, far_writer))
                    group.create_task(self._pump(far_reader, writer))
            except* OSError:
                pass
            finally:
                far_writer.close()
        writer.close()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(_CHUNK):
            await self._whole.wait()
            writer.write(data)
            await writer.drain()
        await self._whole.wait()
        writer.close()
