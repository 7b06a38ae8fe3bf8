"""The identity emulator: discovery, tokens for the asking, keys, other origins, and the process."""

import asyncio
import json
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import jwt
import pytest

from emulators.identity.settings import Settings, read_users
from tests.emulators.identity_harness import Issuer, running_issuer

DEADLINE = 10.0


@pytest.fixture
async def issuer() -> AsyncIterator[Issuer]:
    async with running_issuer() as running:
        yield running


async def test_discovery_describes_what_is_there(issuer: Issuer) -> None:
    configuration = await issuer.configuration()
    assert configuration["issuer"] == issuer.address
    assert configuration["code_challenge_methods_supported"] == ["S256"]
    for name in ("jwks_uri", "authorization_endpoint", "userinfo_endpoint", "end_session_endpoint"):
        async with issuer.session.get(configuration[name]) as response:
            assert response.status != 404, name


async def test_the_shortcut_answers_with_a_token_that_verifies(issuer: Issuer) -> None:
    status, answer = await issuer.shortcut(sub="u-1", roles=["presence.admin"])
    assert (status, answer["token_type"], answer["expires_in"]) == (200, "Bearer", 3600)
    claims = await issuer.verified(answer["access_token"])
    assert (claims["sub"], claims["roles"], claims["name"]) == ("u-1", ["presence.admin"], "Demo user 1")
    assert claims["exp"] - claims["iat"] == 3600
    assert claims["nbf"] == claims["iat"]
    assert claims["jti"]
    assert jwt.get_unverified_header(answer["access_token"])["alg"] == "RS256"


async def test_the_shortcut_sets_audience_and_lifetime(issuer: Issuer) -> None:
    _, other = await issuer.shortcut(sub="u-1", aud="elsewhere", expiresIn=5)
    claims = await issuer.verified(other["access_token"], audience="elsewhere")
    assert claims["exp"] - claims["iat"] == other["expires_in"] == 5
    for seconds in (0, -60):
        _, expired = await issuer.shortcut(sub="u-1", expiresIn=seconds)
        with pytest.raises(jwt.ExpiredSignatureError):
            await issuer.verified(expired["access_token"])


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"sub": ""},
        {"sub": 1},
        {"sub": "u-1", "roles": "presence.admin"},
        {"sub": "u-1", "expiresIn": "5"},
        {"sub": "u-1", "aud": ["a"]},
    ],
)
async def test_the_shortcut_refuses_what_it_does_not_understand(issuer: Issuer, body: dict[str, object]) -> None:
    status, answer = await issuer.shortcut(**body)
    assert (status, answer["error"]) == (400, "invalid_request")


async def test_after_a_rotation_new_and_old_tokens_verify(issuer: Issuer) -> None:
    _, before = await issuer.shortcut(sub="u-1")
    async with issuer.session.post(f"{issuer.address}/rotate-keys") as response:
        key_id = (await response.json())["kid"]
    _, after = await issuer.shortcut(sub="u-2")

    assert (await issuer.verified(before["access_token"]))["sub"] == "u-1"
    assert (await issuer.verified(after["access_token"]))["sub"] == "u-2"
    assert jwt.get_unverified_header(after["access_token"])["kid"] == key_id
    assert jwt.get_unverified_header(before["access_token"])["kid"] != key_id


async def test_a_data_directory_keeps_tokens_valid_across_a_restart(tmp_path: Path) -> None:
    settings = Settings(issuer="", data_dir=tmp_path / "identity")
    async with running_issuer(settings) as first:
        token = (await first.shortcut(sub="u-1"))[1]["access_token"]
    async with running_issuer(settings) as second:
        jwks = jwt.PyJWKClient(f"{second.address}/jwks.json")
        key = await asyncio.to_thread(jwks.get_signing_key_from_jwt, token)
    assert jwt.decode(token, key, algorithms=["RS256"], audience="facility-pulse")["sub"] == "u-1"
    assert (tmp_path / "identity" / "signing-keys.json").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("path", ["/.well-known/openid-configuration", "/jwks.json", "/token", "/userinfo"])
async def test_browsers_of_other_origins_may_call(issuer: Issuer, path: str) -> None:
    async with issuer.session.options(
        issuer.address + path, headers={"Origin": "http://localhost:3000", "Access-Control-Request-Method": "POST"}
    ) as response:
        assert response.status == 204
        assert response.headers["Access-Control-Allow-Origin"] == "*"
        assert "Authorization" in response.headers["Access-Control-Allow-Headers"]
    async with issuer.session.get(issuer.address + path) as response:
        assert response.headers["Access-Control-Allow-Origin"] == "*"


@pytest.mark.parametrize("authorization", ["", "Basic eA==", "Bearer x.y.z"])
async def test_userinfo_needs_a_good_token(issuer: Issuer, authorization: str) -> None:
    async with issuer.session.get(f"{issuer.address}/userinfo", headers={"Authorization": authorization}) as response:
        assert response.status == 401
        assert response.headers["WWW-Authenticate"].startswith("Bearer")


def test_users_come_from_a_csv_file(tmp_path: Path) -> None:
    file = tmp_path / "users.csv"
    file.write_text("user_id,name\nu-1,Ada Lovelace\nu-2,Łukasz\n", encoding="utf-8")
    assert read_users(file) == {"u-1": "Ada Lovelace", "u-2": "Łukasz"}
    file.write_text("id,name\nu-1,Ada\n", encoding="utf-8")
    with pytest.raises(ValueError, match="user_id and name"):
        read_users(file)


@asynccontextmanager
async def started(*arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "emulators.identity", *arguments),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


@pytest.mark.parametrize("end", ["signal", "stdin"])
async def test_the_process_announces_itself_and_ends_in_order(end: str) -> None:
    async with started("--port", "0", "--exit-with-parent") as process:
        assert process.stdout is not None
        assert process.stdin is not None
        ready = json.loads(await asyncio.wait_for(process.stdout.readline(), DEADLINE))
        assert ready == {"event": "ready", "port": ready["port"], "issuer": f"http://127.0.0.1:{ready['port']}"}
        async with aiohttp.ClientSession() as session, session.get(f"{ready['issuer']}/health") as response:
            assert response.status == 200
        if end == "signal":
            process.send_signal(signal.SIGTERM)
        else:
            process.stdin.close()
        assert await asyncio.wait_for(process.wait(), DEADLINE) == 0


async def test_what_keeps_the_process_from_starting_is_one_clear_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        for arguments, problem in (
            (["--port", port], f"cannot listen on 127.0.0.1:{port}"),
            (["--users", str(tmp_path / "absent.csv")], "absent.csv"),
        ):
            async with started(*arguments) as process:
                output, errors = await asyncio.wait_for(process.communicate(), DEADLINE)
            assert (process.returncode, output, len(errors.splitlines())) == (1, b"", 1)
            assert problem in errors.decode()
