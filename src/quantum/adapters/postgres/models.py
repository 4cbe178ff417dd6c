"""Trained models in PostgreSQL."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from quantum.adapters import wire
from quantum.adapters.model_rows import COLUMNS, read_model, read_version, version_of
from quantum.adapters.postgres.statements import change, fetch

if TYPE_CHECKING:
    from quantum.adapters.fact_tail import Undo
    from quantum.adapters.postgres.engine import Engine
    from quantum.adapters.postgres.statements import Connection
    from quantum.application.ports import Metrics
    from quantum.domain.models import Lineage, ModelVersion, TrainedModel

INSERT: Final = (
    "INSERT INTO models (tenant, name, version, state, promoted_at_ms, about, body)"
    " VALUES (%s, %s, %s, %s, NULL, %s, %s)"
)


class PostgresModels:
    """Implements ModelStore."""

    def __init__(self, engine: Engine, tenant: str) -> None:
        self._engine = engine
        self._tenant = tenant

    async def add_model(self, model: TrainedModel, lineage: Lineage, metrics: Metrics, now_ms: int) -> ModelVersion:
        """See ModelStore."""
        data, name = wire.pack_model(model), model.name.encode()

        async def insert(connection: Connection, _: Undo) -> ModelVersion:
            sql = "SELECT coalesce(max(version), 0) + 1 FROM models WHERE tenant = %s AND name = %s"
            version = int((await fetch(connection, sql, self._tenant, name))[0][0])
            made = version_of(model, version, data, lineage, metrics, now_ms)
            await change(
                connection, INSERT, self._tenant, name, version, made.state.value.encode(), wire.encode(made), data
            )
            return made

        return await self._engine.write(insert)

    async def models(self, name: str | None = None) -> list[ModelVersion]:
        """See ModelStore."""
        sql = f"SELECT {COLUMNS} FROM models WHERE tenant = %s"
        if name is None:
            rows = await self._model_rows(f"{sql} ORDER BY name, version", self._tenant)
        else:
            rows = await self._model_rows(f"{sql} AND name = %s ORDER BY version", self._tenant, name.encode())
        return [read_version((state.decode(), *others)) for state, *others in rows]

    async def model(self, name: str, version: int) -> TrainedModel:
        """See ModelStore."""
        sql = "SELECT about, body FROM models WHERE tenant = %s AND name = %s AND version = %s"
        return read_model(name, version, await self._model_rows(sql, self._tenant, name.encode(), version))

    async def _model_rows(self, text: str, *values: object) -> list[tuple[Any, ...]]:
        return await self._engine.read(lambda connection: fetch(connection, text, *values))
