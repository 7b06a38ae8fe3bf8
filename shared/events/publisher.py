"""Publishes heartbeats to the event hub, many in one event, and answers only when the hub has accepted them.

How packing works: a packet leaves at once if the last one left at least the packing wait ago; otherwise it gathers
what arrives until then. So a lone heartbeat is not delayed, and a busy process sends at most one event per wait.
A few packets may be on their way at the same time; when all links are busy, the next packet goes on gathering.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from azure.eventhub import EventData
from azure.eventhub.aio import EventHubProducerClient
from tenacity import AsyncRetrying, retry_if_exception_type, wait_random_exponential

from shared.connections import EventHubConnection
from shared.credentials import azure_credential
from shared.errors import DependencyUnavailableError
from shared.events.codec import Draft, encode_beat, encode_canary, encode_packet
from shared.events.link import FAILURES, OPEN_SECONDS, Link

if TYPE_CHECKING:
    from azure.core.credentials_async import AsyncTokenCredential

MAX_EVENT_BYTES = 900_000
"""Below the 1 MB that the service takes, with room for the envelope."""

_LINKS = 4
_ATTEMPTS = 3
_ATTEMPT_SECONDS = 1.5
_CALL_SECONDS = 5.0
_PARTITIONS_AFTER = 60_000
"""Milliseconds after which the hub is asked again for its partitions: it may have grown."""

_log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class _Entry:
    """The beats of one call that travel together; `stamped` resolves to their `receivedAt`."""

    beats: list[str]
    size: int
    deadline: float
    stamped: asyncio.Future[int]


class HeartbeatPublisher:
    """Sends heartbeats and canaries. Connects on first use; belongs to the event loop that first uses it."""

    def __init__(self, connection: EventHubConnection, max_wait_ms: float, now: Callable[[], int]) -> None:
        self._connection = connection
        self._credential: AsyncTokenCredential | None = None
        self._max_wait = max_wait_ms / 1000
        self._now = now
        # Making a batch opens the link that events without a partition go over.
        self._links = [Link(self._make_client, EventHubProducerClient.create_batch) for _ in range(_LINKS)]
        self._control = Link(self._make_client, self._open_control)
        self._partition_ids: tuple[str, ...] = ()
        self._partitions_read_at = 0
        self._partitions_at_opening: tuple[str, ...] = ()
        self._canary_client: EventHubProducerClient | None = None
        # Last in, first out: a quiet process keeps using, and keeps open, a single connection.
        self._idle: asyncio.LifoQueue[Link] = asyncio.LifoQueue()
        for link in self._links:
            self._idle.put_nowait(link)
        self._pending: deque[_Entry] = deque()
        self._pending_bytes = 0
        self._next_departure = 0.0
        self._last_stamp = 0
        self._dispatching: asyncio.Task[None] | None = None
        self._deliveries: set[asyncio.Task[None]] = set()

    async def publish(self, beats: Sequence[Draft]) -> list[int]:
        """Returns the `receivedAt` of each beat once the hub has accepted them all.

        Raises DependencyUnavailableError("eventHubs") if it has not; some may then have been accepted all the same.
        """
        deadline = asyncio.get_running_loop().time() + _CALL_SECONDS
        entries = [self._enqueue(chunk, deadline) for chunk in _chunks([encode_beat(beat) for beat in beats])]
        stamps = await asyncio.gather(*(entry.stamped for entry in entries))
        return [stamp for entry, stamp in zip(entries, stamps, strict=True) for _ in entry.beats]

    async def send_canaries(self, now: int, mark: tuple[int, int] = (0, 0)) -> dict[str, int]:
        """Sends a canary stamped `now`, with `mark`, to each partition.

        Returns the stamp for each partition that accepted its own.

        Raises DependencyUnavailableError("eventHubs") if none did.
        """
        try:
            async with asyncio.timeout(_CALL_SECONDS):
                client = await self._control.client()
                # Where the clock was set back it is asked, too.
                if abs(self._now() - self._partitions_read_at) >= _PARTITIONS_AFTER:
                    await self._read_partition_ids(client)
                if self._partition_ids != self._partitions_at_opening:
                    # A client sends to no partition that it did not know from the beginning.
                    self._control.discard()
                    client = await self._control.client()
        except FAILURES as error:
            self._control.discard()
            raise _unavailable(error) from error
        # A client's first canaries open a connection to each partition, which takes longer.
        limit = _ATTEMPT_SECONDS if client is self._canary_client else _CALL_SECONDS
        self._canary_client = client
        partition_ids = self._partition_ids
        outcomes = await asyncio.gather(
            *(_send(client, encode_canary(each, now, mark), limit, each) for each in partition_ids),
            return_exceptions=True,
        )
        failures = [outcome for outcome in outcomes if outcome is not None]
        for failure in failures:
            if not isinstance(failure, FAILURES):
                raise failure
        if failures:
            self._control.discard()
            _log.warning("%d of %d canaries were not accepted: %s", len(failures), len(outcomes), failures[0])
        if failures and len(failures) == len(outcomes):
            raise _unavailable(failures[0])
        return {
            partition_id: now for partition_id, outcome in zip(partition_ids, outcomes, strict=True) if outcome is None
        }

    async def partition_ids(self) -> tuple[str, ...]:
        """Returns the ids of the hub's partitions, as read within the last minute in which canaries were sent."""
        if not self._partition_ids:
            await self.ping()
        return self._partition_ids

    async def ping(self) -> None:
        """Returns if the hub answers. Raises DependencyUnavailableError("eventHubs")."""
        try:
            async with asyncio.timeout(_CALL_SECONDS):
                client = await self._control.client()
                await self._read_partition_ids(client)
        except FAILURES as error:
            raise _unavailable(error) from error

    async def close(self) -> None:
        """Waits for what is on its way, then closes all connections."""
        while self._dispatching is not None or self._deliveries:
            await asyncio.wait([task for task in (self._dispatching, *self._deliveries) if task is not None])
        await asyncio.gather(*(link.close() for link in (*self._links, self._control)))
        if self._credential is not None:
            await self._credential.close()
            self._credential = None

    def _make_client(self) -> EventHubProducerClient:
        # The SDK's own retries would resend what was stamped long ago, so there are none.
        options: dict[str, Any] = {
            "eventhub_name": self._connection.hub,
            "retry_total": 0,
            "auth_timeout": OPEN_SECONDS,
        }
        if self._connection.connection_string is not None:
            return EventHubProducerClient.from_connection_string(self._connection.connection_string, **options)
        # One for all links: it keeps the token that they share.
        self._credential = self._credential or azure_credential(self._connection.client_id)
        return EventHubProducerClient(self._connection.namespace or "", credential=self._credential, **options)

    async def _open_control(self, client: EventHubProducerClient) -> None:
        await self._read_partition_ids(client)
        self._partitions_at_opening = self._partition_ids

    async def _read_partition_ids(self, client: EventHubProducerClient) -> None:
        self._partition_ids = tuple(await client.get_partition_ids())
        self._partitions_read_at = self._now()

    def _enqueue(self, beats: list[str], deadline: float) -> _Entry:
        entry = _Entry(beats, _size(beats), deadline, asyncio.get_running_loop().create_future())
        self._pending.append(entry)
        self._pending_bytes += entry.size
        if self._dispatching is None:
            self._dispatching = asyncio.create_task(self._dispatch())
        return entry

    async def _dispatch(self) -> None:
        """Hands packets to idle links until nothing is pending."""
        loop = asyncio.get_running_loop()
        while self._pending:
            gather_for = self._next_departure - loop.time()
            if gather_for > 0 and self._pending_bytes < MAX_EVENT_BYTES:
                await asyncio.sleep(gather_for)
            link = await self._idle.get()
            packet = self._take()
            self._next_departure = loop.time() + self._max_wait
            delivery = asyncio.create_task(self._deliver(link, packet))
            self._deliveries.add(delivery)
            delivery.add_done_callback(self._deliveries.discard)
        self._dispatching = None

    def _take(self) -> list[_Entry]:
        """Returns what fits into the next event, without the entries whose callers have gone."""
        packet: list[_Entry] = []
        size = 0
        while self._pending and size + self._pending[0].size <= MAX_EVENT_BYTES:
            entry = self._pending.popleft()
            self._pending_bytes -= entry.size
            if not entry.stamped.done():
                packet.append(entry)
                size += entry.size
        return packet

    async def _deliver(self, link: Link, packet: list[_Entry]) -> None:
        try:
            stamp = await self._send(link, packet) if packet else 0
        except FAILURES as error:
            for entry in packet:
                if not entry.stamped.done():
                    entry.stamped.set_exception(_unavailable(error))
        except Exception as error:  # noqa: BLE001 - a fault of ours goes to those who wait, as any exception would
            for entry in packet:
                if not entry.stamped.done():
                    entry.stamped.set_exception(error)
        else:
            for entry in packet:
                if not entry.stamped.done():
                    entry.stamped.set_result(stamp)
        finally:
            self._idle.put_nowait(link)

    async def _send(self, link: Link, packet: list[_Entry]) -> int:
        """Returns the stamp under which the hub accepted the packet. Raises one of FAILURES.

        1. The link is opened first, so that little time passes between the stamp and its acceptance.
        2. Every attempt stamps anew: a sweep must not find a stamp that is older than the canaries it has waited for.
        """
        loop = asyncio.get_running_loop()
        beats = [beat for entry in packet for beat in entry.beats]
        deadline = packet[0].deadline
        stamp = 0
        async for attempt in AsyncRetrying(
            stop=lambda state: state.attempt_number >= _ATTEMPTS or loop.time() >= deadline,
            wait=wait_random_exponential(multiplier=0.1, max=0.5),
            retry=retry_if_exception_type(FAILURES),
            reraise=True,
        ):
            with attempt:
                try:
                    async with asyncio.timeout(_ATTEMPT_SECONDS):
                        client = await link.client()
                    stamp = self._stamp()
                    await _send(client, encode_packet(stamp, beats), _ATTEMPT_SECONDS)
                except BaseException:
                    link.discard()
                    raise
        return stamp

    def _stamp(self) -> int:
        # Strictly rising, so that messages which one client sends one after another never tie.
        self._last_stamp = max(self._now(), self._last_stamp + 1)
        return self._last_stamp


async def _send(client: EventHubProducerClient, body: bytes, limit: float, partition_id: str | None = None) -> None:
    async with asyncio.timeout(limit):
        await client.send_event(EventData(body), partition_id=partition_id)


def _unavailable(error: BaseException) -> DependencyUnavailableError:
    # The SDK adds its error condition on further lines.
    return DependencyUnavailableError("eventHubs", (str(error) or type(error).__name__).splitlines()[0])


def _size(beats: list[str]) -> int:
    # Ids are ASCII, so a character is a byte; one more for the comma.
    return sum(map(len, beats)) + len(beats)


def _chunks(beats: list[str]) -> list[list[str]]:
    """Splits beats so that each part fits into an event."""
    chunks: list[list[str]] = []
    room = 0
    for beat in beats:
        if room < len(beat) + 1:
            chunks.append([])
            room = MAX_EVENT_BYTES
        chunks[-1].append(beat)
        room -= len(beat) + 1
    return chunks
