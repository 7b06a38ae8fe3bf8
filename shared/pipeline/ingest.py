"""Heartbeats from the stream into sessions."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import batched

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
from shared.registry.registry import UNASSIGNED, IngestResult, Registry
from shared.registry.watermarks import Watermarks

_CHUNK = 4_000
"""Presences given to Redis at once, so that one batch of large packets does not hold up every other caller."""


@dataclass(frozen=True, slots=True)
class StreamEvent:
    """One Event Hubs event as the trigger hands it over."""

    body: bytes
    sequence_number: int | None = None


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

        `partition_id`: the Event Hubs partition they come from, if known; a gap in its numbers shows a loss of data.
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
        canaries: dict[str, int] = {}
        for event, content in zip(events, contents, strict=True):
            match content:
                case Packet():
                    heartbeats.extend(content.heartbeats)
                case Canary():
                    canaries[content.partition_id] = max(content.sent_at, canaries.get(content.partition_id, 0))
                case ForeignEventError():
                    await self._dead_letters.add(
                        "ingest", str(content), event.body, sequence_number=event.sequence_number or 0
                    )

        result = await self._apply(heartbeats) if heartbeats else IngestResult()
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

    async def _apply(self, heartbeats: Sequence[Heartbeat]) -> IngestResult:
        facilities = await self._directory.facilities_of({beat.user_id for beat in heartbeats})
        result = IngestResult()
        unassigned = 0
        for chunk in batched(place(heartbeats, facilities), _CHUNK, strict=False):
            done = await self._registry.ingest(chunk)
            if done.said:
                await self._agents.hear(done.said)
            result += done
            unassigned += Counter(facility_id for facility_id, _ in chunk)[UNASSIGNED]
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
