"""The smoke test, against a running local stack."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio

from emulators.stack import Stack
from tests.infra.conftest import CHECKOUT, Deploy
from tools import smoke


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    async with Stack(tmp_path_factory.mktemp("stack"), {}, hosts=1) as running:
        yield running


async def run(stack: Stack, *arguments: str) -> tuple[int, str, str]:
    addresses = stack.addresses
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tools.smoke", addresses.api, "--identity", addresses.identity, *arguments),
        cwd=CHECKOUT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await asyncio.wait_for(child.communicate(), 60)
    assert child.returncode is not None
    return child.returncode, output.decode(), errors.decode()


async def token_for(stack: Stack, user: str) -> str:
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{stack.addresses.identity}/token", json={"sub": user}) as response,
    ):
        return str((await response.json())["access_token"])


@pytest.mark.asyncio(loop_scope="module")
async def test_it_passes_when_the_push_comes_and_leaves_nobody_online(stack: Stack) -> None:
    code, output, errors = await run(stack)
    assert (code, errors) == (smoke.PASSED, "")
    assert "f-1 pushed as online" in output
    assert output.endswith("smoke: passed\n")
    # It left, so the facility is offline again after the grace; until then a second run is told so.
    headers = {"Authorization": f"Bearer {await token_for(stack, 'u-1')}"}
    async with aiohttp.ClientSession() as session:
        async with asyncio.timeout(30):
            while True:
                async with session.get(f"{stack.addresses.api}/facilities/f-1", headers=headers) as response:
                    facility = await response.json()
                if facility["status"] == "offline":
                    break
                await asyncio.sleep(0.2)
    assert facility["reason"] == "left"


@pytest.mark.asyncio(loop_scope="module")
async def test_a_user_without_a_facility_decides_nothing(stack: Stack) -> None:
    code, _, errors = await run(stack, "--user", "nobody")
    assert code == smoke.INCONCLUSIVE
    assert "belongs to no facility" in errors


@pytest.mark.asyncio(loop_scope="module")
async def test_a_refused_token_fails_with_the_answer(stack: Stack) -> None:
    code, _, errors = await run(stack, "--token", "not.a.token")
    assert code == smoke.FAILED
    assert "GET /regions: 401" in errors


@pytest.mark.asyncio(loop_scope="module")
async def test_the_availability_tests_of_azure_find_what_they_look_for(stack: Stack, deployed: Deploy) -> None:
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{stack.addresses.api}/health") as response,
    ):
        status, body = response.status, await response.text()
    rules = [test.properties["ValidationRules"] for test in deployed().of_type("Microsoft.Insights/webtests")]
    assert [rule["ExpectedHttpStatusCode"] for rule in rules if "ExpectedHttpStatusCode" in rule] == [status]
    [looked_for] = [rule["ContentValidation"]["ContentMatch"] for rule in rules if "ContentValidation" in rule]
    assert looked_for in body


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(("user", "code"), [("u-2", 0), ("nobody", 0), (None, 1)])
async def test_the_hook_after_a_deployment_fails_only_when_something_is_wrong(
    stack: Stack, tmp_path: Path, user: str | None, code: int
) -> None:
    """The packages are there already, so its `make` has nothing to do."""
    (tmp_path / "make").write_text("#!/bin/sh\n")
    (tmp_path / "make").chmod(0o755)
    token = await token_for(stack, user) if user else "not.a.token"
    child = await asyncio.create_subprocess_exec(
        "sh",
        str(CHECKOUT / "infra" / "hooks" / "postdeploy.sh"),
        env={
            "PATH": f"{tmp_path}:/usr/bin:/bin",
            "SERVICE_API_URI": stack.addresses.api.removesuffix("/api"),
            "SMOKE_TOKEN": token,
            "SMOKE_WAIT_SECONDS": "1",
        },
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await asyncio.wait_for(child.communicate(), 60)
    assert child.returncode == code, f"{output.decode()}{errors.decode()}"


def test_an_address_where_nothing_listens_fails() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tools.smoke", "http://127.0.0.1:9/api", "--token", "a.b.c"],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == smoke.FAILED
    assert done.stderr.startswith("smoke: failed: ")
