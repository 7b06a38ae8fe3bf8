"""Rule 7 as a pure function: when a hold begins, ends early, runs out, and when the rule applies again."""

import pytest

from shared.domain.silence import Census, Silence, SilenceTiming, judge

TIMING = SilenceTiming(ttl=9_000, hold=60_000, ratio=0.5, min_sessions=20)
HOLDING = Silence(since=99_800, until=160_000)
RESTING = Silence(resting=True)


def after(silence: Silence, online: int, heard: int, now: int = 100_000, *, due: bool = True) -> Silence:
    return judge(silence, Census(online, heard, due), now - 200, now, TIMING)


def test_a_hold_begins_where_a_session_is_due_and_too_few_are_heard() -> None:
    assert after(Silence(), 25, 12) == HOLDING


@pytest.mark.parametrize(
    ("online", "heard", "due"),
    [(25, 13, True), (24, 12, True), (19, 0, True), (25, 0, False), (0, 0, False)],
    ids=["most-are-heard", "exactly-the-share-is", "too-few-to-tell", "nobody-is-due", "nobody-is-there"],
)
def test_otherwise_the_truth_is_told(online: int, heard: int, due: bool) -> None:
    assert after(Silence(), online, heard, due=due) == Silence()


def test_a_ratio_of_one_holds_when_anybody_is_missing() -> None:
    timing = SilenceTiming(ttl=9_000, hold=60_000, ratio=1, min_sessions=1)
    assert judge(Silence(), Census(3, 2, due=True), 1, 2, timing).holds
    assert not judge(Silence(), Census(3, 3, due=True), 1, 2, timing).holds


def test_a_hold_lasts_while_too_few_are_heard_even_if_few_are_left() -> None:
    assert after(HOLDING, 5, 2, 130_000) == HOLDING


def test_a_hold_is_over_at_once_when_everybody_is_heard_again() -> None:
    assert after(HOLDING, 25, 25, 130_000) == Silence()


def test_a_hold_is_over_when_all_of_its_sessions_left() -> None:
    assert after(HOLDING, 0, 0, 130_000, due=False) == Silence()


def test_the_others_have_the_time_of_a_beat_once_enough_are_heard() -> None:
    settling = after(HOLDING, 25, 13, 130_000)
    assert settling == Silence(since=99_800, until=160_000, heard_at=130_000)
    assert after(settling, 25, 20, 132_999) == settling
    assert after(settling, 25, 20, 133_000) == Silence()


def test_when_the_share_is_lost_again_the_wait_starts_anew() -> None:
    settling = after(HOLDING, 25, 13, 130_000)
    assert after(settling, 25, 12, 131_000) == HOLDING


def test_a_hold_that_runs_out_is_followed_by_the_truth_and_rest() -> None:
    assert after(HOLDING, 25, 12, 159_999) == HOLDING
    assert after(HOLDING, 25, 12, 160_000) == RESTING


def test_there_is_no_rest_after_a_hold_that_enough_were_heard_in() -> None:
    assert after(HOLDING, 25, 13, 160_000) == Silence()


def test_the_rule_applies_again_once_the_share_is_heard() -> None:
    assert after(RESTING, 25, 12) == RESTING
    assert after(RESTING, 25, 13) == Silence()
    assert after(RESTING, 0, 0, due=False) == Silence()


def test_the_window_is_two_thirds_of_a_ttl() -> None:
    assert (TIMING.window, TIMING.settling) == (6_000, 3_000)
