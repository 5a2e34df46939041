"""
The pre-production checklist: what a configuration, this machine and a running gateway still lack.

It looks and says what to do; it changes nothing and prints nothing.
"""

import json
import os
import resource
import shutil
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from proxy.settings import Settings
from proxy.settings.checks import loopback

Mark = Literal["ok", "warn", "missing", "manual"]
TIMEOUT = 5.0
"""Seconds a running gateway gets for each answer."""
ENOUGH_FILES = 4096
"""Descriptors below which a gateway cannot hold two thousand calls."""


@dataclass(frozen=True, slots=True)
class Item:
    """One line of the list."""

    name: str
    state: Mark
    found: str
    advice: str = ""
    """What to do next; empty when nothing is."""

    def as_json(self) -> dict[str, str]:
        """For machines."""
        return asdict(self)


def configured(settings: Settings) -> Iterator[Item]:
    """What the settings and this machine show."""
    yield from _of_logs(settings)
    yield from _of_metrics(settings)
    yield from _of_providers(settings)
    yield from _of_access(settings)
    yield from _of_the_store(settings)
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    few = soft != resource.RLIM_INFINITY and soft < ENOUGH_FILES
    yield Item("file descriptors", "warn" if few else "ok", str(soft), "raise LimitNOFILE or ulimit -n" if few else "")


def _of_logs(settings: Settings) -> Iterator[Item]:
    logging = settings.logging
    if logging.level in ("debug", "error"):
        yield Item("log level", "warn", logging.level, "production runs on info, or warn where lines cost too much")
    else:
        yield Item("log level", "ok", logging.level)
    if logging.format != "text":
        yield Item("log format", "ok", logging.format)
    else:
        yield Item("log format", "warn", "text", "machines read json: logging.format")
    if logging.dir:
        yield Item("log rotation", "ok", f"{logging.backup_count} files of {logging.max_bytes >> 20} MiB a stream")
    else:
        yield Item("log rotation", "manual", logging.output, "see that the host collects it, or set logging.dir")
    if logging.log_content and not logging.redact_pii:
        yield Item("content log", "warn", "prompts in full", "set logging.redact_pii, or logging.log_content to false")


def _of_metrics(settings: Settings) -> Iterator[Item]:
    metrics = settings.metrics
    if not metrics.enabled:
        yield Item("metrics", "missing", "off", "set metrics.enabled: true")
    elif metrics.auth or loopback(settings.server.host):
        yield Item("metrics", "ok", "on, with a key" if metrics.auth else "on, loopback only")
    else:
        yield Item("metrics", "missing", "open without a key", "set metrics.auth: true")
    if metrics.port and not loopback(metrics.host):
        where = f"{metrics.host}:{metrics.port}"
        yield Item("metrics port", "manual", where, "needs no key: let only Prometheus reach it")
    yield Item("alerts", "manual", "", "load the rules of deploy/prometheus, route them by deploy/alertmanager")
    yield Item("dashboards", "manual", "", "provision deploy/grafana")
    if settings.health_check.enabled:
        yield Item("health checks", "ok", f"every {settings.health_check.interval:g} s")
    else:
        yield Item("health checks", "missing", "off", "set health_check.enabled: true")


def _of_providers(settings: Settings) -> Iterator[Item]:
    names = settings.preferred_order
    if any(settings.providers[name].type == "simulator" for name in names):
        yield Item("providers", "missing", "the simulator answers", "name a real provider under providers")
    elif len(names) > 1:
        yield Item("backup providers", "ok", ", ".join(names))
    else:
        yield Item("backup providers", "missing", ", ".join(names), "one provider's outage is yours: add a second one")
    alone = [name for name, model in settings.models.items() if len(model.targets) == 1 and not model.fallbacks]
    if alone:
        yield Item("models with one target", "warn", ", ".join(alone), "give each a second target or a fallback")


def _of_access(settings: Settings) -> Iterator[Item]:
    auth = settings.auth
    if auth.admin_key is None:
        yield Item("admin key", "missing", "none", "set auth.admin_key, for example from openssl rand -hex 24")
    else:
        yield Item("admin key", "ok", "set")
    if auth.keys:
        yield Item("client keys", "ok", f"{len(auth.keys)} in the file")
    elif settings.store.url.get_secret_value():
        yield Item("client keys", "manual", "in the store", "hapax keys list; make one with hapax keys create NAME")
    else:
        yield Item("client keys", "missing", "none", "set store.url, then hapax keys create NAME")
    if settings.server.tls is not None or loopback(settings.server.host):
        yield Item("TLS", "ok", "on" if settings.server.tls is not None else "loopback only")
    else:
        yield Item("TLS", "manual", "off", "keys cross the network in the clear: server.tls, or a proxy in front")


def _of_the_store(settings: Settings) -> Iterator[Item]:
    url = settings.store.url.get_secret_value()
    if not url:
        yield Item("usage ledger", "missing", "off", "set store.url")
        return
    if not url.startswith("sqlite:///"):
        yield Item("usage ledger", "ok", str(settings.store.url))
    else:
        folder = Path(url.removeprefix("sqlite:///")).absolute().parent
        if not os.access(folder, os.W_OK):
            yield Item("usage ledger", "missing", str(folder), "the folder is not there or cannot be written")
        else:
            usage = shutil.disk_usage(folder)
            share = usage.used / ((usage.used + usage.free) or 1)
            full = share > settings.health.disk_share
            advice = "free some space, or raise health.disk_share" if full else ""
            yield Item("usage ledger", "warn" if full else "ok", f"{folder}, disk {share:.0%} full", advice)
    yield Item("backups", "manual", "", "run hapax backup --keep 24 DIR from a timer, and try hapax restore once")
    if not settings.store.retention:
        yield Item("retention", "warn", "rows are kept for ever", "set store.retention, such as 2160h")
    if settings.server.workers > 1 and settings.state.url.get_secret_value().startswith("memory:"):
        yield Item(
            "shared state", "missing", "memory", 'several workers share limits through state: {url: "redis://..."}'
        )


def running(url: str, key: str | None) -> Iterator[Item]:
    """What a gateway at *url* shows; *key* is its admin key."""
    url = url.rstrip("/")
    status, _ = _get(url + "/live")
    if status != 200:
        yield Item("running", "missing", f"{url}: {status or 'no answer'}", "start it, or correct --url")
        return
    yield Item("running", "ok", url)
    status, body = _get(url + "/health/ready")
    failed = [name for name, each in body.get("checks", {}).items() if not each["healthy"]]
    state: Mark = "missing" if status != 200 else "warn" if failed else "ok"
    advice = f"see checks at {url}/health with the admin key" if failed else ""
    yield Item("ready", state, ", ".join(failed) or str(body.get("status", status)), advice)
    status, _ = _get(url + "/metrics")
    if status == 200:
        yield Item("metrics without a key", "warn", "shown", "set metrics.auth: true unless only you reach this port")
    elif status in (401, 403):
        yield Item("metrics without a key", "ok", "refused")
    if key is None:
        yield Item("providers", "manual", "", "give --key, the admin key, to look at providers and counters")
        return
    status, body = _get(url + "/health", key)
    if "providers" not in body:
        yield Item("admin key", "missing", f"status {status}", "the key given with --key is not known there")
        return
    sick = [name for name, facts in body["providers"].items() if not facts["healthy"]]
    advice = f"see {url}/admin/providers" if sick else ""
    yield Item("providers healthy", "warn" if sick else "ok", ", ".join(sick or body["providers"]), advice)
    yield from _of_counters(url, key)


def _of_counters(url: str, key: str) -> Iterator[Item]:
    _, families = _get(url + "/metrics/json", key)
    values: dict[str, float] = {}
    for family in families if isinstance(families, list) else []:
        for sample in family["values"]:
            values[sample["name"]] = values.get(sample["name"], 0) + sample["value"]
    for name, words, advice in (
        (
            "hapax_ledger_dropped_total",
            "usage lost",
            "the store was away too long: docs/runbooks/alerts.md#usagelost",
        ),
        ("hapax_log_dropped_total", "log lines lost", "the reader of the log is too slow, or its disk is full"),
        ("hapax_unpriced_total", "answers without a price", "add their models to store.prices"),
    ):
        if name in values:
            lost = int(values[name])
            yield Item(words, "warn" if lost else "ok", str(lost), advice if lost else "")


def _get(url: str, key: str | None = None) -> tuple[int, Any]:
    """Status and decoded body; 0 where no server answers."""
    asked = urllib.request.Request(url, headers={"X-API-Key": key} if key else {})
    try:
        with urllib.request.urlopen(asked, timeout=TIMEOUT) as answer:
            status, body = answer.status, answer.read()
    except urllib.error.HTTPError as error:
        status, body = error.code, error.read()
    except (OSError, ValueError):
        return 0, {}
    try:
        return status, json.loads(body)
    except ValueError:
        return status, {}
