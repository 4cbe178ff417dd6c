"""Plans: PromQL expressions as plain values, with everything in milliseconds.

>>> Aggregate("sum", Selector(0, ()), by=True, labels=("job",)).op
'sum'
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from quantum.domain.labels import Matcher


@dataclass(frozen=True, slots=True)
class Moment:
    """A fixed time of evaluation (`@`): Unix milliseconds, or "start" or "end" of the query."""

    at: int | str


@dataclass(frozen=True, slots=True)
class Number:
    """A number."""

    value: float


@dataclass(frozen=True, slots=True)
class Text:
    """A string."""

    value: str


@dataclass(frozen=True, slots=True)
class Selector:
    """Samples of matching series: the newest of each, or all of the last `range_ms` if that is not None.

    Attributes:
        key: of this selector within its query; what was fetched for it is found by it.
    """

    key: int
    matchers: tuple[Matcher, ...]
    range_ms: int | None = None
    offset_ms: int = 0
    moment: Moment | None = None


@dataclass(frozen=True, slots=True)
class Subquery:
    """An expression evaluated every `step_ms` of the last `range_ms`."""

    expression: Plan
    range_ms: int
    step_ms: int
    offset_ms: int = 0
    moment: Moment | None = None


@dataclass(frozen=True, slots=True)
class Call:
    """A function of some arguments."""

    name: str
    arguments: tuple[Plan, ...]


@dataclass(frozen=True, slots=True)
class Aggregate:
    """An aggregation over groups: `by` some labels, or by all labels `without` some."""

    op: str
    expression: Plan
    by: bool = True
    labels: tuple[str, ...] = ()
    parameter: Plan | None = None


@dataclass(frozen=True, slots=True)
class Matching:
    """How series of two sides are matched.

    Attributes:
        on: whether `labels` are those that count, or those that do not.
        many: "" one to one, "left" or "right" the side with several per match, "both" for set operators.
        include: labels of the other side that the result has too.
    """

    on: bool = False
    labels: tuple[str, ...] = ()
    many: str = ""
    include: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Binary:
    """An operator between two expressions; `is_bool` makes a comparison answer 0 or 1 instead of filtering."""

    op: str
    left: Plan
    right: Plan
    is_bool: bool = False
    matching: Matching = Matching()


@dataclass(frozen=True, slots=True)
class Negative:
    """The negative of an expression."""

    expression: Plan


Plan = Number | Text | Selector | Subquery | Call | Aggregate | Binary | Negative
