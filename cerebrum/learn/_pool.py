"""Episodes that ended and may come again: going back is much quicker than making an engine."""

from __future__ import annotations

from collections import OrderedDict

from cerebrum.learn._episode import Episode

Key = tuple[int, int]
"""Which source, and which of its scenarios."""

MAX_BYTES = 512 * 2**20


class Pool:
    """Idle episodes by key, the latest used last; the oldest go when there are too many bytes.

    A memo: an episode taken from here is exactly what a new one would be.
    """

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes, self._bytes = max_bytes, 0
        self._idle: OrderedDict[Key, list[Episode]] = OrderedDict()

    def take(self, key: Key) -> Episode | None:
        """An episode at its beginning, if one is idle."""
        idle = self._idle.get(key)
        if not idle:
            return None
        episode = idle.pop()
        if not idle:
            del self._idle[key]
        self._bytes -= episode.size
        episode.restart()
        return episode

    def give(self, key: Key, episode: Episode) -> None:
        """Keep an episode that is over."""
        if not episode.reusable:
            return
        self._idle.setdefault(key, []).append(episode)
        self._idle.move_to_end(key)
        self._bytes += episode.size
        while self._bytes > self._max_bytes:
            _, gone = self._idle.popitem(last=False)
            self._bytes -= sum(old.size for old in gone)
