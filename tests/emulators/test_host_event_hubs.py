"""The Event Hubs trigger against the emulator, with several host processes."""

import asyncio
import itertools
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from azure.eventhub import EventData
from azure.eventhub.aio import EventHubProducerClient

from tests.emulators.host_process import (
    APP,
    Process,
    Seen,
    environment,
    event_hub,
    eventually,
    free_port,
    running_host,
    spawn,
)

SHORT = ("--partition-ownership-seconds", "2")


@pytest.fixture
def seen(tmp_path: Path) -> Seen:
    return Seen(tmp_path / "seen.jsonl")


@pytest.fixture
def storage(tmp_path: Path) -> tuple[str, str]:
    return "--storage", str(tmp_path / "storage.sqlite")


@asynccontextmanager
async def producer(connection: str) -> AsyncIterator[EventHubProducerClient]:
    client = EventHubProducerClient.from_connection_string(connection, eventhub_name="heartbeats")
    async with client:
        yield client


async def send(client: EventHubProducerClient, bodies: Iterable[str], **target: Any) -> None:
    batch = await client.create_batch(**target)
    for body in bodies:
        event = EventData(body)
        event.properties = {"kind": "test"}
        batch.add(event)
    await client.send_batch(batch)


async def test_events_arrive_in_batches_with_their_metadata(seen: Seen) -> None:
    """Those sent before the host started come too, in order, never more than maxEventBatchSize (5) at once."""
    async with event_hub(2) as connection, producer(connection) as client:
        before = datetime.now(UTC)
        await send(client, [f"{n}" for n in range(12)], partition_key="k")
        async with running_host(environment=environment(seen, "ingest", Hub=connection)):
            await eventually(lambda: len(seen.bodies()) == 12)
        batches = seen.lines("events")
        assert seen.bodies() == [str(n) for n in range(12)]
        assert max(len(batch["bodies"]) for batch in batches) <= 5
        assert [number for batch in batches for number in batch["sequence"]] == list(range(12))
        first = batches[0]
        assert first["keys"][0] == "k"
        assert before <= datetime.fromisoformat(first["enqueued"][0]) <= datetime.now(UTC)
        assert first["metadata"]["SequenceNumberArray"] == first["sequence"]
        assert first["metadata"]["PropertiesArray"][0] == {"kind": "test"}
        assert first["metadata"]["PartitionKeyArray"][0] == "k"
        assert [str(offset) for offset in first["offsets"]] == first["metadata"]["OffsetArray"]


async def test_cardinality_one_invokes_for_each_event(seen: Seen) -> None:
    async with event_hub(1) as connection, producer(connection) as client:
        async with running_host(environment=environment(seen, "single", Hub=connection)):
            await send(client, ["a", "b", "c"], partition_key="k")
            await eventually(lambda: len(seen.lines("single")) == 3)
        lines = sorted(seen.lines("single"), key=lambda line: int(line["sequence"]))
        assert [(line["body"], line["sequence"], line["key"]) for line in lines] == [
            ("a", 0, "k"),
            ("b", 1, "k"),
            ("c", 2, "k"),
        ]


async def test_a_batch_that_failed_is_checkpointed_all_the_same(seen: Seen, storage: tuple[str, str]) -> None:
    async with event_hub(1) as connection, producer(connection) as client:
        settings = environment(seen, "ingest", Hub=connection)
        async with running_host(*storage, *SHORT, environment=settings):
            await send(client, ["fail"])
            await eventually(lambda: bool(seen.lines("events")))
            await send(client, ["good"])
            await eventually(lambda: len(seen.bodies()) == 2)
        async with running_host(*storage, *SHORT, environment=settings):
            await send(client, ["later"])
            await eventually(lambda: "later" in seen.bodies())
        assert seen.bodies() == ["fail", "good", "later"]


async def test_a_retry_policy_repeats_the_batch_and_pauses_its_partition_only(seen: Seen) -> None:
    async with event_hub(2) as connection, producer(connection) as client:
        async with running_host(environment=environment(seen, "patient", Hub=connection)):
            await send(client, ["fail"], partition_id="0")
            await eventually(lambda: bool(seen.lines("patient")))
            await send(client, ["behind"], partition_id="0")
            await send(client, ["elsewhere"], partition_id="1")
            await eventually(lambda: "behind" in seen.bodies("patient"))
        calls = [(line["bodies"], line["attempt"]) for line in seen.lines("patient")]
        assert [call for call in calls if call[0] != ["elsewhere"]] == [
            (["fail"], 0),
            (["fail"], 1),
            (["fail"], 2),
            (["behind"], 0),
        ]
        assert calls.index((["elsewhere"], 0)) < calls.index((["fail"], 2))


async def test_a_stop_during_retries_leaves_the_batch_to_the_next_host(seen: Seen, storage: tuple[str, str]) -> None:
    async with event_hub(1) as connection, producer(connection) as client:
        settings = environment(seen, "patient", Hub=connection)
        async with running_host(*storage, *SHORT, environment=settings) as host:
            await send(client, ["fail"])
            await eventually(lambda: bool(seen.lines("patient")))
            assert await host.stop() == 0
        attempts = len(seen.lines("patient"))
        async with running_host(*storage, *SHORT, environment=settings):
            await eventually(lambda: len(seen.lines("patient")) > attempts)
        assert seen.lines("patient")[attempts]["attempt"] == 0


async def shares(client: EventHubProducerClient, seen: Seen, mark: str) -> Counter[str]:
    """How many of the four partitions each host serves: one event is sent to each."""
    bodies = {f"{mark}-{partition}" for partition in range(4)}
    for partition in range(4):
        await send(client, [f"{mark}-{partition}"], partition_id=str(partition))
    await eventually(lambda: bodies <= set(seen.bodies()))
    return Counter(line["instance"] for line in seen.lines("events") if bodies & set(line["bodies"]))


async def until_shared(client: EventHubProducerClient, seen: Seen, mark: str, **expected: int) -> None:
    async with asyncio.timeout(30):
        for attempt in itertools.count():
            if await shares(client, seen, f"{mark}-{attempt}") == expected:
                return
            await asyncio.sleep(0.1)


@pytest.mark.parametrize("ending", ["killed", "stopped"])
async def test_partitions_are_shared_and_taken_over(seen: Seen, storage: tuple[str, str], ending: str) -> None:
    """No event is lost when the owner of half of the partitions goes, whichever way."""
    async with event_hub(4) as connection, producer(connection) as client:
        settings = environment(seen, "ingest", Hub=connection)

        def host(name: str) -> AbstractAsyncContextManager[Process]:
            return running_host(*storage, *SHORT, "--instance-id", name, environment=settings)

        async with host("one") as one:
            await until_shared(client, seen, "alone", one=4)
            async with host("two"):
                await until_shared(client, seen, "both", one=2, two=2)
                if ending == "killed":
                    await one.kill()
                else:
                    assert await one.stop() == 0
                for partition in range(4):
                    await send(client, [f"orphan-{partition}"], partition_id=str(partition))
                await eventually(lambda: {f"orphan-{n}" for n in range(4)} <= set(seen.bodies()))
                await until_shared(client, seen, "left", two=4)


async def test_an_idle_trigger_hands_an_event_on_quickly(seen: Seen) -> None:
    """The median of ten single events is far below the SDK's own polling interval of 50 ms."""
    async with event_hub(1) as connection, producer(connection) as client:
        async with running_host(environment=environment(seen, "ingest", Hub=connection)):
            await send(client, ["warm"])
            await eventually(lambda: len(seen.bodies()) == 1)
            for number in range(10):
                await asyncio.sleep(0.1)
                await send(client, [f"{number}"])
                await eventually(lambda: f"{number}" in seen.bodies())  # noqa: B023 (awaited at once)
        delays = sorted(
            line["received"] - datetime.fromisoformat(line["enqueued"][0]).timestamp()
            for line in seen.lines("events")[1:]
        )
        assert delays[len(delays) // 2] < 0.045


async def test_receiving_goes_on_after_an_outage_of_event_hubs(seen: Seen, tmp_path: Path) -> None:
    port, data = await free_port(), ("--data-dir", str(tmp_path / "hub"))
    async with event_hub(1, *data, port=port) as connection:
        host = await spawn_ingest(seen, connection)
        async with producer(connection) as client:
            await send(client, ["before"])
            await eventually(lambda: seen.bodies() == ["before"])
    try:
        async with event_hub(1, *data, port=port), producer(connection) as client:
            await send(client, ["after"])
            await eventually(lambda: seen.bodies() == ["before", "after"])
            assert await host.stop() == 0
    finally:
        await host.kill()


async def spawn_ingest(seen: Seen, connection: str) -> Process:
    arguments = ("--app", str(APP), "--port", "0")
    return await spawn("emulators.host", *arguments, environment=environment(seen, "ingest", Hub=connection))
