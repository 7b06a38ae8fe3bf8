"""Token verification against a small issuer with real keys."""

import asyncio
import base64
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import jwt
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from shared.auth import Caller, TokenVerifier
from shared.errors import DependencyUnavailableError
from shared.problems import UnauthenticatedError
from shared.settings import AuthSettings

AUDIENCE = "api://facility-pulse"
RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())


def rsa_jwk(key: rsa.RSAPrivateKey, **members: object) -> dict[str, Any]:
    return {**jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key(), as_dict=True), "use": "sig", **members}


def ec_jwk(**members: object) -> dict[str, Any]:
    return {**jwt.algorithms.ECAlgorithm.to_jwk(EC_KEY.public_key(), as_dict=True), "use": "sig", **members}


class Issuer:
    """An issuer whose keys and answers a test can change; counts how often it is asked for its keys."""

    def __init__(self) -> None:
        self.keys = [rsa_jwk(RSA_KEY, kid="rsa-1"), ec_jwk(kid="ec-1")]
        self.asked = 0
        self.status = 200
        self.name: str | None = None
        self.now = time.time()
        app = web.Application()
        app.router.add_get("/.well-known/openid-configuration", self._metadata)
        app.router.add_get("/keys", self._keys)
        self.server = TestServer(app)

    @property
    def address(self) -> str:
        return str(self.server.make_url("")).rstrip("/")

    def verifier(self) -> TokenVerifier:
        return TokenVerifier(AuthSettings(self.address, AUDIENCE, "browser", "openid", "sub"), lambda: self.now)

    def token(self, key: Any = RSA_KEY, kid: str | None = "rsa-1", algorithm: str = "RS256", **claims: Any) -> str:
        payload = {"iss": self.address, "aud": AUDIENCE, "sub": "u-1", "exp": self.now + 60, "iat": self.now} | claims
        return jwt.encode(
            {name: value for name, value in payload.items() if value is not None},
            key,
            algorithm,
            headers={"kid": kid} if kid else {},
        )

    async def _metadata(self, _: web.Request) -> web.Response:
        return web.json_response({"issuer": self.name or self.address, "jwks_uri": f"{self.address}/keys"})

    async def _keys(self, _: web.Request) -> web.Response:
        self.asked += 1
        return web.json_response({"keys": self.keys}, status=self.status)


@pytest.fixture
async def issuer() -> AsyncIterator[Issuer]:
    issuer = Issuer()
    await issuer.server.start_server()
    yield issuer
    await issuer.server.close()


@pytest.fixture
async def verifier(issuer: Issuer) -> AsyncIterator[TokenVerifier]:
    verifier = issuer.verifier()
    yield verifier
    await verifier.close()


async def refused(verifier: TokenVerifier, token: str) -> str:
    with pytest.raises(UnauthenticatedError) as error:
        await verifier.verify(token)
    assert token not in str(error.value)
    return str(error.value)


async def test_a_good_token_says_who_calls(issuer: Issuer, verifier: TokenVerifier) -> None:
    caller = await verifier.verify(issuer.token(roles=["presence.admin", 7]))
    assert caller == Caller("u-1", frozenset({"presence.admin"}))
    assert caller.is_admin
    assert not caller.is_gateway


@pytest.mark.parametrize("roles", [None, "presence.admin", {"presence.admin": 1}])
async def test_roles_that_are_no_list_grant_nothing(issuer: Issuer, verifier: TokenVerifier, roles: object) -> None:
    assert await verifier.verify(issuer.token(roles=roles)) == Caller("u-1")


@pytest.mark.parametrize("algorithm", ["RS256", "RS512", "PS256"])
async def test_algorithms_of_rsa_keys_are_taken(issuer: Issuer, verifier: TokenVerifier, algorithm: str) -> None:
    assert await verifier.verify(issuer.token(algorithm=algorithm)) == Caller("u-1")


async def test_elliptic_curve_keys_are_taken(issuer: Issuer, verifier: TokenVerifier) -> None:
    assert await verifier.verify(issuer.token(EC_KEY, "ec-1", "ES256")) == Caller("u-1")


async def test_the_algorithm_that_a_key_names_binds(issuer: Issuer, verifier: TokenVerifier) -> None:
    issuer.keys = [rsa_jwk(RSA_KEY, kid="rsa-1", alg="RS256")]
    await refused(verifier, issuer.token(algorithm="RS512"))
    assert await verifier.verify(issuer.token()) == Caller("u-1")


async def test_a_public_key_does_not_pass_as_a_secret(issuer: Issuer, verifier: TokenVerifier) -> None:
    """Algorithm confusion: an HMAC made with the published key, and the algorithm "none"."""
    public = RSA_KEY.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    payload = issuer.token().split(".")[1]
    header = base64.urlsafe_b64encode(json.dumps({"alg": "HS256", "typ": "JWT", "kid": "rsa-1"}).encode()).rstrip(b"=")
    signing_input = header + b"." + payload.encode()
    signature = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256)
    forged = signing_input + b"." + base64.urlsafe_b64encode(signature.sign(signing_input, public)).rstrip(b"=")
    await refused(verifier, forged.decode())
    nothing = base64.urlsafe_b64encode(json.dumps({"alg": "none", "kid": "rsa-1"}).encode()).rstrip(b"=").decode()
    await refused(verifier, f"{nothing}.{payload}.")


async def test_a_symmetric_key_in_the_set_is_passed_over(issuer: Issuer, verifier: TokenVerifier) -> None:
    secret = "k" * 64
    issuer.keys.append({"kty": "oct", "kid": "oct-1", "k": base64.urlsafe_b64encode(secret.encode()).decode()})
    await refused(verifier, issuer.token(secret, "oct-1", "HS256"))


@pytest.mark.parametrize(
    ("claims", "expected"),
    [
        ({"exp": 0}, "expired"),
        ({"exp": None}, "lacks the claim exp"),
        ({"aud": None}, "lacks the claim aud"),
        ({"aud": "api://another"}, "another audience"),
        ({"iss": "https://another.example"}, "another issuer"),
        ({"sub": None}, "not a user id"),
        ({"sub": "a b"}, "not a user id"),
        ({"sub": "x" * 129}, "not a user id"),
        ({"sub": "u-1\n"}, "not a user id"),
        ({"exp": float("nan")}, "expired"),
        ({"exp": True}, "time that is not a number"),
        ({"exp": "tomorrow"}, "time that is not a number"),
    ],
)
async def test_a_bad_claim_is_refused(
    issuer: Issuer, verifier: TokenVerifier, claims: dict[str, Any], expected: str
) -> None:
    assert expected in await refused(verifier, issuer.token(**claims))


async def test_one_of_several_audiences_is_enough(issuer: Issuer, verifier: TokenVerifier) -> None:
    assert await verifier.verify(issuer.token(aud=["api://another", AUDIENCE])) == Caller("u-1")


async def test_an_expired_token_gets_no_leeway_a_fast_clock_does(issuer: Issuer, verifier: TokenVerifier) -> None:
    for expired in (0, -1):
        assert "expired" in await refused(verifier, issuer.token(exp=issuer.now + expired))
    near, far = issuer.now + 29, issuer.now + 31
    assert await verifier.verify(issuer.token(nbf=near, iat=near)) == Caller("u-1")
    assert "not valid yet" in await refused(verifier, issuer.token(nbf=far))
    assert "not valid yet" in await refused(verifier, issuer.token(iat=far))


async def test_a_remembered_token_expires_too(issuer: Issuer, verifier: TokenVerifier) -> None:
    token = issuer.token(exp=issuer.now + 1)
    assert await verifier.verify(token) == Caller("u-1")
    issuer.now += 1
    assert "expired" in await refused(verifier, token)


@pytest.mark.parametrize("token", ["", "x", "a.b.c", "é.è.à", "x" * 20_000, "e30.e30.e30"])
async def test_what_is_no_token_is_refused(verifier: TokenVerifier, token: str) -> None:
    with pytest.raises(UnauthenticatedError):
        await verifier.verify(token)


async def test_a_token_signed_by_somebody_else_is_refused(issuer: Issuer, verifier: TokenVerifier) -> None:
    await refused(verifier, issuer.token(OTHER_KEY))


async def test_the_keys_are_fetched_once_for_many_callers(issuer: Issuer, verifier: TokenVerifier) -> None:
    await asyncio.gather(*(verifier.verify(issuer.token(sub=f"u-{n}")) for n in range(20)))
    assert issuer.asked == 1


async def test_forged_key_ids_do_not_hammer_the_issuer(issuer: Issuer, verifier: TokenVerifier) -> None:
    await verifier.verify(issuer.token())
    for number in range(20):
        await refused(verifier, issuer.token(OTHER_KEY, f"forged-{number}"))
    assert issuer.asked == 1


async def test_a_new_key_is_found_and_a_withdrawn_one_is_gone(issuer: Issuer, verifier: TokenVerifier) -> None:
    old = issuer.token()
    await verifier.verify(old)
    issuer.keys = [rsa_jwk(OTHER_KEY, kid="rsa-2")]
    verifier._keys._attempted_at -= 6  # more than the pause between two questions
    assert await verifier.verify(issuer.token(OTHER_KEY, "rsa-2")) == Caller("u-1")
    await refused(verifier, old)


async def test_old_keys_are_refreshed_in_the_background(issuer: Issuer, verifier: TokenVerifier) -> None:
    old = issuer.token()
    await verifier.verify(old)
    issuer.keys = [rsa_jwk(OTHER_KEY, kid="rsa-2")]
    verifier._keys._attempted_at -= 301
    assert await verifier.verify(old) == Caller("u-1")
    refreshing = verifier._keys._fetching
    assert refreshing is not None
    await refreshing
    await refused(verifier, old)


async def test_a_single_key_needs_no_id(issuer: Issuer, verifier: TokenVerifier) -> None:
    issuer.keys = [rsa_jwk(RSA_KEY)]
    assert await verifier.verify(issuer.token(kid=None)) == Caller("u-1")


async def test_an_issuer_that_is_away_is_not_taken_for_a_bad_token(issuer: Issuer) -> None:
    verifier = issuer.verifier()
    token = issuer.token()
    issuer.status = 500
    for _ in range(3):
        with pytest.raises(DependencyUnavailableError, match="identity"):
            await verifier.verify(token)
    assert issuer.asked == 1
    issuer.status = 200
    verifier._keys._attempted_at -= 1
    assert await verifier.verify(token) == Caller("u-1")
    later = issuer.token(sub="u-2")
    await issuer.server.close()
    verifier._keys._attempted_at -= 301
    assert await verifier.verify(later) == Caller("u-2")
    await verifier.close()


async def test_an_issuer_of_another_name_is_not_trusted(issuer: Issuer, verifier: TokenVerifier) -> None:
    issuer.name = "https://another.example"
    with pytest.raises(DependencyUnavailableError, match="AUTH_ISSUER"):
        await verifier.verify(issuer.token())


async def test_a_slash_at_the_end_makes_no_other_issuer(issuer: Issuer, verifier: TokenVerifier) -> None:
    issuer.name = f"{issuer.address}/"
    assert await verifier.verify(issuer.token(iss=issuer.name)) == Caller("u-1")


async def test_a_key_set_with_strangers_in_it_is_read(issuer: Issuer, verifier: TokenVerifier) -> None:
    issuer.keys = [
        {"kty": "RSA", "kid": "broken", "n": "AQ", "e": "?"},
        {"kty": "RSA", "kid": "for-encryption", "use": "enc"},
        {"kty": "FUTURE", "kid": "unknown"},
        rsa_jwk(RSA_KEY, kid="rsa-1"),
    ]
    assert await verifier.verify(issuer.token()) == Caller("u-1")


def forged(issuer: Issuer, header: dict[str, Any], secret: bytes) -> str:
    """Returns a token with this header over good claims, its signature an HMAC made with `secret`."""
    head = base64.urlsafe_b64encode(json.dumps(header).encode()).rstrip(b"=")
    signing_input = head + b"." + issuer.token().split(".")[1].encode()
    digest = {"HS384": hashlib.sha384, "HS512": hashlib.sha512}.get(str(header["alg"]), hashlib.sha256)
    return (
        signing_input + b"." + base64.urlsafe_b64encode(hmac.digest(secret, signing_input, digest)).rstrip(b"=")
    ).decode()


def public_forms(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> list[bytes]:
    """Returns what anybody may know of a key, in the forms that libraries have taken for a secret."""
    public, forms = key.public_key(), serialization.PublicFormat.SubjectPublicKeyInfo
    pem = public.public_bytes(serialization.Encoding.PEM, forms)
    der = public.public_bytes(serialization.Encoding.DER, forms)
    return [pem, pem.strip(), der, base64.b64encode(der), b""]


@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
@pytest.mark.parametrize(("kid", "key"), [("rsa-1", RSA_KEY), ("ec-1", EC_KEY)])
async def test_no_form_of_a_public_key_passes_as_a_secret(
    issuer: Issuer, verifier: TokenVerifier, kid: str, key: Any, algorithm: str
) -> None:
    published = [json.dumps(jwk).encode() for jwk in issuer.keys]
    for secret in [*public_forms(key), *published]:
        await refused(verifier, forged(issuer, {"alg": algorithm, "typ": "JWT", "kid": kid}, secret))


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "nOnE", "", None, 1, ["RS256"], "RS256 ", "rs256"])
async def test_no_spelling_of_none_and_no_strange_algorithm_passes(
    issuer: Issuer, verifier: TokenVerifier, algorithm: object
) -> None:
    payload, signature = issuer.token().split(".")[1:]
    header = base64.urlsafe_b64encode(json.dumps({"alg": algorithm, "kid": "rsa-1"}).encode()).rstrip(b"=").decode()
    for last in ("", signature):
        await refused(verifier, f"{header}.{payload}.{last}")


async def test_a_key_is_used_only_with_algorithms_of_its_kind(issuer: Issuer, verifier: TokenVerifier) -> None:
    await refused(verifier, issuer.token(EC_KEY, "rsa-1", "ES256"))
    await refused(verifier, issuer.token(RSA_KEY, "ec-1", "RS256"))
    await refused(verifier, issuer.token(RSA_KEY, "ec-1", "PS256"))
    stronger = ec.generate_private_key(ec.SECP384R1())
    await refused(verifier, issuer.token(stronger, "ec-1", "ES384"))


async def test_a_token_cannot_bring_its_own_key(issuer: Issuer, verifier: TokenVerifier) -> None:
    """Header parameters of RFC 7515 that name or carry a key are not looked at."""
    for header in (
        {"kid": "rsa-1", "jwk": rsa_jwk(OTHER_KEY, kid="rsa-1")},
        {"kid": "rsa-1", "jku": f"{issuer.address}/elsewhere"},
        {"kid": "rsa-1", "x5u": f"{issuer.address}/elsewhere"},
        {"kid": "../../dev/null"},
        {"kid": ""},
    ):
        claims = {"iss": issuer.address, "aud": AUDIENCE, "sub": "u-1", "exp": issuer.now + 60}
        await refused(verifier, jwt.encode(claims, OTHER_KEY, "RS256", headers=header))
    assert issuer.asked <= 2


async def test_an_extension_that_must_be_understood_is_not_ignored(issuer: Issuer, verifier: TokenVerifier) -> None:
    claims = {"iss": issuer.address, "aud": AUDIENCE, "sub": "u-1", "exp": issuer.now + 60}
    header = {"kid": "rsa-1", "crit": ["http://example.com/extension"], "http://example.com/extension": True}
    await refused(verifier, jwt.encode(claims, RSA_KEY, "RS256", headers=header))


async def test_not_a_letter_of_a_token_may_be_changed(issuer: Issuer, verifier: TokenVerifier) -> None:
    good = issuer.token(roles=[])
    header, payload, signature = good.split(".")
    claims = json.loads(base64.urlsafe_b64decode(payload + "=="))
    raised = base64.urlsafe_b64encode(json.dumps(claims | {"roles": ["presence.admin"]}).encode()).rstrip(b"=").decode()
    assert await verifier.verify(good) == Caller("u-1")
    for changed in (
        f"{header}.{raised}.{signature}",
        f"{header}.{payload}.",
        f"{header}.{payload}",
        f"{header}.{payload}.{signature[::-1]}",
        f"{header}.{payload}.{issuer.token(sub='u-2').split('.')[2]}",
    ):
        await refused(verifier, changed)


@pytest.mark.parametrize(
    "claims",
    [
        {"aud": f"{AUDIENCE}/more"},
        {"aud": AUDIENCE[:-1]},
        {"aud": AUDIENCE.upper()},
        {"aud": []},
        {"aud": [["api://facility-pulse"]]},
        {"aud": {"api://facility-pulse": True}},
        {"iss": ""},
        {"iss": None},
        {"iss": ["https://another.example"]},
    ],
)
async def test_what_only_resembles_our_audience_or_issuer_is_refused(
    issuer: Issuer, verifier: TokenVerifier, claims: dict[str, Any]
) -> None:
    good = {"iss": issuer.address, "aud": AUDIENCE, "sub": "u-1", "exp": issuer.now + 60} | claims
    body = json.dumps({name: value for name, value in good.items() if value is not None}).encode()
    await refused(verifier, jwt.api_jws.encode(body, RSA_KEY, "RS256", headers={"kid": "rsa-1"}))


async def test_two_keys_stand_side_by_side_while_the_issuer_rotates(issuer: Issuer, verifier: TokenVerifier) -> None:
    before = issuer.token()
    assert await verifier.verify(before) == Caller("u-1")
    issuer.keys.append(rsa_jwk(OTHER_KEY, kid="rsa-2"))
    verifier._keys._attempted_at -= 6  # more than the pause between two questions
    assert await verifier.verify(issuer.token(OTHER_KEY, "rsa-2", sub="u-2")) == Caller("u-2")
    assert await verifier.verify(before) == Caller("u-1")
    assert await verifier.verify(issuer.token(sub="u-3")) == Caller("u-3")
    assert issuer.asked == 2
