"""
Other people's gateways and proxies, each routing chat completions to the provider and doing no more than it must.

All are set up alike: one worker, no access log, kept-alive HTTP/1.1 to the provider, streams passed on as they come.
`scripts/setup-peers.sh` installs them; this only starts them. What they are asked and what they need is in `measures`.
"""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from bench.subjects import ROOT, StartError, Subject, free_port

INSTALLED = ROOT / ".peers"
PORTKEY = "portkey/node_modules/@portkey-ai/gateway/"
SERVERS = "/usr/sbin:/usr/local/sbin"
"""Where Debian keeps servers, which is not on every user's path."""

# A peer is not kept from taking as many connections as the gateway, and lets none go while it is measured.
ENVOY = """\
static_resources:
  listeners:
  - address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: bench
          codec_type: HTTP1
          stream_idle_timeout: 0s
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes:
              - match: {{path: /v1/chat/completions}}
                route: {{cluster: provider, timeout: 0s}}
          http_filters:
          - name: envoy.filters.http.router
            typed_config: {{"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}
  clusters:
  - name: provider
    type: STATIC
    connect_timeout: 5s
    circuit_breakers:
      thresholds:
      - {{max_connections: 100000, max_pending_requests: 100000, max_requests: 100000}}
    load_assignment:
      cluster_name: provider
      endpoints:
      - lb_endpoints:
        - endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {upstream_port}}}}}}}
"""
NGINX = """\
daemon off;
master_process off;
worker_processes 1;
worker_rlimit_nofile {descriptors};
pid {scratch}/nginx.pid;
error_log stderr warn;
events {{ worker_connections {descriptors}; }}
http {{
  access_log off;
  keepalive_requests 1000000000;
  client_body_temp_path {scratch}/nginx-body;
  proxy_temp_path {scratch}/nginx-proxy;
  fastcgi_temp_path {scratch}/nginx-fastcgi;
  uwsgi_temp_path {scratch}/nginx-uwsgi;
  scgi_temp_path {scratch}/nginx-scgi;
  upstream provider {{
    server 127.0.0.1:{upstream_port};
    keepalive 1024;
    keepalive_requests 1000000000;
  }}
  server {{
    listen 127.0.0.1:{port} backlog=2048;
    location = /v1/chat/completions {{
      proxy_pass http://provider;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_buffering off;
      proxy_read_timeout 600s;
    }}
  }}
}}
"""
HAPROXY = """\
global
  nbthread 1
  maxconn 8000
defaults
  mode http
  option http-keep-alive
  option http-no-delay
  http-reuse always
  timeout connect 5s
  timeout client 600s
  timeout server 600s
frontend clients
  bind 127.0.0.1:{port} backlog 2048
  http-request deny unless {{ path /v1/chat/completions }}
  default_backend provider
backend provider
  server one 127.0.0.1:{upstream_port}
"""
LITELLM = """\
model_list:
- model_name: "*"
  litellm_params: {{model: "openai/*", api_base: "{upstream}/v1", api_key: none}}
litellm_settings: {{telemetry: false, num_retries: 0, request_timeout: 600}}
"""

Start: TypeAlias = Callable[[str, int, Path], Subject]


@dataclass(frozen=True, slots=True)
class Peer:
    """One of them."""

    name: str
    start: Start
    """Given the provider's URL, a core, and a directory for what it writes."""
    version: Callable[[], str]
    """Raises `StartError` when it is not installed."""
    slow: bool = False
    """Needs twenty times as much as the others or more: it is measured alone, and with few streams."""


def envoy(upstream: str, core: int, scratch: Path) -> Subject:
    """Envoy, routing only."""
    port = free_port()
    config = scratch / "envoy.yaml"
    config.write_text(ENVOY.format(port=port, upstream_port=_port(upstream)))
    # Hot restart would claim a name in shared memory that another Envoy may hold.
    command = [_envoy(), "--config-path", str(config), "--concurrency", "1", "--disable-hot-restart", "-l", "error"]
    return Subject("envoy", command, {core}, scratch / "envoy.log", port)


def nginx(upstream: str, core: int, scratch: Path) -> Subject:
    """nginx as a single process."""
    port = free_port()
    config = scratch / "nginx.conf"
    config.write_text(NGINX.format(port=port, upstream_port=_port(upstream), scratch=scratch, descriptors=8000))
    command = [_program("nginx"), "-p", str(scratch), "-c", str(config)]
    return Subject("nginx", command, {core}, scratch / "nginx.log", port)


def haproxy(upstream: str, core: int, scratch: Path) -> Subject:
    """HAProxy with one thread, in the foreground."""
    port = free_port()
    config = scratch / "haproxy.cfg"
    config.write_text(HAPROXY.format(port=port, upstream_port=_port(upstream)))
    return Subject("haproxy", [_program("haproxy"), "-db", "-f", str(config)], {core}, scratch / "haproxy.log", port)


def litellm(upstream: str, core: int, scratch: Path) -> Subject:
    """LiteLLM's proxy with one worker and no database."""
    port = free_port()
    config = scratch / "litellm.yaml"
    config.write_text(LITELLM.format(upstream=upstream))
    command = [installed("litellm/bin/litellm"), "--config", str(config), "--host", "127.0.0.1", "--port", str(port)]
    env = {
        # The price list it would load from the network is in its wheel too.
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        # Keeps it from reading a .env file.
        "LITELLM_MODE": "PRODUCTION",
        "LITELLM_LOG": "ERROR",
        # No other peer looks at keys, so this one need not either.
        "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true",
    }
    # It compresses answers for a client that takes them compressed, which no other peer does unasked.
    headers = "Accept-Encoding: identity\r\n"
    return Subject("litellm", [*command, "--num_workers", "1"], {core}, scratch / "litellm.log", port, headers, env)


def portkey(upstream: str, core: int, scratch: Path) -> Subject:
    """Portkey's gateway on Node; each request tells it where to go."""
    port = free_port()
    command = [_program("node"), installed(PORTKEY + "build/start-server.js"), f"--port={port}", "--headless"]
    headers = f"x-portkey-provider: openai\r\nx-portkey-custom-host: {upstream}/v1\r\n"
    env = {"NODE_ENV": "production"}
    return Subject("portkey", command, {core}, scratch / "portkey.log", port, headers, env)


def _port(url: str) -> int:
    return int(url.rpartition(":")[2])


def _program(name: str) -> str:
    found = shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:{SERVERS}")
    if found is None:
        raise StartError(f"{name} is not installed; scripts/setup-peers.sh installs it")
    return found


def installed(path: str) -> str:
    """A file that `scripts/setup-peers.sh` puts below `.peers`; raises `StartError` when it is not there."""
    found = INSTALLED / path
    if not found.exists():
        raise StartError(f"{path.partition('/')[0]} is not installed; scripts/setup-peers.sh installs it")
    return str(found)


def _envoy() -> str:
    return installed("envoy/bin/envoy")


def _asked(*command: str) -> str:
    """The first version number a program prints."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    found = re.search(r"\d+\.\d+\.\d+", done.stdout)
    if found is None:
        raise StartError(f"{command[0]} did not say its version: {done.stdout[:300]}")
    return found[0]


def _of_litellm() -> str:
    script = "import importlib.metadata; print(importlib.metadata.version('litellm'))"
    return _asked(installed("litellm/bin/python"), "-c", script)


def _of_portkey() -> str:
    return str(json.loads(Path(installed(PORTKEY + "package.json")).read_text())["version"])


PEERS = (
    Peer("envoy", envoy, lambda: _asked(_envoy(), "--version")),
    Peer("nginx", nginx, lambda: _asked(_program("nginx"), "-v")),
    Peer("haproxy", haproxy, lambda: _asked(_program("haproxy"), "-v")),
    Peer("litellm", litellm, _of_litellm, slow=True),
    Peer("portkey", portkey, _of_portkey, slow=True),
)
