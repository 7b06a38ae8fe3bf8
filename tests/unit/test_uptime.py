"""Arithmetic on spans."""

from hypothesis import given
from hypothesis import strategies as st

from shared.domain.uptime import Span, share, without

spans = st.tuples(st.integers(0, 40), st.integers(0, 40)).map(lambda ends: Span(min(ends), max(ends)))


@given(span=spans, excluded=st.lists(spans, max_size=6))
def test_what_is_left_is_every_instant_that_nothing_excludes(span: Span, excluded: list[Span]) -> None:
    left = without(span, excluded)
    instants = [instant for part in left for instant in range(part.start, part.end)]
    gone = {instant for each in excluded for instant in range(each.start, each.end)}
    assert instants == [instant for instant in range(span.start, span.end) if instant not in gone]
    assert all(part.length > 0 for part in left)


def test_a_share_is_of_what_is_known() -> None:
    assert share(30, [Span(0, 40), Span(100, 120)]) == 0.5
    assert share(0, [Span(0, 1)]) == 0
    assert share(1, [Span(0, 3)]) == 0.333333
    assert share(0, []) is None
