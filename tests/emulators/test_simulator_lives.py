"""What simulated front-ends do, and what is held and measured of it."""

import csv
import itertools
from pathlib import Path
from random import Random
from typing import Any

import pytest

from emulators.simulator.board import Board
from emulators.simulator.lives import Ending, Pace, beat_delay, lives, outages, retry_delay
from emulators.simulator.measures import KEPT_VALUES, Lags, Measures
from emulators.simulator.people import read_people, seat_people

PACE = Pace()


def first_lives(seed: str, seat: int, count: int = 200, pace: Pace = PACE) -> list[Any]:
    return list(itertools.islice(lives(seed, seat, pace), count))


def test_the_same_seed_gives_the_same_lives() -> None:
    assert first_lives("seed", 3) == first_lives("seed", 3)


def test_another_seed_or_seat_gives_other_lives() -> None:
    assert first_lives("seed", 3) != first_lives("other", 3)
    assert first_lives("seed", 3) != first_lives("seed", 4)


def test_lives_have_the_pace_that_was_asked_for() -> None:
    many = [life for seat in range(20) for life in first_lives("pace", seat)]
    assert sum(life.stay for life in many) / len(many) == pytest.approx(PACE.stay_seconds, rel=0.05)
    crashes = sum(life.ending is Ending.CRASH for life in many) / len(many)
    assert crashes == pytest.approx(PACE.crash_share, abs=0.05)
    assert len({life.session_id for life in many}) == len(many)


def test_reloads_and_hiding_happen_within_the_stay() -> None:
    for life in first_lives("within", 1):
        assert life.reload_at is None or 0 < life.reload_at < life.stay
        assert life.hidden_from is None or 0 < life.hidden_from < life.stay


def test_without_crashes_and_reloads_everybody_leaves_politely() -> None:
    polite = first_lives("polite", 1, pace=Pace(crash_share=0, reload_share=0, hidden_share=0))
    assert {(life.ending, life.reload_at, life.hidden_from) for life in polite} == {(Ending.LEAVE, None, None)}


def test_outages_follow_from_the_seed_and_come_in_order() -> None:
    planned = list(itertools.islice(outages("seed", ["f-1", "f-2"], 20, 30), 100))
    assert planned == list(itertools.islice(outages("seed", ["f-1", "f-2"], 20, 30), 100))
    starts = [outage.start for outage in planned]
    assert starts == sorted(starts)
    assert starts[-1] / 100 == pytest.approx(20, rel=0.1)


def test_beats_keep_the_interval_with_jitter() -> None:
    random = Random(1)
    delays = [beat_delay(30, 90, is_hidden=False, random=random) for _ in range(200)]
    assert min(delays) >= 27
    assert max(delays) <= 33
    assert max(delays) - min(delays) > 3


def test_a_hidden_tab_beats_once_a_minute_and_within_a_shorter_ttl() -> None:
    assert beat_delay(30, 90, is_hidden=True, random=Random(1)) == 60
    assert beat_delay(5, 15, is_hidden=True, random=Random(1)) == 10
    assert beat_delay(30, 600, is_hidden=True, random=Random(1)) == 60


def test_retries_back_off_up_to_a_limit() -> None:
    random = Random(1)
    assert max(retry_delay(1, 30, random) for _ in range(200)) <= 1
    assert 20 < max(retry_delay(60, 30, random) for _ in range(200)) <= 30


# people


def test_people_of_the_demo_directory_without_files(tmp_path: Path) -> None:
    people = read_people(tmp_path)
    assert len(people) == 600
    assert people[0].facility_ids == ("f-1",)
    assert any(len(person.facility_ids) > 1 for person in people)


def test_people_of_a_loaded_directory(tmp_path: Path) -> None:
    with (tmp_path / "facility_users.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("user_id", "facility_id"), ("ann", "x"), ("bob", "x"), ("ann", "y")])
    assert [(person.user_id, person.facility_ids) for person in read_people(tmp_path)] == [
        ("ann", ("x", "y")),
        ("bob", ("x",)),
    ]


def test_everybody_sits_down_once_before_anybody_does_twice() -> None:
    people = read_people(None)
    seats = seat_people(people, 1_200, "seed")
    assert seats == seat_people(people, 1_200, "seed")
    assert len({person.user_id for person in seats[:600]}) == 600
    assert seats[:600] == seats[600:]


# board


def snapshot(sequence: int, **versions: int) -> dict[str, Any]:
    facilities = [
        {"facilityId": facility, "name": facility, "status": "offline", "version": version}
        for facility, version in versions.items()
    ]
    return {"regionId": "r-1", "sequence": sequence, "stale": False, "facilities": facilities}


def status(sequence: int, facility: str, version: int, *, to: str = "online") -> dict[str, Any]:
    change = {
        **{"facilityId": facility, "status": to, "version": version, "sessions": 1, "reason": "heartbeat"},
        "since": "2026-01-02T03:04:05.678Z",
    }
    return {"type": "facility.status", "regionId": "r-1", "sequence": sequence, "changes": [change]}


def test_messages_in_order_are_applied() -> None:
    board = Board()
    board.take_snapshot(snapshot(7, f1=1))
    changes, has_gap = board.take_message(status(8, "f1", 2))
    assert [(change.facility_id, change.status, change.since_seconds) for change in changes] == [
        ("f1", "online", 1767323045.678)
    ]
    assert not has_gap
    assert board.regions["r-1"].online == 1


def test_a_message_before_any_snapshot_is_a_gap() -> None:
    assert Board().take_message(status(1, "f1", 1))[1]


def test_a_missing_message_is_a_gap_until_the_snapshot() -> None:
    board = Board()
    board.take_snapshot(snapshot(7, f1=1))
    assert board.take_message(status(9, "f1", 3))[1]
    assert board.take_message(status(10, "f1", 4))[1]
    board.take_snapshot(snapshot(10, f1=4))
    assert not board.take_message(status(11, "f1", 5))[1]


def test_a_repeated_message_and_an_old_version_are_ignored() -> None:
    board = Board()
    board.take_snapshot(snapshot(7, f1=5))
    assert board.take_message(status(7, "f1", 6)) == ([], False)
    assert board.take_message(status(8, "f1", 5)) == ([], False)


def test_a_removed_facility_is_held_no_more() -> None:
    board = Board()
    board.take_snapshot(snapshot(7, f1=5))
    board.take_message(status(8, "f1", 6, to="removed"))
    assert board.regions["r-1"].facilities == {}


def test_stale_is_announced_and_revoked() -> None:
    board = Board()
    board.take_snapshot(snapshot(7))
    for sequence, stale in ((8, True), (9, False)):
        board.take_message({"type": "presence.stale", "regionId": "r-1", "sequence": sequence, "stale": stale})
        assert board.regions["r-1"].stale is stale


# measures


def test_quantiles_of_lags() -> None:
    lags = Lags()
    assert lags.quantile(0.5) is None
    for value in Random(1).sample(range(100), 100):
        lags.add(value)
    assert lags.quantile(0.5) == 50
    assert lags.quantile(0.99) == 99


def test_old_lags_make_room() -> None:
    lags = Lags()
    for value in [1000.0] * 10 + [1.0] * KEPT_VALUES:
        lags.add(value)
    assert len(lags) == KEPT_VALUES
    assert lags.quantile(1.0) == 1.0


def test_an_online_change_is_measured_from_the_answer_to_its_heartbeat() -> None:
    measures = Measures()
    measures.heartbeat_accepted(["f-1", "f-2"], "T1")
    lag = measures.online_announced("f-1", "T1")
    assert lag is not None
    assert 0 <= lag < 10
    assert measures.online_announced("f-9", "T1") is None
    assert len(measures.online_lag) == 1


def test_an_announcement_before_the_answer_has_no_lag() -> None:
    measures = Measures()
    assert measures.online_announced("f-1", "T1") is None
    measures.heartbeat_accepted(["f-1"], "T1")
    assert measures.online_lag.quantile(1.0) == 0.0
