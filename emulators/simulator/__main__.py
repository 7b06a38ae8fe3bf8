"""`python -m emulators.simulator`: simulated front-ends against a running stack, and what becomes of it."""

import argparse
import logging
import secrets
import sys
from pathlib import Path

import uvloop

from emulators.simulator.lives import Pace
from emulators.simulator.run import Options, Run, Target
from emulators.stack.addresses import read_stack_file
from emulators.stack.plan import CHECKOUT, DIRECTORY_COPY


def main() -> int:
    """Runs until Ctrl-C, `--duration` or the end of the starter; 1 if there is nothing to talk to."""
    arguments = _arguments()
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    target = _target(arguments)
    if target is None:
        print(f"no stack is running in {arguments.stack}: `make up`, or give --api and --identity", file=sys.stderr)
        return 1
    options = Options(
        sessions=arguments.sessions,
        duration=arguments.duration,
        seed=arguments.seed or secrets.token_hex(4),
        pace=Pace(
            stay_seconds=arguments.stay,
            away_seconds=arguments.away,
            first_arrivals_seconds=arguments.ramp,
            crash_share=arguments.crashes,
            reload_share=arguments.reloads,
            hidden_share=arguments.hidden,
        ),
        outage_every_seconds=arguments.outage_every,
        outage_seconds=arguments.outage,
        directory=arguments.directory or arguments.stack / DIRECTORY_COPY,
        is_plain=arguments.plain,
        has_notices=arguments.notices_from_stdin,
    )
    uvloop.run(Run(options, target).play())
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m emulators.simulator", description=__doc__)
    pace = Pace()
    parser.add_argument("--stack", type=Path, default=CHECKOUT / ".local", help="directory of the stack (.local)")
    parser.add_argument("--api", help="address of the API, instead of --stack; ends in /api")
    parser.add_argument("--identity", help="address of the identity emulator, with --api")
    parser.add_argument("--directory", type=Path, help="CSV files with the users (default: the stack's directory)")
    parser.add_argument("--sessions", type=int, default=90, metavar="N", help="front-ends (%(default)s)")
    parser.add_argument("--duration", type=float, metavar="S", help="stop after S seconds (default: run on)")
    parser.add_argument("--seed", help="the same seed gives the same comings and goings (default: random)")
    parser.add_argument("--stay", type=float, default=pace.stay_seconds, metavar="S", help="mean stay (%(default)s)")
    parser.add_argument("--away", type=float, default=pace.away_seconds, metavar="S", help="mean pause (%(default)s)")
    parser.add_argument(
        "--ramp",
        type=float,
        default=pace.first_arrivals_seconds,
        metavar="S",
        help="first arrivals within (%(default)s)",
    )
    parser.add_argument("--crashes", type=float, default=pace.crash_share, help="share of silent ends (%(default)s)")
    parser.add_argument("--reloads", type=float, default=pace.reload_share, help="share that reloads (%(default)s)")
    parser.add_argument("--hidden", type=float, default=pace.hidden_share, help="share of tabs hidden (%(default)s)")
    parser.add_argument(
        "--outage-every",
        type=float,
        default=20.0,
        metavar="S",
        help="a facility is cut off each S s, 0: none (%(default)s)",
    )
    parser.add_argument("--outage", type=float, default=30.0, metavar="S", help="for about S seconds (%(default)s)")
    parser.add_argument("--plain", action="store_true", help="lines instead of the live picture")
    parser.add_argument("--notices-from-stdin", action="store_true", help="show lines of stdin; stop at its end")
    return parser.parse_args()


def _target(arguments: argparse.Namespace) -> Target | None:
    if arguments.api and arguments.identity:
        return Target(arguments.api, arguments.identity, f"{arguments.api}/dashboard")
    stack = read_stack_file(arguments.stack)
    return Target(stack["api"], stack["identity"], stack["dashboard"]) if stack else None


if __name__ == "__main__":
    sys.exit(main())
