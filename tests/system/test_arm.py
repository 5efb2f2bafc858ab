"""On the Raspberry Pi's processor, emulated: every package imports, and the recognizer reads the same.

The packages are those that `make wheels` fetches for a car without network; Python is Debian's own.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import REPOSITORY

QEMU = Path("/usr/bin/qemu-aarch64-static")
BUILT = REPOSITORY / "build" / "arm"
MIRROR = "http://deb.debian.org/debian"
PYTHONS = {"bookworm": ("3.11", "libglib2.0-0"), "trixie": ("3.13", "libglib2.0-0t64")}

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(
        not (QEMU.exists() and shutil.which("mmdebstrap") and os.getuid() == 0),
        reason="an arm64 root needs the packages qemu-user-static and mmdebstrap, and root",
    ),
]


@pytest.mark.parametrize("release", PYTHONS)
def test_the_wheels_import_and_the_recognizer_reads_as_on_this_machine(release: str) -> None:
    version, _ = PYTHONS[release]
    here = read([sys.executable])
    there = read(in_root(root(release)))
    assert there["machine"] == "aarch64"
    assert there["python"].startswith(f"{version}.")
    assert there["packages"].keys() == here["packages"].keys()
    assert there["golden"] == here["golden"]
    assert there["lines"] == here["lines"]
    assert len(there["lines"]) >= 4, "there was something to read"
    assert np.allclose(there["confidence"], here["confidence"], atol=1e-3), "the same crops, the same answer"
    for ours, theirs in zip(here["line_confidence"], there["line_confidence"], strict=True):
        assert np.allclose(theirs, ours, atol=0.05), "a picture is scaled and smoothed a little otherwise"


def root(release: str) -> Path:
    """Debian's files for arm64 with its Python, unpacked alone, and the car's packages; made once."""
    version, glib = PYTHONS[release]
    made = BUILT / release
    if (made / "done").exists():
        return made
    shutil.rmtree(made, ignore_errors=True)
    made.parent.mkdir(parents=True, exist_ok=True)
    packages = f"python3,libstdc++6,libgl1,{glib}"
    options = ["--quiet", "--mode=root", "--arch=arm64", "--variant=extract", f"--include={packages}"]
    run("mmdebstrap", *options, release, str(made), f"deb {MIRROR} {release} main")
    wheels = BUILT / f"wheels-{version}"
    run("sh", "tools/install/wheels.sh", str(wheels), version, "aarch64", PIP_PYTHON=sys.executable)
    for wheel in wheels.glob("*.whl"):
        zipfile.ZipFile(wheel).extractall(made / "packages")
    for name in ("bin", "lib", "sbin"):  # what setting up Debian 13 would have made
        if not (made / name).exists():
            (made / name).symlink_to(f"usr/{name}")
    shutil.copy(QEMU, made)
    (made / "done").touch()
    return made


def in_root(folder: Path) -> list[str]:
    """The start of a command that runs Python in there, the repository at its own path."""
    inside = f"{folder}{REPOSITORY}"
    script = (
        f"mkdir -p {inside} {folder}/proc {folder}/dev && mount --bind {REPOSITORY} {inside} && "
        f"mount --rbind /proc {folder}/proc && mount --rbind /dev {folder}/dev && cd {inside} && "
        f'exec chroot {folder} /{QEMU.name} -E PYTHONPATH=/packages:{REPOSITORY} /usr/bin/python3 "$@"'
    )
    return ["nice", "-n", "10", "unshare", "--mount", "sh", "-c", script, "sh"]


def read(python: list[str]) -> dict[str, Any]:
    printed = run(*python, "-B", "-m", "tests.system.arm_readings")
    return json.loads(printed.splitlines()[-1])  # type: ignore[no-any-return]


def run(*command: str, **environment: str) -> str:
    ran = subprocess.run(
        command, cwd=REPOSITORY, env=os.environ | environment, capture_output=True, text=True
    )
    assert ran.returncode == 0, f"{command[0]}: {ran.stderr[-3000:]}"
    return ran.stdout
