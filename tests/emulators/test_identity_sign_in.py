"""Signing in at the identity emulator: the page, codes with PKCE, refresh tokens, errors, logout."""

import base64
import hashlib
import re
from collections.abc import AsyncIterator
from html.parser import HTMLParser
from typing import Any

import pytest

from emulators.identity.settings import Settings
from tests.emulators.identity_harness import REQUEST, VERIFIER, Issuer, running_issuer


@pytest.fixture
async def issuer() -> AsyncIterator[Issuer]:
    async with running_issuer() as running:
        yield running


class Form(HTMLParser):
    """The inputs and buttons of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.inputs: dict[str, dict[str, str | None]] = {}
        self.users: list[str | None] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        if tag == "input":
            self.inputs[attributes["name"] or ""] = attributes
        elif tag == "button" and attributes.get("name") == "user":
            self.users.append(attributes["value"])


async def page(issuer: Issuer, **changes: str) -> tuple[int, str]:
    async with issuer.session.get(
        f"{issuer.address}/authorize", params=REQUEST | changes, allow_redirects=False
    ) as response:
        return response.status, await response.text()


async def test_a_user_signs_in_with_code_and_pkce(issuer: Issuer) -> None:
    status, html = await page(issuer)
    form = Form(html)
    assert status == 200
    assert form.users == [f"u-{number}" for number in range(1, 9)]
    sent = {name: str(form.inputs[name]["value"]) for name in REQUEST}
    assert sent == REQUEST

    answer = await issuer.choose(user="u-2")
    assert (answer["state"], answer["iss"], answer["from"]) == ("a state & more", issuer.address, "sign-in")
    status, tokens = await issuer.redeem(answer["code"])

    assert status == 200
    access = await issuer.verified(tokens["access_token"])
    identity = await issuer.verified(tokens["id_token"], audience="facility-pulse-web")
    assert (access["sub"], access["roles"], access["scope"]) == ("u-2", [], "openid profile")
    assert (identity["sub"], identity["nonce"], identity["name"]) == ("u-2", "n-1", "Demo user 2")
    headers = {"Authorization": f"Bearer {tokens['access_token']}"}
    async with issuer.session.get(f"{issuer.address}/userinfo", headers=headers) as response:
        assert await response.json() == {
            "sub": "u-2",
            "name": "Demo user 2",
            "roles": [],
            "preferred_username": "u-2",
        }


async def test_any_user_id_can_be_typed_and_made_administrator(issuer: Issuer) -> None:
    answer = await issuer.choose(user_id=" u-600 ", admin="yes")
    _, tokens = await issuer.redeem(answer["code"])
    claims = await issuer.verified(tokens["access_token"])
    assert (claims["sub"], claims["roles"]) == ("u-600", ["presence.admin"])


async def test_a_login_hint_is_filled_in(issuer: Issuer) -> None:
    _, html = await page(issuer, login_hint="u-42")
    assert Form(html).inputs["user_id"]["value"] == "u-42"


async def test_a_user_id_that_cannot_be_is_asked_for_again(issuer: Issuer) -> None:
    choice = REQUEST | {"user_id": "two words", "admin": "yes"}
    async with issuer.session.post(f"{issuer.address}/authorize", data=choice) as response:
        assert response.status == 400
        form = Form(html := await response.text())
    assert 'role="alert"' in html
    assert form.inputs["user_id"]["value"] == "two words"
    assert "checked" in form.inputs["admin"]
    assert form.inputs["state"]["value"] == REQUEST["state"]


async def test_what_comes_from_outside_is_escaped() -> None:
    markup = '"><script>alert(1)</script>'
    async with running_issuer(Settings(issuer="", users={markup: markup})) as issuer:
        _, html = await page(issuer, state=markup, nonce=markup, login_hint=markup)
        _, notice = await page(issuer, client_id=markup)
        async with issuer.session.get(f"{issuer.address}/authorize", params=REQUEST) as response:
            policy = response.headers["Content-Security-Policy"]
    assert "<script" not in html + notice
    # state, nonce, login_hint, and the user's button with value, name and id
    assert html.count("&lt;script&gt;") == 6
    style = re.search("<style>(.*?)</style>", html, re.DOTALL)
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert policy.startswith(f"default-src 'none'; style-src 'sha256-{digest}'")


@pytest.mark.parametrize(
    "change",
    [
        {"client_id": "another"},
        {"redirect_uri": "https://evil.example/"},
        {"redirect_uri": "http://127.0.0.1.evil.example/"},
        {"redirect_uri": "javascript:alert(1)"},
        {"redirect_uri": "http://[::1/"},
        {"redirect_uri": ""},
    ],
)
async def test_an_unknown_client_is_told_on_the_page_and_never_redirected(
    issuer: Issuer, change: dict[str, str]
) -> None:
    status, html = await page(issuer, **change)
    assert (status, Form(html).inputs) == (400, {})
    async with issuer.session.post(
        f"{issuer.address}/authorize", data=REQUEST | change | {"user": "u-1"}, allow_redirects=False
    ) as response:
        assert response.status == 400


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"response_mode": "fragment"}, "invalid_request"),
        ({"code_challenge": ""}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"prompt": "none"}, "login_required"),
    ],
)
async def test_other_errors_go_back_to_the_client(issuer: Issuer, change: dict[str, str], error: str) -> None:
    answer = await issuer.choose(user="u-1", **change)
    assert (answer["error"], answer["state"], answer["iss"]) == (error, REQUEST["state"], issuer.address)
    assert "code" not in answer


@pytest.mark.parametrize(
    "uri", ["http://localhost:3000/callback", "http://[::1]:8080/", "https://pulse.example/auth?x=1"]
)
async def test_loopback_and_registered_addresses_may_be_returned_to(uri: str) -> None:
    async with running_issuer(Settings(issuer="", redirect_uris=("https://pulse.example/auth?x=1",))) as issuer:
        status, _ = await page(issuer, redirect_uri=uri)
    assert status == 200


async def test_a_code_is_used_once_and_its_reuse_revokes(issuer: Issuer) -> None:
    code = (await issuer.choose(user="u-1"))["code"]
    _, tokens = await issuer.redeem(code)

    status, answer = await issuer.redeem(code)
    assert (status, answer["error"]) == (400, "invalid_grant")

    status, answer = await refresh(issuer, tokens["refresh_token"])
    assert (status, answer["error"]) == (400, "invalid_grant")


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"code_verifier": VERIFIER.upper()}, "invalid_grant"),
        ({"redirect_uri": "http://127.0.0.1:4711/"}, "invalid_grant"),
        ({"code": "unknown"}, "invalid_grant"),
        ({"client_id": "another"}, "invalid_client"),
        ({"code_verifier": ""}, "invalid_request"),
        ({"redirect_uri": ""}, "invalid_request"),
    ],
)
async def test_a_code_needs_what_it_was_issued_for(issuer: Issuer, change: dict[str, str], error: str) -> None:
    code = (await issuer.choose(user="u-1"))["code"]
    status, answer = await issuer.redeem(**({"code": code} | change))
    assert (status, answer["error"]) == (400, error)


async def test_a_code_expires_after_a_minute(issuer: Issuer) -> None:
    code = (await issuer.choose(user="u-1"))["code"]
    issuer.clock.passed = 60
    status, answer = await issuer.redeem(code)
    assert (status, answer["error"]) == (400, "invalid_grant")


async def refresh(issuer: Issuer, token: str, client_id: str = "facility-pulse-web") -> tuple[int, dict[str, Any]]:
    return await issuer.grant(grant_type="refresh_token", refresh_token=token, client_id=client_id)


async def test_refresh_tokens_rotate_and_a_stolen_one_revokes_them_all(issuer: Issuer) -> None:
    _, first = await issuer.redeem((await issuer.choose(user="u-1", admin="yes"))["code"])
    status, second = await refresh(issuer, first["refresh_token"])
    assert status == 200
    claims = await issuer.verified(second["access_token"])
    assert (claims["sub"], claims["roles"]) == ("u-1", ["presence.admin"])
    assert second["refresh_token"] != first["refresh_token"]

    assert (await refresh(issuer, first["refresh_token"]))[1]["error"] == "invalid_grant"
    assert (await refresh(issuer, second["refresh_token"]))[1]["error"] == "invalid_grant"


async def test_a_refresh_token_expires(issuer: Issuer) -> None:
    _, tokens = await issuer.redeem((await issuer.choose(user="u-1"))["code"])
    issuer.clock.passed = 24 * 3600
    assert (await refresh(issuer, tokens["refresh_token"]))[1]["error"] == "invalid_grant"


@pytest.mark.parametrize(
    ("form", "error"),
    [
        ({}, "invalid_request"),
        ({"grant_type": "password"}, "unsupported_grant_type"),
        ({"grant_type": "authorization_code", "client_id": "facility-pulse-web"}, "invalid_request"),
        ({"grant_type": "refresh_token", "client_id": "facility-pulse-web"}, "invalid_request"),
    ],
)
async def test_the_token_endpoint_names_the_error(issuer: Issuer, form: dict[str, str], error: str) -> None:
    status, answer = await issuer.grant(**form)
    assert (status, answer["error"]) == (400, error)


async def test_logout_leads_back_to_the_client_and_nowhere_else(issuer: Issuer) -> None:
    async def log_out(**query: str) -> tuple[int, str | None]:
        async with issuer.session.get(f"{issuer.address}/logout", params=query, allow_redirects=False) as response:
            return response.status, response.headers.get("Location")

    assert await log_out() == (200, None)
    back = await log_out(post_logout_redirect_uri="http://localhost:3000/", state="s")
    assert back == (303, "http://localhost:3000/?state=s")
    assert await log_out(post_logout_redirect_uri="https://evil.example/") == (400, None)
