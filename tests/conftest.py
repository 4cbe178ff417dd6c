from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from hypothesis import HealthCheck, settings
from tests.parts.kafka import run_kafka
from tests.parts.keycloak import run_keycloak
from tests.parts.postgres import URL_VARIABLE, new_cluster

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.parts.kafka import KafkaBroker
    from tests.parts.keycloak import KeycloakServer

FIGURE: Final = "figure"
HERE: Final = Path(__file__).parent
FAULTS: Final = HERE / "faults"
UNTRACED: Final = (
    *(HERE / name for name in ("cli", "deploy", "faults", "simulation", "system", "tools")),
    *(HERE.parent / "src/quantum" / name for name in ("adapters", "cli")),
)
"""Tests of what is around domain and application: these have others for their coverage, and are slow when traced."""
UNTRACED_FILES: Final = frozenset(
    f"test_{name}.py"
    for name in (
        *("batch_rows", "chunks", "columnar_json", "decimal_texts", "exposition", "influx_line", "json_columns"),
        *("line_forms", "otlp", "ratios", "recent_rows", "relabel", "remote_write", "remote_write_2", "statsd"),
        *("keycloak_tokens", "postgres", "postgres_space", "sqlite_space"),
        *("alert_store", "checkpoint_store", "delivery", "fact_log", "merging_and_forgetting", "notification_queue"),
        *("policy_store", "rollup_store", "sample_store", "store_machine"),
    )
)
"""The same in folders in which others are traced: decoders, codecs and stores."""
TRACED_FILES: Final = frozenset({"test_promql_against_prometheus.py"})
"""Where all functions of PromQL are asked for."""


def pytest_configure() -> None:
    """Let properties take the time they need, and let the gate try the same examples every time."""
    patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.register_profile("patient", patient, derandomize=os.environ.get("CI") == "true")
    settings.load_profile("patient")


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """The address of a database on a server that runs as long as the tests do; each test is a tenant of its own."""
    if named := os.environ.get(URL_VARIABLE):
        yield named
        return
    with new_cluster() as cluster, cluster.running():
        yield cluster.url()


@pytest.fixture(scope="session")
def keycloak(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KeycloakServer]:
    """A real Keycloak with the realm of `deploy/keycloak`, started once for all tests."""
    with run_keycloak(tmp_path_factory.mktemp("keycloak")) as server:
        yield server


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaBroker]:
    """A real Kafka broker, started once for all tests; each has topics of its own."""
    with run_kafka(tmp_path_factory.mktemp("kafka")) as broker:
        yield broker


@pytest.fixture
def tell(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """A function that shows a measured figure at the end of the test run."""

    def note(line: str) -> None:
        record_property(FIGURE, line)

    return note


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark faults as `system`; keep together, where several processes share the tests, what shares a costly part.

    Tracing for the coverage of domain and application takes 1.8 times the processor time, so not everything is traced.
    """
    for item in items:
        if not is_traced(item.path):
            item.add_marker(pytest.mark.no_cover)
        if item.path.is_relative_to(FAULTS):
            item.add_marker("system")
        needs_keycloak = "keycloak" in getattr(item, "fixturenames", ()) or "[keycloak" in item.name
        together = "keycloak" if needs_keycloak else str(item.path)
        item.add_marker(pytest.mark.xdist_group(together))


def is_traced(path: Path) -> bool:
    """Return whether the tests in a file count for the coverage of domain and application."""
    if path.parent.name in {"adapters", "contracts"} and path.name in UNTRACED_FILES:
        return False
    return path.name in TRACED_FILES or not any(path.is_relative_to(one) for one in UNTRACED)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show what was measured."""
    for report in terminalreporter.getreports("passed"):
        for name, line in report.user_properties:
            if name == FIGURE and report.when == "call":
                terminalreporter.write_line(str(line))
