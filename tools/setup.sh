#!/bin/sh
# Sets up the virtual environment in .venv, and the system packages that it needs.
#
#   sh tools/setup.sh          what the car needs to run
#   sh tools/setup.sh test     and what its tests need: Mosquitto, Chromium, linters
#   sh tools/setup.sh system   and what boots it with real systemd in a container
#   sh tools/setup.sh train    and TensorFlow, for training and its tests, in .venv-train
#   sh tools/setup.sh brokers  and brokers of others for tests/brokers, in .venv-brokers
#   sh tools/setup.sh ha       and Home Assistant for tests/homeassistant: 2024.12 where there is a Python 3.12, in
#                              .venv-ha-oldest, and the newest that the newest Python here runs, in .venv-ha
#   sh tools/setup.sh eye      and PyTorch, for training the eye and its tests, in .venv-eye
#
# Quick where nothing is to do, and needs no network then. PYTHON names another interpreter than python3.
set -eu
cd "$(dirname "$0")/.."
what=${1:-run}
venv=.venv
certificates=/etc/ssl/certs/ca-certificates.crt

say() { printf '%s\n' "setup: $*" >&2; }
stop() { say "$*"; exit 1; }
has() { command -v "$1" >/dev/null 2>&1; }

# --- the machine

[ "$(uname -s)" = Linux ] || stop "smartcar runs on Linux; this is $(uname -s)."
if [ "$(getconf LONG_BIT 2>/dev/null || echo 64)" != 64 ]; then
    stop "this is a 32-bit system, and smartcar needs a 64-bit one: install Raspberry Pi OS (64-bit)" \
        "and copy your data folder over."
fi
case $what in
    run | test | system | brokers | ha) ;;
    train) venv=.venv-train ;; # apart: the car and its tests don't need its 2 GB
    eye) venv=.venv-eye ;;
    *) stop "unknown: $what; say run, test, system, brokers, ha, train or eye." ;;
esac

# --- system packages

missing=
need() { # need PACKAGE COMMAND...: the package is missing where the command fails
    package=$1
    shift
    "$@" >/dev/null 2>&1 || missing="$missing $package"
}

recent_python() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11) or sys.maxsize < 2**32)' 2>/dev/null; }
can_make_venvs() { "$1" -c 'import ensurepip, venv'; }
has_library() { { ldconfig -p 2>/dev/null || /sbin/ldconfig -p; } | grep -qF "$1"; }
has_mosquitto() { has mosquitto || [ -x /usr/sbin/mosquitto ]; }
has_static_busybox() { [ -x /bin/busybox ] && ! ldd /bin/busybox; }
has_chromium() { has chromium || has chromium-browser || has google-chrome; }

find_python() { # sets `python` to the first interpreter that will do; empty where there is none
    for python in "${PYTHON:-}" "$venv/bin/python" python3 python3.13 python3.12 python3.11; do
        [ -n "$python" ] && recent_python "$python" && return
    done
    python=
}

install_packages() {
    has apt-get || stop "these packages are missing, please install them under the names they have here:$missing."
    as_root=
    if [ "$(id -u)" != 0 ]; then
        has sudo || stop "please let an administrator run: apt-get install$missing"
        as_root=sudo
        [ -t 0 ] || as_root='sudo -n'
    fi
    say "installing$missing${as_root:+ (sudo may ask for your password)}"
    # shellcheck disable=SC2086  # lists of words
    apt() { $as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0 "$@" </dev/null >&2; }
    # shellcheck disable=SC2086
    if ! apt install -y --no-install-recommends $missing >/dev/null 2>&1; then # perhaps the lists are old
        { apt update && apt install -y --no-install-recommends $missing; } \
            || stop "these packages can't be installed:$missing. See the lines above; is the network there?"
    fi
    missing=
}

find_python
if [ -z "$python" ]; then
    if has python3; then
        stop "$(python3 --version) is too old: smartcar needs Python 3.11 or later. Upgrade to Debian 12 or" \
            "Raspberry Pi OS (64-bit, Bookworm) or later, or name another interpreter: make PYTHON=/path/to/python"
    fi
    missing="$missing python3 python3-venv"
elif [ "$python" != "$venv/bin/python" ]; then
    # Debian parts venv from python3; another interpreter brings its own or has its own package.
    case $python in python3.*) need "$python-venv" can_make_venvs "$python" ;; *) need python3-venv can_make_venvs "$python" ;; esac
fi
need ca-certificates test -s "$certificates"
need libgl1 has_library libGL.so.1              # OpenCV's windows
need libglib2.0-0 has_library libgthread-2.0.so.0
if [ "$what" = system ]; then
    need systemd-container has systemd-nspawn
    need mmdebstrap has mmdebstrap
    need qemu-system-x86 has qemu-system-x86_64 # a machine with a camera, whose power can be cut
    need busybox-static has_static_busybox
    need qemu-user-static has qemu-aarch64-static # the Raspberry Pi's processor
    need kmod test -x /sbin/depmod
fi
if [ "$what" = brokers ]; then
    need rabbitmq-server test -x /usr/lib/rabbitmq/bin/rabbitmq-server
    need npm has npm
fi
if [ "$what" = test ] || [ "$what" = system ] || [ "$what" = brokers ] || [ "$what" = ha ]; then
    need mosquitto has_mosquitto
    need mosquitto-clients has mosquitto_pub
    need chromium has_chromium
    need xvfb has Xvfb
    need xdotool has xdotool
    need libatomic1 has_library libatomic.so.1 # Playwright's driver
fi
[ -z "$missing" ] || install_packages
[ -n "$python" ] || find_python
[ -n "$python" ] || stop "the system's Python is older than 3.11: upgrade to Debian 12 or Raspberry Pi OS (64-bit, Bookworm)."

# --- brokers of others

others=.venv-brokers
if [ "$what" = brokers ] && ! { [ -x $others/bin/amqtt ] && [ -d $others/node_modules/aedes ]; }; then
    say "installing aedes and amqtt in $others"
    { "$python" -m venv "$others" && "$others/bin/python" -m pip install -q 'amqtt>=0.12,<0.13' \
        && npm install --silent --no-audit --no-fund --prefix "$others" 'aedes@^1.2'; } </dev/null \
        || stop "aedes or amqtt can't be installed; see the lines above. Is the network there?"
fi

# --- Home Assistant

newest_python() { # prints the newest of these versions that is here; pyenv's count
    for version in "$@"; do
        for each in "$(command -v "python$version")" "${PYENV_ROOT:-$HOME/.pyenv}/versions/$version".*/bin/python; do
            [ -x "$each" ] && "$each" -c 'import ensurepip' 2>/dev/null && printf '%s\n' "$each" && return
        done
    done
    return 1
}

install_ha() { # install_ha VENV REQUIREMENT PYTHON-VERSION...
    home=$1 requirement=$2
    shift 2
    [ ! -e "$home/.smartcar" ] || return 0
    if ! chosen=$(newest_python "$@"); then
        say "no Python $* is here, so $requirement is not tested"
        return 0
    fi
    say "installing $requirement for $("$chosen" --version) in $home; this takes some minutes"
    "$chosen" -m venv --clear "$home" \
        && "$home/bin/python" -m pip install -q "$requirement" </dev/null \
        && "$home/bin/python" tests/homeassistant/requirements.py >"$home/requirements.txt" \
        && "$home/bin/python" -m pip install -q -r "$home/requirements.txt" </dev/null \
        && touch "$home/.smartcar" || stop "$requirement can't be installed; see the lines above. Is the network there?"
}

if [ "$what" = ha ]; then
    install_ha .venv-ha-oldest 'homeassistant~=2024.12.0' 3.12
    install_ha .venv-ha homeassistant 3.14 3.13
fi

# --- the virtual environment

kind=$what
case $what in system | brokers | ha) kind=test ;; esac # the same Python packages
stamp=$venv/.smartcar-$kind
wanted=$({ pwd; cat pyproject.toml requirements.lock tools/setup.sh; } | sha256sum)
if recent_python "$venv/bin/python" && [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ]; then
    exit 0
fi
if ! recent_python "$venv/bin/python" || ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
    say "making the virtual environment $venv with $("$python" --version)"
    "$python" -m venv --clear "$venv" || stop "$python can't make a virtual environment; see the lines above."
fi
say "installing Python packages; the first time this takes a few minutes"
extras=
case $kind in
    test) extras='[test]' ;;
    train) extras='[test,train]' ;;
    eye) extras='[test,eye]' ;;
esac
export PIP_USER=0 PIP_DISABLE_PIP_VERSION_CHECK=1
pip() { "$venv/bin/python" -m pip "$@" </dev/null; }
{
    pip install -q -c requirements.lock setuptools \
        && pip install -q -c requirements.lock --no-build-isolation --prefer-binary -e ".$extras"
} || stop "the Python packages can't be installed; see the lines above. Is the network there? Is the disk full?"
for done in run "$kind"; do printf '%s\n' "$wanted" >"$venv/.smartcar-$done"; done
