"""
The Helm chart. What can be said of it without Helm always is: its values keep to their schema, each value is used, each
value that is used is there, and the configuration in it is valid. Where Helm is installed, it renders the chart, and
what comes out keeps to the schemas of Kubernetes. Neither Debian nor PyPI has it; Go makes it in some minutes:
go install helm.sh/helm/v3/cmd/helm@v3.22.0
"""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

import proxy
from proxy.settings import load
from tests.deploy.test_files import KUBERNETES, MANIFESTS, SECRETS, of_kind
from tests.rigs.prometheus import DEPLOY

CHART = DEPLOY / "helm" / "hapax"
VALUES = yaml.safe_load((CHART / "values.yaml").read_text())
SCHEMA = json.loads((CHART / "values.schema.json").read_text())
TEMPLATES = {file.name: file.read_text() for file in sorted((CHART / "templates").iterdir())}
HELM = shutil.which("helm") or shutil.which("helm", path=str(Path.home() / "go" / "bin"))
SWITCHES = ("autoscaling", "podDisruptionBudget", "serviceMonitor", "ingress", "networkPolicy", "backup")

with_helm = pytest.mark.skipif(HELM is None, reason="no helm, which neither Debian nor PyPI has: go install it")


def actions() -> list[tuple[str, str]]:
    """Every `{{ ... }}` of every template, with its file."""
    return [
        (name, said)
        for name, text in TEMPLATES.items()
        for said in re.findall(r"\{\{-?\s*(.*?)\s*-?\}\}", text, re.DOTALL)
    ]


def used() -> set[str]:
    """The paths of values that some template names, and of those that stand in the scope of a `with`."""
    return {path for _, said in actions() for path in re.findall(r"\.Values\.([\w.]+)", said)}


def leaves(values: Any, path: str = "") -> list[str]:
    """Every path of *values* that leads to no mapping."""
    if not isinstance(values, dict) or not values:
        return [path]
    return [leaf for name, value in values.items() for leaf in leaves(value, f"{path}.{name}" if path else name)]


def at(values: Any, path: str) -> Any:
    for step in path.split("."):
        values = values[step]
    return values


def test_the_chart_is_of_this_release() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert (chart["apiVersion"], chart["name"], chart["type"]) == ("v2", "hapax", "application")
    assert chart["appVersion"] == proxy.__version__


def test_its_values_keep_to_their_schema() -> None:
    jsonschema.Draft7Validator.check_schema(SCHEMA)
    jsonschema.validate(VALUES, SCHEMA)
    # Every value is told of by the schema, so that one that is misspelt is refused.
    for name, value in VALUES.items():
        told = SCHEMA["properties"][name]
        if isinstance(value, dict) and name not in ("config", "resources", "podAnnotations"):
            assert told["additionalProperties"] is False, name
            assert value.keys() == told["properties"].keys(), name


@pytest.mark.parametrize(
    "values",
    [
        {"replica": 3},
        {"replicas": 0},
        {"image": {"tag": "1"}},
        {"autoscaling": {"enabled": True, "activeRequests": 200}},
        {"backup": {"keep": 0}},
        {"ingress": {"hosts": ["a"]}},
        {"config": {"server": {"host": "127.0.0.1", "port": 8080}, "metrics": {"host": "0.0.0.0", "port": 9090}}},
        {
            "config": {
                "server": {"host": "0.0.0.0", "port": 8080, "tls": {"cert_file": "a", "key_file": "b"}},
                "metrics": {"host": "0.0.0.0", "port": 9090},
            }
        },
        {"config": {"server": {"host": "0.0.0.0", "port": 80}, "metrics": {"host": "0.0.0.0", "port": 9090}}},
    ],
    ids=str,
)
def test_values_that_would_not_do_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(values, SCHEMA)


def test_every_value_a_template_names_is_there() -> None:
    for path in used():
        at(VALUES, path)


def test_every_value_is_used() -> None:
    named = used()
    for leaf in leaves(VALUES):
        steps = leaf.split(".")
        above = {".".join(steps[:length]) for length in range(1, len(steps) + 1)}
        assert above & named, f"{leaf} is named by no template"


def test_every_template_ends_what_it_begins() -> None:
    opening = re.compile(r"^(if|with|range|define)\b")
    for name in TEMPLATES:
        said = [words for file, words in actions() if file == name]
        begun = sum(opening.match(words) is not None for words in said)
        assert begun == sum(words == "end" for words in said), name
    defined = set(re.findall(r'define "([\w.]+)"', TEMPLATES["_helpers.tpl"]))
    included = {name for text in TEMPLATES.values() for name in re.findall(r'include "([\w.]+)"', text)}
    assert included == defined


def test_the_configuration_in_it_is_valid_and_gives_streams_time_to_end(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump(VALUES["config"]))
    loaded = load(file, environ=SECRETS)
    server = loaded.settings.server
    assert [warning.partition(":")[0] for warning in loaded.warnings] == ["auth.keys"]
    assert VALUES["terminationGracePeriodSeconds"] > server.drain_delay + server.shutdown_timeout
    # The same as beside it, without Helm.
    assert VALUES["config"] == {
        **yaml.safe_load(of_kind("ConfigMap")["data"]["config.yaml"]),
        "server": VALUES["config"]["server"],
    }


def test_each_part_can_be_switched_off_and_what_needs_more_than_kubernetes_is() -> None:
    assert [name for name in SWITCHES if VALUES[name]["enabled"]] == ["podDisruptionBudget"]
    kinds = {name: f"{{{{- if .Values.{name}.enabled }}}}\n" for name in SWITCHES}
    for name, begin in kinds.items():
        (text,) = (text for text in TEMPLATES.values() if text.startswith(begin))
        assert text.endswith("{{- end }}\n"), name


# What Helm makes of it.


def rendered(*arguments: str) -> list[dict[str, Any]]:
    assert HELM is not None
    done = subprocess.run(
        [
            HELM,
            "template",
            "hapax",
            str(CHART),
            "--namespace",
            "hapax",
            "--kube-version",
            f"{KUBERNETES}.0",
            *arguments,
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [manifest for manifest in yaml.safe_load_all(done.stdout) if manifest]


def everything(*arguments: str) -> list[dict[str, Any]]:
    return rendered(*(word for name in SWITCHES for word in ("--set", f"{name}.enabled=true")), *arguments)


@with_helm
def test_helm_finds_no_fault_with_it() -> None:
    assert HELM is not None
    done = subprocess.run([HELM, "lint", "--strict", str(CHART)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@with_helm
@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--set", "replicas=1"),
        ("--set", "service.type=LoadBalancer", "--set", "image.tag=0.1.0-1"),
        ("--set", "tlsSecret=hapax-certificate", "--set", "service.port=443"),
        ("--set", "ingress.tlsSecret=", "--set", "backup.storageClass=fast", "--set", "podAnnotations.team=llm"),
    ],
    ids=str,
)
def test_what_comes_out_keeps_to_the_schemas_of_kubernetes(arguments: tuple[str, ...]) -> None:
    for manifests in (rendered(*arguments), everything(*arguments)):
        for manifest in manifests:
            if manifest["kind"] != "ServiceMonitor":
                kubernetes_validate.validate(manifest, KUBERNETES, strict=True)
            assert manifest["metadata"]["labels"]["app.kubernetes.io/name"] == "hapax"


@with_helm
def test_it_makes_what_the_manifests_beside_it_make() -> None:
    kinds = sorted(manifest["kind"] for manifest in rendered())
    assert kinds == ["ConfigMap", "Deployment", "PodDisruptionBudget", "Service", "Service"]
    whole = {manifest["kind"] for manifest in everything()}
    assert whole == {manifest["kind"] for manifest in MANIFESTS} - {"Namespace"} | {
        "CronJob",
        "Ingress",
        "NetworkPolicy",
        "PersistentVolumeClaim",
        "ServiceMonitor",
    }


@with_helm
def test_the_pods_are_reached_by_what_looks_for_them() -> None:
    found = {(each["kind"], each["metadata"]["name"]): each for each in everything()}
    deployment = found["Deployment", "hapax"]["spec"]
    assert "replicas" not in deployment
    labels = deployment["template"]["metadata"]["labels"].items()
    for selector in (
        deployment["selector"]["matchLabels"],
        found["Service", "hapax"]["spec"]["selector"],
        found["Service", "hapax-metrics"]["spec"]["selector"],
        found["PodDisruptionBudget", "hapax"]["spec"]["selector"]["matchLabels"],
        found["NetworkPolicy", "hapax"]["spec"]["podSelector"]["matchLabels"],
    ):
        assert selector.items() <= labels
    monitor = found["ServiceMonitor", "hapax"]["spec"]["selector"]["matchLabels"].items()
    assert monitor <= found["Service", "hapax-metrics"]["metadata"]["labels"].items()
    assert not monitor <= found["Service", "hapax"]["metadata"]["labels"].items()
    job = found["CronJob", "hapax-backup"]["spec"]["jobTemplate"]["spec"]["template"]
    assert not found["Service", "hapax"]["spec"]["selector"].items() <= job["metadata"]["labels"].items()
    assert job["spec"]["containers"][0]["args"] == ["backup", "--keep", "24", "/backups"]
    (ingress,) = found["Ingress", "hapax"]["spec"]["rules"]
    assert ingress["http"]["paths"][0]["backend"]["service"]["name"] == "hapax"
    assert rendered("--set", "replicas=5")[-1]["spec"]["replicas"] == 5


def pod(manifest: dict[str, Any]) -> dict[str, Any]:
    """The pods of a deployment, or of the job that makes backups."""
    whole = manifest["spec"] if manifest["kind"] == "Deployment" else manifest["spec"]["jobTemplate"]["spec"]
    return dict(whole["template"]["spec"])


@with_helm
def test_a_certificate_is_mounted_where_the_configuration_says_it_is_and_takes_the_probes_along() -> None:
    found = {each["kind"]: each for each in everything("--set", "tlsSecret=hapax-certificate")}
    config = yaml.safe_load(found["ConfigMap"]["data"]["config.yaml"])
    assert config["server"].pop("tls") == {"cert_file": "/tls/tls.crt", "key_file": "/tls/tls.key"}
    assert config == VALUES["config"]
    # `hapax backup` reads the same configuration, which is refused where the files are not there.
    for kind in ("Deployment", "CronJob"):
        (container,) = pod(found[kind])["containers"]
        assert {"name": "tls", "mountPath": "/tls", "readOnly": True} in container["volumeMounts"]
        assert {"name": "tls", "secret": {"secretName": "hapax-certificate"}} in pod(found[kind])["volumes"]
    assert schemes(found["Deployment"]) == {"HTTPS"}


@with_helm
def test_without_a_certificate_the_pods_speak_http() -> None:
    found = {each["kind"]: each for each in everything()}
    assert schemes(found["Deployment"]) == {"HTTP"}
    assert yaml.safe_load(found["ConfigMap"]["data"]["config.yaml"]) == VALUES["config"]
    for kind in ("Deployment", "CronJob"):
        assert "tls" not in {volume["name"] for volume in pod(found[kind])["volumes"]}


def schemes(deployment: dict[str, Any]) -> set[str]:
    (container,) = pod(deployment)["containers"]
    return {container[f"{name}Probe"]["httpGet"]["scheme"] for name in ("startup", "liveness", "readiness")}


def test_the_notes_tell_the_scheme_that_the_pods_speak() -> None:
    assert 'answers at {{ include "hapax.scheme" . | lower }}://' in TEMPLATES["NOTES.txt"]


@with_helm
def test_the_backups_outlive_the_installation() -> None:
    (claim,) = (each for each in everything() if each["kind"] == "PersistentVolumeClaim")
    assert claim["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}


@with_helm
def test_helm_refuses_a_value_that_is_misspelt() -> None:
    assert HELM is not None
    done = subprocess.run(
        [HELM, "template", "hapax", str(CHART), "--set", "replica=3"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, "replica" in done.stderr) == (1, True)
