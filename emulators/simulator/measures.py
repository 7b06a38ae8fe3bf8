"""Counters of a run and the time from a fact to its arrival."""

import time
from bisect import insort
from collections import Counter, deque
from collections.abc import Iterable

KEPT_VALUES = 5_000
KEPT_SECONDS = 120.0
RATE_SECONDS = 5


class Lags:
    """The newest values of one kind of lag, in seconds."""

    def __init__(self) -> None:
        self._order: deque[float] = deque()
        self._sorted: list[float] = []

    def add(self, seconds: float) -> None:
        """Takes a value in."""
        if len(self._order) == KEPT_VALUES:
            self._sorted.remove(self._order.popleft())
        self._order.append(seconds)
        insort(self._sorted, seconds)

    def __len__(self) -> int:
        return len(self._order)

    def quantile(self, share: float) -> float | None:
        """The value that `share` of all do not exceed; None without values."""
        if not self._sorted:
            return None
        return self._sorted[min(len(self._sorted) - 1, int(share * len(self._sorted)))]


class Measures:
    """What happened so far."""

    def __init__(self) -> None:
        self.accepted = 0
        self.problems: Counter[str] = Counter()
        self.live = 0
        self.transitions = 0
        self.resyncs = 0
        self.online_lag = Lags()
        self.offline_lag = Lags()
        self._per_second: Counter[int] = Counter()
        self._accepted_at: dict[tuple[str, str], float] = {}
        self._announced: dict[tuple[str, str], float] = {}

    def heartbeat_accepted(self, facility_ids: Iterable[str], received_at: str) -> None:
        """Notes a 202, by which an announcement `online since received_at` is measured."""
        now = time.time()
        self.accepted += 1
        self._per_second[int(now)] += 1
        for facility_id in facility_ids:
            key = (facility_id, received_at)
            if self._announced.pop(key, None) is not None:
                self.online_lag.add(0.0)  # it was announced before we had the answer
            else:
                self._accepted_at[key] = now

    def offline_announced(self, since_seconds: float) -> float:
        """Notes that a facility is announced offline; returns the lag since then, its deadline."""
        lag = time.time() - since_seconds
        self.offline_lag.add(lag)
        return lag

    def online_announced(self, facility_id: str, since: str) -> float | None:
        """Notes that a facility is announced online; returns the lag since the 202 behind it, if that was ours."""
        now, key = time.time(), (facility_id, since)
        accepted_at = self._accepted_at.pop(key, None)
        if accepted_at is None:
            self._announced[key] = now
            return None
        self.online_lag.add(now - accepted_at)
        return now - accepted_at

    def rate(self) -> float:
        """Heartbeats accepted per second, over the last whole seconds."""
        now = int(time.time())
        return sum(self._per_second.get(second, 0) for second in range(now - RATE_SECONDS, now)) / RATE_SECONDS

    def forget_old(self) -> None:
        """Drops what will not be matched any more."""
        oldest = time.time() - KEPT_SECONDS
        for moments in (self._accepted_at, self._announced):
            # In order of time, so only what goes is looked at.
            while moments and moments[key := next(iter(moments))] < oldest:
                del moments[key]
        while self._per_second and (second := next(iter(self._per_second))) < oldest:
            del self._per_second[second]
