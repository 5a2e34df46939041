"""
The extras of the distribution that settings need, and what to install where one is missing.

A table, and one sentence made of it. It imports none of the packages: it looks whether they could be.
"""

import importlib.util
from collections.abc import Iterator, Mapping

from proxy.settings.problems import Problem
from proxy.settings.whole import Settings

PACKAGES: Mapping[str, Mapping[str, str]] = {
    # extra, see pyproject.toml: module it brings, and the package that holds it
    "otlp": {"opentelemetry.proto": "opentelemetry-proto", "grpc": "grpcio"},
    "sentry": {"sentry_sdk": "sentry-sdk"},
    "http3": {"aioquic": "aioquic"},
}


def problems(settings: Settings) -> Iterator[Problem]:
    """A problem for each setting whose extra is not installed."""
    for path, extra, modules in _needed(settings):
        if words := lacking(extra, *modules):
            yield Problem(path, words)


def lacking(extra: str, *modules: str) -> str:
    """
    What to do where one of *modules*, which *extra* brings, is not installed; empty where all are. The command names
    packages: `hapax` is another program's name on the index that pip asks.
    """
    missing = [PACKAGES[extra][module] for module in modules if not _installed(module)]
    return f"needs the extra `{extra}`, which is not installed: pip install {' '.join(missing)}" if missing else ""


def _needed(settings: Settings) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """Settings that are in use, each with its extra and the modules it needs of that."""
    tracing, metrics = settings.tracing, settings.metrics
    if tracing.otlp_endpoint:
        yield "tracing.otlp_endpoint", "otlp", modules_of(tracing.otlp_protocol)
    if metrics.enabled and metrics.otlp.endpoint:
        yield "metrics.otlp.endpoint", "otlp", modules_of(metrics.otlp.protocol)
    if tracing.sentry_dsn is not None:
        yield "tracing.sentry_dsn", "sentry", ("sentry_sdk",)
    if settings.server.http3.enabled:
        yield "server.http3", "http3", ("aioquic",)


def modules_of(protocol: str) -> tuple[str, ...]:
    """What sending by this protocol of OTLP's needs."""
    return ("opentelemetry.proto", "grpc") if protocol == "grpc" else ("opentelemetry.proto",)


def _installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        # Of a dotted name, what stands before the dot is not there.
        return False
