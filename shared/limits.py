"""How many heartbeats one user may send."""

import math

_WINDOW_MS = 60_000


class HeartbeatLimiter:
    """Allows each user `per_minute` calls in any minute, counted in this process.

    A sliding window from two counters per user: those of this minute, and those of the last one by the share of it
    that a window ending now still covers. Memory is that of the users of two minutes.
    """

    def __init__(self, per_minute: int) -> None:
        self.per_minute = per_minute
        self._minute = 0
        self._counts: dict[str, int] = {}
        self._previous: dict[str, int] = {}

    def retry_after(self, user_id: str, now: int) -> int:
        """Counts a call at `now` (ms) and returns 0, or refuses it and returns after how many seconds to try again."""
        minute, elapsed = divmod(now, _WINDOW_MS)
        if minute != self._minute:
            self._previous = self._counts if minute == self._minute + 1 else {}
            self._counts = {}
            self._minute = minute
        count = self._counts.get(user_id, 0)
        previous = self._previous.get(user_id, 0)
        if count + previous * (_WINDOW_MS - elapsed) / _WINDOW_MS <= self.per_minute - 1:
            self._counts[user_id] = count + 1
            return 0
        return math.ceil(self._wait(count, previous, elapsed) / 1000)

    def _wait(self, count: int, previous: int, elapsed: int) -> float:
        """Returns the milliseconds until one more call fits."""
        room = self.per_minute - 1 - count
        if room >= 0:
            # Within this minute, as soon as enough of the last one is out of the window.
            return max(_WINDOW_MS * (1 - room / previous) - elapsed, 1)
        # Not before the next minute, in which this one's calls are the previous ones.
        return _WINDOW_MS - elapsed + _WINDOW_MS * (1 - (self.per_minute - 1) / count)
