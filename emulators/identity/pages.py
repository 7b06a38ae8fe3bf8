"""The HTML pages: choosing whom to sign in as, and plain notices. No scripts and nothing loaded from elsewhere."""

import base64
import hashlib
from collections.abc import Mapping
from html import escape
from itertools import islice
from typing import Final

from aiohttp import web

_SHOWN_USERS: Final = 8

_STYLE: Final = """
:root { color-scheme: light dark; --page: #f4f6f8; --card: #fff; --text: #16202a; --quiet: #52606d; --line: #cbd2d9;
  --control: #7b8794; --accent: #0b5cad; --on-accent: #fff; --error: #b42318; }
@media (prefers-color-scheme: dark) { :root { --page: #11161c; --card: #1a2129; --text: #e8edf2; --quiet: #a3b1bf;
  --line: #3a4653; --control: #728292; --accent: #6cb2f7; --on-accent: #0b1620; --error: #ff9b8f; } }
* { box-sizing: border-box; }
body { margin: 0; min-height: 100vh; display: grid; place-items: center; padding: 1rem; background: var(--page);
  color: var(--text); font: 1rem/1.5 system-ui, sans-serif; }
main { width: 100%; max-width: 28rem; padding: 1.75rem; background: var(--card); border: 1px solid var(--line);
  border-radius: .75rem; }
h1 { margin: 0 0 .25rem; font-size: 1.375rem; line-height: 1.25; }
h2 { margin: 1.5rem 0 .5rem; font-size: 1rem; }
p { margin: 0 0 1.25rem; color: var(--quiet); overflow-wrap: anywhere; }
.error { color: var(--error); margin: .375rem 0 0; }
label { font-weight: 600; }
.field { display: flex; gap: .5rem; margin-top: .25rem; }
input[type=text] { flex: 1; min-width: 0; padding: .625rem .75rem; color: inherit; background: transparent;
  border: 1px solid var(--control); border-radius: .5rem; font: inherit; }
.check { display: flex; gap: .625rem; align-items: start; margin-top: 1rem; }
.check label { font-weight: 400; }
.check input { width: 1.125rem; height: 1.125rem; margin: .1875rem 0 0; accent-color: var(--accent); }
button { min-height: 2.75rem; padding: .5rem 1rem; font: inherit; cursor: pointer; border-radius: .5rem;
  border: 1px solid var(--control); background: transparent; color: inherit; }
button:hover { border-color: var(--accent); }
button.primary { background: var(--accent); border-color: var(--accent); color: var(--on-accent); font-weight: 600; }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
ul { list-style: none; margin: 0; padding: 0; display: grid; gap: .5rem;
  grid-template-columns: repeat(auto-fill, minmax(10.5rem, 1fr)); }
li button { width: 100%; text-align: left; overflow-wrap: anywhere; }
li small { display: block; color: var(--quiet); }
"""

_STYLE_HASH: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_HEADERS: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def sign_in_page(
    users: Mapping[str, str], hidden: Mapping[str, str], *, user_id: str = "", admin: bool = False, error: str = ""
) -> web.Response:
    """The form to pick a user; `hidden` are the authorization request's parameters, sent along with the choice."""
    fields = "".join(
        f'<input type="hidden" name="{escape(name)}" value="{escape(value)}">' for name, value in hidden.items()
    )
    buttons = "".join(
        f'<li><button name="user" value="{escape(known)}">{escape(name)}<small>{escape(known)}</small></button></li>'
        for known, name in islice(users.items(), _SHOWN_USERS)
    )
    problem = f'<p class="error" id="user-error" role="alert">{escape(error)}</p>' if error else ""
    described = ' aria-invalid="true" aria-describedby="user-error"' if error else ""
    return _page(
        "Sign in",
        f"""<h1>Sign in to Facility Pulse</h1>
<p>Development sign-in: pick any user, there are no passwords.</p>
<form method="post" action="authorize">
{fields}
<label for="user-id">User id</label>
<div class="field">
<input type="text" id="user-id" name="user_id" value="{escape(user_id)}" maxlength="128" autocomplete="off"
 autocapitalize="none" spellcheck="false"{described}>
<button class="primary">Sign in</button>
</div>
{problem}
<div class="check">
<input type="checkbox" id="admin" name="admin" value="yes"{" checked" if admin else ""}>
<label for="admin">As administrator (role presence.admin)</label>
</div>
<h2 id="demo-users">Or continue as</h2>
<ul aria-labelledby="demo-users">{buttons}</ul>
</form>""",
        status=400 if error else 200,
    )


def notice_page(title: str, text: str, *, status: int = 200) -> web.Response:
    """A page that only says something."""
    return _page(title, f"<h1>{escape(title)}</h1>\n<p>{escape(text)}</p>", status=status)


def _page(title: str, body: str, *, status: int) -> web.Response:
    html = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)} · Facility Pulse</title>
<style>{_STYLE}</style>
</head>
<body>
<main>
{body}
</main>
</body>
</html>
"""
    return web.Response(text=html, content_type="text/html", charset="utf-8", status=status, headers=_HEADERS)
