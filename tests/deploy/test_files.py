"""The files people copy: images, manifests, units, dashboards and the log pipeline, read as their programs would."""

import configparser
import json
import re
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from proxy.settings import load
from tests.rigs.prometheus import DEPLOY

KUBERNETES = "1.33"
MANIFESTS = list(yaml.safe_load_all((DEPLOY / "kubernetes" / "hapax.yaml").read_text()))
DASHBOARDS = sorted((DEPLOY / "grafana" / "dashboards").glob("*.json"))
SECRETS = {
    "OPENAI_API_KEY": "sk-openai-1f0c9b7744d2",
    "ANTHROPIC_API_KEY": "sk-ant-1f0c9b7744d2",
    "HAPAX_ADMIN_KEY": "hpx_admin_0f2d9be1c5a877",
    "HAPAX_STORE_URL": "postgresql://hapax:pw@db/hapax",
    "HAPAX_STATE_URL": "redis://redis:6379/0",
}


def of_kind(kind: str) -> dict[str, Any]:
    (found,) = (each for each in MANIFESTS if each["kind"] == kind)
    return dict(found)


@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda manifest: manifest["kind"])
def test_a_manifest_keeps_to_the_schema_of_kubernetes(manifest: dict[str, Any]) -> None:
    kubernetes_validate.validate(manifest, KUBERNETES, strict=True)


def test_the_pods_have_probes_secrets_by_reference_and_time_to_drain(monkeypatch: pytest.MonkeyPatch) -> None:
    deployment = of_kind("Deployment")["spec"]
    pod = deployment["template"]["spec"]
    (container,) = pod["containers"]
    probes = {name: container[name]["httpGet"]["path"] for name in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert probes == {"startupProbe": "/health/live", "livenessProbe": "/live", "readinessProbe": "/ready"}
    # How many there are is for the autoscaler to say.
    assert "replicas" not in deployment
    assert of_kind("HorizontalPodAutoscaler")["spec"]["minReplicas"] == 3
    assert all("secretKeyRef" in variable["valueFrom"] for variable in container["env"])
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    settings = configuration(of_kind("ConfigMap")["data"]["config.yaml"], monkeypatch)
    assert pod["terminationGracePeriodSeconds"] > settings.server.drain_delay + settings.server.shutdown_timeout
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports == {"http": settings.server.port, "metrics": settings.metrics.port}
    annotations = deployment["template"]["metadata"]["annotations"]
    assert annotations["prometheus.io/port"] == str(settings.metrics.port)
    (metric,) = of_kind("HorizontalPodAutoscaler")["spec"]["metrics"]
    assert metric["pods"]["metric"]["name"] in (DEPLOY.parent / "docs" / "metrics.md").read_text()


def configuration(text: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    from tempfile import NamedTemporaryFile

    with NamedTemporaryFile("w", suffix=".yaml") as file:
        file.write(text)
        file.flush()
        return load(Path(file.name)).settings


def test_the_compose_files_mount_what_is_there_and_start_a_configuration_that_is_valid(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for file in (DEPLOY / "compose" / "docker-compose.yml", DEPLOY / "elk" / "docker-compose.yml"):
        whole = yaml.safe_load(file.read_text())
        for name, service in whole["services"].items():
            assert service.keys() & {"image", "build"}, name
            assert set(service.get("depends_on", ())) <= whole["services"].keys()
            for volume in service.get("volumes", ()):
                source = volume.split(":")[0]
                if source.startswith("."):
                    assert (file.parent / source).resolve().exists(), volume
                elif not source.startswith("$"):
                    assert source in whole["volumes"], volume
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    settings = configuration((DEPLOY / "compose" / "config.yaml").read_text(), monkeypatch)
    assert settings.metrics.port == 9090
    scraped = yaml.safe_load((DEPLOY / "compose" / "prometheus.yml").read_text())["scrape_configs"][0]
    assert scraped["static_configs"] == [{"targets": ["hapax:9090"]}]


def test_the_unit_gives_streams_time_to_end_and_reloads_by_signal() -> None:
    unit = configparser.ConfigParser(interpolation=None, strict=False)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(DEPLOY / "systemd" / "hapax.service")
    service = unit["Service"]
    assert int(service["TimeoutStopSec"].removesuffix("s")) > 30 + 5
    assert service["ExecReload"] == "/bin/kill -HUP $MAINPID"
    assert (service["User"], service["Restart"], service["NoNewPrivileges"]) == ("hapax", "on-failure", "yes")


@pytest.mark.parametrize("file", DASHBOARDS, ids=lambda file: file.stem)
def test_a_dashboard_is_in_the_form_that_is_provisioned_from_files(file: Path) -> None:
    dashboard = json.loads(file.read_text())
    assert "dashboard" not in dashboard
    assert dashboard["uid"] == file.stem
    assert dashboard["schemaVersion"] >= 39
    assert {"llm", "router", "ai"} <= set(dashboard["tags"])
    for panel in dashboard["panels"]:
        if panel["type"] != "row":
            assert panel["type"] in ("timeseries", "stat", "piechart", "heatmap", "table", "state-timeline"), panel[
                "title"
            ]
            assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])


def braces_match(text: str) -> bool:
    depth = 0
    for mark in re.findall(r"[{}]", re.sub(r'"[^"]*"|#.*', "", text)):
        depth += 1 if mark == "{" else -1
        if depth < 0:
            return False
    return depth == 0


def sorted_by_logstash(line: dict[str, Any]) -> dict[str, Any]:
    """What deploy/elk/logstash.conf makes of a line, step by step: an equivalent, since there is no Logstash here."""
    event = {**line, "tags": []}
    if event["logger"] == "hapax.access" and event["event"] == "housekeeping":
        event["event_type"] = "housekeeping"
    elif event["logger"] == "hapax.access":
        event["event_type"] = "inference"
        if "latency_ms" in event:
            latency = event["latency_ms"]
            event["performance"] = "slow" if latency > 10000 else "medium" if latency > 5000 else "fast"
    elif event["logger"] == "hapax.audit":
        event["event_type"] = "audit"
    if event["level"] == "error":
        event["tags"].append("error")
    return event


def test_the_log_pipeline_reads_the_fields_our_lines_have() -> None:
    pipeline = (DEPLOY / "elk" / "logstash.conf").read_text()
    assert braces_match(pipeline)
    documented = set(re.findall(r"`(\w+)`", (DEPLOY.parent / "docs" / "logs.md").read_text()))
    fields = set(re.findall(r"\[(\w+)\]", pipeline)) - {"fields", "service"}
    assert fields == {"logger", "event", "latency_ms", "level"}
    assert fields | {"timestamp"} <= documented
    slow = {"logger": "hapax.access", "level": "info", "event": "call", "latency_ms": 10001.5}
    assert sorted_by_logstash(slow) == {**slow, "event_type": "inference", "performance": "slow", "tags": []}
    assert sorted_by_logstash({**slow, "latency_ms": 5001})["performance"] == "medium"
    assert sorted_by_logstash({**slow, "latency_ms": 12})["performance"] == "fast"
    probe = sorted_by_logstash({**slow, "event": "housekeeping"})
    assert (probe["event_type"], "performance" in probe) == ("housekeeping", False)
    failed = sorted_by_logstash({"logger": "hapax", "level": "error"})
    assert (failed["tags"], "event_type" in failed) == (["error"], False)
    shipped = yaml.safe_load((DEPLOY / "elk" / "filebeat.yml").read_text())
    (source,) = shipped["filebeat.inputs"]
    assert source["parsers"] == [{"ndjson": {"target": "", "overwrite_keys": True, "add_error_key": True}}]
    assert source["fields"]["service"] == "hapax"
