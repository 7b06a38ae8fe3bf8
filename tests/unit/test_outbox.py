"""Coalescing: the newest change of each facility, one message a region and 250 ms."""

from shared.broadcast.messages import MAX_BYTES, in_messages
from shared.broadcast.outbox import SPACING, Outbox
from shared.domain.facility import FacilityChange, FacilityStatus
from shared.stream.entries import StaleEntry
from shared.stream.group import Entry


def change(facility_id: str, version: int) -> FacilityChange:
    return FacilityChange(facility_id, FacilityStatus.ONLINE, 1_000 + version, version, 1, "heartbeat")


def entry(number: int) -> Entry:
    return Entry("changes:{p00}", f"{number}-0", {})


def test_the_first_change_goes_out_at_once() -> None:
    outbox = Outbox()
    outbox.add_change("r-1", change("f-1", 1), entry(1))
    (batch,) = outbox.take_due(0)
    assert batch.changes == [change("f-1", 1)]
    assert outbox.done_with(batch) == [entry(1)]


def test_changes_of_a_resting_region_wait_and_only_the_newest_of_a_facility_is_sent() -> None:
    outbox = Outbox()
    outbox.add_change("r-1", change("f-1", 1), entry(1))
    outbox.take_due(0)
    outbox.add_change("r-1", change("f-1", 2), entry(2))
    outbox.add_change("r-1", change("f-1", 3), entry(3))
    outbox.add_change("r-1", change("f-2", 1), entry(4))
    assert outbox.take_due(SPACING - 1) == []
    (batch,) = outbox.take_due(SPACING)
    assert batch.changes == [change("f-1", 3), change("f-2", 1)]
    assert outbox.done_with(batch) == [entry(2), entry(3), entry(4)]


def test_an_older_change_that_comes_later_is_not_sent_but_acknowledged() -> None:
    outbox = Outbox()
    outbox.add_change("r-1", change("f-1", 3), entry(3))
    outbox.add_change("r-1", change("f-1", 2), entry(2))
    (batch,) = outbox.take_due(0)
    assert batch.changes == [change("f-1", 3)]
    assert outbox.done_with(batch) == [entry(3), entry(2)]


def test_regions_do_not_wait_for_each_other() -> None:
    outbox = Outbox()
    outbox.add_change("r-1", change("f-1", 1), entry(1))
    outbox.take_due(0)
    outbox.add_change("r-2", change("f-9", 1), entry(2))
    assert [batch.region_id for batch in outbox.take_due(10)] == ["r-2"]


def test_an_announcement_is_done_when_every_region_has_it() -> None:
    outbox = Outbox()
    outbox.add_announcement(["r-1", "r-2"], StaleEntry(stale=True, since=5), entry(1))
    first, second = outbox.take_due(0)
    assert outbox.done_with(first) == []
    assert outbox.done_with(second) == [entry(1)]


def test_an_announcement_and_changes_are_two_messages_with_a_rest_between() -> None:
    outbox = Outbox()
    outbox.add_change("r-1", change("f-1", 1), entry(1))
    outbox.add_announcement(["r-1"], StaleEntry(stale=True, since=5), entry(2))
    assert [batch.announcement is None for batch in outbox.take_due(0)] == [False]
    assert outbox.next_due(100) == SPACING - 100
    assert [batch.announcement is None for batch in outbox.take_due(SPACING)] == [True]


def test_a_region_counts_as_open_until_its_rest_is_over() -> None:
    outbox = Outbox()
    assert outbox.next_due(0) is None
    outbox.add_change("r-1", change("f-1", 1), entry(1))
    outbox.take_due(0)
    assert outbox.next_due(0) == SPACING
    assert outbox.next_due(SPACING) is None


def test_changes_over_the_size_limit_are_split_and_none_is_lost() -> None:
    changes = [change(f"facility-{number:04d}", 1) for number in range(2_000)]
    chunks = list(in_messages(changes))
    assert [item["facilityId"] for chunk in chunks for item in chunk] == [c.facility_id for c in changes]
    assert len(chunks) > 1
    assert all(len(str(chunk)) < MAX_BYTES for chunk in chunks)
