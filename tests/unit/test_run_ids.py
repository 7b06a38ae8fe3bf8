"""What servers tell of themselves, as redis-py parses it."""

from typing import Any, cast

import pytest
from redis.asyncio import Redis

from shared.registry.client import run_ids


class Told:
    def __init__(self, answer: dict[str, Any]) -> None:
        self._answer = answer

    async def info(self, section: str) -> dict[str, Any]:
        assert section == "server"
        return self._answer


def server(**more: Any) -> dict[str, Any]:
    return {"redis_version": "7.4.3", "listener0": {"name": "tcp", "port": 6379}, **more}


@pytest.mark.parametrize(
    ("answer", "ids"),
    [
        (server(run_id="a"), "a"),
        ({"10.0.0.2:1": server(run_id="b"), "10.0.0.1:1": server(run_id="a")}, "a,b"),
        # A managed server may leave it out.
        (server(), ""),
        ({"10.0.0.1:1": server(), "10.0.0.2:1": server()}, ","),
    ],
    ids=["a-server", "a-cluster", "a-server-without", "a-cluster-without"],
)
async def test_the_ids_of_all_nodes_in_one_order(answer: dict[str, Any], ids: str) -> None:
    assert await run_ids(cast("Redis", Told(answer))) == ids
