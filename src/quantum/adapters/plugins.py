"""Detectors of other packages: found by their entry points in the group `quantum.detectors`.

A package says `mine = "package.module:Detector"` under `[project.entry-points."quantum.detectors"]`, and
`detection.detector = "mine"` lets it watch the series of the tier `full`.
"""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from quantum.domain.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from quantum.domain.detectors import Detector

GROUP: Final = "quantum.detectors"
DEFAULT: Final = "robust-ensemble"


def installed_detectors() -> tuple[str, ...]:
    """Return the names of detectors that other packages offer."""
    return tuple(sorted(entry_points(group=GROUP).names))


def find_detector(name: str) -> Callable[[], Detector]:
    """Return what makes detectors of a name.

    Raises:
        Unavailable: no installed package has one, it cannot be loaded, or its state is not one row per series.
    """
    if name == DEFAULT:
        from quantum.domain.detectors.robust_ensemble import RobustEnsemble  # noqa: PLC0415 - imports numba, a second

        return RobustEnsemble
    found = entry_points(group=GROUP)
    if name not in found.names:
        known = ", ".join((DEFAULT, *sorted(found.names)))
        raise Unavailable(f"there is no detector named {name!r}; installed are: {known}")
    try:
        make: Any = found[name].load()
        _check_rows(make())
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise Unavailable(f"the detector {name!r} cannot be used: {error}") from error
    return make  # type: ignore[no-any-return] # what an entry point names is known only when it is loaded


def _check_rows(detector: Detector) -> None:
    """Refuse a state that is not one row per series: series that change their tier take their rows with them."""
    detector.score_and_learn(np.arange(3), np.ones(3, np.int64), np.ones(3))
    for name, array in detector.dump().items():
        if len(array) != detector.series_count:
            raise ValueError(f"its state {name!r} has {len(array)} rows for {detector.series_count} series")
