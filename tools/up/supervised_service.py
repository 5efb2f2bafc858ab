"""One service under watch: started, restarted when it ends or hangs, given up when that doesn't help."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from signal import Signals

from messages.health import Heartbeat
from services.__main__ import EXIT_CANNOT_START
from services.supervision import FailureNote
from tools.observe.snapshot import FIRST_BEAT_S
from tools.up.child import Child
from tools.up.console_log import ConsoleLog, without_stamp
from tools.up.restarts import MAX_CRASHES, RestartPolicy

SILENT_S = 10.0
"""A process that hasn't beaten for so long hangs; before it is up, FIRST_BEAT_S holds."""
_INTERPRETER_NOISE = ("Traceback", "  File", "    ")


class SupervisedService:
    """A service and its process, if it has one now. Times are of time.monotonic()."""

    def __init__(self, name: str, runtime: Path, start: Callable[[str], Child], log: ConsoleLog) -> None:
        self.name = name
        self.child: Child | None = None
        self.failed = ""
        """Why it is not started again; empty while it is looked after."""
        self.due: float | None = 0.0
        """When it is to be started; None while it runs or is given up."""
        self._runtime = runtime
        self._start = start
        self._log = log
        self._policy = RestartPolicy()
        self._started = 0.0
        self._heard = 0.0
        self._up = False
        self._hung = False
        self._shown = ("", "")
        self._last_words = ""

    def start_if_due(self, now: float) -> Child | None:
        """Start its process if it is time to; the new process."""
        if self.due is None or now < self.due:
            return None
        self.due = None
        self._started = self._heard = now
        self._up = self._hung = False
        self._last_words = ""
        try:
            self.child = self._start(self.name)
        except OSError as error:
            self._last_words = f"no process can be started: {error.strerror}"
            self._again_or_never(1, now)
        return self.child

    def beat(self, heartbeat: Heartbeat, now: float) -> None:
        if self.child is None or heartbeat.pid != self.child.pid:
            return  # the last words of the one before
        self._heard = now
        self._up = self._up or heartbeat.state != "starting"
        shown = (heartbeat.state, heartbeat.reason)
        if shown != self._shown and heartbeat.state not in ("starting", "stopped"):
            self._shown = shown
            self._log.state(self.name, *shown, when=heartbeat.wall_time)

    def hear(self) -> None:
        """Pass on what the process has written."""
        if self.child is None:
            return
        for line in self.child.lines():
            if line.strip() and not line.startswith(_INTERPRETER_NOISE):
                self._last_words = without_stamp(line)
            self._log.log(self.name, line)

    def check(self, now: float) -> None:
        """Kill the process if it hangs, and see to it if it has ended."""
        if self.child is None:
            return
        silent_s = now - self._heard
        if silent_s > (SILENT_S if self._up else FIRST_BEAT_S) and not self._hung:
            self._hung = True
            self._log.state(self.name, "degraded", f"silent for {silent_s:.0f} s; it is killed and restarted")
            self.child.kill()
        if self.child.ended() is not None:
            self._bury(now)

    def forgive(self, pause_s: float) -> None:
        """We were stopped ourselves for so long and heard nobody."""
        self._heard += pause_s

    def stopped(self) -> bool:
        """Whether its process has ended, during the stop of all."""
        if self.child is not None and self.child.ended() is not None:
            self.hear()
            self.child.close()
            self.child = None
        self.due = None
        return self.child is None

    def _bury(self, now: float) -> None:
        assert self.child is not None
        self.hear()
        exit_code = self.child.ended()
        assert exit_code is not None
        self.child.close()
        self.child = None
        self._shown = ("", "")
        self._again_or_never(exit_code, now)

    def _again_or_never(self, exit_code: int, now: float) -> None:
        note = FailureNote.read(self._runtime, self.name)
        if exit_code == EXIT_CANNOT_START:
            self._give_up(note.reason if note else self._last_words or "it can't start; see its log")
            return
        why = _why(exit_code, self._hung, self._last_words)
        pause_s = self._policy.pause_after(exit_code, now - self._started, now, hung=self._hung)
        if pause_s is None:
            reason = f"ended more than {MAX_CRASHES} times within a minute and is not started again: {why}"
            FailureNote.write(self._runtime, self.name, reason)
            self._give_up(reason)
            return
        self.due = now + pause_s
        self._log.state(self.name, "degraded", f"{why}; it starts again in {pause_s:g} s")

    def _give_up(self, reason: str) -> None:
        self.failed = reason
        self._log.state(self.name, "failed", reason)


def _why(exit_code: int, hung: bool, last_words: str) -> str:
    if hung:
        return "it hung"
    if exit_code < 0:
        try:
            return f"killed by {Signals(-exit_code).name}"
        except ValueError:
            return f"killed by signal {-exit_code}"
    if exit_code == 0:
        return "it ended by itself"
    return last_words or f"it ended with exit code {exit_code}"
