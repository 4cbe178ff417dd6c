"""Parameters of URLs that many routes have: which page, from when, of which series."""

from __future__ import annotations

from typing import Annotated, Final

from litestar.params import PathParameter, QueryParameter

from quantum.domain.errors import Rejected

HEX: Final = "^[0-9a-f]{16}$"
Limit = Annotated[int, QueryParameter(ge=1, le=1000, description="How many items at most")]
Cursor = Annotated[str | None, QueryParameter(max_length=600, description="next_cursor of the page before")]
TimeMs = Annotated[
    int | None,
    # Litestar describes a limit of zero only where null may not be
    QueryParameter(ge=0, le=253_402_300_800_000, description="Unix milliseconds", schema_extra={"minimum": 0}),
]
Time = Annotated[int, QueryParameter(ge=0, le=253_402_300_800_000, description="Unix milliseconds")]
Key = Annotated[str, PathParameter(max_length=100)]
FingerprintPath = Annotated[str, PathParameter(pattern=HEX, description="16 hex digits")]
SeriesCursor = Annotated[str | None, QueryParameter(pattern=HEX, description="next_cursor of the page before")]
CURSOR: Final = "the cursor is not one that was given out"


def read_cursor(text: str | None) -> tuple[int, str] | None:
    """Return the place that a cursor stands for; raises Rejected `cursor`."""
    if text is None:
        return None
    at_ms, colon, key = text.partition(":")
    if not (colon and at_ms.isascii() and at_ms.isdigit() and len(at_ms) < len("253402300800000") + 1):
        raise Rejected("cursor", CURSOR)
    return int(at_ms), key
