"""Regular expressions that take time linear in the text: RE2."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import re2

from quantum.domain.errors import Rejected

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_PATTERN: Final = 1000


def full_match(pattern: str) -> Callable[[str], bool]:
    """Return a test that a whole text matches a pattern, in time linear in the text (RE2)."""
    compiled = _compiled(pattern)
    return lambda value: compiled.fullmatch(value) is not None


def groups_of(pattern: str) -> Callable[[str], Callable[[str], str] | None]:
    """Return the groups of a text that matches a pattern as a whole, in time linear in the text (RE2)."""
    compiled = _compiled(pattern)

    def match(text: str) -> Callable[[str], str] | None:
        found = compiled.fullmatch(text)
        if found is None:
            return None
        texts = [found.group(), *(one or "" for one in found.groups())]
        numbers = {str(number): number for number in range(len(texts))} | dict(compiled.groupindex)
        return lambda name: texts[numbers[name]] if name in numbers else ""

    return match


def _compiled(pattern: str) -> Any:
    if len(pattern) > MAX_PATTERN:
        raise Rejected("regex", f"a regular expression has at most {MAX_PATTERN} characters")
    options = re2.Options()
    options.log_errors = False
    options.max_mem = 1 << 20
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        raise Rejected("regex", f"the regular expression {pattern[:80]!r} is refused: {error}") from None
