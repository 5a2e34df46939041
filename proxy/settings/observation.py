"""
The sections an operator watches by: logging, metrics, tracing, health, ui.

They choose what is told and where; to write and serve it is the work of observe/ and health/.
"""

from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field

from proxy.settings.server import Port
from proxy.settings.values import (
    Credential,
    Duration,
    HeaderName,
    HeaderValue,
    Section,
    Size,
    Text,
    duration,
    section,
    size,
)

LogStream = Literal["application", "access", "error", "audit", "metrics"]


def _level(value: object) -> object:
    """LOG_LEVEL is shared with programs that write INFO and WARNING."""
    if not isinstance(value, str):
        return value
    return {"warning": "warn"}.get(value.strip().lower(), value.strip().lower())


def _lower(value: object) -> object:
    return value.strip().lower() if isinstance(value, str) else value


def _collector(value: str) -> str:
    if value:
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0 or parts.query:
            raise ValueError("must be an address such as http://127.0.0.1:4318")
        if parts.username is not None:
            raise ValueError("must not hold a password; headers can carry one")
    return value


CollectorAddress = Annotated[str, AfterValidator(_collector)]
OtlpProtocol = Annotated[Literal["http/protobuf", "grpc"], BeforeValidator(_lower)]


def _path(value: str) -> str:
    if value and not (value.startswith("/") and value.isascii() and value.isprintable()):
        raise ValueError("must begin with a slash, such as /v1/traces, or be empty")
    return value


CollectorPath = Annotated[str, AfterValidator(_path)]


def _host_and_port(address: str) -> str:
    host, colon, port = address.rpartition(":")
    if address and not (host and colon and port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise ValueError("must be host:port, such as 127.0.0.1:8125")
    return address


LogLevel = Annotated[Literal["debug", "info", "warn", "error"], BeforeValidator(_level)]


class Logging(Section):
    """One line per exchange, and what else there is to tell."""

    level: LogLevel = Field("info", description="The least important line to write.")
    format: Annotated[Literal["auto", "json", "text"], BeforeValidator(_lower)] = Field(
        "auto", description="json for machines, text for people; auto: text on a terminal, json anywhere else."
    )
    output: Annotated[Literal["stdout", "stderr"], BeforeValidator(_lower)] = Field(
        "stderr", description="Where lines go while `dir` is empty; standard output begins with the banner."
    )
    dir: str = Field("", description="Directory for log files, one for each stream; empty: none.")
    streams: tuple[LogStream, ...] = Field(
        ("application", "access", "error", "audit"), description="What is written at all."
    )
    audit_calls: bool = Field(
        False, description="Audit lines also for the beginning and the end of each call, not for changes alone."
    )
    redact_pii: bool = Field(False, description="Mask personal data in prompts and answers that are logged.")
    log_content: bool = Field(False, description="Log prompts and answers.")
    max_bytes: Size = size("100MiB", "A log file larger than this is rotated.")
    backup_count: int = Field(5, ge=0, description="Rotated files to keep of each stream.")


class Prometheus(Section):
    """The /metrics page."""

    enabled: bool = Field(True, description="Serve /metrics.")
    native_histograms: bool = Field(
        False, description="Serve it as protobuf, with native histograms, to a Prometheus that asks for that."
    )


class Statsd(Section):
    """Metrics sent by UDP."""

    address: Annotated[str, AfterValidator(_host_and_port)] = Field("", description="host:port; empty: off.")
    prefix: str = Field("", description="Written before every name.")
    interval: Duration = duration("10s", "Time between two reports.")


class MetricsOtlp(Section):
    """Metrics sent by OTLP."""

    endpoint: CollectorAddress = Field(
        "", description="Address of the collector, such as http://127.0.0.1:4318; empty: off."
    )
    protocol: OtlpProtocol = Field("http/protobuf", description="How it is spoken to; grpc is on port 4317 as a rule.")
    path: CollectorPath = Field(
        "/v1/metrics", description="Added to the address unless it ends so; empty: the address as it is. Not for grpc."
    )
    headers: dict[HeaderName, HeaderValue] = Field(default_factory=dict, description="Headers for the collector.")
    interval: Duration = duration("60s", "Time between two reports.")


class Metrics(Section):
    """Counts and durations."""

    enabled: bool = Field(True, description="Count anything at all.")
    prometheus: Prometheus = section(Prometheus, "The /metrics page.")
    auth: bool = Field(True, description="/metrics, /metrics/json and /debug need a key on the gateway's port.")
    port: Port = Field(0, description="A port of its own for /metrics, open to every client that reaches it; 0: none.")
    host: Text = Field("127.0.0.1", description="The address that port listens on.")
    statsd: Statsd = section(Statsd, "Metrics sent by UDP.")
    otlp: MetricsOtlp = section(MetricsOtlp, "Metrics sent by OTLP.")


class Tracing(Section):
    """OpenTelemetry spans, and errors told to a tracker."""

    otlp_endpoint: CollectorAddress = Field(
        "", description="Address of the collector, such as http://127.0.0.1:4318; empty: off."
    )
    otlp_protocol: OtlpProtocol = Field(
        "http/protobuf", description="How it is spoken to; grpc is on port 4317 as a rule."
    )
    otlp_path: CollectorPath = Field(
        "/v1/traces", description="Added to the address unless it ends so; empty: the address as it is. Not for grpc."
    )
    headers: dict[HeaderName, HeaderValue] = Field(default_factory=dict, description="Headers for the collector.")
    sample_ratio: float = Field(
        1.0, ge=0, le=1, description="Share of exchanges traced, of those whose caller did not decide."
    )
    sentry_dsn: Credential | None = Field(None, description="Where internal errors are reported; omitted: nowhere.")


class Health(Section):
    """What /health and /ready look at besides the providers."""

    interval: Duration = duration("30s", "How long the result of a check is good for.")
    timeout: Duration = duration("5s", "A check that takes longer has failed.")
    memory_limit: Size = size("4GiB", "What the process is supposed to get by with.")
    memory_share: float = Field(0.9, gt=0, le=1, description="Part of the memory limit above which it is unhealthy.")
    disk_share: float = Field(0.9, gt=0, le=1, description="Part of a disk in use above which it is unhealthy.")


class Ui(Section):
    """The page at `/ui`."""

    enabled: bool = Field(True, description="Serve the page at /ui, and lead browsers there from /.")
