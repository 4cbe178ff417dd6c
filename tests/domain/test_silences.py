"""Silences: who is told of alerts, and when, while some are kept quiet."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.facts import START_MS, Log, full_match, labels, new_pipeline, policy, run, run_with_restart, silent_for

from quantum.domain.alerts import AlertState, Effects
from quantum.domain.audit import Outcome
from quantum.domain.errors import NotFound, Rejected
from quantum.domain.facts import (
    DeletePolicy,
    EndSilence,
    Fact,
    Heartbeat,
    PutPolicy,
    PutReceiver,
    PutSilence,
    WebhookReceiver,
)
from quantum.domain.labels import LabelSet, Matcher, MatcherCompiler, MatchOp
from quantum.domain.schedules import WEEKDAYS, Occurrence, Schedule, span_of
from quantum.domain.silences import (
    MAX_COMMENT,
    MAX_SILENCE_MS,
    MAX_SILENCES,
    REMEMBERED,
    Silence,
    SilenceBook,
    SilenceState,
)

CPU = labels("cpu", host="a")
HOST_A = (Matcher("host", MatchOp.EQUAL, "a"),)
HOUR_MS = 3_600_000


def silence(key: str = "s1", **more: Any) -> Silence:
    plain = Silence(
        id=key,
        matchers=HOST_A,
        starts_at_ms=START_MS,
        ends_at_ms=START_MS + HOUR_MS,
        comment="a new disk",
        author="ann",
        created_at_ms=START_MS,
    )
    return replace(plain, **more)


def evenings(window: tuple[str, str] = ("22:14", "22:15")) -> Schedule:
    """Return a schedule of every day in November, by UTC; the story begins on the 14th at 22:13:20."""
    return Schedule("UTC", WEEKDAYS, *window, "2023-11-13", "2023-11-30", ((0, 0),))


def again(key: str = "s1", window: tuple[str, str] = ("22:14", "22:15")) -> Silence:
    """Return a silence that comes in the evenings."""
    schedule = evenings(window)
    span = span_of(schedule)
    return silence(key, starts_at_ms=span.starts_at_ms, ends_at_ms=span.ends_at_ms, schedule=schedule)


def minute(number: int, day: int = 0) -> int:
    """Return a minute after ten in the evening, on the first day of the story or a later one."""
    return START_MS + (number * 60 - 800) * 1000 + day * 24 * HOUR_MS


def story(*first: PutSilence) -> Log:
    """Somebody is to be told when a host is hot, and silences are made before it is."""
    log = Log()
    log.add(PutReceiver(WebhookReceiver(name="ops", url="http://x/"), 0, "me"))
    log.add(PutPolicy(policy(receivers=("ops",)), 0, "me"))
    for command in first:
        log.add(command)
    return log


def told(effects: list[Effects]) -> list[tuple[int, AlertState]]:
    """Return (second since the start, state) of everything that somebody is told."""
    return [((one.at_ms - START_MS) // 1000, one.alert.state) for each in effects for one in each.intents]


def silenced_by(effects: list[Effects]) -> list[str | None]:
    return [one.silenced_by for each in effects for one in each.alerts]


def test_of_an_alert_that_is_silenced_nobody_is_told_and_everything_else_is_as_ever() -> None:
    log, plain = story(PutSilence(silence(), "ann")), story()
    for one in (log, plain):
        one.send({CPU: 95.0})
        silent_for(one, 2)
        one.send({CPU: 1.0})
        silent_for(one, 2)
    effects, as_ever = run(log.facts)[1], run(plain.facts)[1]
    assert told(effects) == []
    assert [state for _, state in told(as_ever)] == [AlertState.FIRING, AlertState.RESOLVED]
    assert [one.transitions for one in effects[-7:]] == [one.transitions for one in as_ever[-7:]]
    assert silenced_by(effects)[-1] == "s1"
    assert silenced_by(as_ever)[-1] is None


def test_what_does_not_match_is_told() -> None:
    elsewhere = silence(matchers=(Matcher("host", MatchOp.EQUAL, "b"),))
    log = story(PutSilence(elsewhere, "ann"))
    log.send({CPU: 95.0})
    silent_for(log, 1)
    assert [state for _, state in told(run(log.facts)[1])] == [AlertState.FIRING]


@pytest.mark.parametrize(
    "matcher",
    [
        Matcher("alertname", MatchOp.EQUAL, "hot"),
        Matcher("severity", MatchOp.REGEX, "warning|critical"),
        Matcher("host", MatchOp.NOT_EQUAL, ""),
    ],
)
def test_alerts_are_known_by_policy_severity_and_group(matcher: Matcher) -> None:
    log = story(PutSilence(silence(matchers=(matcher,)), "ann"))
    log.send({CPU: 95.0})
    silent_for(log, 1)
    assert told(run(log.facts)[1]) == []


def test_an_alert_that_still_fires_when_its_silence_is_over_is_told_then_and_its_end_too() -> None:
    log = story(PutSilence(silence(ends_at_ms=START_MS + 5000), "ann"))
    log.send({CPU: 95.0})
    for _ in range(7):
        log.send({CPU: 95.0})
    log.send({CPU: 1.0})
    silent_for(log, 2)
    pipeline, effects = run(log.facts)
    assert told(effects) == [(5, AlertState.FIRING), (10, AlertState.RESOLVED)]
    assert silenced_by(effects)[-1] is None
    assert [one.state(log.at_ms) for one in pipeline.silences.silences] == [SilenceState.OVER]


def test_a_silence_that_somebody_ends_lets_its_alerts_be_told_at_the_next_evaluation() -> None:
    log = story(PutSilence(silence(), "ann"))
    log.send({CPU: 95.0})
    log.send({CPU: 95.0})
    log.add(EndSilence("s1", "bob"))
    log.send({CPU: 95.0})
    pipeline, effects = run(log.facts)
    assert [state for _, state in told(effects)] == [AlertState.FIRING]
    [ended] = pipeline.silences.silences
    assert (ended.ended_by, ended.ends_at_ms) == ("bob", log.facts[-2].at_ms)
    entries = [one for each in effects for one in each.audit][-2:]
    assert [(one.action, one.actor, one.target) for one in entries] == [
        ("put_silence", "ann", '{host="a"}'),
        ("end_silence", "bob", "s1"),
    ]


def test_of_what_was_told_before_the_silence_the_end_is_told_within_it() -> None:
    log = story()
    log.send({CPU: 95.0})
    log.send({CPU: 95.0})
    log.add(PutSilence(silence(), "ann"))
    log.send({CPU: 1.0})
    silent_for(log, 1)
    assert [state for _, state in told(run(log.facts)[1])] == [AlertState.FIRING, AlertState.RESOLVED]


def test_an_alert_goes_from_one_silence_to_another_without_being_told() -> None:
    longer = silence("s2", starts_at_ms=START_MS + 3000, ends_at_ms=START_MS + 2 * HOUR_MS)
    log = story(PutSilence(silence(ends_at_ms=START_MS + 5000), "ann"), PutSilence(longer, "ann"))
    for _ in range(8):
        log.send({CPU: 95.0})
    effects = run(log.facts)[1]
    assert told(effects) == []
    assert list(dict.fromkeys(silenced_by(effects))) == ["s1", "s2"]


def test_a_silenced_alert_whose_policy_is_deleted_is_told_to_nobody() -> None:
    log = story(PutSilence(silence(ends_at_ms=START_MS + 4000), "ann"))
    log.send({CPU: 95.0})
    log.send({CPU: 95.0})
    log.add(DeletePolicy("hot", None, "me"))
    silent_for(log, 10)
    assert told(run(log.facts)[1]) == []


def test_what_fires_in_an_occurrence_is_told_when_that_is_over_and_the_next_day_it_is_the_same_again() -> None:
    log = story(PutSilence(again(), "ann"))
    for day in (0, 1):
        log.add(Heartbeat(), minute(13, day) + 50_000 - log.at_ms)
        silent_for(log, 15)  # until 22:14:05
        for _ in range(60):
            log.send({CPU: 95.0})
        log.send({CPU: 1.0})
        silent_for(log, 2)
    effects = run(log.facts)[1]
    later = 24 * 3600
    assert told(effects) == [
        (100, AlertState.FIRING),
        (107, AlertState.RESOLVED),
        (100 + later, AlertState.FIRING),
        (107 + later, AlertState.RESOLVED),
    ]


def test_what_resolves_within_an_occurrence_is_told_to_nobody_and_what_fires_between_two_is_told() -> None:
    log = story(PutSilence(again(), "ann"))
    log.send({CPU: 95.0})
    log.send({CPU: 1.0})
    log.add(Heartbeat(), minute(14) - log.at_ms)
    log.send({CPU: 95.0})
    log.send({CPU: 1.0})
    silent_for(log, 90)
    assert [state for _, state in told(run(log.facts)[1])] == [AlertState.FIRING, AlertState.RESOLVED]


def test_a_silence_that_comes_again_waits_between_its_occurrences() -> None:
    one = again()
    states = [(one.state(minute(number, day)).value) for day in (0, 1) for number in (13, 14, 15)]
    assert states == ["pending", "active", "pending"] * 2
    assert one.occurrence(minute(15)) is None
    assert one.occurrence(minute(14)) == Occurrence(minute(14), minute(15))
    assert next(one.to_come(minute(15))) == Occurrence(minute(14, 1), minute(15, 1))
    assert one.newest(minute(13)) == Occurrence(minute(14, -1), minute(15, -1))
    assert one.newest(minute(14, -1) - 1) is None
    assert one.state(minute(15, 16)) is SilenceState.OVER
    assert list(one.to_come(minute(15, 16))) == []
    assert one.newest(minute(15, 20)) == Occurrence(minute(14, 16), minute(15, 16))


def test_a_silence_that_comes_again_can_be_ended_for_good_within_an_occurrence_or_between_two() -> None:
    for at_ms in (minute(14) + 30_000, minute(15) + 1):
        book = SilenceBook(MatcherCompiler(full_match))
        book.put(again(), minute(13))
        assert book.covering(LabelSet.of({"host": "a"}), minute(14)) is not None
        book.end("s1", "bob", at_ms)
        [ended] = book.silences
        assert ended.state(at_ms) is SilenceState.OVER
        assert ended.newest(at_ms + HOUR_MS) == Occurrence(minute(14), min(at_ms, minute(15)))
        assert book.covering(LabelSet.of({"host": "a"}), minute(14, 1)) is None
        assert list(ended.to_come(minute(14) + 1)) == [Occurrence(minute(14), min(at_ms, minute(15)))]


def test_a_plain_silence_has_one_occurrence() -> None:
    plain = silence(starts_at_ms=START_MS + 10)
    whole = Occurrence(START_MS + 10, START_MS + HOUR_MS)
    assert list(plain.to_come(START_MS)) == list(plain.to_come(START_MS + 20)) == [whole]
    assert list(plain.to_come(whole.ends_at_ms)) == []
    assert (plain.newest(START_MS), plain.newest(START_MS + HOUR_MS)) == (None, whole)


@given(st.permutations([again("s1"), again("s2", ("22:14", "22:16")), again("s3", ("22:00", "22:16")), silence("s4")]))
def test_which_silence_keeps_an_alert_quiet_does_not_depend_on_the_order_in_which_they_were_made(
    made: list[Silence],
) -> None:
    book = SilenceBook(MatcherCompiler(full_match))
    for one in made:
        book.put(one, START_MS)
    found = [book.covering(LabelSet.of({"host": "a"}), minute(number, 1)) for number in (-1, 0, 13, 14, 15, 16)]
    assert [None if one is None else one.id for one in found] == [None, "s3", "s3", "s3", "s3", None]
    quiet = book.covering(LabelSet.of({"host": "a"}), minute(15))
    assert quiet is not None
    assert quiet.id == "s4"


def refusal(*commands: PutSilence | EndSilence, after_ms: int = 0) -> Exception | None:
    log = Log()
    for command in commands:
        log.add(command, after_ms)
    pipeline = new_pipeline()
    *_, last = [pipeline.step(fact) for fact in log.facts]
    assert [one.outcome for one in last.effects.audit] == [Outcome.REFUSED]
    return last.refusal


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"matchers": ()}, "silence_matchers"),
        ({"matchers": HOST_A * 21}, "silence_matchers"),
        ({"matchers": (Matcher("host", MatchOp.REGEX, ".*"),)}, "silence_matchers"),
        ({"matchers": (Matcher("host", MatchOp.REGEX, "("),)}, "regex"),
        ({"ends_at_ms": START_MS}, "silence_time"),
        ({"ends_at_ms": START_MS + MAX_SILENCE_MS + 1}, "silence_time"),
        ({"starts_at_ms": START_MS - 2000, "ends_at_ms": START_MS - 1000}, "silence_time"),
        ({"schedule": replace(evenings(), by_day=("XX",))}, "silence_schedule"),
        ({"schedule": replace(evenings(), clocks=())}, "silence_schedule"),
        ({"schedule": evenings(), "ends_at_ms": START_MS}, "silence_time"),
        ({"comment": "x" * (MAX_COMMENT + 1)}, "silence_text"),
        ({"comment": "a\x00b"}, "silence_text"),
    ],
)
def test_silences_that_make_no_sense_are_refused(changed: dict[str, Any], reason: str) -> None:
    refused = refusal(PutSilence(silence(**changed), "ann"))
    assert isinstance(refused, Rejected)
    assert refused.reason == reason


def test_what_is_not_there_or_over_cannot_be_ended() -> None:
    assert isinstance(refusal(EndSilence("s9", "bob")), NotFound)
    over = refusal(PutSilence(silence(), "ann"), EndSilence("s1", "bob"), EndSilence("s1", "bob"))
    assert isinstance(over, Rejected)
    assert over.reason == "silence_state"


def test_a_silence_that_is_ended_before_it_starts_was_never_in_force() -> None:
    book = SilenceBook(MatcherCompiler(full_match))
    book.put(silence(starts_at_ms=START_MS + 1000), START_MS)
    book.end("s1", "bob", START_MS + 10)
    [ended] = book.silences
    assert ended.starts_at_ms == ended.ends_at_ms == START_MS + 10


def test_the_same_silence_again_changes_nothing_and_leaves_no_entry() -> None:
    log = story(PutSilence(silence(), "ann"), PutSilence(silence(), "ann"))
    pipeline, effects = run(log.facts)
    assert len(pipeline.silences.silences) == 1
    assert effects[-1].audit == ()


def test_there_are_limits_and_those_that_are_over_are_forgotten_in_the_end() -> None:
    book = SilenceBook(MatcherCompiler(full_match))
    for number in range(MAX_SILENCES):
        book.put(silence(f"s{number}", ends_at_ms=START_MS + 1), START_MS)
    with pytest.raises(Rejected, match="end some first"):
        book.put(silence("one more"), START_MS)
    for number in range(REMEMBERED):
        book.put(silence(f"t{number}", ends_at_ms=START_MS + 2), START_MS + 1)
    book.put(silence("last"), START_MS + 2)
    assert len(book.silences) == REMEMBERED + 1
    assert book.find("s0") is None
    assert book.find("t0") is not None


moves = st.one_of(
    st.tuples(st.just("send"), st.sampled_from([1.0, 95.0])),
    st.tuples(st.just("beat"), st.integers(1, 4)),
    st.tuples(st.just("silence"), st.tuples(st.integers(0, 3), st.integers(1, 6))),
    st.tuples(st.just("again"), st.sampled_from([("22:13", "22:14"), ("22:14", "22:15"), ("22:00", "22:14")])),
    st.tuples(st.just("wait"), st.just(20)),
    st.tuples(st.just("end"), st.integers(0, 5)),
)


def log_of(steps: list[tuple[str, Any]]) -> Log:
    log = story()
    for number, (kind, argument) in enumerate(steps):
        if kind == "send":
            log.send({CPU: argument, labels("cpu", host="b"): argument})
        elif kind in ("beat", "wait"):
            silent_for(log, argument)
        elif kind == "silence":
            begin, lasts = argument
            starts_at_ms = log.at_ms + begin * 1000
            one = silence(f"s{number}", starts_at_ms=starts_at_ms, ends_at_ms=starts_at_ms + lasts * 1000)
            log.add(PutSilence(one, "ann"))
        elif kind == "again":
            log.add(PutSilence(again(f"s{number}", argument), "ann"))
        else:
            log.add(EndSilence(f"s{argument}", "bob"))
    return log


def others(effects: list[Effects]) -> list[Effects]:
    """Return what was concluded of a host that no silence matches, and of everything but who is told."""
    elsewhere = LabelSet.of({"host": "b"})
    return [
        Effects(
            transitions=each.transitions,
            intents=tuple(one for one in each.intents if one.alert.group == elsewhere),
        )
        for each in effects
    ]


@settings(max_examples=150, deadline=None)
@given(st.lists(moves, max_size=30))
def test_silences_change_nothing_but_who_is_told_of_what_they_match(steps: list[tuple[str, Any]]) -> None:
    log = log_of(steps)
    plain = [replace(one, body=Heartbeat()) if _is_of_silences(one) else one for one in log.facts]
    # NaN differs from itself, its text does not
    assert repr(others(run(log.facts)[1])) == repr(others(run(plain)[1]))


@settings(max_examples=150, deadline=None)
@given(st.lists(moves, max_size=30))
def test_whoever_is_told_that_it_fires_is_told_that_it_resolved_and_nobody_else_is(
    steps: list[tuple[str, Any]],
) -> None:
    log = log_of(steps)
    log.send({CPU: 1.0, labels("cpu", host="b"): 1.0})
    silent_for(log, 12)
    effects = run(log.facts)[1]
    intents = [(one.alert.id, one.alert.state) for each in effects for one in each.intents]
    assert len(set(intents)) == len(intents)
    firing = [key for key, state in intents if state is AlertState.FIRING]
    assert sorted(firing) == sorted(key for key, state in intents if state is AlertState.RESOLVED)
    for key in firing:
        assert intents.index((key, AlertState.FIRING)) < intents.index((key, AlertState.RESOLVED))


@settings(max_examples=100, deadline=None)
@given(st.lists(moves, max_size=25), st.integers(0, 25))
def test_a_restart_anywhere_changes_nothing(steps: list[tuple[str, Any]], cut: int) -> None:
    log = log_of(steps)
    whole, told_whole = run(log.facts)
    second, effects = run_with_restart(log, cut)
    assert repr(effects) == repr(told_whole)
    assert repr(second.dump().memory) == repr(whole.dump().memory)


def _is_of_silences(fact: Fact) -> bool:
    return isinstance(fact.body, PutSilence | EndSilence)
