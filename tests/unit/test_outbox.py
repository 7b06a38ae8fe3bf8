"""Coalescing: the newest change of each facility, one message a region and 250 ms."""

import json

from shared.broadcast.messages import MAX_BYTES, facility_status, in_messages
from shared.broadcast.outbox import SPACING, Batch, Outbox, WaitingAnnouncement, WaitingChange
from shared.domain.alert import AlertState
from shared.domain.facility import FacilityChange, FacilityStatus
from shared.stream.entries import AlertEntry, StaleEntry
from shared.stream.group import Entry


def change(facility_id: str, version: int) -> FacilityChange:
    return FacilityChange(facility_id, FacilityStatus.ONLINE, 1_000 + version, version, 1, "heartbeat")


def entry(number: int) -> Entry:
    return Entry("changes:{p00}", f"{number}-0", {})


def changes(batch: Batch) -> list[FacilityChange]:
    assert isinstance(batch.content, list)
    return [waiting.change for waiting in batch.content]


def announcement(batch: Batch) -> WaitingAnnouncement:
    assert isinstance(batch.content, WaitingAnnouncement)
    return batch.content


def alert(facility_id: str) -> AlertEntry:
    return AlertEntry(facility_id, AlertState.OFFLINE, 7)


def test_the_first_change_goes_out_at_once() -> None:
    outbox = Outbox()
    assert outbox.add_change("r-1", change("f-1", 1), entry(1)) is None
    (batch,) = outbox.take_due(0)
    assert batch.content == [WaitingChange(change("f-1", 1), entry(1))]


def test_changes_of_a_resting_region_wait_and_only_the_newest_of_a_facility_is_sent() -> None:
    outbox = Outbox()
    outbox.add_change("r-1", change("f-1", 1), entry(1))
    outbox.take_due(0)
    assert outbox.add_change("r-1", change("f-1", 2), entry(2)) is None
    assert outbox.add_change("r-1", change("f-1", 3), entry(3)) == entry(2), "overtaken: need not be sent any more"
    outbox.add_change("r-1", change("f-2", 1), entry(4))
    assert outbox.take_due(SPACING - 1) == []
    (batch,) = outbox.take_due(SPACING)
    assert changes(batch) == [change("f-1", 3), change("f-2", 1)]


def test_an_older_change_that_comes_later_is_not_sent_but_done_with() -> None:
    outbox = Outbox()
    outbox.add_change("r-1", change("f-1", 3), entry(3))
    assert outbox.add_change("r-1", change("f-1", 2), entry(2)) == entry(2)
    (batch,) = outbox.take_due(0)
    assert changes(batch) == [change("f-1", 3)]


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
    assert not outbox.sent(announcement(first))
    assert outbox.sent(announcement(second))


def test_entries_of_two_streams_that_share_an_id_are_told_apart() -> None:
    outbox = Outbox()
    outbox.add_announcement(["r-1"], alert("f-1"), Entry("changes:{p00}", "1-0", {}))
    outbox.add_announcement(["r-2"], alert("f-2"), Entry("changes:{p01}", "1-0", {}))
    assert all(outbox.sent(announcement(batch)) for batch in outbox.take_due(0))


def test_an_announcement_and_changes_are_two_messages_with_a_rest_between() -> None:
    outbox = Outbox()
    outbox.add_change("r-1", change("f-1", 1), entry(1))
    outbox.add_announcement(["r-1"], StaleEntry(stale=True, since=5), entry(2))
    assert [isinstance(batch.content, list) for batch in outbox.take_due(0)] == [False]
    assert outbox.next_due(100) == SPACING - 100
    assert [isinstance(batch.content, list) for batch in outbox.take_due(SPACING)] == [True]


def test_many_alerts_hold_up_no_changes_and_many_changes_no_alerts() -> None:
    outbox = Outbox()
    for number in range(3):
        outbox.add_announcement(["r-1"], alert(f"f-{number}"), entry(number))
    told = []
    for tick in range(5):
        outbox.add_change("r-1", change("f-9", tick + 1), entry(10 + tick))
        told += [isinstance(batch.content, list) for batch in outbox.take_due(tick * SPACING)]
    assert told == [True, False, True, False, True]


def test_a_region_counts_as_open_until_its_rest_is_over() -> None:
    outbox = Outbox()
    assert outbox.next_due(0) is None
    outbox.add_change("r-1", change("f-1", 1), entry(1))
    outbox.take_due(0)
    assert outbox.next_due(0) == SPACING
    assert outbox.next_due(SPACING) is None


def test_changes_over_the_size_limit_are_split_and_none_is_lost() -> None:
    many = [change(f"facility-{number:04d}", 1) for number in range(2_000)]
    chunks = list(in_messages(many, lambda item: item))
    assert [item for chunk in chunks for item in chunk] == many
    assert len(chunks) > 1
    assert all(len(json.dumps(facility_status("r-1", 1, chunk))) < MAX_BYTES for chunk in chunks)


def test_a_clock_that_was_set_back_keeps_no_region_waiting() -> None:
    outbox = Outbox()
    outbox.add_change("r-1", change("f-1", 1), entry(1))
    outbox.take_due(3_600_000)
    assert outbox.next_due(0) is None, "no rest lasts that long"
    outbox.add_change("r-1", change("f-1", 2), entry(2))
    assert outbox.next_due(0) == 0
    (batch,) = outbox.take_due(0)
    assert changes(batch) == [change("f-1", 2)]
