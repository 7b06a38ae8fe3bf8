"""The connection to Redis, and its errors in the product's terms."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from redis.asyncio import BlockingConnectionPool, Connection, Redis, SSLConnection
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialWithJitterBackoff
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    ClusterDownError,
    ReadOnlyError,
    TryAgainError,
)
from redis.exceptions import (
    ConnectionError as RedisConnectionError,
)
from redis.exceptions import (
    TimeoutError as RedisTimeoutError,
)

from shared.errors import DependencyUnavailableError

if TYPE_CHECKING:
    from redis.credentials import CredentialProvider

    from shared.settings import RedisSettings

# ReadOnly and TryAgain pass when a fail-over has finished, Authentication when a token has been renewed.
_UNAVAILABLE = (
    RedisConnectionError,
    RedisTimeoutError,
    BusyLoadingError,
    ClusterDownError,
    ReadOnlyError,
    TryAgainError,
    AuthenticationError,
)

_CONNECTIONS = 64


@contextmanager
def redis_errors() -> Iterator[None]:
    """Turns what a later attempt may cure into `DependencyUnavailableError("redis")`; a script's own error stays."""
    try:
        yield
    except _UNAVAILABLE as error:
        raise DependencyUnavailableError("redis", str(error)) from error


def text(value: object) -> str:
    """Returns a reply as text: bytes are UTF-8, and redis-py's types admit both."""
    return value.decode() if isinstance(value, bytes) else str(value)


def scored(reply: Iterable[Any]) -> dict[str, int]:
    """Returns the members of a sorted set with their whole-number scores, in the reply's order."""
    return {text(member): int(score) for member, score in reply}


def connect(settings: "RedisSettings", credentials: "CredentialProvider | None" = None) -> "Redis":
    """Returns a client with its own connection pool; nothing is sent before its first call.

    When all connections are busy a call waits for one: a burst must not look like a failure of Redis.
    """
    host, port = settings.hosts[0]
    pool = BlockingConnectionPool(
        max_connections=_CONNECTIONS,
        timeout=5,
        connection_class=SSLConnection if settings.ssl else Connection,
        host=host,
        port=port,
        username=None if credentials else settings.username,
        password=None if credentials else settings.password,
        credential_provider=credentials,
        socket_timeout=5,
        socket_connect_timeout=2,
        health_check_interval=30,
        # One quick retry bridges a connection that died while idle; longer outages are the caller's to handle.
        retry=Retry(ExponentialWithJitterBackoff(base=0.05, cap=0.5), 2),
    )
    return Redis.from_pool(pool)
