"""Models: the registry, its gate, training runs, and scores on demand."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Any, Final

from litestar import Request, Response, get, post
from litestar.params import JSONBody, QueryParameter
from litestar.status_codes import HTTP_201_CREATED, HTTP_202_ACCEPTED

from quantum.adapters.http import model_messages as m
from quantum.adapters.http import model_views as views
from quantum.adapters.http.control import actor_of
from quantum.adapters.http.model_files import MAX_FILE_BYTES, asked_model, file_of
from quantum.adapters.http.parameters import Key

if TYPE_CHECKING:
    from litestar.handlers import HTTPRouteHandler

    from quantum.application.models import Models
    from quantum.application.monitoring import Monitor
    from quantum.application.training import TrainingRuns

Version = Annotated[int | None, QueryParameter(ge=1, le=1_000_000_000, description="by default the one that counts")]
MAX_ORIGIN: Final = 100
TAGS: Final = ["models"]


def model_routes(models: Models, monitor: Monitor) -> list[HTTPRouteHandler]:
    """Return the handlers of models."""
    return [*registry_routes(models, monitor), *counting_routes(models), score_route(models)]


def registry_routes(models: Models, monitor: Monitor) -> list[HTTPRouteHandler]:
    """Return the handlers of which models there are, and of models as files."""

    @get("/api/v1/models", operation_id="listModels", tags=TAGS, summary="All models")
    async def listing() -> m.ModelList:
        detector = monitor.pipeline.detector
        return m.ModelList(
            detector=m.DetectorItem(
                name=detector.name, version=detector.version, series=detector.series_count, learning=monitor.learning
            ),
            items=[views.model(one) for one in await models.listing()],
        )

    @post(
        "/api/v1/models",
        operation_id="importModel",
        tags=TAGS,
        summary="Import a model that was trained elsewhere",
        request_max_body_size=MAX_FILE_BYTES,
    )
    async def take_in(data: JSONBody[m.ModelFile], request: Request[Any, Any, Any]) -> Response[m.VersionItem]:
        model = await asyncio.to_thread(asked_model, data)
        made = await models.take_in(model, data.selector, data.origin, actor_of(request))
        headers = {"Location": f"/api/v1/models/{made.name}"}
        return Response(views.version(made), status_code=HTTP_201_CREATED, headers=headers)

    @get("/api/v1/models/{name:str}/file", operation_id="exportModel", tags=TAGS, summary="A version as a file")
    async def export(name: Key, version: Version = None) -> m.ModelFile:
        model, known = await models.exported(name, version)
        return file_of(model, f"quantum {known.lineage.code}"[:MAX_ORIGIN])

    @get("/api/v1/models/{name:str}", operation_id="getModel", tags=TAGS, summary="One model")
    async def one_model(name: Key) -> m.ModelItem:
        return views.model(await models.named(name))

    return [listing, take_in, export, one_model]


def counting_routes(models: Models) -> list[HTTPRouteHandler]:
    """Return the handlers by which a version comes to count, or no longer does."""

    @post(
        "/api/v1/models/{name:str}/try",
        operation_id="tryModel",
        tags=TAGS,
        summary="What a version would have changed",
        status_code=200,
    )
    async def try_out(name: Key, data: JSONBody[m.TrialRequest], request: Request[Any, Any, Any]) -> m.TrialItem:
        actor = actor_of(request)
        return views.trial(await models.try_out(name, data.version, data.start_ms, data.end_ms, actor))

    @post(
        "/api/v1/models/{name:str}/promote",
        operation_id="promoteModel",
        tags=TAGS,
        summary="Let a version count, if it does no harm",
        status_code=200,
    )
    async def promote(name: Key, data: JSONBody[m.PromoteRequest], request: Request[Any, Any, Any]) -> m.TrialItem:
        actor = actor_of(request)
        return views.trial(
            await models.promote(name, data.version, actor, data.start_ms, data.end_ms, data.max_more_alerts)
        )

    @post(
        "/api/v1/models/{name:str}/roll-back",
        operation_id="rollBackModel",
        tags=TAGS,
        summary="Back to the version before, or to none",
        status_code=200,
    )
    async def roll_back(name: Key, request: Request[Any, Any, Any]) -> m.ModelItem:
        return views.model(await models.roll_back(name, actor_of(request)))

    return [try_out, promote, roll_back]


def score_route(models: Models) -> HTTPRouteHandler:
    """Return the handler that scores rows on demand."""

    @post(
        "/api/v1/models/{name:str}/score",
        operation_id="scoreByModel",
        tags=TAGS,
        summary="Score rows, by a model or the default detector",
        status_code=200,
    )
    async def score(name: Key, data: JSONBody[m.ScoreRequest]) -> m.ScoreAnswer:
        windows = [views.asked_window(one) for one in data.series]
        version, found = await models.score(name, data.version, windows)
        return m.ScoreAnswer(name=name, version=version, series=[views.scored(one) for one in found])

    return score


def training_routes(runs: TrainingRuns) -> list[HTTPRouteHandler]:
    """Return the handlers of training runs."""

    @get("/api/v1/training-runs", operation_id="listTrainingRuns", tags=TAGS, summary="Training runs")
    async def listing() -> m.TrainingRunList:
        return m.TrainingRunList(items=[views.run(one) for one in runs.runs])

    @post("/api/v1/training-runs", operation_id="startTraining", tags=TAGS, summary="Train a model", status_code=202)
    async def start(data: JSONBody[m.TrainingRequest], request: Request[Any, Any, Any]) -> Response[m.TrainingRunItem]:
        run = await runs.start(views.asked_order(data), actor_of(request))
        headers = {"Location": f"/api/v1/training-runs/{run.id}"}
        return Response(views.run(run), status_code=HTTP_202_ACCEPTED, headers=headers)

    @get("/api/v1/training-runs/{run_id:str}", operation_id="getTrainingRun", tags=TAGS, summary="One training run")
    async def one_run(run_id: Key) -> m.TrainingRunItem:
        return views.run(runs.run(run_id))

    @post(
        "/api/v1/training-runs/{run_id:str}/cancel",
        operation_id="cancelTraining",
        tags=TAGS,
        summary="Stop a training run",
        status_code=200,
    )
    async def cancel(run_id: Key, request: Request[Any, Any, Any]) -> m.TrainingRunItem:
        return views.run(await runs.cancel(run_id, actor_of(request)))

    return [listing, start, one_run, cancel]
