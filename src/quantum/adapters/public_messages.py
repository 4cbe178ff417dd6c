"""What is published, as bytes: JSON that says its version and kind, of one series or one alert each.

A member may be added to a message; whoever reads it passes over what it does not know. Everything else raises the
version. docs/streams.md explains each member.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec
import numpy as np

from quantum.adapters.http import messages as m
from quantum.adapters.http import views

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from quantum.application.publishing import News
    from quantum.domain.labels import LabelSet

VERSION: Final = 1
KINDS: Final = ("samples", "scores", "anomalies", "alerts")
"""The topics; the kind of a message that has data is the name of its topic."""
MAX_ROWS: Final = 4000
"""Of one message, which so stays below half a megabyte."""


class SamplesMessage(msgspec.Struct, kw_only=True):
    """Samples of one series, in the order in which they were accepted; `null` is a value that is not finite."""

    version: int = VERSION
    kind: str = "samples"
    position: int
    fingerprint: str
    labels: msgspec.Raw
    timestamps_ms: list[int]
    values: list[float]


class ScoresMessage(msgspec.Struct, kw_only=True):
    """Scores of samples for which something was expected."""

    version: int = VERSION
    kind: str = "scores"
    position: int
    fingerprint: str
    labels: msgspec.Raw
    timestamps_ms: list[int]
    score: list[float]
    expected: list[float]
    lower: list[float]
    upper: list[float]


class AnomalyMessage(msgspec.Struct, kw_only=True):
    """An anomaly as it is now."""

    version: int = VERSION
    kind: str = "anomalies"
    position: int
    anomaly: m.AnomalyItem


class AlertMessage(msgspec.Struct, kw_only=True):
    """An alert after its transition number `seq`."""

    version: int = VERSION
    kind: str = "alerts"
    position: int
    seq: int
    alert: m.AlertItem


class GapMessage(msgspec.Struct, kw_only=True):
    """What came from `start_ms` to before `end_ms` is not here."""

    version: int = VERSION
    kind: str = "gap"
    position: int
    start_ms: int
    end_ms: int


class Line(NamedTuple):
    """One message.

    Attributes:
        topic: one of `KINDS`.
        key: of messages with the same one the order is kept.
        value: JSON.
    """

    topic: str
    key: bytes
    value: bytes


class Names:
    """How series are called in messages; each is written once."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[str, msgspec.Raw]] = {}

    def of(self, slot: int, labels: Mapping[int, LabelSet]) -> tuple[str, msgspec.Raw]:
        """Return fingerprint and labels of a series."""
        if slot not in self._known:
            series = labels[slot]
            self._known[slot] = views.fingerprint(series), msgspec.Raw(msgspec.json.encode(dict(series.pairs)))
        return self._known[slot]


def lines_of(news: News, names: Names) -> Iterator[Line]:
    """Yield the messages of news, of each topic in order. Gaps are no news of a series: see `gap_of`."""
    encode, upto = msgspec.json.Encoder().encode, news.upto
    batch, scores = news.batch, news.scores
    for slot, (at_ms, values) in _by_series(batch.slots, batch.at_ms, batch.values):
        name, labels = names.of(slot, news.labels)
        samples = SamplesMessage(position=upto, fingerprint=name, labels=labels, timestamps_ms=at_ms, values=values)
        yield Line("samples", name.encode(), encode(samples))
    known = ~np.isnan(scores.expected)
    columns = (batch.at_ms, scores.score, scores.expected, scores.lower, scores.upper)
    for slot, (at_ms, score, expected, lower, upper) in _by_series(
        batch.slots[known], *(column[known] for column in columns)
    ):
        name, labels = names.of(slot, news.labels)
        scored = ScoresMessage(
            position=upto,
            fingerprint=name,
            labels=labels,
            timestamps_ms=at_ms,
            score=score,
            expected=expected,
            lower=lower,
            upper=upper,
        )
        yield Line("scores", name.encode(), encode(scored))
    for anomaly in news.anomalies:
        item = views.anomaly(anomaly)
        yield Line("anomalies", item.fingerprint.encode(), encode(AnomalyMessage(position=upto, anomaly=item)))
    for alert in news.alerts:
        told = AlertMessage(position=upto, seq=alert.seq, alert=views.alert(alert))
        yield Line("alerts", alert.id.encode(), encode(told))


def gap_of(news: News) -> bytes | None:
    """Return the message of a gap, which belongs in every partition of every topic; None if there is none."""
    if news.gap is None:
        return None
    start_ms, end_ms = news.gap
    return msgspec.json.encode(GapMessage(position=news.upto, start_ms=start_ms, end_ms=end_ms))


def _by_series(slots: NDArray[np.int64], *columns: NDArray[Any]) -> Iterator[tuple[int, list[list[Any]]]]:
    """Yield each series with its rows of every column, at most `MAX_ROWS` at once, in their order."""
    order = np.argsort(slots, kind="stable")
    found, lists = slots[order], [column[order].tolist() for column in columns]
    begin = 0
    for end in (np.flatnonzero(np.diff(found, append=-1)) + 1).tolist():
        for first in range(begin, end, MAX_ROWS):
            last = min(end, first + MAX_ROWS)
            yield int(found[first]), [rows[first:last] for rows in lists]
        begin = end
