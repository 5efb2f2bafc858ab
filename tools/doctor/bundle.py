"""What a bug report needs, in one file, without secrets."""

from __future__ import annotations

import io
import json
import platform
import re
import subprocess
import tarfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

from services.capture.source_address import public_address, without_login
from services.catalogue import SERVICES
from services.config import Settings
from services.config_file import as_toml
from services.supervision import FailureNote
from tools.doctor.context import CheckContext
from tools.doctor.permissions import secret_files
from tools.terminal.output_file import write_output

REMOVED = "(removed)"
JOURNAL_LINES = 2000
_TIMEOUT_S = 20.0
_SHORTEST_SECRET = 4
"""What is shorter isn't looked for in other texts: it would be found everywhere."""
_LOGIN = re.compile(r"(\w+://)[^\s/@]+@")
_NAMED = re.compile(
    r"(?i)\b(token|password|passwd|pwd|pass|secret|passphrase|auth)(['\"]?\s*[=:]\s*['\"]?)[^\s'\",&]+"
)
_KEY = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL)


def write(path: Path, car: CheckContext, found: Sequence[dict[str, str]]) -> None:
    """Write the archive `path` (.tar.gz), readable by its owner alone. Raises Problem."""
    redact = Redaction(car)
    files = {
        "doctor.jsonl": "".join(json.dumps(entry, ensure_ascii=False) + "\n" for entry in found),
        "status.json": json.dumps(car.snapshot.as_dict(), ensure_ascii=False, indent=1),
        "settings.toml": as_toml(_harmless(car.settings), explain=False),
        "versions.txt": _versions(),
        "failures.json": json.dumps(_failures(car), ensure_ascii=False, indent=1),
        "folders.txt": _folders(car),
        "units.txt": _output("systemctl", "status", "--no-pager", "--lines=0", "smartcar*"),
        "journal.txt": _output(
            "journalctl", "--no-pager", "-o", "short-iso", f"--lines={JOURNAL_LINES}", "-u", "smartcar-*"
        ),
    }
    name = path.name.removesuffix(".tar.gz").removesuffix(".tgz")
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for file, content in files.items():
            if content:
                _add(archive, f"{name}/{file}", redact(content).encode(errors="replace"))
    write_output(path, packed.getvalue(), mode=0o600)


class Redaction:
    """Takes out of a text what this car keeps secret, wherever it stands, and what looks like a secret."""

    def __init__(self, car: CheckContext) -> None:
        secrets: set[str] = set()
        sources = (car.settings.capture.source, *car.settings.capture.sources.values())
        self._addresses = {
            _tail(without_login(source)): _tail(public_address(source))
            for source in sources
            if "://" in source
        }
        for path in secret_files(car).values():
            try:
                lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
            except OSError:
                continue  # not there, or not this user's to read; then it can't stand anywhere through us
            secrets.update(line.strip() for line in lines)
        for source in sources:
            login = source.partition("://")[2].partition("/")[0].rpartition("@")[0]
            secrets.update((login, login.partition(":")[2]))
        self._secrets = sorted(
            (secret for secret in secrets if len(secret) >= _SHORTEST_SECRET), key=len, reverse=True
        )

    def __call__(self, text: str) -> str:
        for address, public in self._addresses.items():
            text = text.replace(address, public)
        for secret in self._secrets:
            text = text.replace(secret, REMOVED)
        text = _LOGIN.sub(rf"\1{REMOVED}@", text)
        text = _NAMED.sub(rf"\1\2{REMOVED}", text)
        return _KEY.sub(REMOVED, text)


def _tail(url: str) -> str:
    return url.partition("://")[2]


def _harmless(settings: Settings) -> Settings:
    """The settings without logins."""
    capture = settings.capture.model_copy(
        update={
            "source": public_address(settings.capture.source),
            "sources": {name: public_address(source) for name, source in settings.capture.sources.items()},
        }
    )
    login = {"username": REMOVED} if settings.mqtt.username else {}
    return settings.model_copy(update={"capture": capture, "mqtt": settings.mqtt.model_copy(update=login)})


def _versions() -> str:
    packages = sorted(f"{each.name} {each.version}" for each in metadata.distributions() if each.name)
    return "\n".join(
        (f"Python {platform.python_version()}", platform.platform(), *dict.fromkeys(packages), "")
    )


def _failures(car: CheckContext) -> dict[str, Any]:
    notes = {name: FailureNote.read(car.settings.paths.runtime, name) for name in SERVICES}
    return {name: asdict(note) for name, note in notes.items() if note is not None}


def _folders(car: CheckContext) -> str:
    """What lies where: mode, owner, size, age and name, no content."""
    lines = []
    for top in (car.settings.paths.runtime, car.settings.paths.state, car.settings.inbox):
        for path in sorted((top, *top.rglob("*"))):
            try:
                status = path.lstat()
            except OSError:
                continue
            age_s = time.time() - status.st_mtime
            owner = f"{status.st_uid}:{status.st_gid}"
            lines.append(f"{status.st_mode:o} {owner} {status.st_size:>10} {age_s:>10.0f} s {path}\n")
    return "".join(lines)


def _output(*command: str) -> str:
    """What a program prints; empty where there is none."""
    try:
        return subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=_TIMEOUT_S, check=False
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mtime, entry.mode = len(content), int(time.time()), 0o600
    archive.addfile(entry, io.BytesIO(content))
