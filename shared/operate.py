"""`python -m shared.operate …`: what waits in the streams, what was set aside, and replays of it.

Works on any deployment, by the same settings as the app.
"""

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence

from shared.bootstrap import Services
from shared.domain.instants import to_iso
from shared.errors import PulseError
from shared.registry import keys
from shared.registry.dead_letters import SOURCES, DeadLetter
from shared.settings import Settings
from shared.stream.backlog import survey
from shared.stream.group import BROADCAST, CORE, SQL
from shared.stream.replaying import Replay

DONE, FAILED, SOME_LEFT = 0, 1, 2
_SHOWN_BODY = 400


async def show_backlog(services: Services) -> int:
    """Prints, per kind of stream and consumer group, how many entries wait and for how long."""
    streams = {
        "changes": ([partition.changes for partition in keys.ALL_PARTITIONS], (BROADCAST, SQL, CORE)),
        "ended": ([partition.ended for partition in keys.ALL_PARTITIONS], (SQL,)),
    }
    _print(f"{'stream':<8} {'entries':>9}  {'group':<9} {'waiting':>9}  oldest")
    for kind, (names, groups) in streams.items():
        backlogs = await survey(services.redis, names, groups)
        entries = sum(backlog.length for backlog in backlogs)
        for group in groups:
            found = [backlog.groups[group] for backlog in backlogs]
            oldest = min((item.oldest for item in found if item.oldest is not None), default=None)
            age = "-" if oldest is None else f"{max(0, services.now() - oldest) / 1000:.1f} s"
            _print(f"{kind:<8} {entries:>9}  {group:<9} {sum(item.waiting for item in found):>9}  {age}")
    calls = sum([await services.redis.zcard(partition.webhooks) for partition in keys.ALL_PARTITIONS])
    _print(f"webhook: {calls} facilities with calls waiting")
    held = await services.dead_letters.held()
    _print(f"set aside: {', '.join(f'{source} {count}' for source, count in held.items())}")
    return DONE


async def list_letters(services: Services, sources: Sequence[str], limit: int) -> int:
    """Prints what was set aside, oldest first."""
    for source in sources:
        for letter in await services.dead_letters.list(source, limit):
            details = " ".join(f"{name}={value}" for name, value in letter.details.items())
            _print(f"{source} {letter.letter_id}  {to_iso(letter.at)}  {letter.reason}")
            _print(f"    {details}")
            _print(f"    {letter.body[:_SHOWN_BODY].decode(errors='backslashreplace')}")
    return DONE


async def replay(services: Services, sources: Sequence[str], ids: Sequence[str]) -> int:
    """Puts what was set aside back to where it came from; prints what cannot be."""
    letters = await _chosen(services, sources, ids)
    result = await Replay(services.redis, services.dead_letters, services.now).replay(letters)
    for letter, problem in result.left:
        _print(f"left: {letter.source} {letter.letter_id}: {problem}")
    _print(f"put back: {result.done}, left: {len(result.left)}")
    return SOME_LEFT if result.left else DONE


async def discard(services: Services, sources: Sequence[str], ids: Sequence[str]) -> int:
    """Deletes what was set aside."""
    letters = await _chosen(services, sources, ids)
    await services.dead_letters.discard(letters)
    _print(f"deleted: {len(letters)}")
    return DONE


async def _chosen(services: Services, sources: Sequence[str], ids: Sequence[str]) -> list[DeadLetter]:
    found = [letter for source in sources for letter in await services.dead_letters.list(source)]
    return [letter for letter in found if not ids or letter.letter_id in ids]


async def _main(options: argparse.Namespace) -> int:
    services = Services(Settings.from_environment())
    try:
        sources = [options.source] if getattr(options, "source", None) else SOURCES
        match options.command:
            case "backlog":
                return await show_backlog(services)
            case "dead-letters":
                return await list_letters(services, sources, options.limit)
            case "replay":
                return await replay(services, sources, options.ids)
            case _:
                return await discard(services, sources, options.ids)
    finally:
        await services.redis.aclose()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m shared.operate", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("backlog", help="how many entries wait in the streams, and for how long")
    listing = commands.add_parser("dead-letters", help="what was set aside, with the reason")
    listing.add_argument("--limit", type=int, default=50, help="newest so many of each source (50)")
    again = commands.add_parser("replay", help="puts what was set aside back to where it came from")
    gone = commands.add_parser("discard", help="deletes what was set aside")
    for command in (listing, again, gone):
        command.add_argument("--source", choices=SOURCES, help="only what this part set aside")
    for command in (again, gone):
        command.add_argument("ids", nargs="*", metavar="ID", help="only these, as dead-letters shows them")
    return parser


def main() -> int:
    """Returns 0, 1 when Redis or a setting is wrong, or 2 when a replay left something."""
    try:
        code = asyncio.run(_main(_parser().parse_args()))
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever reads has had enough (`| head`); what is still in the buffer must not fail at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = DONE
    except PulseError as error:
        sys.stderr.write(f"operate: {error}\n")
        code = FAILED
    return code


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")


if __name__ == "__main__":
    sys.exit(main())
