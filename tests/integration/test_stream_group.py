"""Consumer groups: nothing is lost between reading and acknowledging, nothing is trimmed too early."""

from redis.asyncio import Redis

from shared.stream.group import BROADCAST, SQL, Entry, StreamGroup, trim

STREAMS = ["changes:{p00}", "changes:{p01}"]


async def fill(redis: Redis, *numbers: int) -> None:
    for number in numbers:
        await redis.xadd(STREAMS[number % 2], {"n": number})


def numbers(entries: list[Entry]) -> list[int]:
    return sorted(int(entry.fields["n"]) for entry in entries)


async def test_entries_from_before_the_group_are_read(redis: Redis) -> None:
    await fill(redis, 1, 2, 3)
    assert numbers(await StreamGroup(redis, SQL, STREAMS).read_new(10)) == [1, 2, 3]


async def test_what_a_dead_reader_did_not_acknowledge_is_read_again_by_the_next(redis: Redis) -> None:
    await fill(redis, 1, 2, 3)
    first = StreamGroup(redis, SQL, STREAMS)
    entries = await first.read_new(10)
    await first.acknowledge(entry for entry in entries if entry.fields["n"] != "2")
    second = StreamGroup(redis, SQL, STREAMS)
    assert numbers(await second.read_pending(10)) == [2]
    assert await second.read_new(10) == []


async def test_groups_do_not_take_from_each_other(redis: Redis) -> None:
    await fill(redis, 1)
    for name in (SQL, BROADCAST):
        assert numbers(await StreamGroup(redis, name, STREAMS).read_new(10)) == [1]


async def test_a_group_lost_with_the_data_is_made_anew(redis: Redis) -> None:
    group = StreamGroup(redis, SQL, STREAMS)
    await fill(redis, 1)
    await group.read_new(10)
    await redis.flushall()
    await fill(redis, 2)
    assert numbers(await group.read_new(10)) == [2]


async def test_trimming_keeps_what_any_group_still_needs(redis: Redis) -> None:
    await fill(redis, 0, 2, 4, 6)
    sql, broadcast = StreamGroup(redis, SQL, STREAMS), StreamGroup(redis, BROADCAST, STREAMS)
    await sql.acknowledge(await sql.read_new(10))
    assert await trim(redis, STREAMS, (SQL, BROADCAST)) == 0, "the other group has not been here yet"
    entries = await broadcast.read_new(10)
    await broadcast.acknowledge(entries[:2])
    assert await trim(redis, STREAMS, (SQL, BROADCAST)) == 2
    await broadcast.acknowledge(entries[2:])
    assert await trim(redis, STREAMS, (SQL, BROADCAST)) == 2
    assert await redis.xlen(STREAMS[0]) == 0
