"""A virtual machine: Debian's kernel, this machine's own files seen read-only, a disk of its own, a shell.

It is emulated in software, so it runs anywhere, slowly. Its kernel has the driver `vivid`: a real Video4Linux
camera that can be plugged in, pulled out and made to fail. Killed, it is a machine whose power was cut.
"""

from __future__ import annotations

import gzip
import os
import re
import shutil
import socket
import stat
import subprocess
import time
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

BUILT = REPOSITORY / "build" / "vm"
BUSYBOX = Path("/bin/busybox")
MODULES = ("virtio_pci", "9pnet_virtio", "9p", "overlay", "virtio_blk", "virtio_console", "ext4")
BOOT_S = 60.0
COMMAND_S = 180.0
_DONE = re.compile(rb"\x1e(\d+)\x1e")

_FIRST = """#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev
for module in /modules/*.ko; do insmod $module; done
mount -t 9p -o trans=virtio,version=9p2000.L,msize=1048576,ro,cache=loose host /mnt/host
mount -t tmpfs tmpfs /mnt/own; mkdir /mnt/own/upper /mnt/own/work
mount -t overlay -o lowerdir=/mnt/host,upperdir=/mnt/own/upper,workdir=/mnt/own/work overlay /new
cp /second /new/second; mount --move /dev /new/dev
exec switch_root /new /bin/sh /second
"""
_SECOND = """export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t cgroup2 cgroup /sys/fs/cgroup
for folder in /run /tmp /dev/shm; do mkdir -p $folder; mount -t tmpfs tmpfs $folder; done
mkdir -p /lib/modules /disk
mount -t 9p -o trans=virtio,version=9p2000.L,ro modules /lib/modules
if [ -b /dev/vda ]; then mount -t ext4 /dev/vda /disk; fi
ip link set lo up
cd {repository}
for port in /sys/class/virtio-ports/*; do ln -s ${{port##*/}} /dev/$(cat $port/name); done
while :; do setsid sh <>/dev/shell >&0 2>&1; sleep 0.1; done
"""


def missing() -> str:
    """What this machine lacks for it, in a sentence; empty where nothing."""
    for what, package in (
        (shutil.which("qemu-system-x86_64"), "qemu-system-x86"),
        (BUSYBOX.exists() or None, "busybox-static"),
        (shutil.which("depmod", path="/sbin:/usr/sbin"), "kmod"),
        (shutil.which("mkfs.ext4", path="/sbin:/usr/sbin"), "e2fsprogs"),
    ):
        if what is None:
            return f"a virtual machine needs the package {package}"
    return "only root can offer this machine's files to a virtual one" if os.getuid() else ""


class Kernel:
    """Debian's kernel and its modules, taken from the package; nothing of it is installed here."""

    def __init__(self) -> None:
        self.folder = BUILT / "kernel"
        if not (self.folder / "done").exists():
            self._fetch()
        [self.image] = (self.folder / "boot").glob("vmlinuz-*")
        self.version = self.image.name.removeprefix("vmlinuz-")
        self.modules = self.folder / "lib" / "modules"
        self.initrd = BUILT / "initrd.gz"
        self.initrd.write_bytes(gzip.compress(self._initrd(), 1))

    def _fetch(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        depends = _run("apt-cache", "depends", "linux-image-amd64")
        [package] = re.findall(r"Depends: (linux-image-\S+-amd64)", depends)
        _run("apt-get", "download", package, cwd=self.folder)
        [archive] = self.folder.glob("*.deb")
        _run("dpkg-deb", "-x", str(archive), str(self.folder))
        archive.unlink()
        [modules] = (self.folder / "lib" / "modules").iterdir()
        _run("/sbin/depmod", "-b", str(self.folder), modules.name)
        (self.folder / "done").touch()

    def _initrd(self) -> bytes:
        """The first files: a shell, the modules that reach the others, and what to do with them."""
        archive = Archive()
        for folder in ("bin", "proc", "sys", "dev", "mnt", "mnt/host", "mnt/own", "new", "modules"):
            archive.add(folder, b"", stat.S_IFDIR | 0o755)
        archive.add("bin/busybox", BUSYBOX.read_bytes())
        archive.add("init", _FIRST.encode())
        archive.add("second", _SECOND.format(repository=REPOSITORY).encode())
        for number, module in enumerate(self._needed(MODULES)):
            archive.add(f"modules/{number:02}.ko", module.read_bytes())
        return archive.bytes()

    def _needed(self, names: tuple[str, ...]) -> list[Path]:
        """The modules' files in the order in which they can be loaded."""
        files: dict[str, None] = {}
        for name in names:
            shown = _run("/sbin/modprobe", "-d", str(self.folder), "-S", self.version, "--show-depends", name)
            files.update(dict.fromkeys(re.findall(r"insmod (\S+)", shown)))
        return [Path(file) for file in files]


class Archive:
    """Files in the format that a kernel unpacks at its start: cpio, "newc"."""

    def __init__(self) -> None:
        self._written = bytearray()
        self._number = 0

    def add(self, name: str, content: bytes, mode: int = stat.S_IFREG | 0o755) -> None:
        self._number += 1
        fields = (self._number, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name) + 1, 0)
        self._written += b"070701" + b"".join(b"%08X" % field for field in fields)
        self._pad(name.encode() + b"\0", 6 + 8 * len(fields))
        self._pad(content, 0)

    def _pad(self, content: bytes, before: int) -> None:
        self._written += content + bytes(-(before + len(content)) % 4)

    def bytes(self) -> bytes:
        self.add("TRAILER!!!", b"", 0)
        return bytes(self._written)


class Machine:
    """One virtual machine; `boot` it, `run` commands in it, `cut` its power, boot it again."""

    def __init__(self, kernel: Kernel, folder: Path, disk_mb: int = 0, memory_mb: int = 1024) -> None:
        self._kernel, self._folder, self._memory_mb = kernel, folder, memory_mb
        self._disk = folder / "disk.img"
        if disk_mb:
            with self._disk.open("wb") as disk:
                disk.truncate(disk_mb << 20)
            _run("/sbin/mkfs.ext4", "-q", "-E", "lazy_itable_init=0", str(self._disk))
        self._process: subprocess.Popen[bytes] | None = None
        self._shell: socket.socket
        self._lines: socket.socket
        self._said = b""

    def boot(self) -> None:
        """Start it, and wait until its shell answers."""
        command = ["nice", "-n", "10", "qemu-system-x86_64", "-M", "q35", "-cpu", "max"]
        command += ["-accel", "tcg,thread=multi", "-m", str(self._memory_mb), "-smp", "2"]
        command += ["-nodefaults", "-no-reboot", "-display", "none", "-device", "virtio-rng-pci"]
        command += ["-kernel", str(self._kernel.image), "-initrd", str(self._kernel.initrd)]
        command += ["-append", "console=ttyS0 panic=1 loglevel=5"]
        command += ["-serial", f"file:{self._folder / 'console.log'}"]
        command += ["-device", "virtio-serial-pci"]
        for name in ("shell", "lines"):
            command += ["-chardev", f"socket,id={name},path={self._folder / name},server=on,wait=off"]
            command += ["-device", f"virtserialport,chardev={name},name={name}"]
        for tag, path in (("host", Path("/")), ("modules", self._kernel.modules)):
            shared = f"local,id={tag},path={path},security_model=none,readonly=on,multidevs=remap"
            command += ["-fsdev", shared, "-device", f"virtio-9p-pci,fsdev={tag},mount_tag={tag}"]
        if self._disk.exists():
            command += ["-drive", f"file={self._disk},format=raw,if=virtio,cache=writeback"]
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        self._shell, self._lines = (self._connect(name) for name in ("shell", "lines"))
        self._said = b""
        deadline = time.monotonic() + BOOT_S
        while True:
            self._shell.sendall(b"\nprintf \\\\036%d\\\\036 0\n")  # no quotes: half of it may get lost
            try:
                self._answer(2.0)
                break
            except TimeoutError:
                if time.monotonic() > deadline:
                    pytest.fail(f"the virtual machine didn't boot: {self.console()[-2000:]}")
        self.run("true")  # takes what is left of earlier answers

    def run(self, command: str, within_s: float = COMMAND_S) -> str:
        """What the command printed. Fails the test where it fails."""
        code, text = self.call(command, within_s)
        if code:
            pytest.fail(f"in the virtual machine: {command}: exit code {code}: {text}")
        return text

    def call(self, command: str, within_s: float = COMMAND_S) -> tuple[int, str]:
        """(exit code, what it printed)"""
        mark = os.urandom(6).hex()
        self._shell.sendall(f"echo {mark}; {{ {command}\n}}; printf '\\036%d\\036' $?\n".encode())
        while True:
            code, text = self._answer(within_s)
            if mark.encode() in text:  # else it is the answer to a line that asked whether it was there
                return code, text.partition(mark.encode())[2].decode("utf-8", "replace").strip()

    def start(self, name: str, command: str) -> None:
        """Run it beside the shell; its process id in /run/NAME.pid, what it prints in /run/NAME.log."""
        self.run(f"setsid {command} >/run/{name}.log 2>&1 </dev/null & echo $! >/run/{name}.pid")

    def lines(self, within_s: float) -> list[bytes]:
        """Whole lines that came from the machine's /dev/lines since; waits for one at most so long."""
        self._lines.settimeout(within_s)
        try:
            self._pending = getattr(self, "_pending", b"") + self._lines.recv(1 << 16)
        except TimeoutError:
            return []
        *lines, self._pending = self._pending.split(b"\n")
        return [line for line in lines if line]

    def cut(self) -> None:
        """The power goes, at once."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
            self._shell.close()
            self._lines.close()
            self._pending = b""

    def console(self) -> str:
        return (self._folder / "console.log").read_text(errors="replace")

    def _connect(self, name: str) -> socket.socket:
        deadline = time.monotonic() + 20
        while True:
            connection = socket.socket(socket.AF_UNIX)
            try:
                connection.connect(str(self._folder / name))
                return connection
            except OSError:
                connection.close()
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)

    def _answer(self, within_s: float) -> tuple[int, bytes]:
        deadline = time.monotonic() + within_s
        while (done := _DONE.search(self._said)) is None:
            self._shell.settimeout(max(0.01, deadline - time.monotonic()))
            piece = self._shell.recv(1 << 16)
            if not piece:
                pytest.fail(f"the virtual machine ended: {self.console()[-2000:]}")
            self._said += piece
        text, self._said = self._said[: done.start()], self._said[done.end() :]
        return int(done[1]), text


def _run(*command: str, cwd: Path | None = None) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True, cwd=cwd).stdout
