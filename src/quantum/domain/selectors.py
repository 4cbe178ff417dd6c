"""Series selectors in Prometheus notation: `cpu{host=~"web-.*",mode!="idle"}`.

>>> [str(matcher) for matcher in parse_selector('cpu{host=~"web-.*"}')]
['__name__="cpu"', 'host=~"web-.*"']
"""

from __future__ import annotations

import re
from typing import Final

from quantum.domain.errors import Rejected
from quantum.domain.labels import NAME, Matcher, MatchOp

MAX_SELECTOR: Final = 4096
MAX_MATCHERS: Final = 20
METRIC: Final = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:.]*")
MATCHER: Final = re.compile(r'\s*([a-zA-Z_][a-zA-Z0-9_.]*)\s*(=~|!~|!=|=)\s*"((?:[^"\\]|\\.)*)"\s*')
ESCAPES: Final = {"n": "\n", "t": "\t", '"': '"', "\\": "\\"}


def parse_selector(text: str) -> tuple[Matcher, ...]:
    """Return the matchers of a selector, in time linear in its length.

    Raises:
        Rejected: `selector`; the message says at which character.
    """
    if len(text) > MAX_SELECTOR:
        raise Rejected("selector", f"a selector has at most {MAX_SELECTOR} characters")
    stripped = text.strip()
    metric = METRIC.match(stripped)
    at = metric.end() if metric else 0
    matchers = [Matcher(NAME, MatchOp.EQUAL, metric.group())] if metric else []
    rest = stripped[at:].strip()
    if rest:
        matchers += _parse_braces(rest, text)
    if not matchers:
        raise Rejected("selector", f"selector {text!r} names no series")
    return tuple(matchers)


def _parse_braces(rest: str, text: str) -> list[Matcher]:
    if not (rest.startswith("{") and rest.endswith("}")):
        raise Rejected("selector", f'selector {text!r} is not of the form name{{label="value"}}')
    matchers: list[Matcher] = []
    at, inside = 0, rest[1:-1]
    while inside[at:].strip():
        found = MATCHER.match(inside, at)
        if found is None or len(matchers) >= MAX_MATCHERS:
            raise Rejected("selector", f"selector {text!r} cannot be read at {inside[at : at + 20]!r}")
        label, op, value = found.groups()
        matchers.append(Matcher(label, MatchOp(op), _unescaped(value)))
        at = found.end()
        if at < len(inside) and inside[at] != ",":
            raise Rejected("selector", f"selector {text!r} lacks a comma at {inside[at : at + 20]!r}")
        at += 1
    return matchers


def _unescaped(value: str) -> str:
    return re.sub(r"\\(.)", lambda found: ESCAPES.get(found.group(1), found.group()), value, flags=re.DOTALL)
