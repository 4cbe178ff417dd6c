"""`quantum doctor` checks each part and says what to do; `quantum migrate` brings the store's schema up to date."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from quantum.adapters.sqlite import MEMORY, SqliteStore
from quantum.composition import sight_path, store_path
from quantum.connected import build_cluster
from quantum.domain.errors import QuantumError
from quantum.loading import load_settings
from quantum.settings import SettingsError, without_password

if TYPE_CHECKING:
    from quantum.settings import Settings

LOW_SPACE_BYTES = 1 << 30

Config = Annotated[str | None, Parameter(help="TOML file; default: quantum.toml in the working directory, if any")]
DataDir = Annotated[str | None, Parameter(help="Where the embedded store keeps its files")]
AsJson = Annotated[bool, Parameter(name="--json", negative=(), help="For programs")]


@dataclass(frozen=True, slots=True)
class Finding:
    """One part: whether it is well, and what was seen or what to do."""

    part: str
    well: bool
    words: str


def doctor(*, config: Config = None, data_dir: DataDir = None, as_json: AsJson = False) -> int:
    """Check settings, store, disk, address, kernels and dashboard; exit status 1 if something is not well."""
    findings = _examine(config, data_dir)
    if as_json:
        print(json.dumps([asdict(one) for one in findings], indent=2))
    else:
        for one in findings:
            print(f"{'ok  ' if one.well else 'FAIL'}  {one.part}: {one.words}")
    return 0 if all(one.well for one in findings) else 1


def _examine(config: str | None, data_dir: str | None) -> list[Finding]:
    try:
        settings = load_settings(config, overrides={"data_dir": data_dir})
    except SettingsError as error:
        return [Finding("settings", well=False, words="; ".join(error.problems))]
    return [
        Finding("settings", well=True, words="read without a problem"),
        *(asyncio.run(_store(settings, tenant)) for tenant in settings.served),
        *([asyncio.run(_stream(settings))] if settings.stream.kind == "kafka" else []),
        *([asyncio.run(_redis(settings.redis.url))] if settings.redis.url else []),
        *(asyncio.run(_writer(address)) for address in settings.gateway.writers),
        _space(settings),
        _address(settings),
        _kernels(),
        _dashboard(),
    ]


async def _store(settings: Settings, tenant: str) -> Finding:
    if settings.store.kind == "postgres":
        return await _postgres(settings, tenant)
    path = store_path(settings, tenant)
    if path == MEMORY:
        return Finding("store", well=True, words="in memory: nothing survives a restart")
    if not await asyncio.to_thread(Path(path).exists):
        return Finding("store", well=True, words=f"{path} does not exist yet; the first start makes it")
    try:
        async with SqliteStore(path, tenant) as store:
            verdict, (position, _) = await store.check(), await store.last()
    except QuantumError as error:
        return Finding("store", well="in use by another Quantum" in str(error), words=str(error))
    words = f"{path} has {position:,} facts" if verdict == "ok" else f"{path} is damaged: {verdict}; restore a copy"
    return Finding("store", well=verdict == "ok", words=words)


async def _postgres(settings: Settings, tenant: str) -> Finding:
    from quantum.adapters.postgres import survey  # noqa: PLC0415 - imports the driver

    where = without_password(settings.store.url)
    try:
        found = await survey(settings.store.url, tenant, sight_path(settings, tenant))
    except QuantumError as error:
        return Finding("store", well=False, words=f"{where}: {error}")
    return Finding("store", well=not found.risks, words=f"{where}: {'; '.join((*found.risks, *found.facts))}")


async def _stream(settings: Settings) -> Finding:
    from quantum.adapters.kafka import survey  # noqa: PLC0415 - imports the driver

    try:
        brokers = await survey(build_cluster(settings))
    except QuantumError as error:
        return Finding("stream", well=False, words=f"{settings.stream.url}: {error}")
    stream = settings.stream
    signed_in = f"signed in as {stream.user} by {stream.sasl}" if stream.sasl != "none" else "nobody signs in"
    words = f"{stream.url} has {brokers} brokers; {'encrypted' if stream.tls else 'not encrypted'}, {signed_in}"
    return Finding("stream", well=True, words=words)


async def _redis(url: str) -> Finding:
    from quantum.adapters.redis.feed import survey  # noqa: PLC0415 - imports the driver

    where = without_password(url)
    try:
        found = await survey(url)
    except QuantumError as error:
        return Finding("redis", well=False, words=f"{where}: {error}")
    return Finding("redis", well=True, words=f"{where} is version {found}")


async def _writer(address: str) -> Finding:
    from quantum.adapters.http.ways import survey  # noqa: PLC0415 - imports the client

    try:
        await survey(address)
    except QuantumError as error:
        return Finding("writer", well=False, words=f"{address}: {error}; gateways only read while none answers")
    return Finding("writer", well=True, words=f"{address} takes requests")


def _space(settings: Settings) -> Finding:
    folder = Path(settings.data_dir).absolute()
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    words = f"{free / 1e9:.1f} GB free where {settings.data_dir} is"
    return Finding("disk", well=free > LOW_SPACE_BYTES, words=words if free > LOW_SPACE_BYTES else f"only {words}")


def _address(settings: Settings) -> Finding:
    host, port = settings.server.host, settings.server.port
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            words = f"{host} port {port} cannot be taken ({error.strerror}); a running Quantum, or choose server.port"
            return Finding("address", well=False, words=words)
    return Finding("address", well=True, words=f"{host} port {port} is free")


def _kernels() -> Finding:
    try:
        import numba  # noqa: PLC0415 - only to see whether it is there
    except ImportError:
        return Finding("kernels", well=True, words="numba is not installed: scoring works, many times slower")
    return Finding("kernels", well=True, words=f"compiled by numba {numba.__version__}")


def _dashboard() -> Finding:
    built = (Path(str(files("quantum"))) / "static" / "index.html").is_file()
    return Finding("dashboard", well=built, words="built" if built else "its files are missing; run make frontend")


def migrate(*, config: Config = None, data_dir: DataDir = None) -> None:
    """Create the store or bring its schema up to date; safe to run twice. A start does this by itself."""
    settings = load_settings(config, overrides={"data_dir": data_dir})

    if settings.store.kind == "postgres":
        from quantum.adapters.postgres import migrate_database  # noqa: PLC0415 - imports the driver

        steps = asyncio.run(migrate_database(settings.store.url))
        print(f"{without_password(settings.store.url)} is up to date ({steps} steps were missing)")
        return
    for tenant in settings.served:
        asyncio.run(_open(store_path(settings, tenant), tenant))
        print(f"{store_path(settings, tenant)} is up to date")


async def _open(path: str, tenant: str) -> None:
    async with SqliteStore(path, tenant):
        pass
