"""The systemd services of an installed car."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator

from services.catalogue import SERVICES
from tools.doctor.context import CheckContext
from tools.doctor.finding import Finding, error, ok, warning

TARGET = "smartcar.target"
MANY_RESTARTS = 5
_PROPERTIES = ("Id", "LoadState", "ActiveState", "SubState", "Result", "NRestarts", "UnitFileState")
_TIMEOUT_S = 10.0


def units(car: CheckContext) -> Iterator[Finding]:
    """Installed, enabled, active; failed or often restarted."""
    if not car.installed:
        how = "it runs under smartcar up" if car.running else "smartcar up runs it"
        yield ok(f"not installed as systemd services: {how}")
        return
    if shutil.which("systemctl") is None:
        yield error("the units are there, but systemctl is not", "install systemd, or run smartcar up")
        return
    states = _show([TARGET, *(unit_of(service) for service in SERVICES)])
    if not states:
        yield error("systemd doesn't answer", "see: systemctl status")
        return
    target = states.pop(TARGET, {"Id": TARGET})
    findings = list(_judge(target))
    if target.get("ActiveState") == "inactive":  # then the others are, too, unless they have failed
        states = {name: state for name, state in states.items() if state["ActiveState"] != "inactive"}
    findings += [finding for state in states.values() for finding in _judge(state)]
    yield from findings
    if not findings:
        yield ok(f"{len(states)} services and {TARGET} are active and start on boot")


def unit_of(service: str) -> str:
    """The unit's name."""
    return f"smartcar-{service}.service"


def _show(names: list[str]) -> dict[str, dict[str, str]]:
    """The properties of each unit; empty where systemd can't be asked."""
    try:
        answer = subprocess.run(
            ["systemctl", "show", "--no-pager", f"--property={','.join(_PROPERTIES)}", *names],
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return {}
    blocks = [block for block in answer.stdout.split("\n\n") if block.strip()]
    states = [dict(line.split("=", 1) for line in block.splitlines() if "=" in line) for block in blocks]
    return {state["Id"]: state for state in states if "Id" in state}


def _judge(state: dict[str, str]) -> Iterator[Finding]:
    name, active = state["Id"], state.get("ActiveState", "")
    load = state.get("LoadState", "")
    if load == "masked":
        yield warning(f"{name} is masked: switched off by hand", f"sudo systemctl unmask --now {name}")
        return
    if load != "loaded":
        yield error(f"{name} can't be loaded ({load})", "install again: sudo ./install.sh")
        return
    if active == "failed":
        yield error(
            f"{name} has failed ({state.get('Result', '')})",
            f"journalctl -u {name} -n 30 says why; then: sudo systemctl reset-failed {name} && "
            f"sudo systemctl start {name}",
        )
    elif active in ("activating", "reloading", "deactivating"):
        yield warning(f"{name} is {active} ({state.get('SubState', '')})", f"journalctl -fu {name} shows how")
    elif active != "active":
        yield error(f"{name} is {active}", f"sudo systemctl start {name}")
    if name == TARGET and state.get("UnitFileState") not in ("enabled", "enabled-runtime"):
        yield warning("the car doesn't start on boot", f"sudo systemctl enable {TARGET}")
    restarts = int(state.get("NRestarts") or 0)
    if restarts >= MANY_RESTARTS:
        yield warning(f"systemd has restarted {name} {restarts} times", f"journalctl -u {name} says why")
