"""One running system for the tests of a file: its parts are processes, its start takes seconds."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.e2e.system import System, running_system


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def system(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[System]:
    async with running_system(tmp_path_factory.mktemp("stack")) as system:
        yield system
