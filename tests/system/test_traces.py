"""A trace leads from the request with a sample to the page that it caused, as a real collector gets it."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Final

from tests.parts.collector import run_collector
from tests.parts.program import ALONE, run_quantum
from tests.parts.sink import run_sink
from tests.system.test_run import POLICY

if TYPE_CHECKING:
    from pathlib import Path

SETTLED_WITHIN_S: Final = 60.0
STOP_WITHIN_S: Final = 60.0
TRACE_ID: Final = "0af7651916cd43dd8448eb211c80319c"
PARENT_ID: Final = "b7ad6b7169203331"
FOLLOWED: Final = {"traceparent": f"00-{TRACE_ID}-{PARENT_ID}-01"}
UNFOLLOWED: Final = {"traceparent": f"00-{TRACE_ID[::-1]}-{PARENT_ID}-00"}


def test_a_trace_leads_from_a_sample_to_the_page_that_it_caused(tmp_path: Path) -> None:
    with run_collector() as collector, run_sink() as sink:
        environment = {**ALONE, "QUANTUM_TRACES__URL": collector.url, "QUANTUM_TRACES__RATIO": "0"}
        with run_quantum(tmp_path / "data", tmp_path / "log", environment=environment) as program:
            program.post("/api/v1/receivers", {"name": "on-call", "url": sink.url}, status=201)
            program.post("/api/v1/policies", POLICY | {"receivers": ["on-call"]}, status=201)
            at_ms = time.time_ns() // 1_000_000
            body = {"series": [{"labels": {"__name__": "heat"}, "timestamps_ms": [at_ms], "values": [99.0]}]}
            unseen = program.http.post("/api/v1/samples", json=json.loads(json.dumps(body).replace("99.0", "9.0")))
            assert unseen.status_code == 200
            body["series"][0]["timestamps_ms"] = [at_ms + 1]
            told = program.http.post("/api/v1/samples", json=body, headers=FOLLOWED)
            assert told.status_code == 200
            assert program.http.get("/api/v1/overview", headers=UNFOLLOWED).status_code == 200
            program.wait_until(lambda: sink.received or None, "a page", SETTLED_WITHIN_S)
            assert program.child.stop(timeout_s=STOP_WITHIN_S) == 0
    assert {span.trace_id for span in collector.spans} == {TRACE_ID}
    [request] = collector.named("POST /api/v1/samples")
    assert request.parent_id == PARENT_ID
    assert request.attributes["http.response.status_code"] == 200
    assert request.attributes["quantum.request_id"] == told.headers["X-Request-Id"]
    [commit], [pipeline], [page] = (collector.named(name) for name in ("commit", "pipeline", "notification"))
    assert (commit.parent_id, pipeline.parent_id) == (request.span_id, request.span_id)
    assert commit.attributes["quantum.samples"] == 1
    assert pipeline.attributes["quantum.position"] > 0
    assert page.parent_id == pipeline.span_id
    assert (page.attributes["quantum.receiver"], page.attributes["quantum.alert_state"]) == ("on-call", "firing")
    assert sink.traceparents == [f"00-{TRACE_ID}-{page.span_id}-01"]


def test_a_collector_that_is_away_holds_nothing_up(tmp_path: Path) -> None:
    environment = {**ALONE, "QUANTUM_TRACES__URL": "http://127.0.0.1:1/v1/traces", "QUANTUM_TRACES__RATIO": "1"}
    with run_quantum(tmp_path / "data", tmp_path / "log", environment=environment) as program:
        assert program.get("/api/v1/overview")["series"] == 0
        assert program.child.stop(timeout_s=STOP_WITHIN_S) == 0
