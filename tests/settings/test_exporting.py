"""Where spans and metrics go by the variables of OpenTelemetry's SDKs, and by PROVIDERS_METRICS_EXPORT."""

from collections.abc import Mapping

import pytest

from proxy.settings import SettingsError
from tests.settings.conftest import Configured

ALL = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}


def secrets(headers: Mapping[str, object]) -> dict[str, str]:
    return {name: value.get_secret_value() for name, value in headers.items()}  # type: ignore[attr-defined]


def test_one_address_is_for_spans_and_metrics(configured: Configured) -> None:
    headers = {"OTEL_EXPORTER_OTLP_HEADERS": "authorization=Bearer%20open, x-team = a%2Cb"}
    loaded = configured(environ={**ALL, **headers})
    tracing, otlp = loaded.settings.tracing, loaded.settings.metrics.otlp
    assert (tracing.otlp_endpoint, tracing.otlp_path, tracing.otlp_protocol) == (
        "http://c:4318",
        "/v1/traces",
        "http/protobuf",
    )
    assert (otlp.endpoint, otlp.path, otlp.protocol) == ("http://c:4318", "/v1/metrics", "http/protobuf")
    assert secrets(tracing.headers) == secrets(otlp.headers) == {"authorization": "Bearer open", "x-team": "a,b"}
    assert loaded.sources["tracing.otlp_endpoint"] == "OTEL_EXPORTER_OTLP_ENDPOINT"
    assert loaded.sources["metrics.otlp.headers.x-team"] == "OTEL_EXPORTER_OTLP_HEADERS"


def test_a_variable_of_one_signal_goes_before_that_of_all_and_its_address_is_used_as_it_is(
    configured: Configured,
) -> None:
    own = {
        "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://m/push",
        "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "grpc",
        "OTEL_EXPORTER_OTLP_METRICS_HEADERS": "x=1",
    }
    settings = configured(environ={**ALL, **own}).settings
    assert (settings.metrics.otlp.endpoint, settings.metrics.otlp.path) == ("http://m/push", "")
    assert (settings.tracing.otlp_endpoint, settings.tracing.otlp_path) == ("http://c:4318", "/v1/traces")
    assert (settings.tracing.otlp_protocol, settings.metrics.otlp.protocol) == ("grpc", "http/protobuf")
    assert (secrets(settings.tracing.headers), secrets(settings.metrics.otlp.headers)) == ({}, {"x": "1"})


def test_an_address_of_the_file_is_never_sent_the_token_of_a_variable(configured: Configured) -> None:
    environ = {**ALL, "OTEL_EXPORTER_OTLP_HEADERS": "authorization=secret", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}
    settings = configured("tracing: {otlp_endpoint: 'http://mine'}", environ).settings
    assert (settings.tracing.otlp_endpoint, settings.tracing.otlp_protocol) == ("http://mine", "http/protobuf")
    assert settings.tracing.headers == {}
    assert settings.metrics.otlp.endpoint == "http://c:4318"


def test_an_empty_address_in_the_file_turns_it_off(configured: Configured) -> None:
    settings = configured("tracing: {otlp_endpoint: ''}\nmetrics: {otlp: {interval: 5s}}", ALL).settings
    assert settings.tracing.otlp_endpoint == ""
    assert (settings.metrics.otlp.endpoint, settings.metrics.otlp.interval) == ("http://c:4318", 5.0)


@pytest.mark.parametrize(
    ("more", "addresses"),
    [
        ({"OTEL_SDK_DISABLED": "true"}, ("", "")),
        ({"OTEL_METRICS_EXPORTER": "none"}, ("http://c:4318", "")),
        ({"OTEL_TRACES_EXPORTER": "console"}, ("", "http://c:4318")),
        ({"OTEL_TRACES_EXPORTER": "console,otlp"}, ("http://c:4318", "http://c:4318")),
        ({"PROVIDERS_METRICS_EXPORT": "0"}, ("http://c:4318", "")),
    ],
)
def test_a_variable_can_turn_off_what_another_has_named(
    configured: Configured, more: dict[str, str], addresses: tuple[str, str]
) -> None:
    settings = configured(environ={**ALL, **more}).settings
    assert (settings.tracing.otlp_endpoint, settings.metrics.otlp.endpoint) == addresses


@pytest.mark.parametrize("value", ["1", "true", "ON"])
def test_metrics_are_exported_to_the_usual_statsd_where_none_is_named(configured: Configured, value: str) -> None:
    loaded = configured(environ={"PROVIDERS_METRICS_EXPORT": value})
    assert loaded.settings.metrics.statsd.address == "127.0.0.1:8125"
    assert loaded.sources["metrics.statsd.address"] == "PROVIDERS_METRICS_EXPORT"


@pytest.mark.parametrize("named", ["statsd: {address: 'h:1'}", "otlp: {endpoint: 'http://m'}"])
def test_the_switch_changes_no_address_that_is_named_and_turns_it_off_with_0(
    configured: Configured, named: str
) -> None:
    text = f"metrics: {{{named}}}"
    plain = configured(text).settings.metrics
    assert configured(text, {"PROVIDERS_METRICS_EXPORT": "1"}).settings.metrics == plain
    off = configured(text, {"PROVIDERS_METRICS_EXPORT": "false"}).settings.metrics
    assert (off.statsd.address, off.otlp.endpoint) == ("", "")


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({"PROVIDERS_METRICS_EXPORT": "s3cret"}, "PROVIDERS_METRICS_EXPORT: must be 1 or 0"),
        (
            {**ALL, "OTEL_EXPORTER_OTLP_HEADERS": "s3cret"},
            "OTEL_EXPORTER_OTLP_HEADERS: must be name=value, with commas between several",
        ),
        (
            {**ALL, "OTEL_RESOURCE_ATTRIBUTES": "s3cret"},
            "OTEL_RESOURCE_ATTRIBUTES: must be name=value, with commas between several",
        ),
        (
            {**ALL, "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/json"},
            "tracing.otlp_protocol: must be 'http/protobuf' or 'grpc' (set by OTEL_EXPORTER_OTLP_TRACES_PROTOCOL)",
        ),
        (
            {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "c:4317"},
            "tracing.otlp_endpoint: must be an address such as http://127.0.0.1:4318 "
            "(set by OTEL_EXPORTER_OTLP_TRACES_ENDPOINT)",
        ),
    ],
)
def test_a_value_that_makes_no_sense_is_refused_by_the_name_of_its_variable(
    configured: Configured, environ: dict[str, str], said: str
) -> None:
    with pytest.raises(SettingsError) as refused:
        configured(environ=environ)
    assert str(refused.value) == said


def test_attributes_that_nothing_is_sent_with_are_not_looked_at(configured: Configured) -> None:
    assert configured(environ={"OTEL_RESOURCE_ATTRIBUTES": "s3cret"}).settings.tracing.otlp_endpoint == ""


def test_a_section_that_is_no_section_is_still_told_as_the_mistake_it_is(configured: Configured) -> None:
    with pytest.raises(SettingsError, match=r"metrics: must be a mapping"):
        configured("metrics: 5", {**ALL, "PROVIDERS_METRICS_EXPORT": "1"})
