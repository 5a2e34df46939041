"""The manifests: each keeps to its schema, and they name the same ports, labels and metrics."""

import asyncio
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from typer.testing import CliRunner

from proxy.cli.command import app
from tests.conftest import GatewayFactory
from tests.deploy.serving import serving
from tests.deploy.test_files import KUBERNETES, MANIFESTS, SECRETS, of_kind
from tests.rigs.prometheus import DEPLOY
from tests.rigs.simulator import Simulator
from tests.spec.wire import ask, get

FOLDER = DEPLOY / "kubernetes"
METRIC = "hapax_http_active_requests"


def manifests(file: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((FOLDER / file).read_text()))


@pytest.mark.parametrize("file", ["ingress.yaml", "networkpolicy.yaml", "backup.yaml"])
def test_a_manifest_keeps_to_the_schema_of_kubernetes(file: str) -> None:
    for manifest in manifests(file):
        kubernetes_validate.validate(manifest, KUBERNETES, strict=True)
        assert manifest["metadata"]["namespace"] == "hapax"


def test_every_file_is_told_of() -> None:
    page = (DEPLOY.parent / "docs" / "deploy.md").read_text()
    assert set(re.findall(r"^\| `([\w.-]+\.yaml)` \|", page, re.MULTILINE)) == set(os.listdir(FOLDER))


def pod(kind: str) -> dict[str, Any]:
    """The pods of the deployment, or of the job that makes backups."""
    if kind == "Deployment":
        return dict(of_kind("Deployment")["spec"]["template"])
    (job,) = (each for each in manifests("backup.yaml") if each["kind"] == kind)
    return dict(job["spec"]["jobTemplate"]["spec"]["template"])


@pytest.mark.parametrize("kind", ["Deployment", "CronJob"])
def test_a_pod_has_no_more_rights_than_it_needs(kind: str) -> None:
    spec = pod(kind)["spec"]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["runAsUser"] == spec["securityContext"]["fsGroup"] == 10001
    assert (spec["automountServiceAccountToken"], spec["enableServiceLinks"]) == (False, False)
    (container,) = spec["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    named = {volume["name"] for volume in spec["volumes"]}
    assert {mount["name"] for mount in container["volumeMounts"]} == named


def test_the_labels_by_which_they_find_each_other_are_the_same() -> None:
    labels = pod("Deployment")["metadata"]["labels"]
    service, budget = of_kind("Service"), of_kind("PodDisruptionBudget")
    assert service["spec"]["selector"] == budget["spec"]["selector"]["matchLabels"] == labels == {"app": "hapax"}
    # No call may be led to the job that makes backups.
    assert pod("CronJob")["metadata"]["labels"] == {"app": "hapax-backup"}
    (monitor,) = manifests("servicemonitor.yaml")
    assert monitor["spec"]["selector"]["matchLabels"] == service["metadata"]["labels"]
    (policy,) = manifests("networkpolicy.yaml")
    assert policy["spec"]["podSelector"]["matchExpressions"][0]["values"] == ["hapax", "hapax-backup"]


def test_the_ports_they_name_are_those_of_the_pods() -> None:
    (container,) = pod("Deployment")["spec"]["containers"]
    named = {port["name"]: port["containerPort"] for port in container["ports"]}
    service = {port["name"]: port["targetPort"] for port in of_kind("Service")["spec"]["ports"]}
    assert service == {name: name for name in named}
    (ingress,) = manifests("ingress.yaml")
    (rule,) = ingress["spec"]["rules"]
    (path,) = rule["http"]["paths"]
    assert path["backend"]["service"] == {"name": "hapax", "port": {"name": "http"}}
    assert ingress["spec"]["tls"][0]["hosts"] == [rule["host"]]
    (monitor,) = manifests("servicemonitor.yaml")
    assert (monitor["apiVersion"], monitor["kind"]) == ("monitoring.coreos.com/v1", "ServiceMonitor")
    assert [(each["port"], each["path"]) for each in monitor["spec"]["endpoints"]] == [("metrics", "/metrics")]
    (policy,) = manifests("networkpolicy.yaml")
    assert [each["ports"][0]["port"] for each in policy["spec"]["ingress"]] == ["http", "metrics"]


def test_the_network_policy_lets_out_what_the_configuration_asks_for() -> None:
    (policy,) = manifests("networkpolicy.yaml")
    let_out = {port["port"] for rule in policy["spec"]["egress"] for port in rule["ports"]}
    asked = {int(port) for port in re.findall(r":(\d{4})/", " ".join(SECRETS.values()))} | {443, 53, 5432}
    assert asked <= let_out


# The metric that is scaled by.


async def test_what_the_autoscaler_reads_is_a_series_of_the_gateway(
    gateway: GatewayFactory, simulator: Simulator
) -> None:
    page = (await ask((await gateway()).port, get("/metrics"))).body.decode()
    assert re.search(rf"^{METRIC}(\{{.*\}})? \d", page, re.MULTILINE)
    (metric,) = of_kind("HorizontalPodAutoscaler")["spec"]["metrics"]
    assert metric["pods"]["metric"]["name"] == METRIC
    (rule,) = manifests("prometheus-adapter.yaml")[0]["rules"]["custom"]
    assert rule["seriesQuery"] == f'{METRIC}{{namespace!="",pod!=""}}'
    assert re.sub(rule["name"]["matches"], rule["name"]["as"], METRIC) == METRIC
    assert set(rule["resources"]["overrides"]) == {"namespace", "pod"}


def test_the_labels_the_adapter_needs_are_put_on_the_series(tmp_path: Path) -> None:
    scrape = manifests("prometheus-scrape.yaml")[0]
    (job,) = scrape["scrape_configs"]
    assert {each["target_label"] for each in job["relabel_configs"] if "target_label" in each} == {"namespace", "pod"}
    kept = {each["source_labels"][0]: each["regex"] for each in job["relabel_configs"] if each.get("action") == "keep"}
    (container,) = pod("Deployment")["spec"]["containers"]
    assert kept["__meta_kubernetes_pod_label_app"] == pod("Deployment")["metadata"]["labels"]["app"]
    assert kept["__meta_kubernetes_pod_container_port_name"] in {port["name"] for port in container["ports"]}
    # Debian's Prometheus is built without what looks for pods; the rest it reads.
    assert job.pop("kubernetes_sd_configs") == [{"role": "pod"}]
    job["static_configs"] = [{"targets": ["127.0.0.1:9090"]}]
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(scrape))
    checked = subprocess.run(
        [shutil.which("promtool") or "promtool", "check", "config", "--syntax-only", str(tmp_path / "prometheus.yml")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stderr


def test_what_the_adapter_asks_prometheus_for_is_a_query(tmp_path: Path) -> None:
    (rule,) = manifests("prometheus-adapter.yaml")[0]["rules"]["custom"]
    query = rule["metricsQuery"].replace("<<.Series>>", METRIC).replace("<<.GroupBy>>", "pod")
    query = query.replace("<<.LabelMatchers>>", 'namespace="hapax",pod=~"hapax-1|hapax-2"')
    series = [
        {
            "series": f'{METRIC}{{namespace="hapax",pod="hapax-{pod}",endpoint="/v1/{n}"}}',
            "values": f"{10 * pod}x2",
        }
        for pod in (1, 2)
        for n in (1, 2)
    ]
    expected = [{"labels": f'{{pod="hapax-{pod}"}}', "value": 20 * pod} for pod in (1, 2)]
    test = {
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "1m",
                "input_series": series,
                "promql_expr_test": [{"expr": query, "eval_time": "1m", "exp_samples": expected}],
            }
        ],
    }
    (tmp_path / "test.yml").write_text(yaml.safe_dump(test))
    ran = subprocess.run(["promtool", "test", "rules", str(tmp_path / "test.yml")], capture_output=True, check=False)
    assert ran.returncode == 0, ran.stdout.decode() + ran.stderr.decode()


# A change of the ConfigMap.


def mount(folder: Path, revision: int, content: str) -> None:
    """Lay *content* into *folder* as the kubelet does: a folder of its own, and a link that is exchanged at once."""
    made = folder / f"..2026_11_30_12_00_0{revision}.1"
    made.mkdir(parents=True)
    (made / "config.yaml").write_text(content)
    link = folder / "..data_tmp"
    link.symlink_to(made.name)
    link.rename(folder / "..data")
    if not (folder / "config.yaml").is_symlink():
        (folder / "config.yaml").symlink_to("..data/config.yaml")


async def test_a_changed_config_map_is_in_force_without_a_restart(tmp_path: Path, unused_tcp_port: int) -> None:
    content = of_kind("ConfigMap")["data"]["config.yaml"]
    # The same file, with what is not here replaced: providers, PostgreSQL, Redis and the port for metrics.
    whole = yaml.safe_load(content)
    whole |= {"providers": {"sim": {"type": "simulator"}}, "store": {"url": ""}, "state": {"url": "memory://"}}
    whole["server"] |= {"host": "127.0.0.1"}
    whole["auth"] = {"admin_key": SECRETS["HAPAX_ADMIN_KEY"]}
    whole["metrics"] |= {"host": "127.0.0.1", "port": unused_tcp_port}
    mount(tmp_path / "app", 1, yaml.safe_dump(whole))
    head = f"X-API-Key: {SECRETS['HAPAX_ADMIN_KEY']}\r\n"
    async with serving(tmp_path, CONFIG_PATH=str(tmp_path / "app" / "config.yaml")) as port:

        async def budget() -> Any:
            values = (await ask(port, get("/admin/config", head=head))).json["values"]
            return values["failover.budget"]["value"]

        assert await budget() == 0.2
        mount(tmp_path / "app", 2, yaml.safe_dump({**whole, "failover": {"budget": 0.5}}))
        async with asyncio.timeout(30):
            while await budget() != 0.5:  # noqa: ASYNC110  # another process tells of it by nothing else
                await asyncio.sleep(0.05)


# Backups.


def test_the_job_keeps_backups_where_its_volume_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    claim, job = manifests("backup.yaml")
    (container,) = pod("CronJob")["spec"]["containers"]
    folders = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert container["args"][-1] == folders["backups"]
    (volume,) = (each for each in pod("CronJob")["spec"]["volumes"] if each["name"] == "backups")
    assert volume["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
    assert job["spec"]["concurrencyPolicy"] == "Forbid"
    (serving,) = pod("Deployment")["spec"]["containers"]
    assert container["env"] == serving["env"]
    # Run as it stands, but for the folder, with the configuration of the pods over a SQLite store.
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("HAPAX_STORE_URL", f"sqlite:///{tmp_path}/hapax.db")
    config = tmp_path / "config.yaml"
    config.write_text(of_kind("ConfigMap")["data"]["config.yaml"])
    monkeypatch.setenv("CONFIG_PATH", str(config))
    assert CliRunner().invoke(app, ["keys", "create", "web"]).exit_code == 0
    (tmp_path / "backups").mkdir()
    arguments = [each.replace(folders["backups"], str(tmp_path / "backups")) for each in container["args"]]
    result = CliRunner().invoke(app, arguments)
    assert (result.exit_code, "holds 1 key and 0 calls" in result.stdout) == (0, True), result.output


def test_the_pods_and_the_job_are_all_there_is() -> None:
    kinds = [manifest["kind"] for manifest in MANIFESTS]
    assert sorted(kinds) == [
        "ConfigMap",
        "Deployment",
        "HorizontalPodAutoscaler",
        "Namespace",
        "PodDisruptionBudget",
        "Service",
    ]
