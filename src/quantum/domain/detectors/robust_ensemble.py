"""The default detector: thirteen signs of the unusual, each told by its rarity, in 24 KB a series.

The seven signs of `signs.py` with a season of fourteen days, the four of `patterns.py` and the two of `periods.py`,
judged by `rarity.py`.

>>> bank = RobustEnsemble()
>>> at_ms = np.arange(400) * 1000
>>> values = np.where(np.arange(400) < 350, 10.0 + np.arange(400) % 7, 60.0)
>>> scores = bank.score_and_learn(np.zeros(400, np.int64), at_ms, values)
>>> bool(scores.score[50:350].max() < 0.3), bool(scores.score[350:380].min() > 0.35)
(True, True)
"""

from __future__ import annotations

from typing import Final

import numpy as np

from quantum.domain.detectors.edges import EDGES_STATE
from quantum.domain.detectors.onset import evidence_of
from quantum.domain.detectors.patterns import PATTERNS, PATTERNS_STATE
from quantum.domain.detectors.periods import PERIODS, PERIODS_STATE
from quantum.domain.detectors.rarity import Plan, rarity_state
from quantum.domain.detectors.robust import Robust
from quantum.domain.detectors.signs import SIGNS, signs_state

DAYS: Final = 14
ALL: Final = SIGNS + PATTERNS + PERIODS
PLAN: Final = Plan(
    score=np.array([1.0, 1.0, 1.0, 0.6, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 1.0]),
    prior=np.array([0.1, 0.1, 0.1, 0.1, 1.0, 0.1, 0.1, 0.1, 1.0, 0.1, 0.1, 0.1, 1.0]),
    holds=np.array([1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]),
    learning=np.array([1.0, 1.0, 1.0, 0.6, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]),
)
"""Weights of range, season, mean, spread, residual, repeat, lasting, drift, surprise, unlikeness, novelty, period and
departure (docs/detection.md says what each brought). The departure stands for the residual in the score. What is learnt
does not depend on periods: scores of a series without one are as if there were no such signs, evidence always is."""
EVIDENCE: Final = evidence_of(np.array([0.8, 1.4, 0.8, 0.4, 0.2, 0.3, 0.8, 0.4, 0.8, 0.1, 0.7]), power=0.8, cap=11.0)
"""Of the first eleven in the evidence for onsets; `quantum bench nab --leave-out` tells what others would be worth."""
BYTES: Final = sum(
    one.itemsize for one in (signs_state(DAYS), PATTERNS_STATE, PERIODS_STATE, rarity_state(ALL, 2), EDGES_STATE)
)
"""State of one series."""


class RobustEnsemble(Robust):
    """The default detector, as a bank of series; the module says how it works."""

    name: Final = "robust-ensemble"
    version: Final = 10

    def __init__(self) -> None:
        super().__init__(DAYS, PLAN, EVIDENCE)
