"""Calls functions as the worker does, with services whose directory and facilities live in a real Redis."""

import json
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import azure.functions as func
import pytest
from redis.asyncio import Redis

from shared import bootstrap
from shared.auth import Caller, TokenVerifier
from shared.bootstrap import Services
from shared.broadcast.push import WebPubSubPush
from shared.connections import WebPubSubConnection
from shared.domain.directory import County, Directory, Facility, Region
from shared.errors import DependencyUnavailableError
from shared.events.codec import Draft
from shared.events.publisher import HeartbeatPublisher
from shared.http import OPERATION
from shared.limits import HeartbeatLimiter
from shared.openapi import problems_of
from shared.operations import Operation
from shared.problems import DOCUMENTATION, UnauthenticatedError
from shared.registry.directory_cache import DirectoryPublisher
from shared.registry.ended_ids import EndedIds
from shared.registry.progress import Progress
from shared.settings import Settings
from shared.store.opening import open_monitor_store
from tests.redis_server import running_redis

NOW = 1_795_000_000_123
ENVIRONMENT = {
    "EventHubConnection": "Endpoint=sb://ns.servicebus.windows.net/;SharedAccessKeyName=k;SharedAccessKey=v",
    "Redis": "localhost:6379",
    "WebPubSub": "Endpoint=https://pulse.webpubsub.azure.com;AccessKey=c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0;Version=1.0;",
    "SqlMonitor": "sqlite:////nowhere/monitor.db",
    "SqlCore": "sqlite:////nowhere/core.db",
    "AUTH_ISSUER": "https://login.example",
    "AUTH_AUDIENCE": "api://facility-pulse",
    "AUTH_CLIENT_ID": "browser",
    "AUTH_SCOPE": "api://facility-pulse/use",
}
# Region r-1 holds f-1 and f-2, r-2 holds f-3; u-1 belongs to f-1, u-9 to both regions, u-0 nowhere.
DIRECTORY = Directory(
    regions={"r-1": Region("r-1", "Nord"), "r-2": Region("r-2", "Süd")},
    counties={"c-1": County("c-1", "r-1", "c-1"), "c-2": County("c-2", "r-2", "c-2")},
    facilities={
        "f-1": Facility("f-1", "c-1", "Facility 1"),
        "f-2": Facility("f-2", "c-1", "Facility 2"),
        "f-3": Facility("f-3", "c-2", "Facility 3"),
    },
    users={"u-0": "Nobody", "u-1": "One", "u-9": "Nine"},
    facilities_of_user={"u-1": ("f-1",), "u-9": ("f-2", "f-3")},
)


class Tokens(TokenVerifier):
    """Takes tokens that spell out their caller: `<user id>` or `<user id>,<role>,<role>`."""

    def __init__(self) -> None:
        self.away = False

    async def verify(self, token: str) -> Caller:
        if self.away:
            raise DependencyUnavailableError("identity", "https://login.example refused")
        user_id, *roles = token.split(",")
        if user_id == "expired":
            raise UnauthenticatedError("The access token has expired.")
        return Caller(user_id, frozenset(roles))


class Publisher(HeartbeatPublisher):
    """Accepts everything at NOW, or nothing."""

    def __init__(self) -> None:
        self.accepted: list[Draft] = []
        self.failure: Exception | None = None

    async def publish(self, beats: Sequence[Draft]) -> list[int]:
        if self.failure is not None:
            raise self.failure
        self.accepted += beats
        return [NOW] * len(beats)


class Ended(EndedIds):
    """Knows as ended every session named `ended`, and those added."""

    def __init__(self) -> None:
        self.added: dict[tuple[str, str], int] = {}

    def add(self, user_id: str, session_id: str, until: int) -> None:
        self.added[user_id, session_id] = until

    def contains(self, user_id: str, session_id: str, now: int) -> bool:
        return session_id == "ended" or now <= self.added.get((user_id, session_id), -1)


class Push(WebPubSubPush):
    """Makes client addresses as the service's client does; keeps what is sent."""

    def __init__(self, connection: WebPubSubConnection) -> None:
        super().__init__(connection)
        self.sent: list[tuple[str, dict[str, Any]]] = []

    async def send_to_group(self, group: str, message: dict[str, Any]) -> None:
        self.sent.append((f"group {group}", message))

    async def send_to_user(self, user_id: str, message: dict[str, Any]) -> None:
        self.sent.append((f"user {user_id}", message))


class World(Services):
    """The services, and the time that a test moves."""

    time = NOW
    tokens: Tokens
    publisher: Publisher
    push: Push
    ended_ids: Ended

    def now(self) -> int:  # type: ignore[override]
        return self.time


@dataclass
class Answer:
    """A response, decoded."""

    status: int
    headers: Mapping[str, str]
    raw: bytes

    @property
    def body(self) -> dict[str, Any]:
        decoded: dict[str, Any] = json.loads(self.raw)
        return decoded

    def problem(self) -> tuple[int, str]:
        """Returns status and code, having checked the form that all problems share."""
        assert self.headers["content-type"].startswith("application/problem+json")
        assert self.headers["Cache-Control"] == "no-store"
        assert {"type", "title", "status", "detail", "code"} <= self.body.keys()
        assert self.body["status"] == self.status
        assert self.body["type"] == f"{DOCUMENTATION}#{self.body['code']}"
        return self.status, self.body["code"]


async def call(
    function: Any,
    method: str = "GET",
    *,
    token: str | None = "u-1",
    body: object = None,
    headers: Mapping[str, str] | None = None,
    params: Mapping[str, str] | None = None,
    **route: str,
) -> Answer:
    """Calls a function as the worker does; a body that is neither bytes nor None is sent as JSON.

    Empty parameters are in the URL alone, as the host leaves them out of what it hands over.
    """
    raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    sent = {"Content-Type": "application/json"} if body is not None else {}
    sent |= {"Authorization": f"Bearer {token}"} if token is not None else {}
    request = func.HttpRequest(
        method,
        f"http://localhost/api/?{urlencode(params or {})}",
        headers=sent | dict(headers or {}),
        params={name: value for name, value in (params or {}).items() if value},
        route_params=route,
        body=raw,
    )
    response = await function(request)
    content_type = f"{response.mimetype}; charset={response.charset}"
    answer = Answer(response.status_code, {"content-type": content_type, **response.headers}, response.get_body())
    check_against_declaration(function, answer)
    return answer


def declared(function: Any) -> tuple[str, Operation]:
    """Returns a function's route and what it declares."""
    built = function.build()
    return built.get_trigger().route, getattr(built.get_user_function(), OPERATION)


def check_against_declaration(function: Any, answer: Answer) -> None:
    """Holds an answer against what the OpenAPI document says of it."""
    route, operation = declared(function)
    if operation.answers is None:
        return
    if answer.headers["content-type"].startswith("application/problem+json"):
        told = {(problem.status, problem.code) for problem in problems_of(route, operation)}
        assert (answer.status, answer.body["code"]) in told, f"{operation.name} does not declare this problem"
        return
    assert answer.status in operation.answers, f"{operation.name} does not declare this status"
    model = operation.answers[answer.status]
    if model is None:
        assert answer.raw == b""
    elif answer.headers.get("Content-Encoding") is None:
        model.model_validate_json(answer.raw, strict=True)


@pytest.fixture(scope="session")
def redis_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    directory: Path = tmp_path_factory.mktemp("redis")
    with running_redis(directory) as port:
        yield port


@pytest.fixture
async def world(redis_port: int, tmp_path: Path) -> AsyncIterator[World]:
    world = World(Settings.from_environment(ENVIRONMENT))
    # Sessions ended by command are written at once: to a database of the test's own, which is closed again.
    monitor_store = world.monitor_store = open_monitor_store(f"sqlite:///{tmp_path}/ended.db")
    monitor_store.migrate()
    world.redis = Redis(port=redis_port)
    await world.redis.flushall()
    world.tokens = Tokens()
    world.publisher = Publisher()
    world.ended_ids = Ended()
    world.limiter = HeartbeatLimiter(120)
    world.push = Push(world.settings.web_pubsub)
    await Progress(world.redis).begin(1)
    await DirectoryPublisher(world.redis, world.directory).publish(DIRECTORY, "1")
    bootstrap.override(world)
    yield world
    bootstrap.override(None)
    for worker in (world.broadcaster, world.agent_follower, world.agent_announcer):
        await worker.close()
    monitor_store.close()
    await world.push.close()
    await world.redis.aclose()
