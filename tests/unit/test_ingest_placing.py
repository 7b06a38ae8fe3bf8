"""Rule 3: which facilities a heartbeat counts for."""

from shared.domain.heartbeat import Heartbeat
from shared.pipeline.ingest import place
from shared.registry.results import UNASSIGNED

FACILITIES = {"u-1": ("f-1",), "u-2": ("f-1", "f-2"), "nobody": ()}


def placed(user_id: str, facility_id: str | None = None) -> list[str]:
    return [facility for facility, _ in place([Heartbeat(user_id, "s", 1, facility_id)], FACILITIES)]


def test_without_a_facility_it_counts_for_all_of_the_users() -> None:
    assert placed("u-2") == ["f-1", "f-2"]


def test_with_a_facility_it_counts_for_that_one_alone() -> None:
    assert placed("u-2", "f-2") == ["f-2"]


def test_a_facility_that_is_not_the_users_leaves_it_unassigned() -> None:
    assert placed("u-1", "f-2") == [UNASSIGNED]


def test_a_user_without_facilities_is_unassigned() -> None:
    assert placed("nobody") == placed("nobody", "f-1") == [UNASSIGNED]
