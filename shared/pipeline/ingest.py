"""Heartbeats from the stream into sessions."""

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from shared import metrics
from shared.broadcast.broadcaster import Broadcaster
from shared.domain.heartbeat import Heartbeat
from shared.events.codec import Canary, ForeignEventError, Packet, decode
from shared.pipeline.agents import AgentFollower
from shared.pipeline.recovery import Recovery
from shared.pipeline.sweep import SessionSweep
from shared.registry.agents import Agents
from shared.registry.dead_letters import DeadLetters
from shared.registry.directory_cache import DirectoryCache
from shared.registry.registry import Registry
from shared.registry.results import UNASSIGNED, IngestResult, Reading, StraddleError
from shared.registry.watermarks import Watermarks

_CHUNK = 4_000
"""Presences given to Redis at once, so that one batch of large packets does not hold up every other caller."""
_PLACES = 65_536
"""More heartbeats than fit into one event. A heartbeat's position is its event's number times this, plus its own."""


@dataclass(frozen=True, slots=True)
class StreamEvent:
    """One Event Hubs event as the trigger hands it over."""

    body: bytes
    sequence_number: int | None = None


@dataclass(frozen=True, slots=True)
class Chunk:
    """Placed heartbeats to be given to Redis at once: of a batch's those numbered `first` to `last`."""

    first: int
    last: int
    placed: list[tuple[str, Heartbeat]]


class Positions:
    """Where in the stream the heartbeats of a batch are, by their number in it."""

    def __init__(self) -> None:
        self._numbers: list[int] = []
        self._bases: list[int] = []

    def begin(self, number: int, sequence_number: int) -> None:
        """An event begins with this heartbeat."""
        self._numbers.append(number)
        self._bases.append(sequence_number * _PLACES - number)

    def of(self, number: int) -> int:
        """Returns a heartbeat's position: greater than that of every one before it in the stream."""
        return self._bases[bisect_right(self._numbers, number) - 1] + number


class HeartbeatIngest:
    """Applies batches of one Event Hubs partition. A batch may be repeated: that changes nothing."""

    def __init__(
        self,
        registry: Registry,
        directory: DirectoryCache,
        watermarks: Watermarks,
        dead_letters: DeadLetters,
        recovery: Recovery,
        sweep: SessionSweep,
        broadcaster: Broadcaster,
        agents: Agents,
        follower: AgentFollower,
    ) -> None:
        self._registry = registry
        self._directory = directory
        self._watermarks = watermarks
        self._dead_letters = dead_letters
        self._recovery = recovery
        self._sweep = sweep
        self._broadcaster = broadcaster
        self._agents = agents
        self._follower = follower

    async def apply(self, events: Sequence[StreamEvent], partition_id: str | None = None) -> IngestResult:
        """Applies every event and notes the canaries among them; returns what the heartbeats did.

        `partition_id`: the Event Hubs partition they come from, if known; by its numbers a repetition is known, which
        is not counted again, and a loss of data, by a gap.
        An event that is none of ours is set aside with its reason, the others proceed. Raises
        DependencyUnavailableError or DirectoryMissingError: then the whole batch is to be given again.
        """
        contents = [_content(event) for event in events]
        numbers = [event.sequence_number for event in events if event.sequence_number is not None]
        marks = [content.mark for content in contents if isinstance(content, Canary)]
        await self._recovery.ensure(
            partition_id if numbers else None, min(numbers, default=0), mark=max(marks, default=(0, 0))
        )
        await self._sweep.tell_stall()
        heartbeats: list[Heartbeat] = []
        positions = Positions()
        canaries: dict[str, int] = {}
        for event, content in zip(events, contents, strict=True):
            match content:
                case Packet():
                    positions.begin(len(heartbeats), event.sequence_number or 0)
                    heartbeats.extend(content.heartbeats)
                case Canary():
                    canaries[content.partition_id] = max(content.sent_at, canaries.get(content.partition_id, 0))
                case ForeignEventError():
                    await self._dead_letters.add(
                        "ingest", str(content), event.body, sequence_number=event.sequence_number or 0
                    )

        result = IngestResult()
        if heartbeats:
            numbered = all(event.sequence_number is not None for event in events)
            result = await self._apply(heartbeats, positions, partition_id if numbered else None)
        if canaries:
            # Only now: a canary vouches for everything in front of it.
            await self._watermarks.record(canaries)
        if partition_id is not None and numbers:
            await self._recovery.applied(partition_id, max(numbers))
        if result.changes:
            self._broadcaster.wake()
        if result.began or result.said:
            self._follower.wake()
        await self._sweep.wake_if_late()
        return result

    async def _apply(self, heartbeats: Sequence[Heartbeat], positions: Positions, stream: str | None) -> IngestResult:
        facilities = await self._directory.facilities_of({beat.user_id for beat in heartbeats})
        result = IngestResult()
        unassigned = 0
        for chunk in chunks(place(heartbeats, facilities)):
            done = await self._give(chunk, positions, stream)
            if done.said:
                await self._agents.hear(done.said)
            result += done
            unassigned += Counter(facility_id for facility_id, _ in chunk.placed)[UNASSIGNED]
        metrics.heartbeats.add(len(heartbeats))
        metrics.duplicates.add(result.duplicates)
        metrics.late.add(result.late)
        metrics.unassigned.add(unassigned)
        await self._registry.count(
            {
                "heartbeats": len(heartbeats),
                "duplicates": result.duplicates,
                "late": result.late,
                "ended": result.ended,
                "unassigned": unassigned,
            }
        )
        return result

    async def _give(self, chunk: Chunk, positions: Positions, stream: str | None) -> IngestResult:
        if stream is None:
            return await self._registry.ingest(chunk.placed)
        reading = Reading(stream, positions.of(chunk.first), positions.of(chunk.last))
        try:
            return await self._registry.ingest(chunk.placed, reading)
        except StraddleError:
            # A predecessor has applied a part of these, cut otherwise. What this first attempt has done stands.
            self._broadcaster.wake()
            result = IngestResult()
            for part in split(chunk, positions, await self._registry.read_positions(stream)):
                result += await self._give(part, positions, stream)
            return result


def _content(event: StreamEvent) -> Packet | Canary | ForeignEventError:
    try:
        return decode(event.body)
    except ForeignEventError as error:
        return error


def place(
    heartbeats: Sequence[Heartbeat], facilities_of: Mapping[str, Sequence[str]]
) -> Iterator[tuple[str, Heartbeat]]:
    """Yields each heartbeat with every facility it counts for, or with `UNASSIGNED` if there is none (rule 3)."""
    for beat in heartbeats:
        facilities = facilities_of[beat.user_id]
        if beat.facility_id is not None:
            yield (beat.facility_id if beat.facility_id in facilities else UNASSIGNED), beat
        elif facilities:
            for facility_id in facilities:
                yield facility_id, beat
        else:
            yield UNASSIGNED, beat


def chunks(placed: Iterable[tuple[str, Heartbeat]]) -> Iterator[Chunk]:
    """Yields the placed heartbeats of a batch in groups of about `_CHUNK`, all facilities of a heartbeat together."""
    group: list[tuple[str, Heartbeat]] = []
    number, first, latest = -1, 0, None
    for pair in placed:
        if pair[1] is not latest:
            if len(group) >= _CHUNK:
                yield Chunk(first, number, group)
                group, first = [], number + 1
            latest = pair[1]
            number += 1
        group.append(pair)
    if group:
        yield Chunk(first, number, group)


def split(chunk: Chunk, positions: Positions, after: Collection[int]) -> Iterator[Chunk]:
    """Yields a chunk in parts, none of which has one of the positions `after` between its first and its last."""
    cuts = sorted(after)
    group: list[tuple[str, Heartbeat]] = []
    number, first, latest = chunk.first - 1, chunk.first, None
    for pair in chunk.placed:
        if pair[1] is not latest:
            if group and bisect_left(cuts, positions.of(number)) != bisect_left(cuts, positions.of(number + 1)):
                yield Chunk(first, number, group)
                group, first = [], number + 1
            latest = pair[1]
            number += 1
        group.append(pair)
    yield Chunk(first, number, group)
