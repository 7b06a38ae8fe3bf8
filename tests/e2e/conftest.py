"""One running system for all tests that leave it as they found it: its parts are processes, its start takes seconds."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.e2e.system import System, running_system


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def system(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[System]:
    async with running_system(tmp_path_factory.mktemp("stack")) as system:
        yield system
