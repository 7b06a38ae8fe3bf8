"""HTTP requests and responses as the worker sees them (RpcHttp of the worker protocol)."""

from http.cookies import Morsel
from typing import Any
from urllib.parse import parse_qsl, quote

from aiohttp import web
from multidict import CIMultiDict

from emulators.host.worker import Datum

_NO_BODY = Datum(b"", "bytes")
_TEXT = "text/plain; charset=utf-8"


def request_datum(request: web.BaseRequest, parameters: dict[str, str], body: bytes) -> Datum:
    """The trigger's value; repeated headers and query parameters are joined, empty query parameters left out."""
    headers: dict[str, Datum] = {}
    for name, value in request.headers.items():
        key = name.lower()
        known = headers.get(key)
        headers[key] = Datum(value if known is None else f"{known.value},{value}", "string")
    target = request.raw_path
    return Datum(
        {
            "method": Datum(request.method, "string"),
            "url": Datum(f"http://{request.headers.get('Host', '')}{target}", "string"),
            "headers": headers,
            "body": Datum(body, "bytes") if body else _NO_BODY,
            "params": {name: Datum(value, "string") for name, value in parameters.items()},
            "query": {name: Datum(value, "string") for name, value in query_of(target).items()},
        },
        "http",
    )


def query_of(target: str) -> dict[str, str]:
    """The query parameters of a request target, repeated ones joined by a comma, empty ones left out."""
    query: dict[str, str] = {}
    text = target.partition("?")[2]
    if text:
        for name, value in parse_qsl(text):
            query[name] = f"{query[name]},{value}" if name in query else value
    return query


def response_of(datum: Any) -> web.Response:
    """The answer for what a function returned: an HttpResponse, a plain value, or nothing (204)."""
    if datum is None or datum.type is None:
        return web.Response(status=204)
    if datum.type != "http":
        body = datum.value if isinstance(datum.value, bytes) else str(datum.value).encode()
        return web.Response(body=body, headers={"Content-Type": _TEXT})
    value = datum.value
    headers = CIMultiDict((name, item.value) for name, item in value["headers"].items())
    # The server frames the body itself; the real host drops these too.
    for name in ("Content-Length", "Transfer-Encoding"):
        headers.popall(name, None)
    for jar in value["cookies"] or ():
        for morsel in jar.values():
            headers.add("Set-Cookie", set_cookie(morsel))
    return web.Response(status=int(value["status_code"].value), headers=headers, body=value["body"].value)


def set_cookie(morsel: Morsel[str]) -> str:
    """One Set-Cookie header; the value is percent-encoded as ASP.NET Core's `Cookies.Append` does."""
    attributes = morsel.OutputString().partition(";")[2]
    return f"{quote(morsel.key, safe='')}={quote(morsel.value, safe='')}{';' + attributes if attributes else ''}"
