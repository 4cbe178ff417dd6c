"""What is published, byte for byte: other people's programs read it."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from tests.facts import START_MS, labels

from quantum.adapters.public_messages import MAX_ROWS, Names, gap_of, lines_of
from quantum.application.publishing import News
from quantum.domain.alerts import Alert, AlertState, Anomaly
from quantum.domain.labels import LabelSet
from quantum.domain.policies import Severity
from quantum.domain.scoring import Scores
from quantum.domain.series import SampleBatch

CPU = labels("cpu", host="ä")
NAMES = {0: CPU, 1: labels("disk")}
NAN = math.nan
ANOMALY = Anomaly(
    id="00000000000000a1",
    slot=0,
    series=CPU,
    start_ms=START_MS,
    end_ms=None,
    peak_at_ms=START_MS,
    score=0.5,
    value=95.0,
    expected=1.0,
    lower=0.5,
    upper=1.5,
)
ALERT = Alert(
    id="00000000000000b2",
    policy_id="hot",
    policy_name="Hot",
    policy_version=2,
    group=LabelSet.of({"host": "ä"}),
    state=AlertState.FIRING,
    seq=2,
    severity=Severity.CRITICAL,
    summary="CPU is hot",
    reason="95 is above 90",
    pending_at_ms=START_MS,
    firing_at_ms=START_MS + 1000,
    resolved_at_ms=None,
    changed_at_ms=START_MS + 1000,
    incident_id="00000000000000c3",
    breaching=1,
    peak_score=0.5,
)


def news(slots: list[int], at_ms: list[int], values: list[float], expected: list[float]) -> News:
    scores = Scores(np.full(len(slots), 0.25), np.array(expected), np.array(expected) - 1, np.array(expected) + 1)
    return News(upto=7, at_ms=START_MS, labels=NAMES, batch=SampleBatch.of(slots, at_ms, values), scores=scores)


def test_every_kind_of_message_is_these_bytes() -> None:
    told = news([0, 1, 0], [START_MS, START_MS, START_MS + 1], [0.1, NAN, 95.0], [NAN, NAN, 1.0])
    full = replace(told, anomalies=(ANOMALY,), alerts=(ALERT,))
    assert [(topic, key, value.decode()) for topic, key, value in lines_of(full, Names())] == GOLDEN


def test_a_gap_is_these_bytes() -> None:
    gap = gap_of(News(upto=9, at_ms=2000, gap=(1000, 2000)))
    assert gap == b'{"version":1,"kind":"gap","position":9,"start_ms":1000,"end_ms":2000}'
    assert gap_of(news([], [], [], [])) is None


@given(
    slots=st.lists(st.integers(0, 1), max_size=40),
    values=st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=40, max_size=40),
)
def test_every_sample_is_in_one_message_of_its_series_in_order(slots: list[int], values: list[float]) -> None:
    count = len(slots)
    told = news(slots, list(range(count)), values[:count], [1.0] * count)
    found: dict[str, list[tuple[int, float]]] = {}
    for topic, key, value in lines_of(told, Names()):
        message = json.loads(value)
        if topic == "samples":
            rows = zip(message["timestamps_ms"], message["values"], strict=True)
            found.setdefault(key.decode(), []).extend(rows)
    for slot in set(slots):
        expected = [(at, values[at]) for at in range(count) if slots[at] == slot]
        assert found[f"{NAMES[slot].fingerprint:016x}"] == expected
    assert len(found) == len(set(slots))


def test_a_series_with_many_samples_has_several_messages_of_bounded_size() -> None:
    count = 2 * MAX_ROWS + 1
    told = news([0] * count, list(range(count)), [math.pi] * count, [math.e * 1e-300] * count)
    lines = list(lines_of(told, Names()))
    assert len(lines) == 6
    assert max(len(line.value) for line in lines) < 500_000
    times = [at for line in lines if line.topic == "scores" for at in json.loads(line.value)["timestamps_ms"]]
    assert times == list(range(count))


GOLDEN: list[tuple[str, bytes, str]] = [
    (
        "samples",
        b"82df77ecd0125381",
        (
            '{"version":1,"kind":"samples","position":7,"fingerprint":"82df77ecd0125381","labels":{"__name__'
            '":"cpu","host":"ä"},"timestamps_ms":[1700000000000,1700000000001],"values":[0.1,95.0]}'
        ),
    ),
    (
        "samples",
        b"ff50efa49c7a1365",
        (
            '{"version":1,"kind":"samples","position":7,"fingerprint":"ff50efa49c7a1365","labels":{"__name__'
            '":"disk"},"timestamps_ms":[1700000000000],"values":[null]}'
        ),
    ),
    (
        "scores",
        b"82df77ecd0125381",
        (
            '{"version":1,"kind":"scores","position":7,"fingerprint":"82df77ecd0125381","labels":{"__name__"'
            ':"cpu","host":"ä"},"timestamps_ms":[1700000000001],"score":[0.25],"expected":[1.0],"lower":[0.0'
            '],"upper":[2.0]}'
        ),
    ),
    (
        "anomalies",
        b"82df77ecd0125381",
        (
            '{"version":1,"kind":"anomalies","position":7,"anomaly":{"id":"00000000000000a1","fingerprint":"'
            '82df77ecd0125381","name":"cpu","labels":{"__name__":"cpu","host":"ä"},"start_ms":1700000000000,'
            '"end_ms":null,"peak_at_ms":1700000000000,"score":0.5,"rarity":"once in about 100 thousand sampl'
            'es","value":95.0,"expected":1.0,"lower":0.5,"upper":1.5}}'
        ),
    ),
    (
        "alerts",
        b"00000000000000b2",
        (
            '{"version":1,"kind":"alerts","position":7,"seq":2,"alert":{"id":"00000000000000b2","policy_id":'
            '"hot","policy_name":"Hot","policy_version":2,"group":{"host":"ä"},"state":"firing","severity":"'
            'critical","summary":"CPU is hot","reason":"95 is above 90","pending_at_ms":1700000000000,"firin'
            'g_at_ms":1700000001000,"resolved_at_ms":null,"changed_at_ms":1700000001000,"incident_id":"00000'
            '000000000c3","breaching":1,"peak_score":0.5,"contributors":[],"silenced_by":null}}'
        ),
    ),
]
