"""The files users read say what the code does: the annotated configuration, the examples, the schema, the reference."""

import json
import re
import tempfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from proxy.settings import Loaded, Settings, load, reference, schema
from proxy.settings.shape import every_field
from tests.rigs.quic import issue

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "config"
EXAMPLES = sorted(CONFIG.glob("examples/*.yaml"))


def _environ_for(file: Path) -> dict[str, str]:
    """Something for every variable without a default, a different thing for each."""
    names = dict.fromkeys(re.findall(r"\$\{(\w+)\}", file.read_text()))
    return {name: f"9f3c81e7d2b54a60{number:02}" for number, name in enumerate(names)}


def _loaded(file: Path) -> Loaded:
    with tempfile.TemporaryDirectory() as folder:
        for number, name in enumerate(re.findall(r"\$\{file:\$\{SECRETS:-[^}]*\}/([\w-]+)\}", file.read_text())):
            Path(folder, name).write_text(f"4b71d9e2c6a83f50{number:02}\n")
        return load(file, {**_environ_for(file), "SECRETS": folder})


def test_the_annotated_configuration_shows_the_defaults() -> None:
    shown, default = _loaded(CONFIG / "hapax.yaml").settings.model_dump(), Settings().model_dump()
    provider = shown.pop("providers")["openai"]
    assert default.pop("providers") == {}
    for settings in (shown, default):
        # Loading keeps only those that are configured; as written it is compared below.
        settings.pop("provider_preference")
    assert shown == default
    plain = Settings.model_validate({"providers": {"openai": {"api_key": "k"}}}).providers["openai"].model_dump()
    assert {**provider, "api_key": None} == {**plain, "api_key": None}


def test_the_annotated_configuration_writes_every_default_as_the_reference_does() -> None:
    raw = yaml.safe_load((CONFIG / "hapax.yaml").read_text())
    assert raw["provider_preference"] == list(Settings().provider_preference)
    optional = (
        "server.tls",
        "auth.admin_key",
        "auth.keys[]",
        "models.<name>",
        "limits.routes.<name>",
        "limits.models.<name>",
        "routes[]",
        "tracing.sentry_dsn",
    )
    for path, info in every_field(Settings):
        if path.startswith(optional) or path == "providers.<name>.api_keys":
            continue
        value: Any = raw
        for step in path.replace("<name>", "openai").split("."):
            assert step in value, f"{path} is not in config/hapax.yaml"
            value = value[step]
        if isinstance(info.default, str) and info.default and not path.startswith("providers"):
            assert value == info.default, path


def test_the_annotated_configuration_needs_nothing_but_its_key() -> None:
    loaded = _loaded(CONFIG / "hapax.yaml")
    assert loaded.warnings == []
    assert set(_environ_for(CONFIG / "hapax.yaml")) >= {"OPENAI_API_KEY"}


def test_the_minimal_configuration_loads() -> None:
    loaded = _loaded(CONFIG / "minimal.yaml")
    assert list(loaded.settings.providers) == ["openai"]
    assert loaded.warnings == []


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_every_example_loads_without_a_warning(file: Path, tmp_path: Path) -> None:
    """Where the certificate is that it names."""
    issue(tmp_path, name="cert")
    copy = tmp_path / file.name
    copy.write_text(file.read_text().replace("/etc/hapax/", f"{tmp_path}/").replace("key.pem", "cert.key"))
    assert _loaded(copy).warnings == []


def test_there_are_examples() -> None:
    assert {file.stem for file in EXAMPLES} >= {
        "two-providers-with-failover",
        "local-llama-behind-openai",
        "keys-and-browser-app",
        "azure",
        "stored-answers",
        "secrets-from-files",
        "http3",
    }


@pytest.mark.parametrize(
    "file", [CONFIG / "hapax.yaml", CONFIG / "minimal.yaml", *EXAMPLES], ids=lambda file: file.stem
)
def test_every_file_names_its_schema(file: Path) -> None:
    match = re.match(r"# yaml-language-server: \$schema=(\S+)\n", file.read_text())
    assert match is not None
    assert (file.parent / match[1]).resolve() == (CONFIG / "hapax.schema.json").resolve()


def test_the_schema_is_the_one_the_models_give() -> None:
    assert (CONFIG / "hapax.schema.json").read_text() == schema.text(), (
        "python -m proxy.settings.schema > config/hapax.schema.json"
    )


def test_the_schema_takes_durations_and_sizes_as_text_or_number() -> None:
    definitions = json.loads(schema.text())["$defs"]
    for field in (definitions["Server"]["properties"][name] for name in ("read_timeout", "max_body_bytes")):
        assert {choice["type"] for choice in field["anyOf"]} == {"string", "number"} or {
            choice["type"] for choice in field["anyOf"]
        } == {"string", "integer"}
    assert definitions["Server"]["properties"]["read_timeout"]["default"] == "30s"
    assert "required" not in definitions["Provider"]


def test_the_reference_is_the_one_the_models_give() -> None:
    assert (ROOT / "docs" / "configuration.md").read_text() == reference.text(), (
        "python -m proxy.settings.reference > docs/configuration.md"
    )


def test_the_reference_has_a_row_for_every_setting() -> None:
    page = reference.text()
    tops = [name for name, info in Settings.model_fields.items() if info.default_factory not in (None, dict)]
    for path, _ in every_field(Settings):
        assert path in tops or f"`{path}`" in page, path
