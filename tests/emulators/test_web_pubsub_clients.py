"""The client WebSockets of the Web PubSub emulator: tokens, subprotocol, roles, acks."""

import asyncio
import base64
import socket
import time
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import jwt
import pytest

from emulators.web_pubsub.limits import Limits
from emulators.web_pubsub.permissions import compile_pattern
from tests.emulators.web_pubsub_harness import ACCESS_KEY, ALL_ROLES, JSON, Emulator, running_emulator


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    async with running_emulator() as running:
        yield running


def signed(emulator: Emulator, key: str = ACCESS_KEY, **claims: Any) -> str:
    """A client token; claims given replace those of a good one, None leaves one out."""
    good = {"aud": f"{emulator.endpoint}/client/hubs/presence", "exp": int(time.time()) + 60, "sub": "u-1"}
    changed = {name: value for name, value in (good | claims).items() if value is not None}
    return jwt.encode(changed, key, algorithm="HS256")


async def test_a_subprotocol_client_is_welcomed(emulator: Emulator) -> None:
    client = await emulator.connect("u-1")
    assert client.socket.protocol == JSON
    assert client.welcome == {"type": "system", "event": "connected", "userId": "u-1", "connectionId": client.id}


async def test_the_token_may_come_in_a_header(emulator: Emulator) -> None:
    headers = {"Authorization": f"Bearer {signed(emulator)}"}
    client = await emulator.open(f"{emulator.endpoint}/client/hubs/presence", JSON, headers=headers)
    assert client.welcome["userId"] == "u-1"


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"key": ACCESS_KEY.swapcase()}, id="forged"),
        pytest.param({"exp": int(time.time()) - 1}, id="expired"),
        pytest.param({"exp": None}, id="endless"),
        pytest.param({"aud": "{endpoint}/client/hubs/other"}, id="other hub"),
        pytest.param({"aud": "http://elsewhere/client/hubs/presence"}, id="other host"),
        pytest.param({"aud": None}, id="for anything"),
    ],
)
async def test_a_bad_token_is_refused(emulator: Emulator, change: dict[str, Any]) -> None:
    if "{endpoint}" in str(change.get("aud")):
        change = {"aud": change["aud"].format(endpoint=emulator.endpoint)}
    await refused(emulator, signed(emulator, **change))


@pytest.mark.parametrize("token", ["", "not.a.token", "e30.e30."])
async def test_what_is_not_a_token_is_refused(emulator: Emulator, token: str) -> None:
    await refused(emulator, token)


async def test_an_unsigned_token_is_refused(emulator: Emulator) -> None:
    header, payload = (part.rstrip("=") for part in (base64url('{"alg":"none"}'), signed(emulator).split(".")[1]))
    await refused(emulator, f"{header}.{payload}.")


async def refused(emulator: Emulator, token: str) -> None:
    with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
        await emulator.open(f"{emulator.endpoint}/client/hubs/presence?access_token={token}", JSON)
    assert caught.value.status == 401


def base64url(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode()


async def test_an_unsupported_subprotocol_is_refused(emulator: Emulator) -> None:
    with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
        await emulator.connect("u-1", protocol="protobuf.webpubsub.azure.v1")
    assert caught.value.status == 400


async def test_clients_publish_to_each_other(emulator: Emulator) -> None:
    sender = await emulator.connect("u-1", groups=["g"], roles=ALL_ROLES)
    receiver, plain = await emulator.connect("u-2", groups=["g"]), await emulator.connect(groups=["g"], protocol=None)
    message = {"type": "sendToGroup", "group": "g", "dataType": "json", "data": {"n": 1}}

    await sender.socket.send_json({**message, "noEcho": True, "ackId": 1})
    assert await sender.json() == {"type": "ack", "ackId": 1, "success": True}
    expected = {
        "type": "message",
        "from": "group",
        "fromUserId": "u-1",
        "group": "g",
        "dataType": "json",
        "data": {"n": 1},
    }
    assert await receiver.json() == expected
    assert await plain.text() == '{"n":1}'

    await sender.socket.send_json(message)
    assert await sender.json() == expected


@pytest.mark.parametrize(
    ("data_type", "data", "payload"), [("text", "tëxt", "tëxt"), ("binary", "AAH/", b"\x00\x01\xff")]
)
async def test_text_and_binary_data_keep_their_type(
    emulator: Emulator, data_type: str, data: str, payload: object
) -> None:
    client = await emulator.connect("u-1", groups=["g"], roles=ALL_ROLES)
    plain = await emulator.connect(groups=["g"], protocol=None)

    await client.socket.send_json({"type": "sendToGroup", "group": "g", "dataType": data_type, "data": data})

    received = await client.json()
    assert (received["dataType"], received["data"]) == (data_type, data)
    assert (await plain.frame()).data == payload


async def test_joining_and_leaving_changes_who_receives(emulator: Emulator) -> None:
    client = await emulator.connect("u-1", roles=["webpubsub.joinLeaveGroup"])
    service = await emulator.service()

    assert (await client.ask({"type": "joinGroup", "group": "g", "ackId": 1}))["success"] is True
    await service.send_to_group("g", "in", content_type="text/plain")
    assert (await client.json())["data"] == "in"
    assert (await client.ask({"type": "leaveGroup", "group": "g", "ackId": 2}))["success"] is True
    await service.send_to_group("g", "out", content_type="text/plain")
    await service.send_to_all("end", content_type="text/plain")
    assert (await client.json())["data"] == "end"


@pytest.mark.parametrize(
    ("roles", "allowed", "refused"),
    [
        ((), "", "joinGroup:g leaveGroup:g sendToGroup:g"),
        (("webpubsub.joinLeaveGroup",), "joinGroup:g leaveGroup:h", "sendToGroup:g"),
        (("webpubsub.sendToGroup",), "sendToGroup:g sendToGroup:h", "joinGroup:g leaveGroup:g"),
        (("webpubsub.joinLeaveGroup.a.b",), "joinGroup:a.b leaveGroup:a.b", "joinGroup:a sendToGroup:a.b"),
        (("webpubsub.sendToGroups.region.*",), "sendToGroup:region.1", "sendToGroup:region.1.x joinGroup:region.1"),
        (("webpubsub.joinLeaveGroups.region.**",), "joinGroup:region.1.x", "joinGroup:other.1"),
        (("webpubsub.joinLeaveGroups.******",), "", "joinGroup:g"),
    ],
)
async def test_roles_decide_what_a_client_may_do(
    emulator: Emulator, roles: tuple[str, ...], allowed: str, refused: str
) -> None:
    client = await emulator.connect("u-1", roles=roles)
    ack_id = 0
    for requests, success in ((allowed, True), (refused, False)):
        for request in requests.split():
            ack_id += 1
            kind, group = request.split(":")
            answer = await client.ask({"type": kind, "group": group, "data": 1, "ackId": ack_id})
            while answer["type"] != "ack":
                answer = await client.json()
            assert answer["success"] is success, request
            if not success:
                assert answer["error"]["name"] == "Forbidden"


@pytest.mark.parametrize(
    ("pattern", "matching", "other"),
    [
        ("chat-*", "chat-room", "chat.1"),
        ("clientA.*", "clientA.alpha", "clientA.alpha.room1"),
        ("clientA.**", "clientA.alpha.room1", "clientB.anything"),
        ("clientA.rooms.?1", "clientA.rooms.a1", "clientA.rooms.1"),
        (r"literal\*star", "literal*star", "literalXstar"),
    ],
)
def test_group_patterns_match_as_documented(pattern: str, matching: str, other: str) -> None:
    compiled = compile_pattern(pattern)
    assert compiled.fullmatch(matching)
    assert not compiled.fullmatch(other)


async def test_an_ack_id_is_carried_out_once(emulator: Emulator) -> None:
    client = await emulator.connect("u-1", groups=["g"], roles=ALL_ROLES)
    request = {"type": "sendToGroup", "group": "g", "data": 1, "noEcho": True, "ackId": 5}
    assert (await client.ask(request))["success"] is True
    again = await client.ask(request)
    assert (again["success"], again["error"]["name"]) == (False, "Duplicate")


async def test_an_event_finds_no_handler(emulator: Emulator) -> None:
    client = await emulator.connect("u-1")
    answer = await client.ask({"type": "event", "event": "e", "dataType": "text", "data": "x", "ackId": 1})
    assert (answer["success"], answer["error"]["name"]) == (False, "InvocationFailed")


async def test_a_ping_is_answered(emulator: Emulator) -> None:
    client = await emulator.connect("u-1")
    assert await client.ask({"type": "ping"}) == {"type": "pong"}


@pytest.mark.parametrize(
    "frame",
    [
        "not json",
        "[]",
        "{}",
        '{"type":"unknown"}',
        '{"type":"joinGroup"}',
        '{"type":"joinGroup","group":" ","ackId":1}',
        '{"type":"joinGroup","group":"g","ackId":"1"}',
        '{"type":"sendToGroup","group":"g","ackId":1}',
        '{"type":"sendToGroup","group":"g","dataType":"binary","data":"%","ackId":1}',
        '{"type":"sendToGroup","group":"g","dataType":"picture","data":"x","ackId":1}',
        '{"type":"sequenceAck","sequenceId":1}',
        '{"type":"sendToGroup","group":"g","data":"\\ud800","ackId":1}',
        # A refused request without ackId: nothing else could tell the client.
        '{"type":"joinGroup","group":"forbidden"}',
    ],
)
async def test_a_client_that_breaks_the_protocol_is_disconnected(emulator: Emulator, frame: str) -> None:
    client = await emulator.connect("u-1", roles=["webpubsub.sendToGroup", "webpubsub.joinLeaveGroup.g"])
    await client.socket.send_str(frame)
    assert (await client.json())["event"] == "disconnected"
    assert await client.closed() == 1008
    assert not await (await emulator.service()).connection_exists(client.id)


async def test_a_frame_over_the_limit_closes_its_sender(emulator: Emulator) -> None:
    client = await emulator.connect("u-1")
    await client.socket.send_str("x" * (1024 * 1024 + 1))
    assert await client.closed() in (1006, 1009)


async def test_the_end_of_the_service_is_a_going_away(emulator: Emulator) -> None:
    client = await emulator.connect("u-1")
    closing = asyncio.create_task(client.closed())
    await emulator.stop()
    assert await closing == 1001


async def test_a_client_that_does_not_read_is_cut_off_and_holds_nobody_up() -> None:
    async with running_emulator(Limits(send_buffer_bytes=500_000)) as emulator:
        reader = await emulator.connect("reader", groups=["g"])
        service = await emulator.service()
        with upgraded_socket(emulator.url("stuck", groups=["g"])):
            async with asyncio.timeout(30):
                while not await service.user_exists("stuck"):
                    await asyncio.sleep(0.01)
                number = 0
                while await service.user_exists("stuck"):
                    await service.send_to_group("g", f"{number} {'x' * 60_000}", content_type="text/plain")
                    assert (await reader.json())["data"].startswith(f"{number} ")
                    number += 1

        await service.send_to_group("g", "after", content_type="text/plain")
        assert (await reader.json())["data"] == "after"


def upgraded_socket(url: str) -> socket.socket:
    """A socket that asked to become a WebSocket, and that nobody reads."""
    parts = urlsplit(url)
    connection = socket.create_connection((parts.hostname, parts.port))
    connection.sendall(
        f"GET {parts.path}?{parts.query} HTTP/1.1\r\nHost: {parts.netloc}\r\nConnection: Upgrade\r\n"
        "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n".encode()
    )
    return connection


async def test_a_group_keeps_the_order_of_its_messages(emulator: Emulator) -> None:
    clients = [await emulator.connect(f"u-{number}", groups=["g"]) for number in range(20)]
    service = await emulator.service()
    for number in range(100):
        await service.send_to_group("g", {"n": number}, content_type="application/json")
    for client in clients:
        assert [(await client.json())["data"]["n"] for _ in range(100)] == list(range(100))
