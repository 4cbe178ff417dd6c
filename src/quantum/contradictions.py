"""What cannot hold together among settings, a line for each; nothing is opened for that but files of authorities."""

from __future__ import annotations

import re
import ssl
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from quantum.adapters.addresses import AddressRefused, Reach
from quantum.adapters.linear_patterns import full_match
from quantum.adapters.scrape_targets import build_target
from quantum.adapters.time_zones import civil_time
from quantum.domain.coverage import MAX_RULES
from quantum.domain.errors import Rejected
from quantum.domain.labels import MatcherCompiler
from quantum.domain.retention import MAX_RULES as MAX_RETENTION_RULES
from quantum.settings import DAY_MS, MAX_PORT

if TYPE_CHECKING:
    from quantum.settings import Auth, Detection, Retention, ScrapeJob, Settings, Stream

TARGET: Final = re.compile(r"(https?://)?(\[[0-9a-fA-F:.%]+\]|[\w.-]+)(:\d{1,5})?(/[^\s]*)?").fullmatch
WRITER: Final = re.compile(r"https?://(\[[0-9a-fA-F:.]+\]|[\w.-]+)(:\d{1,5})?/?").fullmatch
KAFKA: Final = re.compile(r"kafka://[\w.-]+:\d{1,5}(,[\w.-]+:\d{1,5})*").fullmatch


def find_contradictions(settings: Settings) -> list[str]:
    """Return a line for each setting that cannot hold beside the others."""
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
    problems += _stream_problems(settings.stream)
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
    problems += _clock_problems(settings)
    problems += _retention_problems(settings.retention, settings.limits.max_age_ms, settings.served)
    return problems


def _stream_problems(stream: Stream) -> list[str]:
    """Return what is wrong with the way in to Kafka; passwords are not repeated."""
    problems = []
    if stream.publish and stream.kind != "kafka":
        problems.append(f'stream.publish: needs stream.kind = "kafka", there are no topics in {stream.kind}')
    if stream.sasl != "none" and not (stream.user and stream.password):
        problems.append(f"stream.sasl: {stream.sasl} needs stream.user and stream.password")
    if stream.sasl == "none" and (stream.user or stream.password):
        problems.append("stream.user: nobody signs in while stream.sasl is none; set it to scram-sha-512, say")
    if stream.sasl == "plain" and not stream.tls:
        problems.append("stream.sasl: plain sends the password as it is; set stream.tls = true, or use scram-sha-512")
    files = {name: getattr(stream, name) for name in ("ca_file", "cert_file", "key_file") if getattr(stream, name)}
    if files and not stream.tls:
        problems += [f"stream.{name}: is of no use while stream.tls is false" for name in files]
    elif ("cert_file" in files) != ("key_file" in files):
        problems.append("stream.cert_file: a certificate and its key_file come together")
    else:
        problems += _certificate_problems(stream)
    return problems


def _certificate_problems(stream: Stream) -> list[str]:
    problems = []
    context = ssl.create_default_context()
    try:
        if stream.ca_file:
            context.load_verify_locations(stream.ca_file)
    except OSError as error:  # ssl.SSLError is one
        problems.append(f"stream.ca_file: {stream.ca_file}: {error.strerror or error}")
    try:
        if stream.cert_file:
            # a key with a password would ask for it on the terminal
            context.load_cert_chain(stream.cert_file, stream.key_file, password="")
    except OSError as error:
        problems.append(f"stream.cert_file: {stream.cert_file} with {stream.key_file}: {error.strerror or error}")
    return problems


def _retention_problems(retention: Retention, max_age_ms: int, served: tuple[str, ...]) -> list[str]:
    problems = []
    if len(retention.rules) > MAX_RETENTION_RULES:
        problems.append(f"retention.rules: there are {len(retention.rules)}, at most {MAX_RETENTION_RULES}")
    days = [("retention.days", retention.days)]
    for number, rule in enumerate(retention.rules):
        days.append((f"retention.rules[{number}].days", rule.days))
        problems += [
            f"retention.rules[{number}].tenants: {tenant} is none of the tenants that are served: {', '.join(served)}"
            for tenant in rule.tenants
            if tenant not in served
        ]
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


def find_role_problems(role: str, settings: Settings) -> list[str]:
    """Return what a role that shares its work with other processes lacks: something that they can reach, too."""
    if role == "all":
        return []
    problems = []
    if settings.store.kind != "postgres":
        problems.append(f"store.kind: the role {role} needs postgres, other processes do not see {settings.store.kind}")
    if role == "gateway":
        return problems + _gateway_problems(settings)
    if settings.stream.kind != "kafka":
        problems.append(
            f"stream.kind: the role {role} needs kafka, other processes do not see {settings.stream.kind}; set"
            " stream.url = kafka://host:port too"
        )
    return problems


def _gateway_problems(settings: Settings) -> list[str]:
    problems = []
    if not settings.redis.url:
        problems.append("redis.url: the role gateway needs a Redis, over which it hears of what happens")
    if not settings.gateway.writers:
        problems.append("gateway.writers: the role gateway needs the address of the process that writes")
    problems += [
        f"gateway.writers: {one!r} is no address like http://quantum.example:8470"
        for one in settings.gateway.writers
        if not WRITER(one)
    ]
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


def _clock_problems(settings: Settings) -> list[str]:
    clocks, problems = settings.clocks, []
    named = {"clocks.time_zone": clocks.time_zone}
    named |= {f"clocks.tenants.{tenant}": zone for tenant, zone in clocks.tenants.items()}
    for name, zone in named.items():
        try:
            civil_time(zone)
        except Rejected as error:
            problems.append(f"{name}: {error}")
    problems += [
        f"clocks.tenants.{tenant}: is none of the tenants that are served: {', '.join(settings.served)}"
        for tenant in clocks.tenants
        if tenant not in settings.served
    ]
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


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
