"""A setting whose extra is not installed is refused in one sentence with the command, wherever it is met."""

import subprocess
import sys
from pathlib import Path

import pytest

from proxy.settings import Settings, SettingsError, load
from proxy.settings.extras import PACKAGES, lacking
from tests.settings.conftest import Configured, Refused

GRPC = "{endpoint: 'http://127.0.0.1:9', protocol: grpc}"


@pytest.mark.parametrize(
    ("text", "hidden", "path", "packages"),
    [
        (
            "tracing: {otlp_endpoint: 'http://c'}",
            ["opentelemetry.proto"],
            "tracing.otlp_endpoint",
            "opentelemetry-proto",
        ),
        ("tracing: {otlp_endpoint: 'http://c', otlp_protocol: grpc}", ["grpc"], "tracing.otlp_endpoint", "grpcio"),
        (
            f"metrics: {{otlp: {GRPC}}}",
            ["grpc", "opentelemetry.proto"],
            "metrics.otlp.endpoint",
            "opentelemetry-proto grpcio",
        ),
        ("tracing: {sentry_dsn: 'http://public@127.0.0.1:9/7'}", ["sentry_sdk"], "tracing.sentry_dsn", "sentry-sdk"),
    ],
)
def test_a_setting_without_its_extra_says_what_to_install(
    refused: Refused, monkeypatch: pytest.MonkeyPatch, text: str, hidden: list[str], path: str, packages: str
) -> None:
    for module in hidden:
        monkeypatch.setitem(sys.modules, module, None)
    extra = "sentry" if "sentry" in path else "otlp"
    (problem,) = refused(text)
    assert (problem.path, problem.message) == (
        path,
        f"needs the extra `{extra}`, which is not installed: pip install {packages}",
    )


def test_where_a_variable_of_other_programs_asks_for_it_that_one_is_named(
    configured: Configured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.proto", None)
    with pytest.raises(SettingsError, match=r"pip install opentelemetry-proto \(set by OTEL_EXPORTER_OTLP_ENDPOINT\)$"):
        configured(environ={"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "PROVIDERS_METRICS_EXPORT": "0"})


def test_what_is_not_used_needs_no_extra(configured: Configured, monkeypatch: pytest.MonkeyPatch) -> None:
    for modules in PACKAGES.values():
        for module in modules:
            monkeypatch.setitem(sys.modules, module, None)
    configured("metrics: {enabled: false, otlp: {endpoint: 'http://c'}}")
    configured("server: {port: 9}")


def test_without_grpc_the_way_by_http_is_still_there(configured: Configured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "grpc", None)
    assert configured("tracing: {otlp_endpoint: 'http://c'}").settings.tracing.otlp_endpoint == "http://c"


@pytest.mark.parametrize("command", ["check", "doctor", "serve"])
def test_the_commands_say_it_too_and_show_no_traceback(tmp_path: Path, command: str) -> None:
    (tmp_path / "hapax.yaml").write_text("tracing: {otlp_endpoint: 'http://127.0.0.1:9'}\nserver: {port: 0}\n")
    hide = "import sys; sys.modules['opentelemetry.proto'] = None; from proxy.cli import main; main()"
    ended = subprocess.run(
        [sys.executable, "-c", hide, command, "--config", str(tmp_path / "hapax.yaml")],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (ended.returncode, ended.stdout) == (2, "")
    said = " ".join(ended.stderr.split())
    assert (
        "tracing.otlp_endpoint: needs the extra `otlp`, which is not installed: pip install opentelemetry-proto" in said
    )
    assert "Traceback" not in said


def test_an_application_of_another_program_gets_the_same_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    from proxy.app import create_app

    monkeypatch.setitem(sys.modules, "grpc", None)
    settings = Settings.model_validate({"tracing": {"otlp_endpoint": "http://c", "otlp_protocol": "grpc"}})
    with pytest.raises(ValueError, match=r"^tracing\.otlp_endpoint: .* pip install grpcio$"):
        create_app(settings)


def test_the_packages_are_those_that_the_distribution_names() -> None:
    import tomllib

    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    named = {
        extra: {line.partition(">")[0] for line in lines} for extra, lines in project["optional-dependencies"].items()
    }
    assert {extra: set(modules.values()) for extra, modules in PACKAGES.items()} == named
    assert load(environ={}).settings.tracing.otlp_endpoint == ""
    assert lacking("otlp", *PACKAGES["otlp"]) == ""
