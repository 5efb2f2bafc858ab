"""`smartcar up`: every service on this machine, and an embedded broker where none is configured."""

from __future__ import annotations

import math
import os
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path

import zmq

from messages.bus import Subscriber, socket_path
from messages.errors import CannotStart
from messages.lock import AlreadyOwned, OwnerLock
from services.catalogue import SERVICES
from services.config import Settings
from tools.up.broker import Broker, subscribe_command
from tools.up.child import Child
from tools.up.console_log import ConsoleLog
from tools.up.leftovers import LOCK, sweep
from tools.up.supervised_service import SupervisedService

STOP_S = 5.0
HURRY_AFTER_S = 0.5
"""A second signal sooner than this is the first one, passed on twice."""
_LOOK_S = 1.0


class Supervisor:
    """The services of this machine as child processes of this one, watched until a signal comes."""

    def __init__(
        self, settings: Settings, environment: dict[str, str], broker: Broker | None, log: ConsoleLog
    ) -> None:
        self._runtime = settings.paths.runtime
        self._environment = environment
        self._broker = broker
        self._log = log
        self._signals: list[float] = []
        self._page = ""
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._subscriber = Subscriber(self._context, self._runtime, ("health", "reading.event"), SERVICES)
        self._poller = zmq.Poller()
        for each in self._subscriber.sockets:
            self._poller.register(each, zmq.POLLIN)
        self._services = [SupervisedService(name, self._runtime, self._child, log) for name in SERVICES]
        self._outputs: set[int] = set()
        self._woken, self._waker = socket.socketpair()

    def run(self) -> int:
        """Until a signal comes, or no service is left. Returns the exit code."""
        self._catch_signals()
        try:
            while not self._signals and not all(each.failed for each in self._services):
                self._turn()
        finally:
            self._stop()
        if self._signals:
            return 0
        self._log.say("No service is left; `smartcar status` shows what each one said.", "bold red")
        return 1

    def _turn(self) -> None:
        now = time.monotonic()
        for each in self._services:
            each.start_if_due(now)
        dues = [each.due for each in self._services if each.due is not None]
        wait_s = max(0.0, min([now + _LOOK_S, *dues]) - now)
        self._listen(wait_s)
        overslept_s = time.monotonic() - now - wait_s
        if overslept_s > 2:  # Ctrl-Z, a debugger, a machine out of memory
            for each in self._services:
                each.forgive(overslept_s)
        self._receive()
        for each in self._services:
            each.hear()
            each.check(time.monotonic())
        if self._broker is not None:
            self._broker.check(time.monotonic())
        self._show_page()

    def _listen(self, wait_s: float) -> None:
        """Wait for a message, a signal, a line of a service."""
        outputs = {each.child.output for each in self._services if each.child is not None}
        for gone in self._outputs - outputs:
            self._poller.unregister(gone)
        for new in outputs - self._outputs:
            self._poller.register(new, zmq.POLLIN)
        self._outputs = outputs
        for readable, _ in self._poller.poll(math.ceil(wait_s * 1000)):
            if readable == self._woken.fileno():
                self._woken.recv(4096)

    def _receive(self) -> None:
        now = time.monotonic()
        services = {each.name: each for each in self._services}
        for row, message in self._subscriber.receive():
            if row.name == "health" and message.source in services:
                services[message.source].beat(message, now)
            elif row.name == "reading.event":
                self._log.event(message)

    def _show_page(self) -> None:
        try:
            page = socket_path(self._runtime, "overlay", "address").read_text().strip()
        except OSError:
            return
        if page and page != self._page:
            self._page = page
            self._log.say(f"Page        {page}", "bold")

    def _child(self, name: str) -> Child:
        return Child(name, self._environment)

    def _catch_signals(self) -> None:
        def stop(*_: object) -> None:
            self._signals.append(time.monotonic())

        self._woken.setblocking(False)
        self._waker.setblocking(False)
        signal.set_wakeup_fd(self._waker.fileno(), warn_on_full_buffer=False)
        self._poller.register(self._woken.fileno(), zmq.POLLIN)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, stop)
        signal.signal(signal.SIGCHLD, lambda *_: None)  # wakes the loop: a killed service is back at once

    def _hurried(self) -> bool:
        return len(self._signals) > 1 and self._signals[-1] - self._signals[0] > HURRY_AFTER_S

    def _stop(self) -> None:
        """Ask all to stop, wait for them, kill the rest."""
        if any(each.child is not None for each in self._services):
            self._log.say("Stopping …", "dim")
        for each in self._services:
            if each.child is not None:
                each.child.terminate()
        deadline = time.monotonic() + STOP_S
        patient = True
        while any(not stopped for stopped in [each.stopped() for each in self._services]):
            if patient and (time.monotonic() > deadline or self._hurried()):
                patient = False
                for each in self._services:
                    if each.child is not None:
                        self._log.say(f"{each.name} did not stop and is killed", "yellow")
                        each.child.kill()
            self._listen(0.05)
            for each in self._services:
                each.hear()
        signal.set_wakeup_fd(-1)
        self._subscriber.close()
        self._context.destroy(linger=0)
        self._woken.close()
        self._waker.close()


def run(
    load: Callable[[], Settings],
    *,
    source: str | None,
    port: int | None,
    broker_port: int | None,
    quiet: bool,
    verbose: bool,
) -> int:
    """Run the car. Raises ConfigError, and CannotStart where it can't even begin."""
    _override("SMARTCAR_CAPTURE__SOURCE", source)
    _override("SMARTCAR_OVERLAY__PORT", port)
    settings = load()
    log = ConsoleLog(quiet=quiet, verbose=verbose)
    runtime = settings.paths.runtime
    lock = _own(runtime)
    try:
        sweep(runtime)
        environment = dict(os.environ)
        log.say(f"Car         {settings.car.name}, looking at {settings.capture.source}", "bold")
        if port is None and "port" not in settings.overlay.model_fields_set and _taken(settings):
            log.say(f"Port {settings.overlay.port} is taken: the page gets another one.", "yellow")
            environment["SMARTCAR_OVERLAY__PORT"] = "0"
        broker = _broker(settings, broker_port, environment, log)
        try:
            log.say(f"Events      {subscribe_command(settings, broker)}", "bold")
            if broker is not None:
                log.say(
                    f"Broker      MQTT 3.1.1 on port {broker.port}, MQTT 5 on port {broker.port_5}", "bold"
                )
            exit_code = Supervisor(settings, environment, broker, log).run()
        finally:
            if broker is not None:
                broker.stop()
        sweep(runtime, keep_failures=exit_code != 0)
        return exit_code
    finally:
        lock.remove()


def _override(variable: str, value: object) -> None:
    if value is not None:
        os.environ[variable] = str(value)


def _own(runtime: Path) -> OwnerLock:
    try:
        runtime.mkdir(parents=True, exist_ok=True, mode=0o750)
        return OwnerLock(runtime / LOCK, "smartcar up")
    except AlreadyOwned as error:
        raise CannotStart(str(error)) from error
    except OSError as error:
        raise CannotStart(
            f"The folder {runtime} can't be used ({error.strerror}); give it to this user "
            f"or set paths.runtime."
        ) from error


def _taken(settings: Settings) -> bool:
    """Whether somebody listens where the page would."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.overlay.host, settings.overlay.port))
        except OSError:
            return True
    return False


def _broker(
    settings: Settings, wanted_port: int | None, environment: dict[str, str], log: ConsoleLog
) -> Broker | None:
    """The embedded broker, started, if there is to be one; the services are told about it."""
    if settings.mqtt.host:
        if wanted_port is not None:
            raise CannotStart(
                f"--broker-port is for the embedded broker, but mqtt.host is set to {settings.mqtt.host}; "
                f"leave one of them out."
            )
        return None
    broker = Broker.start(wanted_port, log)
    if broker is not None:
        environment.update(broker.environment())
    return broker
