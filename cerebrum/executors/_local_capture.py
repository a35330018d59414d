"""What a command writes, kept in a file that cannot fill the disk.

The beginning and the end are kept, for an error is mostly in one of them; what lies between is
counted and left out. The command itself never waits and never notices.
"""

from __future__ import annotations

import os

_CHUNK = 2**16
_TAIL = 2**16


class Capture:
    """One stream: `source` is our end of the pipe, the file at `path` holds `limit` bytes at most.

    The note about what was left out comes on top.
    """

    def __init__(self, path: str, limit: int) -> None:
        self.source, self.sink = os.pipe2(os.O_CLOEXEC)
        self.open = True  # until every writer has closed its end
        os.set_blocking(self.source, False)
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        self._file = os.open(path, flags, 0o600)
        self._tail_limit = min(_TAIL, limit // 2)
        self._head_left = limit - self._tail_limit
        self._tail = bytearray()
        self._left_out = 0

    def pump(self) -> bool:
        """Take what is there; False if that was nothing. Never waits."""
        try:
            piece = os.read(self.source, _CHUNK)
        except BlockingIOError:
            return False
        self.open = bool(piece)
        head, rest = piece[: self._head_left], piece[self._head_left :]
        self._head_left -= len(head)
        self._write(head)
        self._tail += rest
        excess = len(self._tail) - self._tail_limit
        if excess > 0:
            del self._tail[:excess]
            self._left_out += excess
        return bool(piece)

    def finish(self) -> None:
        """Take the rest, write the end and close. Every writer must be gone."""
        while self.pump():
            pass
        if self._left_out:
            self._write(f"\n[cerebrum: {self._left_out} bytes left out]\n".encode())
        self._write(bytes(self._tail))
        os.close(self.source)
        os.close(self._file)

    def _write(self, piece: bytes) -> None:
        """Write all of it; where the disk is full, count it among what was left out."""
        try:
            while piece:
                piece = piece[os.write(self._file, piece) :]
        except OSError:
            self._left_out += len(piece)
