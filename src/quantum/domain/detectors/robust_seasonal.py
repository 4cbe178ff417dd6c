"""The cheap detector: seven signs of the unusual, each told by its rarity, in 8 KB a series.

What many series get at once (`coverage.py`): the signs of `signs.py` with a season of eight days, judged by
`rarity.py`.

>>> bank = RobustSeasonal()
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
from quantum.domain.detectors.onset import Evidence
from quantum.domain.detectors.rarity import Plan, rarity_state
from quantum.domain.detectors.robust import Robust
from quantum.domain.detectors.signs import SIGNS, signs_state

DAYS: Final = 8
"""The season reaches a week back, for the price of eight days."""
PLAN: Final = Plan(
    score=np.array([1.0, 1.0, 1.0, 0.6, 1.0, 1.0, 0.0]),
    prior=np.array([0.1, 0.1, 0.1, 0.1, 1.0, 0.1, 0.1]),
    holds=np.array([1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0]),
    learning=np.array([1.0, 1.0, 1.0, 0.6, 1.0, 1.0, 0.0]),
)
"""Weights of range, season, mean, spread, residual, repeat and lasting (docs/detection.md says what each brought)."""
EVIDENCE: Final = Evidence(np.array([1.0, 1.5, 1.0, 1.0, 0.3, 0.3, 1.0]), power=0.8, cap=11.0)
BYTES: Final = signs_state(DAYS).itemsize + rarity_state(SIGNS).itemsize + EDGES_STATE.itemsize
"""State of one series."""


class RobustSeasonal(Robust):
    """The cheap detector, as a bank of series; the module says how it works."""

    name: Final = "robust-seasonal"
    version: Final = 12

    def __init__(self) -> None:
        super().__init__(DAYS, PLAN, EVIDENCE)
