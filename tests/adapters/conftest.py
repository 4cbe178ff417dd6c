from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import pytest_asyncio
from tests.signing_in import Scene, open_scene

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest_asyncio.fixture(name="running", scope="module", loop_scope="module")
async def running_scene() -> AsyncIterator[Scene]:
    async with open_scene() as scene:
        yield scene


@pytest.fixture(name="scene")
def scene_begun_anew(running: Scene) -> Scene:
    """A system and its identity provider as before the first test of the module, but for the time that has passed."""
    running.begin_anew()
    return running
