"""`GET /dashboard/…`."""

import gzip
import hashlib
import re

import azure.functions as func
import pytest

from functions.dashboard import dashboard
from shared import bootstrap
from shared.web_files import FOLDER, security_headers, web_files
from tests.functions.conftest import World, call


async def test_the_folder_without_its_slash_is_redirected(world: World) -> None:
    for address, status in (("/api/dashboard", 302), ("/api/dashboard/", 200), ("/api/dashboard/?code=1", 200)):
        request = func.HttpRequest("GET", f"http://localhost{address}", body=b"")
        response = await dashboard(request)
        assert response.status_code == status
    assert (await dashboard(func.HttpRequest("GET", "http://localhost/api/dashboard", body=b""))).headers[
        "Location"
    ] == "dashboard/"


async def test_pages_may_load_nothing_from_elsewhere(world: World) -> None:
    answer = await call(dashboard, token=None, path="index.html")
    assert (answer.status, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    policy = dict(each.split(" ", 1) for each in answer.headers["Content-Security-Policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["worker-src"] == "'self'"
    assert policy["connect-src"] == "'self' https://login.example wss://pulse.webpubsub.azure.com"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize(
    ("path", "media_type"),
    [("pulse.js", "text/javascript"), ("styles/base.css", "text/css"), ("icon.svg", "image/svg+xml")],
)
async def test_files_are_typed_compressed_and_sent_once(world: World, path: str, media_type: str) -> None:
    plain = await call(dashboard, token=None, path=path)
    assert plain.headers["content-type"] == f"{media_type}; charset=utf-8"
    small = await call(dashboard, token=None, path=path, headers={"Accept-Encoding": "gzip"})
    assert gzip.decompress(small.raw) == plain.raw == (FOLDER / path).read_bytes()
    assert plain.headers["ETag"] == small.headers["ETag"]
    assert plain.headers["ETag"].startswith('W/"'), "a strong one would belong to one of the two codings"
    again = await call(dashboard, token=None, path=path, headers={"If-None-Match": plain.headers["ETag"]})
    assert (again.status, again.raw) == (304, b"")


async def test_there_is_nothing_else(world: World) -> None:
    for path in ("nothing.html", "../shared/settings.py", "..%2fhost.json", "/etc/passwd", "package.json", "app"):
        assert (await call(dashboard, token=None, path=path)).problem() == (404, "not-found")
    assert (await call(dashboard, "POST", token=None, path="index.html")).problem() == (405, "method-not-allowed")


async def test_the_dashboard_needs_nothing_that_may_be_down(world: World) -> None:
    await world.redis.aclose()
    bootstrap.override(World(world.settings))
    assert (await call(dashboard, token=None, path="index.html")).status == 200


def test_a_local_stack_is_reached_without_encryption() -> None:
    policy = security_headers("http://127.0.0.1:9/tenant", "http://127.0.0.1:8")["Content-Security-Policy"]
    assert "connect-src 'self' http://127.0.0.1:9 ws://127.0.0.1:8;" in policy


def test_a_page_from_elsewhere_may_call_the_api_too() -> None:
    headers = security_headers(
        "https://login.example/t/v2.0", "https://n.webpubsub.azure.com/", "https://a.example/api"
    )
    policy = headers["Content-Security-Policy"]
    assert "connect-src 'self' https://a.example https://login.example wss://n.webpubsub.azure.com;" in policy


def test_no_page_has_scripts_or_styles_of_its_own() -> None:
    """The policy would stop them; so would it stop a page that loads from elsewhere."""
    for path, file in web_files().items():
        if file.media_type == "text/html":
            page = file.body.decode()
            assert "<style" not in page, path
            assert "style=" not in page, path
            assert "//" not in page.replace("<!doctype html>", ""), path
            assert page.count("<script") == page.count("src=") - page.count("<img"), path


def test_vendored_files_are_the_ones_named() -> None:
    rows = re.findall(
        r"^\| `([^`]+)` .*\| `([0-9a-f]{64})` \|$", (FOLDER / "vendor/README.md").read_text(), re.MULTILINE
    )
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (FOLDER / "vendor").glob("*.js")}
    assert found == dict(rows)
