"""Runs the Web PubSub emulator inside the test's event loop, and opens clients of every kind."""

import asyncio
import base64
import contextlib
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Self
from urllib.parse import urlsplit

import aiohttp
from aiohttp import web
from azure.messaging.webpubsubservice import WebPubSubServiceClient
from azure.messaging.webpubsubservice.aio import WebPubSubServiceClient as AsyncWebPubSubServiceClient

from emulators.web_pubsub.limits import Limits
from emulators.web_pubsub.server import create_app

ACCESS_KEY = base64.b64encode(b"a test key of thirty-two bytes..").decode()
JSON = "json.webpubsub.azure.v1"
RELIABLE = "json.reliable.webpubsub.azure.v1"
DEADLINE = 10.0
ALL_ROLES = ("webpubsub.joinLeaveGroup", "webpubsub.sendToGroup")


class Client:
    """A WebSocket client; every wait has a deadline."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket
        self.id = ""
        self.welcome: dict[str, Any] = {}

    async def frame(self) -> aiohttp.WSMessage:
        return await self.socket.receive(timeout=DEADLINE)

    async def text(self) -> str:
        received = await self.frame()
        assert received.type is aiohttp.WSMsgType.TEXT, received
        return str(received.data)

    async def json(self) -> Any:
        return json.loads(await self.text())

    async def ask(self, request: dict[str, object]) -> Any:
        """Sends a request and returns the next message."""
        await self.socket.send_json(request)
        return await self.json()

    async def closed(self) -> int:
        """Reads until the end; returns the close code."""
        while True:
            received = await self.frame()
            if received.type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR):
                return self.socket.close_code or 0


class Emulator:
    """A running emulator."""

    def __init__(self, runner: web.AppRunner, session: aiohttp.ClientSession, stack: AsyncExitStack) -> None:
        host, port = runner.addresses[0][:2]
        self.endpoint = endpoint = f"http://{host}:{port}"
        self.stop = runner.cleanup
        self.connection_string = f"Endpoint={endpoint};AccessKey={ACCESS_KEY};Version=1.0;"
        self.session = session
        self._stack = stack

    async def service(self, hub: str = "presence") -> AsyncWebPubSubServiceClient:
        """Microsoft's service client, closed at the end of the test."""
        client = AsyncWebPubSubServiceClient.from_connection_string(self.connection_string, hub=hub)
        return await self._stack.enter_async_context(client)

    def url(
        self,
        user: str | None = None,
        *,
        groups: Sequence[str] = (),
        roles: Sequence[str] = (),
        hub: str = "presence",
        minutes: int = 60,
        endpoint: str | None = None,
    ) -> str:
        """A client URL, its token signed by Microsoft's SDK as the product does."""
        connection_string = self.connection_string.replace(self.endpoint, endpoint or self.endpoint)
        with WebPubSubServiceClient.from_connection_string(connection_string, hub=hub) as client:
            token = client.get_client_access_token(
                user_id=user, groups=list(groups), roles=list(roles), minutes_to_expire=minutes
            )
        return str(token["url"])

    async def open(self, url: str, protocol: str | None = None, **options: Any) -> Client:
        """Opens a WebSocket and, where the protocol sends one, reads the `connected` message."""
        options.setdefault("protocols", [protocol] if protocol else [])
        socket = await self.session.ws_connect(url, **options)
        # Also keeps the garbage collector from closing a client that the test does not refer to.
        self._stack.push_async_callback(socket.close)
        client = Client(socket)
        if protocol is not None:
            client.welcome = await client.json()
            client.id = client.welcome["connectionId"]
        return client

    async def connect(self, user: str | None = None, *, protocol: str | None = JSON, **token: Any) -> Client:
        """Opens a WebSocket with a token of its own."""
        return await self.open(self.url(user, **token), protocol)


@asynccontextmanager
async def running_emulator(limits: Limits | None = None) -> AsyncIterator[Emulator]:
    async with AsyncExitStack() as stack:
        runner = web.AppRunner(create_app(ACCESS_KEY, limits), shutdown_timeout=1.0)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        session = await stack.enter_async_context(aiohttp.ClientSession())
        yield Emulator(runner, session, stack)


class Inbox:
    """Collects what callbacks bring, from any thread, for a test to await."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._items: asyncio.Queue[Any] = asyncio.Queue()

    def put(self, item: Any = None) -> None:
        self._loop.call_soon_threadsafe(self._items.put_nowait, item)

    async def put_async(self, item: Any = None) -> None:
        self._items.put_nowait(item)

    async def get(self) -> Any:
        async with asyncio.timeout(DEADLINE):
            return await self._items.get()

    def empty(self) -> bool:
        return self._items.empty()

    async def take(self, count: int) -> list[Any]:
        return [await self.get() for _ in range(count)]


class Wire:
    """A TCP relay in front of the service, which a test can cut; clients see it as the service's address."""

    def __init__(self, emulator: Emulator) -> None:
        self._target = urlsplit(emulator.endpoint)
        self._server: asyncio.Server | None = None
        self._port = 0
        self._relays: set[asyncio.Task[None]] = set()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    async def __aenter__(self) -> Self:
        await self.up()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.cut()

    async def up(self) -> None:
        self._server = await asyncio.start_server(self._relay, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]

    async def cut(self) -> None:
        """Breaks every connection, without a close frame, and refuses new ones."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for relay in self._relays:
            relay.cancel()
        await asyncio.gather(*self._relays, return_exceptions=True)

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._relays.add(task)
        service_reader, service_writer = await asyncio.open_connection(self._target.hostname, self._target.port)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(_copy(reader, service_writer))
                group.create_task(_copy(service_reader, writer))
        except asyncio.CancelledError:
            pass  # Cut: to asyncio's stream server this is an ordinary end.
        finally:
            self._relays.discard(task)
            writer.transport.abort()
            service_writer.transport.abort()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while chunk := await reader.read(65536):
            writer.write(chunk)
            await writer.drain()
        writer.write_eof()
