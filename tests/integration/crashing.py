"""`python -m tests.integration.crashing PORT FOLDER WEB_PUBSUB WHAT STEP`: dies at a step of the real thing.

Runs the broadcaster or the monitor as they are composed, and is gone, as by SIGKILL, the moment that the step is done.
With the step `poison` processes are started until one survives, each of which dies when it is to write or send what
happened to one facility; prints how many died.
"""

import asyncio
import inspect
import os
import signal
import sys
import time
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

from redis.asyncio import Redis

from shared import bootstrap
from shared.broadcast import broadcaster
from shared.broadcast.push import WebPubSubPush
from shared.connections import WebPubSubConnection
from shared.pipeline import monitor
from shared.registry import keys
from shared.registry.registry import Registry
from shared.registry.sequences import Sequences
from shared.store.core import SqlCoreStore
from shared.store.monitor import SqlMonitorStore
from shared.stream.group import BROADCAST, StreamGroup
from tests.integration.pipeline_world import World, make_world

BROADCAST_STEPS: dict[str, tuple[type, str]] = {
    "read": (StreamGroup, "read_new"),
    "numbered": (Sequences, "draw"),
    "sent": (WebPubSubPush, "send_to_group"),
    "acknowledged": (StreamGroup, "acknowledge"),
}
ANNOUNCEMENT_STEPS: dict[str, tuple[str, type, str, str]] = {
    "both read": ("after", StreamGroup, "read_new", ""),
    "stale sent": ("after", WebPubSubPush, "send_to_group", "stale"),
    "stale not acknowledged": ("before", StreamGroup, "acknowledge", "stale"),
    "alert not sent": ("before", WebPubSubPush, "send_to_group", "alert"),
    "alert not acknowledged": ("before", StreamGroup, "acknowledge", "alert"),
}
"""The broadcaster's, where it has announcements in hand; the last word says of which kind."""
MONITOR_STEPS: dict[str, tuple[type, str]] = {
    "read": (StreamGroup, "read_new"),
    "core written": (SqlCoreStore, "update_connectivity"),
    "history written": (SqlMonitorStore, "record_changes"),
    "sessions logged": (SqlMonitorStore, "log_sessions"),
    "sessions purged": (Registry, "purge"),
    "activity written": (SqlMonitorStore, "record_activity"),
    "acknowledged": (StreamGroup, "acknowledge"),
}
POISON = "f-2"
"""The facility whose changes kill."""
POISONED: dict[str, tuple[type, str]] = {
    "broadcast": (WebPubSubPush, "send_to_group"),
    "monitor": (SqlMonitorStore, "record_changes"),
    "core": (SqlCoreStore, "update_connectivity"),
}
_MOST_DEATHS = 20
_MOST_RUNS = 3
_MINUTE_MS = 60_000
LEASE_MS = 300
"""So soon is a dead process replaced here."""


def sender(world: World, push: WebPubSubPush) -> broadcaster.Broadcaster:
    """A broadcaster to the real service."""
    group = StreamGroup(world.redis, BROADCAST, [partition.changes for partition in keys.ALL_PARTITIONS])
    return broadcaster.Broadcaster(
        world.redis, group, world.sequences, world.directory, push, world.dead_letters, bootstrap.milliseconds
    )


def _die_after(owner: type, name: str, of: str = "") -> None:
    done = getattr(owner, name)

    def die(result: Any, arguments: tuple[Any, ...]) -> None:
        # Reading nothing and acknowledging nothing is no step.
        done_something = result or (name != "read_new" and (len(arguments) < 2 or arguments[1]))
        if done_something and of in repr(arguments[1:]):
            os.kill(os.getpid(), signal.SIGKILL)

    def dying(function: Callable[..., Any]) -> Callable[..., Any]:
        if inspect.iscoroutinefunction(function):

            @wraps(function)
            async def call(*arguments: Any, **named: Any) -> Any:
                arguments = tuple(list(each) if inspect.isgenerator(each) else each for each in arguments)
                result = await function(*arguments, **named)
                die(result, arguments)
                return result

            return call

        @wraps(function)
        def call_in_thread(*arguments: Any, **named: Any) -> Any:
            result = function(*arguments, **named)
            die(result, arguments)
            return result

        return call_in_thread

    setattr(owner, name, dying(done))


def _die_before(owner: type, name: str, of: str) -> None:
    handle = getattr(owner, name)

    def die_or_handle(*arguments: Any, **named: Any) -> Any:
        arguments = tuple(list(each) if inspect.isgenerator(each) else each for each in arguments)
        if of in repr(arguments[1:]):
            os.kill(os.getpid(), signal.SIGKILL)
        return handle(*arguments, **named)

    setattr(owner, name, die_or_handle)


def _count_deaths(port: int, folder: Path, web_pubsub: str, what: str) -> int:
    """Returns how many processes died before one did not."""
    for deaths in range(_MOST_DEATHS):
        child = os.fork()
        if child == 0:
            asyncio.run(_run(port, folder, web_pubsub, what, "poison"))
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if os.WIFEXITED(status):
            if os.WEXITSTATUS(status):
                raise SystemExit(f"{what} ended with code {os.WEXITSTATUS(status)}")
            return deaths
        time.sleep(LEASE_MS / 1000)
    raise SystemExit(f"{_MOST_DEATHS} processes have died")


async def _run(port: int, folder: Path, web_pubsub: str, what: str, step: str) -> None:
    broadcaster.LEASE_MS = monitor._LEASE_MS = LEASE_MS
    world = make_world(Redis(port=port), folder)
    push = WebPubSubPush(WebPubSubConnection("presence", connection_string=web_pubsub))
    if step == "poison":
        _die_before(*POISONED[what], POISON)
    elif what == "announcements":
        when, owner, name, of = ANNOUNCEMENT_STEPS[step]
        (_die_before if when == "before" else _die_after)(owner, name, of)
    else:
        _die_after(*(BROADCAST_STEPS if what == "broadcast" else MONITOR_STEPS)[step])
    # What is counted of a minute goes to SQL when it is over.
    world.advance(_MINUTE_MS)
    # On a machine that is busy so short a lease may be lost, and with it the step.
    for _ in range(1 if step == "poison" else _MOST_RUNS):
        await (world.monitor.run() if what in ("monitor", "core") else sender(world, push).deliver())
    if step != "poison":
        raise SystemExit(f"{what} got to its end without the step {step!r}")


if __name__ == "__main__":
    place = int(sys.argv[1]), Path(sys.argv[2])
    if sys.argv[5] == "poison":
        sys.stdout.write(f"{_count_deaths(*place, *sys.argv[3:5])}\n")
    else:
        asyncio.run(_run(*place, *sys.argv[3:]))
