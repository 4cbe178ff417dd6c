r"""Metrics as text, as targets expose them: Prometheus' text format 0.0.4 and OpenMetrics 1.0, split into columns.

Lines are cut into series, value and time by one regular expression; what a series is called is only read when it is
seen for the first time, by the parser of Prometheus' own client. A line that makes no sense is refused alone.

>>> split(b'# HELP up .\nup{job="a b"} 1\nup 0x\n', is_open=False).series
[b'up{job="a b"}']
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

from prometheus_client.parser import text_string_to_metric_families

from quantum.domain.errors import Rejected
from quantum.domain.labels import MAX_GIVEN, MAX_WRITTEN_BYTES

END: Final = b"# EOF"
MAX_TOLD: Final = 5
LINE: Final = re.compile(
    rb"""[ \t]*+
    ((?:[a-zA-Z_:][a-zA-Z0-9_:]*+[ \t]*+)?+(?:\{(?:[^"}]++|"(?:[^"\\]++|\\.)*+")*+\})?+)
    [ \t]*+([^\s\#{_]++)
    (?:[ \t]++([-+0-9.eE]++))?+
    [ \t]*+(?:\#.*+)?+\r?+""",
    re.VERBOSE,
)
"""Series, value and time; possessive, so that no line takes more than one pass. An exemplar behind `#` is left out."""

LABEL: Final = re.compile(rb'=[ \t]*+"(?:[^"\\]++|\\.)*+"')
"""Where a label has its value."""


@dataclass(slots=True)
class Lines:
    """Columns of what was understood, and the numbers of the first lines that were not.

    Attributes:
        series: name and labels as they came.
        values: as floats.
        at_ms: Unix milliseconds, or None where a line has no time.
        refused: how many lines made no sense.
        told: the numbers of the first of them.
    """

    series: list[bytes] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    at_ms: list[int | None] = field(default_factory=list)
    refused: int = 0
    told: list[int] = field(default_factory=list)


def split(body: bytes, *, is_open: bool) -> Lines:
    """Return the samples of an exposition.

    Args:
        body: the text.
        is_open: whether it is OpenMetrics: times are seconds, and the last line says that it is the last.

    Raises:
        Rejected: `truncated`: OpenMetrics without its last line.
    """
    lines = Lines()
    if is_open and body.rstrip().rpartition(b"\n")[2].strip() != END:
        raise Rejected("truncated", "the exposition does not end with # EOF")
    for number, line in enumerate(body.split(b"\n"), 1):
        text = line.lstrip()
        if text and text[0] != ord("#") and not _take(line, lines, is_open=is_open):
            lines.refused += 1
            if len(lines.told) < MAX_TOLD:
                lines.told.append(number)
    return lines


def _take(line: bytes, lines: Lines, *, is_open: bool) -> bool:
    found = LINE.fullmatch(line)
    if found is None or not found[1]:
        return False
    try:
        value = float(found[2])
        at_ms = None if found[3] is None else round(float(found[3]) * 1000) if is_open else int(found[3])
    except (ValueError, OverflowError):
        return False
    if at_ms is not None and not -(2**63) <= at_ms < 2**63:
        return False
    lines.series.append(found[1].rstrip())
    lines.values.append(value)
    lines.at_ms.append(at_ms)
    return True


def labels_of(series: bytes) -> dict[str, str]:
    """Return the labels of a series as it came, its name as `__name__`.

    Raises:
        Rejected: `malformed_line`, or `max_labels` for so many that reading them would take long: the parser takes
            quadratic time.
    """
    if len(series) > MAX_WRITTEN_BYTES or any(islice(LABEL.finditer(series), MAX_GIVEN, None)):
        raise Rejected("max_labels", f"{series[:80]!r} has over {MAX_GIVEN} labels or {MAX_WRITTEN_BYTES} bytes")
    try:
        (family,) = text_string_to_metric_families(series.decode() + " 1\n")
        (sample,) = family.samples
    except (ValueError, KeyError, IndexError) as error:
        raise Rejected("malformed_line", f"{series[:80]!r} is no series: {str(error)[:100]}") from None
    return {"__name__": sample.name, **sample.labels}
