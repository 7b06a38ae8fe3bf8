"""Several processes at one database, and one that dies in the middle of its work."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.store.opening import open_core_store, open_monitor_store
from tests.integration.store_databases import DIALECTS, Databases, databases, execute

ROOT = Path(__file__).parents[2]

# Migrates both roles, then writes 20 batches, of which half are those of the other process too.
WRITER = """
import sys
from shared.domain.facility import FacilityChange, FacilityStatus
from shared.store.opening import open_core_store, open_monitor_store
address, name = sys.argv[1:]
monitor, core = open_monitor_store(address), open_core_store(address)
sys.stdin.readline()
applied = monitor.migrate() + core.migrate()
added = 0
for version in range(1, 21):
    facility = f"f-{name}" if version % 2 else "f-shared"
    changes = [
        FacilityChange(f"{facility}-{n}", FacilityStatus.ONLINE, 1_795_000_000_000 + version, version, 1, "heartbeat")
        for n in range(50)
    ]
    added += monitor.record_changes(changes)
print(len(applied), added)
"""

# Writes far into one transaction and waits there to be killed.
VICTIM = """
import sys, time
from shared.domain.facility import FacilityChange, FacilityStatus
from shared.store.database import Transaction
from shared.store.opening import open_monitor_store
store = open_monitor_store(sys.argv[1])
store.migrate()
write = Transaction.write
def write_and_wait(self, name, rows):
    if name == "raise_status":
        print("in the middle", flush=True)
        time.sleep(60)
    return write(self, name, rows)
Transaction.write = write_and_wait
store.record_changes([
    FacilityChange(f"f-{n}", FacilityStatus.ONLINE, 1_795_000_000_000, 1, 1, "heartbeat") for n in range(12_000)
])
"""


@pytest.fixture(params=DIALECTS)
def address(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    with databases(request.param, tmp_path) as made:
        made_by: Databases = made
        yield made_by.empty()


def start(script: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", script, *arguments],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_processes_that_start_at_once_migrate_once_and_lose_no_write(address: str) -> None:
    writers = [start(WRITER, address, name) for name in ("a", "b", "c")]
    outcomes = []
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("go\n")
        writer.stdin.flush()
    for writer in writers:
        out, err = writer.communicate(timeout=60)
        assert writer.returncode == 0, err
        outcomes.append([int(text) for text in out.split()])
    assert sum(applied for applied, _ in outcomes) == 7
    assert sum(added for _, added in outcomes) == 3 * 10 * 50 + 10 * 50
    store = open_monitor_store(address)
    states = {state.facility_id: state.version for state in store.facility_states()}
    store.close()
    assert len(states) == 200
    assert {version for facility, version in states.items() if facility.startswith("f-shared")} == {20}
    assert {version for facility, version in states.items() if not facility.startswith("f-shared")} == {19}


def test_a_process_killed_in_its_transaction_leaves_nothing_of_it(address: str) -> None:
    with start(VICTIM, address) as victim:
        assert victim.stdout is not None
        assert victim.stdout.readline() == "in the middle\n"
        victim.send_signal(signal.SIGKILL)
        victim.communicate(timeout=10)
    store = open_monitor_store(address)
    assert store.migrate() == []
    assert store.facility_states() == []
    assert execute(address, "SELECT count(*) FROM facility_status_history") == [(0,)]
    core = open_core_store(address)
    assert core.migrate()[0] == "0001_initial"
    store.close()
    core.close()
