"""The embedded MQTT broker: what `smartcar up` starts where no broker is configured. Loopback only.

It is rumqttd, which comes as the wheel `iotcore` and runs in a child process of its own. It speaks each
protocol version on a port of its own: MQTT 3.1.1 on `port`, MQTT 5 on `port_5`. It keeps nothing on disk.
"""

from __future__ import annotations

import signal
import socket
import tempfile
import threading
from pathlib import Path
from types import TracebackType

from iotcore import Broker

from messages.errors import CannotStart

LOOPBACK = "127.0.0.1"
DEFAULT_PORT = 1883
MAX_PAYLOAD_BYTES = 8 << 20
"""rumqttd's own limit is 20 KB: too small for a picture or a model."""

_ATTEMPTS_AT_FREE_PORTS = 5

# A slow subscriber may lag by what the segments of a topic filter hold; that also bounds the memory.
_CONFIGURATION = """
id = 0

[router]
id = 0
max_connections = 256
max_outgoing_packet_count = 200
max_segment_size = {segment_bytes}
max_segment_count = 4
{listeners}"""

_LISTENER = """
[{version}.1]
name = "{version}"
listen = "{host}:{port}"
next_connection_delay_ms = 1

[{version}.1.connections]
connection_timeout_ms = 10000
max_payload_size = {payload_bytes}
max_inflight_count = 100
dynamic_filters = true
"""


class BrokerCannotStart(CannotStart):
    """The embedded broker can't run; the message says why and what to do."""


class EmbeddedBroker:
    """`with EmbeddedBroker() as broker: … broker.port …`: a broker that ends with the block.

    It also ends with this process, however that ends. `port` takes MQTT 3.1.1, `port_5` MQTT 5; 0 takes a
    free port. Raises BrokerCannotStart, for a port that is taken too.
    """

    def __init__(self, port: int = DEFAULT_PORT, port_5: int = 0) -> None:
        self._wanted = (port, port_5)
        self._broker: Broker | None = None
        self.port = 0
        self.port_5 = 0

    @property
    def running(self) -> bool:
        """Whether the broker's process is alive."""
        return self._broker is not None and bool(self._broker.is_running)

    def start(self) -> EmbeddedBroker:
        """Start, and wait until both ports answer."""
        for attempt in range(1, _ATTEMPTS_AT_FREE_PORTS + 1):
            ports = _choose(*self._wanted)
            try:
                self._broker = _started(*ports)
            except OSError as error:
                if 0 in self._wanted and attempt < _ATTEMPTS_AT_FREE_PORTS:
                    continue  # someone was quicker at a port that was free a moment ago
                raise BrokerCannotStart(_cannot(ports, str(error))) from error
            except RuntimeError as error:
                raise BrokerCannotStart(_cannot(ports, str(error))) from error
            self.port, self.port_5 = ports
            break
        return self

    def stop(self) -> None:
        """Stop and release the ports. Safe to call twice."""
        if self._broker is not None:
            self._broker.stop()
            self._broker = None

    def __enter__(self) -> EmbeddedBroker:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def _choose(port: int, port_5: int) -> tuple[int, int]:
    """The ports to listen on. Raises BrokerCannotStart for a given one that is taken."""
    with socket.socket() as first, socket.socket() as second:  # both at once, or both might get the same
        return _claim(first, port), _claim(second, port_5)


def _claim(listener: socket.socket, port: int) -> int:
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as rumqttd does
    try:
        listener.bind((LOOPBACK, port))
        listener.listen()
    except OSError as error:
        raise BrokerCannotStart(_cannot((port,), error.strerror or str(error))) from error
    return int(listener.getsockname()[1])


def _cannot(ports: tuple[int, ...], why: str) -> str:
    return (
        f"the embedded broker can't listen on {LOOPBACK}, port {' and '.join(map(str, ports))} ({why}); "
        f'if a broker runs there, set mqtt.host = "{LOOPBACK}" to use it, else choose another port'
    )


def _started(port: int, port_5: int) -> Broker:
    listeners = "".join(
        _LISTENER.format(version=version, host=LOOPBACK, port=number, payload_bytes=MAX_PAYLOAD_BYTES)
        for version, number in (("v4", port), ("v5", port_5))
    )
    with tempfile.TemporaryDirectory(prefix="smartcar-broker-") as folder:
        file = Path(folder) / "broker.toml"
        file.write_text(_CONFIGURATION.format(segment_bytes=2 << 20, listeners=listeners))
        broker = Broker(config_path=str(file))
        with _WithoutInterrupt():
            broker.start()
        return broker


class _WithoutInterrupt:
    """Children started inside don't hear Ctrl-C, so that the broker outlives whoever says goodbye over it."""

    def __enter__(self) -> None:
        self._ours = threading.current_thread() is threading.main_thread()
        if self._ours:
            self._before = signal.signal(signal.SIGINT, signal.SIG_IGN)

    def __exit__(self, *_: object) -> None:
        if self._ours:
            signal.signal(signal.SIGINT, self._before)
