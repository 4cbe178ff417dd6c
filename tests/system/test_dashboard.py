"""The dashboard: its own specs, and what was built from it in a real browser, on a program that has something to show.

With `TEST_SCREENSHOTS=1` the pictures of the README are taken anew.
"""

from __future__ import annotations

import math
import os
import re
import shutil
import time
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest
from tests.parts import need
from tests.parts.children import start_child

from tools import dashboard, prepare

if TYPE_CHECKING:
    from tests.parts.program import Program

STEP_MS: Final = 5_000
HISTORY: Final = 720
"""Steps: an hour."""
ODD: Final = 12
"""Steps at the end in which something is wrong."""
BROWSED_WITHIN_S: Final = 420
TESTED_WITHIN_S: Final = 120
LEAST_SPECS: Final = 200
"""So that a runner that finds no spec is no success."""
SETTLED_WITHIN_S: Final = 30
IMAGES: Final = Path(__file__).parents[2] / "docs/images"
SERVICES: Final = ("catalogue", "checkout", "payment", "search")
TROUBLE: Final = {"checkout": 3.5, "payment": 1.7}
"""By what the duration of some services is multiplied in the last steps; checkout's is beyond its policy."""
RECEIVER: Final = {"name": "on-call", "url": "http://127.0.0.1:60009/nobody-listens"}
ROUTE: Final = {
    "name": "night shift",
    "matchers": [{"label": "severity", "op": "=", "value": "critical"}],
    "receivers": ["on-call"],
}
POLICY: Final = {
    "name": "Checkout is slow",
    "matchers": [{"label": "__name__", "op": "=", "value": "http_request_duration_ms"}],
    "condition": {"kind": "threshold", "op": "above", "raise_at": 400.0, "clear_at": 300.0},
    "by": ["service"],
    "severity": "critical",
    "receivers": ["on-call"],
    "summary": "Customers wait too long at the till. Look at the payment provider first.",
}


def duration_ms(service: int, step: int) -> float:
    """Return a plausible duration: a slow wave, some roughness, and trouble at the end."""
    usual = 120 + 40 * service + 25 * math.sin(step / 57 + service) + (step * 7919 + service * 104_729) % 31
    return usual * TROUBLE.get(SERVICES[service], 1.0) if step >= HISTORY - ODD else usual


def push_story(program: Program) -> None:
    last_ms = time.time_ns() // 1_000_000
    times = [last_ms - (HISTORY - 1 - step) * STEP_MS for step in range(HISTORY)]
    receipt = program.push(
        *(
            (
                {"__name__": "http_request_duration_ms", "service": name},
                times,
                [duration_ms(number, step) for step in range(HISTORY)],
            )
            for number, name in enumerate(SERVICES)
        )
    )
    assert receipt["rejected"] == {}


def open_incident(program: Program) -> Any:
    return next(iter(program.get("/api/v1/incidents")["items"]), None)


@pytest.fixture(scope="module")
def programs() -> Path:
    """The directory of `node` and `npm`, with the packages of the dashboard's build and tests installed."""
    directory = prepare.install_node(prepare.find_uv() or prepare.install_uv())
    prepare.install_npm_packages(directory)
    return directory


def test_the_dashboards_own_specs_pass(programs: Path, tmp_path: Path) -> None:
    command: list[str | Path] = [programs / "npm", "test"]
    environment = {**dashboard.environment(programs), "NO_COLOR": "1"}
    with start_child(command, tmp_path / "specs.log", environment, prepare.ROOT / "frontend") as specs:
        if specs.process.wait(TESTED_WITHIN_S) != 0:
            specs.fail("a spec failed")
    passed = re.search(r"Tests +(\d+) passed \(\d+\)", specs.text())
    assert passed, specs.text()
    assert int(passed[1]) >= LEAST_SPECS


def test_every_page_shows_itself_without_errors_to_everybody(quantum: Program, programs: Path, tmp_path: Path) -> None:
    chromium = need("chromium")
    quantum.post("/api/v1/receivers", RECEIVER, status=201)
    quantum.post("/api/v1/routes", ROUTE, status=201)
    quantum.post("/api/v1/policies", POLICY, status=201)
    push_story(quantum)
    quantum.wait_until(lambda: open_incident(quantum), "an incident", SETTLED_WITHIN_S)
    command: list[str | Path] = [programs / "node", "e2e/screens.mjs", quantum.base, tmp_path / "screens"]
    environment = {"CHROMIUM": str(chromium)}
    with start_child(command, tmp_path / "browser.log", environment, prepare.ROOT / "frontend") as browser:
        status = browser.process.wait(BROWSED_WITHIN_S)
        if status != 0:
            browser.fail(f"it found something wrong and exited with {status}")
    for page, scheme in product(("overview", "series", "policy"), ("light", "dark")):
        picture = tmp_path / f"screens/{page}-{scheme}-wide.png"
        assert picture.read_bytes().startswith(b"\x89PNG")
        if os.environ.get("TEST_SCREENSHOTS") == "1":
            IMAGES.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(picture, IMAGES / f"{page}-{scheme}.png")
