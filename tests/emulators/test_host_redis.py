"""The Redis pub/sub trigger against a real server."""

import asyncio
from pathlib import Path

import pytest

from emulators.host.errors import StartupError
from emulators.host.redis_connection import RedisConnection, find_connection, parse_connection
from emulators.host.settings import Settings
from tests.emulators.host_process import Seen, environment, eventually, redis_server, running_host


@pytest.fixture
def seen(tmp_path: Path) -> Seen:
    return Seen(tmp_path / "seen.jsonl")


def messages(seen: Seen, kind: str, instance: str | None = None) -> list[dict[str, str]]:
    return [line["message"] for line in seen.lines(kind, instance)]


async def test_every_host_gets_every_message_in_the_documented_form(seen: Seen, tmp_path: Path) -> None:
    async with redis_server(tmp_path) as (port, redis):
        settings = environment(seen, "heard", "heard_by_pattern", Redis=f"127.0.0.1:{port},abortConnect=False")
        async with (
            running_host("--instance-id", "one", environment=settings),
            running_host("--instance-id", "two", environment=settings),
        ):
            assert await redis.publish("jobs", "é1") == 2
            assert await redis.publish("news.today", "n") == 2
            await eventually(lambda: len(seen.lines("heard")) == 2 and len(seen.lines("pattern")) == 2)
    for instance in ("one", "two"):
        assert messages(seen, "heard", instance) == [
            {"SubscriptionChannel": "jobs", "Channel": "jobs", "Message": "é1"}
        ]
        assert messages(seen, "pattern", instance) == [
            {"SubscriptionChannel": "news.*", "Channel": "news.today", "Message": "n"}
        ]


async def test_an_expired_key_is_heard(seen: Seen, tmp_path: Path) -> None:
    async with redis_server(tmp_path) as (port, redis):
        await redis.config_set("notify-keyspace-events", "Ex")
        settings = environment(seen, "heard", CHANNEL="__keyevent@0__:expired", Redis=f"127.0.0.1:{port}")
        async with running_host(environment=settings):
            await redis.set("session:1", "x", px=50)
            await asyncio.sleep(0.06)
            await redis.get("session:1")
            await eventually(lambda: bool(seen.lines("heard")))
    assert messages(seen, "heard")[0]["Message"] == "session:1"


async def test_messages_are_handled_one_after_another_and_failures_are_ignored(seen: Seen, tmp_path: Path) -> None:
    async with redis_server(tmp_path) as (port, redis):
        settings = environment(seen, "heard", Redis=f"127.0.0.1:{port}")
        async with running_host(environment=settings):
            for number in range(3):
                await redis.publish("jobs", f"slow-{number}")
            await eventually(lambda: len(seen.lines("heard-ended")) == 3)
    order = sorted(seen.lines("heard") + seen.lines("heard-ended"), key=lambda line: float(line["at"]))
    assert [line["kind"] for line in order] == ["heard", "heard-ended"] * 3
    assert [line["message"]["Message"] for line in seen.lines("heard")] == ["slow-0", "slow-1", "slow-2"]


async def test_a_lost_connection_is_made_again(seen: Seen, tmp_path: Path) -> None:
    async with redis_server(tmp_path) as (port, redis):
        settings = environment(seen, "heard", Redis=f"127.0.0.1:{port}")
        async with running_host(environment=settings):
            await redis.client_kill_filter(_type="pubsub")
            async with asyncio.timeout(10):
                while await redis.publish("jobs", "again") == 0:
                    await asyncio.sleep(0.05)
            await eventually(lambda: bool(seen.lines("heard")))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cache", RedisConnection((("cache", 6379),))),
        ("cache:1,ssl=True", RedisConnection((("cache", 1),), tls=True)),
        ("cache,ssl=true", RedisConnection((("cache", 6380),), tls=True)),
        (
            "a:1,b:2,password=p=w==,user=me,defaultDatabase=3,abortConnect=False",
            RedisConnection((("a", 1), ("b", 2)), "me", "p=w==", database=3),
        ),
    ],
)
def test_connections_in_the_syntax_of_stackexchange_redis(text: str, expected: RedisConnection) -> None:
    assert parse_connection(text, "here") == expected


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, r"f: the setting Redis \(host:port,password=…,ssl=True\) or Redis__redisHostName is missing"),
        ({"Redis": "a:1", "Redis__redisHostName": "b"}, "not both"),
        ({"Redis": "a:1,pasword=x"}, "keyword 'pasword' is not supported"),
        ({"Redis": "password=x"}, "names no host"),
        ({"Redis": "a:port"}, "whole numbers"),
        ({"Redis__redisHostName": "a:10000"}, "Redis__principalId"),
    ],
)
def test_a_bad_connection_setting_is_named(settings: dict[str, str], message: str) -> None:
    with pytest.raises(StartupError, match=message):
        find_connection(Settings(settings), "Redis", "f")


def test_an_identity_connects_with_tls_and_a_token() -> None:
    settings = {"Redis__redisHostName": "a:10000", "Redis__principalId": "oid", "Redis__clientId": "cid"}
    connection = find_connection(Settings(settings), "Redis", "f")
    assert connection == RedisConnection((("a", 10000),), "oid", tls=True, entra=True, client_id="cid")
