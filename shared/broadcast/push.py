"""Messages to browsers through Azure Web PubSub, and the addresses at which browsers connect."""

import asyncio
import functools
from collections.abc import Awaitable, Callable, Sequence
from itertools import batched
from typing import Any, Protocol

import jwt
from azure.core.exceptions import AzureError, HttpResponseError
from azure.core.rest import HttpRequest
from azure.messaging.webpubsubservice.aio import WebPubSubServiceClient

from shared.connections import WebPubSubConnection
from shared.credentials import azure_credential
from shared.errors import DependencyUnavailableError, PushRefusedError

_CONNECT_SECONDS = 2
_READ_SECONDS = 5
_REFUSALS = frozenset({400, 413, 414, 415, 422})
"""Answers that are about the message. Others of the 4xx are about us (401, 403, 404) or the moment (408, 429)."""
_API_VERSION = "2024-01-01"
_USERS_IN_FILTER = 40
"""A filter is limited to 8,192 characters."""


class PushService(Protocol):
    """Every method raises DependencyUnavailableError("webPubSub") when the service cannot be reached or lets nobody in.

    The sending ones raise PushRefusedError when it is the message that is refused.
    """

    async def client_url(self, user_id: str, groups: Sequence[str], minutes: int) -> tuple[str, int]:
        """Returns the address of a WebSocket that is in the groups from its start, and until when (ms) it may be used.

        The user can connect until then; a connection that is open stays open.
        """
        ...

    async def send_to_group(self, group: str, message: dict[str, Any]) -> None:
        """Returns when the service has taken the message for everyone in the group."""
        ...

    async def send_to_user(self, user_id: str, message: dict[str, Any]) -> None:
        """Returns when the service has taken the message for every connection of the user."""
        ...

    async def leave_group(self, group: str, user_ids: Sequence[str], unless_in: str) -> None:
        """Takes the users' connections out of a group, except for those that are in the group `unless_in` too."""
        ...

    async def ping(self) -> None:
        """Returns if the service answers and takes our credentials."""
        ...

    async def close(self) -> None:
        """Closes connections."""
        ...


class WebPubSubPush:
    """`PushService` on Azure Web PubSub. Connects on first use; belongs to the event loop that first uses it."""

    def __init__(self, connection: WebPubSubConnection) -> None:
        self._connection = connection
        self._client: WebPubSubServiceClient | None = None
        self._credential: Any = None

    async def client_url(self, user_id: str, groups: Sequence[str], minutes: int) -> tuple[str, int]:
        """See `PushService`. With a connection string the token is made here, without a call."""
        token = await self._call(
            lambda client: client.get_client_access_token(
                user_id=user_id, groups=list(groups), minutes_to_expire=minutes
            )
        )
        claims = jwt.decode(token["token"], options={"verify_signature": False})
        return str(token["url"]), int(claims["exp"]) * 1000

    async def send_to_group(self, group: str, message: dict[str, Any]) -> None:
        """See `PushService`."""
        await self._call(
            lambda client: client.send_to_group(group, message, content_type="application/json"), sending=True
        )

    async def send_to_user(self, user_id: str, message: dict[str, Any]) -> None:
        """See `PushService`."""
        await self._call(
            lambda client: client.send_to_user(user_id, message, content_type="application/json"), sending=True
        )

    async def leave_group(self, group: str, user_ids: Sequence[str], unless_in: str) -> None:
        """See `PushService`."""
        for users in batched(user_ids, _USERS_IN_FILTER, strict=False):
            # User and region ids hold no quote, so none needs to be escaped.
            anyone = " or ".join(f"userId eq '{user_id}'" for user_id in users)
            content = {"groups": [group], "filter": f"({anyone}) and not ('{unless_in}' in groups)"}
            await self._call(functools.partial(self._post, action=":removeFromGroups", content=content))

    async def ping(self) -> None:
        """See `PushService`."""
        await self._call(lambda client: client.group_exists("health"))

    async def close(self) -> None:
        """See `PushService`."""
        if self._client is not None:
            await self._client.close()
            self._client = None
        if self._credential is not None:
            await self._credential.close()
            self._credential = None

    async def _call(self, call: Callable[[WebPubSubServiceClient], Awaitable[Any]], *, sending: bool = False) -> Any:
        if self._client is None:
            self._client = self._make_client()
        try:
            async with asyncio.timeout(_CONNECT_SECONDS + _READ_SECONDS):
                return await call(self._client)
        except HttpResponseError as error:
            detail = (error.message or type(error).__name__).splitlines()[0]
            if sending and error.status_code in _REFUSALS:
                raise PushRefusedError(f"{error.status_code}: {detail}") from error
            raise DependencyUnavailableError("webPubSub", detail) from error
        except (AzureError, OSError, TimeoutError) as error:
            detail = (str(error) or type(error).__name__).splitlines()[0]
            raise DependencyUnavailableError("webPubSub", detail) from error

    async def _post(self, client: WebPubSubServiceClient, action: str, content: dict[str, Any]) -> None:
        # A call of the REST API that the client has no method for.
        url = f"/api/hubs/{self._connection.hub}/{action}?api-version={_API_VERSION}"
        response = await client.send_request(HttpRequest("POST", url, json=content))
        response.raise_for_status()

    def _make_client(self) -> WebPubSubServiceClient:
        options: dict[str, Any] = {
            # Who calls knows better when to try again; one repetition bridges a connection that died while idle.
            "retry_total": 1,
            "retry_backoff_factor": 0.1,
            "connection_timeout": _CONNECT_SECONDS,
            "read_timeout": _READ_SECONDS,
        }
        if self._connection.connection_string is not None:
            return WebPubSubServiceClient.from_connection_string(
                self._connection.connection_string, hub=self._connection.hub, **options
            )
        self._credential = azure_credential(self._connection.client_id)
        return WebPubSubServiceClient(
            self._connection.endpoint or "", hub=self._connection.hub, credential=self._credential, **options
        )
