"""One service as a child process: started, heard, signalled, reaped with all that it started itself."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[2]
_LONGEST_LINE = 64 << 10


class Child:
    """A running service. It has a session of its own, so that Ctrl-C reaches only its parent."""

    def __init__(self, name: str, environment: dict[str, str]) -> None:
        """Start it. Raises OSError where the system has no process left."""
        path = os.pathsep.join(filter(None, (str(_ROOT), environment.get("PYTHONPATH"))))
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "tools.up.service_process", name, str(os.getpid())],
            env={**environment, "PYTHONPATH": path},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        assert self._process.stdout is not None
        self._output = self._process.stdout
        os.set_blocking(self._output.fileno(), False)
        self._partial = b""

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def output(self) -> int:
        """The file descriptor to poll for what it says."""
        return self._output.fileno()

    def lines(self) -> list[str]:
        """What it has said since the last call, in whole lines."""
        try:
            while chunk := os.read(self._output.fileno(), 1 << 16):
                self._partial += chunk
                if len(self._partial) > _LONGEST_LINE and b"\n" not in self._partial:
                    self._partial += b"\n"
        except BlockingIOError:
            pass
        *whole, self._partial = self._partial.split(b"\n")
        return [line.decode(errors="replace").rstrip() for line in whole]

    def ended(self) -> int | None:
        """The exit code once it has ended, negative for a signal. What it started itself is killed then."""
        if self._process.returncode is not None:
            return self._process.returncode
        if os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            return None
        self.kill()  # while nobody else can have its number
        return self._process.wait()

    def terminate(self) -> None:
        if self._process.returncode is None:
            self._process.terminate()

    def kill(self) -> None:
        """End it, and what it started, at once."""
        if self._process.returncode is None:
            try:
                os.killpg(self.pid, signal.SIGKILL)
            except (ProcessLookupError, PermissionError):
                self._process.kill()  # it has no session of its own yet

    def close(self) -> None:
        self._output.close()
