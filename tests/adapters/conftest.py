from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio
from psycopg.conninfo import make_conninfo
from tests.parts.postgres import sql
from tests.signing_in import Scene, open_scene

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator


@pytest_asyncio.fixture(name="running", scope="module", loop_scope="module")
async def running_scene() -> AsyncIterator[Scene]:
    async with open_scene() as scene:
        yield scene


@pytest.fixture(name="scene")
def scene_begun_anew(running: Scene) -> Scene:
    """A system and its identity provider as before the first test of the module, but for the time that has passed."""
    running.begin_anew()
    return running


@pytest.fixture
def database(postgres_url: str, request: pytest.FixtureRequest) -> Iterator[str]:
    """The address of an empty database of this test alone."""
    name = "q" + re.sub(r"\W", "_", request.node.name.lower())[:40]
    sql(postgres_url, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
    sql(postgres_url, f"CREATE DATABASE {name}")
    yield make_conninfo(postgres_url, dbname=name)
    sql(postgres_url, f"DROP DATABASE {name} WITH (FORCE)")
