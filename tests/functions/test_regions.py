"""`GET /regions`, `/regions/{regionId}/counties`, `/regions/{regionId}/facilities`, `/facilities/{facilityId}` and
`POST /negotiate`."""

import gzip
import json
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jwt
import pytest

from functions.facility import facility
from functions.negotiate import negotiate
from functions.region_counties import region_counties
from functions.region_facilities import region_facilities
from functions.regions import regions
from shared.domain.directory import County, Facility
from shared.domain.heartbeat import Heartbeat
from shared.domain.instants import from_iso, to_iso
from shared.domain.pipeline import PipelineState
from shared.registry import keys
from shared.registry.directory_cache import DirectoryPublisher
from tests.functions.conftest import DIRECTORY, NOW, World, call

ADMIN = "boss,presence.admin"
ONLINE = {
    "facilityId": "f-1",
    "name": "Facility 1",
    "countyId": "c-1",
    "status": "online",
    "since": to_iso(NOW),
    "sessions": 1,
    "version": 1,
    "reason": "heartbeat",
    "lastSeen": to_iso(NOW),
}
NEVER_ONLINE = {
    "facilityId": "f-2",
    "name": "Facility 2",
    "countyId": "c-1",
    "status": "offline",
    "since": None,
    "sessions": 0,
    "version": 0,
    "reason": None,
    "lastSeen": None,
}


async def bring_online(world: World, facility_id: str = "f-1", user_id: str = "u-1") -> None:
    await world.registry.ingest([(facility_id, Heartbeat(user_id, "s-1", NOW))])


async def test_a_user_sees_their_regions_an_admin_all(world: World) -> None:
    await bring_online(world)
    north = {"regionId": "r-1", "name": "Nord", "facilities": 2, "online": 1}
    south = {"regionId": "r-2", "name": "Süd", "facilities": 1, "online": 0}
    assert (await call(regions, token="u-1")).body == {"regions": [north]}
    for token in ("u-9", ADMIN):
        assert (await call(regions, token=token)).body == {"regions": [north, south]}
    for token in ("u-0", "stranger"):
        assert (await call(regions, token=token)).body == {"regions": []}


async def test_a_snapshot_shows_every_facility(world: World) -> None:
    await bring_online(world)
    answer = await call(region_facilities, regionId="r-1")
    assert answer.status == 200
    assert answer.body == {
        "regionId": "r-1",
        "asOf": to_iso(NOW),
        "sequence": NOW,
        "stale": False,
        "facilities": [ONLINE, NEVER_ONLINE],
    }


async def test_a_snapshot_tells_the_sequence_and_staleness(world: World) -> None:
    await world.redis.set(keys.sequence("r-1"), NOW + 7)
    await world.watermarks.save(PipelineState(watermark=NOW, stale_since=NOW), NOW, before=None)
    body = (await call(region_facilities, regionId="r-1")).body
    assert (body["sequence"], body["stale"]) == (NOW + 7, True)


async def test_a_snapshot_is_a_second_old_at_most(world: World) -> None:
    assert (await call(region_facilities, regionId="r-1")).body["facilities"][0]["status"] == "offline"
    await bring_online(world)
    world.time += 999
    assert (await call(region_facilities, regionId="r-1")).body["facilities"][0]["status"] == "offline"
    world.time += 1
    assert (await call(region_facilities, regionId="r-1")).body["facilities"][0]["status"] == "online"


async def test_who_holds_a_snapshot_is_not_sent_it_again(world: World) -> None:
    first = await call(region_facilities, regionId="r-1")
    etag = first.headers["ETag"]
    for known in (etag, etag.removeprefix("W/"), f'"other", {etag}', "*"):
        answer = await call(region_facilities, regionId="r-1", headers={"If-None-Match": known})
        assert (answer.status, answer.raw, answer.headers["ETag"]) == (304, b"", etag)
    world.time += 5_000
    unchanged = await call(region_facilities, regionId="r-1", headers={"If-None-Match": etag})
    assert unchanged.status == 304
    world.time += 5_000
    await bring_online(world)
    changed = await call(region_facilities, regionId="r-1", headers={"If-None-Match": etag})
    assert changed.status == 200
    assert changed.headers["ETag"] != etag


async def test_a_large_snapshot_is_compressed_for_those_who_take_it(world: World) -> None:
    many = {f"f-{n}": Facility(f"f-{n}", "c-1", f"Facility {n}") for n in range(50)}
    await DirectoryPublisher(world.redis, world.directory).publish(replace(DIRECTORY, facilities=many), "2")
    plain = await call(region_facilities, token=ADMIN, regionId="r-1")
    assert "Content-Encoding" not in plain.headers
    for accepted in ("gzip", "br, GZIP;q=0.5", "*"):
        answer = await call(region_facilities, token=ADMIN, regionId="r-1", headers={"Accept-Encoding": accepted})
        assert answer.headers["Content-Encoding"] == "gzip"
        assert "Accept-Encoding" in answer.headers["Vary"]
        assert len(answer.raw) < len(plain.raw) / 4
        assert json.loads(gzip.decompress(answer.raw)) == plain.body
    for refused in ("", "br", "gzip;q=0", "*;q=0, br", "gzip;q=0.0, *"):
        answer = await call(region_facilities, token=ADMIN, regionId="r-1", headers={"Accept-Encoding": refused})
        assert "Content-Encoding" not in answer.headers
        assert answer.raw == plain.raw


async def test_a_new_directory_is_in_force_at_once(world: World) -> None:
    assert len((await call(region_facilities, token=ADMIN, regionId="r-1")).body["facilities"]) == 2
    fewer = {"f-1": DIRECTORY.facilities["f-1"]}
    await DirectoryPublisher(world.redis, world.directory).publish(replace(DIRECTORY, facilities=fewer), "2")
    assert len((await call(region_facilities, token=ADMIN, regionId="r-1")).body["facilities"]) == 1


async def test_a_region_of_others_is_forbidden_an_unknown_one_not_found(world: World) -> None:
    assert (await call(region_facilities, token="u-1", regionId="r-2")).problem() == (403, "forbidden")
    for token in ("u-1", ADMIN):
        for region_id in ("r-404", "r 1", "%00", "a%2Fb", "x" * 65):
            answer = await call(region_facilities, token=token, regionId=region_id)
            assert answer.problem() == (404, "not-found")
    assert (await call(region_facilities, token=ADMIN, regionId="r-2")).status == 200


async def test_counties_have_names_and_sizes(world: World) -> None:
    counties = {
        "c-9": County("c-9", "r-1", "Ohne Haus"),
        "c-1": County("c-1", "r-1", "Møre & <b>"),
        "c-2": County("c-2", "r-2", "Küste"),
    }
    await DirectoryPublisher(world.redis, world.directory).publish(replace(DIRECTORY, counties=counties), "2")
    answer = await call(region_counties, token="u-1", regionId="r-1")
    assert (answer.status, answer.body) == (
        200,
        {
            "regionId": "r-1",
            "counties": [
                {"countyId": "c-1", "name": "Møre & <b>", "facilities": 2},
                {"countyId": "c-9", "name": "Ohne Haus", "facilities": 0},
            ],
        },
    )


async def test_counties_are_for_those_who_see_their_region(world: World) -> None:
    assert (await call(region_counties, token="u-1", regionId="r-2")).problem() == (403, "forbidden")
    for token in ("u-9", ADMIN):
        [county] = (await call(region_counties, token=token, regionId="r-2")).body["counties"]
        assert county == {"countyId": "c-2", "name": "c-2", "facilities": 1}
        for region_id in ("r-404", "r 1", "%00", "x" * 65):
            answer = await call(region_counties, token=token, regionId=region_id)
            assert answer.problem() == (404, "not-found")


async def test_one_facility_names_its_region(world: World) -> None:
    await bring_online(world)
    answer = await call(facility, facilityId="f-1")
    assert (answer.status, answer.body) == (200, {"regionId": "r-1", **ONLINE})
    assert (await call(facility, facilityId="%66-2")).body == {"regionId": "r-1", **NEVER_ONLINE}


async def test_a_facility_of_others_is_forbidden_an_unknown_one_not_found(world: World) -> None:
    assert (await call(facility, token="u-1", facilityId="f-3")).problem() == (403, "forbidden")
    assert (await call(facility, token="u-1", facilityId="f-404")).problem() == (404, "not-found")
    assert (await call(facility, token=ADMIN, facilityId="f 3")).problem() == (404, "not-found")
    assert (await call(facility, token=ADMIN, facilityId="f-3")).status == 200


async def test_without_a_directory_nobody_is_told_that_nothing_exists(world: World) -> None:
    await world.redis.flushall()
    for function in (regions, region_counties, region_facilities, facility):
        answer = await call(function, regionId="r-1", facilityId="f-1")
        assert answer.problem() == (503, "dependency-unavailable")


async def negotiated(token: str, body: dict[str, Any] | None = None) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns the answer's body, and the claims of the token in its address."""
    answer = await call(negotiate, "POST", token=token, body=body)
    assert answer.status == 200
    [access_token] = parse_qs(urlsplit(answer.body["url"]).query)["access_token"]
    return answer.body, jwt.decode(access_token, options={"verify_signature": False})


async def test_a_user_joins_the_groups_of_their_regions(world: World) -> None:
    body, claims = await negotiated("u-9")
    assert body.keys() == {"url", "regions", "expiresAt"}
    assert body["url"].startswith("wss://pulse.webpubsub.azure.com/client/hubs/presence?access_token=")
    assert body["regions"] == ["r-1", "r-2"]
    assert (claims["sub"], claims["webpubsub.group"]) == ("u-9", ["region-r-1", "region-r-2"])
    assert from_iso(body["expiresAt"]) == claims["exp"] * 1000


async def test_nobody_may_join_or_send_to_groups_by_themselves(world: World) -> None:
    for token in ("u-9", ADMIN):
        _, claims = await negotiated(token)
        assert not claims.get("role")


async def test_an_administrators_groups_are_not_a_gateways(world: World) -> None:
    _, claims = await negotiated("u-9,presence.gateway")
    assert claims["webpubsub.group"] == ["region-r-1", "region-r-2"]


async def test_a_user_may_name_some_of_their_regions(world: World) -> None:
    body, claims = await negotiated("u-9", {"regions": ["r-2", "r-2"]})
    assert (body["regions"], claims["webpubsub.group"]) == (["r-2"], ["region-r-2"])
    body, claims = await negotiated("u-9", {"regions": []})
    assert (body["regions"], claims.get("webpubsub.group", [])) == ([], [])


async def test_an_admin_joins_the_groups_of_agents_too(world: World) -> None:
    body, claims = await negotiated(ADMIN, {})
    assert body["regions"] == ["r-1", "r-2"]
    assert claims["webpubsub.group"] == ["region-r-1", "region-r-2", "agents-r-1", "agents-r-2"]
    _, claims = await negotiated(ADMIN, {"regions": ["r-1"]})
    assert claims["webpubsub.group"] == ["region-r-1", "agents-r-1"]


async def test_a_user_without_regions_still_gets_their_own_messages(world: World) -> None:
    body, claims = await negotiated("u-0")
    assert (body["regions"], claims["sub"]) == ([], "u-0")


async def test_regions_of_others_are_forbidden_known_or_not(world: World) -> None:
    for region_id in ("r-2", "r-404"):
        answer = await call(negotiate, "POST", token="u-1", body={"regions": ["r-1", region_id]})
        assert answer.problem() == (403, "forbidden")
    answer = await call(negotiate, "POST", token=ADMIN, body={"regions": ["r-404"]})
    assert answer.problem() == (404, "not-found")


@pytest.mark.parametrize(
    ("body", "pointer"),
    [({"regions": "r-1"}, "/regions"), ({"regions": [1]}, "/regions/0"), ({"regions": ["a b"]}, "/regions/0")],
)
async def test_bad_regions_are_pointed_at(world: World, body: dict[str, Any], pointer: str) -> None:
    answer = await call(negotiate, "POST", body=body)
    assert answer.problem() == (422, "invalid-request")
    assert answer.body["errors"][0]["pointer"] == pointer


async def test_an_empty_body_needs_no_content_type(world: World) -> None:
    assert (await call(negotiate, "POST", body=b"", headers={"Content-Type": "text/plain"})).status == 200
    assert (await call(negotiate, "POST", body=b"{", headers={"Content-Type": "text/plain"})).problem()[0] == 415
