"""The connection to Redis, and its errors in the product's terms."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

from redis.asyncio import BlockingConnectionPool, Connection, Redis, SSLConnection
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialWithJitterBackoff
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    ClusterDownError,
    OutOfMemoryError,
    ReadOnlyError,
    ResponseError,
    TryAgainError,
)
from redis.exceptions import (
    ConnectionError as RedisConnectionError,
)
from redis.exceptions import (
    TimeoutError as RedisTimeoutError,
)

from shared.errors import DependencyUnavailableError
from shared.registry.results import StraddleError

if TYPE_CHECKING:
    from redis.credentials import CredentialProvider

    from shared.settings import RedisSettings

# ReadOnly and TryAgain pass when a fail-over has finished, Authentication when a token has been renewed, OutOfMemory
# when something has left a full server.
_UNAVAILABLE = (
    RedisConnectionError,
    RedisTimeoutError,
    BusyLoadingError,
    ClusterDownError,
    ReadOnlyError,
    TryAgainError,
    AuthenticationError,
    OutOfMemoryError,
)

_CONNECTIONS = 64


@contextmanager
def redis_errors() -> Iterator[None]:
    """Turns what a later attempt may cure into `DependencyUnavailableError("redis")`; a script's own error stays."""
    try:
        yield
    except _UNAVAILABLE as error:
        raise DependencyUnavailableError("redis", str(error)) from error
    except ResponseError as error:
        # Another script has been running for longer than the server waits before it says so.
        if str(error).startswith("BUSY "):
            raise DependencyUnavailableError("redis", str(error)) from error
        raise


def text(value: object) -> str:
    """Returns a reply as text: bytes are UTF-8, and redis-py's types admit both."""
    return value.decode() if isinstance(value, bytes) else str(value)


def scored(reply: Iterable[Any]) -> dict[str, int]:
    """Returns the members of a sorted set with their whole-number scores, in the reply's order."""
    return {text(member): int(score) for member, score in reply}


def connect(settings: "RedisSettings", credentials: "CredentialProvider | None" = None) -> "Redis":
    """Returns a client with its own connections; nothing is sent before its first call.

    Several endpoints in the settings are nodes of a Redis Cluster, whose client has the same methods. When all
    connections are busy a call waits for one: a burst must not look like a failure of Redis.
    """
    options: dict[str, Any] = {
        "username": None if credentials else settings.username,
        "password": None if credentials else settings.password,
        "credential_provider": credentials,
        "socket_timeout": 3,
        "socket_connect_timeout": 2,
        "health_check_interval": 30,
        # Quick retries bridge a connection that died while idle; longer outages are the caller's to handle, and a
        # server that hangs is not waited for three times.
        "retry": Retry(ExponentialWithJitterBackoff(base=0.05, cap=0.5), 2, supported_errors=(RedisConnectionError,)),
    }
    if len(settings.hosts) > 1:
        # Not needed otherwise, and it takes a while to import.
        from redis.asyncio.cluster import ClusterNode, RedisCluster  # noqa: PLC0415

        nodes = [ClusterNode(host, port) for host, port in settings.hosts]
        return cast("Redis", RedisCluster(startup_nodes=nodes, ssl=settings.ssl, **options))
    host, port = settings.hosts[0]
    connection_class = SSLConnection if settings.ssl else Connection
    return Redis.from_pool(
        BlockingConnectionPool(
            _CONNECTIONS, timeout=5, connection_class=connection_class, host=host, port=port, **options
        )
    )


async def run_ids(client: Redis) -> str:
    """Returns the run ids of the server, or of all nodes of the cluster: another text after a restart.

    Empty where a managed server does not tell; then its restarts are not noticed by this.
    """
    info = await client.info("server")
    # A cluster's client answers by node.
    nodes = [info] if "redis_version" in info else info.values()
    return ",".join(sorted(str(node.get("run_id", "")) for node in nodes))


@contextmanager
def straddling() -> Iterator[None]:
    """Turns the refusal of a batch of which only some was read before (ingest.lua) into StraddleError."""
    try:
        yield
    except ResponseError as error:
        if "STRADDLE" in str(error):
            raise StraddleError(str(error)) from None
        raise
