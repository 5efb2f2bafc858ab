#!/bin/sh
# Fills a folder with all Python packages that `sudo ./install.sh --wheels FOLDER` needs on a car without network:
#
#   sh tools/install/wheels.sh FOLDER [PYTHON [MACHINE]]     such as: sh tools/install/wheels.sh wheels 3.13 aarch64
#
# Runs on any machine with Python and the network. By default for Raspberry Pi OS (64-bit, Bookworm).
set -eu
cd "$(dirname "$0")/../.."
folder=${1:?where to? sh tools/install/wheels.sh FOLDER [PYTHON [MACHINE]]}
python=${2:-3.11}
machine=${3:-aarch64}

# pip knows what fits by its platform alone: all those that run on Debian 12 (glibc 2.36).
platforms="--platform linux_$machine --platform manylinux2014_$machine"
minor=36
while [ $minor -ge 5 ]; do
    platforms="$platforms --platform manylinux_2_${minor}_$machine"
    minor=$((minor - 1))
done
# pip takes no project for another machine, only its requirements.
requirements=$(mktemp)
trap 'rm -f "$requirements"' EXIT
"${PIP_PYTHON:-python3}" -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["dependencies"], sep="\n")' \
    >"$requirements"
# shellcheck disable=SC2086  # lists of words
"${PIP_PYTHON:-python3}" -m pip download -q --dest "$folder" --only-binary :all: -c requirements.lock \
    --python-version "$python" --implementation cp --abi "cp$(echo "$python" | tr -d .)" --abi abi3 --abi none \
    $platforms -r "$requirements" 'setuptools>=77'
