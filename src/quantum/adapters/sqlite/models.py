"""Trained models in SQLite."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quantum.adapters import wire
from quantum.adapters.model_rows import COLUMNS, read_model, read_version, version_of

if TYPE_CHECKING:
    import sqlite3

    from quantum.adapters.sqlite.engine import Engine
    from quantum.application.ports import Metrics
    from quantum.domain.models import Lineage, ModelVersion, TrainedModel


class SqliteModels:
    """Implements ModelStore."""

    def __init__(self, engine: Engine, tenant: str) -> None:
        self._engine = engine
        self._tenant = tenant

    async def add_model(self, model: TrainedModel, lineage: Lineage, metrics: Metrics, now_ms: int) -> ModelVersion:
        """See ModelStore."""
        data = wire.pack_model(model)

        def insert(connection: sqlite3.Connection, _: object) -> ModelVersion:
            sql = "SELECT coalesce(max(version), 0) + 1 FROM models WHERE tenant = ? AND name = ?"
            version = int(connection.execute(sql, (self._tenant, model.name)).fetchone()[0])
            made = version_of(model, version, data, lineage, metrics, now_ms)
            row = (self._tenant, model.name, version, made.state.value, None, wire.encode(made), data)
            connection.execute("INSERT INTO models VALUES (?, ?, ?, ?, ?, ?, ?)", row)
            return made

        return await self._engine.write(insert)

    async def models(self, name: str | None = None) -> list[ModelVersion]:
        """See ModelStore."""
        sql = f"SELECT {COLUMNS} FROM models WHERE tenant = ? AND name = coalesce(?, name) ORDER BY name, version"
        rows = await self._engine.read(lambda connection: connection.execute(sql, (self._tenant, name)).fetchall())
        return [read_version(row) for row in rows]

    async def model(self, name: str, version: int) -> TrainedModel:
        """See ModelStore."""
        sql = "SELECT about, body FROM models WHERE tenant = ? AND name = ? AND version = ?"
        values = (self._tenant, name, version)
        return read_model(
            name, version, await self._engine.read(lambda connection: connection.execute(sql, values).fetchall())
        )
