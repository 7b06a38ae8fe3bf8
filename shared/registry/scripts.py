"""The Lua scripts of `lua/`, loaded from package data, each sent to Redis once and called by its hash."""

from importlib.resources import files
from pathlib import PurePosixPath

from redis.asyncio import Redis
from redis.commands.core import AsyncScript

_LUA = files("shared.registry") / "lua"
_COUNTING = frozenset(
    {"ingest", "sweep", "end_session", "read_activity", "seal_activity", "due_activity", "settle_activity"}
)
"""The scripts that need `activity.lua` too."""
_ENDING = frozenset({"ingest", "sweep"})
"""Those of them that need `ending.lua`."""


def source(name: str, *, prelude: bool = True) -> str:
    """Returns the text of `lua/<name>.lua`, behind the prelude that the scripts of its folder share."""
    text = (_LUA / f"{name}.lua").read_text("utf-8")
    if name in _ENDING:
        text = f"{(_LUA / 'ending.lua').read_text('utf-8')}\n{text}"
    if name in _COUNTING:
        text = f"{(_LUA / 'activity.lua').read_text('utf-8')}\n{text}"
    shared = _LUA / str(PurePosixPath(name).with_name("prelude.lua"))
    return f"{shared.read_text('utf-8')}\n{text}" if prelude else text


def load(client: Redis, name: str, *, prelude: bool = True) -> AsyncScript:
    """Returns a callable script; redis-py sends the text again when Redis has forgotten it."""
    return client.register_script(source(name, prelude=prelude))
