"""Errors carry what programs need beside the sentence."""

from __future__ import annotations

from quantum.domain.errors import Overloaded, Rejected, Unavailable


def test_a_refusal_has_a_stable_reason() -> None:
    error = Rejected("too_old", "sample is older than 30 days")
    assert (error.reason, str(error)) == ("too_old", "sample is older than 30 days")


def test_overload_is_a_kind_of_unavailability_that_says_when_to_come_back() -> None:
    error = Overloaded("1000 requests wait", retry_after_s=3)
    assert isinstance(error, Unavailable)
    assert error.retry_after_s == 3
