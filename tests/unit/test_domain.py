"""Deadlines, intervals and instants."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.instants import from_iso, to_iso
from shared.domain.session import EndReason, SessionTiming, deadline, heartbeat_interval

TIMING = SessionTiming(ttl=90_000, leave_grace=5_000)


def test_silence_ends_a_session_one_ttl_after_its_last_heartbeat() -> None:
    assert deadline(1_000, None, TIMING) == (91_000, EndReason.EXPIRED)


@pytest.mark.parametrize("leave", [2_000, 1_000])
def test_leaving_last_or_at_a_tie_ends_a_session_after_the_grace(leave: int) -> None:
    assert deadline(1_000, leave, TIMING) == (leave + 5_000, EndReason.LEFT)


def test_a_heartbeat_after_leaving_keeps_the_session() -> None:
    assert deadline(2_001, 2_000, TIMING) == (92_001, EndReason.EXPIRED)


def test_the_grace_is_never_longer_than_the_ttl() -> None:
    assert SessionTiming(ttl=2_000, leave_grace=5_000).leave_grace == 2_000


@pytest.mark.parametrize(("ttl", "expected"), [(90, 30), (600, 30), (15, 5), (3, 1), (1, 1)])
def test_three_heartbeats_fit_into_a_ttl(ttl: float, expected: float) -> None:
    assert heartbeat_interval(30, ttl) == expected


@given(st.integers(0, 253_402_300_799_999))
def test_iso_text_keeps_every_millisecond(instant: int) -> None:
    assert from_iso(to_iso(instant)) == instant


def test_iso_text_has_milliseconds_and_z() -> None:
    assert to_iso(1_763_690_400_005) == "2025-11-21T02:00:00.005Z"
