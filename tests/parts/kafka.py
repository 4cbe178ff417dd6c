"""A real Kafka broker of a test: one node without ZooKeeper (KRaft), on free ports of the loopback interface.

Its jars come from Maven Central once and are kept outside the work tree; `kafka.jars` pins every digest. Java is found
or installed as for Keycloak. Within the block the broker can be killed, frozen and started again on the same ports,
with what it had. Besides the open listener it has one with TLS, which asks for a certificate and for a user with a
password. `TEST_KAFKA_HOME` names a folder with the jars of another 4.x.
"""

from __future__ import annotations

import os
import secrets
import socket
import struct
import subprocess
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

import httpx
from tests.parts.authority import Authority
from tests.parts.children import Server
from tests.parts.kept import is_whole, kept, pinned
from tests.parts.keycloak import java_home

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PINNED: Final = Path(__file__).with_suffix(".jars")
MAVEN: Final = "https://repo.maven.apache.org/maven2/"
JAVA_OPTIONS: Final = ("-Xms48m", "-Xmx256m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")
"""It runs for a minute: compiling well would cost more than it gains."""
CLUSTER: Final = "4L6g3nShT-eMCtK--X86sw"
PORTS: Final = range(20_000, 32_000)
READY_TIMEOUT_S: Final = 120.0
API_VERSIONS: Final = struct.pack(">ihhih", 10, 18, 0, 1, -1)
"""The request that every client begins with, version 0, without a name."""
USER: Final = "quantum"
PASSWORD: Final = "correct horse battery staple"
SCRAM: Final = ("SCRAM-SHA-256", "SCRAM-SHA-512")
LOGGING: Final = """
rootLogger.level=WARN
rootLogger.appenderRef.stdout.ref=STDOUT
appender.stdout.type=Console
appender.stdout.name=STDOUT
appender.stdout.layout.type=PatternLayout
appender.stdout.layout.pattern=%d %p %m (%c)%n
"""


@dataclass(slots=True)
class KafkaBroker(Server):
    """A broker that has what it wrote when it is started again after it was killed.

    Attributes:
        ca_file: the authority of its certificate, and of those that it takes.
        shown: files of a certificate that it takes, and of its key.
        ways: ports of more listeners, and the port that clients of each are told to come to, that of a proxy.
    """

    ca_file: Path = field(init=False)
    shown: tuple[Path, Path] = field(init=False)
    _secure_port: int = field(init=False)
    ways: dict[int, int] = field(default_factory=dict)

    @property
    def secure_url(self) -> str:
        """The address of its listener with TLS."""
        return f"kafka://127.0.0.1:{self._secure_port}"

    @property
    def url(self) -> str:
        """Its address, as the setting `stream.url` has it."""
        return f"kafka://127.0.0.1:{self.port}"

    def format(self) -> None:
        """Make an empty place for its data."""
        (self.home / "log4j2.properties").write_text(LOGGING)
        authority = Authority(self.home)
        self.ca_file, self.shown = authority.ca_file, authority.issue("client")
        _write_keystore(self.home / "broker.keystore", *authority.issue("broker", "127.0.0.1"))
        controller = quiet_port(self.port)
        self._secure_port = quiet_port(self.port, controller)
        settings = _settings(self.home, self.port, controller, self._secure_port, self.ways)
        (self.home / "server.properties").write_text(settings + _secure_settings(self.home))
        tool = [*self._java(), "kafka.tools.StorageTool", "format", "--config", self.home / "server.properties"]
        for mechanism in SCRAM:
            tool += ["--add-scram", f"{mechanism}=[name={USER},password={PASSWORD}]"]
        subprocess.run([*tool, "--cluster-id", CLUSTER], check=True, capture_output=True, timeout=READY_TIMEOUT_S)

    def start(self) -> None:
        """Start it with what it had; return when it answers."""
        self.run(self.command(), "kafka.log").wait_until(self.answers, "an answer of Kafka", READY_TIMEOUT_S)

    def command(self) -> list[str | Path]:
        """Return what runs it."""
        return [*self._java(), "kafka.Kafka", self.home / "server.properties"]

    def answers(self) -> bool:
        """Whether it says now what it can do."""
        return len(self.ask(API_VERSIONS, 8)) == 8

    def _java(self) -> list[str | Path]:
        logging = f"-Dlog4j2.configurationFile={self.home / 'log4j2.properties'}"
        return [java_home() / "bin/java", *JAVA_OPTIONS, logging, "-cp", f"{jars()}/*"]


@contextmanager
def run_kafka(home: Path) -> Iterator[KafkaBroker]:
    """Run a broker for the length of a `with` block, with its data and log in a directory."""
    broker = KafkaBroker(home, quiet_port())
    try:
        broker.format()
        broker.start()
        yield broker
    finally:
        broker.kill()


def quiet_port(*but: int) -> int:
    """Return a free port below those that the kernel gives to outgoing connections.

    A broker that is started again needs its old port, and a client that tries to reach it meanwhile could get that
    very port as its own.
    """
    while True:
        port = PORTS.start + secrets.randbelow(len(PORTS))
        with suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            if port not in but:
                return port


def _settings(home: Path, port: int, controller: int, secure: int, ways: Mapping[int, int]) -> str:
    listeners = {"PLAINTEXT": port, "SECURE": secure} | {f"WAY{number}": number for number in ways}
    told = listeners | {f"WAY{number}": proxy for number, proxy in ways.items()}
    open_to_all = ["PLAINTEXT", "CONTROLLER", *(f"WAY{number}" for number in ways)]
    values = {
        "listeners": _addresses(listeners | {"CONTROLLER": controller}),
        "advertised.listeners": _addresses(told),
        "listener.security.protocol.map": ",".join([*(f"{name}:PLAINTEXT" for name in open_to_all), "SECURE:SASL_SSL"]),
        "process.roles": "broker,controller",
        "node.id": 1,
        "controller.quorum.voters": f"1@127.0.0.1:{controller}",
        "controller.listener.names": "CONTROLLER",
        "log.dirs": home / "data",
        "offsets.topic.replication.factor": 1,
        "offsets.topic.num.partitions": 1,
        "auto.create.topics.enable": "false",
        "group.initial.rebalance.delay.ms": 0,
        "num.network.threads": 1,
        "num.io.threads": 2,
    }
    return _lines(values)


def _addresses(listeners: Mapping[str, int]) -> str:
    return ",".join(f"{name}://127.0.0.1:{number}" for name, number in listeners.items())


def _secure_settings(home: Path) -> str:
    login = f'username="{USER}" password="{PASSWORD}"'
    module = "org.apache.kafka.common.security"
    values = {
        "sasl.enabled.mechanisms": ",".join(("PLAIN", *SCRAM)),
        "listener.name.secure.ssl.client.auth": "required",
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": home / "broker.keystore",
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": home / "authority.pem",
        "listener.name.secure.plain.sasl.jaas.config": (
            f'{module}.plain.PlainLoginModule required {login} user_{USER}="{PASSWORD}";'
        ),
    }
    for mechanism in SCRAM:
        name = f"listener.name.secure.{mechanism.lower()}.sasl.jaas.config"
        values[name] = f"{module}.scram.ScramLoginModule required;"
    return _lines(values)


def _lines(values: Mapping[str, object]) -> str:
    return "".join(f"{name}={value}\n" for name, value in values.items())


def _write_keystore(file: Path, certificate: Path, key: Path) -> None:
    file.write_text(key.read_text() + certificate.read_text())


@cache
def jars() -> Path:
    """Return a folder with all jars; fetch what this machine does not have yet, and check everything."""
    if named := os.environ.get("TEST_KAFKA_HOME"):
        return Path(named)
    wanted = [line.split() for line in PINNED.read_text().splitlines() if not line.startswith("#")]
    with kept("lock", "kafka-4.1.1") as folder, httpx.Client(timeout=120) as maven:
        for digest, path in wanted:
            _fetch(maven, path, digest, folder / Path(path).name)
    return folder


def _fetch(maven: httpx.Client, path: str, digest: str, jar: Path) -> None:
    if is_whole(jar, digest):
        return
    answer = maven.get(MAVEN + path)
    answer.raise_for_status()
    jar.write_bytes(pinned(answer.content, digest, MAVEN + path))
