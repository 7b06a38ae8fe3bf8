"""The connection to Redis, and its errors in the product's terms."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialWithJitterBackoff
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    ClusterDownError,
    ConnectionError as RedisConnectionError,
    ReadOnlyError,
    TimeoutError as RedisTimeoutError,
    TryAgainError,
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


@contextmanager
def redis_errors() -> Iterator[None]:
    """Turns what a later attempt may cure into `DependencyUnavailableError("redis")`; a script's own error stays."""
    try:
        yield
    except _UNAVAILABLE as error:
        raise DependencyUnavailableError("redis", str(error)) from error


def connect(settings: "RedisSettings", credentials: "CredentialProvider | None" = None) -> "Redis":
    """Returns a client with its own connection pool; nothing is sent before its first call."""
    host, port = settings.hosts[0]
    return Redis(
        host=host,
        port=port,
        username=None if credentials else settings.username,
        password=None if credentials else settings.password,
        credential_provider=credentials,
        ssl=settings.ssl,
        socket_timeout=5,
        socket_connect_timeout=2,
        health_check_interval=30,
        # One quick retry bridges a connection that died while idle; longer outages are the caller's to handle.
        retry=Retry(ExponentialWithJitterBackoff(base=0.05, cap=0.5), 2),
    )
