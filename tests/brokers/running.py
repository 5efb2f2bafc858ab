"""Brokers of others, each with its default settings, on free ports of loopback and in temporary folders."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.conftest import REPOSITORY, wait_for
from tests.services.bridge.kit import Mosquitto, find_mosquitto, free_port, listens
from tools.up.embedded_broker import EmbeddedBroker

OTHERS = REPOSITORY / ".venv-brokers"
RABBIT = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
MIRRORED = ("set_policy", "mqtt", "^mqtt-subscription-", '{"ha-mode":"all"}', "--apply-to", "queues")
"""Else a client whose queue lies on a node that is gone is not let in on another."""
STARTS_WITHIN_S = 180.0

_AEDES = """
const net = require("net");
(async () => {
  const { Aedes } = require("aedes");
  const broker = Aedes.createBroker ? await Aedes.createBroker() : new Aedes();
  net.createServer(broker.handle).listen(Number(process.argv[2]), "127.0.0.1");
})();
"""
_AMQTT = """
listeners:
  default: {{type: tcp, bind: "127.0.0.1:{port}", max_connections: 500}}
plugins:
  amqtt.plugins.authentication.AnonymousAuthPlugin: {{allow_anonymous: true}}
"""
_RABBIT = """
listeners.tcp.1 = 127.0.0.1:{amqp}
mqtt.listeners.tcp.1 = 127.0.0.1:{mqtt}
mqtt.allow_anonymous = true
loopback_users = none
log.file.level = warning
"""


class BrokerMissing(Exception):
    """It is not installed; the message says how it is."""


def _need(present: object, what: str) -> None:
    if not present:
        raise BrokerMissing(f"{what} is not installed: make test-brokers")


def _end(process: subprocess.Popen[bytes]) -> None:
    """With all that it started."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@contextmanager
def _process(folder: Path, port: int, *command: str, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """Until it answers on `port`; ends with the block."""
    log = folder / f"{Path(command[0]).name}-{port}.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        wait_for(
            lambda: listens(port) or process.poll() is not None, STARTS_WITHIN_S, f"{command[0]} on {port}"
        )
        assert process.poll() is None, log.read_text(errors="replace")[-2000:]
        yield process
    finally:
        _end(process)


@contextmanager
def mosquitto(folder: Path) -> Iterator[int]:
    _need(find_mosquitto(), "Mosquitto")
    broker = Mosquitto(folder)
    broker.start()
    try:
        yield broker.port
    finally:
        broker.stop()


@contextmanager
def embedded(folder: Path) -> Iterator[int]:
    with EmbeddedBroker(port=0) as broker:
        yield broker.port


@contextmanager
def aedes(folder: Path) -> Iterator[int]:
    node = shutil.which("node")
    _need(node and (OTHERS / "node_modules" / "aedes").is_dir(), "aedes")
    program, port = folder / "broker.js", free_port()
    program.write_text(_AEDES)
    with _process(folder, port, str(node), str(program), str(port), NODE_PATH=str(OTHERS / "node_modules")):
        yield port


@contextmanager
def amqtt(folder: Path) -> Iterator[int]:
    program = OTHERS / "bin" / "amqtt"
    _need(program.exists(), "amqtt")
    settings, port = folder / "amqtt.yaml", free_port()
    settings.write_text(_AMQTT.format(port=port))
    with _process(folder, port, str(program), "-c", str(settings)):
        yield port


class RabbitNode:
    """One node of RabbitMQ, which may be stopped and started again."""

    def __init__(self, folder: Path, number: int, epmd: int, names: Sequence[str]) -> None:
        self.port = free_port()
        self._folder = folder / f"node{number}"
        self._folder.mkdir()
        self._stack = ExitStack()
        cluster = "".join(
            f"cluster_formation.classic_config.nodes.{place} = {name}\n"
            for place, name in enumerate(names, 1)
            if len(names) > 1
        )
        backend = "cluster_formation.peer_discovery_backend = classic_config\n" if cluster else ""
        (self._folder / "rabbitmq.conf").write_text(
            _RABBIT.format(amqp=free_port(), mqtt=self.port) + backend + cluster
        )
        (self._folder / "enabled_plugins").write_text("[rabbitmq_mqtt].\n")
        self._environment = {
            "HOME": str(folder),
            "ERL_EPMD_PORT": str(epmd),
            "RABBITMQ_NODENAME": names[number],
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_CONFIG_FILE": str(self._folder / "rabbitmq.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self._folder / "enabled_plugins"),
            "RABBITMQ_MNESIA_BASE": str(self._folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(self._folder / "log"),
            "RABBITMQ_PID_FILE": str(self._folder / "pid"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 1:1 -kernel inet_dist_use_interface {127,0,0,1}",
        }
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Of the Erlang machine."""
        return int((self._folder / "pid").read_text())

    def start(self) -> None:
        self._process = self._stack.enter_context(
            _process(self._folder, self.port, str(RABBIT), **self._environment)
        )

    def control(self, *arguments: str) -> None:
        """`rabbitmqctl …`."""
        subprocess.run(
            [RABBIT.with_name("rabbitmqctl"), "-n", self._environment["RABBITMQ_NODENAME"], *arguments],
            env={**os.environ, **self._environment},
            check=True,
            capture_output=True,
            timeout=STARTS_WITHIN_S,
        )

    def stop(self) -> None:
        """As a power cut would."""
        if self._process is not None and self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._stack.close()


@contextmanager
def rabbit_cluster(folder: Path, size: int) -> Iterator[list[RabbitNode]]:
    """So many nodes, with an epmd of their own."""
    _need(RABBIT.exists(), "RabbitMQ")
    cookie = folder / ".erlang.cookie"
    cookie.write_text("smartcar")
    cookie.chmod(0o400)
    epmd = free_port()
    with ExitStack() as running:
        running.enter_context(_process(folder, epmd, "epmd", "-address", "127.0.0.1", "-port", str(epmd)))
        names = [f"smartcar{number}-{os.getpid()}@localhost" for number in range(size)]
        nodes = [RabbitNode(folder, number, epmd, names) for number in range(size)]
        starting = [threading.Thread(target=node.start) for node in nodes]
        for node in nodes:
            running.callback(node.stop)
        for thread in starting:
            thread.start()
        for thread in starting:
            thread.join()
        wait_for(lambda: all(listens(node.port) for node in nodes), 1.0, "all nodes")
        if size > 1:
            nodes[0].control(*MIRRORED)
        yield nodes


@contextmanager
def rabbit(folder: Path) -> Iterator[int]:
    with rabbit_cluster(folder, 1) as nodes:
        yield nodes[0].port


class Balancer:
    """A TCP balancer before the nodes of a cluster: each connection goes to the next node that answers."""

    def __init__(self, targets: Sequence[int]) -> None:
        self._targets = list(targets)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            far = self._connected()
            if far is None:
                near.close()
                continue
            for source, sink in ((near, far), (far, near)):
                source.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                threading.Thread(target=_pump, args=(source, sink), daemon=True).start()

    def _connected(self) -> socket.socket | None:
        for _ in self._targets:
            self._targets.append(self._targets.pop(0))
            try:
                return socket.create_connection(("127.0.0.1", self._targets[-1]), timeout=2)
            except OSError:
                continue
        return None


def _pump(source: socket.socket, sink: socket.socket) -> None:
    source.settimeout(None)
    try:
        while data := source.recv(65536):
            sink.sendall(data)
    except OSError:
        pass
    for end in (source, sink):
        try:
            end.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        end.close()


BROKERS = {
    "Mosquitto": mosquitto,
    "the embedded broker": embedded,
    "RabbitMQ": rabbit,
    "aedes": aedes,
    "amqtt": amqtt,
}


def main() -> None:
    """A RabbitMQ cluster for `smartcar bench fleet`, until Enter; says with which options."""
    with tempfile.TemporaryDirectory(prefix="sc-") as folder, rabbit_cluster(Path(folder), 3) as nodes:
        balancer = Balancer([node.port for node in nodes])
        print(f"--port {balancer.port} --pids {','.join(str(node.pid) for node in nodes)}", flush=True)
        input()
        balancer.close()


if __name__ == "__main__":
    main()
