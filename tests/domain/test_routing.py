"""Routes: where alerts are led, who is told, and how routes are changed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.facts import START_MS, Log, full_match, labels, new_pipeline, policy, run, run_with_restart, silent_for

from quantum.domain.alerts import AlertState, Effects
from quantum.domain.audit import Outcome
from quantum.domain.errors import Conflict, NotFound, Rejected
from quantum.domain.facts import (
    DeleteReceiver,
    DeleteRoute,
    PutPolicy,
    PutReceiver,
    PutRoute,
    PutSilence,
    WebhookReceiver,
)
from quantum.domain.labels import MAX_NAME_BYTES, MAX_VALUE_BYTES, LabelSet, Matcher, MatcherCompiler, MatchOp
from quantum.domain.routes import DEFAULT, Route, RouteOutcome
from quantum.domain.routing import MAX_DEPTH, MAX_ORDER, MAX_ROUTES, MAX_STEPS, MAX_TOLD, ROOT, RouteBook
from quantum.domain.silences import Silence

CPU = labels("cpu", host="a")
NAMES = frozenset({"ops", "dev", "dba", "archive"})


def match(label: str, value: str, op: MatchOp = MatchOp.EQUAL) -> tuple[Matcher, ...]:
    return (Matcher(label, op, value),)


def book(*routes: Route) -> RouteBook:
    made = RouteBook(MatcherCompiler(full_match))
    made.replace_all(routes, NAMES)
    return made


def root(*receivers: str) -> Route:
    return replace(ROOT, receivers=receivers)


def ways(found: RouteBook, **those: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return (routes that decided, receivers)."""
    routed = found.route(LabelSet.of(those))
    return routed.routes, routed.receivers


# ---- where an alert is led ----------------------------------------------------------------------------------------


def test_without_routes_the_default_takes_every_alert_and_tells_nobody() -> None:
    assert ways(RouteBook(MatcherCompiler(full_match)), host="a") == ((DEFAULT,), ())


def test_an_alert_that_no_route_matches_goes_to_the_default() -> None:
    tree = book(root("ops"), Route(name="databases", matchers=match("job", "db"), receivers=("dba",)))
    assert ways(tree, job="web") == ((DEFAULT,), ("ops",))
    assert ways(tree, job="db") == (("databases",), ("dba",))


def test_the_first_that_matches_takes_the_alert_and_those_behind_one_that_goes_on_are_tried_too() -> None:
    every = Route(name="z first", order=1, receivers=("archive",), goes_on=True)
    one, other = (Route(name=name, order=5, matchers=match("job", "db"), receivers=(name,)) for name in ("dba", "dev"))
    assert ways(book(root("ops"), other, one, every), job="db") == (("z first", "dba"), ("archive", "dba"))
    assert ways(book(root("ops"), other, one, every), job="web") == (("z first",), ("archive",))


def test_a_route_leaves_the_alert_to_one_below_it_that_matches_else_it_tells_its_own() -> None:
    team = Route(name="team", matchers=match("team", "a"), receivers=("dev",))
    loud = Route(name="loud", parent="team", matchers=match("severity", "critical"), receivers=("ops",))
    tree = book(root("archive"), team, loud)
    assert ways(tree, team="a", severity="critical") == (("loud",), ("ops",))
    assert ways(tree, team="a", severity="info") == (("team",), ("dev",))
    assert ways(tree, team="b", severity="critical") == ((DEFAULT,), ("archive",))


def test_a_route_that_names_nobody_tells_whom_its_parent_tells_and_an_empty_list_means_nobody() -> None:
    team = Route(name="team", matchers=match("team", "a"))
    below = Route(name="below", parent="team", matchers=match("severity", "info"))
    quiet = Route(name="quiet", matchers=match("job", "test"), receivers=())
    tree = book(root("ops"), team, below, quiet)
    assert ways(tree, team="a", severity="info") == (("below",), ("ops",))
    assert ways(tree, job="test") == (("quiet",), ())


def test_a_receiver_that_several_routes_name_is_told_once() -> None:
    one = Route(name="one", receivers=("ops", "dev"), goes_on=True)
    two = Route(name="two", receivers=("dev", "dba"))
    assert ways(book(one, two)) == (("one", "two"), ("ops", "dev", "dba"))


@pytest.mark.parametrize(
    ("matcher", "is_taken"),
    [
        (match("host", "a"), True),
        (match("host", "a", MatchOp.NOT_EQUAL), False),
        (match("host", "a|b", MatchOp.REGEX), True),
        (match("host", "b.*", MatchOp.NOT_REGEX), True),
        (match("nothing", ""), True),
    ],
)
def test_all_four_kinds_of_matchers_lead(matcher: tuple[Matcher, ...], *, is_taken: bool) -> None:
    assert (ways(book(Route(name="one", matchers=matcher)), host="a")[0] == ("one",)) is is_taken


def test_it_is_told_of_every_route_on_the_way_why_it_was_taken_or_not() -> None:
    tree = book(
        root("ops"),
        Route(name="a web", matchers=match("job", "web")),
        Route(name="b team", matchers=match("host", "a"), receivers=("dev",)),
        Route(name="c", parent="b team", matchers=match("zone", "x")),
        Route(name="d later"),
    )
    assert [(one.route, one.outcome, one.why) for one in tree.route(LabelSet.of({"host": "a", "job": "db"})).steps] == [
        (DEFAULT, RouteOutcome.LED_ON, "a route below it matches"),
        ("a web", RouteOutcome.NO_MATCH, "it asks for job=\"web\", and job is 'db'"),
        ("b team", RouteOutcome.TOLD, "it tells dev"),
        ("c", RouteOutcome.NO_MATCH, 'it asks for zone="x", and there is no zone'),
        ("d later", RouteOutcome.NOT_REACHED, "route 'b team' before it took the alert and does not go on"),
    ]
    assert tree.route(LabelSet(())).steps[-1].why == "it tells ops"
    assert book().route(LabelSet(())).steps[0].why == "it tells nobody"


def test_of_many_steps_the_first_are_kept_and_long_values_are_cut() -> None:
    long = match("host", "x" * 500)
    tree = book(*(Route(name=f"r{number:03d}", matchers=long) for number in range(MAX_ROUTES)))
    routed = tree.route(LabelSet.of({"host": "y" * 500}))
    assert (len(routed.steps), routed.left_out) == (MAX_STEPS, MAX_ROUTES + 1 - MAX_STEPS)
    assert all(len(one.why) < 250 for one in routed.steps)


# ---- changing routes ----------------------------------------------------------------------------------------------


def put(route: Route, expected: int | None = 0) -> PutRoute:
    return PutRoute(route, expected, "ann")


def test_edits_have_versions_and_one_that_changes_nothing_has_none() -> None:
    tree = book()
    assert tree.put(put(Route(name="a")), NAMES).version == 1
    assert tree.put(put(Route(name="a", receivers=("ops",)), 1), NAMES).version == 2
    assert tree.put(put(Route(name="a", receivers=("ops",)), None), NAMES).version == 2
    with pytest.raises(Conflict, match="at version 2, not 1"):
        tree.put(put(Route(name="a"), 1), NAMES)
    with pytest.raises(Conflict, match="already"):
        tree.put(put(Route(name="a")), NAMES)
    with pytest.raises(NotFound):
        tree.put(put(Route(name="b"), 3), NAMES)
    assert tree.put(put(root("ops"), None), NAMES).version == 2


def test_the_default_stays_and_so_does_a_route_that_others_are_below() -> None:
    tree = book(Route(name="a"), Route(name="b", parent="a"))
    with pytest.raises(Conflict, match="always there"):
        tree.delete(DeleteRoute(DEFAULT, None, "ann"))
    with pytest.raises(Conflict, match="'b' is below"):
        tree.delete(DeleteRoute("a", None, "ann"))
    with pytest.raises(Conflict, match="at version 1, not 7"):
        tree.delete(DeleteRoute("b", 7, "ann"))
    with pytest.raises(NotFound):
        tree.delete(DeleteRoute("c", None, "ann"))
    assert [tree.delete(DeleteRoute(name, 1, "ann")).name for name in ("b", "a")] == ["b", "a"]
    assert tree.routes == (ROOT,)


@pytest.mark.parametrize(
    ("route", "reason"),
    [
        (Route(name=" "), "route_name"),
        (Route(name="a/b"), "route_name"),
        (Route(name="a\x00"), "route_name"),
        (Route(name="x" * 201), "route_name"),
        (Route(name=".."), "route_name"),
        (Route(name="test"), "route_name"),
        (Route(name=DEFAULT, parent="", matchers=match("a", "b")), "route_default"),
        (Route(name=DEFAULT), "route_default"),
        (Route(name=DEFAULT, parent="", goes_on=True), "route_default"),
        (Route(name="a", matchers=match("a", "b") * 21), "route_matchers"),
        (Route(name="a", matchers=match("", "b")), "route_matchers"),
        (Route(name="a", matchers=match("a", "\x00")), "route_matchers"),
        (Route(name="a", matchers=match("a", "x" * (MAX_VALUE_BYTES + 1))), "route_matchers"),
        (Route(name="a", matchers=match("x" * (MAX_NAME_BYTES + 1), "x")), "route_matchers"),
        (Route(name="a", matchers=match("a", "(", MatchOp.REGEX)), "regex"),
        (Route(name="a", receivers=("nobody",)), "route_receiver"),
        (Route(name="a", receivers=("ops",) * (MAX_TOLD + 1)), "route_receiver"),
        (Route(name="a", order=-1), "route_order"),
        (Route(name="a", order=MAX_ORDER + 1), "route_order"),
        (Route(name="a", parent="b"), "route_parent"),
        (Route(name="a", parent=""), "route_parent"),
        (Route(name="a", parent="a"), "route_parent"),
    ],
)
def test_routes_that_make_no_sense_are_refused_and_nothing_changes(route: Route, reason: str) -> None:
    tree = book(Route(name="there"))
    before = tree.routes
    with pytest.raises(Rejected) as refused:
        tree.put(put(route, None), NAMES)
    assert refused.value.reason == reason
    assert tree.routes == before
    with pytest.raises(Rejected):
        tree.replace_all([route], NAMES)
    assert tree.routes == before


def test_a_route_cannot_be_moved_below_itself_nor_too_deep_nor_be_there_twice() -> None:
    tree = book(Route(name="a"), Route(name="b", parent="a"), Route(name="c", parent="b"))
    with pytest.raises(Rejected, match="below itself"):
        tree.put(put(Route(name="a", parent="c"), None), NAMES)
    ring = [Route(name="a", parent="b"), Route(name="b", parent="c"), Route(name="c", parent="b")]
    with pytest.raises(Rejected, match="below"):
        tree.replace_all(ring, NAMES)
    deep = [Route(name=f"r{n}", parent=f"r{n - 1}" if n else DEFAULT) for n in range(MAX_DEPTH + 1)]
    tree.replace_all(deep[:-1], NAMES)
    with pytest.raises(Rejected, match=f"over {MAX_DEPTH} routes"):
        tree.put(put(deep[-1]), NAMES)
    with pytest.raises(Rejected, match="twice"):
        tree.replace_all([Route(name="a"), Route(name="a")], NAMES)


def test_there_is_a_limit_to_their_number() -> None:
    tree = book(*(Route(name=f"r{number}") for number in range(MAX_ROUTES)))
    with pytest.raises(Rejected, match=f"route limit {MAX_ROUTES} reached"):
        tree.put(put(Route(name="one more")), NAMES)
    tree.put(put(root("ops"), None), NAMES)


# ---- in the pipeline ----------------------------------------------------------------------------------------------


def story(*commands: Any, receivers: tuple[str, ...] = ()) -> Log:
    """Somebody watches for hot hosts, and there are people to tell."""
    log = Log()
    for name in sorted(NAMES):
        log.add(PutReceiver(WebhookReceiver(name=name, url=f"http://{name}/"), 0, "me"))
    log.add(PutPolicy(policy(receivers=receivers), 0, "me"))
    for command in commands:
        log.add(command)
    return log


def told(effects: list[Effects]) -> list[tuple[str, AlertState]]:
    return [(one.receiver, one.alert.state) for each in effects for one in each.intents]


HOST_A = Route(name="host a", matchers=match("host", "a"), receivers=("dev",))


def test_an_alert_whose_policy_names_nobody_is_told_to_whom_its_route_says_and_so_is_its_end() -> None:
    log = story(put(HOST_A))
    log.send({CPU: 95.0, labels("cpu", host="b"): 95.0})
    log.send({CPU: 1.0, labels("cpu", host="b"): 1.0})
    silent_for(log, 2)
    effects = run(log.facts)[1]
    assert told(effects) == [("dev", AlertState.FIRING), ("dev", AlertState.RESOLVED)]
    led = {one.group.get("host"): one.routed for each in effects for one in each.alerts}
    assert {host: one and (one.routes, one.receivers) for host, one in led.items()} == {
        "a": (("host a",), ("dev",)),
        "b": ((DEFAULT,), ()),
    }


@pytest.mark.parametrize("matcher", [match("alertname", "hot"), match("severity", "warning"), match("host", "a")])
def test_alerts_are_known_by_policy_severity_and_group(matcher: tuple[Matcher, ...]) -> None:
    log = story(put(replace(HOST_A, matchers=matcher)))
    log.send({CPU: 95.0})
    silent_for(log, 1)
    assert told(run(log.facts)[1]) == [("dev", AlertState.FIRING)]


def test_a_policy_that_names_its_receivers_tells_them_whatever_the_routes_say() -> None:
    log = story(put(HOST_A), put(root("archive"), None), receivers=("ops",))
    log.send({CPU: 95.0})
    silent_for(log, 1)
    effects = run(log.facts)[1]
    assert told(effects) == [("ops", AlertState.FIRING)]
    assert {one.routed for each in effects for one in each.alerts} == {None}


def test_whoever_was_told_that_it_fires_is_told_its_end_though_the_routes_have_changed() -> None:
    log = story(put(HOST_A))
    log.send({CPU: 95.0})
    log.send({CPU: 95.0})
    log.add(put(replace(HOST_A, receivers=("ops",)), 1))
    log.send({CPU: 1.0})
    silent_for(log, 1)
    assert told(run(log.facts)[1]) == [("dev", AlertState.FIRING), ("dev", AlertState.RESOLVED)]


def test_what_a_silence_kept_quiet_is_led_by_the_routes_that_are_in_force_when_it_is_told() -> None:
    quiet = Silence(
        id="s1",
        matchers=match("host", "a"),
        starts_at_ms=START_MS,
        ends_at_ms=START_MS + 4000,
        comment="",
        author="ann",
        created_at_ms=START_MS,
    )
    log = story(put(HOST_A), PutSilence(quiet, "ann"))
    log.send({CPU: 95.0})
    log.send({CPU: 95.0})
    log.add(put(replace(HOST_A, receivers=("ops",)), 1))
    for _ in range(4):
        log.send({CPU: 95.0})
    assert told(run(log.facts)[1]) == [("ops", AlertState.FIRING)]


def test_what_people_do_to_routes_is_entered_and_a_receiver_that_one_names_stays() -> None:
    log = story(
        put(HOST_A),
        put(replace(HOST_A, receivers=("ops",)), 1),
        DeleteReceiver("ops", None, "bob"),
        DeleteRoute("host a", 2, "bob"),
        DeleteReceiver("ops", None, "bob"),
        put(replace(HOST_A, receivers=("ops",))),
    )
    pipeline = new_pipeline()
    steps = [pipeline.step(fact) for fact in log.facts]
    entries = [one for step in steps for one in step.effects.audit][-6:]
    assert [(one.action, one.target, one.outcome) for one in entries] == [
        ("put_route", "host a", Outcome.DONE),
        ("put_route", "host a", Outcome.DONE),
        ("delete_receiver", "ops", Outcome.REFUSED),
        ("delete_route", "host a", Outcome.DONE),
        ("delete_receiver", "ops", Outcome.DONE),
        ("put_route", "host a", Outcome.REFUSED),
    ]
    assert [str(one) for one in entries[1].changes] == ['receivers: ["dev"] -> ["ops"]']
    assert isinstance(steps[-4].refusal, Conflict)
    assert "route 'host a' still tells receiver 'ops'" in entries[2].detail
    assert pipeline.routes.routes == (ROOT,)


# ---- whatever the routes are ----------------------------------------------------------------------------------------

some_matchers = st.lists(
    st.builds(
        Matcher,
        st.sampled_from(["host", "team", "severity"]),
        st.sampled_from(MatchOp),
        st.sampled_from(["", "a", "b", "a|b", ".*"]),
    ),
    max_size=2,
).map(tuple)
some_receivers = st.none() | st.lists(st.sampled_from(sorted(NAMES)), max_size=2).map(tuple)
some_labels = st.dictionaries(st.sampled_from(["host", "team", "severity"]), st.sampled_from(["a", "b", "c"])).map(
    LabelSet.of
)


@st.composite
def trees(draw: st.DrawFn) -> list[Route]:
    """Draw routes that make sense, in any order."""
    found = [root(*draw(st.lists(st.sampled_from(sorted(NAMES)), max_size=2)))]
    for number in range(draw(st.integers(0, 8))):
        above = draw(st.sampled_from(found)).name
        found.append(
            Route(
                name=f"r{number}",
                parent=above,
                order=draw(st.integers(0, 3)),
                matchers=draw(some_matchers),
                receivers=draw(some_receivers),
                goes_on=draw(st.booleans()),
            )
        )
    return draw(st.permutations(found))


def expected(tree: list[Route], route: Route, those: LabelSet) -> list[Route]:
    """Return the routes that decide, as Alertmanager's documentation has it, written down another way."""
    ends: list[Route] = []
    matches = MatcherCompiler(full_match)
    for child in sorted((one for one in tree if one.parent == route.name), key=lambda one: (one.order, one.name)):
        if matches(child.matchers)(those):
            ends += expected(tree, child, those)
            if not child.goes_on:
                break
    return ends or [route]


@settings(max_examples=200, deadline=None)
@given(trees(), some_labels, st.randoms(use_true_random=False))
def test_every_alert_has_exactly_one_outcome_whatever_the_order_in_which_routes_were_made(
    tree: list[Route], those: LabelSet, chance: Any
) -> None:
    routed = book(*tree).route(those)
    again = list(tree)
    chance.shuffle(again)
    assert book(*again).route(those) == routed
    one_root = next(one for one in tree if one.name == DEFAULT)
    assert routed.routes == tuple(one.name for one in expected(tree, one_root, those))
    assert len(routed.routes) >= 1
    assert len(set(routed.receivers)) == len(routed.receivers)
    assert len({one.route for one in routed.steps}) == len(routed.steps)
    decided = {one.route for one in routed.steps if one.outcome is RouteOutcome.TOLD}
    assert decided == set(routed.routes)


@settings(max_examples=100, deadline=None)
@given(trees())
def test_routes_come_out_parents_first_so_that_they_can_be_put_in_force_one_by_one(tree: list[Route]) -> None:
    whole, copy = book(*tree), book()
    for one in whole.routes:
        copy.put(put(one, None), NAMES)
    assert [replace(one, version=1) for one in copy.routes] == list(whole.routes)


moves = st.one_of(
    st.tuples(st.just("send"), st.sampled_from([1.0, 95.0])),
    st.tuples(st.just("beat"), st.integers(1, 3)),
    st.tuples(st.just("put"), st.tuples(st.sampled_from("xyz"), some_matchers, some_receivers)),
    st.tuples(st.just("delete"), st.sampled_from("xyz")),
)


@settings(max_examples=100, deadline=None)
@given(st.lists(moves, max_size=25), st.integers(0, 25))
def test_a_restart_anywhere_changes_nothing_and_who_is_told_of_the_begin_is_told_of_the_end(
    steps: list[tuple[str, Any]], cut: int
) -> None:
    log = story(put(root("ops"), None))
    for kind, argument in steps:
        if kind == "send":
            log.send({CPU: argument, labels("cpu", host="b"): argument})
        elif kind == "beat":
            silent_for(log, argument)
        elif kind == "put":
            name, matchers, receivers = argument
            log.add(put(Route(name=name, matchers=matchers, receivers=receivers), None))
        else:
            log.add(DeleteRoute(argument, None, "bob"))
    log.send({CPU: 1.0, labels("cpu", host="b"): 1.0})
    silent_for(log, 2)
    whole, effects = run(log.facts)
    second, again = run_with_restart(log, cut)
    assert repr(again) == repr(effects)
    assert repr(second.dump().memory) == repr(whole.dump().memory)
    intents = [(one.alert.id, one.receiver, one.alert.state) for each in effects for one in each.intents]
    begun, ended = (
        sorted((key, name) for key, name, state in intents if state is wanted)
        for wanted in (AlertState.FIRING, AlertState.RESOLVED)
    )
    assert begun == ended
