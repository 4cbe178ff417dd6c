"""Everything that is compiled, run over the same inputs: what a process without numba has to find too.

`python -m tests.without_numba` runs it where numba cannot be imported, and prints what was found.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import sys
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

ROWS = 700
QUERIES = 30


def samples() -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Three series: a noisy season, a counter with a reset, steps with gaps; NaN and infinities now and then."""
    random = np.random.default_rng(3)
    step = np.arange(ROWS)
    columns = np.stack(
        [
            50 + 10 * np.sin(step / 9) + random.normal(0, 1, ROWS).round(3),
            np.where(step < 400, 3.0 * step, 3.0 * (step - 400)),
            (step // 50 % 4).astype(float),
        ],
        axis=1,
    )
    columns[300, 0], columns[310, 1], columns[320, 2], columns[600, 0] = np.nan, np.inf, -np.inf, 500.0
    slots = np.tile(np.arange(3), ROWS)
    return slots, np.repeat(step * 10_000, 3), columns.ravel()


def findings() -> dict[str, str]:
    """Return a digest of what each part makes of its input."""
    parts = (detectors, decoders, chunks, texts, answers, presence)
    return {name: digest for part in parts for name, digest in part().items()}


def digest(*arrays: NDArray[Any] | bytes) -> str:
    found = hashlib.sha256()
    for array in arrays:
        found.update(array if isinstance(array, bytes) else np.ascontiguousarray(array).tobytes())
    return found.hexdigest()


def detectors() -> dict[str, str]:
    from quantum.domain.detectors.robust_ensemble import RobustEnsemble
    from quantum.domain.detectors.robust_seasonal import RobustSeasonal

    found = {}
    for make in (RobustEnsemble, RobustSeasonal):
        bank = make()
        scores = bank.score_and_learn(*samples())
        state = bank.dump()
        found[bank.name] = digest(scores.score, scores.expected, scores.lower, scores.upper)
        found[f"state of {bank.name}"] = digest(*(state[name] for name in sorted(state)))
    return found


def decoders() -> dict[str, str]:
    from tests.writes import request_2, series

    from quantum.adapters.influx_line import decode_lines
    from quantum.adapters.line_forms import Forms
    from quantum.adapters.remote_write import decode_remote_write, decode_remote_write_2
    from quantum.application.ingest import Limits
    from quantum.application.keys import Keys, KeyTable

    labels = [{"__name__": "m", "host": f"h{number}", "x": "\u00e4" * number} for number in range(7)]
    rows = [[(1_790_000_000_000 + at, at / 3) for at in range(number + 1)] for number in range(7)]
    first = b"".join(series(*one) for one in zip(labels, rows, strict=True))
    lines = "".join(f"cpu,host=h{n} a={n / 7},b={n}i,c=t {1_790_000_000_000 + n}\n" for n in range(50)) + "bad\n"
    forms = Forms()
    for number in (7, 8):
        known = decode_lines(b"cpu,host=a x=%d.5,y=-1 %d\nup v=3 9" % (number, number), Limits(), 1, 0, forms)
    asked = (
        ("remote-write 1.0", decode_remote_write(first, Limits())),
        ("remote-write 2.0", decode_remote_write_2(request_2(*zip(labels, rows, strict=True)), Limits())),
        ("line protocol", decode_lines(lines.encode(), Limits(), 1, 0)),
    )
    found = {
        name: digest(one.row_series, one.at_ms, one.values, repr([one.labels_of(n) for n in range(7)]).encode())
        for name, one in asked
    }
    found["line protocol again"] = digest(known.at_ms, known.values, known.row_series)
    keys, table = Keys.of([b"k%d" % n for n in range(500)]), KeyTable()
    table.add(keys, np.arange(500))
    found["keys"] = digest(table.find(keys))
    return found


def chunks() -> dict[str, str]:
    from quantum.adapters.batch_rows import packed_rows, unpacked_rows
    from quantum.adapters.chunks import briefly, pack_floats, pack_samples, unpack_floats, unpack_samples
    from quantum.domain.series import SampleBatch

    random = np.random.default_rng(5)
    columns = (
        random.normal(0, 9, 400).round(2),
        random.integers(1, 50, 400) / random.integers(1, 60, 400),
        samples()[2],
    )
    packed = [pack_floats(column) for column in columns]
    rows = packed_rows(*samples())
    assert rows is not None
    order, blocks = pack_samples(SampleBatch(*samples()), briefly)
    bodies = [block.body for block in blocks]
    back = unpack_samples(order, bodies)
    return {
        "chunks": digest(*packed, *map(unpack_floats, packed)),
        "rows of the log": digest(rows, *unpacked_rows(rows)),
        "a sealed piece": digest(order, *bodies, back.slots, back.at_ms, back.values),
    }


def texts() -> dict[str, str]:
    from quantum.adapters.http.json_columns import numbers_json, times_json
    from quantum.adapters.http.prometheus_points import write_points

    _, at_ms, values = samples()
    times_ms, counts = at_ms + 1_790_000_000_000, np.full(3, ROWS)
    points = write_points(times_ms, values, counts, lambda odd: ",".join(map(repr, odd.tolist())).encode())
    return {"windows": digest(numbers_json(values), times_json(times_ms)), "points": digest(*points)}


def answers() -> dict[str, str]:
    from tests.promql import Fleet, generate
    from tests.system.test_promql_against_prometheus import START_MS, answered, queries_over

    from quantum.adapters.sqlite import MEMORY, SqliteStore

    async def ask() -> list[str]:
        random, fleet = np.random.default_rng(8), Fleet(START_MS)
        async with SqliteStore(MEMORY) as store:
            queries = await queries_over(store, fleet)
            times_ms = (START_MS + 1_200_000, START_MS + 3_000_000, 300_000)
            return [repr(await answered(queries, generate(random), *times_ms)) for _ in range(QUERIES)]

    return {"PromQL": digest("\n".join(asyncio.run(ask())).encode())}


def presence() -> dict[str, str]:
    from quantum.domain.newest import Newest
    from quantum.domain.presence import Presence
    from quantum.domain.scoring import Scores
    from quantum.domain.series import SampleBatch

    slots, at_ms, values = samples()
    heard, newest = Presence(), Newest()
    heard.hear(slots, at_ms, 5)
    newest.take(SampleBatch(slots, at_ms, values), Scores(*(values.copy() for _ in range(4))), 0)
    states = (heard.dump(), newest.dump())
    return {"presence": digest(*(state[name] for state in states for name in sorted(state)))}


if __name__ == "__main__":
    sys.modules["numba"] = None  # type: ignore[assignment] # whoever imports it is refused
    found = findings()
    from quantum.domain.newest import find_newest

    print(json.dumps({"is compiled": str(hasattr(find_newest, "py_func")), **found}))
