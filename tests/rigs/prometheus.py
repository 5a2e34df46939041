"""Prometheus and Alertmanager as processes on loopback, with the files of deploy/ but for addresses and intervals."""

import asyncio
import json
import re
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import yaml

from .ports import free_port
from .process import stop

DEPLOY = Path(__file__).parents[2] / "deploy"
START_DEADLINE = 60.0
INTERVAL = "250ms"


class Server:
    """One of the two, answering."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"

    async def get(self, path: str, **query: str) -> Any:
        """What it answers, decoded; `AssertionError` with its words when it refuses."""
        return await asyncio.to_thread(self._get, f"{self.url}{path}?{urllib.parse.urlencode(query)}")

    async def query(self, expression: str) -> list[dict[str, Any]]:
        """The samples of a PromQL expression now."""
        answer = await self.get("/api/v1/query", query=expression)
        result: list[dict[str, Any]] = answer["data"]["result"]
        return result

    def _get(self, url: str) -> Any:
        try:
            with urllib.request.urlopen(url, timeout=10) as response:
                body = response.read()
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{url}: {error.read().decode()}") from None
        return json.loads(body) if body[:1] in b"[{" else body.decode()


@asynccontextmanager
async def prometheus(
    folder: Path,
    target: str,
    key: str,
    alertmanager: str = "",
    *,
    interval: str = INTERVAL,
    runbooks: str = "",
    hastened: bool = False,
    features: str = "exemplar-storage",
) -> AsyncIterator[Server]:
    """
    Scrapes *target* (host:port) with *key* every *interval*, which a page must not take longer than; evaluates the
    rules of deploy/, tells *alertmanager* (host:port). Alerts wait for nothing, or, *hastened*, as many seconds as they
    should minutes, over windows of as many seconds. *runbooks*: where those lie. *features*: those it is started with.
    """
    config = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
    config["global"]["scrape_interval"] = config["global"]["evaluation_interval"] = interval
    (folder / "hapax.key").write_text(key)
    job = config["scrape_configs"][0]
    job["authorization"]["credentials_file"] = str(folder / "hapax.key")
    job["static_configs"] = [{"targets": [target]}]
    config["scrape_configs"] = [job]
    if runbooks:
        config["global"]["external_labels"]["runbooks"] = runbooks
    config["alerting"]["alertmanagers"] = [{"static_configs": [{"targets": [alertmanager] if alertmanager else []}]}]
    for name in config["rule_files"]:
        rules = yaml.safe_load((DEPLOY / "prometheus" / name).read_text())
        for group in rules["groups"]:
            group["interval"] = interval
            for rule in group["rules"]:
                if hastened:
                    rule["expr"] = re.sub(r"\[(\d+)[mh]\]", r"[\1s]", rule["expr"])
                if "for" in rule:
                    rule["for"] = re.sub(r"m$", "s", rule["for"]) if hastened else "0s"
        (folder / name).write_text(yaml.safe_dump(rules))
    file = folder / "prometheus.yml"
    file.write_text(yaml.safe_dump(config))
    port = free_port()
    command = [
        "prometheus",
        f"--config.file={file}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        f"--enable-feature={features}",
        "--log.level=warn",
    ]
    async with _running(command, folder / "prometheus.log", port, "/-/ready") as server:
        yield server


@asynccontextmanager
async def alertmanager(folder: Path, webhook: str, mail: int = 0) -> AsyncIterator[Server]:
    """
    Routes and mutes as deploy/ says, and sends every receiver's notifications to *webhook* instead; or, with a *mail*
    port, by mail to there, and what is for Slack to *webhook*, as deploy/ writes them.
    """
    config = yaml.safe_load((DEPLOY / "alertmanager" / "alertmanager.yml").read_text())
    config["templates"] = [str(DEPLOY / "alertmanager" / "templates" / "*.tmpl")]
    config["route"].update(group_wait="50ms", group_interval="100ms")
    if mail:
        config["global"].update(smtp_smarthost=f"127.0.0.1:{mail}", smtp_require_tls=False)
        for receiver in config["receivers"]:
            for each in receiver.get("slack_configs", ()):
                each["api_url"] = f"{webhook}/{receiver['name']}"
    else:
        config["receivers"] = [
            {"name": receiver["name"], "webhook_configs": [{"url": f"{webhook}/{receiver['name']}"}]}
            for receiver in config["receivers"]
        ]
    file = folder / "alertmanager.yml"
    file.write_text(yaml.safe_dump(config))
    port = free_port()
    command = [
        "prometheus-alertmanager",
        f"--config.file={file}",
        f"--storage.path={folder / 'alerts'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--cluster.listen-address=",
        "--log.level=warn",
    ]
    async with _running(command, folder / "alertmanager.log", port, "/-/ready") as server:
        yield server


@asynccontextmanager
async def _running(command: list[str], log: Path, port: int, ready: str) -> AsyncIterator[Server]:
    process = _started(command, log)
    try:
        server = Server(port)
        async with asyncio.timeout(START_DEADLINE):
            while True:
                try:
                    await server.get(ready)
                    break
                except (AssertionError, OSError):
                    assert process.poll() is None, _said(log)
                    await asyncio.sleep(0.02)
        yield server
    finally:
        await asyncio.to_thread(stop, process)


def _started(command: list[str], log: Path) -> subprocess.Popen[bytes]:
    with log.open("wb") as output:
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)


def _said(log: Path) -> str:
    return log.read_text()
