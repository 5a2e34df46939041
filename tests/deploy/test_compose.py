"""The compose files, without Docker: what they hand to the gateway is handed to one here, which starts or says why."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from proxy.settings import load
from proxy.settings.providers import PRESETS
from tests.deploy.serving import keyed, serving
from tests.rigs.prometheus import DEPLOY
from tests.spec.wire import ask, chat, get

ADMIN = "hpx_admin_0f2d9be1c5a877"
FOLDER = DEPLOY / "compose"
STACK = yaml.safe_load((FOLDER / "docker-compose.yml").read_text())
REFERENCE = re.compile(r"\$\{(\w+)(?:(:-|:\?)([^}]*))?\}")


class Missing(Exception):
    """A variable that has to be set, with what the file says of it."""


def interpolated(text: str, environ: Mapping[str, str]) -> str:
    """What docker compose makes of `${NAME:-default}` and `${NAME:?words}`, the forms these files use."""

    def value(found: re.Match[str]) -> str:
        name, kind, rest = found.groups()
        if not environ.get(name) and kind == ":?":
            raise Missing(f"{name}: {rest}")
        return environ.get(name) or rest or ""

    return REFERENCE.sub(value, text)


def environment(environ: Mapping[str, str]) -> dict[str, str]:
    """What the service `hapax` gets."""
    return {name: interpolated(value, environ) for name, value in STACK["services"]["hapax"]["environment"].items()}


def test_no_providers_key_must_be_there_and_the_admin_key_is_asked_for_with_the_way_to_make_one() -> None:
    with pytest.raises(Missing, match="HAPAX_ADMIN_KEY: make one with `openssl rand -hex 24`"):
        environment({})
    given = environment({"HAPAX_ADMIN_KEY": ADMIN})
    assert given == {**dict.fromkeys(given, ""), "HAPAX_ADMIN_KEY": ADMIN}


def test_every_key_that_makes_a_provider_is_handed_on_and_stands_in_the_example() -> None:
    known = {variables[0] for preset in PRESETS.values() if (variables := preset.key_variables)}
    named = {line.partition("=")[0] for line in (FOLDER / "example.env").read_text().splitlines() if "=" in line}
    assert set(environment({"HAPAX_ADMIN_KEY": ADMIN})) == known | {"HAPAX_ADMIN_KEY"} == named


def test_no_setting_is_among_them() -> None:
    assert not [name for name in environment({"HAPAX_ADMIN_KEY": ADMIN}) if "__" in name or name.startswith("LOG_")]


@pytest.mark.parametrize(
    ("keys", "providers"),
    [
        ({}, ["simulator"]),
        ({"OPENAI_API_KEY": "sk-proj-Jx8Q2mTn4vWz7Lr0Yb5H"}, ["openai"]),
        (
            {"OPENAI_API_KEY": "sk-proj-Jx8Q2mTn4vWz7Lr0Yb5H", "ANTHROPIC_API_KEY": "sk-ant-Jx8Q2mTn4vWz7Lr0Yb5H"},
            ["anthropic", "openai"],
        ),
    ],
)
def test_each_key_makes_a_provider_and_none_the_simulator(keys: dict[str, str], providers: list[str]) -> None:
    loaded = load(FOLDER / "config.yaml", environ=environment({**keys, "HAPAX_ADMIN_KEY": ADMIN}))
    assert sorted(loaded.settings.providers) == providers
    assert loaded.settings.server.host == "0.0.0.0"
    assert loaded.overridden == []


async def test_it_starts_on_the_simulator_with_an_admin_key_alone(tmp_path: Path, unused_tcp_port: int) -> None:
    given = {**environment({"HAPAX_ADMIN_KEY": ADMIN}), "HAPAX_METRICS__PORT": str(unused_tcp_port)}
    async with serving(tmp_path, CONFIG_PATH=str(FOLDER / "config.yaml"), **given) as port:
        assert (await ask(port, chat("sim-fast", head=await keyed(port, ADMIN)))).status == 200
        metrics = await ask(unused_tcp_port, get("/metrics"))
        assert (metrics.status, b"hapax_http_requests_total" in metrics.body) == (200, True)
        assert "hapax.db" in os.listdir(tmp_path)


def volumes(file: Path) -> dict[str, Any]:
    """By service: what is mounted where."""
    services = yaml.safe_load(file.read_text())["services"]
    return {
        name: {each.split(":")[1]: each.split(":")[0] for each in service.get("volumes", ())}
        for name, service in services.items()
    }


def test_what_must_last_is_on_a_volume() -> None:
    assert volumes(FOLDER / "docker-compose.yml")["hapax"]["/data"] == "data"
    # How far each file was read: without it, every line is sent again.
    shipped = yaml.safe_load((DEPLOY / "elk" / "filebeat.yml").read_text())
    logs = volumes(DEPLOY / "elk" / "docker-compose.yml")
    assert logs["filebeat"][shipped["path.data"]] == "filebeat"
    assert logs["elasticsearch"]["/usr/share/elasticsearch/data"] == "elasticsearch"
