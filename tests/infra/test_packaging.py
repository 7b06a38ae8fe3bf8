"""The package that `func azure functionapp publish` sends, installed and run as Azure would run it."""

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.emulators.host_process import Process, spawn
from tests.infra.conftest import CHECKOUT
from tests.redis_server import running_redis
from tools import smoke
from tools.package import build, files_to_publish

SECRET = "bG9jYWwtZW11bGF0b3JzLW9ubHktbm90LWEtc2VjcmV0IQ=="
DEADLINE = 60.0


@dataclass(frozen=True)
class Package:
    folder: Path
    python: Path
    files: tuple[str, ...]


@pytest.fixture(scope="session")
def package(tmp_path_factory: pytest.TempPathFactory) -> Package:
    """The package's files in a folder, and an interpreter that has its requirements.txt and nothing else."""
    folder = tmp_path_factory.mktemp("package")
    files = build(CHECKOUT, folder)
    venv = tmp_path_factory.mktemp("venv")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True)
    python = venv / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    install = ["--quiet", "--only-binary=:all:", "--disable-pip-version-check", "-r", str(folder / "requirements.txt")]
    subprocess.run([sys.executable, "-m", "pip", "--python", str(python), "install", *install], check=True)
    return Package(folder, python, tuple(files))


def tracked() -> set[str]:
    command = ["git", "ls-files", "-z", "-co", "--exclude-standard"]
    listed = subprocess.run(command, cwd=CHECKOUT, capture_output=True, check=True)
    return {path for path in listed.stdout.decode().split("\0") if path and (CHECKOUT / path).is_file()}


def test_the_package_holds_the_product_and_nothing_else() -> None:
    files = set(files_to_publish(CHECKOUT))
    assert {"function_app.py", "host.json", "requirements.txt"} <= files
    product = {path for path in tracked() if path.partition("/")[0] in {"functions", "shared", "web"}}
    assert product <= files
    assert {path for path in files if "/" not in path} == {"function_app.py", "host.json", "requirements.txt"}
    assert {path.partition("/")[0] for path in files if "/" in path} <= {"functions", "shared", "web"}
    assert {Path(path).suffix for path in files} >= {".py", ".lua", ".sql"}
    assert not [path for path in files if "__pycache__" in path or path.endswith(".pyc")]


def test_what_python_compiled_beside_the_sources_stays_out(tmp_path: Path) -> None:
    """Wherever the app has run from this folder before."""
    shutil.copy(CHECKOUT / ".funcignore", tmp_path)
    for source in ("function_app", "functions/heartbeat", "shared/domain/session"):
        compiled = tmp_path / source
        (compiled.parent / "__pycache__").mkdir(parents=True)
        (compiled.parent / "__pycache__" / f"{compiled.name}.cpython-313.pyc").touch()
        compiled.with_suffix(".py").touch()
    assert sorted(files_to_publish(tmp_path)) == [
        "function_app.py",
        "functions/heartbeat.py",
        "shared/domain/session.py",
    ]


@pytest.mark.parametrize(
    "leftover",
    [
        ".azure/dev/.env",
        ".vscode/settings.json",
        ".venv/lib/x.py",
        "facility-pulse_env/lib/x.py",
        "facility_pulse.egg-info/PKG-INFO",
        "build/lib/x.py",
        "facility-pulse.zip",
        "local.settings.json",
    ],
)
def test_what_tools_leave_in_a_checkout_stays_out(tmp_path: Path, leftover: str) -> None:
    """Neither `func` nor `azd` sends it, and git does not take it up."""
    for name in (".funcignore", ".gitignore"):
        shutil.copy(CHECKOUT / name, tmp_path)
    (tmp_path / leftover).parent.mkdir(parents=True, exist_ok=True)
    for name in (leftover, "function_app.py"):
        (tmp_path / name).touch()
    assert list(files_to_publish(tmp_path)) == ["function_app.py"]
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    for excluded in ("--exclude-from=.funcignore", "--exclude-from=.gitignore"):
        command = ["git", "ls-files", "-o", excluded]
        listed = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout.splitlines()
        assert leftover not in listed, excluded


def test_azd_restore_finds_nothing_to_install() -> None:
    """It runs `pip install .`, which refuses several folders of packages at the root unless told which to take."""
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())
    assert project["build-system"]["build-backend"] == "setuptools.build_meta"
    assert project["tool"]["setuptools"]["packages"] == []
    assert "dependencies" not in project["project"]


def test_core_tools_and_azd_read_the_ignore_file_alike() -> None:
    """The one takes a line as the beginning of a path, the other as a pattern of .gitignore."""
    command = ["git", "ls-files", "-z", "-coi", "--exclude-from=.funcignore"]
    listed = subprocess.run(command, cwd=CHECKOUT, capture_output=True, check=True)
    ignored = set(listed.stdout.decode().split("\0"))
    never = {".funcignore", ".gitignore"}
    assert tracked() - ignored - never == {path for path in files_to_publish(CHECKOUT) if path in tracked()}


def test_everything_that_gets_installed_is_pinned(package: Package) -> None:
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "--python", str(package.python), "list", "--format=json"],
        capture_output=True,
        check=True,
    )
    installed = {normal(item["name"]): item["version"] for item in json.loads(listed.stdout)}
    text = (package.folder / "requirements.txt").read_text()
    pinned = {normal(name): version for name, version in re.findall(r"(?m)^([\w.-]+)(?:\[\w+\])?==(\S+)", text)}
    assert installed == pinned


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@asynccontextmanager
async def services(package: Package, folder: Path) -> AsyncIterator[dict[str, str]]:
    """The settings of the product beside services of its own, with the contract's directory loaded."""
    async with AsyncExitStack() as stack:

        async def start(module: str, *arguments: str) -> Process:
            process = await spawn(module, "--port", "0", *arguments)
            stack.push_async_callback(process.stop)
            return process

        redis = stack.enter_context(running_redis(folder))
        hubs = await start("emulators.event_hubs", "--hub", "heartbeats", "--key-name", "key", "--key", SECRET)
        push = await start("emulators.web_pubsub", "--access-key", SECRET)
        identity = await start("emulators.identity", "--audience", "facility-pulse", "--client-id", "web")
        yield {
            "EventHubConnection": f"Endpoint=sb://127.0.0.1:{hubs.ready['port']};SharedAccessKeyName=key;"
            f"SharedAccessKey={SECRET};UseDevelopmentEmulator=true;",
            "EVENT_HUB_NAME": "heartbeats",
            "EVENT_HUB_CONSUMER_GROUP": "$Default",
            "Redis": f"127.0.0.1:{redis}",
            "WebPubSub": f"Endpoint=http://127.0.0.1:{push.ready['port']};AccessKey={SECRET};Version=1.0;",
            "SqlMonitor": f"sqlite:///{folder / 'monitor.db'}",
            "SqlCore": f"sqlite:///{folder / 'core.db'}",
            "AUTH_ISSUER": f"http://127.0.0.1:{identity.ready['port']}",
            "AUTH_AUDIENCE": "facility-pulse",
            "AUTH_CLIENT_ID": "web",
            "SWEEP_SCHEDULE": "*/1 * * * * *",
            "MONITOR_SCHEDULE": "0 * * * * *",
        }


def write_directory(folder: Path) -> Path:
    folder.mkdir()
    (folder / "regions.csv").write_text("region_id,name\nr-1,North\n")
    (folder / "counties.csv").write_text("county_id,region_id,name\nc-1,r-1,Alder\n")
    (folder / "facilities.csv").write_text("facility_id,county_id,name\nf-1,c-1,Alder 1\n")
    (folder / "users.csv").write_text("user_id,name\nu-1,Ada\n")
    (folder / "facility_users.csv").write_text("user_id,facility_id\nu-1,f-1\n")
    return folder


@pytest.fixture
def only_emulators(tmp_path: Path) -> Path:
    """A folder for PYTHONPATH where the emulators are found and nothing of the product is."""
    folder = tmp_path / "path"
    folder.mkdir()
    (folder / "emulators").symlink_to(CHECKOUT / "emulators", target_is_directory=True)
    return folder


async def run_host(package: Package, path: Path, settings: dict[str, str], log: Path) -> tuple[Any, int]:
    machine = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    with log.open("wb") as file:
        child = await asyncio.create_subprocess_exec(
            *(str(package.python), "-P", "-m", "emulators.host", "--app", str(package.folder), "--port", "0"),
            "--exit-with-parent",
            cwd=path,
            env=machine | settings | {"PYTHONPATH": str(path), "PYTHONDONTWRITEBYTECODE": "1"},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=file,
        )
    assert child.stdout is not None
    line = await asyncio.wait_for(child.stdout.readline(), DEADLINE)
    assert line, log.read_text()
    return child, json.loads(line)["port"]


async def test_the_package_runs_on_what_its_requirements_install(
    package: Package, only_emulators: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Microsoft's worker, from the package's own environment, serves the API and carries a heartbeat to its push."""
    log = tmp_path / "host.log"
    async with services(package, tmp_path) as settings:
        child, port = await run_host(package, only_emulators, settings, log)
        try:
            api = f"http://127.0.0.1:{port}/api"
            async with aiohttp.ClientSession() as session:
                async with session.get(f"{api}/config") as response:
                    assert response.status == 200
                    assert (await response.json())["issuer"] == settings["AUTH_ISSUER"]
                async with session.get(f"{api}/dashboard/") as response:
                    assert (response.status, response.content_type) == (200, "text/html")
                async with session.post(f"{api}/heartbeat", json={"sessionId": "s-1"}) as response:
                    assert response.status == 401
                    assert response.content_type == "application/problem+json"
            # As after a first deployment: the app answers, and its directory comes a little later.
            arguments = [api, "--identity", settings["AUTH_ISSUER"], "--wait-seconds", "30"]
            smoking = asyncio.create_task(asyncio.to_thread(smoke.main, arguments))
            said = ""
            async with asyncio.timeout(DEADLINE):
                while "for the directory" not in said:
                    assert not smoking.done(), f"{said}{capsys.readouterr().err}{log.read_text()[-4000:]}"
                    await asyncio.sleep(0.05)
                    said += capsys.readouterr().out
            load = await asyncio.create_subprocess_exec(
                *(str(package.python), "-m", "shared.load_directory", str(write_directory(tmp_path / "directory"))),
                cwd=package.folder,
                env=settings | {"PYTHONDONTWRITEBYTECODE": "1"},
            )
            assert await asyncio.wait_for(load.wait(), DEADLINE) == 0
            code = await smoking
            output = capsys.readouterr()
            assert code == smoke.PASSED, f"{output.out}{output.err}{log.read_text()[-4000:]}"
            assert "f-1 pushed as online" in output.out
        finally:
            child.terminate()
            assert await asyncio.wait_for(child.wait(), DEADLINE) == 0
