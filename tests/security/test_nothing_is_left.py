"""After hundreds of bad questions and bad policies, the server has the memory and the tasks that it had before."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import httpx
import psutil
import pytest
from tests.security.test_policy_input import POLICIES
from tests.security.test_query_input import QUESTIONS, something_is_there
from tests.serving import ENOUGH_S, MEGA
from tests.watching import Watching, served_aside

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.asking import Asked

MAY_GROW: Final = 20 * MEGA
LISTS: Final = {
    "Q": QUESTIONS,
    # the others make something, which is to stay
    "P": [asked for asked in POLICIES if asked.status >= 400],
}


class Inside:
    """The event loop of a server in another thread."""

    loop: asyncio.AbstractEventLoop

    async def prepare(self, system: Watching) -> None:
        """Remember the loop, after preparing what the lists take for granted."""
        await something_is_there(system)
        self.loop = asyncio.get_running_loop()

    def tasks(self) -> int:
        """How many tasks there are, without the one that counts."""

        async def count() -> int:
            return len(asyncio.all_tasks()) - 1

        return asyncio.run_coroutine_threadsafe(count(), self.loop).result(ENOUGH_S)


@pytest.fixture(name="server", scope="module")
def running_server() -> Iterator[tuple[Inside, httpx.Client]]:
    inside = Inside()
    with served_aside(inside.prepare) as base, httpx.Client(base_url=base, timeout=ENOUGH_S) as client:
        yield inside, client


@pytest.mark.parametrize("name", LISTS)
def test_memory_and_tasks_are_flat_after_hundreds_of_rows_of_a_list(
    server: tuple[Inside, httpx.Client], name: str
) -> None:
    inside, client = server

    def ask(rows: Sequence[Asked]) -> None:
        for asked in rows:
            asked.check(client.request(*asked.request, **asked.says))

    ask(LISTS[name] * 4)
    tasks, resident = inside.tasks(), psutil.Process().memory_info().rss
    ask(LISTS[name] * 8)
    assert len(LISTS[name]) * 8 > 500
    assert inside.tasks() < tasks + 10  # connections come and go; what a request leaves behind would be hundreds
    assert psutil.Process().memory_info().rss - resident < MAY_GROW
