"""Consumer groups: nothing is lost between reading and acknowledging, nothing is trimmed too early."""

from typing import Any

import pytest
from redis.asyncio import Redis
from redis.asyncio.client import Pipeline
from redis.exceptions import OutOfMemoryError

from shared.errors import DependencyUnavailableError
from shared.stream import backlog as backlogs
from shared.stream.backlog import GroupBacklog, survey, trim
from shared.stream.group import BROADCAST, SQL, Entry, StreamGroup

STREAMS = ["changes:{p00}", "changes:{p01}"]


async def fill(redis: Redis, *numbers: int) -> None:
    for number in numbers:
        await redis.xadd(STREAMS[number % 2], {"n": number})


async def pending(group: StreamGroup, count: int = 10) -> list[Entry]:
    return [entry async for page in group.pending(count) for entry in page]


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
    assert numbers(await pending(second)) == [2]
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
    assert (await trim(redis, STREAMS, (SQL, BROADCAST)))[0] == 0, "the other group has not been here yet"
    entries = await broadcast.read_new(10)
    await broadcast.acknowledge(entries[:2])
    assert (await trim(redis, STREAMS, (SQL, BROADCAST)))[0] == 2
    await broadcast.acknowledge(entries[2:])
    assert (await trim(redis, STREAMS, (SQL, BROADCAST)))[0] == 2
    assert await redis.xlen(STREAMS[0]) == 0


async def test_pending_entries_are_read_page_by_page_each_once_while_they_are_acknowledged(redis: Redis) -> None:
    await fill(redis, *range(25))
    group = StreamGroup(redis, SQL, STREAMS)
    await group.read_new(100)
    pages = []
    async for page in group.pending(4):
        pages.append(numbers(page))
        await group.acknowledge(page[:2])
    assert sorted(number for page in pages for number in page) == list(range(25))
    assert max(map(len, pages)) == 8
    assert len(await pending(group)) == 25 - 2 * 3 - 1


async def test_an_entry_cut_from_the_stream_while_pending_holds_up_nothing(redis: Redis) -> None:
    await fill(redis, 0, 2, 4)
    group = StreamGroup(redis, SQL, STREAMS)
    await group.read_new(10)
    await redis.xtrim(STREAMS[0], maxlen=1, approximate=False)
    assert numbers(await pending(group)) == [4]
    assert (await redis.xpending(STREAMS[0], SQL))["pending"] == 1


async def test_the_backlog_tells_what_waits_and_since_when(redis: Redis) -> None:
    await redis.xadd(STREAMS[0], {"n": 0}, id="1000-0")
    await redis.xadd(STREAMS[0], {"n": 2}, id="2000-0")
    await redis.xadd(STREAMS[0], {"n": 4}, id="3000-0")
    group = StreamGroup(redis, SQL, STREAMS)
    first, second = await group.read_new(2)
    await group.acknowledge([first])
    found = {backlog.stream: backlog for backlog in await survey(redis, [*STREAMS, "absent"], (SQL,))}
    assert found.keys() == set(STREAMS)
    assert found[STREAMS[0]].length == 3
    assert (found[STREAMS[0]].groups[SQL].waiting, found[STREAMS[0]].groups[SQL].oldest) == (2, 2000)
    assert (found[STREAMS[1]].groups[SQL].waiting, found[STREAMS[1]].groups[SQL].oldest) == (0, None)
    await group.acknowledge([second])
    (backlog,) = await survey(redis, STREAMS[:1], (SQL,))
    assert (backlog.groups[SQL].waiting, backlog.groups[SQL].oldest) == (1, 3000), "read by nobody yet"
    (backlog,) = await survey(redis, STREAMS[:1], (BROADCAST,))
    assert (backlog.groups[BROADCAST].waiting, backlog.groups[BROADCAST].oldest) == (3, 1000), "never looked at"
    assert backlog.needed is None


async def test_a_group_that_is_gone_between_two_looks_at_it_trims_nothing(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(redis, 0, 1, 2)
    group = StreamGroup(redis, SQL, STREAMS)
    await group.acknowledge(await group.read_new(10))
    ask = backlogs._ask

    async def lose(*arguments: Any) -> tuple[list[Any], list[Any]]:
        answers = await ask(*arguments)
        await redis.xgroup_destroy(STREAMS[0], SQL)
        return answers

    monkeypatch.setattr(backlogs, "_ask", lose)
    removed, found = await trim(redis, STREAMS, (SQL,))
    assert removed == 1, "the other stream's"
    assert [backlog.needed is None for backlog in found] == [True, False]
    assert found[0].groups[SQL] == GroupBacklog(2, found[0].groups[SQL].oldest), "for a group to come everything waits"
    assert await redis.xlen(STREAMS[0]) == 2


@pytest.mark.parametrize("full", [["xlen"], ["xinfo_groups"], ["xrange"], ["xpending"]])
async def test_a_server_that_is_full_or_away_is_called_that_whatever_it_was_asked(
    redis: Redis, monkeypatch: pytest.MonkeyPatch, full: list[str]
) -> None:
    await fill(redis, 0)
    await StreamGroup(redis, SQL, STREAMS).read_new(10)
    execute = Pipeline.execute

    async def answer(pipe: Any, raise_on_error: bool = True) -> list[Any]:
        asked = [str(command[0][0]).lower().replace(" ", "_") for command in pipe.command_stack]
        answers = await execute(pipe, raise_on_error)
        return [OutOfMemoryError("full") if one in full else given for one, given in zip(asked, answers, strict=True)]

    monkeypatch.setattr(Pipeline, "execute", answer)
    with pytest.raises(DependencyUnavailableError, match="redis"):
        await survey(redis, STREAMS[:1], (SQL,))


def test_where_a_server_counts_pending_entries_but_names_none_nothing_is_trimmed() -> None:
    row = {"last-delivered-id": b"2000-3", "lag": 0}
    waiting, needed = backlogs._group(row, {"pending": 1, "min": None}, [])
    assert (waiting, needed) == (GroupBacklog(1, None), (0, 0))
