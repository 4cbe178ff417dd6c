"""ModelStore: versions that never change, and which of them counts as the pipeline last decided."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from tests.models import trained

from quantum.adapters import wire
from quantum.domain.alerts import Effects, ServedModel
from quantum.domain.errors import NotFound, Rejected
from quantum.domain.models import Lineage, ModelKind, ModelState

if TYPE_CHECKING:
    from tests.stores import Store

LINEAGE = Lineage(
    selector='{__name__="cpu"}',
    series=5,
    samples=1000,
    start_ms=1,
    end_ms=9,
    parent=None,
    code="0.1",
    seed=7,
    actor="me",
)
METRICS = (("readings", 900.0), ("one_in_a_hundred", 0.011))


async def add(store: Store, name: str = "night", kind: ModelKind = ModelKind.PEERS) -> int:
    model = replace(trained(kind).model, name=name)
    return (await store.add_model(model, LINEAGE, METRICS, 1000)).version


async def states(store: Store, name: str = "night") -> list[tuple[int, ModelState, int | None]]:
    return [(one.version, one.state, one.promoted_at_ms) for one in await store.models(name)]


async def test_a_model_is_kept_as_the_next_version_of_its_name_and_is_a_shadow(store: Store) -> None:
    assert [await add(store), await add(store), await add(store, "day")] == [1, 2, 1]
    listed = await store.models()
    assert [(one.name, one.version, one.state) for one in listed] == [
        ("day", 1, ModelState.SHADOW),
        ("night", 1, ModelState.SHADOW),
        ("night", 2, ModelState.SHADOW),
    ]
    assert listed[1].lineage == LINEAGE
    assert listed[1].metrics == METRICS
    assert (listed[1].kind, listed[1].created_at_ms, len(listed[1].sha256)) == (ModelKind.PEERS, 1000, 64)
    assert await store.models("nobody") == []


async def test_versions_of_concurrent_callers_have_no_gaps(store: Store) -> None:
    assert sorted(await asyncio.gather(*(add(store) for _ in range(8)))) == list(range(1, 9))


@pytest.mark.parametrize("kind", ModelKind)
async def test_a_model_comes_back_as_it_was_given(store: Store, kind: ModelKind) -> None:
    await add(store, kind=kind)
    assert await store.model("night", 1) == trained(kind).model


async def test_a_version_that_is_not_there_is_named(store: Store) -> None:
    await add(store)
    for name, version in (("night", 2), ("day", 1)):
        with pytest.raises(NotFound, match=name):
            await store.model(name, version)


async def test_damaged_bytes_are_refused(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    packed = wire.pack_model(trained(ModelKind.PEERS).model)
    with monkeypatch.context() as patch:
        patch.setattr(wire, "pack_model", lambda _: packed[:-1])
        await add(store)
    with pytest.raises(Rejected, match="damaged") as caught:
        await store.model("night", 1)
    assert caught.value.reason == "model_damaged"


async def test_what_the_pipeline_serves_is_promoted_and_the_one_before_retired(store: Store) -> None:
    for _ in range(3):
        await add(store)
    await add(store, "day")
    await store.record(Effects(served=(ServedModel("night", 1, 50),)), 1)
    await store.record(Effects(served=(ServedModel("night", 3, 60),)), 2)
    assert await states(store) == [
        (1, ModelState.RETIRED, 50),
        (2, ModelState.SHADOW, None),
        (3, ModelState.PROMOTED, 60),
    ]
    assert await states(store, "day") == [(1, ModelState.SHADOW, None)]
    await store.record(Effects(served=(ServedModel("night", 3, 60), ServedModel("night", 0, 70))), 3)
    assert [state for _, state, _ in await states(store)] == [ModelState.RETIRED, ModelState.SHADOW, ModelState.RETIRED]


async def test_recording_the_same_again_changes_nothing(store: Store) -> None:
    await add(store)
    effects = Effects(served=(ServedModel("night", 1, 50), ServedModel("night", 0, 55), ServedModel("night", 1, 60)))
    await store.record(effects, 1)
    before = await states(store)
    await store.record(effects, 1)
    assert await states(store) == before == [(1, ModelState.PROMOTED, 60)]
