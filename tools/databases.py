"""`python -m tools.databases`: migrations, and the app's rights in its databases. Runs any number of times.

Settings are the outputs of infra/main.bicep, which azd hands to its hooks as environment variables. Whoever runs it is
the SQL server's Microsoft Entra administrator, signed in with azd or the Azure CLI.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass

from shared.domain.directory import County, Directory, Facility, Region
from shared.errors import PulseError, StoreError
from shared.store.core import SqlCoreStore
from shared.store.database import Database
from shared.store.monitor import SqlMonitorStore

_SCOPE = "https://database.windows.net/.default"
_FIREWALL_RULE = "deployer"
_FIREWALL_SECONDS = 360.0
_REFUSED_ADDRESS = re.compile(r"IP address '([0-9.]+)' is not allowed")
_IDENTITY_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")
SMOKE = "smoke"

# What the app does in the customer's own database: it reads the directory and keeps three columns of a facility.
_CORE_TABLES = ("regions", "counties", "facilities", "users", "facility_users")
_CORE_COLUMNS = ("connectivity_status", "connectivity_since", "connectivity_version")


@dataclass(frozen=True)
class Identity:
    """The app's managed identity. Raises ValueError for what cannot be one."""

    name: str
    client_id: uuid.UUID

    def __post_init__(self) -> None:
        if not _IDENTITY_NAME.fullmatch(self.name):
            raise ValueError(f"{self.name!r} is not the name of an identity")

    def user(self) -> str:
        """Returns T-SQL that makes the database user, anew when the identity was made anew.

        By SID, so that nobody has to be asked in Microsoft Entra, which a server may not be allowed to.
        """
        sid = f"0x{self.client_id.bytes_le.hex().upper()}"
        known = f"SELECT 1 FROM sys.database_principals WHERE name = N'{self.name}'"  # noqa: S608 -- checked above
        return (
            f"IF EXISTS ({known} AND sid <> {sid})\n    DROP USER [{self.name}];\n"
            f"IF NOT EXISTS ({known})\n    CREATE USER [{self.name}] WITH SID = {sid}, TYPE = E;\n"
        )

    def monitor_rights(self) -> str:
        """Returns T-SQL that lets the app read and write the private database, and change no table."""
        return (
            f"{self.user()}ALTER ROLE db_datareader ADD MEMBER [{self.name}];\n"
            f"ALTER ROLE db_datawriter ADD MEMBER [{self.name}];\n"
        )

    def core_rights(self) -> str:
        """Returns T-SQL that lets the app read the directory and write the connectivity of facilities."""
        reads = "".join(f"GRANT SELECT ON OBJECT::{table} TO [{self.name}];\n" for table in _CORE_TABLES)
        columns = ", ".join(_CORE_COLUMNS)
        return f"{self.user()}{reads}GRANT UPDATE ON OBJECT::facilities ({columns}) TO [{self.name}];\n"


def prepare_monitor(database: Database, identity: Identity) -> list[str]:
    """Migrates the private database and lets the app in; returns the migrations that were applied."""
    applied = SqlMonitorStore(database).migrate()
    _grant(database, identity.monitor_rights())
    return applied


def prepare_core(database: Database, identity: Identity, *, created: bool, smoke_user: str | None) -> list[str]:
    """Lets the app into the core database. One that we created gets its tables too, and somebody for the smoke test.

    Returns the migrations that were applied. Raises StoreError when an existing database lacks a table.
    """
    store = SqlCoreStore(database)
    applied = store.migrate() if created else []
    _grant(database, identity.core_rights())
    if created and smoke_user and not store.read_directory().regions:
        store.replace_directory(
            Directory(
                regions={SMOKE: Region(SMOKE, "Smoke test")},
                counties={SMOKE: County(SMOKE, SMOKE, "Smoke test")},
                facilities={SMOKE: Facility(SMOKE, SMOKE, "Smoke test")},
                users={smoke_user: "Smoke test"},
                facilities_of_user={smoke_user: (SMOKE,)},
            )
        )
    return applied


def _grant(database: Database, sql: str) -> None:
    if database.dialect == "sqlserver":
        database.run("monitor", lambda transaction: transaction.script(sql), writing=True)


@dataclass(frozen=True)
class Server:
    """A SQL server that the caller administers; `name` is set for one that the template made."""

    host: str
    name: str | None = None
    resource_group: str | None = None


@contextmanager
def reachable(server: Server, database: Database, log: Callable[[str], None]) -> Iterator[None]:
    """Lets this machine's address through the server's firewall for the duration of the block, if it must.

    Raises StoreError when the server refuses for another reason, or is not ours to open.
    """
    refused = _refused_address(database)
    if refused is None:
        yield
        return
    if server.name is None or server.resource_group is None:
        raise StoreError(f"{server.host} does not let {refused} in: open its firewall for this machine, then run again")
    log(f"letting {refused} through the firewall of {server.name}")
    _firewall(server, "create", "--start-ip-address", refused, "--end-ip-address", refused)
    try:
        give_up_at = time.monotonic() + _FIREWALL_SECONDS
        while _refused_address(database) is not None:
            if time.monotonic() > give_up_at:
                raise StoreError(f"{server.host} still refuses {refused} after {_FIREWALL_SECONDS:g} s")
            time.sleep(10)
        yield
    finally:
        _firewall(server, "delete", "--yes")


def _refused_address(database: Database) -> str | None:
    try:
        database.run("monitor", lambda transaction: list(transaction.read("ping")))
    except StoreError as error:
        if match := _REFUSED_ADDRESS.search(str(error)):
            return match[1]
        raise
    return None


def _firewall(server: Server, verb: str, *arguments: str) -> None:
    names = ("--resource-group", str(server.resource_group), "--server", str(server.name), "--name", _FIREWALL_RULE)
    _az("sql", "server", "firewall-rule", verb, *names, *arguments, "--output", "none")


def _az(*arguments: str) -> str:
    program = shutil.which("az")
    if program is None:
        raise StoreError(f"`az {' '.join(arguments[:4])}` is needed here: install the Azure CLI and sign in")
    done = subprocess.run([program, *arguments], capture_output=True, text=True, check=False)  # noqa: S603 -- our own
    if done.returncode != 0:
        raise StoreError(f"az {' '.join(arguments[:4])}: {done.stderr.strip()[:500]}")
    return done.stdout


def outputs_of(deployment: str) -> dict[str, str]:
    """Returns the outputs of a deployment of infra/main.bicep by their names. Raises StoreError."""
    text = _az("deployment", "sub", "show", "--name", deployment, "--query", "properties.outputs", "--output", "json")
    # Azure Resource Manager may change the case of names.
    return {name.upper(): str(output["value"]) for name, output in json.loads(text).items()}


def _token_source() -> Callable[[], str]:
    from azure.identity import AzureCliCredential, AzureDeveloperCliCredential, ChainedTokenCredential  # noqa: PLC0415

    credential = ChainedTokenCredential(AzureDeveloperCliCredential(), AzureCliCredential())
    return lambda: credential.get_token(_SCOPE).token


def _open(host: str, name: str, token: Callable[[], str]) -> Database:
    try:
        # Only here: printing the rights needs no ODBC.
        from shared.store.sqlserver import SqlServerDatabase  # noqa: PLC0415
    except ImportError as error:
        raise StoreError(f"this needs an ODBC driver manager and Microsoft's ODBC Driver 18: {error}") from error
    form = "Driver={{ODBC Driver 18 for SQL Server}};Server=tcp:{},1433;Database={};Encrypt=yes;"
    return SqlServerDatabase(form.format(host, name), token)


def _required(environ: Mapping[str, str], name: str) -> str:
    if value := environ.get(name):
        return value
    raise ValueError(f"{name} is not set; run this as a hook of azd, or with --deployment NAME")


def prepare(environ: Mapping[str, str], log: Callable[[str], None]) -> None:
    """Prepares both databases. Raises ValueError for the environment, PulseError for the databases."""
    identity = _identity(environ)
    token = _token_source()
    created = environ.get("SQL_CORE_CREATED", "").lower() == "true"
    server = Server(
        _required(environ, "SQL_MONITOR_SERVER"), environ.get("SQL_SERVER_NAME"), environ.get("AZURE_RESOURCE_GROUP")
    )
    core_server = server if created else Server(_required(environ, "SQL_CORE_SERVER"))
    with (
        closing(_open(server.host, _required(environ, "SQL_MONITOR_DATABASE"), token)) as monitor,
        closing(_open(core_server.host, _required(environ, "SQL_CORE_DATABASE"), token)) as core,
    ):
        with reachable(server, monitor, log):
            log(_told("monitor", prepare_monitor(monitor, identity)))
            if created:
                user = environ.get("SMOKE_USER")
                log(_told("core", prepare_core(core, identity, created=True, smoke_user=user)))
        if not created:
            with reachable(core_server, core, log):
                log(_told("core", prepare_core(core, identity, created=False, smoke_user=None)))


def _identity(environ: Mapping[str, str]) -> Identity:
    client_id = uuid.UUID(_required(environ, "SERVICE_API_IDENTITY_CLIENT_ID"))
    return Identity(_required(environ, "SERVICE_API_IDENTITY_NAME"), client_id)


def _told(role: str, applied: list[str]) -> str:
    return f"{role}: {', '.join(applied) or 'no migration was missing'}; the app may use it"


def main(arguments: list[str] | None = None) -> int:
    """Returns 0 when both databases are ready, 1 with the reason on standard error."""
    parser = argparse.ArgumentParser(prog="python -m tools.databases", description=main.__doc__)
    parser.add_argument(
        "--print-rights",
        action="store_true",
        help="only print the T-SQL, for those who run it by hand in each database",
    )
    parser.add_argument("--deployment", metavar="NAME", help="takes the settings from this deployment's outputs")
    options = parser.parse_args(arguments)

    def log(text: str) -> None:
        sys.stdout.write(f"databases: {text}\n")
        sys.stdout.flush()

    try:
        environ: Mapping[str, str] = os.environ
        if options.deployment:
            environ = {**os.environ, **outputs_of(options.deployment)}
            log(f"of {environ['SERVICE_API_NAME']} at {environ['SERVICE_API_URI']}/api")
        if options.print_rights:
            identity = _identity(environ)
            sys.stdout.write(f"-- private database\n{identity.monitor_rights()}\n")
            sys.stdout.write(f"-- core database\n{identity.core_rights()}")
        else:
            prepare(environ, log)
    except (PulseError, ValueError) as error:
        sys.stderr.write(f"databases: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
