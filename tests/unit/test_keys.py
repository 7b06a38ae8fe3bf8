"""Names of keys: one slot per partition, and the way back from an expired key."""

import pytest

from shared.registry.keys import ALL_PARTITIONS, facility_of_session_key, partition_of


def test_every_key_of_a_partition_has_its_hash_tag() -> None:
    partition = partition_of("f-1")
    keys = [*partition.script_keys(), partition.sessions("f-1"), partition.session("f-1", "u-1/s")]
    assert all(f"{{p{partition.number:02d}}}" in key for key in keys)


def test_a_session_key_tells_its_facility() -> None:
    partition = partition_of("lab.3")
    key = partition.session("lab.3", "u:1|x@y/s-1")
    assert facility_of_session_key(key) == (partition, "lab.3")


@pytest.mark.parametrize("key", ["", "session", "session:{p99}:f/u/s", "sessions:{p00}:f", "other:{p00}:f/u/s"])
def test_other_keys_are_nobodys(key: str) -> None:
    assert facility_of_session_key(key) is None


def test_facilities_spread_over_all_partitions() -> None:
    assert {partition_of(f"f-{number}") for number in range(500)} == set(ALL_PARTITIONS)
