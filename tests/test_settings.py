"""Settings: defaults for a laptop, the environment over the file, and every problem named at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest
from tests.parts.authority import Authority

from quantum.domain.coverage import Tier
from quantum.domain.retention import Term
from quantum.loading import load_settings
from quantum.settings import Settings, SettingsError, Store, without_password

if TYPE_CHECKING:
    from pathlib import Path


DAY_MS = 86_400_000


def file_with(folder: Path, text: str) -> str:
    path = folder / "quantum.toml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def problems_of(file: str | None, environment: dict[str, str] | None = None, role: str = "all") -> list[str]:
    with pytest.raises(SettingsError) as raised:
        load_settings(file, environment or {}, role=role)
    return raised.value.problems


def test_without_a_file_or_variables_every_setting_has_its_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_settings(None, {}) == Settings()


def test_a_file_in_the_working_directory_is_read_without_being_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file_with(tmp_path, 'data_dir = "elsewhere"')
    monkeypatch.chdir(tmp_path)
    assert load_settings(None, {}).data_dir == "elsewhere"


def test_the_environment_overrules_the_file_and_the_command_line_overrules_both(tmp_path: Path) -> None:
    file = file_with(tmp_path, "[server]\nport = 1\n[host_metrics]\ninterval_ms = 500\n")
    environment = {"QUANTUM_SERVER__PORT": "2", "QUANTUM_HOST_METRICS__INTERVAL_MS": "700"}
    settings = load_settings(file, environment, {"server.port": 3, "data_dir": None})
    assert (settings.server.port, settings.host_metrics.interval_ms) == (3, 700)


def test_a_list_may_be_given_as_comma_separated_text(tmp_path: Path) -> None:
    file = file_with(tmp_path, "")
    settings = load_settings(file, {"QUANTUM_SERVER__ALLOWED_HOSTS": "a.example, b.example,"})
    assert settings.server.allowed_hosts == ("a.example", "b.example")


def test_all_problems_of_file_and_environment_are_named_at_once(tmp_path: Path) -> None:
    file = file_with(tmp_path, 'data_dirr = "x"\nserver = 3\n[host_metrics]\ninterval_ms = "soon"\n')
    problems = problems_of(file, {"QUANTUM_STORE": "oracle", "QUANTUM_LIMITS__MAX_SERIES": "0"})
    assert [problem.split(":")[0] for problem in problems] == [
        "data_dirr",
        "server",
        "host_metrics.interval_ms",
        "limits.max_series",
        "store.kind",
    ]
    assert "did you mean data_dir?" in problems[0]


def test_a_missing_or_broken_file_is_one_problem(tmp_path: Path) -> None:
    assert problems_of(str(tmp_path / "none.toml")) == [f"{tmp_path}/none.toml: No such file or directory"]
    assert "quantum.toml" in problems_of(file_with(tmp_path, "port = = 1"))[0]


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.5", "quantum.example"])
def test_stub_auth_is_refused_on_an_address_that_others_reach(host: str, tmp_path: Path) -> None:
    file = file_with(tmp_path, "")
    assert "auth.mode is stub" in problems_of(file, {"QUANTUM_SERVER__HOST": host})[0]
    asked_for = {"QUANTUM_SERVER__HOST": host, "QUANTUM_AUTH__STUB_BEYOND_LOOPBACK": "true"}
    assert load_settings(file, asked_for).server.host == host


@pytest.mark.parametrize(
    "issuer",
    ["", "sso.example", "https://", "https://sso.example/realms/quantum/", "http://sso.example/realms/quantum"],
)
def test_keycloak_needs_an_issuer_that_nobody_can_imitate(issuer: str, tmp_path: Path) -> None:
    file = file_with(tmp_path, f'[auth]\nmode = "keycloak"\nissuer = "{issuer}"\n')
    assert [one.split(":")[0] for one in problems_of(file)] == ["auth.issuer"]


def test_people_sign_in_by_a_client_whose_tokens_are_believed_or_not_at_all(tmp_path: Path) -> None:
    text = '[auth]\nmode = "keycloak"\nissuer = "https://sso.example/realms/quantum"\ndashboard_client = "{}"\n'
    assert [one.split(":")[0] for one in problems_of(file_with(tmp_path, text.format("web")))] == [
        "auth.dashboard_client"
    ]
    assert load_settings(file_with(tmp_path, text.format("")), {}).auth.dashboard_client == ""


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_with_keycloak_any_address_may_be_listened_on(host: str, tmp_path: Path) -> None:
    text = '[auth]\nmode = "keycloak"\nissuer = "https://sso.example/realms/quantum"\n'
    assert load_settings(file_with(tmp_path, text), {"QUANTUM_SERVER__HOST": host}).auth.mode == "keycloak"


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "127.8.8.8"])
def test_stub_auth_is_fine_on_loopback(host: str, tmp_path: Path) -> None:
    assert load_settings(file_with(tmp_path, ""), {"QUANTUM_SERVER__HOST": host}).server.host == host


def test_a_variable_inside_something_that_is_no_section_is_ignored_beside_the_real_problem(tmp_path: Path) -> None:
    problems = problems_of(file_with(tmp_path, "server = 3"), {"QUANTUM_SERVER__PORT": "1"})
    assert problems == ["server: expected a table of settings, got 3"]


def test_samples_must_be_kept_for_longer_than_they_may_be_late(tmp_path: Path) -> None:
    file = file_with(tmp_path, "[retention]\ndays = 7\n")
    assert problems_of(file)[0].startswith("retention.days: 7 is less than limits.max_age_ms")
    assert load_settings(file, {"QUANTUM_LIMITS__MAX_AGE_MS": "604800000"}).retention.keep_ms == 604_800_000


def test_rollups_are_kept_at_least_as_long_as_samples(tmp_path: Path) -> None:
    file = file_with(tmp_path, "[retention]\ndays = 500\n")
    assert load_settings(file, {}).retention.usual().longest_ms == 500 * DAY_MS
    assert load_settings(file, {"QUANTUM_RETENTION__ROLLUP_DAYS": "501"}).retention.usual().longest_ms == 501 * DAY_MS


def test_a_rule_of_retention_may_be_of_some_tenants_only(tmp_path: Path) -> None:
    rules = "[[retention.rules]]\nmatch = 'cpu'\ndays = 40\ntenants = ['default']\n"
    rules += "[[retention.rules]]\nmatch = 'cpu'\ndays = 50\n"
    retention = load_settings(file_with(tmp_path, rules), {}).retention
    assert [one.days for one in retention.of("default").rules] == [40, 50]
    assert [one.days for one in retention.of("acme").rules] == [50]
    assert (retention.of("default").shortest_days, retention.of("acme").shortest_days) == (40, 50)
    problems = problems_of(file_with(tmp_path, rules.replace("['default']", "['default', 'acme']")))
    assert problems == ["retention.rules[0].tenants: acme is none of the tenants that are served: default"]


def test_rules_of_retention_are_read_and_those_that_make_no_sense_named(tmp_path: Path) -> None:
    rules = "[[retention.rules]]\nmatch = '{__name__=~\"debug_.*\"}'\ndays = 40\nrollup_days = 50\n"
    rules += "[[retention.rules]]\nmatch = 'sales'\ndays = 3000\n"
    retention = load_settings(file_with(tmp_path, rules), {}).retention
    assert [rule.term for rule in retention.parsed_rules()] == [
        Term(40 * DAY_MS, 50 * DAY_MS),
        Term(3000 * DAY_MS, 400 * DAY_MS),
    ]
    assert (retention.shortest_days, retention.keep_log_ms, retention.keep_ms) == (40, 40 * DAY_MS, 90 * DAY_MS)
    wrong = rules + "".join(
        f"[[retention.rules]]\nmatch = '{match}'\ndays = {days}\n"
        for match, days in (("cpu{", 90), ('cpu{host=~"("}', 90), ("cpu", 1), ("cpu", 0))
    )
    assert problems_of(file_with(tmp_path, wrong))[0].startswith("retention.rules[5].days: ")
    problems = problems_of(file_with(tmp_path, wrong.replace("days = 0", "days = 90")))
    assert [problem.split(":")[0] for problem in problems] == [
        "retention.rules[2].match",
        "retention.rules[3].match",
        "retention.rules[4].days",
    ]
    many = "[[retention.rules]]\nmatch = 'cpu'\ndays = 90\n" * 101
    assert problems_of(file_with(tmp_path, many)) == ["retention.rules: there are 101, at most 100"]


def test_each_tenant_may_have_clocks_of_its_own_and_unknown_zones_and_tenants_are_named(tmp_path: Path) -> None:
    text = "[clocks]\ntime_zone = 'Europe/Berlin'\n[clocks.tenants]\ndefault = '{}'\n"
    clocks = load_settings(file_with(tmp_path, text.format("America/New_York")), {}).clocks
    assert (clocks.of("default"), clocks.of("acme")) == ("America/New_York", "Europe/Berlin")
    assert load_settings(file_with(tmp_path, ""), {}).clocks.of("default") == "UTC"
    wrong = text.replace("Berlin", "Atlantis").format("../passwd") + "acme = 'UTC'\n"
    assert problems_of(file_with(tmp_path, wrong)) == [
        "clocks.time_zone: this machine knows no time zone 'Europe/Atlantis'; names are like Europe/Berlin or UTC",
        "clocks.tenants.default: this machine knows no time zone '../passwd'; names are like Europe/Berlin or UTC",
        "clocks.tenants.acme: is none of the tenants that are served: default",
    ]


def test_a_text_for_the_store_is_its_kind_wherever_it_is_given(tmp_path: Path) -> None:
    file = file_with(tmp_path, 'store = "memory"')
    assert load_settings(file, {}).store == Store(kind="memory")
    assert load_settings(file, {"QUANTUM_STORE__TENANT": "a"}).store == Store(kind="memory", tenant="a")
    assert load_settings(file, {"QUANTUM_STORE": "sqlite"}).store == Store()
    assert load_settings(file, {}, {"store.kind": "sqlite"}).store == Store()


@pytest.mark.parametrize("url", ["", "db.example", "mysql://db.example/quantum"])
def test_postgres_without_an_address_is_refused(url: str, tmp_path: Path) -> None:
    environment = {"QUANTUM_STORE__KIND": "postgres", "QUANTUM_STORE__URL": url}
    assert "store.url: kind postgres needs" in problems_of(file_with(tmp_path, ""), environment)[0]


def test_a_tenant_has_a_plain_name(tmp_path: Path) -> None:
    assert problems_of(file_with(tmp_path, ""), {"QUANTUM_STORE__TENANT": "a b"})[0].startswith("store.tenant:")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://me:s3cret@db/q", "postgresql://me:(set)@db/q"),
        ("postgresql://me@db/q?password=s3cret&sslmode=require", "postgresql://me@db/q?password=(set)&sslmode=require"),
        ("redis://me:s3@cr@et@cache:6379/0", "redis://me:(set)@cache:6379/0"),
        ("postgresql://me@db:5432/q", "postgresql://me@db:5432/q"),
        ("postgresql:///q?host=/run", "postgresql:///q?host=/run"),
    ],
)
def test_an_address_is_shown_without_its_password(url: str, shown: str) -> None:
    assert without_password(url) == shown


@pytest.mark.parametrize(
    "text",
    [
        '[[scrape]]\njob = "node"\ntargets = ["me:s3cret@a:9100"]',
        '[[scrape]]\njob = "node"\ntargets = ["http://me:s3cret@a b"]',
        '[stream]\nkind = "kafka"\nurl = "kafka://me:s3@cret@kafka.example:9092"',
        '[stream]\npassword = ["s3cret"]',
        '[auth]\nmode = "keycloak"\nissuer = "ftp://me:s3cret@sso.example/realms/q"',
        '[gateway]\nwriters = ["http://me:s3cret@writer.example"]',
        '[[receivers]]\nname = "ops"\nurl = "https://me:s3cret@hooks.example/"',
        '[[receivers]]\nname = "ops"\nurl = "https://hooks.example/"\nsecret = ["s3cret"]',
        '[store]\nkind = "sqlite"\nurl = ["postgresql://me:s3cret@db.example/q"]',
    ],
)
def test_no_problem_repeats_a_secret(tmp_path: Path, text: str) -> None:
    problems = problems_of(file_with(tmp_path, text), {}, role="gateway")
    assert problems
    assert not [one for one in problems if "s3" in one or "cret" in one]


def test_scrape_jobs_are_read_with_their_rules(tmp_path: Path) -> None:
    text = """
[[scrape]]
job = "node"
targets = ["a:9100", "https://b.example/metrics"]
interval_s = 30
[[scrape.metric_relabel]]
action = "drop"
source_labels = ["__name__"]
regex = "go_.*"
"""
    (job,) = load_settings(file_with(tmp_path, text), {}).scrape
    assert (job.job, job.targets, job.interval_s) == ("node", ("a:9100", "https://b.example/metrics"), 30)
    assert job.metric_relabel[0].rule().regex == "go_.*"


def test_what_is_wrong_with_scrape_jobs_is_said_with_its_place(tmp_path: Path) -> None:
    text = """
[[scrape]]
job = "a"
targets = ["ftp://x", "ok:1"]
[[scrape]]
job = "a"
interval_s = 5
timeout_s = 6
[[scrape.relabel]]
action = "keep"
"""
    problems = problems_of(file_with(tmp_path, text))
    assert [problem.split(": ")[0] for problem in problems] == [
        "scrape[0].targets",
        "scrape[1].job",
        "scrape[1]",
        "scrape[1].timeout_s",
        "scrape[1].relabel[0]",
    ]
    unusable = '[[scrape]]\njob = "a"\ntargets = ["a:99999", "b:1"]\nca_file = "/missing.pem"\n'
    problems = problems_of(file_with(tmp_path, unusable))
    assert [problem.split(": ")[0] for problem in problems] == ["scrape[0]", "scrape[0].ca_file"]
    assert "a:99999" in problems[0]
    assert "No such file" in problems[1]
    other = '[[scrape]]\ntargets = ["a:1"]\nintervall_s = 3\n[[scrape.relabel]]\naction = "hash"\n'
    problems = problems_of(file_with(tmp_path, other))
    assert [problem.split(":")[0] for problem in problems] == [
        "scrape[0].intervall_s",
        "scrape[0].relabel[0].action",
        "scrape[0].job",
    ]


def test_rules_of_detection_are_read_and_those_that_make_no_sense_named(tmp_path: Path) -> None:
    text = '[detection]\nfull_series = 7\n[[detection.rules]]\nmatch = \'cpu{host="a"}\'\ntier = "none"\n'
    allotment = load_settings(file_with(tmp_path, text), {}).detection.allotment()
    assert (allotment.full_series, [rule.tier for rule in allotment.rules]) == (7, [Tier.NONE])
    assert allotment.rules[0].selector == '{__name__="cpu", host="a"}'
    problems = problems_of(file_with(tmp_path, text + "[[detection.rules]]\nmatch = 'cpu{'\ntier = \"cheap\"\n"))
    assert len(problems) == 1
    assert problems[0].startswith("detection.rules[1].match: ")
    many = "[[detection.rules]]\nmatch = 'cpu'\ntier = \"cheap\"\n" * 101
    assert problems_of(file_with(tmp_path, many)) == ["detection.rules: there are 101, at most 100"]


def test_networks_and_receivers_out_of_reach_are_told_with_the_setting_that_is_wrong(tmp_path: Path) -> None:
    text = '[[receivers]]\nname = "a"\nurl = "http://10.0.0.1/"\n[server]\ntrusted_proxies = ["10.0.0.1/8"]\n'
    problems = problems_of(file_with(tmp_path, text))
    assert [problem.partition(": ")[0] for problem in problems] == ["server.trusted_proxies", "receivers[1].url"]
    assert "in no network of outgoing.webhook_networks" in problems[1]
    allowed = load_settings(
        file_with(tmp_path, text.partition("[server]")[0]), {"QUANTUM_OUTGOING__WEBHOOK_NETWORKS": "10.0.0.0/8"}
    )
    assert allowed.outgoing.webhook_networks == ("10.0.0.0/8",)
    wrong = problems_of(
        file_with(tmp_path, text.partition("[server]")[0]), {"QUANTUM_OUTGOING__WEBHOOK_NETWORKS": "ten"}
    )
    (sentence,) = wrong
    assert sentence.startswith("outgoing.webhook_networks: 'ten' does not appear to be an IPv4 or IPv6 network; write")


def test_the_variable_that_shows_tracebacks_is_no_setting() -> None:
    assert load_settings(None, {"QUANTUM_TRACEBACK": "1"}) == load_settings(None, {})


def test_a_role_that_shares_its_work_needs_a_store_and_a_stream_that_others_reach_too(tmp_path: Path) -> None:
    file = file_with(tmp_path, '[store]\nkind = "postgres"\nurl = "postgresql://x/y"\n[stream]\nkind = "kafka"\n')
    environment = {"QUANTUM_STREAM__URL": "kafka://a.example:9092,b.example:9092"}
    assert load_settings(file, environment, role="ml").stream.lanes == 4
    for role in ("monitoring", "ml"):
        with pytest.raises(SettingsError) as raised:
            load_settings(file_with(tmp_path, ""), {}, role=role)
        assert [problem.split(":")[0] for problem in raised.value.problems] == ["store.kind", "stream.kind"]
    assert load_settings(file_with(tmp_path, ""), {}).stream.kind == "memory"


GATEWAY: Final = """
store = {kind = "postgres", url = "postgresql://x/y"}
redis.url = "redis://redis.example/0"
gateway.writers = ["http://a.example:8470", "https://[::1]:8470/"]
"""


@pytest.mark.parametrize(
    ("left_out", "place"),
    [
        ('redis.url = "redis://redis.example/0"', "redis.url"),
        ('gateway.writers = ["http://a.example:8470", "https://[::1]:8470/"]', "gateway.writers"),
        ('store = {kind = "postgres", url = "postgresql://x/y"}', "store.kind"),
    ],
)
def test_a_gateway_needs_a_database_a_redis_and_a_writer(tmp_path: Path, left_out: str, place: str) -> None:
    assert load_settings(file_with(tmp_path, GATEWAY), {}, role="gateway").gateway.writers[0] == "http://a.example:8470"
    with pytest.raises(SettingsError) as raised:
        load_settings(file_with(tmp_path, GATEWAY.replace(left_out, "")), {}, role="gateway")
    (problem,) = raised.value.problems
    assert problem.startswith(f"{place}: the role gateway needs")


@pytest.mark.parametrize("address", ["a.example:8470", "http://", "http://a/path", "redis://a:1", "http://a:1?x=1"])
def test_a_writer_is_named_by_an_address(tmp_path: Path, address: str) -> None:
    text = GATEWAY.replace("http://a.example:8470", address)
    with pytest.raises(SettingsError, match=r"gateway\.writers: .* is no address like"):
        load_settings(file_with(tmp_path, text), {}, role="gateway")


@pytest.mark.parametrize("url", ["", "kafka://", "kafka://host", "http://host:1", "kafka://a:1,", "kafka://a:1/x"])
def test_a_stream_on_kafka_needs_its_brokers(url: str) -> None:
    (problem,) = problems_of(None, {"QUANTUM_STREAM__KIND": "kafka", "QUANTUM_STREAM__URL": url})
    assert problem.startswith("stream.url: kind kafka needs brokers")


PASSWORD = "correct horse"


@pytest.mark.parametrize(
    ("stream", "problem"),
    [
        ({"sasl": "scram-sha-512"}, "stream.sasl: scram-sha-512 needs stream.user and stream.password"),
        ({"sasl": "scram-sha-512", "user": "quantum"}, "stream.sasl: scram-sha-512 needs"),
        ({"user": "quantum", "password": PASSWORD}, "stream.user: nobody signs in while stream.sasl is none"),
        ({"sasl": "plain", "user": "quantum", "password": PASSWORD}, "stream.sasl: plain sends the password as it is"),
        ({"ca_file": "ca.pem"}, "stream.ca_file: is of no use while stream.tls is false"),
        ({"tls": "true", "cert_file": "mine.pem"}, "stream.cert_file: a certificate and its key_file come together"),
        ({"tls": "true", "key_file": "mine.key"}, "stream.cert_file: a certificate and its key_file come together"),
        ({"tls": "true", "ca_file": "gone.pem"}, "stream.ca_file: gone.pem: No such file"),
        ({"tls": "true", "cert_file": "gone.pem", "key_file": "x"}, "stream.cert_file: gone.pem with x: No such file"),
        ({"sasl": "gssapi"}, "stream.sasl: "),
        ({"member": "two words"}, "stream.member: "),
        ({"away_ms": "5999"}, "stream.away_ms: "),
        ({"kind": "memory", "publish": "true"}, 'stream.publish: needs stream.kind = "kafka"'),
    ],
)
def test_a_way_in_to_kafka_that_cannot_work_is_refused_without_its_password(
    stream: dict[str, str], problem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    environment = {f"QUANTUM_STREAM__{name.upper()}": value for name, value in stream.items()}
    (found,) = problems_of(file_with(tmp_path, ""), environment)
    assert found.startswith(problem)
    assert PASSWORD not in found


def test_files_of_certificates_are_read_before_anything_is_opened(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    certificate, key = authority.issue("mine")
    _, other = authority.issue("other")
    good = {
        "QUANTUM_STREAM__TLS": "true",
        "QUANTUM_STREAM__CA_FILE": str(authority.ca_file),
        "QUANTUM_STREAM__CERT_FILE": str(certificate),
        "QUANTUM_STREAM__KEY_FILE": str(key),
        "QUANTUM_STREAM__SASL": "plain",
        "QUANTUM_STREAM__USER": "quantum",
        "QUANTUM_STREAM__PASSWORD": PASSWORD,
    }
    assert load_settings(file_with(tmp_path, ""), good).stream.password == PASSWORD
    for wrong, setting in (
        ({"QUANTUM_STREAM__CA_FILE": str(key)}, "stream.ca_file: "),
        ({"QUANTUM_STREAM__KEY_FILE": str(other)}, "stream.cert_file: "),
    ):
        (problem,) = problems_of(file_with(tmp_path, ""), good | wrong)
        assert problem.startswith(setting)


SSO: Final = 'auth = {mode = "keycloak", issuer = "https://sso.example/realms/q"}\n'


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (SSO + 'tenants = ["acme", "beta"]', "store.tenant: default is none of tenants"),
        (SSO + 'tenants = ["default", "acme", "Acme"]', "tenants: each is named once"),
        (SSO + 'tenants = ["default", "default"]', "tenants: each is named once"),
        (SSO + 'tenants = ["default", "a/b"]', "tenants"),
        ('tenants = ["default", "acme"]', "tenants: auth.mode is stub"),
        (SSO.replace("mode", 'tenant_claim = "", mode') + 'tenants = ["default", "b"]', "tenants: auth.tenant_claim"),
    ],
)
def test_tenants_that_could_not_be_served_are_refused(tmp_path: Path, text: str, problem: str) -> None:
    [found] = problems_of(file_with(tmp_path, text), {})
    assert found.startswith(problem)


def test_the_tenant_of_the_store_comes_first_of_those_that_are_served(tmp_path: Path) -> None:
    text = SSO + 'tenants = ["acme", "default", "beta"]'
    settings = load_settings(file_with(tmp_path, text), {})
    assert settings.served == ("default", "acme", "beta")
    assert (settings.tenant_named(None), settings.tenant_named("beta")) == ("default", "beta")
    with pytest.raises(SettingsError, match="--tenant: 'elsewhere' is none of those that are served"):
        settings.tenant_named("elsewhere")
    assert load_settings(file_with(tmp_path, 'tenants = ["default"]'), {}).served == ("default",)
