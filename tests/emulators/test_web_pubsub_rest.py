"""The REST API of the Web PubSub emulator, driven by Microsoft's service SDK."""

import asyncio
import io
import time
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import jwt
import pytest
from azure.core.exceptions import ClientAuthenticationError, HttpResponseError, ResourceNotFoundError
from azure.core.rest import HttpRequest
from azure.messaging.webpubsubservice import WebPubSubServiceClient
from azure.messaging.webpubsubservice.aio import WebPubSubServiceClient as AsyncWebPubSubServiceClient

from tests.emulators.web_pubsub_harness import ACCESS_KEY, JSON, Emulator, running_emulator


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    async with running_emulator() as running:
        yield running


@pytest.fixture
async def service(emulator: Emulator) -> AsyncWebPubSubServiceClient:
    return await emulator.service()


async def test_a_group_message_reaches_plain_and_subprotocol_members_alone(
    emulator: Emulator, service: AsyncWebPubSubServiceClient
) -> None:
    plain = await emulator.connect("u-1", protocol=None, groups=["region-r-1"])
    enveloped = await emulator.connect("u-2", groups=["region-r-1"])
    outsider = await emulator.connect("u-3", groups=["region-r-2"])

    await service.send_to_group("region-r-1", {"sequence": 7}, content_type="application/json")
    await service.send_to_group("region-r-2", {"sequence": 1}, content_type="application/json")

    assert await plain.json() == {"sequence": 7}
    assert await enveloped.text() == (
        '{"type":"message","from":"group","group":"region-r-1","dataType":"json","data":{"sequence": 7}}'
    )
    assert (await outsider.json())["data"] == {"sequence": 1}


@pytest.mark.parametrize(
    ("content", "content_type", "data_type", "data"),
    [
        ("Hello World", "text/plain", "text", "Hello World"),
        ({"Hello": "Wörld"}, "application/json", "json", {"Hello": "Wörld"}),
        ("Hello", "application/json", "json", "Hello"),
        (io.BytesIO(b"\x00\x01\xff"), "application/octet-stream", "binary", "AAH/"),
    ],
)
async def test_each_content_type_reaches_a_user_as_documented(
    emulator: Emulator,
    service: AsyncWebPubSubServiceClient,
    content: Any,
    content_type: str,
    data_type: str,
    data: object,
) -> None:
    plain, enveloped = await emulator.connect("u-1", protocol=None), await emulator.connect("u-1")

    await service.send_to_user("u-1", content, content_type=content_type)

    assert await enveloped.json() == {"type": "message", "from": "server", "dataType": data_type, "data": data}
    received = await plain.frame()
    if data_type == "binary":
        assert (received.type, received.data) == (aiohttp.WSMsgType.BINARY, b"\x00\x01\xff")
    else:
        assert received.type is aiohttp.WSMsgType.TEXT
        assert received.data == "Hello World" if data_type == "text" else received.json() == data


async def test_the_synchronous_client_sends_too(emulator: Emulator) -> None:
    client = await emulator.connect("u-1")

    def send() -> None:
        with WebPubSubServiceClient.from_connection_string(emulator.connection_string, hub="presence") as service:
            service.send_to_user("u-1", "by hand", content_type="text/plain")

    await asyncio.to_thread(send)

    assert (await client.json())["data"] == "by hand"


async def test_sending_to_all_excludes_and_filters(emulator: Emulator, service: AsyncWebPubSubServiceClient) -> None:
    clients = {user: await emulator.connect(user, groups=[f"g-{user[-1]}"]) for user in ("u-1", "u-2", "u-3")}

    await service.send_to_all("all", content_type="text/plain")
    await service.send_to_all("not u-1", excluded=[clients["u-1"].id], content_type="text/plain")
    await service.send_to_all("g-1 or u-3", filter="'g-1' in groups or userId eq 'u-3'", content_type="text/plain")
    await service.send_to_all("end", content_type="text/plain")

    expected = {
        "u-1": ["all", "g-1 or u-3", "end"],
        "u-2": ["all", "not u-1", "end"],
        "u-3": ["all", "not u-1", "g-1 or u-3", "end"],
    }
    for user, client in clients.items():
        assert [(await client.json())["data"] for _ in expected[user]] == expected[user]


async def test_a_filter_that_is_not_understood_is_refused(service: AsyncWebPubSubServiceClient) -> None:
    with pytest.raises(HttpResponseError, match="userName") as caught:
        await service.send_to_group("g", "x", filter="userName eq 'u-1'", content_type="text/plain")
    assert caught.value.status_code == 400


async def test_sending_to_one_connection(emulator: Emulator, service: AsyncWebPubSubServiceClient) -> None:
    one, other = await emulator.connect("u-1"), await emulator.connect("u-1")

    await service.send_to_connection(one.id, "for one", content_type="text/plain")
    await service.send_to_connection("unknown", "for nobody", content_type="text/plain")
    await service.send_to_all("for all", content_type="text/plain")

    assert [(await one.json())["data"], (await one.json())["data"]] == ["for one", "for all"]
    assert (await other.json())["data"] == "for all"


async def test_names_may_hold_any_character(emulator: Emulator, service: AsyncWebPubSubServiceClient) -> None:
    user, group = "r|a/b+c@d.e=:ü %", "region/ö 1?#%"
    client = await emulator.connect(user, groups=[group])

    await service.send_to_group(group, "by group", content_type="text/plain")
    await service.send_to_user(user, "by user", content_type="text/plain")

    assert (await client.json())["group"] == group
    assert (await client.json())["data"] == "by user"
    assert await service.user_exists(user)


async def test_connections_and_users_join_and_leave_groups(
    emulator: Emulator, service: AsyncWebPubSubServiceClient
) -> None:
    one, two = await emulator.connect("u-1"), await emulator.connect("u-1")

    async def members(group: str) -> set[str]:
        return {member.connection_id async for member in service.list_connections(group=group)}

    await service.add_connection_to_group("g", one.id)
    await service.add_user_to_group("h", "u-1")
    assert (await members("g"), await members("h")) == ({one.id}, {one.id, two.id})

    await service.remove_connection_from_group("g", one.id)
    await service.remove_connection_from_all_groups(two.id)
    assert (await members("g"), await members("h")) == (set(), {one.id})

    await service.add_user_to_group("g", "u-1")
    await service.remove_user_from_group("g", "u-1")
    assert await members("g") == set()
    await service.remove_user_from_all_groups("u-1")
    assert await members("h") == set()

    with pytest.raises(ResourceNotFoundError):
        await service.add_connection_to_group("g", "unknown")


async def test_several_groups_are_joined_and_left_by_filter(
    emulator: Emulator, service: AsyncWebPubSubServiceClient
) -> None:
    await emulator.connect("u-1")
    await emulator.connect("u-2")

    async def change(call: str) -> int:
        body = {"groups": ["g", "h"], "filter": "userId eq 'u-1'"}
        response = await service.send_request(
            HttpRequest("POST", f"/api/hubs/presence/:{call}", params={"api-version": "2024-12-01"}, json=body)
        )
        return int(response.status_code)

    assert await change("addToGroups") == 200
    assert [member.user_id async for member in service.list_connections(group="h")] == ["u-1"]
    assert await change("removeFromGroups") == 200
    assert not await service.group_exists("g")


async def test_members_are_listed_in_pages(emulator: Emulator, service: AsyncWebPubSubServiceClient) -> None:
    clients = [await emulator.connect(f"u-{number}", groups=["g"]) for number in range(5)]

    pages = [
        [member.user_id async for member in page]
        async for page in service.list_connections(group="g", maxpagesize=2).by_page()
    ]
    assert [len(page) for page in pages] == [2, 2, 1]
    assert {user for page in pages for user in page} == {f"u-{number}" for number in range(5)}

    first = [member.connection_id async for member in service.list_connections(group="g", top=3, maxpagesize=2)]
    assert first == sorted(client.id for client in clients)[:3]


async def test_existence_follows_connections(emulator: Emulator, service: AsyncWebPubSubServiceClient) -> None:
    client = await emulator.connect("u-1", groups=["g"])

    async def existence() -> tuple[bool, bool, bool]:
        return (
            await service.connection_exists(client.id),
            await service.group_exists("g"),
            await service.user_exists("u-1"),
        )

    assert await existence() == (True, True, True)
    await service.close_connection(client.id)
    assert await existence() == (False, False, False)


async def test_closing_tells_the_reason(emulator: Emulator, service: AsyncWebPubSubServiceClient) -> None:
    by_id, by_group = await emulator.connect(), await emulator.connect(groups=["g"])
    by_user, plain = await emulator.connect("u-1"), await emulator.connect(protocol=None)
    spared = await emulator.connect("u-1")

    await service.close_connection(by_id.id, reason="moved")
    await service.close_group_connections("g", reason="moved")
    await service.close_user_connections("u-1", excluded=[spared.id], reason="moved")
    for client in (by_id, by_group, by_user):
        assert await client.json() == {"type": "system", "event": "disconnected", "message": "moved"}
        closing = await client.frame()
        assert (closing.type, closing.data, closing.extra) == (aiohttp.WSMsgType.CLOSE, 1000, "moved")

    await service.send_to_user("u-1", "still here", content_type="text/plain")
    assert (await spared.json())["data"] == "still here"
    await service.close_all_connections(reason="over")
    assert (await plain.closed(), await spared.closed()) == (1000, 1000)


async def test_permissions_are_granted_checked_and_revoked(
    emulator: Emulator, service: AsyncWebPubSubServiceClient
) -> None:
    client = await emulator.connect("u-1")
    join = {"type": "joinGroup", "group": "g"}

    assert not await service.has_permission("joinLeaveGroup", client.id, target_name="g")
    assert (await client.ask({**join, "ackId": 1}))["error"]["name"] == "Forbidden"

    await service.grant_permission("joinLeaveGroup", client.id, target_name="g")
    assert await service.has_permission("joinLeaveGroup", client.id, target_name="g")
    assert not await service.has_permission("joinLeaveGroup", client.id, target_name="h")
    assert not await service.has_permission("sendToGroup", client.id, target_name="g")
    assert (await client.ask({**join, "ackId": 2}))["success"] is True

    await service.revoke_permission("joinLeaveGroup", client.id, target_name="g")
    assert (await client.ask({**join, "ackId": 3}))["error"]["name"] == "Forbidden"
    with pytest.raises(ResourceNotFoundError):
        await service.grant_permission("sendToGroup", "unknown")


async def test_generated_tokens_are_client_tokens(emulator: Emulator, service: AsyncWebPubSubServiceClient) -> None:
    query = {"api-version": "2024-12-01", "userId": "u-1", "group": ["g", "h"], "role": ["webpubsub.sendToGroup.g"]}
    response = await service.send_request(HttpRequest("POST", "/api/hubs/presence/:generateToken", params=query))
    response.raise_for_status()
    token = response.json()["token"]

    client = await emulator.open(f"{emulator.endpoint}/client/hubs/presence?access_token={token}", JSON)

    assert client.welcome["userId"] == "u-1"
    assert await service.group_exists("h")
    answer = await client.ask({"type": "sendToGroup", "group": "h", "dataType": "text", "data": "x", "ackId": 1})
    assert answer["error"]["name"] == "Forbidden"


async def test_hubs_are_isolated(emulator: Emulator, service: AsyncWebPubSubServiceClient) -> None:
    here, there = await emulator.connect("u-1", groups=["g"]), await emulator.connect("u-1", groups=["g"], hub="other")

    await (await emulator.service("other")).send_to_group("g", "other", content_type="text/plain")
    await service.send_to_user("u-1", "presence", content_type="text/plain")

    assert (await here.json())["data"] == "presence"
    assert (await there.json())["data"] == "other"
    assert not await service.connection_exists(there.id)


async def test_a_call_with_another_key_is_refused(emulator: Emulator) -> None:
    forged = emulator.connection_string.replace(ACCESS_KEY, ACCESS_KEY.swapcase())
    async with AsyncWebPubSubServiceClient.from_connection_string(forged, hub="presence") as service:
        with pytest.raises(ClientAuthenticationError):
            await service.send_to_all("x", content_type="text/plain")


@pytest.mark.parametrize(
    ("audience", "lifetime", "status"),
    [
        ("/api/hubs/presence/:send?api-version=2024-12-01", 60, 202),
        ("/api/hubs/presence/:send", 60, 202),
        ("/api/hubs/presence/groups/g/:send", 60, 401),
        ("/api/hubs/other/:send", 60, 401),
        ("/api/hubs/presence/:send", -1, 401),
    ],
)
async def test_a_calls_token_is_for_its_url_and_not_expired(
    emulator: Emulator, audience: str, lifetime: int, status: int
) -> None:
    claims = {"aud": emulator.endpoint + audience, "exp": int(time.time()) + lifetime}
    headers = {"Authorization": f"Bearer {jwt.encode(claims, ACCESS_KEY, algorithm='HS256')}"}
    url = f"{emulator.endpoint}/api/hubs/presence/:send?api-version=2024-12-01"
    async with emulator.session.post(url, json={}, headers=headers) as response:
        assert response.status == status


async def test_calls_need_a_token_and_an_api_version(emulator: Emulator) -> None:
    url = f"{emulator.endpoint}/api/hubs/presence/:send"
    async with emulator.session.post(url, params={"api-version": "2024-12-01"}, json={}) as response:
        assert response.status == 401
        assert response.headers["x-ms-error-code"] == "Unauthorized"
    token = jwt.encode({"aud": url, "exp": int(time.time()) + 60}, ACCESS_KEY, algorithm="HS256")
    async with emulator.session.post(url, json={}, headers={"Authorization": f"Bearer {token}"}) as response:
        assert response.status == 400
        assert "api-version" in (await response.json())["message"]


async def test_a_message_has_at_most_one_megabyte(emulator: Emulator, service: AsyncWebPubSubServiceClient) -> None:
    client = await emulator.connect("u-1", protocol=None)
    await service.send_to_all(io.BytesIO(bytes(1024 * 1024)), content_type="application/octet-stream")
    assert len((await client.frame()).data) == 1024 * 1024
    with pytest.raises(HttpResponseError) as caught:
        await service.send_to_all(io.BytesIO(bytes(1024 * 1024 + 1)), content_type="application/octet-stream")
    assert caught.value.status_code == 413


@pytest.mark.parametrize(
    ("content_type", "body"),
    [("application/json", b"{"), ("application/json", b"NaN"), ("text/plain", b"\xff"), ("application/xml", b"<a/>")],
)
async def test_a_body_that_is_not_what_it_says_is_refused(
    service: AsyncWebPubSubServiceClient, content_type: str, body: bytes
) -> None:
    response = await service.send_request(
        HttpRequest(
            "POST",
            "/api/hubs/presence/:send",
            params={"api-version": "2024-12-01"},
            headers={"Content-Type": content_type},
            content=body,
        )
    )
    assert response.status_code == (415 if content_type == "application/xml" else 400)


async def test_a_path_that_is_not_part_of_the_api_is_not_found(service: AsyncWebPubSubServiceClient) -> None:
    response = await service.send_request(HttpRequest("GET", "/api/hubs/presence/nothing"))
    assert response.status_code == 404


async def test_health_is_open_to_all(emulator: Emulator) -> None:
    async with emulator.session.get(f"{emulator.endpoint}/health") as response:
        assert response.status == 200
