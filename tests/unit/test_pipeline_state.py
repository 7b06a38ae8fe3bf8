"""Rule 6 as a pure function: stalls, holds, and the way back."""

from dataclasses import replace

import pytest

from shared.domain.pipeline import PipelineState, PipelineTiming, observe

TIMING = PipelineTiming(stale_after=3_000, ttl=10_000)


def test_a_first_start_is_not_stalled() -> None:
    assert observe(PipelineState(), None, 50_000, TIMING) == PipelineState()


def test_the_first_watermark_is_taken_and_sessions_may_end() -> None:
    state = observe(PipelineState(), 49_800, 50_000, TIMING)
    assert state == PipelineState(watermark=49_800)
    assert state.may_end_sessions(50_000, TIMING)


def test_a_first_start_with_sessions_but_a_stream_of_which_a_part_is_not_read_is_stalled_since_they_are_heard() -> None:
    assert observe(PipelineState(), None, 53_000, TIMING, heard_since=50_000) == PipelineState()
    stalled = observe(PipelineState(), None, 53_001, TIMING, heard_since=50_000)
    assert stalled == PipelineState(stale_since=50_000)
    assert not stalled.may_end_sessions(53_001, TIMING)
    assert observe(stalled, None, 70_000, TIMING, heard_since=51_000) == stalled
    current = observe(stalled, 79_800, 80_000, TIMING, heard_since=50_000)
    assert current == PipelineState(watermark=79_800, stale_since=50_000, hold_until=90_000)
    assert observe(current, 90_000, 90_100, PipelineTiming(20_000, 10_000)) == PipelineState(watermark=90_000)


def test_a_first_watermark_that_comes_too_late_lets_nobody_expire_at_once() -> None:
    state = observe(PipelineState(), 79_800, 80_000, TIMING, heard_since=50_000)
    assert state == PipelineState(watermark=79_800, stale_since=50_000, hold_until=90_000)


def test_sessions_do_not_matter_once_there_is_a_watermark() -> None:
    state = observe(PipelineState(watermark=79_000), 79_800, 80_000, TIMING, heard_since=1)
    assert state == PipelineState(watermark=79_800)


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


def test_a_watermark_far_ahead_of_a_clock_that_was_set_back_is_a_stall_since_now() -> None:
    ahead = PipelineState(watermark=3_650_000)
    assert ahead.is_stalled(50_000, TIMING)
    assert not ahead.may_end_sessions(50_000, TIMING)
    assert observe(ahead, 49_800, 50_000, TIMING) == PipelineState(watermark=3_650_000, stale_since=50_000)


def test_a_watermark_a_little_ahead_is_but_a_difference_between_clocks() -> None:
    state = observe(PipelineState(watermark=53_000), 49_800, 50_000, TIMING)
    assert state == PipelineState(watermark=53_000)
    assert state.may_end_sessions(50_000, TIMING)


def test_the_stall_of_a_clock_set_back_ends_with_a_hold_once_the_clock_has_caught_up() -> None:
    state = observe(PipelineState(watermark=60_000, hold_until=65_000, stale_since=1), None, 50_000, TIMING)
    assert state == PipelineState(watermark=60_000, stale_since=1), "a hold by the clock before says nothing"
    state = observe(state, None, 58_000, TIMING)
    assert (state.stale_since, state.hold_until) == (1, 68_000)
    state = replace(state, watermark=67_000)
    assert observe(state, 68_000, 68_200, TIMING) == PipelineState(watermark=68_000)
