"""Whatever stops, and however it comes back: nobody who goes on beating is called offline, and who left is, truly."""

import asyncio
import shutil
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pytest
import pytest_asyncio

from emulators.stack import Stack
from shared.store.opening import open_monitor_store
from tests.e2e.crowd import DEADLINE, Crowd, eventually, gathered
from tests.soak import size

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.soak]

TTL = float(size(3, 12))
STALE_AFTER = 2.0
STOP = size(1, 4)
"""How much longer everything stays away in the full size."""
BACKLOG = float(size(20, 600))
"""Seconds that pile up: ten minutes, or as much of a TTL of 3 s as ten minutes are of one of 90 s."""
SETTINGS = {
    "SESSION_TTL_SECONDS": str(TTL),
    "STALE_AFTER_SECONDS": str(STALE_AFTER),
    "MONITOR_SCHEDULE": "*/2 * * * * *",
    "HOST_PARTITION_OWNERSHIP_SECONDS": "3",
    "HOST_SINGLETON_LEASE_SECONDS": "2",
    "HOST_SINGLETON_RECOVERY_SECONDS": "1",
}
HOSTS = ("host-1", "host-2")


@dataclass
class Town:
    """A stack and the people in front of it."""

    stack: Stack
    crowd: Crowd
    next_number: int = 9

    async def calm(self) -> float:
        """Returns now (s, monotonic), with everything well and everybody online."""
        await self.crowd.calm()
        return time.monotonic()

    async def newcomer(self) -> int:
        """Has somebody join who may leave without being missed; returns their number. They must be of region r-1."""
        self.next_number += 1
        await self.crowd.join([self.next_number])
        await self.crowd.calm()
        return self.next_number

    async def told_gone(self, gone: dict[str, str], since: float) -> None:
        """Returns once exactly these were called offline, each since its deadline, and nobody else."""

        async def all_told() -> bool:
            return {facility for facility, _ in self.crowd.told.offline(since)} >= gone.keys()

        await eventually(all_told, f"told that {gone} are offline")
        assert self.crowd.told.offline(since) == sorted(gone.items())

    async def stale_is_over(self, since: float) -> None:
        """Returns once stale was announced since then, and taken back."""

        async def is_over() -> bool:
            told = self.crowd.told.stale(since=since)
            return bool(told) and not told[-1]["stale"]

        await eventually(is_over, "stale is announced and taken back")

    def versions_and_numbers_never_went_back(self) -> None:
        versions: dict[str, int] = {}
        numbers: dict[str, int] = {}
        for _, message in self.crowd.told.messages:
            region, number = message["regionId"], message["sequence"]
            assert number > numbers.get(region, 0), (region, number)
            numbers[region] = number
            for change in message.get("changes", ()):
                facility, version = change["facilityId"], change["version"]
                assert version >= versions.get(facility, 0), change
                versions[facility] = version


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def town(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Town]:
    async with (
        Stack(tmp_path_factory.mktemp("town"), SETTINGS, hosts=len(HOSTS)) as stack,
        gathered(stack.addresses, interval=TTL / 4) as crowd,
    ):
        await crowd.join(range(2, 10))
        yield Town(stack, crowd)


async def test_all_hosts_killed_for_three_ttls(town: Town) -> None:
    number = await town.newcomer()
    began = await town.calm()
    gone = await town.crowd.fall_silent(number)
    await asyncio.gather(*(town.stack.kill(host) for host in HOSTS))
    await asyncio.sleep(3 * TTL)
    assert all(member.refused for member in town.crowd.members.values()), "they kept trying"
    restarted = time.monotonic()
    await asyncio.gather(*(town.stack.start(host) for host in HOSTS))
    await town.stale_is_over(began)
    first = next(message for at, message in town.crowd.told.messages if at >= restarted)
    assert (first["type"], first["stale"]) == ("presence.stale", True), "before anything else"
    assert seconds_between(first["since"], gone[f"f-{number}"]) >= 0, "it stopped before that deadline"
    await town.told_gone(gone, began)


async def test_all_hosts_frozen(town: Town) -> None:
    began = await town.calm()
    for host in HOSTS:
        town.stack.pause(host)
    await asyncio.sleep(STOP * 1.5 * TTL)
    for host in HOSTS:
        town.stack.resume(host)
    await town.stale_is_over(began)
    assert town.crowd.told.offline(began) == []


async def test_event_hubs_stopped(town: Town) -> None:
    number = await town.newcomer()
    began = await town.calm()
    gone = await town.crowd.fall_silent(number)
    await town.stack.stop("event-hubs")
    await asyncio.sleep(STOP * (TTL + STALE_AFTER))
    told = town.crowd.told.stale(since=began)
    assert [message["stale"] for message in told] == [True], "announced while it lasts"
    await town.stack.start("event-hubs")
    await town.stale_is_over(began)
    await town.told_gone(gone, began)


async def test_redis_frozen_while_heartbeats_pile_up(town: Town) -> None:
    began = await town.calm()
    beats = sum(member.beats for member in town.crowd.members.values())
    town.stack.pause("redis")
    await asyncio.sleep(STOP * (TTL + STALE_AFTER))
    town.stack.resume("redis")
    assert sum(member.beats for member in town.crowd.members.values()) > beats + 8, "accepted without Redis"
    await town.stale_is_over(began)
    assert town.crowd.told.offline(began) == []


async def test_a_backlog_of_ten_minutes_is_worked_off(town: Town) -> None:
    """Browsers and a gateway are answered all the time; what they sent is ingested when Redis is back."""
    number = await town.newcomer()
    began = await town.calm()
    gateway = Gateway(town.crowd, sessions=1_000)
    await gateway.beat()
    town.stack.pause("redis")
    stops_at = time.monotonic() + BACKLOG
    gone: dict[str, str] = {}
    while (left := stops_at - time.monotonic()) > 0:
        if not gone and left < BACKLOG / 2:
            gone = await town.crowd.fall_silent(number)
        await gateway.beat()
        await asyncio.sleep(TTL / 4)
    town.stack.resume("redis")
    give_up_at = time.monotonic() + BACKLOG + 3 * TTL + DEADLINE
    while (stale := town.crowd.told.stale(since=began)) == [] or stale[-1]["stale"]:
        assert time.monotonic() < give_up_at, f"stale is not taken back: {stale}"
        await gateway.beat()
        await asyncio.sleep(TTL / 4)
    assert [message["stale"] for message in stale] == [True, False]
    await town.told_gone(gone, began)
    assert gateway.accepted > 1_000 * BACKLOG / TTL
    assert (await town.crowd.facilities())[gateway.facility]["sessions"] >= 1_000
    await gateway.end()


async def test_redis_restarted_with_its_data(town: Town) -> None:
    number = await town.newcomer()
    version = (await town.crowd.facilities())[f"f-{number}"]["version"]
    began = await town.calm()
    await town.stack.stop("redis")
    await asyncio.sleep(STOP * (STALE_AFTER + 1))
    await town.stack.start("redis")
    await town.stale_is_over(began)
    assert town.crowd.told.offline(began) == []
    gone = await town.crowd.fall_silent(number)
    await town.told_gone(gone, began)
    assert town.crowd.told.changes(f"f-{number}", began)[-1]["version"] == version + 1, "nothing was lost"


@pytest.mark.parametrize("hosts", ["with-new-hosts", "with-hosts-that-remember"][: size(1, 2)])
async def test_redis_back_with_an_older_copy(town: Town, hosts: str) -> None:
    staying, leaving = await town.newcomer(), await town.newcomer()
    data = town.stack.directory / "redis"
    older = town.stack.directory / "older"
    began = await town.calm()
    await asyncio.to_thread(shutil.copytree, data, older, dirs_exist_ok=True)
    # After the copy: one leaves and is told, the other goes on. The copy knows neither.
    gone = await town.crowd.fall_silent(leaving)
    await town.told_gone(gone, began)
    before = await town.crowd.facilities()
    stopped = HOSTS if hosts == "with-new-hosts" else ()
    await asyncio.gather(*(town.stack.kill(part) for part in ("redis", *stopped)))
    await replace(data, older)
    restarted = time.monotonic()
    await town.stack.start("redis")
    await asyncio.gather(*(town.stack.start(part) for part in stopped))
    await town.stale_is_over(restarted)
    assert town.crowd.told.offline(restarted) == []
    after = await town.crowd.facilities()
    assert after[f"f-{leaving}"]["status"] == "offline"
    assert after[f"f-{staying}"]["status"] == "online"
    assert all(after[facility]["version"] >= before[facility]["version"] for facility in before)
    town.versions_and_numbers_never_went_back()


async def test_redis_back_empty(town: Town) -> None:
    number = await town.newcomer()
    began = await town.calm()
    before = await town.crowd.facilities()
    await recorded(town, f"f-{number}")
    await town.crowd.fall_silent(number)
    await town.stack.kill("redis")
    await replace(town.stack.directory / "redis", None)
    lost = time.time()
    await town.stack.start("redis")
    await town.stale_is_over(began)

    async def told() -> bool:
        return bool(town.crowd.told.offline(began))

    await eventually(told, "who was not heard after the loss is told to be offline")
    [(facility, since)] = town.crowd.told.offline(began)
    assert facility == f"f-{number}"
    assert -2 < datetime.fromisoformat(since).timestamp() - lost < 5, "it ended with the loss"
    after = await town.crowd.facilities()
    assert all(after[facility]["version"] >= before[facility]["version"] for facility in before)
    town.versions_and_numbers_never_went_back()


async def test_the_host_that_sweeps_and_reads_is_killed(town: Town) -> None:
    """The other one takes over within its lease (2 s), its polling (1 s) and the ownership of partitions (3 s)."""
    number = await town.newcomer()
    began = await town.calm()
    gone = await town.crowd.fall_silent(number)
    await town.stack.kill("host-1")
    await town.told_gone(gone, began)
    late = town.crowd.told.arrival(f"f-{number}", "offline", began) - began
    assert late < TTL + 6 + TTL + 20, "its TTL, the take-over, the TTL after a stall, and a busy machine's 20 s"
    await town.stack.start("host-1")
    await town.calm()


class Gateway:
    """Speaks for many sessions of one user, so that there is something to work off."""

    facility = "f-40"

    def __init__(self, crowd: Crowd, sessions: int) -> None:
        self._crowd = crowd
        self._beats = [{"userId": "u-40", "sessionId": f"g-{number}"} for number in range(sessions)]
        self.accepted = 0

    async def beat(self, **more: bool) -> None:
        """Sends a heartbeat of each session, all of which must be accepted."""
        token = await self._crowd.token("gateway", "presence.gateway")
        body = {"heartbeats": [beat | more for beat in self._beats]}
        status, answer = await self._crowd.call("POST", "/heartbeats", token, body)
        assert (status, answer["rejected"]) == (202, [])
        self.accepted += answer["accepted"]

    async def end(self) -> None:
        """Says goodbye for all of them; returns once their facility is offline."""
        since = time.monotonic()
        await self.beat(leaving=True)

        async def is_told() -> bool:
            return self.facility in dict(self._crowd.told.offline(since))

        await eventually(is_told, f"{self.facility} is offline")


async def recorded(town: Town, facility: str) -> None:
    """Returns once the monitor has written the facility's present version to SQL, as it does every two seconds."""
    store = open_monitor_store(town.stack.addresses.sql_monitor)
    version = (await town.crowd.facilities())[facility]["version"]

    async def is_recorded() -> bool:
        states = await asyncio.to_thread(store.facility_states)
        return any(state.facility_id == facility and state.version == version for state in states)

    await eventually(is_recorded, f"{facility} at version {version} in SQL")
    store.close()


async def replace(data: Path, by: Path | None) -> None:
    """Puts another copy of Redis's files in the place of its own, or none."""
    await asyncio.to_thread(shutil.rmtree, data)
    if by is None:
        data.mkdir()
    else:
        await asyncio.to_thread(shutil.move, by, data)


def seconds_between(earlier: str, later: str) -> float:
    return (datetime.fromisoformat(later) - datetime.fromisoformat(earlier)).total_seconds()
