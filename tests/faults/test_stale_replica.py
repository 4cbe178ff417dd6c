"""PostgreSQL fails over to a replica that was behind: nobody goes on as if nothing were missing.

Row F19 of the fault matrix in docs/reliability.md.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Final

import httpx
from tests.parts.children import start_child
from tests.parts.ordeal import SETTLE_WITHIN_S, check_replay
from tests.parts.postgres import new_cluster, sql
from tests.parts.program import ALONE, QUANTUM, run_quantum
from tests.parts.proxy import run_proxy
from tests.parts.redis import run_redis

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from pathlib import Path

    from tests.parts.postgres import Cluster
    from tests.parts.program import Program

HOUR_MS: Final = 3_600_000
ROWS: Final = 10
MISSING: Final = r"the facts ([\d,]+) to ([\d,]+) are missing.*--accept-loss (default:\d+-\d+)"
END: Final = "SELECT greatest((SELECT max(position) FROM facts), (SELECT max(last_position) FROM segments))"


def push(program: Program, name: str) -> list[int]:
    """Have samples acknowledged, one request each; return their times."""
    now_ms = time.time_ns() // 1_000_000
    times = [now_ms - ROWS + number for number in range(ROWS)]
    for at_ms in times:
        assert program.push(({"__name__": name}, [at_ms], [1.0]))["accepted"] == 1
    return times


def stored(program: Program, name: str) -> list[int]:
    series = program.series(name)
    if series is None:
        return []
    path = f"/api/v1/series/{series['fingerprint']}/window"
    now_ms = time.time_ns() // 1_000_000
    window = program.get(path, start_ms=now_ms - HOUR_MS, end_ms=now_ms, points=1000)
    return [at_ms for at_ms, value in zip(window["at_ms"], window["value"], strict=True) if value is not None]


def wait_until_stored(program: Program, name: str, times: list[int]) -> None:
    """Wait for samples to be shown: a series is found once it was scored."""
    program.wait_until(lambda: stored(program, name) == times or None, f"the samples of {name}", SETTLE_WITHIN_S)


def wait_until_followed(gateway: Program, position: int) -> None:
    """Wait until a gateway has taken in so much of the log itself: most of what it answers it asks the writer for."""
    gateway.wait_until(
        lambda: gateway.metric("quantum_followed_position") >= position or None, "the facts", SETTLE_WITHIN_S
    )


def end_of(cluster: Cluster) -> int:
    """Return the position of the last fact that a database has."""
    return int(sql(cluster.url(), END)[0][0])


def missing_as_said(said: str) -> tuple[int, int, str]:
    """Return first and last of the facts that are missing, and by which name they can be given up."""
    found = re.search(MISSING, said)
    assert found is not None, said
    return int(found[1].replace(",", "")), int(found[2].replace(",", "")), found[3]


def refused(folder: Path, environment: dict[str, str]) -> str:
    """Return what a start says that is refused."""
    log = folder / "refused.log"
    with start_child([QUANTUM, "run", "--port", "0", "--data-dir", folder / "writer"], log, environment) as child:
        assert child.process.wait(SETTLE_WITHIN_S) == 1
        (said,) = [line for line in child.text().splitlines() if line.startswith("quantum: ")]
    return said


def store_as_examined(folder: Path, environment: dict[str, str]) -> dict[str, Any]:
    """Return what `quantum doctor` says of the store."""
    command: list[str | Path] = [QUANTUM, "doctor", "--json", "--data-dir", folder / "writer"]
    done = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, check=False)
    return next(one for one in json.loads(done.stdout) if one["part"] == "store")


def sent_until_it_ends(program: Program) -> set[tuple[int, bool]]:
    """Send until nobody answers any more; return the statuses, and whether each said when to come again."""
    answers = set[tuple[int, bool]]()
    while program.child.process.poll() is None:
        table = {"labels": {"__name__": "late"}, "timestamps_ms": [time.time_ns() // 1_000_000], "values": [1.0]}
        try:
            answer = program.http.post("/api/v1/samples", json={"series": [table]})
        except httpx.TransportError:
            break
        answers.add((answer.status_code, "retry-after" in answer.headers))
    return answers


def test_f19_a_database_that_went_back_is_noticed_by_all_and_written_to_only_once_the_loss_is_accepted(
    tmp_path: Path, tell: Callable[[str], None]
) -> None:
    (tmp_path / "redis").mkdir()
    with new_cluster() as primary, ExitStack() as stack:
        server = stack.enter_context(primary.running())
        replica = stack.enter_context(primary.replica())
        stack.enter_context(replica.running())
        proxy = stack.enter_context(run_proxy(str(primary.home / ".s.PGSQL.5432")))
        environment = {
            **ALONE,
            "QUANTUM_STORE__KIND": "postgres",
            "QUANTUM_STORE__URL": f"postgresql://quantum@127.0.0.1:{proxy.port}/postgres",
            "QUANTUM_REDIS__URL": stack.enter_context(run_redis(tmp_path / "redis")).url,
        }

        def run(name: str, *arguments: str, **variables: str) -> AbstractContextManager[Program]:
            told, log = environment | variables, tmp_path / f"{name}.log"
            return run_quantum(tmp_path / name, log, *arguments, environment=told, ready_within_s=SETTLE_WITHIN_S)

        def start(name: str, *arguments: str, **variables: str) -> Program:
            return stack.enter_context(run(name, *arguments, **variables))

        writer = start("writer")
        gateway = start("gateway", "--role", "gateway", QUANTUM_GATEWAY__WRITERS=writer.base)
        kept = push(writer, "kept")
        primary.wait_for_replica()
        replica.cut_off()
        lost = push(writer, "lost")
        seen = end_of(primary)
        push(writer, "after")
        wait_until_followed(gateway, seen)
        server.kill()
        replica.promote()
        begin_s = time.monotonic()
        proxy.lead_to(str(replica.home / ".s.PGSQL.5432"))

        assert sent_until_it_ends(writer) <= {(503, True)}
        assert [one.child.process.wait(SETTLE_WITHIN_S) for one in (writer, gateway)] == [1, 1]
        tell(f"F19: writer and gateway ended {time.monotonic() - begin_s:.1f} s after the failover")
        end = end_of(replica)
        for said in (gateway.child.text(), writer.child.text(), refused(tmp_path, environment)):
            first, last, name = missing_as_said(said)
            assert first == end + 1
            assert last >= seen
        examined = store_as_examined(tmp_path, environment)
        assert not examined["well"]
        assert name in examined["words"]
        assert end_of(replica) == end

        for arguments in (("--accept-loss", name), ()):
            with run("writer", *arguments) as again:
                wait_until_stored(again, "kept", kept)
                if arguments:
                    assert stored(again, "lost") == []
                    assert again.push(({"__name__": "lost"}, lost, [1.0] * ROWS))["accepted"] == ROWS
                wait_until_stored(again, "lost", lost)
                told = [one for one in again.get("/api/v1/audit")["items"] if one["action"] == "accept_loss"]
                assert [one["target"] for one in told] == [f"{first}-{last}"]
                check_replay(again)
                assert again.child.stop(timeout_s=SETTLE_WITHIN_S) == 0
        assert store_as_examined(tmp_path, environment)["well"]
