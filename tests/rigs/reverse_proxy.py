"""nginx and Caddy as processes on loopback, with the files of deploy/ but for names, ports and certificates."""

import asyncio
import os
import re
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from .certificates import issue
from .ports import free_port
from .process import stop

DEPLOY = Path(__file__).parents[2] / "deploy"
START_DEADLINE = 60.0
KINDS = ("nginx", "caddy")
# Debian keeps servers where not every user's path looks for programs.
PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin"
NGINX = """\
daemon off;
{user}
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 512; }}
http {{
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/hapax.conf;
}}
"""


class ReverseProxy:
    """One of the two, answering over TLS."""

    def __init__(self, folder: Path, port: int) -> None:
        self._folder = folder
        self.port = port
        self.url = f"https://localhost:{port}"
        self.certificate = folder / "server.pem"
        """The only one a client has to trust."""

    @property
    def log(self) -> str:
        """All that it wrote down so far: calls and errors."""
        return "".join(file.read_text() for file in sorted(self._folder.glob("*.log")))


@asynccontextmanager
async def reverse_proxy(kind: str, folder: Path, *gateways: int) -> AsyncIterator[ReverseProxy]:
    """*kind* of `KINDS`, before the gateways at these ports of loopback; its files are in *folder*."""
    issue(folder, kind)
    port = free_port()
    command = (_nginx if kind == "nginx" else _caddy)(folder, port, gateways)
    process = _started(command, folder)
    try:
        running = ReverseProxy(folder, port)
        async with asyncio.timeout(START_DEADLINE):
            while not _listens(port):
                assert process.poll() is None, running.log
                await asyncio.sleep(0.02)
        yield running
    finally:
        await asyncio.to_thread(stop, process)


def _started(command: list[str], folder: Path) -> subprocess.Popen[bytes]:
    program = shutil.which(command[0], path=PATH)
    assert program, f"no {command[0]}: run scripts/setup-tests.sh"
    with (folder / "output.log").open("wb") as output:
        return subprocess.Popen(
            [program, *command[1:]],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={"PATH": PATH, "HOME": str(folder)},
        )


def _nginx(folder: Path, port: int, gateways: tuple[int, ...]) -> list[str]:
    servers = "\n".join(f"server 127.0.0.1:{gateway};" for gateway in gateways)
    text = _edited(
        DEPLOY / "nginx" / "hapax.conf",
        ("    server 127.0.0.1:8080;\n", f"{servers}\n"),
        ("    listen 443 ", f"listen 127.0.0.1:{port} "),
        ("server_name llm.example.com;", "server_name localhost;"),
        ("/etc/hapax/cert.pem", f"{folder}/server.pem"),
        ("/etc/hapax/key.pem", f"{folder}/server.key"),
        ("/var/log/nginx/", f"{folder}/"),
    )
    (folder / "hapax.conf").write_text(text)
    # As root it would become a user who may not look into the folder.
    (folder / "nginx.conf").write_text(NGINX.format(folder=folder, user="" if os.geteuid() else "user root;"))
    return ["nginx", "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", str(folder / "error.log")]


def _caddy(folder: Path, port: int, gateways: tuple[int, ...]) -> list[str]:
    text = _edited(
        DEPLOY / "caddy" / "Caddyfile",
        ("\nllm.example.com {\n", f"\nhttps://localhost:{port} {{\n\tbind 127.0.0.1\n"),
        ("reverse_proxy 127.0.0.1:8080 {", f"reverse_proxy {' '.join(f'127.0.0.1:{each}' for each in gateways)} {{"),
        ("# tls /etc/hapax/cert.pem /etc/hapax/key.pem", f"tls {folder}/server.pem {folder}/server.key"),
        # Neither its own port for changes nor one that leads from HTTP to HTTPS.
        ("{\n\tservers {", "{\n\tadmin off\n\tauto_https disable_redirects\n\tservers {"),
    )
    if len(gateways) > 1:
        text = re.sub(r"# (health_\w+ )", r"\1", text)
    (folder / "Caddyfile").write_text(text)
    return ["caddy", "run", "--adapter", "caddyfile", "--config", str(folder / "Caddyfile")]


def _edited(file: Path, *changes: tuple[str, str]) -> str:
    text = file.read_text()
    for old, new in changes:
        assert text.count(old) == 1, f"{file} has {old!r} {text.count(old)} times"
        text = text.replace(old, new)
    return text


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
