#!/bin/sh
# Installs what the test suite needs beside the Python packages: programs from the system's packages, and the JavaScript
# clients from npm. Does only what is missing, so that `make test` can call it every time.
set -eu

clients=$(CDPATH='' cd -- "$(dirname -- "$0")/../tests/clients" && pwd)
# Debian keeps servers where not every user's path looks for programs.
PATH=$PATH:/usr/sbin:/usr/local/sbin

missing=''
need() { # need PROGRAM PACKAGE
    command -v "$1" >/dev/null 2>&1 || missing="$missing $2"
}

need caddy caddy
need cc gcc
need chromium chromium
need curl curl
need jq jq
need openssl openssl
need nginx nginx
need node nodejs
need npm npm
need prometheus prometheus
need prometheus-alertmanager prometheus-alertmanager
need redis-server redis-server
# It verifies the units of deploy/systemd; the package has every other program of systemd that the tests call.
need systemd-analyze systemd
# Debian keeps the programs of each version in a folder of its own, which is on no user's path.
ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || need initdb postgresql
# To compile the gateway, beside the compiler: Debian ships Python without its headers.
if ! "${PYTHON:-python3}" -c 'import os, sysconfig, sys; sys.exit(not os.path.exists(sysconfig.get_path("include") + "/Python.h"))'; then
    missing="$missing libpython3-dev"
fi
# Debian ships Python without the module that fills a new venv with pip.
if ! "${PYTHON:-python3}" -c 'import ensurepip, venv' >/dev/null 2>&1; then
    missing="$missing python3-venv"
fi

if [ -n "$missing" ]; then
    if [ "$(id -u)" = 0 ]; then
        as_root=''
    elif command -v sudo >/dev/null 2>&1 && { sudo -n true 2>/dev/null || [ -t 0 ]; }; then
        as_root='sudo'
    else
        as_root='none'
    fi
    if [ "$as_root" = none ] || ! command -v apt-get >/dev/null 2>&1; then
        echo "setup-tests: the tests need programs that are not installed. As root, run:" >&2
        echo "    apt-get update && apt-get install --no-install-recommends$missing" >&2
        echo "(or the same packages from your system's own package manager), then try again." >&2
        exit 1
    fi
    echo "setup-tests: installing$missing"
    log=$(mktemp)
    policy=/usr/sbin/policy-rc.d
    policy_is_ours=''
    clean() {
        rm -f "$log"
        [ -z "$policy_is_ours" ] || $as_root rm -f "$policy"
    }
    trap clean EXIT
    trap 'exit 130' INT TERM
    quietly() {
        "$@" >"$log" 2>&1 || {
            cat "$log" >&2
            echo "setup-tests: failed: $*" >&2
            exit 1
        }
    }
    # shellcheck disable=SC2086  # both are lists of words, or nothing
    quietly $as_root apt-get update -qq
    # Programs are wanted, not services: this file is how Debian is told to start none. A machine that has one keeps it.
    if [ ! -e "$policy" ]; then
        policy_is_ours=yes
        printf '#!/bin/sh\nexit 101\n' | $as_root tee "$policy" >/dev/null
        $as_root chmod 755 "$policy"
    fi
    # shellcheck disable=SC2086
    quietly $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $missing
    # Both would want port 80 when the machine starts the next time.
    for service in caddy nginx; do
        case "$missing " in
            *" $service "*) ! command -v systemctl >/dev/null 2>&1 || quietly $as_root systemctl disable "$service" ;;
        esac
    done
fi

# npm writes this file last; an install that broke off has none.
installed="$clients/node_modules/.package-lock.json"
if [ ! -e "$installed" ] || [ "$clients/package-lock.json" -nt "$installed" ]; then
    echo "setup-tests: npm ci in tests/clients"
    # The system's npm may be older than the SDK asks for; it only unpacks, the Node it installs does the running.
    (cd "$clients" && npm ci --no-audit --no-fund --ignore-scripts --loglevel=error >/dev/null)
    touch "$installed"
fi
