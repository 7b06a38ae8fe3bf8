"""The Redis pub/sub trigger: every host gets every message, one at a time per function, at most once.

Source: RedisPubSubListener of Azure/azure-functions-redis-extension.
"""

import asyncio
import json
import logging
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.credentials import CredentialProvider
from redis.exceptions import RedisError

from emulators.host.redis_connection import RedisConnection
from emulators.host.worker import Datum, Function, Worker

_LOG = logging.getLogger(__name__)
_SUBSCRIBED_WITHIN = 5.0
_MESSAGES = {"message", "pmessage"}


class _EntraCredentials(CredentialProvider):
    def __init__(self, principal_id: str, client_id: str | None) -> None:
        from azure.identity.aio import DefaultAzureCredential  # noqa: PLC0415 (only the identity form needs it)

        self._principal_id = principal_id
        self._credential = DefaultAzureCredential(managed_identity_client_id=client_id)

    async def get_credentials_async(self) -> tuple[str, str]:
        token = await self._credential.get_token("https://redis.azure.com/.default")
        return self._principal_id, token.token


class RedisPubSubListener:
    """Subscribes one function to its channel or pattern."""

    def __init__(
        self, function: Function, worker: Worker, connection: RedisConnection, channel: str, *, pattern: bool
    ) -> None:
        self._function = function
        self._worker = worker
        self._connection = connection
        self._channel = channel
        self._pattern = pattern
        self._credentials = _EntraCredentials(connection.user or "", connection.client_id) if connection.entra else None
        # StackExchange.Redis reads on while a message is handled, so the server never sees a slow subscriber.
        self._messages: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._subscribed = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._handling = asyncio.Lock()

    async def start(self) -> None:
        """Subscribes; a server that is away is tried again in the background."""
        name = self._function.name
        self._tasks = [
            asyncio.create_task(self._subscribe(), name=f"redis subscription {name}"),
            asyncio.create_task(self._handle(), name=f"redis messages {name}"),
        ]
        try:
            await asyncio.wait_for(self._subscribed.wait(), _SUBSCRIBED_WITHIN)
        except TimeoutError:
            _LOG.warning("function %s is not subscribed to %s yet", name, self._channel)

    async def stop(self) -> None:
        """Unsubscribes; a message that is being handled is finished, queued ones are lost as in Azure."""
        self._tasks[0].cancel()
        async with self._handling:
            self._tasks[1].cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _subscribe(self) -> None:
        attempt = 0
        while True:
            host, port = self._connection.endpoints[attempt % len(self._connection.endpoints)]
            client = self._client(host, port)
            try:
                async with client, client.pubsub() as subscription:
                    await (subscription.psubscribe if self._pattern else subscription.subscribe)(self._channel)
                    async for message in subscription.listen():
                        if message["type"] in _MESSAGES:
                            self._messages.put_nowait(message)
                            # Messages already received are given without a pause, and there may be 100,000 of them.
                            await asyncio.sleep(0)
                        else:
                            self._subscribed.set()
                            attempt = 0
            except (RedisError, OSError) as error:
                _LOG.warning("function %s: the subscription to %s:%d broke: %s", self._function.name, host, port, error)
            attempt += 1
            await asyncio.sleep(min(5.0, 0.1 * 2 ** min(attempt, 6)))

    async def _handle(self) -> None:
        while True:
            message = await self._messages.get()
            payload = {
                "SubscriptionChannel": _text(message["pattern"]) if self._pattern else _text(message["channel"]),
                "Channel": _text(message["channel"]),
                "Message": _text(message["data"]),
            }
            async with self._handling:
                await self._worker.invoke(self._function, Datum(json.dumps(payload), "string"), {})

    def _client(self, host: str, port: int) -> "Redis":
        connection = self._connection
        return Redis(
            host=host,
            port=port,
            db=connection.database,
            username=None if self._credentials else connection.user,
            password=None if self._credentials else connection.password,
            credential_provider=self._credentials,
            ssl=connection.tls,
            socket_connect_timeout=5,
            # This listener reconnects by itself, sooner than redis-py's own repetitions.
            retry=Retry(NoBackoff(), 0),
        )


def _text(value: bytes | str) -> str:
    return value if isinstance(value, str) else value.decode("utf-8", "replace")
