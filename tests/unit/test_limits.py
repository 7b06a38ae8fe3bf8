"""The limit on heartbeats per user."""

from hypothesis import given
from hypothesis import strategies as st

from shared.limits import HeartbeatLimiter

START = 1_795_000_000_000 // 60_000 * 60_000


def test_the_limit_is_per_user_and_minute() -> None:
    limiter = HeartbeatLimiter(3)
    assert [limiter.retry_after("a", START) for _ in range(3)] == [0, 0, 0]
    assert limiter.retry_after("a", START) > 0
    assert limiter.retry_after("b", START) == 0


def test_a_new_minute_does_not_double_the_limit() -> None:
    limiter = HeartbeatLimiter(100)
    assert sum(limiter.retry_after("a", START + 59_000) == 0 for _ in range(150)) == 100
    assert sum(limiter.retry_after("a", START + 61_000) == 0 for _ in range(150)) <= 2


def test_after_a_pause_the_whole_limit_is_there_again() -> None:
    limiter = HeartbeatLimiter(5)
    for _ in range(5):
        limiter.retry_after("a", START)
    assert [limiter.retry_after("a", START + 120_000) for _ in range(6)][:5] == [0] * 5


@given(
    st.integers(1, 8),
    st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 20_000)), max_size=60),
)
def test_who_waits_as_told_gets_through(limit: int, calls: list[tuple[str, int]]) -> None:
    limiter = HeartbeatLimiter(limit)
    now = START
    for user, pause in calls:
        now += pause
        wait = limiter.retry_after(user, now)
        if wait:
            assert 1 <= wait <= 120
            now += wait * 1000
            assert limiter.retry_after(user, now) == 0


def test_users_of_the_past_are_forgotten() -> None:
    limiter = HeartbeatLimiter(5)
    for minute in range(5):
        for user in range(100):
            limiter.retry_after(f"u-{minute}-{user}", START + minute * 60_000)
    assert len(limiter._counts) + len(limiter._previous) == 200
