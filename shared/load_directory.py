"""`python -m shared.load_directory DIR`: puts a directory from CSV files, one per core table, in force."""

import argparse
import asyncio
import sys
from pathlib import Path

from shared.bootstrap import Services
from shared.errors import DirectoryMissingError, PulseError
from shared.settings import Settings
from shared.store.load import LoadedDirectory, read_csv_directory

DONE, NOTHING_LOADED, ROWS_LEFT_OUT = 0, 1, 2


async def load(services: Services, folder: Path) -> LoadedDirectory:
    """Replaces the core database's directory by the files' and publishes it; returns what was read.

    When this returns, every process works with it. Raises OSError for files, PulseError for databases and Redis.
    """
    core = services.core_store
    await core.thread.run(core.migrate)
    existing = await core.thread.run(core.read_directory)
    loaded = await asyncio.to_thread(read_csv_directory, folder, existing)
    await core.thread.run(lambda: core.replace_directory(loaded.directory, keep_missing=loaded.incomplete_tables))
    await services.monitor.refresh_directory()
    return loaded


async def _main(folder: Path) -> int:
    services = Services(Settings.from_environment())
    try:
        loaded = await load(services, folder)
        view = await services.directory.view()
        await services.broadcaster.deliver()
    finally:
        await services.broadcaster.close()
        await services.push.close()
        await services.redis.aclose()
    for error in loaded.errors:
        sys.stderr.write(f"{error}\n")
    sys.stdout.write(
        f"in force: {len(view.regions)} regions, {len(view.facilities)} facilities; "
        f"{len(loaded.directory.users)} users read, {len(loaded.errors)} rows left out\n"
    )
    return ROWS_LEFT_OUT if loaded.errors else DONE


def main() -> int:
    """Returns 0, 1 when nothing was loaded, or 2 when rows were left out (each reported by file and line)."""
    parser = argparse.ArgumentParser(prog="load-directory", description=main.__doc__)
    parser.add_argument(
        "folder",
        type=Path,
        metavar="DIR",
        help="holds regions.csv, counties.csv, facilities.csv, users.csv, facility_users.csv; "
        "a table without a file, or with broken rows, keeps the rows it has",
    )
    try:
        return asyncio.run(_main(parser.parse_args().folder))
    except (OSError, PulseError, DirectoryMissingError) as error:
        sys.stderr.write(f"load-directory: {error}\n")
        return NOTHING_LOADED


if __name__ == "__main__":
    sys.exit(main())
