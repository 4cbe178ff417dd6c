from __future__ import annotations

import os

from hypothesis import HealthCheck, settings


def pytest_configure() -> None:
    """Let properties take the time they need, and let the gate try the same examples every time."""
    patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.register_profile("patient", patient, derandomize=os.environ.get("CI") == "true")
    settings.load_profile("patient")
