"""Sessions and facilities in Redis: one typed call per script, one script call per partition."""

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import batched

import msgpack
from redis.asyncio import Redis

from shared import metrics
from shared.domain.facility import FacilityState, FacilityStatus
from shared.domain.heartbeat import Heartbeat
from shared.domain.session import EndedSession, SessionTiming
from shared.domain.silence import Census
from shared.registry import keys
from shared.registry.client import redis_errors, scored, straddling, text
from shared.registry.directory_cache import Departure
from shared.registry.keys import Partition
from shared.registry.packing import REASONS, facility_state, flat, online_sessions, place, sayings_of
from shared.registry.results import UNASSIGNED, Heard, IngestResult, Reading, SweepResult
from shared.registry.scripts import load
from shared.registry.sequences import newest_sequences

_PLACES_AT_ONCE = 200
_CENSUS_SAMPLE = 512
"""Sessions of a partition up to which all are looked at; see census.lua for how a larger one is sampled."""


class Registry:
    """The sessions of all facilities. Raises DependencyUnavailableError("redis") when Redis cannot answer."""

    def __init__(self, client: Redis, timing: SessionTiming) -> None:
        self._client = client
        self._timing = timing
        self._ingest = load(client, "ingest")
        self._sweep = load(client, "sweep")
        self._unlist = load(client, "unlist")
        self._end_session = load(client, "end_session")
        self._purge = load(client, "purge")
        self._depart = load(client, "depart")
        self._restore = load(client, "restore")
        self._heard = load(client, "heard")
        self._states = load(client, "states")
        self._attest = load(client, "attest")
        self._census = load(client, "census")
        self._online = load(client, "online")
        self._look_again = load(client, "look_again")

    async def ingest(self, placed: Iterable[tuple[str, Heartbeat]], reading: Reading | None = None) -> IngestResult:
        """Applies heartbeats, each to the facility it is paired with (`UNASSIGNED` for none); returns what they did.

        Partitions are independent: after an error some may have been applied, and the same call may be repeated.
        `reading` tells a repetition, which counts nothing, from what comes late. Raises StraddleError.
        """
        groups: dict[Partition, dict[str, list[str | int]]] = {}
        said: list[Heartbeat] = []
        newest: dict[Partition, int] = {}
        for facility_id, beat in placed:
            partition = keys.partition_of(facility_id, beat.user_id)
            messages = groups.setdefault(partition, {}).setdefault(facility_id, [])
            flags = int(beat.leaving)
            if beat.agent_status is not None:
                said.append(beat)
                flags += 2
            messages += (f"{beat.user_id}/{beat.session_id}", beat.received_at, flags)
            if reading is not None and beat.received_at > newest.get(partition, 0):
                newest[partition] = beat.received_at
        with redis_errors(), straddling():
            results = await asyncio.gather(
                *(
                    self._ingest(
                        keys=partition.script_keys(),
                        args=[
                            *self._common(partition),
                            msgpack.packb(flat(by_facility)),
                            *place(reading, newest.get(partition, 0)),
                        ],
                    )
                    for partition, by_facility in groups.items()
                )
            )
        total = sum((IngestResult(*counts[:6]) for counts in results), IngestResult())
        metrics.transitions.add(total.changes)
        return replace(total, said=sayings_of(said, [unsaid for *_, unsaid in results if unsaid]))

    async def read_positions(self, stream: str) -> set[int]:
        """Returns how far a stream has been read, by any of the partitions."""
        with redis_errors():
            pipe = self._client.pipeline(transaction=False)
            for partition in keys.ALL_PARTITIONS:
                pipe.hget(partition.read, stream)
            return {int(text(value).partition("/")[0]) for value in await pipe.execute() if value is not None}

    async def sweep(self, partition: Partition, watermark: int, *, limit: int = 50, hold_until: int = 0) -> SweepResult:
        """Ends what is due at `watermark` in one partition, at most `limit` facilities of it (see sweep.lua).

        With `hold_until` (ms) nobody expires; sessions that left still end.
        """
        return await self._call_sweep(partition, watermark, limit, hold_until)

    async def sweep_facility(
        self, facility_id: str, partition: Partition, watermark: int, *, hold_until: int = 0
    ) -> SweepResult:
        """Ends what is due at `watermark` in one facility, out of turn."""
        return await self._call_sweep(partition, watermark, 1, hold_until, facility_id)

    async def unlist(self, partition: Partition, watermark: int, passed: int, limit: int) -> int:
        """Removes the session-list keys of the facilities that are due; returns how many these were, `limit` at most.

        The first `passed` are left out. Each key that expires before the sweep comes calls functions in vain.
        """
        with redis_errors():
            visited: int = await self._unlist(
                keys=partition.script_keys(), args=[*self._common(partition), watermark, passed, limit]
            )
        return visited

    async def count_due(self, watermark: int) -> int:
        """Returns how many facilities wait to be looked at."""
        with redis_errors():
            pipe = self._client.pipeline(transaction=False)
            for partition in keys.ALL_PARTITIONS:
                pipe.zcount(partition.deadlines, "-inf", watermark)
            return sum(await pipe.execute())

    async def heard_since(self, epoch: int) -> int | None:
        """Returns since when there have been sessions in this epoch (ms), as long as no sweep has come by yet.

        None without any session.
        """
        with redis_errors():
            pipe = self._client.pipeline(transaction=False)
            for partition in keys.ALL_PARTITIONS:
                pipe.zrange(partition.deadlines, 0, 0, withscores=True)
            dues = [due for reply in await pipe.execute() for _, due in reply]
        return max(epoch, int(min(dues)) - self._timing.ttl) if dues else None

    async def count_online(self, now: int) -> int:
        """Returns how many sessions are online: each once up to about 8,000, beyond at each of its facilities."""
        with redis_errors():
            counts = await asyncio.gather(
                *(
                    self._online(keys=partition.script_keys(), args=self._common(partition))
                    for partition in keys.ALL_PARTITIONS
                )
            )
        return (await self.census(now, now)).online if sum(counts) <= keys.PARTITIONS * _CENSUS_SAMPLE else sum(counts)

    async def census(self, watermark: int, heard_after: int) -> Census:
        """Counts the sessions online that did not say goodbye, and those of them heard after a moment (ms).

        Up to 512 in each partition the count is exact and a session at several facilities counts once; a larger
        partition is sampled, and each presence counts.
        """
        with redis_errors():
            replies = await asyncio.gather(
                *(
                    self._census(
                        keys=partition.script_keys(),
                        args=[*self._common(partition), watermark, heard_after, _CENSUS_SAMPLE],
                    )
                    for partition in keys.ALL_PARTITIONS
                )
            )
        due = any(reply[2] for reply in replies)
        if all(reply[3] for reply in replies):
            heard = {identity for reply in replies for identity in reply[4]}
            silent = {identity for reply in replies for identity in reply[5]} - heard
            return Census(len(heard) + len(silent), len(heard), due)
        return Census(sum(reply[0] for reply in replies), sum(reply[1] for reply in replies), due)

    async def look_again(self, hold_until: int, watermark: int) -> None:
        """Makes the next sweep look at everybody who was put off until `hold_until` (ms) by a hold that is over."""
        with redis_errors():
            await asyncio.gather(
                *(
                    self._look_again(
                        keys=partition.script_keys(), args=[*self._common(partition), hold_until, watermark]
                    )
                    for partition in keys.ALL_PARTITIONS
                )
            )

    async def next_due(self, facility_id: str, partition: Partition) -> int | None:
        """Returns when the sweep must next look at a facility (ms), None if nobody there has a deadline."""
        with redis_errors():
            score = await self._client.zscore(partition.deadlines, facility_id)
        return None if score is None else int(score)

    async def end_session(
        self, user_id: str, session_id: str, facility_ids: Iterable[str], now: int, until: int
    ) -> SweepResult:
        """Ends a session at once at the given facilities; nothing received up to `until` brings it back anywhere."""
        places: dict[Partition, list[str]] = {partition: [] for partition in keys.ALL_PARTITIONS}
        for facility_id in {*facility_ids, UNASSIGNED}:
            places[keys.partition_of(facility_id, user_id)].append(facility_id)
        with redis_errors():
            results = await asyncio.gather(
                *(
                    self._end_session(
                        keys=partition.script_keys(),
                        args=[*self._common(partition), f"{user_id}/{session_id}", now, until, *facilities],
                    )
                    for partition, facilities in places.items()
                )
            )
        total = SweepResult(sum(ended for ended, _ in results), sum(changes for _, changes in results))
        metrics.transitions.add(total.changes)
        return total

    async def purge(self, logged: Sequence[EndedSession]) -> int:
        """Lets go of ended sessions that SQL now holds; returns how many went at once, the sweep takes the others."""
        groups: dict[Partition, list[str | int]] = {}
        for session in logged:
            partition = keys.partition_of(session.facility_id, session.user_id)
            identity = f"{session.user_id}/{session.session_id}"
            groups.setdefault(partition, []).extend((session.facility_id, identity, session.ended_at))
        with redis_errors():
            return sum(
                await asyncio.gather(
                    *(
                        self._purge(keys=partition.script_keys(), args=[*self._common(partition), *triples])
                        for partition, triples in groups.items()
                    )
                )
            )

    async def depart(self, departures: Iterable[Departure], now: int) -> int:
        """Appends the announcement that facilities left their region; returns the changes appended."""
        changes = 0
        with redis_errors():
            for departure in departures:
                partition = keys.partition_of(departure.facility_id)
                changes += await self._depart(
                    keys=partition.script_keys(),
                    args=[
                        *self._common(partition),
                        departure.facility_id,
                        departure.region_id,
                        now,
                        int(departure.moved),
                    ],
                )
        return changes

    async def restore(
        self, states: Collection[FacilityState], loss: int, *, version_jump: int, first_start: bool = False
    ) -> int:
        """Rebuilds facilities from their recorded states after a loss of Redis data at `loss`; returns how many.

        Of a facility that an older copy of the data still holds the newer state counts; all sessions are forgotten.
        Versions jump ahead by more than can have been lost, so that none is used twice; those of facilities that nobody
        knows any more go on above all others, unless it is a `first_start`.
        """
        base = 0 if first_start else max((state.version for state in states), default=0) + version_jump
        rows: dict[Partition, list[tuple[str, int, int, int, int]]] = {each: [] for each in keys.ALL_PARTITIONS}
        for state in states:
            online = int(state.status == FacilityStatus.ONLINE)
            reason = REASONS.index(state.reason) if state.reason in REASONS else 0
            row = (state.facility_id, online, state.since or 0, state.version, reason)
            rows[keys.partition_of(state.facility_id)].append(row)
        with redis_errors():
            return sum(
                await asyncio.gather(
                    *(
                        self._restore(
                            keys=partition.script_keys(),
                            args=[*self._common(partition), loss, version_jump, msgpack.packb(recorded), base],
                        )
                        for partition, recorded in rows.items()
                    )
                )
            )

    async def known_states(self) -> list[FacilityState]:
        """Returns the state of every facility that has one."""
        found: list[FacilityState] = []
        with redis_errors():
            for partition in keys.ALL_PARTITIONS:
                rows = await self._client.hgetall(partition.facilities)
                found += [facility_state(text(name), packed, None) for name, packed in rows.items() if name]  # type: ignore[arg-type]
        return found

    async def block(self, ended: Iterable[tuple[str, str, int]]) -> None:
        """Keeps sessions ended by command ended: (user, session, until ms) each, in every partition."""
        scores = {f"{user_id}/{session_id}": until for user_id, session_id, until in ended}
        if not scores:
            return
        with redis_errors():
            pipe = self._client.pipeline(transaction=False)
            for partition in keys.ALL_PARTITIONS:
                pipe.zadd(partition.ended_ids, scores, gt=True)
            await pipe.execute()

    async def blocked(self, since: int) -> list[tuple[str, str, int]]:
        """Returns the sessions ended by command whose block reaches beyond `since` (ms): (user, session, until)."""
        with redis_errors():
            rows = await self._client.zrangebyscore(
                keys.ALL_PARTITIONS[0].ended_ids, f"({since}", "+inf", withscores=True
            )
        blocked = []
        for identity, until in scored(rows).items():
            user_id, _, session_id = identity.partition("/")
            blocked.append((user_id, session_id, until))
        return blocked

    async def unblock(self, now: int) -> None:
        """Forgets blocks whose time is over."""
        with redis_errors():
            pipe = self._client.pipeline(transaction=False)
            for partition in keys.ALL_PARTITIONS:
                pipe.zremrangebyscore(partition.ended_ids, "-inf", f"({now}")
            await pipe.execute()

    async def facility_states(self, facility_ids: Sequence[str]) -> list[FacilityState]:
        """Returns the states of facilities in the order given; one never heard of is offline at version 0."""
        groups: dict[Partition, list[str]] = {}
        for facility_id in facility_ids:
            groups.setdefault(keys.partition_of(facility_id), []).append(facility_id)
        found: dict[str, FacilityState] = {}
        with redis_errors():
            replies = await asyncio.gather(
                *(
                    self._states(keys=partition.script_keys(), args=[*self._common(partition), *members])
                    for partition, members in groups.items()
                )
            )
        for members, rows in zip(groups.values(), replies, strict=True):
            for facility_id, (packed, heard) in zip(members, batched(rows, 2, strict=True), strict=True):
                found[facility_id] = facility_state(facility_id, packed, heard)
        return [found[facility_id] for facility_id in facility_ids]

    async def heard(self, presences: Iterable[tuple[str, str]]) -> dict[str, Heard]:
        """Returns what is known of the users of the (facility, user) pairs by their sessions that are online there.

        A user without one is left out.
        """
        groups: dict[tuple[Partition, str], list[str]] = {}
        for facility_id, user_id in presences:
            groups.setdefault((keys.partition_of(facility_id, user_id), facility_id), []).append(user_id)
        with redis_errors():
            replies = await asyncio.gather(
                *(
                    self._heard(keys=partition.script_keys(), args=[*self._common(partition), facility_id, *users])
                    for (partition, facility_id), users in groups.items()
                )
            )
        heard: dict[str, Heard] = {}
        for users, rows in zip(groups.values(), replies, strict=True):
            for user_id, (at, *session_ids) in zip(users, rows, strict=True):
                if at:
                    known = heard.get(user_id, Heard(0, frozenset()))
                    heard[user_id] = Heard(max(known.at, int(at)), known.session_ids | set(map(text, session_ids)))
        return heard

    async def online_sessions_of(self, places: Sequence[tuple[str, Partition]]) -> list[list[tuple[str, str]]]:
        """Returns (user, session) of everybody online at each of the places, in the order given."""
        online: list[list[tuple[str, str]]] = []
        for some in batched(places, _PLACES_AT_ONCE, strict=False):
            with redis_errors():
                pipe = self._client.pipeline(transaction=False)
                for facility_id, partition in some:
                    pipe.hgetall(partition.sessions(facility_id))
                online += [online_sessions(rows) for rows in await pipe.execute()]
        return online

    async def attest(self, places: Iterable[tuple[str, str]], now: int) -> int:
        """Has it said once more which sessions each user of the (facility, user) pairs has there; returns how many."""
        groups: dict[Partition, list[str]] = {}
        for facility_id, user_id in places:
            groups.setdefault(keys.partition_of(facility_id, user_id), []).extend((facility_id, user_id))
        with redis_errors():
            return sum(
                await asyncio.gather(
                    *(
                        self._attest(keys=partition.script_keys(), args=[*self._common(partition), now, *pairs])
                        for partition, pairs in groups.items()
                    )
                )
            )

    async def region_sequences(self, region_ids: Sequence[str]) -> dict[str, int]:
        """Returns the number of each region's newest message; see `shared.registry.sequences`."""
        return await newest_sequences(self._client, region_ids)

    async def count(self, counters: Mapping[str, int]) -> None:
        """Adds to the totals shown to operators."""
        nonzero = {name: amount for name, amount in counters.items() if amount}
        if not nonzero:
            return
        with redis_errors():
            pipe = self._client.pipeline(transaction=False)
            for name, amount in nonzero.items():
                pipe.hincrby(keys.COUNTERS, name, amount)
            await pipe.execute()

    async def ping(self) -> None:
        """Returns if Redis answers."""
        with redis_errors():
            await self._client.ping()

    async def _call_sweep(
        self, partition: Partition, watermark: int, limit: int, hold_until: int, *only: str
    ) -> SweepResult:
        with redis_errors():
            ended, changes, more = await self._sweep(
                keys=partition.script_keys(),
                args=[*self._common(partition), watermark, limit, hold_until, *only],
            )
        metrics.transitions.add(changes)
        return SweepResult(ended, changes, bool(more))

    def _common(self, partition: Partition) -> list[str | int]:
        return [partition.tag, self._timing.ttl, self._timing.leave_grace]
