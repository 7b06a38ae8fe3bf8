"""A lease has one holder, among processes and among the callers of one process."""

import pytest
from redis.asyncio import Redis

from shared.errors import DependencyUnavailableError
from shared.registry.lease import Lease
from tests.redis_server import free_port

KEY = "lease:test"


async def test_one_process_holds_it_until_it_is_given_back(redis: Redis) -> None:
    one, other = Lease(redis, KEY, 60_000), Lease(redis, KEY, 60_000)
    assert await one.acquire()
    assert not await other.acquire()
    assert await one.release()
    assert await other.acquire()


async def test_a_second_caller_of_a_process_does_not_take_what_ran_out_on_the_first(redis: Redis) -> None:
    lease, elsewhere = Lease(redis, KEY, 60_000), Lease(redis, KEY, 60_000)
    assert await lease.acquire()
    await redis.delete(KEY)  # as when its time is over
    assert not await lease.acquire()
    assert await elsewhere.acquire()
    assert not await lease.renew()
    await lease.release()
    assert await redis.exists(KEY), "another's lease was given back"
    assert not await lease.acquire()
    await elsewhere.release()
    assert await lease.acquire()


async def test_whoever_wanted_something_meanwhile_keeps_it_held(redis: Redis) -> None:
    lease = Lease(redis, KEY, 60_000, wanted="wants:test")
    assert await lease.acquire()
    seen = await lease.wanted()
    await lease.want()
    assert not await lease.release(seen)
    assert not await lease.acquire()
    assert await lease.release(await lease.wanted())
    assert await lease.acquire()


async def test_a_failed_attempt_is_no_holder() -> None:
    nobody = Redis(port=free_port(), socket_connect_timeout=1)
    lease = Lease(nobody, KEY, 60_000)
    for _ in range(2):
        with pytest.raises(DependencyUnavailableError):
            await lease.acquire()
    await nobody.aclose()
