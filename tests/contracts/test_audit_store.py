"""AuditStore over conclusions of a real pipeline."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.facts import START_MS, Log, new_pipeline, policy

from quantum.application.ports import AuditFilter, Page
from quantum.domain.alerts import Effects
from quantum.domain.audit import AuditEntry, Outcome
from quantum.domain.facts import DeletePolicy, Denied, Ordered, PutPolicy

if TYPE_CHECKING:
    from tests.stores import Store


async def story(store: Store) -> list[AuditEntry]:
    """Record four attempts, one second apart; return their entries, newest first."""
    log = Log()
    log.add(Ordered(PutPolicy(policy(), 0, "Ada"), "203.0.113.9"))
    log.add(PutPolicy(policy("other", "disk"), 0, "settings"), 1000)
    log.add(Ordered(DeletePolicy("nothing\0_%", None, "bob"), "203.0.113.8"), 1000)
    log.add(Denied("eve", "203.0.113.7", "DELETE /api/v1/policies/{key}", "hot", "no"), 1000)
    pipeline = new_pipeline()
    found: list[AuditEntry] = []
    for fact in log.facts:
        effects = pipeline.step(fact).effects
        found += effects.audit
        await store.record(effects, fact.position)
    return found[::-1]


async def test_entries_are_listed_newest_first_and_page_by_page(store: Store) -> None:
    whole = await story(store)
    assert len(whole) == 4
    assert await store.audit(AuditFilter(), Page()) == whole
    pages, before = [], None
    while found := await store.audit(AuditFilter(), Page(limit=1, before=before)):
        pages += found
        before = (found[-1].at_ms, found[-1].id)
    assert pages == whole


async def test_entries_are_found_by_outcome_actor_time_and_words(store: Store) -> None:
    denied, refused, other, first = await story(store)
    by = store.audit
    assert await by(AuditFilter(outcomes=(Outcome.DENIED,)), Page()) == [denied]
    assert await by(AuditFilter(outcomes=(Outcome.DENIED, Outcome.REFUSED)), Page()) == [denied, refused]
    assert await by(AuditFilter(actor="settings"), Page()) == [other]
    assert await by(AuditFilter(actor="sett"), Page()) == []
    assert await by(AuditFilter(words="ADA"), Page()) == [first]
    assert await by(AuditFilter(words="203.0.113.8"), Page()) == [refused]
    assert await by(AuditFilter(words="_%"), Page()) == [refused]
    assert await by(AuditFilter(words="put_policy"), Page()) == [other, first]
    assert await by(AuditFilter(start_ms=refused.at_ms), Page()) == [denied, refused]
    assert await by(AuditFilter(end_ms=refused.at_ms), Page()) == [other, first]


async def test_recording_again_changes_no_entry(store: Store) -> None:
    whole = await story(store)
    forged = AuditEntry(
        id=whole[0].id, at_ms=whole[0].at_ms, actor="x", origin="", action="x", target="", outcome=Outcome.DONE
    )
    await store.record(Effects(audit=(forged, *whole)), 100)
    assert await store.audit(AuditFilter(), Page()) == whole


async def test_old_entries_are_deleted(store: Store) -> None:
    whole = await story(store)
    await store.prune_audit(whole[1].at_ms)
    assert await store.audit(AuditFilter(), Page()) == whole[:2]
    await store.prune_audit(START_MS + 10**9)
    assert await store.audit(AuditFilter(), Page()) == []
