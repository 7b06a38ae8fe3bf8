"""The running system against its own OpenAPI document, judged by schemathesis: whatever fits is taken, answered as
described, and whatever does not is refused."""

import asyncio
import sys
from pathlib import Path

from tests.e2e.front_ends import ADMIN
from tests.e2e.system import SETTINGS, System, eventually, running_system

GATEWAY = "presence.gateway"
EXAMPLES = 10
ACCEPTED = '["2xx", "3xx", "401", "403", "404", "410", "422", "429"]'
# What no schema can say: that a cursor must have been given, and with the same filters, how far `from` and `to` may
# lie apart, and which users are online. Ended sessions may turn up again by chance, and are refused.
CONFIGURATION = """
[checks.positive_data_acceptance]
expected-statuses = ["2xx", "3xx", "401", "403", "404", "410", "429"]

[[operations]]
include-name = "GET /facilities/{{facilityId}}/history"
checks.positive_data_acceptance.expected-statuses = {accepted}

[[operations]]
include-name = "GET /facilities/{{facilityId}}/activity"
checks.positive_data_acceptance.expected-statuses = {accepted}

[[operations]]
include-name = "GET /regions/{{regionId}}/activity"
checks.positive_data_acceptance.expected-statuses = {accepted}

[[operations]]
include-name = "GET /agents"
parameters = {{ cursor = "{cursor}" }}
checks.positive_data_acceptance.expected-statuses = {accepted}

[[operations]]
include-name = "PUT /agents/{{userId}}/status"
parameters = {{ userId = "u-51" }}
"""


async def test_schemathesis_finds_no_violation(tmp_path: Path) -> None:
    settings = {**SETTINGS, "SESSION_TTL_SECONDS": "600", "HEARTBEAT_LIMIT_PER_USER": "1000000"}
    async with running_system(tmp_path / "stack", settings) as system:
        configuration = tmp_path / "schemathesis.toml"
        configuration.write_text(CONFIGURATION.format(cursor=await a_cursor(system), accepted=ACCEPTED))
        document = await system.people.call("GET", "/openapi.json")
        # The document's own address is the one that is not called.
        calls = sum(len(methods) for methods in document.body["paths"].values()) - 1
        token = await system.people.token("u-51", ADMIN, GATEWAY)
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "schemathesis.cli", "--config-file", str(configuration)),
            *("run", f"{system.stack.addresses.api}/openapi.json"),
            *("--header", f"Authorization: Bearer {token}"),
            *("--checks", "all", "--phases", "examples,coverage,fuzzing", "--mode", "all"),
            *("--max-examples", str(EXAMPLES), "--seed", "1", "--no-color"),
            cwd=tmp_path,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate()
    report = output.decode()
    assert process.returncode == 0, report
    assert f"Tested: {calls}" in report, report


async def a_cursor(system: System) -> str:
    """Returns a cursor of the list of agents, two of whom are there."""
    for user in ("u-51", "u-52"):
        await system.people.beat(user)
    token = await system.people.token("admin", ADMIN)

    async def given() -> str:
        answer = await system.people.call("GET", "/agents?limit=1", token=token)
        return str(answer.body["cursor"] or "")

    return await eventually(given, "a second page of agents")
