"""Label sets: the identity of a series.

A label set is a sorted tuple of name=value pairs; the metric name is the label `__name__`. An empty value means that
the label is absent. The fingerprint is a stable 64-bit hash of the canonical bytes, equal in every process and release.

>>> cpu = LabelSet.of({"host": "a", "__name__": "cpu", "empty": ""})
>>> cpu.name, cpu.get("host"), str(cpu)
('cpu', 'a', 'cpu{host="a"}')
>>> cpu == LabelSet.of({"__name__": "cpu", "host": "a"})
True
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from hashlib import blake2b
from itertools import islice, pairwise
from typing import TYPE_CHECKING, Final, Self

from quantum.domain.errors import Rejected

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

NAME: Final = "__name__"
MAX_LABELS: Final = 30
MAX_GIVEN: Final = 10 * MAX_LABELS
"""So many labels may be given, those that are empty among them; whoever gives more is not heard to the end."""
MAX_NAME_BYTES: Final = 1024
MAX_VALUE_BYTES: Final = 2048
MAX_WRITTEN_BYTES: Final = 6 * (MAX_LABELS + 1) * (MAX_NAME_BYTES + MAX_VALUE_BYTES)
"""No label set within the limits takes more, however it is written: JSON may write a character in six."""
RESERVED_PREFIXES: Final = ("__tenant", "quantum_tenant")


@dataclass(frozen=True, slots=True)
class LabelSet:
    """Sorted, unique, non-empty name=value pairs. Build with `of`, which checks them."""

    pairs: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, labels: Mapping[str, str] | Iterable[tuple[str, str]]) -> Self:
        """Return the label set of some pairs: sorted, with empty values dropped.

        Raises:
            Rejected: `label_name`, `label_value`, `duplicate_label`, `max_labels` or `reserved_label`.
        """
        given = list(islice(labels.items() if hasattr(labels, "items") else labels, MAX_GIVEN + 1))
        if len(given) > MAX_GIVEN:
            raise Rejected(
                "max_labels", f"over {MAX_GIVEN} labels given, the limit is {MAX_LABELS} and the metric name"
            )
        kept = sorted((name, value) for name, value in given if _checked(name, value) and value)
        for (name, _), (following, _) in pairwise(kept):
            if name == following:
                raise Rejected("duplicate_label", f"label {name!r} is given twice")
        if len(kept) > MAX_LABELS + 1:
            raise Rejected("max_labels", f"{len(kept)} labels given, the limit is {MAX_LABELS} and the metric name")
        return cls(tuple(kept))

    @property
    def name(self) -> str:
        """The metric name, or the empty string."""
        return self.get(NAME)

    def get(self, name: str) -> str:
        """Return the value of a label, or the empty string where it is absent."""
        return next((value for key, value in self.pairs if key == name), "")

    def only(self, names: Iterable[str]) -> LabelSet:
        """Return the label set reduced to some names."""
        wanted = frozenset(names)
        return LabelSet(tuple(pair for pair in self.pairs if pair[0] in wanted))

    def canonical(self) -> bytes:
        """Return bytes that are equal exactly for equal label sets (0xff never occurs in UTF-8)."""
        return b"\xff".join(part.encode() for pair in self.pairs for part in pair)

    @property
    def fingerprint(self) -> int:
        """Unsigned 64-bit hash of the canonical bytes (BLAKE2b, RFC 7693, 8-byte digest)."""
        return int.from_bytes(blake2b(self.canonical(), digest_size=8).digest(), "big")

    def __str__(self) -> str:
        """Return the Prometheus notation, for example `cpu{host="a"}`."""
        inner = ",".join(f'{name}="{_quoted(value)}"' for name, value in self.pairs if name != NAME)
        return f"{self.name}{{{inner}}}" if inner else self.name or "{}"


def _quoted(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _checked(name: str, value: str) -> bool:
    if not name or "\x00" in name or _bytes(name, "label_name") > MAX_NAME_BYTES:
        raise Rejected("label_name", f"label name {name[:40]!r} is empty, has a NUL or is over {MAX_NAME_BYTES} bytes")
    limit = MAX_NAME_BYTES if name == NAME else MAX_VALUE_BYTES
    if "\x00" in value or _bytes(value, "label_value") > limit:
        raise Rejected("label_value", f"the value of label {name[:40]!r} has a NUL or is over {limit} bytes")
    if name.startswith(RESERVED_PREFIXES):
        raise Rejected("reserved_label", f"label {name[:40]!r} is reserved")
    return True


def _bytes(text: str, reason: str) -> int:
    try:
        return len(text.encode())
    except UnicodeEncodeError:
        raise Rejected(reason, "labels must be valid UTF-8, without lone surrogates") from None


class MatchOp(StrEnum):
    """How a matcher compares, in Prometheus notation."""

    EQUAL = "="
    NOT_EQUAL = "!="
    REGEX = "=~"
    NOT_REGEX = "!~"


@dataclass(frozen=True, slots=True)
class Matcher:
    """A condition on one label; an absent label has the empty value. Regular expressions match the whole value."""

    label: str
    op: MatchOp
    value: str

    def __str__(self) -> str:
        """Return the Prometheus notation."""
        return f'{self.label}{self.op}"{_quoted(self.value)}"'


class MatcherCompiler:
    """Compiles matchers to one predicate. The regex engine is handed in; adapters give one of linear time (RE2)."""

    def __init__(self, compile_full_match: Callable[[str], Callable[[str], bool]]) -> None:
        self._compile = compile_full_match

    def __call__(self, matchers: Iterable[Matcher]) -> Callable[[LabelSet], bool]:
        """Return a predicate that is true for label sets that satisfy every matcher.

        Raises:
            Rejected: `regex`, for a pattern that the engine refuses.
        """
        tests = [(matcher.label, self._test(matcher)) for matcher in matchers]
        return lambda labels: all(test(labels.get(label)) for label, test in tests)

    def _test(self, matcher: Matcher) -> Callable[[str], bool]:
        wanted = matcher.value
        match matcher.op:
            case MatchOp.EQUAL:
                return lambda value: value == wanted
            case MatchOp.NOT_EQUAL:
                return lambda value: value != wanted
            case MatchOp.REGEX:
                return self._compile(wanted)
        full_match = self._compile(wanted)
        return lambda value: not full_match(value)
