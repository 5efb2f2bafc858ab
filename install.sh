#!/bin/sh
# Puts smartcar on this machine, or a newer one in its place: sudo ./install.sh
#
#   --wheels FOLDER   take Python packages (.whl) and Debian packages (.deb) from there; needs no network
#   --broker          an MQTT broker on this machine, too: Mosquitto, with password and TLS
#   --page            open the page to the network, with TLS
#   --rollback        go back to the version before
#   --remove          remove it all; asks before data goes (--yes: don't ask)
#
# Asks nothing. Safe to repeat, and to interrupt: what runs goes on until the new version stands beside it. Python
# does the rest (tools/install): this script only brings the new version to where its own Python can.
set -eu
cd "$(dirname "$0")"
home=/opt/smartcar
certificates=/etc/ssl/certs/ca-certificates.crt

say() { printf '%s\n' "install: $*" >&2; }
stop() { say "$*"; exit 1; }

# --- what is asked

wheels=
broker=
built=yes # whether a version is to be built
rest=
while [ $# -gt 0 ]; do
    case $1 in
        --wheels)
            [ $# -gt 1 ] || stop "--wheels needs a folder."
            shift
            wheels=$(cd "$1" 2>/dev/null && pwd) || stop "there is no folder $1."
            ;;
        --broker) broker=yes rest="$rest $1" ;;
        --rollback | --remove) built= rest="$rest $1" ;;
        --page | --yes) rest="$rest $1" ;;
        -h | --help) sed -n '/^#   --/s/^# *//p' "$0"; exit 0 ;;
        *) stop "unknown: $1; sudo ./install.sh --help lists what there is." ;;
    esac
    shift
done

# --- the machine

[ "$(uname -s)" = Linux ] || stop "smartcar runs on Linux; this is $(uname -s)."
if [ "$(getconf LONG_BIT 2>/dev/null || echo 64)" != 64 ]; then
    stop "this is a 32-bit system, and smartcar needs a 64-bit one: install Raspberry Pi OS (64-bit)" \
        "and copy your data folder over."
fi
case $(uname -m) in
    x86_64 | aarch64) ;;
    *) stop "there are no packages for $(uname -m): smartcar needs a 64-bit ARM or x86 processor." ;;
esac
[ "$(id -u)" = 0 ] || stop "this needs root: sudo ./install.sh$rest"
[ -d /run/systemd/system ] || stop "systemd doesn't run here; try smartcar without installing it: make run"

if [ -z "$built" ]; then
    [ -x $home/current/bin/smartcar ] || stop "smartcar is not installed."
    # shellcheck disable=SC2086  # a list of words
    exec $home/current/bin/smartcar install $rest
fi

mkdir -p $home
exec 9>$home/.lock
flock -n 9 || stop "another installation runs; wait for it to end."

# --- system packages

missing=
need() { # need PACKAGE COMMAND...: the package is missing where the command fails
    package=$1
    shift
    "$@" >/dev/null 2>&1 || missing="$missing $package"
}

recent_python() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11) or sys.maxsize < 2**32)' 2>/dev/null; }
has_library() { ldconfig -p | grep -qF "$1"; }

find_python() { # sets `python` to the first interpreter that will do; services see none outside /usr
    for python in /usr/bin/python3 /usr/bin/python3.13 /usr/bin/python3.12 /usr/bin/python3.11 \
        /usr/local/bin/python3; do
        ! recent_python "$python" || return 0
    done
    python=
}

find_python
if [ -z "$python" ]; then
    ! command -v python3 >/dev/null || stop "$(python3 --version) is too old: smartcar needs Python 3.11 or" \
        "later. Install Raspberry Pi OS (64-bit, Bookworm) or later, and copy your data folder over."
    missing="$missing python3 python3-venv"
else
    case $python in
        /usr/bin/python3) need python3-venv "$python" -c 'import ensurepip, venv' ;;
        *) need "$(basename "$python")-venv" "$python" -c 'import ensurepip, venv' ;;
    esac
fi
case $python in
    "" | /usr/bin/python3) need python3-systemd /usr/bin/python3 -c 'import systemd.daemon, systemd.journal' ;;
    *) # Debian's is for its own Python alone: for another one it is built, once
        need libsystemd-dev pkg-config --exists libsystemd
        need pkg-config command -v pkg-config
        need gcc command -v gcc
        ;;
esac
need ca-certificates test -s $certificates
need libgl1 has_library libGL.so.1 # OpenCV
need libglib2.0-0 has_library libgthread-2.0.so.0
[ -z "$broker" ] || need mosquitto test -x /usr/sbin/mosquitto

apt() { DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=300 "$@" </dev/null >&2; }
if [ -n "$missing" ]; then
    command -v apt-get >/dev/null \
        || stop "these packages are missing, please install them under the names they have here:$missing."
    say "installing$missing"
    set --
    [ -z "$wheels" ] || for each in "$wheels"/*.deb; do [ ! -e "$each" ] || set -- "$@" "$each"; done
    if [ $# -gt 0 ]; then
        apt install -y --no-install-recommends "$@" >/dev/null \
            || stop "the packages in $wheels can't be installed; see the lines above."
    elif [ -n "$wheels" ]; then
        # shellcheck disable=SC2086
        apt install -y --no-install-recommends --no-download $missing >/dev/null 2>&1 \
            || stop "these packages are missing:$missing. Put them into $wheels, with what they depend on:" \
                "on a machine of the same system that has the network, apt-get download$missing"
    else
        # shellcheck disable=SC2086
        apt install -y --no-install-recommends $missing >/dev/null 2>&1 \
            || { apt update && apt install -y --no-install-recommends $missing; } \
            || stop "these packages can't be installed:$missing. See the lines above; is the network there?"
    fi
    [ -n "$python" ] || find_python
    [ -n "$python" ] || stop "the system's Python is older than 3.11: upgrade to Raspberry Pi OS (64-bit, Bookworm) or later."
fi

# --- the new version, in a folder of its own beside the one that runs

version=$(sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
digest=$({
    "$python" --version
    find docs messages models services systemd tools pyproject.toml requirements.lock README.md LICENSE \
        -type f ! -name '*.pyc' -print0 | LC_ALL=C sort -z | xargs -0 sha256sum
} | sha256sum | cut -c1-8)
new=$home/$version-$digest

if [ ! -e "$new/.complete" ]; then
    free=$(df -Pk $home | awk 'NR == 2 { print int($4 / 1024) }')
    [ "$free" -ge 900 ] || stop "$home has $free MB free, and a version needs 900 MB; make room, and try again."
    say "building smartcar $version in $new; the first time this takes a few minutes"
    sources=$(mktemp -d)
    clean() { rm -rf "$sources"; [ -e "$new/.complete" ] || rm -rf "$new"; }
    trap clean EXIT
    trap 'exit 1' HUP INT TERM
    rm -rf "$new"
    "$python" -m venv "$new" || stop "$python can't make a virtual environment; see the lines above."
    # In a copy, so that the checkout, which belongs to a user, stays as it is.
    cp -R docs messages models services systemd tools pyproject.toml README.md LICENSE "$sources"
    unset PIP_TARGET PIP_PREFIX PYTHONPATH PYTHONHOME
    export PIP_USER=0 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
    pip() { "$new/bin/python" -m pip "$@" </dev/null; }
    bring_systemd_python() { # Debian's, which its updates keep up to date; another Python gets its own, built here
        [ "$python" = /usr/bin/python3 ] || { pip install -q systemd-python; return; }
        bindings=$("$python" -c 'import os, systemd; print(os.path.dirname(systemd.__file__))') \
            && ln -s "$bindings" "$("$new/bin/python" -c 'import sysconfig; print(sysconfig.get_path("platlib"))')"
    }
    hint='Is the network there?'
    set -- # where pip takes packages from: words of their own, since a folder's name may hold blanks
    [ -z "$wheels" ] || { set -- --no-index --find-links "$wheels"; hint="Does $wheels hold them all (make wheels)?"; }
    {
        pip install -q "$@" -c requirements.lock 'setuptools>=77' \
            && pip wheel -q --no-index --no-deps --no-build-isolation -w "$sources" "$sources" \
            && pip install -q "$@" -c requirements.lock --prefer-binary "$sources"/smartcar-*.whl \
            && bring_systemd_python
    } || stop "the Python packages can't be installed; see the lines above. Is the disk full? $hint"
    sync -f "$new" 2>/dev/null || sync
    : >"$new/.complete"
    rm -rf "$sources"
    trap - EXIT HUP INT TERM
fi

# shellcheck disable=SC2086
exec "$new/bin/smartcar" install $rest
