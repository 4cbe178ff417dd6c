"""Settings: what there is to set. `loading.py` reads them, `contradictions.py` holds them against one another.

Every setting has a default that works on a laptop. With `loading.py`, `adapters/wire.py` and the HTTP messages, this
module is the only user of msgspec.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Final, Literal

import msgspec

from quantum.adapters.relabel import Rule
from quantum.adapters.scrape_targets import Job
from quantum.domain.coverage import DEFAULT_FULL_SERIES, Allotment, CoverageRule, Tier
from quantum.domain.errors import Rejected
from quantum.domain.retention import RetentionRule, Term
from quantum.domain.selectors import parse_selector

HIDDEN: Final = "(set)"
"""Stands for a secret that may not be shown."""
_CREDENTIALS: Final = re.compile(r"([^\s/'\"@,]+):(?!//)[^\s'\"]*@")
"""User and password within an address, wherever it is spoken of."""
MAX_PORT: Final = 65_535
DAY_MS: Final = 86_400_000

Port = Annotated[int, msgspec.Meta(ge=0, le=MAX_PORT)]
Positive = Annotated[int, msgspec.Meta(ge=1)]
Days = Annotated[int, msgspec.Meta(ge=1, le=36_500)]
LossName = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_.-]{1,100}:\d{1,18}-\d{1,18}$")]
TenantName = Annotated[str, msgspec.Meta(pattern="^[A-Za-z0-9_.-]{1,100}$")]


class SettingsError(Rejected):
    """One or more settings are wrong; the message has a line for each."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = [_CREDENTIALS.sub(rf"\1:{HIDDEN}@", one) for one in problems]
        super().__init__("settings", "\n".join(self.problems))


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
        max_series: distinct series ever stored, of each tenant.
        max_process_series: of all tenants of a process together.
        max_memory_bytes: resident memory from which on new series are refused; 0 means four fifths of what the machine
            or the container has.
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
    max_process_series: Positive = 2_000_000
    max_memory_bytes: Annotated[int, msgspec.Meta(ge=0)] = 0
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


class Gateway(Section, frozen=True, kw_only=True):
    """What the role `gateway` needs.

    Attributes:
        writers: addresses of the process that writes, and of those that wait to take over: `http://quantum:8470`.
    """

    writers: tuple[str, ...] = ()


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
        tenants: of whom; empty means of everybody.
    """

    match: str
    days: Days
    rollup_days: Days | None = None
    tenants: tuple[TenantName, ...] = ()

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

    def of(self, tenant: str) -> Retention:
        """Return what holds for one tenant: without the rules of others."""
        rules = tuple(rule for rule in self.rules if not rule.tenants or tenant in rule.tenants)
        return msgspec.structs.replace(self, rules=rules)

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


class Clocks(Section, frozen=True, kw_only=True):
    """By whose clocks hours of the day and days of the week are told in explanations.

    Attributes:
        time_zone: name of a time zone, for example `Europe/Berlin`.
        tenants: names of the time zones of tenants elsewhere.
    """

    time_zone: str = "UTC"
    tenants: dict[TenantName, str] = {}

    def of(self, tenant: str) -> str:
        """Return the name of a tenant's time zone."""
        return self.tenants.get(tenant, self.time_zone)


class Store(Section, frozen=True, kw_only=True):
    """Where facts, samples and conclusions are kept. `store = "memory"` is short for `store.kind`.

    Attributes:
        kind: `sqlite` is one file, `postgres` a server, `memory` is for trying things out.
        url: address of the PostgreSQL database.
        tenant: whose data this process keeps; with several, the one that has this machine's own metrics, and the
            embedded store's `quantum.db`. Of each tenant of a shared database one process is the writer.
        wait_ms: how long a start waits for another process to let go of the tenant.
        accept_loss: facts without which a start goes on that finds them missing, as it names them itself:
            `default:901-1000`. They hold for these facts and nothing else.
    """

    kind: Literal["sqlite", "memory", "postgres"] = "sqlite"
    url: str = ""
    tenant: TenantName = "default"
    wait_ms: Annotated[int, msgspec.Meta(ge=0, le=3_600_000)] = 20_000
    accept_loss: tuple[LossName, ...] = ()


class Stream(Section, frozen=True, kw_only=True):
    """How the processes of the roles `monitoring` and `ml` reach each other; the role `all` needs nothing.

    Attributes:
        kind: `kafka`, or `memory`, which reaches nobody.
        url: of Kafka: `kafka://host:port`, more brokers behind commas.
        lanes: into so many the series are dealt out; at most so many workers have something to do. All processes of a
            tenant must say the same.
        tls: whether to speak TLS with the brokers; they must show a certificate for the name in `url`.
        ca_file: authorities of such certificates, in PEM; empty means those of this machine.
        cert_file: a certificate that this process shows, in PEM, if brokers ask for one.
        key_file: its key, in PEM, without a password.
        sasl: how this process signs in. `plain` needs `tls`, for it sends the password.
        user: who signs in.
        password: theirs; never shown again.
        member: the name of this worker, and of no other: under it, it keeps its lanes when it is started again within
            `away_ms`. Empty: they go to others as soon as it stops.
        away_ms: a worker that is not heard of for so long has died, and its lanes go to others.
        publish: whether samples, scores, anomalies and alerts are published in topics, for other programs.
    """

    kind: Literal["memory", "kafka"] = "memory"
    url: str = ""
    lanes: Annotated[int, msgspec.Meta(ge=1, le=256)] = 4
    tls: bool = False
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    sasl: Literal["none", "plain", "scram-sha-256", "scram-sha-512"] = "none"
    user: str = ""
    password: str = ""
    member: Annotated[str, msgspec.Meta(pattern="^[A-Za-z0-9._-]{0,200}$")] = ""
    away_ms: Annotated[int, msgspec.Meta(ge=6000, le=1_800_000)] = 6000
    publish: bool = False


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


class TraceExport(Section, frozen=True, kw_only=True):
    """Traces of requests, for an OpenTelemetry collector.

    Attributes:
        url: of the collector, with its path: `http://127.0.0.1:4318/v1/traces`; empty means none.
        ratio: of the requests whose sender has not decided whether they are followed.
    """

    url: Annotated[str, msgspec.Meta(pattern=r"^$|^https?://[^/]+/")] = ""
    ratio: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.01


class Settings(Section, frozen=True, kw_only=True):
    """All settings of one process.

    Attributes:
        data_dir: where the embedded store keeps its files.
        tenants: whose data this process keeps, if there are several; `store.tenant` is one of them.
        scrape: tables of targets to ask for their metrics.
        policies: tables of alert policies to put in force at start, in the shape of `POST /api/v1/policies`.
        receivers: tables of webhook receivers to put in force at start, in the shape of `POST /api/v1/receivers`.
        routes: tables of routes to put in force at start, in the shape of `POST /api/v1/routes`.
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
    gateway: Gateway = Gateway()
    stream: Stream = Stream()
    retention: Retention = Retention()
    clocks: Clocks = Clocks()
    logs: Logs = Logs()
    traces: TraceExport = TraceExport()
    detection: Detection = Detection()
    scrape: tuple[ScrapeJob, ...] = ()
    policies: tuple[dict[str, Any], ...] = ()
    receivers: tuple[dict[str, Any], ...] = ()
    routes: tuple[dict[str, Any], ...] = ()

    @property
    def served(self) -> tuple[str, ...]:
        """Every tenant whose data is kept, `store.tenant` first."""
        return (self.store.tenant, *(one for one in self.tenants if one != self.store.tenant))

    def tenant_named(self, name: str | None) -> str:
        """Return the tenant that somebody named, `store.tenant` if they named none; raises SettingsError."""
        if name is not None and name not in self.served:
            raise SettingsError([f"--tenant: {name!r} is none of those that are served: {', '.join(self.served)}"])
        return name or self.store.tenant


def without_password(url: str) -> str:
    """Return an address that may be shown."""
    return re.sub(r"(password=)[^&\s]+", rf"\1{HIDDEN}", re.sub(r"(://[^:/@]*):\S*@", rf"\1:{HIDDEN}@", url))
