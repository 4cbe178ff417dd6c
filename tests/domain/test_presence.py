"""Heartbeats, lateness and silence."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantum.domain import presence as module
from quantum.domain.presence import LATE, OK, SILENT, Presence

NEWER = ("spacing_ms", "last_ms", "is_live")
"""Columns that states of earlier releases do not have."""


def heard(times: list[int]) -> Presence:
    presence = Presence()
    for at_ms in times:
        presence.hear(np.array([0]), np.array([at_ms]), watched_ms=at_ms)
    return presence


@given(st.integers(100, 3_600_000), st.integers(2, 50))
def test_a_steady_interval_is_learnt_exactly(interval_ms: int, count: int) -> None:
    presence = heard([n * interval_ms for n in range(count)])
    assert len(presence) == 1
    assert presence.interval_ms()[0] == interval_ms
    assert presence.newest_ms()[0] == (count - 1) * interval_ms


def test_one_outage_moves_the_learnt_interval_by_a_tenth_at_most() -> None:
    presence = heard([0, 1000, 2000, 3_600_000])
    assert presence.interval_ms()[0] <= 1100


@given(st.integers(1, 3_600_000), st.lists(st.integers(1, 60), min_size=2, max_size=8))
def test_who_sends_many_samples_at_once_has_a_heartbeat_and_samples_nearer_to_each_other(
    spacing_ms: int, sent_at_once: list[int]
) -> None:
    presence, number = Presence(), 0
    for count in sent_at_once:
        at_ms = np.arange(number, number + count) * spacing_ms
        number += count
        presence.hear(np.array([0]), at_ms[-1:], watched_ms=int(at_ms[-1]))
        presence.space(np.zeros(count, np.int64), at_ms)
    assert presence.spacing_ms()[0] == spacing_ms
    assert presence.interval_ms()[0] >= spacing_ms * min(sent_at_once[1:])


@given(st.integers(100, 600_000), st.integers(2, 1000), st.integers(2, 20))
def test_after_a_history_was_imported_two_live_samples_tell_the_heartbeat(
    interval_ms: int, at_once: int, batches: int
) -> None:
    presence, watched_ms, at_ms = Presence(), 0, 0
    for number in range(1, batches + 1):
        at_ms = number * at_once * interval_ms
        presence.hear(np.array([0]), np.array([at_ms]), watched_ms)
    assert presence.interval_ms()[0] == at_once * interval_ms
    for _ in range(2):
        watched_ms, at_ms = watched_ms + interval_ms, at_ms + interval_ms
        presence.hear(np.array([0]), np.array([at_ms]), watched_ms)
    assert presence.interval_ms()[0] == interval_ms


@given(st.integers(1, 100), st.integers(0, 40))
def test_what_a_sender_catches_up_with_changes_no_heartbeat(seconds: int, behind: int) -> None:
    interval_ms = seconds * 1000
    presence = heard([n * interval_ms for n in range(5)])
    watched_ms = (5 + behind) * interval_ms
    for n in range(5, 5 + behind):
        presence.hear(np.array([0]), np.array([n * interval_ms + n % 2]), watched_ms)
    assert presence.interval_ms()[0] == pytest.approx(interval_ms, rel=0.1)


def test_what_comes_late_says_nothing_of_how_far_samples_are_apart() -> None:
    presence = heard([0])
    presence.space(np.zeros(5, np.int64), np.array([0, 1000, 400, 700, 2000]))
    assert presence.spacing_ms()[0] == 1000


def test_a_state_of_an_earlier_release_can_be_restored() -> None:
    before = heard([0, 60_000])
    state = {name: column for name, column in before.dump().items() if not name.endswith(NEWER)}
    presence = Presence()
    presence.restore(state)
    assert (len(presence), presence.interval_ms()[0]) == (1, 60_000)
    assert np.isnan(presence.spacing_ms()[0])


def test_silence_goes_from_ok_over_late_to_silent() -> None:
    presence = heard([0, 10_000])
    assert [int(presence.status(10_000 + after)[0]) for after in (5000, 23_000, 53_000)] == [OK, LATE, SILENT]


def test_a_series_heard_once_has_no_heartbeat_and_is_neither_late_nor_silent() -> None:
    presence = heard([0])
    assert np.isnan(presence.interval_ms()[0])
    assert presence.status(10**9)[0] == OK


def test_an_ended_series_is_silent_until_it_is_heard_again() -> None:
    presence = heard([0, 1000])
    presence.end(np.array([0]))
    assert presence.status(1000)[0] == SILENT
    presence.hear(np.array([0]), np.array([2000]), watched_ms=2000)
    assert presence.status(2000)[0] == OK


def test_a_sample_that_is_not_newer_is_not_heard() -> None:
    presence = heard([5000])
    presence.hear(np.array([0]), np.array([4000]), watched_ms=9000)
    assert presence.silence_ms(9000)[0] == 4000


def test_what_is_heard_is_the_same_without_the_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    def all_kinds() -> Presence:
        presence = Presence()
        for at_ms, watched_ms in ((0, 0), (1000, 0), (900, 0), (2000, 5), (3000, 900), (4000, 1900), (4500, 1900)):
            presence.hear(np.array([0]), np.array([at_ms]), watched_ms)
        return presence

    compiled = all_kinds().dump()
    monkeypatch.setattr(module, "hear_rows", module.hear_rows.py_func)  # type: ignore[attr-defined]
    for name, column in all_kinds().dump().items():
        np.testing.assert_array_equal(column, compiled[name])
