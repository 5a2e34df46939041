#!/bin/sh
# Make a virtual environment at $2 with interpreter $1; installs Debian's python3-venv when Python comes without it.
set -eu
python=$1
venv=$2
[ -x "$venv/bin/pip" ] && exit 0
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "hapax needs Python 3.11 or newer; $python is $("$python" --version 2>&1). Try: make PYTHON=python3.12" >&2
    exit 1
}
if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    sudo=
    [ "$(id -u)" = 0 ] || sudo=sudo
    echo "installing python3-venv"
    $sudo apt-get update -qq
    $sudo apt-get install -y -qq python3-venv >/dev/null
fi
echo "creating $venv"
"$python" -m venv "$venv"
