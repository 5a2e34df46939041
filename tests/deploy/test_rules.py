"""The rules of Prometheus and the routes of Alertmanager, read by the tools that will read them."""

import re
import subprocess
from pathlib import Path
from typing import Any

import yaml

from tests.rigs.prometheus import DEPLOY

PROMETHEUS = DEPLOY / "prometheus"
DOCS = DEPLOY.parent / "docs"
ROUTED = {"critical": "oncall", "high": "oncall", "warning": "warnings", "medium": "warnings"}
"""Who hears of an alert of each severity there is; whatever has none goes to `team`."""
SEEDED = {
    "SustainedErrorRate": "high",
    "ProviderTimeouts": "medium",
    "StoreWriteErrors": "critical",
    "SlowFirstToken": "medium",
    "RetryStorm": "high",
    "ApiDown": "critical",
    "HighErrorRate": "warning",
    "CriticalErrorRate": "critical",
    "HighResponseTime": "warning",
    "CriticalResponseTime": "critical",
    "HighMemoryUsage": "warning",
    "CriticalMemoryUsage": "critical",
    "NoModelsLoaded": "critical",
    "LowCacheHitRate": "warning",
    "HighQueueSize": "warning",
    "CriticalQueueSize": "critical",
    "ServiceDown": "critical",
    "LowTokenGeneration": "warning",
}
"""The severities that the systems hapax follows gave the alerts it has from them."""


def ran(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def alerts() -> dict[str, dict[str, Any]]:
    groups = yaml.safe_load((PROMETHEUS / "alerts.yml").read_text())["groups"]
    return {rule["alert"]: rule for group in groups for rule in group["rules"]}


def groups_of_tests() -> dict[str, dict[str, Any]]:
    return {group["name"]: group for group in yaml.safe_load((PROMETHEUS / "alerts_test.yml").read_text())["tests"]}


def firing(group: dict[str, Any]) -> set[str]:
    """The alerts that are expected to fire at one time or another."""
    labels = " ".join(each["labels"] for test in group["promql_expr_test"] for each in test["exp_samples"])
    return set(re.findall(r'alertname="(\w+)"', labels))


def series_read() -> set[str]:
    """Every family that an alert or a rule reads."""
    text = (PROMETHEUS / "rules.yml").read_text() + (PROMETHEUS / "alerts.yml").read_text()
    expressions = re.sub(r"^\s*#.*$|record:.*$|summary:.*$|description:.*$|runbook_url:.*$", "", text, flags=re.M)
    named = set(re.findall(r"(?<![:\w])((?:hapax|llm_router|circuit_breaker|gen_ai)_\w+)(?!\w*:)", expressions))
    # A label, and the name of a group.
    return named - {"gen_ai_operation_name", "hapax_providers"}


def headings() -> set[str]:
    lines = (DOCS / "runbooks" / "alerts.md").read_text().splitlines()
    return {line.removeprefix("## ").lower() for line in lines if line.startswith("## ")}


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


def test_every_alert_fires_for_its_reason_and_none_fires_beside_it() -> None:
    ran("promtool", "test", "rules", str(PROMETHEUS / "alerts_test.yml"))
    groups = groups_of_tests()
    for name, group in groups.items():
        # All that fires is expected, and nothing else.
        assert all(test["expr"] == 'ALERTS{alertstate="firing"}' for test in group["promql_expr_test"]), name
    fired = [firing(group) for group in groups.values()]
    assert set().union(*fired) == set(alerts())
    shown = {test["alertname"] for group in groups.values() for test in group.get("alert_rule_test", ())}
    assert shown == set(alerts()), "of each alert some group says what is told"


def test_no_alert_fires_on_a_busy_day_in_an_idle_night_or_while_there_are_embeddings_alone() -> None:
    groups = groups_of_tests()
    for name in ("a busy day", "an idle night", "embeddings only", "clients that are at fault"):
        assert firing(groups[name]) == set(), name
    for name in ("a busy day", "an idle night"):
        given = {each["series"].partition("{")[0] for each in groups[name]["input_series"]}
        # Silence of a series that is not there would show nothing.
        assert series_read() - given == set(), name


def test_every_alert_has_the_severity_that_was_asked_for_a_family_and_a_runbook_that_opens() -> None:
    for name, rule in alerts().items():
        assert rule["labels"]["severity"] in ROUTED, name
        assert rule["labels"]["severity"] == SEEDED.get(name, rule["labels"]["severity"]), name
        assert rule["labels"]["family"], name
        page, _, anchor = rule["annotations"]["runbook_url"].partition("#")
        assert (page, anchor) == ("{{ $externalLabels.runbooks }}/alerts.md", name.lower())
        assert anchor in headings(), f"docs/runbooks/alerts.md has no section {name}"
    assert SEEDED.keys() <= alerts().keys()


def test_prometheus_knows_where_the_runbooks_lie_and_tells_alertmanager_the_whole_address_alone() -> None:
    for file in (PROMETHEUS / "prometheus.yml", DEPLOY / "compose" / "prometheus.yml"):
        config = yaml.safe_load(file.read_text())
        assert config["global"]["external_labels"]["runbooks"].endswith("/docs/runbooks"), file
        assert {"action": "labeldrop", "regex": "runbooks"} in config["alerting"]["alert_relabel_configs"], file


def test_the_document_of_alerts_tells_of_each_its_severity_and_which_tests_have_seen_it_fire() -> None:
    groups = groups_of_tests()
    told = {}
    for line in (DOCS / "alerts.md").read_text().splitlines():
        row = re.fullmatch(r"\| `(\w+)` \| (\w+) \| (.+) \| (.+) \| (.+) \|", line)
        if row is not None:
            name, severity, fires, silent, seen = row.groups()
            told[name] = severity
            assert fires, name
            assert silent, name
            named = set(re.findall(r'"([^"]+)"', seen))
            assert named == {each for each, group in groups.items() if name in firing(group)}, name
            for file in re.findall(r"`([^`]+)`", seen):
                assert f'"{name}"' in (DEPLOY.parent / file).read_text(), (name, file)
    assert told == {name: rule["labels"]["severity"] for name, rule in alerts().items()}


def test_every_series_an_alert_or_a_rule_reads_exists_in_the_documents() -> None:
    known = set(re.findall(r"^\| `(\w+)`", (DOCS / "metrics.md").read_text(), re.MULTILINE))
    read = {re.sub(r"_(bucket|sum|count)$", "", name) for name in series_read()}
    assert read - known == set()


def test_amtool_accepts_the_routes_and_finds_their_receivers() -> None:
    file = str(DEPLOY / "alertmanager" / "alertmanager.yml")
    ran("amtool", "check-config", file)
    for severity, receiver in {**ROUTED, "none": "team"}.items():
        found = ran("amtool", "config", "routes", "test", f"--config.file={file}", f"severity={severity}")
        assert found.strip() == receiver


def test_the_end_of_an_alert_is_sent_to_whom_its_beginning_was() -> None:
    config = yaml.safe_load((DEPLOY / "alertmanager" / "alertmanager.yml").read_text())
    for receiver in config["receivers"]:
        for kind in ("email_configs", "slack_configs"):
            for each in receiver.get(kind, ()):
                assert each["send_resolved"] is True, receiver["name"]
