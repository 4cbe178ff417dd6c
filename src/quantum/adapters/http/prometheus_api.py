"""The reading part of Prometheus' HTTP API (its documentation, "HTTP API"): to Grafana, Quantum is a Prometheus.

Answers, errors, parameters and texts of numbers are Prometheus'. Unknown parameters are ignored, as there.
"""

from __future__ import annotations

import asyncio
import math
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Final
from urllib.parse import parse_qsl

import msgspec
import promql_parser
from litestar import Request, Response, Router, get, route
from litestar.params import PathParameter

from quantum.adapters.http.bodies import require_type
from quantum.adapters.http.prometheus_json import instant_json, range_json
from quantum.adapters.promql_parser import format_promql, parse_matchers, parse_promql
from quantum.domain.errors import QuantumError, Rejected, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from litestar.handlers import HTTPRouteHandler
    from litestar.types import ControllerRouterHandler

    from quantum.application.ports import Clock
    from quantum.application.promql import Answer, PromQueries
    from quantum.domain.labels import LabelSet

PREFIX: Final = "/prometheus/api/v1"
QUERIES: Final = (f"{PREFIX}/query", f"{PREFIX}/query_range")
"""What dashboards ask all the time: as a GET it takes the short way, see `Front`."""
MAX_BODY: Final = 1_000_000
MAX_FIELDS: Final = 1000
BODY_TIMEOUT_S: Final = 10.0
SHORT_S: Final = 0.05
"""A query that takes no longer is answered whether its asker is still there or not."""
LARGEST_S: Final = 253_402_300_800
"""Times are at most in the year 9999."""
SPEAKS: Final = "2.42.0"
"""The version of Prometheus whose answers these are; Grafana decides by it what it may ask."""
STATUS: Final = {"bad_data": 400, "execution": 422, "timeout": 503}
UNAVAILABLE: Final = 503

Parameters = dict[str, list[str]]


ASKED: Final[Any] = {"http_method": ["GET", "POST"], "include_in_schema": False, "status_code": 200}
"""How queries come: clients send long ones as a form."""


def prometheus_routes(queries: PromQueries, clock: Clock, version: str) -> list[ControllerRouterHandler]:
    """Return the handlers."""
    others = [*_label_routes(queries), *_text_routes(), *_status_routes(version)]
    return [*_query_routes(queries, clock), Router("/", route_handlers=others, request_max_body_size=MAX_BODY)]


def _query_routes(queries: PromQueries, clock: Clock) -> list[HTTPRouteHandler]:
    @route(f"{PREFIX}/query", **ASKED, request_max_body_size=MAX_BODY)
    async def query(request: Request[Any, Any, Any]) -> Response[bytes]:
        async def work(asked: Parameters) -> bytes:
            at_ms = _time_ms(asked, "time")
            at_ms = clock.now_ms() if at_ms is None else at_ms
            return await queries.at(_one(asked, "query"), at_ms, _noted(instant_json), _timeout_ms(asked))

        return await _answer(request, work)

    @route(f"{PREFIX}/query_range", **ASKED, request_max_body_size=MAX_BODY)
    async def query_range(request: Request[Any, Any, Any]) -> Response[bytes]:
        async def work(asked: Parameters) -> bytes:
            text, start_ms, end_ms = _one(asked, "query"), _needed_ms(asked, "start"), _needed_ms(asked, "end")
            step_ms, timeout_ms = _duration_ms(asked, "step"), _timeout_ms(asked)
            return await queries.between(text, start_ms, end_ms, step_ms, _noted(range_json), timeout_ms)

        return await _answer(request, work)

    return [query, query_range]


def _label_routes(queries: PromQueries) -> list[HTTPRouteHandler]:
    @route(f"{PREFIX}/series", **ASKED)
    async def series(request: Request[Any, Any, Any]) -> Response[bytes]:
        async def work(asked: Parameters) -> bytes:
            if not asked.get("match[]"):
                raise Rejected("bad_data", "no match[] parameter provided")
            return await _list_of(queries, asked, lambda found: [dict(one.pairs) for one in found])

        return await _answer(request, work)

    @route(f"{PREFIX}/labels", **ASKED)
    async def labels(request: Request[Any, Any, Any]) -> Response[bytes]:
        async def work(asked: Parameters) -> bytes:
            return await _list_of(
                queries, asked, lambda found: sorted({name for one in found for name, _ in one.pairs})
            )

        return await _answer(request, work)

    @get(f"{PREFIX}/label/{{name:str}}/values", include_in_schema=False)
    async def label_values(
        request: Request[Any, Any, Any], name: Annotated[str, PathParameter(max_length=1024)]
    ) -> Response[bytes]:
        async def work(asked: Parameters) -> bytes:
            return await _list_of(queries, asked, lambda found: sorted({one.get(name) for one in found} - {""}))

        return await _answer(request, work)

    return [series, labels, label_values]


def _text_routes() -> list[HTTPRouteHandler]:
    @route(f"{PREFIX}/query_exemplars", **ASKED)
    async def exemplars(request: Request[Any, Any, Any]) -> Response[bytes]:
        async def work(asked: Parameters) -> bytes:
            parse_promql(_one(asked, "query"))
            if _needed_ms(asked, "end") < _needed_ms(asked, "start"):
                raise Rejected("bad_data", "the end of a query must not be before its start")
            return b"[]"

        return await _answer(request, work)

    @route(f"{PREFIX}/format_query", **ASKED)
    async def format_query(request: Request[Any, Any, Any]) -> Response[bytes]:
        async def work(asked: Parameters) -> bytes:
            return msgspec.json.encode(format_promql(_one(asked, "query")))

        return await _answer(request, work)

    return [exemplars, format_query]


def _status_routes(version: str) -> list[HTTPRouteHandler]:
    @get(f"{PREFIX}/metadata", include_in_schema=False)
    async def metadata() -> Response[bytes]:
        return _success(b"{}")

    @get([f"{PREFIX}/rules", f"{PREFIX}/alerts"], include_in_schema=False)
    async def rules(request: Request[Any, Any, Any]) -> Response[bytes]:
        # policies are no rules of Prometheus; who asks for those finds none
        return _success(b'{"groups":[]}' if request.url.path.endswith("/rules") else b'{"alerts":[]}')

    @get(f"{PREFIX}/status/buildinfo", include_in_schema=False)
    async def build_info() -> Response[bytes]:
        return _success(msgspec.json.encode({"version": SPEAKS, "application": "quantum", "revision": version}))

    return [metadata, rules, build_info]


async def _answer(
    request: Request[Any, Any, Any], work: Callable[[Parameters], Coroutine[Any, Any, bytes]]
) -> Response[bytes]:
    """Do the work of a request; return what it found, or its error in Prometheus' words."""
    asked = await _parameters(request)
    try:
        return _success(await _while_asker_waits(request, work(asked)))
    except Unavailable as error:
        return _failure(UNAVAILABLE, "unavailable", str(error), {"Retry-After": "1"})
    except QuantumError as error:
        reason = getattr(error, "reason", "")
        kind = reason if reason in STATUS else "bad_data"
        return _failure(STATUS[kind], kind, str(error))


async def _while_asker_waits(request: Request[Any, Any, Any], work: Coroutine[Any, Any, bytes]) -> bytes:
    """Return what work gives; cancel it when the asker hangs up. Whether they do is looked at once it takes long.

    Raises:
        Rejected: `timeout`: the asker has gone.
    """
    watch = Watch(request)
    try:
        return await work
    except asyncio.CancelledError:
        if watch.forgive():
            raise Rejected("timeout", "the query was cancelled") from None
        raise
    finally:
        watch.end()


class Watch:
    """Cancels the task that it was made in when the asker of a request hangs up; looks after `SHORT_S`."""

    def __init__(self, request: Request[Any, Any, Any]) -> None:
        self._request = request
        self._task = asyncio.current_task()
        self._looking: asyncio.Task[None] | None = None
        self._has_cancelled = False
        self._timer = asyncio.get_running_loop().call_later(SHORT_S, self._look)

    def _look(self) -> None:
        self._looking = asyncio.ensure_future(_gone(self._request))
        self._looking.add_done_callback(self._cancel)

    def _cancel(self, looking: asyncio.Task[None]) -> None:
        if not looking.cancelled() and self._task is not None:
            self._has_cancelled = True
            self._task.cancel()

    def forgive(self) -> bool:
        """Return whether it was this that cancelled the task, and nobody else besides."""
        return self._has_cancelled and self._task is not None and self._task.uncancel() == 0

    def end(self) -> None:
        """Look no more."""
        self._timer.cancel()
        if self._looking is not None:
            self._looking.remove_done_callback(self._cancel)
            self._looking.cancel()


async def _gone(request: Request[Any, Any, Any]) -> None:
    """Return when the asker has hung up."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _success(data: bytes) -> Response[bytes]:
    return Response(b'{"status":"success","data":' + data + b"}", media_type="application/json")


def _noted(written: Callable[[Answer], bytes]) -> Callable[[Answer], bytes]:
    """Let the warnings of an answer follow it, as Prometheus has them."""

    def write(answer: Answer) -> bytes:
        warnings = b',"warnings":' + msgspec.json.encode(answer.notes) if answer.notes else b""
        return written(answer) + warnings

    return write


def _listed(items: Sequence[Any], asked: Parameters) -> bytes:
    """Return a list, of which `limit` says how many are wanted at most; 0 is any number."""
    text = asked.get("limit", ["0"])[0]
    if not (text.isascii() and text.isdigit()):
        raise Rejected("bad_data", f"invalid parameter 'limit': {text[:80]!r} is no number of items")
    most = int(text[:18]) or len(items)
    warnings = b',"warnings":["results truncated due to limit"]' if most < len(items) else b""
    return msgspec.json.encode(items[:most]) + warnings


def _failure(status: int, kind: str, words: str, headers: dict[str, str] | None = None) -> Response[bytes]:
    body = msgspec.json.encode({"status": "error", "errorType": kind, "error": words})
    return Response(body, status_code=status, media_type="application/json", headers=headers)


# ---- what is asked -------------------------------------------------------------------------------------------------


async def _parameters(request: Request[Any, Any, Any]) -> Parameters:
    """Return the parameters of the URL and, for a POST, of the form.

    Raises:
        Rejected: `content_type`, `malformed_body` or `request_timeout`.
    """
    pairs = list(request.query_params.multi_items())
    if request.method == "POST":
        require_type(request, "application/x-www-form-urlencoded", charset="utf-8")
        try:
            async with asyncio.timeout(BODY_TIMEOUT_S):
                body = await request.body()
            pairs += parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=MAX_FIELDS)
        except TimeoutError:
            raise Rejected("request_timeout", f"the body did not arrive within {BODY_TIMEOUT_S:g} s") from None
        except ValueError:
            raise Rejected("malformed_body", f"the body is no UTF-8 form of at most {MAX_FIELDS} fields") from None
    asked: Parameters = {}
    for name, value in pairs:
        asked.setdefault(name, []).append(value)
    return asked


def _one(asked: Parameters, name: str) -> str:
    """Return a parameter that must be there; of several the first counts."""
    if not asked.get(name, [""])[0]:
        raise Rejected("bad_data", f"parameter {name!r} is missing or empty")
    return asked[name][0]


def _time_ms(asked: Parameters, name: str) -> int | None:
    """Return a time given as Unix seconds or RFC 3339, or None if it is not given."""
    if name not in asked:
        return None
    text = asked[name][0]
    try:
        seconds = float(text) if "_" not in text else math.nan
    except ValueError:
        try:
            seconds = datetime.fromisoformat(text).timestamp() if "T" in text.upper() else math.nan
        except (ValueError, OverflowError):
            seconds = math.nan
    if not abs(seconds) <= LARGEST_S:
        raise Rejected("bad_data", f"invalid parameter {name!r}: cannot parse {text[:80]!r} to a valid timestamp")
    return round(seconds * 1000)


def _needed_ms(asked: Parameters, name: str) -> int:
    _one(asked, name)
    found = _time_ms(asked, name)
    assert found is not None
    return found


def _timeout_ms(asked: Parameters) -> int | None:
    """Return how long a query may take, if that is said."""
    return _duration_ms(asked, "timeout") if asked.get("timeout", [""])[0] else None


def _duration_ms(asked: Parameters, name: str) -> int:
    """Return a duration, given in seconds or like `30s`."""
    text = _one(asked, name)
    try:
        seconds = float(text) if "_" not in text else math.nan
    except ValueError:
        try:
            seconds = promql_parser.parse_duration(text) / timedelta(seconds=1)
        except (ValueError, OverflowError):
            seconds = math.nan
    duration_ms = round(seconds * 1000) if 0 < seconds <= LARGEST_S else 0
    if duration_ms < 1:
        raise Rejected(
            "bad_data", f"invalid parameter {name!r}: {text[:80]!r} is no duration of at least a millisecond"
        )
    return duration_ms


async def _list_of(
    queries: PromQueries, asked: Parameters, items_of: Callable[[Sequence[LabelSet]], Sequence[Any]]
) -> bytes:
    """Return the answer that lists something of the series that are asked for; made in a thread, they may be many."""
    found = await _matching(queries, asked)
    return await asyncio.to_thread(lambda: _listed(items_of(found), asked))


async def _matching(queries: PromQueries, asked: Parameters) -> Sequence[LabelSet]:
    selectors = [parse_matchers(text) for text in asked.get("match[]", [])]
    return await queries.series(selectors, _time_ms(asked, "start"), _time_ms(asked, "end"))
