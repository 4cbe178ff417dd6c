"""Compiles what many tests use, once: `python -m tests.compiling`, with which `make test` begins.

Otherwise every process of the quick tests would compile the same functions at the same moment. The parts run beside one
another, as many as there are processors. What is there already is only loaded, and what is missing here is compiled by
whichever test needs it first.
"""

from __future__ import annotations

import os
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from typing import TYPE_CHECKING, Final

from tests import without_numba
from tests.models import COMPILER, members, trained
from tests.simulation import simulate

from quantum.domain.detectors.conformance import check_detector
from quantum.domain.detectors.trained import detector_of
from quantum.domain.models import ModelKind
from quantum.domain.promql import kernels

if TYPE_CHECKING:
    from collections.abc import Callable

    from quantum.domain.detectors import Detector

ROWS: Final = 60
"""So many let a model say something, which is enough to have all of it compiled."""


def models() -> None:
    """Compile what models score with."""
    for kind in ModelKind:
        check_detector(partial(_detector, kind), rows=ROWS)


def _detector(kind: ModelKind) -> Detector:
    detector = detector_of(trained(kind).model, 1, COMPILER)
    for slot, labels in enumerate(members()):
        detector.meet(slot, labels)
    return detector


def a_life() -> None:
    """Compile what a running process uses besides."""
    simulate(0)


PARTS: Final[tuple[Callable[[], object], ...]] = (
    without_numba.decoders,
    without_numba.detectors,
    models,
    without_numba.answers,
    kernels.warm_up,
    without_numba.chunks,
    without_numba.texts,
    without_numba.presence,
    a_life,
)
"""The longest first; the last needs much of what the others compile."""


def main() -> None:
    """Compile every part."""
    with ProcessPoolExecutor(os.cpu_count(), get_context("spawn")) as processes:
        for part in [processes.submit(one) for one in PARTS]:
            part.result()


if __name__ == "__main__":
    main()
