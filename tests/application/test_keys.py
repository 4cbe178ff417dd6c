"""Keys in columns, and the table that finds them: a dictionary says what it must answer."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantum.application import keys as module
from quantum.application.keys import ABSENT, SEGMENT, Keys, KeyTable

KEYS = st.binary(max_size=40) | st.integers(0, 6).map(lambda size: b"\x00" * size)
LONG = st.builds(lambda byte, size: byte * size, st.binary(min_size=1, max_size=1), st.integers(0, 5 * SEGMENT))


@pytest.fixture(params=["compiled", "plain"])
def _mode(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a test with the kernels as they are, and as they would be without numba."""
    if request.param == "plain":
        for name in ("_hash", "_is_same", "_has", "_find", "find_keys", "add_keys", "spread"):
            monkeypatch.setattr(module, name, cast("Any", getattr(module, name)).py_func)


@given(st.lists(KEYS, max_size=20))
def test_keys_in_columns_are_the_keys(some: list[bytes]) -> None:
    keys = Keys.of(some)
    assert (list(keys), len(keys), Keys.of(keys) is keys) == (some, len(some), True)
    assert keys == some
    assert keys[1:3] == some[1:3]
    assert keys != [*some, b"another"]
    assert keys != len(some)


@pytest.mark.usefixtures("_mode")
def test_a_table_answers_as_a_dictionary_does() -> None:
    @settings(max_examples=100, deadline=None)
    @given(
        st.lists(st.tuples(KEYS | LONG, st.integers(0, 2**40)), max_size=80),
        st.lists(KEYS | LONG, max_size=20),
        st.integers(0, 80),
    )
    def holds(added: list[tuple[bytes, int]], others: list[bytes], cut: int) -> None:
        table, numbers = KeyTable(), dict[bytes, int]()
        for part in (added[:cut], added[cut:]):
            table.add(Keys.of([key for key, _ in part]), np.array([number for _, number in part], np.int64))
            numbers |= dict(part)
        asked = [*numbers, *others]
        assert table.find(Keys.of(asked)).tolist() == [numbers.get(key, ABSENT) for key in asked]
        assert len(table) == len(numbers)

    holds()


@pytest.mark.usefixtures("_mode")
def test_hashes_of_keys_that_differ_in_one_byte_of_any_segment_differ() -> None:
    secret = np.random.default_rng(7).integers(0, 2**46, SEGMENT)
    plain = bytes(5 * SEGMENT)
    hashes = {module._hash(module._bytes_of(plain), secret)}
    for place in range(0, len(plain), 7):
        changed = plain[:place] + b"\x01" + plain[place + 1 :]
        hashes.add(module._hash(module._bytes_of(changed), secret))
    assert len(hashes) == 1 + len(range(0, len(plain), 7))
    assert all(0 <= one < 2**31 for one in hashes)


def test_the_kernels_are_compiled_after_warming_up() -> None:
    module.warm_up()
    for kernel in (module.find_keys, module.add_keys, module.spread):
        assert cast("Any", kernel).signatures
