"""Parts of the installer that need no machine of their own; tests/system installs for real."""

from __future__ import annotations

import re
import shutil
import ssl
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography import x509

from services.config import Settings
from tests.conftest import REPOSITORY
from tools.install import sandbox, versions
from tools.install.certificates import Authority
from tools.terminal.problems import Problem


def version(home: Path, name: str) -> Path:
    folder = home / name
    folder.mkdir()
    (folder / ".complete").touch()
    return folder


def test_a_version_in_force_remembers_the_one_before(tmp_path: Path) -> None:
    first, second, third = (version(tmp_path, name) for name in "123")
    assert versions.current(tmp_path) is versions.previous(tmp_path) is None
    for each in (first, second, second, third):
        versions.put_in_force(each, tmp_path)
    assert (versions.current(tmp_path), versions.previous(tmp_path)) == (third, second)
    versions.remove_old(tmp_path)
    assert not first.exists()
    assert second.exists()


def test_a_half_built_version_is_none(tmp_path: Path) -> None:
    half = version(tmp_path, "1")
    versions.put_in_force(half, tmp_path)
    (half / ".complete").unlink()
    assert versions.current(tmp_path) is None


def test_one_installation_at_a_time_but_helpers_may_share_the_lock(tmp_path: Path) -> None:
    with versions.locked(tmp_path) as outer:
        with versions.locked(tmp_path) as inner:  # the descriptor came down to it
            assert inner == outer
        held = "import sys; from pathlib import Path; from tools.install.versions import locked\n"
        held += "with locked(Path(sys.argv[1])): pass"
        words = [sys.executable, "-c", held, str(tmp_path)]
        other = subprocess.run(words, cwd=REPOSITORY, capture_output=True, text=True, check=False)
        assert "another installation runs" in other.stderr


def test_a_checkout_is_not_installed_from_within() -> None:
    with pytest.raises(Problem, match=r"sudo \./install\.sh"):
        versions.own()


@pytest.mark.parametrize(
    ("source", "network", "hidden"),
    [
        ("camera:", False, []),
        ("rtsp://10.0.0.7/live", True, []),
        ("folder:/home/pi/photos", False, ["/home/pi/photos"]),
        ("/srv/film.mp4", False, []),
        ("scene:7", False, []),
    ],
)
def test_a_sandbox_opens_as_far_as_the_source_asks(source: str, network: bool, hidden: list[str]) -> None:
    settings = Settings.model_validate({"capture": {"source": source}})
    assert sandbox.wants_network(settings) == network
    assert sandbox.hidden_paths(settings).get("capture", []) == [Path(path) for path in hidden]


def test_a_path_with_anything_in_it_reaches_systemd_whole() -> None:
    text = sandbox.drop_in([Path("/home/pi/100 % \\x")])
    assert "BindReadOnlyPaths=-/home/pi/100\\x20%%\\x20\\\\x" in text


def test_the_authority_signs_for_this_machine_and_signs_again_only_when_it_must(tmp_path: Path) -> None:
    certificate, key = tmp_path / "page.crt", tmp_path / "page.key"
    assert Authority(tmp_path, "car7").renew(certificate, key)
    assert not Authority(tmp_path, "car7").renew(certificate, key)
    assert (key.stat().st_mode & 0o777, (tmp_path / "ca.key").stat().st_mode & 0o777) == (0o600, 0o600)
    ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(certificate, key)
    trusting = ssl.create_default_context(cafile=str(tmp_path / "ca.crt"))
    assert trusting.get_ca_certs()
    names = x509.load_pem_x509_certificate(certificate.read_bytes()).extensions
    alternatives = names.get_extension_for_class(x509.SubjectAlternativeName).value
    assert "localhost" in alternatives.get_values_for_type(x509.DNSName)
    (tmp_path / "ca.key").unlink()  # another authority, as after `--remove`
    assert Authority(tmp_path, "car7").renew(certificate, key)


@pytest.mark.parametrize("script", ["install.sh", "tools/setup.sh", "tools/install/wheels.sh"])
def test_the_scripts_are_plain_posix_shell(script: str) -> None:
    dash = shutil.which("dash") or "sh"
    assert subprocess.run([dash, "-n", REPOSITORY / script], check=False).returncode == 0
    assert not re.search(r"\[\[|\bfunction\b|\blocal ", (REPOSITORY / script).read_text())
