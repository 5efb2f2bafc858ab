"""A Mosquitto to be measured: on a free port of loopback, for the length of a block."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tools.terminal.problems import Problem

STARTS_WITHIN_S = 10.0
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_SETTINGS = """\
user root
allow_anonymous true
persistence false
sys_interval 1
set_tcp_nodelay true
max_queued_messages 0
log_type error
listener {port} 127.0.0.1
"""


@dataclass(frozen=True)
class RunningBroker:
    """A broker, and what its processes on this machine have used; a cluster has several."""

    port: int
    pids: tuple[int, ...] = ()

    @property
    def processor_s(self) -> float:
        """Processor time until now."""
        return sum(processor_s(pid) for pid in self.pids)

    @property
    def peak_mb(self) -> float:
        """The most memory they had (RSS)."""
        lines = [line for pid in self.pids for line in Path(f"/proc/{pid}/status").read_text().splitlines()]
        return sum(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024


def processor_s(pid: int) -> float:
    """Processor time of a process until now, of all its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S


@contextmanager
def mosquitto() -> Iterator[RunningBroker]:
    """Raises Problem where it isn't installed."""
    # Debian keeps it out of an ordinary user's path.
    program = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if program is None:
        raise Problem("This needs Mosquitto, which is not installed here: `sudo apt install mosquitto`.")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    with tempfile.NamedTemporaryFile("w", prefix="smartcar-mosquitto-") as file:
        file.write(_SETTINGS.format(port=port))
        file.flush()
        process = subprocess.Popen([program, "-c", file.name], stderr=subprocess.PIPE)
        try:
            if not _listens(process, port):
                raise Problem(f"Mosquitto does not start: {_last_words(process)}.")
            yield RunningBroker(port, (process.pid,))
        finally:
            process.terminate()
            process.communicate()


def _listens(process: subprocess.Popen[bytes], port: int) -> bool:
    deadline = time.monotonic() + STARTS_WITHIN_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return True
    return False


def _last_words(process: subprocess.Popen[bytes]) -> str:
    process.kill()
    said = process.communicate()[1].decode(errors="replace").splitlines()
    return said[-1] if said else "it does not say why"
