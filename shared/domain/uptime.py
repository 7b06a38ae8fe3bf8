"""Uptime of a range, from what is known of it: arithmetic on spans of time."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Span:
    """The time from `start` up to `end` (ms), the latter not included."""

    start: int
    end: int

    @property
    def length(self) -> int:
        """Milliseconds."""
        return self.end - self.start


def without(span: Span, excluded: Iterable[Span]) -> list[Span]:
    """Returns what is left of `span`, in order; the excluded spans may overlap and come in any order."""
    left, start = [], span.start
    for each in sorted(excluded, key=lambda one: one.start):
        if start < (end := min(each.start, span.end)):
            left.append(Span(start, end))
        start = max(start, each.end)
    if start < span.end:
        left.append(Span(start, span.end))
    return left


def share(online: int, known: Sequence[Span]) -> float | None:
    """Returns `online` ms as a share of the known time, from 0 to 1; None when nothing is known."""
    total = sum(span.length for span in known)
    return None if total == 0 else round(online / total, 6)
