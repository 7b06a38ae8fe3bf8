"""What happened to a facility, page by page, and its uptime over the range asked for. Reads SQL only."""

from collections.abc import Callable
from dataclasses import dataclass

from shared.cursors import Cursors
from shared.domain.instants import to_iso
from shared.domain.uptime import Span, share, without
from shared.problems import FieldError, InvalidRequestError
from shared.requests import HistoryQuery
from shared.store.ports import HistoryStore, Transition

DEFAULT_RANGE = 24 * 3600 * 1000
_ABOVE_EVERY_VERSION = 2**62


@dataclass(frozen=True, slots=True)
class HistoryPage:
    """One page. `uptime` and `stale` (ms) are of the whole range; `uptime` is None when nothing of it is known."""

    transitions: list[Transition]
    cursor: str | None
    uptime: float | None
    stale: int

    def body(self) -> dict[str, object]:
        """Returns the page as the API shows it."""
        return {
            "items": [
                {"version": each.version, "status": each.status, "at": to_iso(each.at), "reason": each.reason}
                for each in self.transitions
            ],
            "cursor": self.cursor,
            "uptime": self.uptime,
            "staleSeconds": self.stale / 1000,
        }


class FacilityHistory:
    """Raises DependencyUnavailableError("sql")."""

    def __init__(self, store: HistoryStore, cursors: Cursors, now: Callable[[], int]) -> None:
        self._store = store
        self._cursors = cursors
        self._now = now

    async def page(self, facility_id: str, query: HistoryQuery) -> HistoryPage:
        """Returns the page that a query asks for.

        A cursor brings the range of the first page with it, also where that was "up to now".
        Raises InvalidRequestError.
        """
        return await self._store.thread.answer(self._page, facility_id, query)

    def _page(self, facility_id: str, query: HistoryQuery) -> HistoryPage:
        listing = f"history/{facility_id}"
        if query.cursor is None:
            span = query.span(self._now(), length=DEFAULT_RANGE)
            until, before = span.end, _ABOVE_EVERY_VERSION
        else:
            start, end, until, before = self._cursors.open(listing, query.cursor)
            span = Span(start, end)
            for name, given, value in (("from", query.start, start), ("to", query.end, end)):
                if given not in (None, value):
                    text = "should be what it was when the cursor was given, or absent"
                    raise InvalidRequestError([FieldError(f"/{name}", text)])

        found = self._store.transitions(facility_id, Span(span.start, until), before=before, limit=query.limit + 1)
        shown = found[: query.limit]
        following = None
        if len(found) > query.limit:
            following = self._cursors.seal(listing, span.start, span.end, shown[-1].at, shown[-1].version)
        return HistoryPage(shown, following, *self._uptime(facility_id, span))

    def _uptime(self, facility_id: str, span: Span) -> tuple[float | None, int]:
        span = Span(span.start, max(span.start, min(span.end, self._now())))
        stale = self._store.stale_periods(span)
        unknown = list(stale)
        if (since := self._store.known_since(facility_id)) is not None:
            unknown.append(Span(0, since))
        known = without(span, unknown)
        online = sum(self._store.online_time(facility_id, known).values())
        return share(online, known), span.length - sum(part.length for part in without(span, stale))
