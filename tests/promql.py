"""A fleet of series with everything that is hard, and a generator of PromQL queries over it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

from quantum.domain.labels import LabelSet

if TYPE_CHECKING:
    from numpy import float64, int64
    from numpy.random import Generator
    from numpy.typing import NDArray

STALE: Final = np.array([0x7FF0000000000002], np.uint64).view(np.float64)[0]
EDGES: Final = ("0.1", "0.5", "1", "5", "+Inf")


@dataclass
class Fleet:
    """Series of an hour, every fifteen seconds: gauges, counters with resets, gaps, endings, histograms, NaN, Inf."""

    start_ms: int
    series: list[tuple[LabelSet, NDArray[int64], NDArray[float64]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        random = np.random.default_rng(7)
        rows = 240
        for number in range(6):
            values = np.round(20 + 5 * np.sin(np.arange(rows) / 20 + number) + random.normal(0, 1, rows), 2)
            self._add(values, number, "temp", room=f"r{number % 3}", floor=str(number // 3))
        for number in range(8):
            values = np.cumsum(random.poisson(3 + number, rows)).astype(np.float64)
            if number % 2:
                at = int(random.integers(60, 180))
                values[at:] -= values[at]
            labels = {
                "path": f"/p{number % 2}",
                "code": "200" if number % 4 < 2 else "500",
                "instance": f"i{number // 4}",
            }
            self._add(values, number, "requests_total", **labels)
        for number in range(3):
            values = random.normal(0, 10, rows)
            values[60 + 10 * number] = STALE
            keep = np.ones(rows, np.bool_)
            keep[61 + 10 * number : 110] = keep[150:180] = False
            self._add(values, number, "gappy", keep, room=f"r{number}")
        for instance in ("i0", "i1"):
            counts = np.cumsum(random.poisson(2, (rows, len(EDGES))), axis=0).cumsum(axis=1)
            for number, edge in enumerate(EDGES):
                self._add(counts[:, number], 0, "latency_bucket", le=edge, instance=instance)
            self._add(counts[:, -1], 0, "latency_count", instance=instance)
            self._add(counts[:, -1] * 0.4, 0, "latency_sum", instance=instance)
        odd = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1e6, -5.5])
        self._add(odd[random.integers(0, 7, rows)], 3, "odd", kind="a")
        self._add(odd[random.integers(3, 7, rows)], 3, "odd", kind="b")
        self._add(np.full(rows, 4.0), 0, "flat", room="r0")
        for instance in ("i0", "i1"):
            self._add(np.ones(rows), 0, "info", instance=instance, version=f"v{instance}", zone="z")

    def _add(
        self, values: NDArray[float64], shift: int, name: str, keep: NDArray[np.bool_] | None = None, /, **labels: str
    ) -> None:
        at_ms = self.start_ms + 15_000 * np.arange(len(values)) + 137 * shift
        rows = slice(None) if keep is None else keep
        self.series.append((LabelSet.of({"__name__": name, **labels}), at_ms[rows], values[rows].astype(np.float64)))


SELECTORS: Final = (
    "temp",
    'temp{room="r1"}',
    'temp{room=~"r[02]"}',
    'temp{room!~"r.*"}',
    "requests_total",
    'requests_total{code="500"}',
    'requests_total{path!="/p0"}',
    "gappy",
    'gappy{room=~"r1|r2"}',
    "odd",
    'odd{kind="b"}',
    "flat",
    "info",
    "latency_count",
    "latency_sum",
    "absent_metric",
    '{__name__=~"temp|flat"}',
    "latency_bucket",
)
RANGES: Final = ("1m", "47s", "5m", "10m", "15s")
SHIFTS: Final = ("", "", "", "", " offset 3m", " offset -2m", " @ start()", " @ end()", " offset 1m @ end()")
WINDOWED: Final = (
    "rate",
    "increase",
    "delta",
    "irate",
    "idelta",
    "deriv",
    "changes",
    "resets",
    "avg_over_time",
    "min_over_time",
    "max_over_time",
    "sum_over_time",
    "count_over_time",
    "last_over_time",
    "stddev_over_time",
    "stdvar_over_time",
    "present_over_time",
    "absent_over_time",
)
NUMERIC: Final = (
    "abs",
    "ceil",
    "floor",
    "exp",
    "ln",
    "log2",
    "log10",
    "sqrt",
    "sgn",
    "sin",
    "cos",
    "tan",
    "atan",
    "asinh",
    "tanh",
    "deg",
    "rad",
    "round",
    "acos",
    "sinh",
)
CALENDAR: Final = ("minute", "hour", "day_of_week", "day_of_month", "day_of_year", "days_in_month", "month", "year")
SIMPLE: Final = ("sum", "avg", "min", "max", "count", "group", "stddev", "stdvar")
GROUPINGS: Final = (
    "",
    " by (room)",
    " by (code, instance)",
    " without (room)",
    " without (path, kind)",
    " by ()",
    " by (nothing)",
)
ARITHMETIC: Final = ("+", "-", "*", "/", "%", "^", "atan2")
COMPARISONS: Final = ("==", "!=", ">", "<", ">=", "<=")
SETS: Final = ("and", "or", "unless")
SHARES: Final = ("0.5", "0.9", "0", "1", "-1", "2", "NaN", "0.99")
PATTERNS: Final = ("r(.*)", "(.*)", "/p(?P<n>.)", "nomatch")
HISTOGRAMS: Final = (
    "latency_bucket",
    "rate(latency_bucket[5m])",
    "sum by (le) (rate(latency_bucket[5m]))",
    "temp",
)
CORNERS: Final = (
    "clamp(temp, 25, 5)",
    "clamp(temp, scalar(flat), 5)",
    "round(temp, 0)",
    "temp % 0",
    "0 / flat - flat / 0",
    "-1 ^ 2",
    "-temp ^ 2",
    "2 ^ 3 ^ 2",
    "-(-temp)",
    "temp @ 1790001000",
    "temp offset 30m @ 1790003000.5",
    "rate(requests_total[5m] @ 1790002000)",
    "max_over_time(temp[5m:30s] @ 1790002000 offset 2m)",
    "sum_over_time(temp[10m:1m] offset 7m)",
    "avg_over_time((rate(requests_total[2m]))[5m:])",
    "sum by (__name__) (temp)",
    "sum without () (temp)",
    'count without (floor) ({__name__=~"temp|gappy"})',
    'count by (room, floor) ({room=~".+"})',
    'rate({__name__=~"temp|flat"}[5m])',
    'abs({__name__=~"temp|gappy", room="r0"})',
    'last_over_time({__name__=~"temp|flat"}[5m])',
    '-{__name__=~"temp|flat", room="r0"}',
    '{__name__=~"temp|gappy"} + 1',
    '{__name__=~"temp|gappy"} > 1',
    '{__name__=~"temp|gappy"} > bool 1',
    "requests_total / ignoring (code) group_left () sum without (code) (requests_total)",
    "requests_total / ignoring (code) requests_total",
    "info * on (instance) group_right (version) requests_total",
    "info * on (instance) group_right (nothing) requests_total",
    "requests_total * on (instance) group_left (path) info",
    "requests_total > on (instance) group_left (zone) (info * 100)",
    "info < on (instance) group_right () requests_total",
    "temp and on () (flat > 5)",
    "temp or on () flat",
    "temp unless on (room) flat",
    "(temp or flat) == (flat or temp)",
    "temp == on (room, floor) temp",
    "temp != temp",
    "1 < bool temp",
    "10 < temp",
    "1 + 2 * 3 % 4 - 5 / 2",
    "NaN == bool NaN",
    "vector(1) == vector(1)",
    "vector(1) or temp",
    "scalar(temp)",
    "scalar(flat)",
    "scalar(absent_metric)",
    "vector(scalar(flat))",
    'absent(absent_metric{a="b", c=~"d", e="f", e="g", h!="i"})',
    'absent(temp{room="none"} > 5)',
    "absent(sum(absent_metric))",
    'absent_over_time(absent_metric{a="b"}[5m])',
    "absent_over_time(temp[5m])",
    "absent_over_time((absent_metric)[5m:1m])",
    'histogram_quantile(0.5, latency_bucket{le!="+Inf"})',
    'histogram_quantile(0.5, latency_bucket{le="+Inf"})',
    'histogram_quantile(0.5, label_replace(latency_bucket, "le", "0.50", "le", "0.1"))',
    'histogram_quantile(0.5, label_replace(latency_bucket, "le", "five", "le", "5"))',
    "histogram_quantile(0, rate(latency_bucket[5m]))",
    "histogram_quantile(1, rate(latency_bucket[5m]))",
    "histogram_quantile(0.5, -latency_bucket)",
    "histogram_quantile(0.5, latency_bucket * 0)",
    "histogram_quantile(scalar(flat) / 5, latency_bucket)",
    "quantile_over_time(scalar(flat) / 5, temp[5m])",
    "quantile(scalar(flat) / 5, temp)",
    "topk(scalar(flat) - 2, temp)",
    "topk(NaN, temp)",
    "topk(-1, temp)",
    "bottomk by (room) (1, odd)",
    'count_values("room", flat)',
    'count_values("kind", odd)',
    'count_values("__name__", flat)',
    'label_replace(temp, "__name__", "heat", "", "")',
    'label_replace(temp, "room", "$9$name${x}", "room", "r(.)")',
    'label_replace(temp, "a b", "x", "room", ".*")',
    'label_replace(temp, "a", "x", "room", "(")',
    'label_join(temp, "all", "")',
    'label_join(temp, "room", ",", "__name__", "floor")',
    'label_join(temp, "0", "-", "room")',
    "predict_linear(flat[5m], 60)",
    "holt_winters(temp[5m], 0.3, 0.1)",
    "holt_winters(gappy[10m], 0.9, 0.5)",
    "holt_winters(odd[2m], 0.5, 0.5)",
    "holt_winters (requests_total[15s], 0.5, scalar(flat) / 5)",
    "holt_winters(temp[5m], 0, 0.1)",
    "deriv(odd[5m])",
    "stddev_over_time(odd[5m])",
    "avg_over_time(odd[5m])",
    "sum_over_time(odd[5m])",
    "min_over_time(odd[5m])",
    "quantile_over_time(0.3, odd[5m])",
    "stddev(odd)",
    "avg(odd)",
    "min(odd)",
    "sum(odd)",
    "quantile(0.5, odd)",
    "rate(odd[5m])",
    "delta(odd[5m])",
    "resets(odd[5m])",
    "changes(odd[5m])",
    "day_of_week(vector(-86400 * 3))",
    "year(vector(-86400 * 366 * 30))",
    "days_in_month(vector(951782400))",
    "minute(temp * -1.5)",
    "timestamp(timestamp(temp))",
    "timestamp(temp + 0)",
    "sort(odd)",
    "sgn(odd)",
    "temp{room=``}",
    "temp{room=~`r\\d`}",
    'temp{room!="", none=""}',
    '{room="r0", floor=~".*"}',
    "temp[15s]",
    "temp[1m] offset 1h",
    "(temp > 20)[5m:17s]",
    '"text"',
    "holt_winters(temp)",
    "temp offset",
    "sum(temp[5m])",
    "rate(temp)",
    "temp + temp[5m]",
    "1 == 1",
    "temp and 1",
    "{}",
    '{room=~".*"}',
    'temp{room="a"',
    "foo(temp)",
)
"""Queries about what generated ones hardly meet; the last are no queries."""
GRAMMAR_SIZE: Final = sum(
    map(len, (SELECTORS, RANGES, SHIFTS, WINDOWED, NUMERIC, CALENDAR, SIMPLE, GROUPINGS, ARITHMETIC, COMPARISONS, SETS))
)


def generate(random: Generator) -> str:
    """Return a query that yields a vector or a scalar."""
    if random.random() < 0.04:
        return f"{pick(random, SELECTORS[:-1])}[{pick(random, RANGES)}]" if random.random() < 0.5 else scalar(random, 0)
    return vector(random, 0)


def pick(random: Generator, choices: tuple[str, ...]) -> str:
    return choices[int(random.integers(len(choices)))]


def selector(random: Generator) -> str:
    return pick(random, SELECTORS) + pick(random, SHIFTS)


def scalar(random: Generator, depth: int) -> str:
    match int(random.integers(5 if depth < 2 else 2)):
        case 0:
            return pick(random, ("1", "2.5", "-3", "0", "1e3", "0.5", "NaN", "Inf"))
        case 1:
            return pick(random, ("time()", "pi()"))
        case 2:
            return f"scalar({vector(random, depth + 1)})"
        case 3:
            return f"({scalar(random, depth + 1)} {pick(random, ARITHMETIC)} {scalar(random, depth + 1)})"
    return f"({scalar(random, depth + 1)} {pick(random, COMPARISONS)} bool {scalar(random, depth + 1)})"


def windows(random: Generator, depth: int) -> str:
    if depth < 2 and random.random() < 0.25:
        step = pick(random, ("", "30s", "1m", "17s"))
        return f"({vector(random, depth + 1)})[{pick(random, ('5m', '10m', '3m'))}:{step}]{pick(random, SHIFTS)}"
    name = pick(random, SELECTORS)
    return f"{name}[{pick(random, RANGES)}]{pick(random, SHIFTS)}"


def vector(random: Generator, depth: int) -> str:
    if depth >= 3 or random.random() < 0.15:
        return selector(random)
    makers = (
        windowed,
        windowed,
        windowed,
        numeric,
        calendar,
        aggregated,
        aggregated,
        chosen,
        binary,
        binary,
        binary,
        other,
    )
    return makers[int(random.integers(len(makers)))](random, depth + 1)


def windowed(random: Generator, depth: int) -> str:
    match int(random.integers(10)):
        case 0:
            return f"quantile_over_time({pick(random, SHARES)}, {windows(random, depth)})"
        case 1:
            # without `@`: with it, Prometheus 2.42 answers for the first step only
            ahead = pick(random, ("60", "-30", "3600"))
            return f"predict_linear({pick(random, SELECTORS)}[{pick(random, RANGES)}], {ahead})"
    return f"{pick(random, WINDOWED)}({windows(random, depth)})"


def numeric(random: Generator, depth: int) -> str:
    inner = vector(random, depth)
    match int(random.integers(8)):
        case 0:
            return f"clamp({inner}, -5, {pick(random, ('10', '3.5'))})"
        case 1:
            return f"clamp_{pick(random, ('min', 'max'))}({inner}, {scalar(random, depth)})"
        case 2:
            return f"round({inner}, {pick(random, ('0.1', '5', '0.25'))})"
        case 3:
            return f"-{inner}" if inner[0].isalpha() else f"-({inner})"
    return f"{pick(random, NUMERIC)}({inner})"


def calendar(random: Generator, depth: int) -> str:
    name = pick(random, CALENDAR)
    match int(random.integers(5)):
        case 0:
            return f"{name}()"
        case 1:
            return f"{name}(vector(time() + {int(random.integers(-400, 400)) * 86_400}))"
        case 2:
            return f"timestamp({vector(random, depth)})"
        case 3:
            return f"vector({scalar(random, depth)})"
    # not with both offset and `@`: there, Prometheus 2.42 forgets the offset
    return f"{name}(timestamp({pick(random, SELECTORS)}{pick(random, SHIFTS[:-1])}))"


def aggregated(random: Generator, depth: int) -> str:
    return f"{pick(random, SIMPLE)}{pick(random, GROUPINGS)} ({vector(random, depth)})"


def chosen(random: Generator, depth: int) -> str:
    grouping = pick(random, GROUPINGS)
    match int(random.integers(4)):
        case 0:
            return f"quantile{grouping} ({pick(random, ('0.5', '0.25', '1.5', '-1', 'NaN'))}, {vector(random, depth)})"
        case 1:
            return f'count_values{grouping} ("value", {pick(random, ("flat", "info", "ceil(temp)", "odd"))})'
    # a tie would be broken differently, so what is compared has none
    which, count = pick(random, ("topk", "bottomk")), pick(random, ("1", "2", "3", "0", "2.7"))
    return f"{which}{grouping} ({count}, {pick(random, ('temp', 'gappy', 'deriv(temp[5m])'))})"


def binary(random: Generator, depth: int) -> str:
    # without atan2: with vectors, Prometheus 2.42 keeps the metric name there, later versions do not
    between = (*ARITHMETIC[:-1], *COMPARISONS)
    match int(random.integers(6)):
        case 0:
            op = pick(random, between)
            return f"({vector(random, depth)} {op} {scalar(random, depth)})"
        case 1:
            op = pick(random, (*between, *(f"{one} bool" for one in COMPARISONS)))
            return f"({scalar(random, depth)} {op} {vector(random, depth)})"
        case 2:
            how = pick(random, ("", " on (room)", " ignoring (floor)", " on (instance)", " on ()"))
            return f"({vector(random, depth)} {pick(random, SETS)}{how} {vector(random, depth)})"
        case 3:
            how = pick(random, ("group_left", "group_left (version)", "group_left (version, zone)"))
            op = pick(random, between)
            return f"(requests_total {op} on (instance) {how} info)"
        case 4:
            op = pick(random, between)
            return f"(flat {op} on (room) group_right {pick(random, ('temp', 'gappy'))})"
    op = pick(random, (*between, *(f"{one} bool" for one in COMPARISONS)))
    how = pick(random, ("", "", " on (room)", " ignoring (floor)", " on (instance, path)"))
    return f"({vector(random, depth)} {op}{how} {vector(random, depth)})"


def other(random: Generator, depth: int) -> str:
    inner = vector(random, depth)
    choices = (
        f"absent({inner})",
        f"sort{pick(random, ('', '_desc'))}({inner})",
        _replaced(inner, "new", "x-$1", pick(random, ("room", "path", "none")), pick(random, PATTERNS)),
        _replaced(inner, "room", pick(random, ("", "$1", "${1}s$$", "a$2b")), "room", "(.)(.*)"),
        f'label_join({inner}, "joined", "-", "room", "code", "none")',
        f"histogram_quantile({pick(random, SHARES)}, {pick(random, HISTOGRAMS)})",
        f"absent_over_time({windows(random, depth)})",
        f"absent({pick(random, SELECTORS)})",
    )
    return pick(random, choices)


def _replaced(inner: str, *texts: str) -> str:
    return f"label_replace({inner}, {', '.join(map(_quoted, texts))})"


def _quoted(text: str) -> str:
    return f'"{text}"'
