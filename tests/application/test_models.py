"""Models in service: watched, tried out, promoted through the gate, rolled back, repeated by a replay."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from tests.application.test_monitoring import CODEC, System, running
from tests.contracts.test_model_store import LINEAGE
from tests.facts import START_MS, JumpDetector, labels, new_pipeline, policy
from tests.models import COMPILER, HOSTS, trained

from quantum.adapters.forest_training import with_columns
from quantum.adapters.memory import ManualClock
from quantum.adapters.sqlite import MEMORY, SqliteStore
from quantum.application import models as service
from quantum.application import shadows as watching
from quantum.application.models import Models, Window, scores_of
from quantum.application.ports import AlertFilter, Page
from quantum.application.shadows import Shadows
from quantum.application.timemachine import Draft, TimeMachine, history_lines
from quantum.domain import serving
from quantum.domain.alerts import Verdict
from quantum.domain.detectors.deep import sizes_of
from quantum.domain.detectors.forests import calibrate
from quantum.domain.errors import Conflict, NotFound, Overloaded, Rejected
from quantum.domain.facts import (
    Heartbeat,
    ImportModel,
    JudgeIncident,
    PromoteModel,
    PutPolicy,
    RetireModel,
    command_in,
)
from quantum.domain.models import Combine, ModelKind, ModelState, TrainedModel
from quantum.domain.policies import AnomalyScore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from numpy.typing import NDArray

    from quantum.domain.labels import LabelSet

SERIES = [labels("cpu", host=host) for host in HOSTS]
PEERS = replace(trained(ModelKind.PEERS).model, step_ms=1000, name="siblings")
DEEP = replace(trained(ModelKind.DEEP).model, name="siblings")
ODD = policy("odd", condition=AnomalyScore(raise_at=0.45, clear_at=0.3))


@dataclass
class Service:
    """The application with models around one store, in virtual time."""

    system: System
    shadows: Shadows
    models: Models

    async def add(self, combine: Combine = Combine.EITHER, name: str = "siblings", model: TrainedModel = PEERS) -> int:
        model = replace(model, combine=combine, name=name)
        now_ms = self.system.clock.now_ms()
        made = await self.system.store.add_model(model, replace(LINEAGE, start_ms=now_ms), (), now_ms)
        return made.version

    async def live(self, steps: int, *, apart: float = 0.0, together: float = 0.0) -> None:
        """Send rows: the last host creeps away by `apart` a row; all hosts jump by `together` at the third row."""
        rng = np.random.default_rng(steps)
        for step in range(steps):
            values = 50.0 + rng.normal(0.0, 0.3, len(SERIES)) + (together if step >= 2 else 0.0)
            values[-1] += apart * step
            await self.system.send(dict(zip(SERIES, values.tolist(), strict=True)))


def service_of(system: System) -> Service:
    store = system.store
    shadows = Shadows(store, store, system.stream, lambda: system.monitor.pipeline.labels, COMPILER)
    machine = TimeMachine(store, store, store, store, new_pipeline, CODEC)
    models = Models(
        store, store, system.control, system.monitor, machine, shadows, system.clock, JumpDetector, COMPILER
    )
    return Service(system, shadows, models)


@asynccontextmanager
async def serving_models(store: SqliteStore) -> AsyncIterator[Service]:
    async with running(store, ManualClock(START_MS)) as system:
        yield service_of(system)


@pytest.fixture
async def served() -> AsyncIterator[Service]:
    async with SqliteStore(MEMORY) as store, serving_models(store) as opened:
        await opened.system.control.submit(PutPolicy(ODD, 0, "me"))
        yield opened


async def test_there_are_no_models_at_first_and_one_that_is_asked_for_is_not_found(served: Service) -> None:
    assert await served.models.listing() == []
    with pytest.raises(NotFound, match="no model named 'siblings'"):
        await served.models.named("siblings")


async def test_a_harmless_model_is_promoted_and_its_scores_count_from_then_on(served: Service) -> None:
    await served.live(60)
    await served.add()
    trial = await served.models.promote("siblings", 1, "me")
    assert (trial.alerts_now, trial.alerts_then, trial.confirmed, trial.lost) == (0, 0, 0, ())
    [found] = await served.models.listing()
    assert found.promoted is not None
    assert (found.promoted.version, found.shadow) == (1, None)
    assert found.versions[0].state is ModelState.PROMOTED
    await served.live(40)
    await served.live(60, apart=0.3)
    assert [one.group.get("host") for one in await served.system.store.alerts(AlertFilter(), Page())] == [HOSTS[-1]]
    assert found.promoted.drift.rows > 0
    assert found.promoted.left_out == {}


async def test_a_model_that_would_raise_more_alerts_is_refused_with_numbers_unless_they_are_allowed(
    served: Service,
) -> None:
    await served.live(60)
    await served.live(60, apart=0.3)
    await served.add()
    trial = await served.models.try_out("siblings", 1, None, None, "me")
    assert trial.alerts_now == 0
    assert trial.alerts_then >= 1
    with pytest.raises(Conflict, match=rf"{trial.alerts_then} alerts instead of 0, and at most 0 more"):
        await served.models.promote("siblings", 1, "me")
    assert (await served.models.named("siblings")).promoted is None
    await served.models.promote("siblings", 1, "me", max_more_alerts=trial.alerts_then)
    assert (await served.models.named("siblings")).promoted is not None


async def test_a_model_that_would_lose_a_confirmed_incident_is_refused_whatever_is_allowed(served: Service) -> None:
    await served.live(60)
    await served.live(6, together=9.0)
    incidents = await served.system.store.incidents((), Page())
    for one in incidents:
        await served.system.control.submit(JudgeIncident(one.id, Verdict.REAL, "me"))
    await served.add(Combine.BOTH)
    with pytest.raises(Conflict, match=rf"of {len(incidents)} incidents judged real it would have lost"):
        await served.models.promote("siblings", 1, "me", max_more_alerts=1000)
    trial = await served.models.try_out("siblings", 1, START_MS, START_MS + 500_000, "me")
    assert (trial.confirmed, len(trial.lost)) == (len(incidents), len(incidents))
    await served.add(Combine.EITHER)
    assert (await served.models.promote("siblings", 2, "me", max_more_alerts=9)).lost == ()


def forecaster(readings: NDArray[np.float64]) -> TrainedModel:
    """Return a deep model that expects no change, and to which readings like these are usual."""
    nothing = {name: np.zeros(size, np.float32) for name, size in sizes_of(1).items()}
    return with_columns(DEEP, nothing, calibrate(readings))


NEVER_ODD = forecaster(np.geomspace(1e5, 1e6, 2000))
ALWAYS_ODD = forecaster(np.geomspace(1e-12, 1e-11, 2000))


async def test_a_deep_model_that_changes_nothing_is_refused_whatever_is_allowed(served: Service) -> None:
    await served.live(80)
    await served.add(model=NEVER_ODD)
    for allowed in (0, 1000):
        with pytest.raises(Conflict, match="a deep-forecaster counts only where it helps"):
            await served.models.promote("siblings", 1, "me", max_more_alerts=allowed)
    assert (await served.models.named("siblings")).promoted is None


async def test_a_deep_model_that_would_have_raised_more_alerts_is_refused(served: Service) -> None:
    await served.live(80)
    await served.add(model=ALWAYS_ODD)
    with pytest.raises(Conflict, match="alerts instead of 0, and at most 0 more are allowed"):
        await served.models.promote("siblings", 1, "me")
    assert (await served.models.named("siblings")).promoted is None


async def test_a_deep_model_with_which_fewer_alerts_fire_is_promoted(served: Service) -> None:
    await served.live(80)
    await served.live(6, together=9.0)
    await served.add(Combine.BOTH, model=NEVER_ODD)
    trial = await served.models.promote("siblings", 1, "me")
    assert (trial.alerts_then, trial.sooner) == (0, 0)
    assert trial.alerts_now >= 1


async def test_a_deep_model_that_tells_sooner_of_what_was_real_is_promoted(served: Service) -> None:
    await served.live(80)
    await served.live(6, together=9.0)
    incidents = await served.system.store.incidents((), Page())
    for one in incidents:
        await served.system.control.submit(JudgeIncident(one.id, Verdict.REAL, "me"))
    await served.add(model=ALWAYS_ODD)
    trial = await served.models.promote("siblings", 1, "me")
    assert (trial.confirmed, trial.lost, trial.sooner) == (len(incidents), (), len(incidents))
    assert trial.alerts_then == trial.alerts_now


async def test_a_version_is_promoted_once(served: Service) -> None:
    await served.live(20)
    await served.add()
    await served.models.promote("siblings", 1, "me")
    with pytest.raises(Conflict, match="promoted already"):
        await served.models.promote("siblings", 1, "me")
    with pytest.raises(NotFound, match="version 2"):
        await served.models.promote("siblings", 2, "me")


async def test_rolling_back_returns_to_the_version_before_and_then_to_none(served: Service) -> None:
    await served.live(20)
    for version in (1, 2, 3):
        await served.add()
        if version != 2:
            await served.models.promote("siblings", version, "me")
    back = await served.models.roll_back("siblings", "me")
    assert back.promoted is not None
    assert back.promoted.version == 1
    assert [one.state for one in back.versions] == [ModelState.PROMOTED, ModelState.SHADOW, ModelState.RETIRED]
    assert (await served.models.roll_back("siblings", "me")).promoted is None
    with pytest.raises(Conflict, match="no version"):
        await served.models.roll_back("siblings", "me")


async def test_only_one_trial_runs_at_a_time(served: Service) -> None:
    await served.live(20)
    await served.add()
    both = await asyncio.gather(
        *(served.models.try_out("siblings", 1, None, None, "me") for _ in range(2)), return_exceptions=True
    )
    assert sorted(type(one).__name__ for one in both) == ["Overloaded", "Trial"]
    assert isinstance(next(one for one in both if isinstance(one, Exception)), Overloaded)


@pytest.mark.parametrize("model", [PEERS, DEEP], ids=lambda one: one.kind.value)
async def test_a_replay_repeats_what_models_concluded_even_after_a_restart(model: TrainedModel) -> None:
    async with SqliteStore(MEMORY) as store:
        async with serving_models(store) as served:
            await served.system.control.submit(PutPolicy(ODD, 0, "me"))
            await served.live(60)
            await served.add(model=model)
            stored = await store.model("siblings", 1)
            await served.system.control.submit(PromoteModel(stored, 1, "me"))
            await served.live(30, apart=0.2)
            await served.system.kill()
            await served.system.monitor.close()
            clock = served.system.clock
        async with running(store, clock) as system:
            again = service_of(system)
            await again.live(40, apart=0.3)
            await again.live(20, together=40.0)
            found = (await again.models.named("siblings")).promoted
            assert found is not None
            assert found.drift.rows > 0
            await again.models.roll_back("siblings", "me")
            await again.live(30, apart=0.3)
        history = await TimeMachine(store, store, store, store, new_pipeline, CODEC).replay(0, START_MS * 2)
        recorded = [
            step for one in await store.alerts(AlertFilter(), Page()) for step in (await store.alert(one.id))[1]
        ]
        incidents = await store.incidents((), Page())
        assert recorded
        assert history_lines(history.transitions, [], history.incidents.values()) == history_lines(
            recorded, [], incidents
        )
        draft = await TimeMachine(store, store, store, store, new_pipeline, CODEC).replay(
            0, START_MS * 2, Draft((ODD,))
        )
        assert len(draft.fired) == len(history.fired)


# ---- shadows -------------------------------------------------------------------------------------------------------


async def turn(shadows: Shadows) -> None:
    await asyncio.wait_for(shadows.run_once(), 10.0)


async def test_a_shadow_scores_live_and_nothing_comes_of_it(served: Service) -> None:
    await served.live(30)
    await served.add()
    await served.shadows.refresh()
    watching_task = asyncio.create_task(turn(served.shadows))
    async with asyncio.timeout(10.0):
        while served.shadows._position is None:  # noqa: ASYNC110 - its first turn has no event
            await asyncio.sleep(0.001)
    await served.live(1)
    await watching_task
    for _ in range(60):
        await served.system.send(dict.fromkeys(SERIES, 50.0) | {labels("cpu", host="new"): 1.0})
        await turn(served.shadows)
    await served.system.monitor.append(Heartbeat())
    await turn(served.shadows)
    shadow = (await served.models.named("siblings")).shadow
    assert shadow is not None
    assert shadow.drift.rows > 100
    assert shadow.drift.index is None
    assert await served.system.store.alerts(AlertFilter(), Page()) == []


async def test_a_shadow_that_fell_behind_goes_on_with_the_newest_facts(
    served: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    await served.add()
    served.shadows._position = (await served.system.store.last())[0]
    await served.live(3)
    served.system.stream._facts.clear()
    await turn(served.shadows)
    assert served.shadows.skipped == 3


async def test_where_nothing_watches_facts_pass_without_a_thread(
    served: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    served.shadows._position = (await served.system.store.last())[0]
    await served.live(3)
    monkeypatch.setattr(asyncio, "to_thread", None)
    await turn(served.shadows)
    assert (served.shadows._position, served.shadows.skipped) == ((await served.system.store.last())[0], 0)


async def test_rows_of_a_series_that_nobody_has_named_yet_have_no_opinion(served: Service) -> None:
    await served.live(2)
    await served.add()
    blind = Shadows(served.system.store, served.system.store, served.system.stream, dict, COMPILER)
    await blind.refresh()
    blind._position = (await served.system.store.last())[0]
    await served.live(1)
    await turn(blind)
    shadow = blind.find("siblings")
    assert shadow is not None
    assert (shadow.met, shadow.drift.rows) == (0, 0)


async def test_only_the_newest_versions_of_a_few_names_watch(served: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "MAX_SHADOWS", 2)
    for name in ("a", "b", "c"):
        served.system.clock.advance(1000)
        await served.add(name=name)
    await served.add(name="c")
    await served.shadows.refresh()
    known = served.shadows.find("c")
    assert known is not None
    assert (known.version, served.shadows.find("a")) == (2, None)
    await served.shadows.refresh()
    assert served.shadows.find("c") is known


# ---- commands ------------------------------------------------------------------------------------------------------


async def test_models_that_count_have_a_limit(served: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "MAX_SERVED", 1)
    await served.system.control.submit(PromoteModel(PEERS, 1, "me"))
    await served.system.control.submit(PromoteModel(PEERS, 2, "me"))
    assert served.system.monitor.pipeline.models.names == ("siblings",)
    audit = [served.system.monitor.pipeline.models.standing(name) for name in ("siblings", "other")]
    assert audit == [serving.Standing("siblings", 2), None]
    with pytest.raises(Rejected, match="model limit 1 reached"):
        await served.system.control.submit(PromoteModel(replace(PEERS, name="other"), 1, "me"))
    with pytest.raises(NotFound, match="'other'"):
        await served.system.control.submit(RetireModel("other", "me"))


# ---- scores on demand ----------------------------------------------------------------------------------------------


def windows(rows: int, series: list[LabelSet]) -> list[Window]:
    rng = np.random.default_rng(3)
    at_ms = START_MS + np.arange(rows) * 1000
    return [Window(one, at_ms, rng.normal(50.0, 1.0, rows)) for one in series]


async def test_the_default_detector_scores_by_its_name(served: Service) -> None:
    version, found = await served.models.score("jump", None, windows(5, SERIES[:2]))
    assert version == 1
    assert [len(one.score) for one in found] == [5, 5]
    alone = scores_of(JumpDetector(), windows(5, SERIES[:2])[1:])[0]
    assert alone.expected[1:].tolist() != found[0].expected[1:].tolist()
    assert (await served.models.score("jump", 1, []))[1] == []
    with pytest.raises(NotFound, match="version 1"):
        await served.models.score("jump", 2, [])


async def test_a_model_scores_series_beside_each_other_by_the_version_that_counts_or_the_newest(
    served: Service,
) -> None:
    await served.add()
    await served.add()
    version, found = await served.models.score("siblings", None, windows(60, SERIES))
    assert version == 2
    assert not np.isnan(found[0].expected[30:]).any()
    await served.system.control.submit(PromoteModel(PEERS, 1, "me"))
    assert (await served.models.score("siblings", None, windows(1, SERIES)))[0] == 1
    assert (await served.models.score("siblings", 2, windows(1, SERIES)))[0] == 2
    with pytest.raises(NotFound):
        await served.models.score("siblings", 3, [])


async def test_what_is_scored_at_once_has_a_limit(served: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "MAX_SCORED_ROWS", 9)
    with pytest.raises(Rejected, match="2 series with 10 rows are too many"):
        await served.models.score("jump", None, windows(5, SERIES[:2]))


async def test_a_model_that_was_trained_elsewhere_watches_as_a_shadow_and_goes_through_the_gate(
    served: Service,
) -> None:
    made = await served.models.take_in(PEERS, "cpu", "scikit-learn", "ada")
    assert (made.version, made.state, made.lineage.code) == (1, ModelState.SHADOW, "imported: scikit-learn")
    assert (made.lineage.parent, made.lineage.actor, made.lineage.selector) == (None, "ada", "cpu")
    commands = [command_in(fact.body) for fact in await served.system.store.read(0, 1000)]
    assert ImportModel("siblings", "cpu", "scikit-learn", "ada") in commands
    found = await served.models.named("siblings")
    assert found.shadow is not None
    assert await served.models.exported("siblings", None) == (PEERS, found.versions[0])
    await served.live(60)
    await served.models.promote("siblings", 1, "me")
    again = await served.models.take_in(replace(PEERS, combine=Combine.BOTH), "cpu", "", "ada")
    assert (again.version, again.lineage.parent, again.lineage.code) == (2, 1, "imported")
    model, version = await served.models.exported("siblings", None)
    assert (model, version.version) == (PEERS, 1)
    assert (await served.models.exported("siblings", 2))[0].combine is Combine.BOTH
    with pytest.raises(NotFound, match="there is no version 3 of model 'siblings'"):
        await served.models.exported("siblings", 3)


@pytest.mark.parametrize("name", ["jump", "coverage"])
async def test_an_imported_model_cannot_have_the_name_of_a_detector(served: Service, name: str) -> None:
    with pytest.raises(Rejected, match="is the name of a detector"):
        await served.models.take_in(replace(PEERS, name=name), "cpu", "", "me")
