"""The directory of a stack: the demo one for an empty core database, or anybody's from CSV files."""

import asyncio
import contextlib
import shutil
import sqlite3
import sys
from asyncio.subprocess import DEVNULL, PIPE, STDOUT
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from emulators.stack import demo
from emulators.stack.plan import CHECKOUT, DIRECTORY_COPY

LOADER = "shared.load_directory"


COMPLETE, ROWS_LEFT_OUT = 0, 2  # exit codes of the loader


class DirectoryNotLoadedError(Exception):
    """The directory could not be loaded; the message holds what the loader said."""


@dataclass(frozen=True)
class Loaded:
    """What the loader said, and whether it took every row."""

    said: str
    is_complete: bool


async def load_directory(stack_directory: Path, source: Path, environment: Mapping[str, str]) -> Loaded:
    """Loads the CSV files in `source` with the product's own loader. Raises DirectoryNotLoadedError.

    The stack keeps a copy of them for the simulator and for the sign-in page of the identity emulator.
    """
    code, said = await _run(_loader(source), environment)
    if code not in (COMPLETE, ROWS_LEFT_OUT):
        raise DirectoryNotLoadedError(f"{source} was not loaded:\n{said}")
    await asyncio.to_thread(_keep_copy, source, stack_directory / DIRECTORY_COPY)
    return Loaded(said, code == COMPLETE)


def _keep_copy(source: Path, copy: Path) -> None:
    if source.resolve() != copy.resolve():
        copy.mkdir(parents=True, exist_ok=True)
        for file in source.glob("*.csv"):
            shutil.copyfile(file, copy / file.name)


def write_first_directory(stack_directory: Path) -> None:
    """Writes the CSV files of the demo directory, unless the stack has had a directory before."""
    copy = stack_directory / DIRECTORY_COPY
    if not copy.exists():
        demo.write(copy)


def core_is_empty(sql_core: str) -> bool:
    """Whether a core database holds no directory yet. Only SQLite is looked into: any other is its owner's to fill."""
    if not sql_core.startswith("sqlite:///"):
        return False
    path = Path(sql_core.removeprefix("sqlite:///"))
    if not path.exists():
        return True
    with contextlib.closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
        try:
            return connection.execute("SELECT 1 FROM regions LIMIT 1").fetchone() is None
        except sqlite3.OperationalError:  # no such table
            return True


def _loader(source: Path) -> tuple[str, ...]:
    return (sys.executable, "-m", LOADER, str(source.absolute()))


async def _run(command: Sequence[str], environment: Mapping[str, str]) -> tuple[int | None, str]:
    """Runs a program to its end; returns its exit code and what it printed."""
    process = await asyncio.create_subprocess_exec(
        *command, stdin=DEVNULL, stdout=PIPE, stderr=STDOUT, cwd=CHECKOUT, env=environment
    )
    try:
        output, _ = await process.communicate()
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        raise
    return process.returncode, output.decode(errors="replace").strip()
