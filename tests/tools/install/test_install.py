"""Parts of the installer that need no machine of their own; tests/system installs for real."""

from __future__ import annotations

import grp
import os
import pwd
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
from tools.install import broker, people, sandbox, versions
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
        assert "Another installation runs" in other.stderr


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


def test_a_path_with_anything_in_it_reaches_systemd_whole(tmp_path: Path) -> None:
    """systemd itself says how it reads a path, where it takes offence at a `..` in it."""
    verify = shutil.which("systemd-analyze")
    if verify is None:
        pytest.skip("systemd is not installed")
    odd = [Path(f"/home/pi/../{name}") for name in ("100 % \\x", "a:b.mp4", 'it\'s "é"', "end\\")]
    unit = tmp_path / "test.service"
    unit.write_text(f"{sandbox.drop_in(odd)}ExecStart=/bin/true\n")
    said = subprocess.run([verify, "verify", unit], capture_output=True, text=True, check=False).stderr
    for path in odd:
        assert f": {path}\n" in said


@pytest.mark.parametrize("name", ["x\nExecStartPre=+/bin/touch", "x\r", "x\ty"])
def test_a_path_that_no_unit_can_name_is_refused(name: str) -> None:
    with pytest.raises(Problem, match="rename it"):
        sandbox.drop_in([Path("/home/pi") / name])


def test_a_folder_of_wheels_may_have_blanks_in_its_path(tmp_path: Path) -> None:
    """The lines of install.sh by which pip is told where packages are, with a pip that prints its words."""
    script = (REPOSITORY / "install.sh").read_text()
    lines = script[script.index("    hint='Is") : script.index("    sync -f")]
    stub = 'pip() { for each; do printf "%s\\n" "[$each]"; done; }; stop() { exit 1; }\n'
    stub += "bring_systemd_python() { :; }\n"
    setting = f'wheels="{tmp_path}/USB STICK/wheels"; sources={tmp_path}\n'
    for said in ("set -eu\n" + stub + setting + lines, "set -eu\n" + stub + "wheels=; sources=/x\n" + lines):
        words = subprocess.run(["sh", "-c", said], capture_output=True, text=True, check=True).stdout
        assert (f"[{tmp_path}/USB STICK/wheels]" in words) == ("USB" in said)
        assert words.count("[install]") == 2
        assert "[]" not in words


def test_a_broker_that_somebody_configured_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "conf.d").mkdir()
    monkeypatch.setattr(broker, "_MOSQUITTO", tmp_path)
    (tmp_path / "mosquitto.conf").write_text("pid_file /run/mosquitto.pid\n# listener 1883\n")
    assert not broker._listens(tmp_path / "mosquitto.conf")
    for text in ("listener 1884 0.0.0.0\n", "persistence true\n port 1884\n"):
        for file in (tmp_path / "mosquitto.conf", tmp_path / "conf.d" / "own.conf"):
            file.write_text(text)
            assert broker._listens(file)


def test_the_data_folder_is_made_and_no_link_in_its_owners_home_leads_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its owner may put links into the folder, and put a link in its place, while root goes through it."""
    home, elsewhere = tmp_path / "pi", tmp_path / "elsewhere"
    home.mkdir()
    elsewhere.mkdir()
    secret = elsewhere / "shadow"
    secret.write_text("secret")
    secret.chmod(0o600)
    owner = pwd.struct_passwd(("pi", "x", os.getuid(), os.getgid(), "", str(home), "/bin/sh"))
    group = grp.struct_group(("smartcar", "x", os.getgid(), []))
    monkeypatch.setattr(people, "COURSE_FOLDER", home / "course" / "data")
    monkeypatch.setattr(pwd, "getpwnam", lambda _: owner)
    monkeypatch.setattr(grp, "getgrnam", lambda _: group)
    assert people.make_data_folder() == home / "course" / "data"
    model = home / "course" / "data" / "model.h5"
    model.write_text("model")
    model.chmod(0o600)
    (home / "course" / "data" / "link").symlink_to(secret)
    people.make_data_folder()
    assert model.stat().st_mode & 0o777 == 0o640
    shutil.rmtree(home / "course")
    (home / "course").symlink_to(elsewhere)
    (elsewhere / "data").mkdir()
    (elsewhere / "data" / "key").write_text("secret")
    (elsewhere / "data" / "key").chmod(0o600)
    people.make_data_folder()
    assert secret.stat().st_mode & 0o777 == (elsewhere / "data" / "key").stat().st_mode & 0o777 == 0o600


def test_the_authority_signs_for_this_machine_and_signs_again_only_when_it_must(tmp_path: Path) -> None:
    certificate, key = tmp_path / "page.crt", tmp_path / "page.key"
    assert Authority(tmp_path, "car7").renew(certificate, key)
    assert not Authority(tmp_path, "car7").renew(certificate, key)
    assert (key.stat().st_mode & 0o777, (tmp_path / "ca.key").stat().st_mode & 0o777) == (0o600, 0o600)
    ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(certificate, key)
    trusting = ssl.create_default_context(cafile=str(tmp_path / "ca.crt"))
    assert trusting.get_ca_certs()
    Authority(tmp_path, "car7").renew(tmp_path / "other.crt", tmp_path / "other.key")
    shutil.copy(tmp_path / "other.key", key)  # a renewal was cut off between the two files
    assert Authority(tmp_path, "car7").renew(certificate, key)
    ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(certificate, key)
    for damaged in (certificate, key):
        damaged.write_text("nothing")
        assert Authority(tmp_path, "car7").renew(certificate, key)
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
