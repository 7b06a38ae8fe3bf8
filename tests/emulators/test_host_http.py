"""The HTTP trigger: routes, methods, keys, bodies, limits, errors."""

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio
from yarl import URL

from tests.emulators.host_process import (
    APP,
    Process,
    Seen,
    client,
    environment,
    eventually,
    fail_to_start,
    free_port,
    running_host,
)

KEYS = ("--function-key", "sesame", "--master-key", "skeleton")


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture
def seen(tmp_path: Path) -> Seen:
    return Seen(tmp_path / "seen.jsonl")


@pytest.fixture(scope="module")
def shared_seen(tmp_path_factory: pytest.TempPathFactory) -> Seen:
    return Seen(tmp_path_factory.mktemp("host") / "seen.jsonl")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def host(shared_seen: Seen) -> AsyncIterator[Process]:
    settings = {"AzureWebJobs_switched_off_Disabled": "1", "FUNCTIONS_REQUEST_BODY_SIZE_LIMIT": "100000"}
    async with running_host(*KEYS, environment=environment(shared_seen, **settings)) as process:
        yield process


@pytest_asyncio.fixture(loop_scope="module")
async def http(host: Process) -> AsyncIterator[aiohttp.ClientSession]:
    async with client(host) as session:
        yield session


async def test_a_function_sees_the_request_as_it_was_sent(http: aiohttp.ClientSession) -> None:
    headers = {"X-One": "1", "Content-Type": "text/weird"}
    async with http.post("/api/echo?a=1&a=2&empty=&b=%C3%A9", data=b"\x00\xffbody", headers=headers) as response:
        seen = await response.json()
    assert seen["method"] == "POST"
    assert seen["url"].endswith("/api/echo?a=1&a=2&empty=&b=%C3%A9")
    assert seen["params"] == {"a": "1,2", "b": "é"}
    assert seen["headers"]["x-one"] == "1"
    assert seen["headers"]["content-type"] == "text/weird"
    assert seen["body"].encode("latin-1") == b"\x00\xffbody"


async def test_status_headers_cookies_and_binary_bodies_come_back(http: aiohttp.ClientSession) -> None:
    async with http.post("/api/binary", data=bytes(range(256))) as response:
        assert response.status == 201
        assert await response.read() == bytes(range(256))[::-1]
        assert response.headers["Content-Type"] == "application/octet-stream"
        assert response.headers["X-Custom"] == "yes"
        assert response.headers.getall("Set-Cookie") == ["a=1; HttpOnly; Path=/", "b=two; Secure"]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/api/items/42", {"function": "item_by_number", "id": "42"}),
        ("/api/items/4x", {"function": "item_by_name", "name": "4x"}),
        ("/api/items/a%20b%7Cc", {"function": "item_by_name", "name": "a b|c"}),
        ("/api/items/special", {"function": "item_special"}),
        ("/API/Items/SPECIAL/", {"function": "item_special"}),
        ("/api/files/a/b.txt", {"function": "files", "method": "GET", "path": "a/b.txt"}),
        ("/api/files", {"function": "files", "method": "GET"}),
        ("/api/maybe", {"function": "maybe"}),
        ("/api/maybe/abc", {"function": "maybe", "word": "abc"}),
    ],
)
async def test_routes_lead_to_the_most_specific_function(
    http: aiohttp.ClientSession, path: str, expected: dict[str, str]
) -> None:
    async with http.get(URL(path, encoded=True)) as response:
        assert await response.json() == expected


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api/nothing", 404),
        ("GET", "/echo", 404),
        ("GET", "/api/maybe/abcde", 404),
        ("GET", "/api/maybe/12", 404),
        ("GET", "/api/fast", 404),
        ("DELETE", "/api/echo", 404),
        ("HEAD", "/api/echo", 200),
        ("HEAD", "/api/fast", 405),
        ("DELETE", "/api/files/x", 200),
        ("GET", "/api/switched-off", 404),
    ],
)
async def test_unknown_paths_and_refused_methods(
    http: aiohttp.ClientSession, method: str, path: str, status: int
) -> None:
    async with http.request(method, path) as response:
        assert response.status == status
        if status >= 400:
            assert await response.read() == b""


@pytest.mark.parametrize(
    ("path", "key", "status"),
    [
        ("/api/guarded", None, 401),
        ("/api/guarded", "wrong", 401),
        ("/api/guarded", "sesame", 200),
        ("/api/guarded", "skeleton", 200),
        ("/api/master", "sesame", 401),
        ("/api/master", "skeleton", 200),
        ("/api/text", "wrong", 200),
        ("/admin/host/status", None, 401),
        ("/admin/host/status", "skeleton", 200),
        ("/admin/host/ping", None, 200),
        ("/admin/other", "skeleton", 404),
    ],
)
async def test_access_keys(http: aiohttp.ClientSession, path: str, key: str | None, status: int) -> None:
    async with http.get(path, headers={} if key is None else {"x-functions-key": key}) as response:
        assert response.status == status
    if key is not None:
        async with http.get(path, params={"code": key}) as response:
            assert response.status == status


async def test_keys_of_a_file_open_only_their_functions(seen: Seen, tmp_path: Path) -> None:
    keys = tmp_path / "keys.json"
    keys.write_text(json.dumps({"functions": {"guarded": {"default": "mine"}, "master": {"default": "other"}}}))
    async with running_host("--keys", str(keys), environment=environment(seen)) as host, client(host) as http:
        for key, status in (("mine", 200), ("other", 401)):
            async with http.get("/api/guarded", headers={"x-functions-key": key}) as response:
                assert response.status == status
        async with http.get("/api/master", headers={"x-functions-key": "other"}) as response:
            assert response.status == 401


async def test_an_unhandled_exception_is_500_without_a_body(http: aiohttp.ClientSession) -> None:
    async with http.get("/api/fails") as response:
        assert response.status == 500
        assert await response.read() == b""


async def test_a_body_over_the_limit_is_413(http: aiohttp.ClientSession) -> None:
    async with http.post("/api/echo", data=b"x" * 100_000) as response:
        assert response.status == 200
    async with http.post("/api/echo", data=b"x" * 100_001) as response:
        assert response.status == 413


async def test_async_functions_run_side_by_side_on_one_loop(http: aiohttp.ClientSession, shared_seen: Seen) -> None:
    """Twenty that wait for one second each are all in the middle at once."""
    answers = await asyncio.gather(*(http.get("/api/wait?seconds=1") for _ in range(20)))
    assert {answer.status for answer in answers} == {200}
    assert max(line["at"] for line in shared_seen.lines("wait-started")) < min(
        line["at"] for line in shared_seen.lines("wait-ended")
    )


async def test_synchronous_functions_run_in_other_threads(http: aiohttp.ClientSession) -> None:
    blocked = asyncio.create_task(_text(http, "/api/wait-sync?seconds=3"))
    async with http.get("/api/echo") as response:
        loop_thread = (await response.json())["thread"]
    assert await _text(http, "/api/text") != f"thread {loop_thread}"
    assert not blocked.done()
    blocked.cancel()


async def _text(http: aiohttp.ClientSession, path: str) -> str:
    async with http.get(path) as response:
        return await response.text()


async def test_requests_beyond_the_limit_are_429(seen: Seen, tmp_path: Path) -> None:
    app = _copy_of_the_app(tmp_path)
    config = json.loads((app / "host.json").read_text())
    config["extensions"]["http"] = {"routePrefix": "", "maxOutstandingRequests": 2, "maxConcurrentRequests": 1}
    (app / "host.json").write_text(json.dumps(config))
    async with running_host("--app", str(app), environment=environment(seen)) as host, client(host) as http:
        waiting = [asyncio.create_task(_text(http, "/wait?seconds=2")) for _ in range(2)]
        await eventually(lambda: len(seen.lines("wait-started")) == 1)
        async with http.get("/echo") as response:
            assert response.status == 429
        await asyncio.gather(*waiting)
        assert [line["kind"] for line in sorted(_waits(seen), key=lambda line: float(line["at"]))] == [
            "wait-started",
            "wait-ended",
        ] * 2
        async with http.get("/echo") as response:
            assert response.status == 200


def _waits(seen: Seen) -> list[dict[str, str]]:
    return seen.lines("wait-started") + seen.lines("wait-ended")


def _copy_of_the_app(directory: Path) -> Path:
    app = directory / "app"
    app.mkdir()
    for name in ("function_app.py", "host.json"):
        (app / name).write_bytes((APP / name).read_bytes())
    return app


async def test_local_settings_fill_what_the_environment_leaves_out_and_allow_origins(
    seen: Seen, tmp_path: Path
) -> None:
    app = _copy_of_the_app(tmp_path)
    local = {"Values": {"ONLY_LOCAL": "file", "BOTH": "file"}, "Host": {"CORS": "http://a.test,http://b.test"}}
    (app / "local.settings.json").write_text(json.dumps(local))
    async with (
        running_host("--app", str(app), environment=environment(seen, BOTH="process")) as host,
        client(host) as http,
    ):
        for name, value in (("ONLY_LOCAL", "file"), ("BOTH", "process")):
            async with http.get(f"/api/setting/{name}") as response:
                assert await response.json() == {"value": value, "cwd": str(app)}
        asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
        async with http.options("/api/echo", headers={"Origin": "http://b.test", **asked}) as response:
            assert response.status == 204
            assert response.headers["Access-Control-Allow-Origin"] == "http://b.test"
            assert response.headers["Access-Control-Allow-Headers"] == "authorization"
        async with http.get("/api/echo", headers={"Origin": "http://evil.test"}) as response:
            assert response.status == 200
            assert "Access-Control-Allow-Origin" not in response.headers


async def test_stopping_waits_for_a_running_invocation(seen: Seen) -> None:
    async with running_host(environment=environment(seen)) as host, client(host) as http:
        answer = asyncio.create_task(_text(http, "/api/wait?seconds=1.5"))
        await eventually(lambda: bool(seen.lines("wait-started")))
        assert await host.stop() == 0
        assert json.loads(await answer) == {"waited": True}


@pytest.mark.parametrize("path", ["/api/wait?seconds=600", "/api/wait-sync?seconds=600"])
async def test_stopping_leaves_an_invocation_that_does_not_end(seen: Seen, path: str) -> None:
    async with running_host("--drain-seconds", "0.2", environment=environment(seen)) as host, client(host) as http:
        answer = asyncio.create_task(_text(http, path))
        await eventually(lambda: bool(seen.lines("wait-started")))
        assert await host.stop() == 0
        with pytest.raises(aiohttp.ClientError):
            await answer


async def test_the_host_ends_with_its_parent(seen: Seen) -> None:
    async with running_host("--exit-with-parent", environment=environment(seen)) as host:
        assert host.child.stdin is not None
        host.child.stdin.close()
        assert await asyncio.wait_for(host.child.wait(), 10) == 0


async def test_log_levels_of_host_json_hold(seen: Seen) -> None:
    port = await free_port()
    child = await asyncio.create_subprocess_exec(
        *(str(APP.parents[2] / ".venv/bin/python"), "-m", "emulators.host", "--app", str(APP), "--port", str(port)),
        cwd=APP.parents[2],
        env=environment(seen),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert child.stdout is not None
    await asyncio.wait_for(child.stdout.readline(), 10)
    async with aiohttp.ClientSession() as http, http.get(f"http://127.0.0.1:{port}/api/chatty") as response:
        assert response.status == 200
    child.terminate()
    _, errors = await asyncio.wait_for(child.communicate(), 10)
    assert b"shouted" in errors
    assert b"whispered" not in errors


async def test_a_taken_port_is_one_clear_line(host: Process, seen: Seen) -> None:
    arguments = ("--app", str(APP), "--port", str(host.ready["port"]))
    code, errors, output = await fail_to_start(*arguments, environment=environment(seen))
    assert code == 1
    assert errors == f"functions host: cannot listen on 127.0.0.1:{host.ready['port']}: Address already in use\n"
    assert output == b""


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("raise SystemExit('Redis: set it to host:port')", "Redis: set it to host:port ("),
        ("raise RuntimeError('two\\nlines')", "RuntimeError: two lines ("),
        ("import not_there", "ModuleNotFoundError: No module named 'not_there' ("),
        ("x = 1", "Could not find top level function app instances in function_app.py"),
        (
            "import azure.functions as func\napp = func.FunctionApp()\n@app.route('x')\ndef f(wrong): return ''",
            "cannot load the f function: the following parameters are declared in Python",
        ),
        (
            "import azure.functions as func\napp = func.FunctionApp()\n@app.route('{a')\ndef f(req): return ''",
            "function f: route '{a':",
        ),
        (
            "import azure.functions as func\napp = func.FunctionApp()\n"
            "@app.timer_trigger('t', '%NOT_SET%')\ndef f(t: func.TimerRequest): pass",
            "function f: schedule: '%NOT_SET%' does not resolve to a value; set the setting NOT_SET",
        ),
        (
            "import azure.functions as func\napp = func.FunctionApp()\n"
            "@app.event_hub_message_trigger('e', 'Nowhere', 'hub')\ndef f(e: func.EventHubEvent): pass",
            "function f: the setting Nowhere (an Event Hubs connection string) or",
        ),
    ],
)
async def test_an_app_that_does_not_load_is_one_clear_line(tmp_path: Path, source: str, message: str) -> None:
    (tmp_path / "function_app.py").write_text(source)
    (tmp_path / "host.json").write_text('{"version": "2.0"}')
    code, errors, output = await fail_to_start("--app", str(tmp_path), "--port", "0")
    assert code == 1
    assert output == b""
    lines = [line for line in errors.splitlines() if "Auth level is not applied" not in line]
    assert len(lines) == 1
    assert lines[0].startswith(f"functions host: {message}")
