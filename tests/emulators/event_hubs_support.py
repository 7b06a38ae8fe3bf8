"""Runs the Event Hubs emulator as a process, and hands out clients: azure-eventhub's, and one that speaks frames."""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from azure.eventhub import EventData
from azure.eventhub.aio import EventHubConsumerClient, EventHubProducerClient, PartitionContext

from emulators.event_hubs.encoding import encode
from emulators.event_hubs.performatives import (
    SASL_FRAME,
    Attach,
    Begin,
    Close,
    Detach,
    Flow,
    Open,
    SaslInit,
    SaslMechanisms,
    SaslOutcome,
    Source,
    Target,
    Transfer,
    decode_performative,
    encode_frame,
)

DEADLINE = 10.0
SASL_HEADER, AMQP_HEADER = b"AMQP\x03\x01\x00\x00", b"AMQP\x00\x01\x00\x00"
PARTITION = "hub/ConsumerGroups/$Default/Partitions/0"
HUBS = [f"hub-{number}" for number in range(40)]


class Emulator:
    """The emulator as a process; ready when constructed."""

    def __init__(self, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "emulators.event_hubs", "--port", "0", "--exit-with-parent", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self.process.stdout is not None
        ready = json.loads(self.process.stdout.readline())
        assert ready["event"] == "ready"
        self.port: int = ready["port"]

    def connection_string(self, key: str = "SAS_KEY_VALUE") -> str:
        return (
            f"Endpoint=sb://127.0.0.1:{self.port};SharedAccessKeyName=RootManageSharedAccessKey;"
            f"SharedAccessKey={key};UseDevelopmentEmulator=true;"
        )

    def stop(self, *, kill: bool = False) -> int:
        """Ends the process; returns its exit code."""
        if kill:
            self.process.kill()
        else:
            self.process.terminate()
        code = self.process.wait(DEADLINE)
        for stream in (self.process.stdin, self.process.stdout):
            assert stream is not None
            stream.close()
        return code


def start_with_hubs(*arguments: str) -> Emulator:
    """An emulator with all of `HUBS`, so that each test can have one of its own."""
    return Emulator(*(part for hub in HUBS for part in ("--hub", hub)), *arguments)


def hurry_clients(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shortens the pauses between the library's polls, up to 30 s long, to a twentieth; the library stays as it is."""
    sleep, sleep_in_thread = asyncio.sleep, time.sleep

    async def short_sleep(delay: float, result: Any = None) -> Any:
        return await sleep(delay / 20, result)

    monkeypatch.setattr(asyncio, "sleep", short_sleep)
    monkeypatch.setattr(time, "sleep", lambda delay: sleep_in_thread(delay / 20))


async def until(condition: Callable[[], object]) -> None:
    """Waits for something that raises no event; fails after the deadline."""
    async with asyncio.timeout(DEADLINE):
        while not condition():
            await asyncio.sleep(0.01)


class Clients:
    """Makes clients of the asyncio library, and closes them all at once: each consumer takes a second or two."""

    def __init__(self, connection_string: str) -> None:
        self._connection_string = connection_string
        self.host = connection_string.split("/")[2].partition(";")[0]
        self._clients: list[EventHubProducerClient | EventHubConsumerClient] = []
        self._tasks: list[asyncio.Task[None]] = []

    def producer(self, hub: str, *, connection_string: str | None = None, **options: Any) -> EventHubProducerClient:
        client = EventHubProducerClient.from_connection_string(
            connection_string or self._connection_string, eventhub_name=hub, retry_total=0, **options
        )
        self._clients.append(client)
        return client

    def consumer(
        self, hub: str, group: str = "$Default", *, connection_string: str | None = None, **options: Any
    ) -> EventHubConsumerClient:
        client = EventHubConsumerClient.from_connection_string(
            connection_string or self._connection_string,
            consumer_group=group,
            eventhub_name=hub,
            retry_total=0,
            **options,
        )
        self._clients.append(client)
        return client

    def receive(
        self, hub: str, *, group: str = "$Default", client: EventHubConsumerClient | None = None, **options: Any
    ) -> "Reception":
        """Starts to receive partition 0 from its start; options are those of `receive_batch`."""
        client = client or self.consumer(hub, group)
        reception = Reception(client)
        self.run(
            client.receive_batch(
                reception.on_event_batch,
                on_error=reception.on_error,
                **{"partition_id": "0", "starting_position": "-1", **options},
            )
        )
        return reception

    def run(self, receiving: Coroutine[Any, Any, None]) -> None:
        """Runs a call that receives until `close`."""
        self._tasks.append(asyncio.create_task(receiving))

    async def close(self) -> None:
        await asyncio.gather(*(client.close() for client in self._clients))
        for task in self._tasks:
            task.cancel()  # otherwise it sleeps until the next time to balance the load
        if self._tasks:
            await asyncio.wait(self._tasks)


class Reception:
    """What one consumer receives."""

    def __init__(self, client: EventHubConsumerClient) -> None:
        self.client = client
        self.events: list[EventData] = []
        self.partitions: list[str] = []
        self.errors: list[Exception] = []
        self.last_enqueued: dict[str, Any] | None = None

    async def on_event_batch(self, context: PartitionContext, events: list[EventData]) -> None:
        self.events += events
        self.partitions += [context.partition_id] * len(events)
        self.last_enqueued = context.last_enqueued_event_properties

    async def on_error(self, context: PartitionContext | None, error: Exception) -> None:
        self.errors.append(error)

    async def get(self, count: int) -> list[EventData]:
        """Waits for `count` events."""
        await until(lambda: len(self.events) >= count or self.errors)
        assert not self.errors
        return self.events

    async def bodies(self, count: int) -> list[str]:
        """Waits for `count` events and returns their bodies as text."""
        return [event.body_as_str() for event in await self.get(count)]

    async def error(self) -> str:
        """Waits for an error and returns its text."""
        await until(lambda: self.errors)
        return str(self.errors[0])


class RawClient:
    """A client that speaks frame by frame."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.empty_frames = 0

    def send(self, performative: tuple[Any, ...], payload: bytes = b"", channel: int = 1, kind: int = 0) -> None:
        self.writer.write(encode_frame(channel, performative, payload, kind))

    async def frame(self) -> tuple[Any, bytes]:
        """The next frame that is not empty: its performative and its payload."""
        async with asyncio.timeout(DEADLINE):
            while True:
                header = await self.reader.readexactly(8)
                body = await self.reader.readexactly(int.from_bytes(header[:4]) - 8)
                if body:
                    break
                self.empty_frames += 1
        if body[2] == 0x40:
            return SaslMechanisms([]), b""
        if body[2] == 0x44:
            return SaslOutcome(body[-2]), b""
        performative, end = decode_performative(body, 0)
        return performative, body[end:]

    async def expect[T](self, kind: type[T]) -> T:
        """The next frame, which must be of a kind."""
        performative, _ = await self.frame()
        assert isinstance(performative, kind), performative
        return performative

    async def sasl(self, mechanism: str, response: bytes = b"") -> SaslOutcome:
        self.writer.write(SASL_HEADER)
        assert await self.reader.readexactly(8) == SASL_HEADER
        await self.expect(SaslMechanisms)
        self.send(SaslInit(mechanism, response), channel=0, kind=SASL_FRAME)
        return await self.expect(SaslOutcome)

    async def open(self, max_frame_size: int = 65536, idle_ms: int | None = None, window: int = 5000) -> None:
        """Opens a connection with full access, and a session."""
        assert (await self.sasl("PLAIN", b"\0policy\0secret")).result == 0
        await self._begin(max_frame_size, idle_ms, window)

    async def _begin(self, max_frame_size: int, idle_ms: int | None, window: int) -> None:
        self.writer.write(AMQP_HEADER)
        assert await self.reader.readexactly(8) == AMQP_HEADER
        self.send(Open("raw", max_frame_size=max_frame_size, idle_time_out=idle_ms), channel=0)
        await self.expect(Open)
        self.send(Begin(None, 0, window, 5000))
        await self.expect(Begin)

    async def attach_sender(self, address: str = "hub/Partitions/0", handle: int = 0) -> Flow:
        self.send(
            Attach("sender", handle, False, target=Target(address), source=Source("me"), initial_delivery_count=0)
        )
        attach = await self.expect(Attach)
        assert attach.target == Target(address)
        return await self.expect(Flow)

    async def attach_receiver(self, address: str = PARTITION, handle: int = 1, credit: int = 100) -> Attach:
        self.send(Attach("receiver", handle, True, source=Source(address), target=Target("me")))
        attach = await self.expect(Attach)
        if credit:
            self.send(Flow(1, 5000, 0, 5000, handle, 0, credit))
        return attach

    async def refused(self, attach: Attach) -> str:
        """Attaches and returns the condition of the refusal."""
        self.send(attach)
        reply = await self.expect(Attach)
        assert (reply.source if attach.role else reply.target) is None
        detach = await self.expect(Detach)
        assert detach.closed
        assert detach.error is not None
        return detach.error.condition

    async def closed(self) -> str | None:
        """Reads until the server closes the connection; returns the condition, if it gives one."""
        while True:
            try:
                performative, _ = await self.frame()
            except asyncio.IncompleteReadError:
                return None
            if isinstance(performative, Close):
                return performative.error.condition if performative.error else None

    async def open_unauthorized(self) -> None:
        """Opens a connection without any access, and a session."""
        assert (await self.sasl("ANONYMOUS")).result == 0
        await self._begin(65536, None, 5000)

    async def put_token(self, audience: str, token: str, kind: str = "servicebus.windows.net:sastoken") -> int:
        """Puts a token over links of its own with the handles 8 and 9; returns the status."""
        self.send(Attach("cbs-out", 8, False, target=Target("$cbs"), source=Source("me")))
        self.send(Attach("cbs-in", 9, True, source=Source("$cbs"), target=Target("reply")))
        self.send(Flow(1, 5000, 0, 5000, 9, 0, 10))
        properties = {"operation": "put-token", "type": kind, "name": audience}
        sections = ((0x73, ["id-1", None, None, None, "reply"]), (0x74, properties), (0x77, token))
        payload = b"".join(bytes((0x00, 0x53, code)) + encode(section) for code, section in sections)
        self.send(transfer(0, handle=8, settled=True), payload)
        for expected in (Attach, Flow, Attach):
            await self.expect(expected)
        response, body = await self.frame()
        assert isinstance(response, Transfer)
        assert b"id-1" in body
        for handle in (8, 9):
            self.send(Detach(handle, closed=True))
            await self.expect(Detach)
        status_at = body.index(b"status-code") + 12
        return int.from_bytes(body[status_at : status_at + 4])


def transfer(delivery_id: int, *, handle: int = 0, **fields: Any) -> Transfer:
    return Transfer(handle, delivery_id, delivery_id.to_bytes(4), 0, **fields)
