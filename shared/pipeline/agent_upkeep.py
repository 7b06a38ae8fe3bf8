"""What the monitor does for agents: a new directory is told, and agents are compared with the sessions."""

from collections.abc import Callable, Iterable
from itertools import islice

from redis.asyncio import Redis

from shared.broadcast.messages import agents_group, region_group
from shared.broadcast.push import PushService
from shared.domain.agent import Agent, RegionMove
from shared.errors import DirectoryMissingError
from shared.pipeline.agents import AgentFollower
from shared.registry import keys
from shared.registry.agents import Agents, Position, presence
from shared.registry.dead_letters import AGENTS, DeadLetters
from shared.registry.directory_cache import DirectoryCache, DirectoryView
from shared.registry.keys import Partition, partition_of
from shared.registry.registry import Registry
from shared.registry.results import UNASSIGNED
from shared.stream.entries import UnknownEntryError, parse_region_move
from shared.stream.queue import StreamQueue

_MOVES = 1_000
COMPARED, FACILITIES = 100, 20
"""Agents, and facilities, compared in one run: all of them in a small system, in turn in a large one."""
FORGET_AFTER = 10 * 60_000
"""Milliseconds after which nobody waits any more for the session of somebody who has spoken."""


class AgentUpkeep:
    """Part of the monitor's run, of which there is one at a time."""

    def __init__(
        self,
        client: Redis,
        registry: Registry,
        agents: Agents,
        follower: AgentFollower,
        directory: DirectoryCache,
        push: PushService,
        dead_letters: DeadLetters,
        now: Callable[[], int],
    ) -> None:
        self._registry = registry
        self._agents = agents
        self._follower = follower
        self._directory = directory
        self._push = push
        self._dead_letters = dead_letters
        self._now = now
        self._moves = StreamQueue(client, [keys.REGION_MOVES])
        self._agents_at: Position | None = None
        self._facilities_at = 0

    async def run(self) -> int:
        """Repairs what differs and tells moves; returns at how many places something had to be said again (0: well).

        Raises DependencyUnavailableError; what was not told is told by the next run.
        """
        try:
            view = await self._directory.view()
        except DirectoryMissingError:
            return 0
        differing = await self._compare_agents(view) | await self._compare_sessions(view)
        if differing:
            await self._registry.attest(sorted(differing), self._now())
            self._follower.wake()
        await self._tell_moves()
        return len(differing)

    async def _tell_moves(self) -> None:
        while entries := await self._moves.read(_MOVES):
            moves: list[RegionMove] = []
            for entry in entries:
                try:
                    moves.append(parse_region_move(entry.fields))
                except UnknownEntryError as error:
                    await self._dead_letters.add(AGENTS, str(error), repr(entry.fields).encode(), entry=entry.entry_id)
            leaving: dict[str, list[str]] = {}
            told = []
            for move in moves:
                # By the directory as it is now: a later one may have taken the move back.
                left = move.left - await self._directory.regions_of(move.user_id)
                told.append(RegionMove(move.user_id, left, move.joined))
                for region_id in left:
                    leaving.setdefault(region_id, []).append(move.user_id)
            for region_id, user_ids in leaving.items():
                await self._push.leave_group(region_group(region_id), user_ids, unless_in=agents_group(region_id))
            if await self._agents.move(told, self._now()):
                self._follower.wake()
            await self._moves.delete(entries)

    async def _compare_agents(self, view: DirectoryView) -> set[tuple[str, str]]:
        """Returns (facility, user) where the next agents in turn claim other sessions than there are."""
        batch, self._agents_at = await self._agents.read(self._agents_at or Position(), COMPARED)
        silent = [agent.user_id for agent in batch if not agent.presences]
        await self._agents.forget_silent(silent, self._now() - FORGET_AFTER)
        places: dict[tuple[str, Partition], dict[str, Agent]] = {}
        for agent in batch:
            for checksum in {checksum for checksum, _ in agent.presences}:
                facility_id = view.facility_of_checksum(checksum)
                # Where a facility is gone its sessions lapse, and agents hear of that as of any other end.
                if facility_id is not None:
                    places.setdefault((facility_id, partition_of(facility_id, agent.user_id)), {})[agent.user_id] = (
                        agent
                    )
        differing: set[tuple[str, str]] = set()
        present = await self._registry.online_sessions_of(list(places))
        for ((facility_id, _), agents), sessions in zip(places.items(), present, strict=True):
            there = _by_user(facility_id, (each for each in sessions if each[0] in agents))
            for user_id, agent in agents.items():
                if _claimed(agent, facility_id) != there.get(user_id, set()):
                    differing.add((facility_id, user_id))
        return differing

    async def _compare_sessions(self, view: DirectoryView) -> set[tuple[str, str]]:
        """Returns (facility, user) where agents do not know all sessions of the next facilities in turn."""
        # Only those in turn are looked at: there may be tens of thousands.
        turn, nowhere = slice(self._facilities_at, self._facilities_at + FACILITIES), len(view.facilities)
        chosen = [(each, partition_of(each)) for each in islice(view.facilities, turn.start, turn.stop)]
        unassigned = keys.ALL_PARTITIONS[max(0, turn.start - nowhere) : max(0, turn.stop - nowhere)]
        chosen += [(UNASSIGNED, partition) for partition in unassigned]
        self._facilities_at = self._facilities_at + FACILITIES if len(chosen) == FACILITIES else 0
        differing: set[tuple[str, str]] = set()
        present = await self._registry.online_sessions_of(chosen)
        agents = await self._agents.get_all(sorted({user_id for sessions in present for user_id, _ in sessions}))
        for (facility_id, _), sessions in zip(chosen, present, strict=True):
            for user_id, presences in _by_user(facility_id, sessions).items():
                agent = agents.get(user_id)
                if agent is None or _claimed(agent, facility_id) != presences:
                    differing.add((facility_id, user_id))
        return differing


def _by_user(facility_id: str, sessions: Iterable[tuple[str, str]]) -> dict[str, set[tuple[int, int]]]:
    """Returns the users of (user, session) pairs, and what an agent's entry keeps of the sessions of each."""
    found: dict[str, set[tuple[int, int]]] = {}
    for user_id, session_id in sessions:
        found.setdefault(user_id, set()).add(presence(facility_id, session_id))
    return found


def _claimed(agent: Agent, facility_id: str) -> set[tuple[int, int]]:
    checksum, _ = presence(facility_id, "")
    return {pair for pair in agent.presences if pair[0] == checksum}
