"""Rule 7 through the whole system: 25 people fall silent at once, as when a network breaks."""

import time
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path

import pytest
import pytest_asyncio

from emulators.stack import Stack
from tests.e2e.crowd import Crowd, eventually, gathered

pytestmark = pytest.mark.asyncio(loop_scope="module")

TTL, HOLD = 8.0, 6.0
SETTINGS = {"SESSION_TTL_SECONDS": str(TTL), "MASS_SILENCE_HOLD_SECONDS": str(HOLD)}
NUMBERS = range(2, 27)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def crowd(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Crowd]:
    directory: Path = tmp_path_factory.mktemp("silence")
    async with Stack(directory, SETTINGS) as stack, gathered(stack.addresses, interval=TTL / 4) as crowd:
        yield crowd


async def stale(crowd: Crowd, since: float, value: bool) -> dict[str, str]:
    """Returns the newest announcement once it is this."""

    async def said() -> dict[str, str] | None:
        told = crowd.told.stale(since=since)
        return told[-1] if told and told[-1]["stale"] is value else None

    found = await eventually(said, f"stale is {value}")
    assert found is not None
    return found


async def test_when_they_come_back_nothing_has_happened(crowd: Crowd) -> None:
    await crowd.join(NUMBERS)
    await crowd.calm()
    began = time.monotonic()
    deadlines = await crowd.fall_silent(*NUMBERS)
    first = min(datetime.fromisoformat(at) for at in deadlines.values())
    held = await stale(crowd, began, True)
    assert -0.5 < (datetime.fromisoformat(held["since"]) - first).total_seconds() < 2
    await crowd.join(NUMBERS)
    await stale(crowd, began, False)
    await crowd.calm()
    assert crowd.told.changes(since=began) == []


async def test_when_the_hold_runs_out_the_truth_is_told_with_true_times(crowd: Crowd) -> None:
    await crowd.calm()
    began = time.monotonic()
    deadlines = await crowd.fall_silent(*NUMBERS)
    await stale(crowd, began, True)
    held = time.monotonic()
    await stale(crowd, began, False)
    assert time.monotonic() - held > HOLD - 1.5

    async def all_told() -> bool:
        return len(crowd.told.offline(began)) == len(deadlines)

    await eventually(all_told, "everybody is told to be offline")
    assert sorted(crowd.told.offline(began)) == sorted(deadlines.items())
    assert crowd.told.arrival("f-2", "offline", began) >= held + HOLD - 1.5
