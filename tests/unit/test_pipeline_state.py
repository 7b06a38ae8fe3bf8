"""Rule 6 as a pure function: stalls, holds, and the way back."""

import pytest

from shared.domain.pipeline import PipelineState, PipelineTiming, observe

TIMING = PipelineTiming(stale_after=3_000, ttl=10_000)


def test_a_first_start_is_not_stalled() -> None:
    assert observe(PipelineState(), None, 50_000, TIMING) == PipelineState()


def test_the_first_watermark_is_taken_and_sessions_may_end() -> None:
    state = observe(PipelineState(), 49_800, 50_000, TIMING)
    assert state == PipelineState(watermark=49_800)
    assert state.may_end_sessions(50_000, TIMING)


def test_the_watermark_never_goes_back() -> None:
    assert observe(PipelineState(watermark=10_000), 9_000, 10_500, TIMING).watermark == 10_000


def test_a_watermark_that_stopped_makes_the_pipeline_stale_since_where_it_stopped() -> None:
    state = observe(PipelineState(watermark=10_000), None, 13_001, TIMING)
    assert state.stale_since == 10_000
    assert not state.may_end_sessions(13_001, TIMING)


def test_being_exactly_at_the_limit_is_not_a_stall() -> None:
    assert not observe(PipelineState(watermark=10_000), None, 13_000, TIMING).stale


def test_a_long_gap_between_two_looks_is_a_stall_even_if_the_watermark_is_current_again() -> None:
    state = observe(PipelineState(watermark=10_000), 99_900, 100_000, TIMING)
    assert state == PipelineState(watermark=99_900, stale_since=10_000, hold_until=110_000)


def test_recovery_holds_for_one_ttl_and_then_ends() -> None:
    state = PipelineState(watermark=99_900, stale_since=10_000, hold_until=110_000)
    during = observe(state, 109_700, 109_900, PipelineTiming(stale_after=20_000, ttl=10_000))
    assert during.hold_until == 110_000
    assert observe(during, 110_000, 110_200, TIMING) == PipelineState(watermark=110_000)


def test_a_second_stall_during_recovery_starts_the_hold_anew() -> None:
    state = PipelineState(watermark=100_000, stale_since=10_000, hold_until=110_000)
    again = observe(state, None, 104_000, TIMING)
    assert again == PipelineState(watermark=100_000, stale_since=10_000)
    assert observe(again, 104_900, 105_000, TIMING).hold_until == 115_000


@pytest.mark.parametrize("watermark", [None, 0])
def test_without_a_current_watermark_nobody_ends(watermark: int | None) -> None:
    assert not PipelineState(watermark=watermark).may_end_sessions(60_000, TIMING)
