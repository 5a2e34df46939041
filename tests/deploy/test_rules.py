"""The rules of Prometheus and the routes of Alertmanager, read by the tools that will read them."""

import re
import subprocess
from pathlib import Path
from typing import Any

import yaml

from tests.rigs.prometheus import DEPLOY

PROMETHEUS = DEPLOY / "prometheus"
RUNBOOK = DEPLOY.parent / "docs" / "runbooks" / "alerts.md"


def ran(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def alerts() -> dict[str, dict[str, Any]]:
    groups = yaml.safe_load((PROMETHEUS / "alerts.yml").read_text())["groups"]
    return {rule["alert"]: rule for group in groups for rule in group["rules"]}


def test_promtool_accepts_the_configuration_and_both_files_of_rules(tmp_path: Path) -> None:
    key = tmp_path / "hapax.key"
    key.write_text("key")
    for name in ("rules.yml", "alerts.yml"):
        (tmp_path / name).write_text((PROMETHEUS / name).read_text())
    config = (PROMETHEUS / "prometheus.yml").read_text().replace("/etc/prometheus/hapax.key", str(key))
    (tmp_path / "prometheus.yml").write_text(config)
    ran("promtool", "check", "config", str(tmp_path / "prometheus.yml"))
    (tmp_path / "prometheus.yml").write_text((DEPLOY / "compose" / "prometheus.yml").read_text())
    ran("promtool", "check", "config", str(tmp_path / "prometheus.yml"))


def test_every_alert_fires_for_its_reason_and_none_while_nothing_happens() -> None:
    ran("promtool", "test", "rules", str(PROMETHEUS / "alerts_test.yml"))
    tests = yaml.safe_load((PROMETHEUS / "alerts_test.yml").read_text())["tests"]
    fired, silent = set(), set()
    for test in tests:
        for each in test["alert_rule_test"]:
            (fired if each["exp_alerts"] else silent).add(each["alertname"])
    assert fired == silent == set(alerts())


def test_every_alert_has_a_severity_a_family_and_a_section_in_the_runbook() -> None:
    headings = {line.removeprefix("## ").lower() for line in RUNBOOK.read_text().splitlines() if line.startswith("## ")}
    for name, rule in alerts().items():
        assert rule["labels"]["severity"] in ("warning", "critical"), name
        assert rule["labels"]["family"], name
        assert rule["annotations"]["runbook"] == f"docs/runbooks/alerts.md#{name.lower()}"
        assert name.lower() in headings, f"docs/runbooks/alerts.md has no section {name}"


def test_every_series_an_alert_or_a_rule_reads_exists_in_the_documents() -> None:
    known = set(re.findall(r"^\| `(\w+)`", (DEPLOY.parent / "docs" / "metrics.md").read_text(), re.MULTILINE))
    text = (PROMETHEUS / "rules.yml").read_text() + (PROMETHEUS / "alerts.yml").read_text()
    expressions = re.sub(r"^\s*#.*$|record:.*$|summary:.*$|description:.*$|runbook:.*$", "", text, flags=re.MULTILINE)
    named = set(re.findall(r"(?<![:\w])((?:hapax|llm_router|circuit_breaker)_\w+)(?!\w*:)", expressions))
    read = {re.sub(r"_(bucket|sum|count)$", "", name) for name in named} - {"hapax_providers"}
    assert read - known == set()


def test_amtool_accepts_the_routes_and_finds_their_receivers() -> None:
    file = str(DEPLOY / "alertmanager" / "alertmanager.yml")
    ran("amtool", "check-config", file)
    for labels, receiver in {
        "severity=critical": "oncall",
        "severity=warning": "warnings",
        "severity=none": "team",
    }.items():
        assert ran("amtool", "config", "routes", "test", f"--config.file={file}", labels).strip() == receiver
