"""Bodies that came before: what is made of the next is what would be made of it without them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.adapters.test_influx_line import LIMITS, NOW_MS, bodies, mutated

from quantum.adapters import influx_line, line_forms
from quantum.adapters.line_forms import Forms
from quantum.application.ingest import Limits
from quantum.domain.errors import Rejected

if TYPE_CHECKING:
    from quantum.application.ingest import Incoming

LINES = b"cpu,host=a usage=1.5,idle=-2 7\ncpu,host=b usage=3,idle=4.25 7\nup ok=1 8"
PLAIN = st.lists(
    st.tuples(
        st.sampled_from([b"cpu,host=a", b"cpu,host=b", b"up"]),
        st.lists(st.tuples(st.sampled_from([b"usage", b"idle"]), st.integers(-99, 99)), min_size=1, max_size=3),
        st.integers(0, 2**40),
    ),
    min_size=1,
    max_size=4,
).map(lambda lines: b"\n".join(b"%b %b %d" % (head, _fields(fields), at) for head, fields, at in lines))


def _fields(fields: list[tuple[bytes, int]]) -> bytes:
    return b",".join(b"%b=%d.5" % field for field in fields)


def understood(incoming: Incoming) -> object:
    keys = [incoming.keys[index] for index in incoming.row_series.tolist()]
    columns = incoming.at_ms.tolist(), incoming.values.view(np.int64).tolist()
    return list(zip(keys, *columns, strict=True)), incoming.refusals, dict(incoming.ignored), list(incoming.keys)


def decode(body: bytes, forms: Forms | None = None, per_ms: int = 1) -> Incoming:
    return influx_line.decode_lines(body, LIMITS, per_ms, NOW_MS, forms)


def other_numbers(body: bytes, number: int) -> bytes:
    """Return a body with other digits, which may be other names as well."""
    return re.sub(rb"\d+", b"%d" % number, body)


@given(st.lists(PLAIN | bodies | mutated(), min_size=1, max_size=4), st.integers(0, 10**17), st.sampled_from([1, 1000]))
def test_what_a_body_says_does_not_depend_on_those_before(some: list[bytes], number: int, per_ms: int) -> None:
    forms = Forms()
    for body in (*some, *(other_numbers(one, number) for one in some), *some, *(one[:-1] for one in some)):
        assert understood(decode(body, forms, per_ms)) == understood(decode(body, None, per_ms))


def test_a_body_with_other_numbers_has_the_very_keys_of_the_one_before() -> None:
    forms = Forms()
    first, second = decode(LINES, forms), decode(LINES.replace(b" 7", b" 12").replace(b"1.5", b"-0.125"), forms)
    assert second.keys is first.keys
    assert second.values.tolist() == [-0.125, -2.0, 3.0, 4.25, 1.0]
    assert second.at_ms.tolist() == [12, 12, 12, 12, 8]
    assert second.labels_of(4) == first.labels_of(4)


@pytest.mark.parametrize("body", [b"# note\nm v=1 1", b'm v=1,t="x" 1', b"m v=1", b"m v=1e3 1", b"m v=1 1\n\n", b"bad"])
def test_what_is_said_in_another_way_becomes_no_form(body: bytes) -> None:
    forms = Forms()
    decode(body, forms)
    assert len(forms) == 0


@pytest.mark.parametrize(("name", "limit"), [("MOST_BYTES", 9), ("MOST_ROWS", 1), ("MOST_KEY_BYTES", 9)])
def test_large_bodies_become_no_forms(monkeypatch: pytest.MonkeyPatch, name: str, limit: int) -> None:
    forms = Forms()
    decode(LINES, forms)
    monkeypatch.setattr(line_forms, name, limit)
    others = Forms()
    assert understood(decode(LINES, others)) == understood(decode(LINES, forms))
    assert (len(forms), len(others)) == (1, 0)


def test_the_forms_that_were_of_use_last_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line_forms, "MOST_FORMS", 2)
    forms = Forms()
    for head in (b"a", b"b", b"a", b"c"):
        decode(head + b" v=1 1", forms)
    assert [forms.find(head + b" v=2 1") is not None for head in (b"a", b"b", b"c")] == [True, False, True]


def test_a_known_body_keeps_to_limits_that_are_lower_now() -> None:
    forms = Forms()
    decode(LINES, forms)
    with pytest.raises(Rejected, match="the limit is 2"):
        influx_line.decode_lines(LINES, Limits(max_samples_per_request=2), 1, NOW_MS, forms)


def test_times_that_do_not_fit_are_refused_although_the_form_is_known() -> None:
    forms = Forms()
    for at, refused in ((1, 0), (9 * 10**17, 1)):
        incoming = influx_line.decode_lines(b"m v=1 %d" % at, LIMITS, -1000, NOW_MS, forms)
        assert incoming.refusals.counts.total() == refused
