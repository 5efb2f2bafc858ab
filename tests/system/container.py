"""A Debian in a container, booted with real systemd: a car to install on, to kill and to cut the power of.

Its root is made once with mmdebstrap and kept in `$XDG_CACHE_HOME/smartcar-test`; each machine is a layer
above it, in memory, and gone with the test. Needs root, systemd-nspawn and mmdebstrap.

`make test-system DEBIAN=trixie` takes Debian 13 in place of 12.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY, wait_for

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "smartcar-test"
DEBIAN = os.environ.get("DEBIAN") or "bookworm"
DEBIAN_PYTHON = {"bookworm": "3.11", "trixie": "3.13"}[DEBIAN]
PACKAGES = (
    "systemd", "systemd-sysv", "dbus", "python3", "python3-venv", "libgl1", "libglib2.0-0", "ca-certificates",
    "mosquitto", "iproute2", "procps", "python3-systemd",
)  # fmt: skip
_LEFT_OUT = ("/usr/share/man/*", "/usr/share/doc/*", "/usr/share/locale/*")
_CGROUPS = Path("/sys/fs/cgroup")
_HIERARCHIES = ("systemd", "unified", "devices", "pids", "cpu", "cpuacct")
BOOT_S = 120.0
_PR_SET_PDEATHSIG = 1
_FOLDER = "smartcar-system-"
CHECKOUT = "/home/pi/smartcar"
WHEELS = "/mnt/wheels"
_SOURCES = (
    "docs", "messages", "models", "services", "systemd", "tools", "install.sh", "pyproject.toml",
    "requirements.lock", "README.md", "LICENSE",
)  # fmt: skip


def why_not() -> str:
    """Why no container can be had here; empty where it can."""
    if os.geteuid() != 0:
        return "containers need root"
    missing = [name for name in ("systemd-nspawn", "mmdebstrap", "nsenter") if shutil.which(name) is None]
    return f"{', '.join(missing)} missing: sh tools/setup.sh system" if missing else ""


def debian() -> Path:
    """The root of a fresh Debian, made where there is none yet; never written to."""
    known = hashlib.sha256(" ".join((DEBIAN, *PACKAGES)).encode()).hexdigest()[:8]
    root = CACHE / f"{DEBIAN}-{known}"
    if not root.exists():
        half = CACHE / f"{root.name}.half-{os.getpid()}"
        words = ["mmdebstrap", "--quiet", "--mode=root", "--variant=minbase"]
        words += ["--aptopt=Acquire::Languages none"]
        words += [f"--dpkgopt=path-exclude={path}" for path in _LEFT_OUT]
        words += [f"--include={','.join(PACKAGES)}", DEBIAN, str(half), *_debian_sources()]
        CACHE.mkdir(parents=True, exist_ok=True)
        try:
            done = subprocess.run(words, capture_output=True, text=True, check=False)
            if done.returncode:
                pytest.fail(f"the root can't be made: {done.stderr[-2000:]}")
            for login in ("pi", "stranger"):
                subprocess.run(["chroot", half, "useradd", "-m", "-s", "/bin/bash", login], check=True)
            half.rename(root)
        finally:
            if half.exists():
                shutil.rmtree(half, ignore_errors=True)
    return root


def _debian_sources() -> list[str]:
    """This machine's own, where it is such a Debian: there it knows the way to the packages."""
    if f"VERSION_CODENAME={DEBIAN}" not in Path("/etc/os-release").read_text():
        return []
    return [
        str(path)
        for path in (Path("/etc/apt/sources.list"), Path("/etc/apt/sources.list.d/debian.sources"))
        if path.exists()
    ]


def wheels() -> Path:
    """A folder with the Python packages that an installation without network needs."""
    files = [(REPOSITORY / name).read_bytes() for name in ("pyproject.toml", "requirements.lock")]
    wanted = b"".join((DEBIAN_PYTHON.encode(), *files))
    folder = CACHE / f"wheels-{hashlib.sha256(wanted).hexdigest()[:8]}"
    if not folder.exists():
        half = Path(tempfile.mkdtemp(prefix="wheels.half-", dir=CACHE))
        words = ["sh", f"{REPOSITORY}/tools/install/wheels.sh", str(half), DEBIAN_PYTHON, os.uname().machine]
        environment = {**os.environ, "PIP_PYTHON": sys.executable}
        done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            shutil.rmtree(half, ignore_errors=True)
            pytest.fail(f"the wheels can't be had: {done.stderr[-2000:]}")
        half.rename(folder)
    return folder


class Container:
    """A machine above a root. `layers`: what lies below its own, the lowest first."""

    def __init__(self, layers: Sequence[Path], number: int) -> None:
        self.name = f"sc{os.getpid() % 100000}-{number}"
        self.booted = False
        self._folder = Path(tempfile.mkdtemp(prefix=f"{_FOLDER}{os.getpid()}-", dir="/tmp"))
        self.root = self._folder / "root"
        self.address = f"10.{200 + number % 50}.{os.getpid() % 250}.2"
        self._host_address = f"{self.address[:-1]}1"
        self._nspawn: subprocess.Popen[bytes] | None = None
        self._leader = 0
        self._groups: list[Path] = []
        _run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", self._folder)
        for name in ("own", "work", "root"):
            (self._folder / name).mkdir()
        below = ":".join(str(layer) for layer in reversed(layers))
        options = f"lowerdir={below},upperdir={self.layer},workdir={self._folder}/work"
        _run("mount", "-t", "overlay", "overlay", "-o", options, self.root)

    @property
    def layer(self) -> Path:
        """What this machine has changed."""
        return self._folder / "own"

    # power

    def boot(self) -> None:
        """Switch it on, and wait until systemd has started all it will."""
        words = ["systemd-nspawn", "--quiet", "-D", str(self.root), "-M", self.name]
        words += ["--kill-signal=SIGRTMIN+3", "--console=pipe", "--network-veth", "--link-journal=no"]
        words += ["--capability=CAP_BPF,CAP_PERFMON,CAP_NET_ADMIN", "--system-call-filter=bpf"]
        words += ["--resolv-conf=off", "--timezone=off"]
        words += [f"--bind-ro={wheels()}:{WHEELS}"]
        if not Path("/run/systemd/system").exists():
            words += ["--register=no", "--keep-unit"]
        remount = "for c in devices pids cpu cpuacct; do mount -o remount,bind,rw /sys/fs/cgroup/$c; done"
        words += ["/bin/sh", "-c", f"{{ {remount}; }} 2>/dev/null; exec /lib/systemd/systemd"]
        self._make_groups()
        console = (self._folder / "console").open("wb")
        self._nspawn = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=console, stderr=console, preexec_fn=self._enter_groups
        )
        console.close()
        self._leader = wait_for(self._find_leader, 20, "systemd in the container")
        try:
            wait_for(self._is_up, BOOT_S, "the boot")
        except pytest.fail.Exception as failure:
            jobs = self.run("systemctl", "list-jobs", "--no-pager", check=False).stdout
            said = self.run("journalctl", "-b", "-p", "5", "-n", "40", "--no-pager", check=False).stdout
            pytest.fail(f"{failure}\n{jobs}\n{said}")
        _run("ip", "address", "add", f"{self._host_address}/24", "dev", f"ve-{self.name}")
        _run("ip", "link", "set", f"ve-{self.name}", "up")
        self.run("ip", "address", "add", f"{self.address}/24", "dev", "host0")
        self.run("ip", "link", "set", "host0", "up")
        self.booted = True

    def shut_down(self) -> None:
        """Switch it off as one should."""
        self.run("systemctl", "poweroff", check=False)
        self._ended()

    def cut_power(self) -> None:
        """Switch it off as one should not."""
        assert self._nspawn is not None
        if self._leader:
            os.kill(self._leader, signal.SIGKILL)
        else:
            self._nspawn.kill()
        self._ended()

    def make_read_only(self) -> None:
        """All of its disk, for good. Only while it is switched off."""
        _run("mount", "-o", "remount,ro", self.root)

    def freeze(self) -> Path:
        """For good; what it has changed may now lie below others."""
        if self._nspawn is not None:
            self.shut_down()
        if self.root.is_mount():
            _run("umount", self.root)
        return self.layer

    def remove(self) -> None:
        """Leave nothing of it."""
        if self._nspawn is not None:
            self.cut_power()
        self.freeze()
        _run("umount", self._folder)
        self._folder.rmdir()

    # use

    def run(
        self, *words: str, check: bool = True, user: str = "", within_s: float = 120
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in it, as root or as another user; fails the test where it fails."""
        if user:
            words = ("runuser", "-l", user, "-c", " ".join(words))
        enter = ["nsenter", "-t", str(self._leader), "-m", "-u", "-i", "-n", "-p", "-C", "--wdns=/", "--"]
        done = subprocess.run(
            [*enter, *words],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=within_s,
            cwd="/",
            start_new_session=True,  # a signal to its group ends here
            env={"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"},
        )
        if check and done.returncode:
            pytest.fail(f"{' '.join(words)}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def log(self, unit: str, lines: int = 40) -> str:
        """The end of a unit's journal."""
        shown = self.run("journalctl", "-u", unit, "-o", "cat", "-n", str(lines), "--no-pager", check=False)
        return shown.stdout

    def says(self, unit: str, words: str) -> None:
        """Wait until the unit's journal holds these words: journald writes them after the unit's change."""
        wait_for(lambda: words in self.log(unit), what=f"{words!r} from {unit}")

    def shows(self, unit: str, what: str) -> str:
        """A property of a unit."""
        return self.run("systemctl", "show", "-p", what, "--value", unit).stdout.strip()

    def put_checkout(self, version: str = "") -> None:
        """Lay a checkout of this repository into pi's home, with another version number where wanted."""
        checkout = self.root / CHECKOUT[1:]
        shutil.rmtree(checkout, ignore_errors=True)
        checkout.mkdir()
        for name in _SOURCES:
            source = REPOSITORY / name
            if source.is_dir():
                shutil.copytree(source, checkout / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy2(source, checkout / name)
        if version:
            project = checkout / "pyproject.toml"
            text = project.read_text()
            start = text.index('version = "')
            end = text.index("\n", start)
            project.write_text(f'{text[:start]}version = "{version}"{text[end:]}')

    def _make_groups(self) -> None:
        """Control groups of its own, where this machine has those of version 1: else two would share them."""
        self._groups = [
            _CGROUPS / name / self.name
            for name in _HIERARCHIES
            if (_CGROUPS / name / "cgroup.procs").exists()
        ]
        for group in self._groups:
            group.mkdir(exist_ok=True)

    def _enter_groups(self) -> None:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # whatever ends the tests, it ends too
        for group in self._groups:
            (group / "cgroup.procs").write_text(str(os.getpid()))

    def _is_up(self) -> bool:
        state = self.run("systemctl", "is-system-running", check=False).stdout.strip()
        return state in ("running", "degraded")

    def _find_leader(self) -> int:
        assert self._nspawn is not None
        if self._nspawn.poll() is not None:
            pytest.fail(f"the container ended: {(self._folder / 'console').read_text(errors='replace')}")
        for child in Path(f"/proc/{self._nspawn.pid}/task/{self._nspawn.pid}/children").read_text().split():
            try:
                if Path(f"/proc/{child}/comm").read_text().strip() == "systemd":
                    return int(child)
            except OSError:
                pass
        return 0

    def _ended(self) -> None:
        assert self._nspawn is not None
        try:
            self._nspawn.wait(60)
        except subprocess.TimeoutExpired:
            self._nspawn.kill()
            self._nspawn.wait()
        self._nspawn, self._leader, self.booted = None, 0, False
        for group in self._groups:
            for folder, _, _ in os.walk(group, topdown=False):
                os.rmdir(folder)


@contextmanager
def container(*layers: Path, number: int = 1) -> Iterator[Container]:
    """A machine above Debian and `layers`, switched off; gone in the end.

    Those that run at the same time need different numbers.
    """
    _sweep()
    machine = Container([debian(), *layers], number)
    try:
        yield machine
    finally:
        machine.remove()


def _sweep() -> None:
    """Take away what tests left behind that were killed."""
    for folder in Path("/tmp").glob(f"{_FOLDER}*-*"):
        owner = folder.name.removeprefix(_FOLDER).partition("-")[0]
        if owner.isdigit() and not Path(f"/proc/{owner}").exists():
            for mounted in (folder / "root", folder):
                subprocess.run(["umount", "--quiet", mounted], check=False)
            try:
                folder.rmdir()
            except OSError:
                pass  # somebody looks at it; the next one takes it


def _run(*words: str | Path) -> None:
    done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.fail(f"{' '.join(str(word) for word in words)}: {done.stderr.strip()}")
