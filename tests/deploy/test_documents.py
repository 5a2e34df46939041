"""What docs/deploy.md and the comments of deploy/ say of files is so, and the commands in them make what they say."""

import os
import re
import subprocess
from pathlib import Path

import yaml

from tests.rigs.built import ROOT
from tests.rigs.prometheus import DEPLOY

PAGE = (ROOT / "docs" / "deploy.md").read_text()


def test_every_file_that_a_file_of_deploy_names_is_there() -> None:
    for file in sorted(DEPLOY.rglob("*.*")):
        if (
            file.is_file()
            and "__pycache__" not in file.parts
            and file.suffix in {".yml", ".yaml", ".conf", ".tpl", ".txt"}
        ):
            for named in re.findall(r"\b(?:deploy|docs|config)/[\w./-]*\w\.\w+", file.read_text()):
                assert (ROOT / named).exists(), f"{file.relative_to(ROOT)} names {named}"


def test_the_chart_has_every_kind_of_manifest_but_those_the_page_excepts() -> None:
    def kinds(text: str) -> set[str]:
        return set(re.findall(r"^kind: (\w+)$", text, re.MULTILINE)) - {"Namespace"}

    chart = kinds("\n".join(each.read_text() for each in (DEPLOY / "helm" / "hapax" / "templates").iterdir()))
    manifests = {each.name: kinds(each.read_text()) for each in (DEPLOY / "kubernetes").iterdir()}
    left_out = {name for name, its in manifests.items() if not its or not its <= chart}
    said = re.search(r"It has neither `([\w.-]+)` nor `([\w.-]+)`", PAGE)
    assert said is not None
    assert set(said.groups()) == left_out


def test_the_rules_for_the_operator_are_those_of_prometheus(tmp_path: Path) -> None:
    (commands,) = (each for each in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL) if "PrometheusRule" in each)
    kubectl = tmp_path / "kubectl"
    kubectl.write_text('#!/bin/sh\n[ "$*" = "apply -f -" ] && exec cat\n')
    kubectl.chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    done = subprocess.run(
        ["sh", "-ec", commands], cwd=ROOT, env={"PATH": path}, capture_output=True, text=True, check=True
    )
    made = [each for each in yaml.safe_load_all(done.stdout) if each]
    assert {(each["apiVersion"], each["kind"]) for each in made} == {("monitoring.coreos.com/v1", "PrometheusRule")}
    assert {each["metadata"]["name"]: each["spec"] for each in made} == {
        f"hapax-{name}": yaml.safe_load((DEPLOY / "prometheus" / f"{name}.yml").read_text())
        for name in ("rules", "alerts")
    }
    # They are looked for as the ServiceMonitor is.
    monitor = yaml.safe_load((DEPLOY / "kubernetes" / "servicemonitor.yaml").read_text())
    for each in made:
        assert each["metadata"]["labels"] == monitor["metadata"]["labels"]
        assert each["metadata"]["namespace"] == monitor["metadata"]["namespace"]


def test_an_address_of_grafanas_sources_is_a_service_of_compose_or_told_to_be_a_placeholder() -> None:
    services = yaml.safe_load((DEPLOY / "compose" / "docker-compose.yml").read_text())["services"]
    sources = DEPLOY / "grafana" / "provisioning" / "datasources" / "prometheus.yml"
    for source in yaml.safe_load(sources.read_text())["datasources"]:
        host = re.match(r"http://([\w-]+):\d+$", source["url"])[1]  # type: ignore[index]
        if host not in services:
            assert f"`{source['url']}`, is a placeholder" in PAGE


def test_the_tests_have_the_packages_of_the_image_in_the_same_versions() -> None:
    def pinned(name: str) -> dict[str, str]:
        return dict(re.findall(r"^([\w.-]+)==(\S+)", (ROOT / "requirements" / name).read_text(), re.MULTILINE))

    tests, image = pinned("test.lock"), pinned("image.lock")
    assert {name: tests[name] for name in tests.keys() & image.keys()} == {
        name: image[name] for name in tests.keys() & image.keys()
    }
