"""The dashboard's files, read once and ready to be sent, and the policy that browsers hold them to."""

import gzip
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

from shared.entity_tags import entity_tag

FOLDER = Path(__file__).parents[1] / "web"
INDEX = "index.html"

_MEDIA_TYPES = {
    ".css": "text/css",
    ".html": "text/html",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
    ".ts": "text/plain",
}


@dataclass(frozen=True, slots=True)
class WebFile:
    """A file as it is sent; `compressed` is its gzip form."""

    body: bytes
    compressed: bytes
    etag: str
    media_type: str


@cache
def web_files(folder: Path = FOLDER) -> Mapping[str, WebFile]:
    """Returns the files by their path below the folder, with `/` between its parts."""
    return {
        path.relative_to(folder).as_posix(): _read(path)
        for path in sorted(folder.rglob("*"))
        if path.suffix in _MEDIA_TYPES
    }


def security_headers(issuer: str, live_updates: str, api: str | None = None) -> dict[str, str]:
    """Returns what keeps a page to its own scripts, and to the API, the issuer and the live updates' service.

    All are URLs, of which the origin counts; `api` is for a page that is served from elsewhere than the API.
    """
    elsewhere = f" {_origin(api)}" if api else ""
    socket = _origin(live_updates).replace("http", "ws", 1)
    policy = {
        "default-src": "'none'",
        "script-src": "'self'",
        "worker-src": "'self'",
        "style-src": "'self'",
        "img-src": "'self'",
        "connect-src": f"'self'{elsewhere} {_origin(issuer)} {socket}",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    return {
        "Content-Security-Policy": "; ".join(f"{name} {value}" for name, value in policy.items()),
        "Cross-Origin-Opener-Policy": "same-origin",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
    }


def _read(path: Path) -> WebFile:
    body = path.read_bytes()
    return WebFile(
        body=body,
        compressed=gzip.compress(body, mtime=0),
        etag=entity_tag(body),
        media_type=_MEDIA_TYPES[path.suffix],
    )


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
