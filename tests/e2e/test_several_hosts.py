"""Three hosts share the load: one truth, told once; and when one of them dies nothing is lost."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import pytest_asyncio

from tests.e2e.system import System, eventually, running_system

pytestmark = pytest.mark.asyncio(loop_scope="module")

HOSTS = 3


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def system(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[System]:
    async with running_system(tmp_path_factory.mktemp("three"), hosts=HOSTS) as system:

        async def shared() -> bool:
            return len(set(system.partition_owners().values())) == HOSTS

        await eventually(shared, "a share of the event hub for every host")
        yield system


async def test_they_share_the_load_and_tell_each_transition_once(system: System) -> None:
    numbers = range(2, 14)
    await asyncio.gather(*(two_lives(system, f"u-{number}", f"f-{number}", number) for number in numbers))
    for number in numbers:
        history = await system.history(f"f-{number}", versions=4)
        assert [(version, status) for version, status, _, _ in history] == [
            (1, "online"),
            (2, "offline"),
            (3, "online"),
            (4, "offline"),
        ]
        told = [change["version"] for change in system.feed.changes(f"f-{number}")]
        assert told == sorted(set(told)), "told twice or out of order"
        assert told[-1] == 4
    by_region: dict[str, list[int]] = {}
    for message in (each for each in system.feed.messages if "sequence" in each):
        by_region.setdefault(message["regionId"], []).append(message["sequence"])
    for sequence in by_region.values():
        assert sequence == list(range(sequence[0], sequence[0] + len(sequence)))


async def two_lives(system: System, user: str, facility: str, seed: int) -> None:
    """Every message of a user goes to another host; they leave, come back, and fall silent."""
    hosts = [(seed + step) % HOSTS for step in range(6)]
    people, feed = system.people, system.feed
    beats = [await people.beat(user, session, host=host) for session, host in zip("aab", hosts, strict=False)]
    await people.leave(user, "a", host=hosts[3])
    left = await people.leave(user, "b", host=hosts[4])
    offline = await feed.change(facility, "offline")
    assert (offline["version"], offline["since"], offline["reason"]) == (2, left["expiresAt"], "left")
    for online in feed.changes(facility)[:-1]:
        # Messages of several hosts may overtake one another, and the first to arrive makes the change.
        assert (online["version"], online["since"]) in [(1, beat["receivedAt"]) for beat in beats]

    last = await people.beat(user, "a", host=hosts[5])
    silent = await feed.change(facility, "offline", above=2)
    assert (silent["version"], silent["since"], silent["reason"]) == (4, last["expiresAt"], "expired")


async def test_one_that_is_killed_in_the_middle_of_its_work_loses_nothing(system: System) -> None:
    staying = [f"u-{number}" for number in range(20, 26)]
    coming = [f"u-{number}" for number in range(26, 38)]
    async with beating(system, staying, hosts=(1, 2)) as last:
        for user in staying:
            await system.feed.change(facility_of(user), "online")
        # Nobody can finish a batch now, while the heartbeats of some who come are on their way.
        system.stack.pause("redis")
        accepted = dict(
            zip(
                coming,
                await asyncio.gather(*(system.people.beat(user, host=1 + n % 2) for n, user in enumerate(coming))),
                strict=True,
            )
        )
        # Frozen, Redis shows to nobody what the hosts have begun; this is ten times as long as they take to read.
        await asyncio.sleep(0.5)
        try:
            await system.stack.kill("host-1")
        finally:
            system.stack.resume("redis")
        for user in coming:
            change = await system.feed.change(facility_of(user), "online")
            assert (change["version"], change["since"]) == (1, accepted[user]["receivedAt"])

        async def taken_over() -> bool:
            return len(set(system.partition_owners().values())) == HOSTS - 1

        await eventually(taken_over, "another reader for the partitions of the host that died")
        for user in staying:
            shown = await system.people.facility(facility_of(user), host=1)
            assert (shown["status"], shown["version"]) == ("online", 1), "a false offline"

    for user, beat in (last | accepted).items():
        change = await system.feed.change(facility_of(user), "offline")
        assert (change["version"], change["since"], change["reason"]) == (2, beat["expiresAt"], "expired")


@asynccontextmanager
async def beating(
    system: System, users: Iterable[str], hosts: tuple[int, ...]
) -> AsyncIterator[dict[str, dict[str, Any]]]:
    """Has users send heartbeats, twice a second, to hosts in turn; yields the newest answer of each."""
    last: dict[str, dict[str, Any]] = {}
    stopping = asyncio.Event()

    async def beat(user: str) -> None:
        turn = 0
        while not stopping.is_set():
            last[user] = await system.people.beat(user, host=hosts[turn % len(hosts)])
            turn += 1
            try:
                await asyncio.wait_for(stopping.wait(), 0.5)
            except TimeoutError:
                continue

    async with asyncio.TaskGroup() as tasks:
        for user in users:
            tasks.create_task(beat(user))
        yield last
        stopping.set()


def facility_of(user: str) -> str:
    return user.replace("u", "f")
