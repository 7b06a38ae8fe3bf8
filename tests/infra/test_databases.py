"""Migrations and rights as the deployment applies them: once, again, and by two at a time."""

import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from shared.errors import PulseError, StoreError
from shared.store.core import SqlCoreStore
from shared.store.database import Database, Session, Transaction
from shared.store.opening import open_database
from shared.store.statements import statement
from tests.infra.conftest import CHECKOUT
from tools import databases
from tools.databases import SMOKE, Identity, Server, prepare_core, prepare_monitor, reachable

CLIENT_ID = uuid.UUID("00112233-4455-6677-8899-aabbccddeeff")
IDENTITY = Identity("id-abc123", CLIENT_ID)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with closing(open_database(f"sqlite:///{tmp_path / 'one.db'}")) as opened:
        yield opened


def test_a_second_run_finds_nothing_to_do(database: Database) -> None:
    assert prepare_monitor(database, IDENTITY)
    assert prepare_monitor(database, IDENTITY) == []
    assert prepare_core(database, IDENTITY, created=True, smoke_user="u-1")
    assert prepare_core(database, IDENTITY, created=True, smoke_user="u-1") == []


def test_two_deployments_at_once_migrate_once(tmp_path: Path) -> None:
    address = f"sqlite:///{tmp_path / 'shared.db'}"
    applied: list[str] = []
    start = threading.Barrier(4)

    def deployment() -> None:
        start.wait()
        with closing(open_database(address)) as opened:
            applied.extend(prepare_monitor(opened, IDENTITY))

    threads = [threading.Thread(target=deployment) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(applied) == len(set(applied)) > 0


def test_a_new_core_database_has_a_facility_for_the_smoke_test_and_a_filled_one_is_left_alone(
    database: Database,
) -> None:
    prepare_core(database, IDENTITY, created=True, smoke_user="u-1")
    store = SqlCoreStore(database)
    assert store.read_directory().facilities_of_user == {"u-1": (SMOKE,)}
    prepare_core(database, IDENTITY, created=True, smoke_user="somebody-else")
    assert store.read_directory().facilities_of_user == {"u-1": (SMOKE,)}


def test_an_existing_core_database_gets_no_table(database: Database) -> None:
    assert prepare_core(database, IDENTITY, created=False, smoke_user="u-1") == []
    with pytest.raises(StoreError, match="no such table"):
        SqlCoreStore(database).read_directory()


def test_the_user_is_made_by_its_client_id_and_anew_when_that_changed() -> None:
    # As SQL Server shows it: CAST(CAST('00112233-4455-6677-8899-aabbccddeeff' AS uniqueidentifier) AS varbinary(16))
    sid = "0x33221100554477668899AABBCCDDEEFF"
    sql = IDENTITY.user()
    assert f"CREATE USER [id-abc123] WITH SID = {sid}, TYPE = E;" in sql
    assert f"sid <> {sid})\n    DROP USER [id-abc123];" in sql
    assert sql.index("DROP USER") < sql.index("CREATE USER")


def test_the_app_can_change_no_table_and_in_the_core_database_only_what_it_writes() -> None:
    monitor, core = IDENTITY.monitor_rights(), IDENTITY.core_rights()
    assert "ddladmin" not in monitor + core
    assert "db_owner" not in monitor + core
    assert "db_data" not in core
    update = statement("sqlserver", "core", "update_connectivity")
    granted = core.partition("GRANT UPDATE ON OBJECT::facilities (")[2].partition(")")[0].split(", ")
    written = [part.split("=")[0].strip() for part in update.partition("\nSET ")[2].partition("\nFROM ")[0].split(",")]
    assert granted == written


@pytest.mark.parametrize("name", ["", "a]b", "a'b", "x" * 129, "-x"])
def test_a_name_that_could_break_out_of_its_brackets_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="is not the name of an identity"):
        Identity(name, CLIENT_ID)


def test_the_rights_can_be_printed_for_those_who_run_them_by_hand(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SERVICE_API_IDENTITY_NAME", IDENTITY.name)
    monkeypatch.setenv("SERVICE_API_IDENTITY_CLIENT_ID", str(CLIENT_ID))
    assert databases.main(["--print-rights"]) == 0
    assert capsys.readouterr().out == (
        f"-- private database\n{IDENTITY.monitor_rights()}\n-- core database\n{IDENTITY.core_rights()}"
    )


class Guarded(Database):
    """A database behind a firewall that `az` opens."""

    dialect = "sqlite"

    def __init__(self, behind: Database, opened: Path) -> None:
        super().__init__()
        self._behind = behind
        self._opened = opened

    def run[T](
        self, role: str, work: Callable[[Transaction], T], *, writing: bool = False, attempts: int | None = None
    ) -> T:
        if not self._opened.exists():
            raise StoreError(
                "[SQL Server]Cannot open server 'sql-x' requested by the login. "
                "Client with IP address '203.0.113.7' is not allowed to access the server. (40615) (SQLDriverConnect)"
            )
        return self._behind.run(role, work, writing=writing, attempts=attempts)

    def connect(self) -> Session:
        return self._behind.connect()

    def translate(self, error: Exception) -> PulseError | None:
        return self._behind.translate(error)


@pytest.fixture
def azure_cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An `az` that writes down what it was asked for, and answers as the real one does."""
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "az"
    program.write_text(
        f"""#!/bin/sh
echo "$@" >>"{folder}/asked"
case "$*" in
    "sql server firewall-rule create"*) touch "{folder}/open" ;;
    "sql server firewall-rule delete"*) rm "{folder}/open" ;;
    "deployment sub show --name pulse "*)
        echo '{{"servicE_API_NAME": {{"type": "String", "value": "func-1"}},'
        echo ' "servicE_API_URI": {{"type": "String", "value": "https://func-1"}},'
        echo ' "servicE_API_IDENTITY_NAME": {{"type": "String", "value": "id-abc123"}},'
        echo ' "servicE_API_IDENTITY_CLIENT_ID": {{"type": "String", "value": "{CLIENT_ID}"}}}}' ;;
    *) echo "no such deployment" >&2; exit 3 ;;
esac
"""
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    return folder


def test_the_firewall_is_opened_for_this_machine_and_closed_again(database: Database, azure_cli: Path) -> None:
    server = Server("sql-x.database.windows.net", "sql-x", "rg-x")
    guarded = Guarded(database, azure_cli / "open")
    said: list[str] = []
    with reachable(server, guarded, said.append):
        assert prepare_monitor(guarded, IDENTITY)
    assert not (azure_cli / "open").exists()
    names = "--resource-group rg-x --server sql-x --name deployer"
    assert (azure_cli / "asked").read_text().splitlines() == [
        f"sql server firewall-rule create {names} "
        "--start-ip-address 203.0.113.7 --end-ip-address 203.0.113.7 --output none",
        f"sql server firewall-rule delete {names} --yes --output none",
    ]
    assert said == ["letting 203.0.113.7 through the firewall of sql-x"]


def test_a_firewall_that_is_not_ours_is_named_with_the_address_it_refuses(database: Database, azure_cli: Path) -> None:
    server = Server("customer.database.windows.net")
    with (
        pytest.raises(StoreError, match=r"customer\.database\.windows\.net does not let 203\.0\.113\.7 in"),
        reachable(server, Guarded(database, azure_cli / "open"), lambda _: None),
    ):
        pytest.fail("it cannot be reached")
    assert not (azure_cli / "asked").exists()


def test_a_server_that_lets_this_machine_in_is_left_alone(database: Database, azure_cli: Path) -> None:
    with reachable(Server("sql-x.database.windows.net", "sql-x", "rg-x"), database, lambda _: None):
        assert prepare_monitor(database, IDENTITY)
    assert not (azure_cli / "asked").exists()


@pytest.mark.usefixtures("azure_cli")
def test_a_deployments_outputs_stand_in_for_the_environment(capsys: pytest.CaptureFixture[str]) -> None:
    assert databases.main(["--deployment", "pulse", "--print-rights"]) == 0
    output = capsys.readouterr().out
    assert output.startswith("databases: of func-1 at https://func-1/api\n")
    assert IDENTITY.monitor_rights() in output
    assert databases.main(["--deployment", "other"]) == 1
    assert capsys.readouterr().err == "databases: az deployment sub show --name: no such deployment\n"


def test_outside_a_deployment_it_says_what_is_missing() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tools.databases"], cwd=CHECKOUT, env={}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr == (
        "databases: SERVICE_API_IDENTITY_CLIENT_ID is not set; run this as a hook of azd, or with --deployment NAME\n"
    )
