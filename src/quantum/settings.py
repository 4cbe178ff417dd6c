"""Settings: one TOML file, then the environment over it; everything that is wrong is said at once.

Every setting has a default that works on a laptop. `QUANTUM_` variables overrule the file, with two underscores between
section and name: `QUANTUM_DATA_DIR=/var/lib/quantum`, `QUANTUM_SERVER__PORT=9000`. This module is the only reader of
the environment and, with `adapters/wire.py` and the HTTP messages, the only user of msgspec.
"""

from __future__ import annotations

import os
import re
import ssl
import tomllib
from difflib import get_close_matches
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal
from urllib.parse import urlsplit

import msgspec

from quantum.adapters.addresses import AddressRefused, Reach
from quantum.adapters.linear_patterns import full_match
from quantum.adapters.relabel import Rule
from quantum.adapters.scrape_targets import Job, build_target
from quantum.domain.coverage import DEFAULT_FULL_SERIES, MAX_RULES, Allotment, CoverageRule, Tier
from quantum.domain.errors import Rejected
from quantum.domain.labels import MatcherCompiler
from quantum.domain.retention import MAX_RULES as MAX_RETENTION_RULES
from quantum.domain.retention import RetentionRule, Term
from quantum.domain.selectors import parse_selector

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PREFIX: Final = "QUANTUM_"
NOT_SETTINGS: Final = frozenset({"QUANTUM_TRACEBACK"})
"""Variables that mean something to the command line alone."""
HIDDEN: Final = "(set)"
"""Stands for a secret that may not be shown."""
MAX_PORT: Final = 65_535
DAY_MS: Final = 86_400_000
DEFAULT_FILE: Final = "quantum.toml"
SHORT: Final = {"store": "kind"}
"""A text in the place of these sections is the value of the setting that they are mostly about."""

TARGET: Final = re.compile(r"(https?://)?(\[[0-9a-fA-F:.%]+\]|[\w.-]+)(:\d{1,5})?(/[^\s]*)?").fullmatch

KAFKA: Final = re.compile(r"kafka://[\w.-]+:\d{1,5}(,[\w.-]+:\d{1,5})*").fullmatch

Port = Annotated[int, msgspec.Meta(ge=0, le=MAX_PORT)]
Positive = Annotated[int, msgspec.Meta(ge=1)]
Days = Annotated[int, msgspec.Meta(ge=1, le=36_500)]
TenantName = Annotated[str, msgspec.Meta(pattern="^[A-Za-z0-9_.-]{1,100}$")]


class SettingsError(Rejected):
    """One or more settings are wrong; the message has a line for each."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("settings", "\n".join(problems))
        self.problems = problems


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings that belong together."""


class Server(Section, frozen=True, kw_only=True):
    """Where the HTTP server listens and whom it talks to.

    Attributes:
        host: address to listen on.
        port: 0 picks a free one and prints it.
        allowed_hosts: names that a request's Host header may have besides loopback names and `host`; `*` means any.
        allowed_origins: pages of other origins that may use the API and open the live WebSocket.
        trusted_proxies: networks of proxies whose X-Forwarded-For, -Proto and -Host are believed.
    """

    host: str = "127.0.0.1"
    port: Port = 8470
    allowed_hosts: tuple[str, ...] = ()
    allowed_origins: tuple[str, ...] = ()
    trusted_proxies: tuple[str, ...] = ()


class Auth(Section, frozen=True, kw_only=True):
    """Who may come in.

    Attributes:
        mode: `stub` lets everybody in as the local admin; `keycloak` wants an access token or an API key.
        stub_beyond_loopback: must be true to use `stub` on an address that other machines reach.
        issuer: of access tokens, exactly as they name it: `https://sso.example/realms/quantum`.
        audience: must be in the `aud` of a token.
        clients: one of them must be the `azp` of a token.
        tenant_claim: the claim of a token that names its tenant; empty means that everybody is of `store.tenant`.
        dashboard_client: the client by which people sign in to the dashboard; empty means that they cannot.
        session_idle_s: a session that is not used ends after so long.
        session_longest_s: any session ends after so long.
    """

    mode: Literal["stub", "keycloak"] = "stub"
    stub_beyond_loopback: bool = False
    issuer: str = ""
    audience: Annotated[str, msgspec.Meta(min_length=1)] = "quantum"
    clients: tuple[str, ...] = ("quantum-dashboard", "quantum-agent")
    tenant_claim: str = "tenant"
    dashboard_client: str = "quantum-dashboard"
    session_idle_s: Annotated[int, msgspec.Meta(ge=60, le=30 * 86_400)] = 1800
    session_longest_s: Annotated[int, msgspec.Meta(ge=60, le=30 * 86_400)] = 36_000


class HostMetrics(Section, frozen=True, kw_only=True):
    """Collection of this machine's own metrics.

    Attributes:
        interval_ms: between two collections.
        host: value of the label `host`; empty means the machine's name.
    """

    enabled: bool = True
    interval_ms: Annotated[int, msgspec.Meta(ge=100, le=3_600_000)] = 1000
    host: str = ""


class IngestLimits(Section, frozen=True, kw_only=True):
    """What one installation accepts; every refusal names its limit.

    Attributes:
        max_series: distinct series ever stored.
        max_samples_per_s: over time; a burst may have ten seconds' worth. 0 means any.
        max_series_per_request: beyond it the whole request is refused.
        max_samples_per_request: beyond it the whole request is refused.
        max_body_bytes: of one request as sent.
        max_decoded_bytes: of one request after decompression.
        max_in_flight_bytes: of all requests that are being worked on.
        max_future_ms: how far ahead of this machine's clock a sample may be.
        max_age_ms: how old a sample may be when it arrives; imports are exempt.
    """

    max_series: Positive = 1_000_000
    max_samples_per_s: Annotated[int, msgspec.Meta(ge=0)] = 0
    max_series_per_request: Positive = 100_000
    max_samples_per_request: Positive = 1_000_000
    max_body_bytes: Positive = 10_000_000
    max_decoded_bytes: Positive = 32 << 20
    max_in_flight_bytes: Positive = 256 << 20
    max_future_ms: Positive = 600_000
    max_age_ms: Positive = 30 * DAY_MS


class IngestListeners(Section, frozen=True, kw_only=True):
    """Ways in for samples besides HTTP.

    Attributes:
        statsd: UDP address for StatsD and DogStatsD, for example `127.0.0.1:8125`; empty means none.
    """

    statsd: Annotated[str, msgspec.Meta(pattern=r"^$|^(\[[0-9a-fA-F:.]+\]|[\w.-]+):\d{1,5}$")] = ""


class RelabelRule(Section, frozen=True, kw_only=True):
    """One rule of relabelling, as in Prometheus' `relabel_configs`; see `adapters/relabel.py`."""

    action: Literal["replace", "keep", "drop", "labelmap", "labeldrop", "labelkeep"] = "replace"
    source_labels: tuple[str, ...] = ()
    regex: str = "(.*)"
    target_label: str = ""
    replacement: str = "$1"
    separator: str = ";"

    def rule(self) -> Rule:
        """Return it compiled; raises Rejected if it makes no sense."""
        return Rule(self.action, self.source_labels, self.regex, self.target_label, self.replacement, self.separator)


class ScrapeJob(Section, frozen=True, kw_only=True):
    """Targets that are asked for their metrics.

    Attributes:
        job: name of the group; the label `job` of its series.
        targets: `host:port`, or URLs.
        targets_file: JSON with more of them, in the form of Prometheus' `file_sd_configs`; read again when it changes.
        interval_s: between two scrapes of a target.
        timeout_s: for one scrape; at most the interval. 0 means the shorter of interval and 10.
        path: where the metrics are.
        scheme: http or https.
        labels: added to all series.
        honor_labels: whether labels of a target win over ours; otherwise they are renamed to `exported_...`.
        relabel: rules for targets.
        metric_relabel: rules for series.
        max_body_bytes: of one answer, decompressed.
        max_samples: of one answer.
        bearer_token_file: what it contains is sent as a bearer token.
        ca_file: certificates to trust instead of the system's.
    """

    job: str
    targets: tuple[str, ...] = ()
    targets_file: str = ""
    interval_s: Annotated[int, msgspec.Meta(ge=1, le=3600)] = 15
    timeout_s: Annotated[int, msgspec.Meta(ge=0, le=3600)] = 0
    path: str = "/metrics"
    scheme: Literal["http", "https"] = "http"
    labels: dict[str, str] = {}
    honor_labels: bool = False
    relabel: tuple[RelabelRule, ...] = ()
    metric_relabel: tuple[RelabelRule, ...] = ()
    max_body_bytes: Positive = 10_000_000
    max_samples: Positive = 100_000
    bearer_token_file: str = ""
    ca_file: str = ""

    def as_job(self) -> Job:
        """Return it as the scraper has it; raises Rejected if a rule makes no sense."""
        return Job(
            job=self.job,
            targets=self.targets,
            targets_file=self.targets_file,
            interval_ms=1000 * self.interval_s,
            timeout_ms=1000 * (self.timeout_s or min(self.interval_s, 10)),
            scheme=self.scheme,
            path=self.path,
            labels=self.labels,
            honor_labels=self.honor_labels,
            relabel=tuple(rule.rule() for rule in self.relabel),
            metric_relabel=tuple(rule.rule() for rule in self.metric_relabel),
            max_body_bytes=self.max_body_bytes,
            max_samples=self.max_samples,
            bearer_token_file=self.bearer_token_file,
            ca_file=self.ca_file,
        )


class RequestRates(Section, frozen=True, kw_only=True):
    """Requests a second, with ten seconds' worth in a burst; 0 means any. Without sign-in nobody is counted.

    Attributes:
        key_per_s: of one API key.
        user_per_s: of one person.
        tenant_per_s: of all keys and people of a tenant.
    """

    key_per_s: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)] = 200
    user_per_s: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)] = 50
    tenant_per_s: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)] = 1000


class Redis(Section, frozen=True, kw_only=True):
    """A Redis that several processes share. Without it nothing is lost, and nobody who signed in is let in meanwhile.

    Attributes:
        url: for example `redis://redis.example/0`; empty means none.
    """

    url: Annotated[str, msgspec.Meta(pattern=r"^$|^(rediss?|unix)://")] = ""


class Outgoing(Section, frozen=True, kw_only=True):
    """Where connections may go that receivers and lists of targets ask for; never to where clouds serve credentials.

    Attributes:
        scrape_networks: networks that targets may be in besides public addresses; any, unless it says otherwise.
        webhook_networks: networks that webhook receivers may be in besides public addresses.
    """

    scrape_networks: tuple[str, ...] = ("0.0.0.0/0", "::/0")
    webhook_networks: tuple[str, ...] = ()


class KeepRule(Section, frozen=True, kw_only=True):
    """How long some series are kept.

    Attributes:
        match: a selector as Prometheus writes it: `http_requests_total{job="api"}`.
        days: their samples are kept so many days.
        rollup_days: their rollups are kept so many days, or as long as the samples if that is longer; None: as long as
            those of other series.
    """

    match: str
    days: Days
    rollup_days: Days | None = None

    def rule(self, usual_rollup_days: int) -> RetentionRule:
        """Return it parsed; raises Rejected if the selector makes no sense."""
        rollup_days = usual_rollup_days if self.rollup_days is None else self.rollup_days
        return RetentionRule(parse_selector(self.match), Term(self.days * DAY_MS, rollup_days * DAY_MS))


class Retention(Section, frozen=True, kw_only=True):
    """How long what was accepted is kept.

    Attributes:
        days: samples, scores and ended anomalies are forgotten so many days after they were accepted, up to an eighth
            later; alerts, incidents and the detectors' memory stay. Facts are kept as long, or as long as the shortest
            rule says.
        rollup_days: lowest, highest, sum and count of every minute, ten minutes and hour are kept so many days, or as
            long as the samples if that is longer.
        audit_days: the audit log is kept so many days, or as long as the facts if that is longer.
        rules: tables that overrule `days` and `rollup_days` for the series that they match; the first match decides.
    """

    days: Days = 90
    rollup_days: Days = 400
    audit_days: Days = 400
    rules: tuple[KeepRule, ...] = ()

    @property
    def shortest_days(self) -> int:
        """The days of the shortest term, for which facts are kept."""
        return min(self.days, *(rule.days for rule in self.rules)) if self.rules else self.days

    @property
    def keep_log_ms(self) -> int:
        """The time of facts in milliseconds."""
        return self.shortest_days * DAY_MS

    @property
    def keep_audit_ms(self) -> int:
        """The time for which the audit log is kept, in milliseconds."""
        return self.audit_days * DAY_MS

    @property
    def keep_ms(self) -> int:
        """The time of samples in milliseconds."""
        return self.days * DAY_MS

    def usual(self) -> Term:
        """Return the term of series that no rule matches."""
        return Term(self.keep_ms, self.rollup_days * DAY_MS)

    def parsed_rules(self) -> tuple[RetentionRule, ...]:
        """Return the rules; raises Rejected if a selector makes no sense."""
        return tuple(rule.rule(self.rollup_days) for rule in self.rules)


class Store(Section, frozen=True, kw_only=True):
    """Where facts, samples and conclusions are kept. `store = "memory"` is short for `store.kind`.

    Attributes:
        kind: `sqlite` is one file, `postgres` a server, `memory` is for trying things out.
        url: address of the PostgreSQL database.
        tenant: whose data this process keeps; with several, the one that has this machine's own metrics, and the
            embedded store's `quantum.db`. Of each tenant of a shared database one process is the writer.
        wait_ms: how long a start waits for another process to let go of the tenant.
    """

    kind: Literal["sqlite", "memory", "postgres"] = "sqlite"
    url: str = ""
    tenant: TenantName = "default"
    wait_ms: Annotated[int, msgspec.Meta(ge=0, le=3_600_000)] = 20_000


class Stream(Section, frozen=True, kw_only=True):
    """How the processes of the roles `monitoring` and `ml` reach each other; the role `all` needs nothing.

    Attributes:
        kind: `kafka`, or `memory`, which reaches nobody.
        url: of Kafka: `kafka://host:port`, more brokers behind commas.
        lanes: into so many the series are dealt out; at most so many workers have something to do. All processes of a
            tenant must say the same.
    """

    kind: Literal["memory", "kafka"] = "memory"
    url: str = ""
    lanes: Annotated[int, msgspec.Meta(ge=1, le=256)] = 4


class DetectionRule(Section, frozen=True, kw_only=True):
    """Which detector some series get.

    Attributes:
        match: a selector as Prometheus writes it: `http_requests_total{job="api"}`.
        tier: `full`, `cheap`, or `none`: stored, not scored.
    """

    match: str
    tier: Literal["full", "cheap", "none"]

    def rule(self) -> CoverageRule:
        """Return it parsed; raises Rejected if the selector makes no sense."""
        return CoverageRule(parse_selector(self.match), Tier(self.tier))


class Detection(Section, frozen=True, kw_only=True):
    """How closely series are watched.

    Attributes:
        detector: which detector the full one is: `robust-ensemble`, or one that an installed package brings.
        full_series: how many series get the full detector, in order of appearance; the rest get the cheap one.
        rules: tables that overrule it for the series that they match; the first match decides.
    """

    detector: Annotated[str, msgspec.Meta(min_length=1, max_length=100)] = "robust-ensemble"
    full_series: Annotated[int, msgspec.Meta(ge=0)] = DEFAULT_FULL_SERIES
    rules: tuple[DetectionRule, ...] = ()

    def allotment(self) -> Allotment:
        """Return it as the pipeline has it; raises Rejected if a selector makes no sense."""
        return Allotment(self.full_series, tuple(rule.rule() for rule in self.rules))


class Logs(Section, frozen=True, kw_only=True):
    """Structured logs on stderr."""

    level: Literal["debug", "info", "warning", "error"] = "info"


class Settings(Section, frozen=True, kw_only=True):
    """All settings of one process.

    Attributes:
        data_dir: where the embedded store keeps its files.
        tenants: whose data this process keeps, if there are several; `store.tenant` is one of them.
        scrape: tables of targets to ask for their metrics.
        policies: tables of alert policies to put in force at start, in the shape of `POST /api/v1/policies`.
        receivers: tables of webhook receivers to put in force at start, in the shape of `POST /api/v1/receivers`.
    """

    data_dir: str = "quantum-data"
    tenants: tuple[TenantName, ...] = ()
    store: Store = Store()
    server: Server = Server()
    auth: Auth = Auth()
    host_metrics: HostMetrics = HostMetrics()
    limits: IngestLimits = IngestLimits()
    ingest: IngestListeners = IngestListeners()
    outgoing: Outgoing = Outgoing()
    rates: RequestRates = RequestRates()
    redis: Redis = Redis()
    stream: Stream = Stream()
    retention: Retention = Retention()
    logs: Logs = Logs()
    detection: Detection = Detection()
    scrape: tuple[ScrapeJob, ...] = ()
    policies: tuple[dict[str, Any], ...] = ()
    receivers: tuple[dict[str, Any], ...] = ()

    @property
    def served(self) -> tuple[str, ...]:
        """Every tenant whose data is kept, `store.tenant` first."""
        return (self.store.tenant, *(one for one in self.tenants if one != self.store.tenant))

    def tenant_named(self, name: str | None) -> str:
        """Return the tenant that somebody named, `store.tenant` if they named none; raises SettingsError."""
        if name is not None and name not in self.served:
            raise SettingsError([f"--tenant: {name!r} is none of those that are served: {', '.join(self.served)}"])
        return name or self.store.tenant


def load_settings(
    file: str | None = None,
    environment: Mapping[str, str] | None = None,
    overrides: Mapping[str, Any] | None = None,
    role: str = "all",
) -> Settings:
    """Return the settings of a file (default: `quantum.toml` if there is one), the environment and the command line.

    Args:
        file: path of a TOML file; it must exist if given.
        environment: default: the process's.
        overrides: dotted names to values, for example `{"server.port": 0}`; None values are left out.
        role: of the process that they are for.

    Raises:
        SettingsError: with every problem found.
    """
    problems: list[str] = []
    tree = _read_file(file, problems)
    for path, text in _variables(os.environ if environment is None else environment):
        _set(tree, path, text)
    for dotted, value in (overrides or {}).items():
        if value is not None:
            _set(tree, dotted.split("."), value)
    settings = _build(Settings, tree, "", problems)
    if isinstance(settings, Settings):
        problems += [*_contradictions(settings), *_role_problems(role, settings)]
    if problems or not isinstance(settings, Settings):
        raise SettingsError(problems)
    return settings


def _read_file(file: str | None, problems: list[str]) -> dict[str, Any]:
    path = Path(file or DEFAULT_FILE)
    if file is None and not path.exists():
        return {}
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        problems.append(f"{path}: {error.strerror or error}")
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        problems.append(f"{path}: {error}")
    return {}


def _variables(environment: Mapping[str, str]) -> Iterator[tuple[list[str], str]]:
    for name in sorted(environment):
        if name.startswith(PREFIX) and name not in NOT_SETTINGS:
            yield name.removeprefix(PREFIX).lower().split("__"), environment[name]


def _set(tree: dict[str, Any], path: list[str], value: object) -> None:
    *sections, name = path
    for section in sections:
        following = tree.setdefault(section, {})
        if isinstance(following, str) and section in SHORT:
            following = tree[section] = {SHORT[section]: following}
        if not isinstance(following, dict):
            return
        tree = following
    tree[name] = value


def _build(kind: type[Section], tree: Mapping[str, Any], prefix: str, problems: list[str]) -> Section | None:
    fields = {field.name: field for field in msgspec.structs.fields(kind)}
    values: dict[str, Any] = {}
    before = len(problems)
    for name, raw in tree.items():
        if name not in fields:
            close = get_close_matches(name, fields, n=1)
            problems.append(f"{prefix}{name}: there is no such setting{f'; did you mean {close[0]}?' if close else ''}")
            continue
        values[name] = _value(fields[name].type, raw, f"{prefix}{name}", problems)
    problems += [f"{prefix}{name}: is missing" for name in fields if fields[name].required and name not in tree]
    return None if len(problems) > before else kind(**values)


def _value(kind: Any, raw: object, name: str, problems: list[str]) -> object:
    if (section := _section_of_many(kind)) is not None and isinstance(raw, list):
        found = [_value(section, one, f"{name}[{index}]", problems) for index, one in enumerate(raw)]
        return tuple(found)
    if isinstance(kind, type) and issubclass(kind, Section):
        if isinstance(raw, str) and name in SHORT:
            raw = {SHORT[name]: raw}
        if isinstance(raw, dict):
            return _build(kind, raw, f"{name}.", problems)
        problems.append(f"{name}: expected a table of settings, got {raw!r}")
        return None
    try:
        return msgspec.convert(_split(kind, raw), kind, strict=not isinstance(raw, str))
    except msgspec.ValidationError as error:
        problems.append(f"{name}: {str(error).rstrip('.')} (it is {raw!r})")
        return None


def _section_of_many(kind: Any) -> type[Section] | None:
    """Return the section that a tuple has many of, None if it is no such tuple."""
    first = (*getattr(kind, "__args__", ()), None)[0]
    return first if isinstance(first, type) and issubclass(first, Section) else None


def _split(kind: Any, raw: object) -> object:
    """Let a variable give a list as comma-separated text."""
    if isinstance(raw, str) and getattr(kind, "__origin__", None) is tuple:
        return [part.strip() for part in raw.split(",") if part.strip()]
    return raw


def _contradictions(settings: Settings) -> list[str]:
    problems = []
    if settings.store.kind == "postgres" and not settings.store.url.startswith(("postgresql://", "postgres://")):
        problems.append(
            "store.url: kind postgres needs the address of a database, for example"
            " postgresql://quantum@db.example/quantum; QUANTUM_STORE__URL keeps a password out of the file"
        )
    if settings.stream.kind == "kafka" and not KAFKA(settings.stream.url):
        problems.append(
            f"stream.url: kind kafka needs brokers, for example kafka://kafka.example:9092 (it is"
            f" {settings.stream.url!r})"
        )
    problems += _auth_problems(settings.auth)
    problems += _tenant_problems(settings)
    if settings.auth.mode == "stub" and not (settings.auth.stub_beyond_loopback or _is_loopback(settings.server.host)):
        problems.append(
            f"server.host: {settings.server.host} is reachable by other machines, but auth.mode is stub, which lets"
            " everybody in; listen on 127.0.0.1 or set auth.stub_beyond_loopback = true"
        )
    if settings.ingest.statsd and int(settings.ingest.statsd.rpartition(":")[2]) > MAX_PORT:
        problems.append(f"ingest.statsd: there is no port {settings.ingest.statsd}, the highest is {MAX_PORT}")
    problems += _network_problems(settings)
    problems += _scrape_problems(settings.scrape)
    problems += _detection_problems(settings.detection)
    problems += _retention_problems(settings.retention, settings.limits.max_age_ms)
    return problems


def _retention_problems(retention: Retention, max_age_ms: int) -> list[str]:
    problems = []
    if len(retention.rules) > MAX_RETENTION_RULES:
        problems.append(f"retention.rules: there are {len(retention.rules)}, at most {MAX_RETENTION_RULES}")
    days = [("retention.days", retention.days)]
    for number, rule in enumerate(retention.rules):
        days.append((f"retention.rules[{number}].days", rule.days))
        try:
            MatcherCompiler(full_match)(rule.rule(retention.rollup_days).matchers)
        except Rejected as error:
            problems.append(f"retention.rules[{number}].match: {error}")
    problems += [
        f"{name}: {count} is less than limits.max_age_ms, so a sample could arrive after its neighbours were forgotten,"
        " and be stored twice; lower limits.max_age_ms too"
        for name, count in days
        if count * DAY_MS < max_age_ms
    ]
    return problems


def _role_problems(role: str, settings: Settings) -> list[str]:
    """Return what a role that shares its work with other processes lacks: something that they can reach, too."""
    if role == "all":
        return []
    problems = []
    if settings.store.kind != "postgres":
        problems.append(f"store.kind: the role {role} needs postgres, other processes do not see {settings.store.kind}")
    if settings.stream.kind != "kafka":
        problems.append(
            f"stream.kind: the role {role} needs kafka, other processes do not see {settings.stream.kind}; set"
            " stream.url = kafka://host:port too"
        )
    return problems


def _tenant_problems(settings: Settings) -> list[str]:
    """Return why several tenants could not be served; a single one never is a problem."""
    tenants, home = settings.tenants, settings.store.tenant
    problems = []
    if tenants and home not in tenants:
        problems.append(
            f"store.tenant: {home} is none of tenants; set it to the one that this machine's own metrics belong to"
        )
    if len({one.lower() for one in tenants}) < len(tenants):
        problems.append("tenants: each is named once, and not only upper and lower case tell two of them apart")
    if len(settings.served) > 1 and settings.auth.mode == "stub":
        problems.append(
            f"tenants: auth.mode is stub, which takes everybody for a member of {home}, so the others could not be"
            " reached; set auth.mode = keycloak"
        )
    elif len(settings.served) > 1 and not settings.auth.tenant_claim:
        problems.append(f"tenants: auth.tenant_claim is empty, which makes everybody a member of {home}; name a claim")
    return problems


def _detection_problems(detection: Detection) -> list[str]:
    problems = []
    if len(detection.rules) > MAX_RULES:
        problems.append(f"detection.rules: there are {len(detection.rules)}, at most {MAX_RULES}")
    for number, rule in enumerate(detection.rules):
        try:
            rule.rule()
        except Rejected as error:
            problems.append(f"detection.rules[{number}].match: {error}")
    return problems


def _network_problems(settings: Settings) -> list[str]:
    problems = []
    lists = {
        "server.trusted_proxies": settings.server.trusted_proxies,
        "outgoing.scrape_networks": settings.outgoing.scrape_networks,
        "outgoing.webhook_networks": settings.outgoing.webhook_networks,
    }
    for name, networks in lists.items():
        for text in networks:
            try:
                ip_network(text)
            except ValueError as error:
                problems.append(f"{name}: {error}; write for example 10.0.0.0/8 or ::1/128")
    return problems + _receiver_problems(settings)


def _receiver_problems(settings: Settings) -> list[str]:
    """Return which receivers of the settings no notification could reach; names are judged when they are used."""
    try:
        reach = Reach.of(*settings.outgoing.webhook_networks, setting="outgoing.webhook_networks")
    except ValueError:
        return []
    problems = []
    for number, table in enumerate(settings.receivers, 1):
        try:
            reach.refuse_url(str(table.get("url", "")))
        except AddressRefused as refusal:
            problems.append(f"receivers[{number}].url: {refusal}")
        except ValueError:
            continue  # told by the check of receivers, in its own words
    return problems


def _auth_problems(auth: Auth) -> list[str]:
    if auth.mode != "keycloak":
        return []
    place = urlsplit(auth.issuer)
    if place.scheme not in ("http", "https") or not place.hostname or auth.issuer.endswith("/"):
        example = "https://sso.example/realms/quantum"
        return [f"auth.issuer: mode keycloak needs the address of a realm, like {example} (it is {auth.issuer!r})"]
    if place.scheme == "http" and not _is_loopback(place.hostname):
        return [f"auth.issuer: {auth.issuer} is not https, so anybody on the way could sign tokens"]
    if auth.dashboard_client and auth.dashboard_client not in auth.clients:
        return [
            f"auth.dashboard_client: {auth.dashboard_client} is none of auth.clients, so its tokens would be refused"
        ]
    return []


def _scrape_problems(jobs: tuple[ScrapeJob, ...]) -> list[str]:
    problems = []
    names = [job.job for job in jobs]
    for index, job in enumerate(jobs):
        place = f"scrape[{index}]"
        if not job.job or names.index(job.job) != index:
            problems.append(f"{place}.job: {job.job!r} is empty, or the name of another job")
        if not (job.targets or job.targets_file):
            problems.append(f"{place}: there are neither targets nor a targets_file")
        if job.timeout_s > job.interval_s:
            problems.append(f"{place}.timeout_s: {job.timeout_s} is longer than interval_s, {job.interval_s}")
        problems += [f"{place}.targets: {one!r} is no host:port and no URL" for one in job.targets if not TARGET(one)]
        rules = _rule_problems(job, place)
        problems += rules or _target_problems(job, place)
        problems += _ca_problems(job, place)
    return problems


def _rule_problems(job: ScrapeJob, place: str) -> list[str]:
    problems = []
    for kind in ("relabel", "metric_relabel"):
        for number, rule in enumerate(getattr(job, kind)):
            try:
                rule.rule()
            except Rejected as error:
                problems.append(f"{place}.{kind}[{number}]: {error}")
    return problems


def _target_problems(job: ScrapeJob, place: str) -> list[str]:
    """Return what is wrong with targets once labels and rules are applied; files are not looked at."""
    problems, made = [], job.as_job()
    for address in filter(TARGET, job.targets):
        try:
            build_target(made, address, {})
        except Rejected as error:
            problems.append(f"{place}: {error}")
    return problems


def _ca_problems(job: ScrapeJob, place: str) -> list[str]:
    try:
        if job.ca_file:
            ssl.create_default_context(cafile=job.ca_file)
    except OSError as error:  # ssl.SSLError is one
        return [f"{place}.ca_file: {job.ca_file}: {error.strerror or error}"]
    return []


def without_password(url: str) -> str:
    """Return an address that may be shown."""
    return re.sub(r"(password=)[^&\s]+", rf"\1{HIDDEN}", re.sub(r"(://[^:/@]*):[^@]*@", rf"\1:{HIDDEN}@", url))


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
