"""PromQL texts to plans, by the `promql-parser` library, whose trees end here.

The library recurses in machine code, over brackets and over chains of operators alike: a text with too many of either
would end the process, so both are counted before, in one pass that knows strings and comments. The same pass quotes raw
strings, in which the library would look for escapes.
"""

from __future__ import annotations

import re
from datetime import timedelta
from itertools import count
from typing import TYPE_CHECKING, Any, Final

import promql_parser as tree

from quantum.domain.errors import Rejected
from quantum.domain.labels import NAME, Matcher, MatchOp
from quantum.domain.promql.plan import (
    Aggregate,
    Binary,
    Call,
    Matching,
    Moment,
    Negative,
    Number,
    Selector,
    Subquery,
    Text,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from quantum.domain.promql.plan import Plan

MAX_CHARACTERS: Final = 16_384
MAX_DEPTH: Final = 100
DEFAULT_STEP_MS: Final = 60_000
"""Of a subquery that names none: Prometheus' default evaluation interval."""
MAX_OPERATORS: Final = 500
"""The library stands some thousands on a stack of 8 MiB."""
TOKEN: Final = re.compile(
    r"""(?P<text>"(?:[^"\\]|\\.)*(?:"|\Z)|'(?:[^'\\]|\\.)*(?:'|\Z)|\#[^\n]*)|`(?P<raw>[^`]*)`"""
    r"""|(?P<holt>\bholt_winters(?=\s*\())|(?P<opening>[(\[{])|(?P<closing>[)\]}])|(?P<past>@\s*-)"""
    r"""|(?P<operator>[-+*/%^]|[=!<>]=?|\b(?:and|or|unless|atan2)\b)""",
    re.DOTALL | re.IGNORECASE,
)
"""What is left open ends with the text, so that every character is looked at once."""
OPERATORS: Final = {
    "Equal": MatchOp.EQUAL,
    "NotEqual": MatchOp.NOT_EQUAL,
    "Re": MatchOp.REGEX,
    "NotRe": MatchOp.NOT_REGEX,
}
SMOOTHING: Final = "double_exponential_smoothing"
"""What Prometheus 3 calls `holt_winters`."""
MANY: Final = {"OneToOne": "", "ManyToOne": "left", "OneToMany": "right", "ManyToMany": "both"}


def parse_promql(text: str) -> Plan:
    """Return the plan of a PromQL expression.

    Raises:
        Rejected: `bad_data`; the message says what is wrong.
    """
    if len(text) > MAX_CHARACTERS:
        raise Rejected("bad_data", f"a query has at most {MAX_CHARACTERS} characters")
    _refuse_depth(text)
    try:
        parsed = tree.parse(TOKEN.sub(_known, text))
    except ValueError as error:
        raise Rejected("bad_data", f"parse error: {str(error)[:300]}") from None
    try:
        return _plan(parsed, count(), 0)
    except (ValueError, OverflowError):
        raise Rejected("bad_data", "parse error: a duration or a time is out of range") from None


def format_promql(text: str) -> str:
    """Return a PromQL expression as the library writes it.

    Raises:
        Rejected: `bad_data`, as `parse_promql`.
    """
    parse_promql(text)
    return str(tree.parse(TOKEN.sub(_known, text)).prettify())


def parse_matchers(text: str) -> tuple[Matcher, ...]:
    """Return the matchers of a series selector.

    Raises:
        Rejected: `bad_data`, because it is another expression or none.
    """
    plan = parse_promql(text)
    if not isinstance(plan, Selector) or plan.range_ms is not None or plan.offset_ms or plan.moment:
        raise Rejected("bad_data", f"{text[:200]!r} is no series selector")
    return plan.matchers


def _refuse_depth(text: str) -> None:
    depth = braces = operators = 0
    for found in TOKEN.finditer(text):
        if found["past"]:
            raise Rejected("bad_data", "parse error: a time before 1970 is not supported after @")
        depth += bool(found["opening"]) - bool(found["closing"])
        braces += (found["opening"] == "{") - (found["closing"] == "}")
        # the operators of matchers are in braces, and do not nest
        operators += bool(found["operator"]) and braces <= 0
        if depth > MAX_DEPTH:
            raise Rejected("bad_data", f"a query has at most {MAX_DEPTH} levels of brackets")
        if operators > MAX_OPERATORS:
            raise Rejected("bad_data", f"a query has at most {MAX_OPERATORS} operators")


def _known(token: re.Match[str]) -> str:
    """Return a raw string as an ordinary one, an old name as what the library calls it, and anything else as it is."""
    raw = token["raw"]
    if raw is None:
        return SMOOTHING if token["holt"] else token[0]
    return '"' + raw.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n") + '"'


def _plan(node: Any, keys: Iterator[int], depth: int) -> Plan:  # noqa: C901, PLR0911 - one per kind of node
    if depth > MAX_DEPTH * 2:
        raise Rejected("bad_data", f"a query has at most {MAX_DEPTH * 2} levels")
    match node:
        case tree.ParenExpr():
            return _plan(node.expr, keys, depth + 1)
        case tree.NumberLiteral():
            return Number(node.val)
        case tree.StringLiteral():
            return Text(node.val)
        case tree.VectorSelector():
            return _selector(node, next(keys), None)
        case tree.MatrixSelector():
            return _selector(node.vector_selector, next(keys), _ms(node.range))
        case tree.SubqueryExpr():
            step_ms = DEFAULT_STEP_MS if node.step is None else _ms(node.step)
            inner = _plan(node.expr, keys, depth + 1)
            return Subquery(inner, _ms(node.range), step_ms, _ms(node.offset), _moment(node.at))
        case tree.UnaryExpr():
            return Negative(_plan(node.expr, keys, depth + 1))
        case tree.Call():
            return Call(node.func.name, tuple(_plan(one, keys, depth + 1) for one in node.args))
        case tree.AggregateExpr():
            return _aggregate(node, keys, depth)
    return _binary(node, keys, depth)


def _selector(node: Any, key: int, range_ms: int | None) -> Selector:
    if node.matchers.or_matchers:
        raise Rejected("bad_data", "alternatives (or) between matchers are not supported")
    matchers = [Matcher(one.name, OPERATORS[_name(one.op)], one.value) for one in node.matchers.matchers]
    if node.name is not None:
        matchers.insert(0, Matcher(NAME, MatchOp.EQUAL, node.name))
    return Selector(key, tuple(matchers), range_ms, _ms(node.offset), _moment(node.at))


def _name(member: object) -> str:
    """Return the name of a member of one of the library's enumerations, which cannot be keys."""
    return str(member).rpartition(".")[2]


def _ms(duration: timedelta | None) -> int:
    return 0 if duration is None else round(duration / timedelta(milliseconds=1))


def _moment(at: Any) -> Moment | None:
    if at is None:
        return None
    if at.type == tree.AtModifierType.At:
        return Moment(round(at.at.timestamp() * 1000))
    return Moment("start" if at.type == tree.AtModifierType.Start else "end")


def _aggregate(node: Any, keys: Iterator[int], depth: int) -> Aggregate:
    modifier = node.modifier
    by = modifier is None or modifier.type == tree.AggModifierType.By
    return Aggregate(
        str(node.op),
        _plan(node.expr, keys, depth + 1),
        by,
        () if modifier is None else tuple(modifier.labels),
        None if node.param is None else _plan(node.param, keys, depth + 1),
    )


def _binary(node: Any, keys: Iterator[int], depth: int) -> Binary:
    left, right = _plan(node.lhs, keys, depth + 1), _plan(node.rhs, keys, depth + 1)
    modifier = node.modifier
    if modifier is None:
        return Binary(str(node.op), left, right)
    matching = modifier.matching
    on = matching is not None and matching.type == tree.LabelModifierType.Include
    labels = () if matching is None else tuple(matching.labels)
    include = tuple(modifier.group_labels or ())
    return Binary(
        str(node.op), left, right, modifier.return_bool, Matching(on, labels, MANY[_name(modifier.card)], include)
    )
