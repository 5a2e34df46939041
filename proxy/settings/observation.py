"""
The sections an operator watches by: logging, metrics, tracing.

They choose what is told and where; the telling belongs to observe/.
"""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from proxy.settings.server import Port
from proxy.settings.values import Section, Size, section, size


def _level(value: object) -> object:
    """LOG_LEVEL is shared with programs that write INFO and WARNING."""
    if not isinstance(value, str):
        return value
    return {"warning": "warn"}.get(value.strip().lower(), value.strip().lower())


def _lower(value: object) -> object:
    return value.strip().lower() if isinstance(value, str) else value


class Logging(Section):
    """One line per exchange."""

    level: Annotated[Literal["debug", "info", "warn", "error"], BeforeValidator(_level)] = Field(
        "info", description="The least important line to write."
    )
    format: Annotated[Literal["json", "text"], BeforeValidator(_lower)] = Field(
        "json", description="json for machines, text for people."
    )
    dir: str = Field("", description="Directory for log files; empty: standard error only.")
    redact_pii: bool = Field(False, description="Mask personal data in what is logged.")
    log_content: bool = Field(False, description="Log prompts and answers.")
    max_bytes: Size = size("100MiB", "A log file larger than this is rotated.")
    backup_count: int = Field(5, ge=0, description="Rotated files to keep.")


class Prometheus(Section):
    """The /metrics page."""

    enabled: bool = Field(True, description="Serve /metrics.")


class Statsd(Section):
    """Metrics sent by UDP."""

    address: str = Field("", description="host:port; empty: off.")


class MetricsOtlp(Section):
    """Metrics sent by OTLP."""

    endpoint: str = Field("", description="Address of the collector; empty: off.")


class Metrics(Section):
    """Counts and durations."""

    enabled: bool = Field(True, description="Count anything at all.")
    prometheus: Prometheus = section(Prometheus, "The /metrics page.")
    auth: bool = Field(True, description="/metrics needs a key.")
    port: Port = Field(0, description="A port of its own for /metrics; 0: the gateway's.")
    statsd: Statsd = section(Statsd, "Metrics sent by UDP.")
    otlp: MetricsOtlp = section(MetricsOtlp, "Metrics sent by OTLP.")


class Tracing(Section):
    """OpenTelemetry spans."""

    otlp_endpoint: str = Field("", description="Address of the collector; empty: off.")
    sample_ratio: float = Field(1.0, ge=0, le=1, description="Share of exchanges traced.")
