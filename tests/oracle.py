"""The meaning of presence (contract, rules 1, 2, 4 and 5) in plain Python, without regard to cost.

It never forgets anything, knows no partitions and no packing, and looks at every session on each call.
"""

from dataclasses import dataclass, field

SHORTEST_GAP = 5000


@dataclass
class Session:
    """One (facility, user, session) as far as it was heard; `life` is None when it was never online."""

    beat: int = 0
    leave: int = 0
    started: int = 0
    over: int = 0
    life: str | None = None


@dataclass
class Facility:
    """A facility's state; `end` is its newest session end with the reason."""

    online: bool = False
    since: int = 0
    version: int = 0
    reason: str = "heartbeat"
    end: tuple[int, str] = (0, "heartbeat")


@dataclass
class Oracle:
    """Applies messages and watermarks one at a time."""

    ttl: int
    grace: int
    watermark: int = 0
    sessions: dict[tuple[str, str], Session] = field(default_factory=dict)
    facilities: dict[str, Facility] = field(default_factory=dict)
    blocked: dict[str, int] = field(default_factory=dict)
    transitions: list[tuple[str, str, int, int, str]] = field(default_factory=list)
    """(facility, status, since, version, reason), in order."""
    log: set[tuple[str, str, int, int, str]] = field(default_factory=set)
    """(facility, session, started, ended, reason) of every ended presence."""

    def online(self, facility: str) -> list[tuple[str, Session]]:
        return [(i, s) for (f, i), s in sorted(self.sessions.items()) if f == facility and s.life == "online"]

    def due(self, session: Session) -> tuple[int, str]:
        if session.leave >= session.beat:
            return session.leave + self.grace, "left"
        return session.beat + self.ttl, "expired"

    def hear(self, facility: str, session_id: str, at: int, *, leaving: bool = False) -> None:
        known = self.sessions.get((facility, session_id))
        if known and known.life == "online" and self.due(known)[0] <= self.watermark:
            self.advance_one(facility, self.due(known)[0])
        if at <= self.blocked.get(session_id, -1):
            return
        session = self.sessions.setdefault((facility, session_id), Session())
        if leaving:
            if session.life == "online" or at + self.ttl > self.watermark:
                session.leave = max(session.leave, at)
            return
        if session.life == "online":
            if at >= session.over:
                session.started = min(session.started, at)
            session.beat = max(session.beat, at)
            return
        if at <= session.beat:
            return
        due, _ = self.due(Session(beat=at, leave=session.leave))
        if due <= self.watermark:
            return
        session.beat, session.started, session.life = at, max(at, session.over), "online"
        state = self.facilities.setdefault(facility, Facility())
        if not state.online:
            self._turn(facility, "online", session.started, "heartbeat")

    def census(self, watermark: int, heard_after: int) -> tuple[int, int, bool]:
        """Rule 7: sessions online without a goodbye, those of them heard after a moment, whether one of them is due."""
        there = [(i, s) for (_, i), s in self.sessions.items() if s.life == "online" and s.beat > s.leave]
        heard = {i for i, s in there if s.beat > heard_after}
        return len({i for i, _ in there}), len(heard), any(s.beat + self.ttl <= watermark for _, s in there)

    def advance(self, watermark: int, *, held: bool = False) -> None:
        """`held` (rules 6 and 7): nobody expires and nothing is decided, but those who left end."""
        self.reach(watermark, held=held)
        for facility in list(self.facilities):
            self.advance_one(facility, watermark, held=held)

    def reach(self, watermark: int, *, held: bool = False) -> None:
        """What is late by `watermark` is late from now on, whoever has had a turn."""
        if not held:
            self.watermark = max(self.watermark, watermark)

    def advance_one(self, facility: str, watermark: int, *, held: bool = False) -> None:
        """The same at one facility, ahead of its turn; for the others nothing is decided."""
        over = sorted(
            (self.due(s)[0], i)
            for i, s in self.online(facility)
            if self.due(s)[0] <= watermark and not (held and self.due(s)[1] == "expired")
        )
        for due, session_id in over:
            self._end(facility, session_id, due, self.due(self.sessions[facility, session_id])[1])
            state = self.facilities[facility]
            rest = [s.started for _, s in self.online(facility)]
            if not rest:
                self._turn(facility, "offline", *state.end)
            elif min(rest) - state.end[0] >= SHORTEST_GAP and state.end[0] >= state.since:
                self._turn(facility, "offline", *state.end)
                self._turn(facility, "online", min(rest), "heartbeat")

    def end(self, session_id: str, facilities: list[str], now: int, until: int) -> None:
        self.blocked[session_id] = max(until, self.blocked.get(session_id, 0))
        for facility in facilities:
            session = self.sessions.get((facility, session_id))
            if session is None:
                continue
            if session.life != "online":
                continue
            self._end(facility, session_id, max(now, session.started), "ended")
            if not self.online(facility):
                self._turn(facility, "offline", *self.facilities[facility].end)

    def _end(self, facility: str, session_id: str, at: int, reason: str) -> None:
        session = self.sessions[facility, session_id]
        session.life, session.over = reason, at
        self.log.add((facility, session_id, session.started, at, reason))
        state = self.facilities[facility]
        if at >= state.end[0]:
            state.end = (at, reason)

    def _turn(self, facility: str, status: str, at: int, reason: str) -> None:
        state = self.facilities[facility]
        state.online, state.reason = status == "online", reason
        state.since, state.version = max(at, state.since), state.version + 1
        self.transitions.append((facility, status, state.since, state.version, reason))
