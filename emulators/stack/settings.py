"""Settings of the product's processes in a local stack: the caller's where given, the stack's own otherwise."""

import os
from collections.abc import Mapping

# What a program needs of the machine it runs on. Nothing else of our environment reaches the parts, so that a setting
# left over in a developer's shell cannot change a test.
MACHINE_VARIABLES = ("PATH", "HOME", "USER", "TMPDIR", "LANG", "LC_ALL", "TZ", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")

DEFAULTS = {
    "EVENT_HUB_NAME": "heartbeats",
    "EVENT_HUB_CONSUMER_GROUP": "$Default",
    "WEB_PUBSUB_HUB": "presence",
    "AUTH_AUDIENCE": "facility-pulse",
    "AUTH_CLIENT_ID": "facility-pulse-web",
    "AUTH_SCOPE": "openid profile",
    "SWEEP_SCHEDULE": "*/1 * * * * *",
    "MONITOR_SCHEDULE": "0 * * * * *",
    # Pages under development come from servers of their own.
    "HOST_CORS": "*",
}


def machine_environment() -> dict[str, str]:
    """The part of our environment that every process is given."""
    return {name: os.environ[name] for name in MACHINE_VARIABLES if name in os.environ}


def given(settings: Mapping[str, str], connection: str) -> str | None:
    """What the caller set for a connection (`Redis`, or one of its identity forms `Redis__…`), or None."""
    if value := settings.get(connection):
        return value
    return next((value for name, value in settings.items() if name.startswith(f"{connection}__") and value), None)


def number(settings: Mapping[str, str], name: str) -> int | None:
    """A setting that is a port or a count, None when absent or empty; raises ValueError naming it."""
    text = settings.get(name, "")
    if not text:
        return None
    if not text.isdigit() or not 0 <= int(text) <= 65535:
        raise ValueError(f"{name}={text} is not a number from 0 to 65535")
    return int(text)
