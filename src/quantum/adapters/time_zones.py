"""Time zones by their names, from the database of the machine (or of the package `tzdata`).

>>> civil_time("UTC").ahead_ms(0), civil_time("Europe/Berlin").ahead_ms(1_782_000_000_000)
(0, 7200000)
"""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from quantum.domain.civil import CivilTime
from quantum.domain.errors import Rejected


def civil_time(name: str) -> CivilTime:
    """Return the clocks of a time zone.

    Raises:
        Rejected: `time_zone`: this machine knows none of that name.
    """
    try:
        zone = ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise Rejected(
            "time_zone", f"this machine knows no time zone {name!r}; names are like Europe/Berlin or UTC"
        ) from None

    def ahead_ms(at_ms: int) -> int:
        ahead = datetime.fromtimestamp(at_ms / 1000, zone).utcoffset() or timedelta()
        return round(ahead.total_seconds() * 1000)

    return CivilTime(name, ahead_ms)
