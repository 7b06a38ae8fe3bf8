"""What was set aside, listed and put back, by the functions and by the command."""

import asyncio
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from shared.domain.facility import FacilityChange
from shared.errors import StoreError
from shared.registry import keys
from shared.registry.dead_letters import BROADCAST, CORE, INGEST, SQL, WEBHOOK
from shared.stream.replaying import Replay
from tests.functions.conftest import ENVIRONMENT
from tests.integration.pipeline_world import World

ROOT = Path(__file__).parents[2]


async def add(world: World, source: str, fields: dict[str, Any], **details: str) -> None:
    await world.dead_letters.add(source, "a reason", json.dumps(fields).encode(), **details)


async def replayed(world: World, *sources: str) -> tuple[int, list[str]]:
    letters = [letter for source in sources for letter in await world.dead_letters.list(source)]
    result = await Replay(world.redis, world.dead_letters, world.now).replay(letters)
    return result.done, [problem for _, problem in result.left]


async def test_what_sql_refused_is_recorded_once_it_takes_it(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    write = world.monitor_store.record_changes

    def picky(changes: Sequence[FacilityChange], *others: Sequence[Any]) -> int:
        if any(change.facility_id == "f-1" for change in changes):
            raise StoreError("no")
        return write(changes, *others)

    with monkeypatch.context() as patch:
        patch.setattr(world.monitor_store, "record_changes", picky)
        await world.beat("u-1")
        for session in ("a", "b", "c"):
            await world.beat("u-9", session)
            await world.beat("u-9", session, leaving=True)
            await world.sweep_after(12_000)
            await world.sweep_after(12_000)
            await world.monitor.run()
    assert world.monitor_rows("SELECT 1 FROM facility_status WHERE facility_id = 'f-1'") == []
    assert await replayed(world, SQL) == (1, [])
    assert await world.dead_letters.list(SQL) == []
    assert (await world.monitor.run()).changes == 1
    assert world.monitor_rows("SELECT status FROM facility_status WHERE facility_id = 'f-1'") == [("online",)]
    assert await world.deliver(), "browsers hear it again, under the version that they know"


async def test_an_entry_that_several_groups_set_aside_goes_back_once(world: World) -> None:
    stream = keys.partition_of("f-1").changes
    fields = {"kind": "status", "facility": "f-1"}
    for source in (BROADCAST, SQL, CORE):
        await add(world, source, fields, stream=stream, entry="7-0")
    await add(world, SQL, fields, stream=stream, entry="8-0")
    assert await replayed(world, BROADCAST, SQL, CORE) == (4, [])
    assert await world.redis.xlen(stream) == 2


async def test_what_cannot_go_back_stays_with_the_reason(world: World) -> None:
    stream = keys.partition_of("f-1").changes
    await add(world, INGEST, {"v": 99})
    await add(world, SQL, {"kind": "stale"}, stream=stream, entry="1-0")
    await add(world, SQL, {"kind": "status"}, stream="sequence:r-1", entry="1-0")
    await world.dead_letters.add(SQL, "a reason", b"x" * 70_000, stream=stream, entry="2-0")
    await world.dead_letters.add(SQL, "a reason", b"\xff", stream=stream, entry="2-0")
    await add(world, WEBHOOK, {})
    done, problems = await replayed(world, INGEST, SQL, WEBHOOK)
    assert done == 0
    assert problems == [
        "it is worth nothing once its time is over",
        "an announcement of a moment that is over",
        "it does not say where it came from",
        "its body was cut",
        "its body is not JSON",
        "it does not say which alert it was",
    ]
    assert sum((await world.dead_letters.held()).values()) == 6
    assert await world.redis.xlen(stream) == 0


async def test_a_webhook_call_waits_again(world: World) -> None:
    await add(world, WEBHOOK, {}, alert="f-1/offline/1795000000000")
    assert await replayed(world, WEBHOOK) == (1, [])
    partition = keys.partition_of("f-1")
    assert await world.redis.lrange(partition.webhook_calls("f-1"), 0, -1) == [b"offline/1795000000000"]
    assert await world.redis.zscore(partition.webhooks, "f-1") == world.time


async def operate(redis_port: int, *arguments: str) -> tuple[int | None, str]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "shared.operate", *arguments),
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], **ENVIRONMENT, "Redis": f"localhost:{redis_port}"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    return process.returncode, output.decode()


async def test_the_command_shows_what_waits_and_puts_back_what_was_set_aside(
    world: World, redis: Redis, redis_port: int
) -> None:
    await world.beat("u-1")
    await world.deliver()
    await world.monitor.run()
    await world.beat("u-9")
    await world.broadcaster.close()
    stream = keys.partition_of("f-1").changes
    await add(world, SQL, {"kind": "status", "facility": "f-1"}, stream=stream, entry="7-0")
    await add(world, INGEST, {"v": 99})

    code, said = await operate(redis_port, "backlog")
    assert code == 0, said
    waiting = {tuple(line.split()[i] for i in (0, 2)): line.split()[3] for line in said.splitlines()[1:5]}
    assert waiting["changes", "sql"] == waiting["changes", "core"] == "2"
    assert waiting["ended", "sql"] == "0"
    assert "set aside: ingest 1, agents 0, broadcast 0, sql 1, core 0, webhook 0" in said

    code, said = await operate(redis_port, "dead-letters", "--source", "sql")
    assert code == 0
    assert "a reason" in said
    assert f"stream={stream} entry=7-0" in said
    assert '{"kind": "status", "facility": "f-1"}' in said

    code, said = await operate(redis_port, "replay")
    assert (code, said.splitlines()[-1]) == (2, "put back: 1, left: 1")
    assert await redis.exists(keys.dead_letters(SQL)) == 1
    assert await redis.xlen(keys.dead_letters(SQL)) == 0

    code, said = await operate(redis_port, "discard", "--source", "ingest")
    assert (code, said) == (0, "deleted: 1\n")
    assert sum((await world.dead_letters.held()).values()) == 0

    code, said = await operate(1, "backlog")
    assert (code, said.startswith("operate: redis is not available")) == (1, True)


async def test_a_reader_who_has_had_enough_makes_no_command_fail(redis: Redis, redis_port: int) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "shared.operate", "backlog"),
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], **ENVIRONMENT, "Redis": f"localhost:{redis_port}"},
        stdout=writing,
        stderr=asyncio.subprocess.PIPE,
    )
    os.close(writing)
    _, said = await process.communicate()
    assert (process.returncode, said) == (0, b"")
