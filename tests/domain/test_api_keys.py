"""The ring of API keys: what it refuses, and that a dump of the pipeline keeps it."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.facts import Log, new_pipeline

from quantum.adapters import wire
from quantum.domain.api_keys import MAX_KEYS, MAX_NAME, KeyRing
from quantum.domain.errors import Conflict, NotFound, Rejected
from quantum.domain.facts import IssueApiKey, RevokeApiKey

NOW_MS: Final = 1_000_000
ISSUE: Final = IssueApiKey("abc", "telegraf", bytes(range(32)), ("ingest",), None, "me")


def test_a_key_is_in_force_once_issued_and_gone_once_revoked() -> None:
    ring = KeyRing()
    key = ring.issue(ISSUE, NOW_MS)
    assert ring.keys == (key,)
    assert (key.created_at_ms, key.created_by, key.scopes) == (NOW_MS, "me", ("ingest",))
    assert ring.find("abc") == key
    assert ring.revoke(RevokeApiKey("abc", "me")) == key
    assert ring.find("abc") is None
    with pytest.raises(NotFound, match="abc"):
        ring.revoke(RevokeApiKey("abc", "me"))


@given(expires_at_ms=st.integers(NOW_MS + 1, 2**50), now_ms=st.integers(0, 2**50))
def test_a_key_is_expired_from_its_time_on(expires_at_ms: int, now_ms: int) -> None:
    key = KeyRing().issue(replace(ISSUE, expires_at_ms=expires_at_ms), NOW_MS)
    assert key.is_expired(now_ms) == (now_ms >= expires_at_ms)
    assert not replace(key, expires_at_ms=None).is_expired(now_ms)


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (replace(ISSUE, name=" "), "api_key_name"),
        (replace(ISSUE, name="x" * (MAX_NAME + 1)), "api_key_name"),
        (replace(ISSUE, name="a\nb"), "api_key_name"),
        (replace(ISSUE, scopes=()), "api_key_scopes"),
        (replace(ISSUE, scopes=("admin",)), "api_key_scopes"),
        (replace(ISSUE, scopes=("read", "read")), "api_key_scopes"),
        (replace(ISSUE, expires_at_ms=NOW_MS), "api_key_expiry"),
        (replace(ISSUE, digest=b"short"), "api_key_digest"),
    ],
)
def test_a_key_that_makes_no_sense_is_refused(wrong: IssueApiKey, reason: str) -> None:
    ring = KeyRing()
    with pytest.raises(Rejected) as refused:
        ring.issue(wrong, NOW_MS)
    assert refused.value.reason == reason
    assert ring.keys == ()


def test_names_and_ids_are_taken_once() -> None:
    ring = KeyRing()
    ring.issue(ISSUE, NOW_MS)
    for again in (replace(ISSUE, key_id="other"), replace(ISSUE, name="other")):
        with pytest.raises(Conflict):
            ring.issue(again, NOW_MS)


def test_there_is_a_limit_of_keys() -> None:
    ring = KeyRing()
    for number in range(MAX_KEYS):
        ring.issue(replace(ISSUE, key_id=f"{number}", name=f"{number}"), NOW_MS)
    with pytest.raises(Rejected, match=f"key limit {MAX_KEYS} reached"):
        ring.issue(ISSUE, NOW_MS)


def test_keys_are_part_of_the_state_and_of_the_log() -> None:
    log = Log()
    log.add(ISSUE)
    log.add(replace(ISSUE, key_id="def", name="grafana", scopes=("read", "ingest")))
    log.add(RevokeApiKey("abc", "me"))
    log.add(RevokeApiKey("abc", "me"))
    pipeline = new_pipeline()
    steps = [pipeline.step(fact) for fact in log.facts]
    assert [type(step.refusal) for step in steps] == [type(None), type(None), type(None), NotFound]
    restored = new_pipeline()
    restored.restore(wire.unpack_state(wire.pack_state(pipeline.dump())), {})
    assert restored.keys.keys == pipeline.keys.keys
    assert [key.scopes for key in restored.keys.keys] == [("ingest", "read")]
    assert all(wire.decode(wire.encode(fact.body), type(fact.body)) == fact.body for fact in log.facts)
