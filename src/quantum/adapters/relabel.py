"""Relabelling as Prometheus does it: rules that keep, drop, replace and rename labels, one after the other.

Regular expressions match the whole text, in time linear in it (RE2). Reference: Prometheus' `relabel_config`.

>>> rule = Rule("replace", ("host", "port"), "(.+):9(.*)", "address", "$1-${2}", ":")
>>> relabel([rule], {"host": "a", "port": "9100"})
{'host': 'a', 'port': '9100', 'address': 'a-100'}
>>> relabel([Rule("drop", ("host",), "a|b")], {"host": "a"}) is None
True
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import re2

from quantum.domain.errors import Rejected

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ACTIONS: Final = ("replace", "keep", "drop", "labelmap", "labeldrop", "labelkeep")
MAX_PATTERN: Final = 1000
ALL: Final = "(.*)"
_GROUP: Final = re.compile(r"\$(?:(\$)|(\w+)|\{(\w+)\})")


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule.

    Attributes:
        action: one of `ACTIONS`.
        source_labels: whose values, joined by the separator, the pattern is matched with.
        regex: RE2; of `labelmap`, `labeldrop` and `labelkeep` it is matched with the names of labels.
        target_label: of `replace`: where the result goes; may have groups.
        replacement: of `replace` and `labelmap`: `$1`, `${1}` or `${name}` stand for groups, `$$` for a dollar.
        separator: between values of source labels.
    """

    action: str = "replace"
    source_labels: tuple[str, ...] = ()
    regex: str = ALL
    target_label: str = ""
    replacement: str = "$1"
    separator: str = ";"
    pattern: Any = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Compile the pattern.

        Raises:
            Rejected: `relabel`: the rule makes no sense.
        """
        if self.action not in ACTIONS:
            raise Rejected("relabel", f"action {self.action!r} is none of {', '.join(ACTIONS)}")
        if self.action == "replace" and not self.target_label:
            raise Rejected("relabel", "action replace needs a target_label")
        if self.action in {"keep", "drop"} and not self.source_labels:
            raise Rejected("relabel", f"action {self.action} needs source_labels")
        if len(self.regex) > MAX_PATTERN:
            raise Rejected("relabel", f"a regular expression has at most {MAX_PATTERN} characters")
        options = re2.Options()
        options.log_errors = False
        try:
            object.__setattr__(self, "pattern", re2.compile(self.regex, options))
        except re2.error as error:
            raise Rejected("relabel", f"the regular expression {self.regex[:80]!r} is refused: {error}") from None


def relabel(rules: Sequence[Rule], labels: Mapping[str, str]) -> dict[str, str] | None:
    """Return the labels after all rules, without empty ones, or None if a rule drops them."""
    found = dict(labels)
    for rule in rules:
        kept = _applied(rule, found)
        if kept is None:
            return None
        found = kept
    return {name: value for name, value in found.items() if value}


def _applied(rule: Rule, labels: dict[str, str]) -> dict[str, str] | None:
    match rule.action:
        case "keep" | "drop":
            return labels if _matches(rule, labels) == (rule.action == "keep") else None
        case "labeldrop":
            return {name: value for name, value in labels.items() if not rule.pattern.fullmatch(name)}
        case "labelkeep":
            return {name: value for name, value in labels.items() if rule.pattern.fullmatch(name)}
        case "labelmap":
            renamed = {
                _expanded(rule.replacement, match): value
                for name, value in labels.items()
                if (match := rule.pattern.fullmatch(name))
            }
            return labels | renamed
    match = rule.pattern.fullmatch(_source(rule, labels))
    if not match:
        return labels
    return labels | {_expanded(rule.target_label, match): _expanded(rule.replacement, match)}


def _source(rule: Rule, labels: Mapping[str, str]) -> str:
    return rule.separator.join(labels.get(name, "") for name in rule.source_labels)


def _matches(rule: Rule, labels: Mapping[str, str]) -> bool:
    return rule.pattern.fullmatch(_source(rule, labels)) is not None


def _expanded(template: str, match: Any) -> str:
    """Return a template with its groups filled in; groups that are not there are empty, as in Go."""

    def fill(found: re.Match[str]) -> str:
        dollar, short, braced = found.groups()
        if dollar:
            return "$"
        name = short or braced
        try:
            return match.group(int(name) if name.isdigit() else name) or ""
        except (IndexError, KeyError):
            return ""

    return _GROUP.sub(fill, template)
