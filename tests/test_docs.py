"""The documents tell what the code does: every error code, metric, route and command has its line, and no other."""

import re
import typing
from pathlib import Path

import typer.main

from proxy.cli import command
from proxy.core.errors import KINDS
from proxy.observe.log import Logs
from proxy.settings.observation import Logging
from tests.conftest import GatewayFactory

DOCS = Path(__file__).parent.parent / "docs"


def first_column(page: str) -> list[str]:
    """Everything in backquotes in the first column of the tables of *page*."""
    found = []
    for line in (DOCS / page).read_text().splitlines():
        if line.startswith("| `"):
            found += re.findall(r"`([^`]+)`", line.split("|")[1])
    return found


def figures() -> dict[str, str]:
    """Of each metric what docs/metrics.md says that it counts."""
    rows = re.findall(r"^\| `(\w+)` \| \w+ \|(?: .+ \|| \|) (\w+) \| .+ \|$", (DOCS / "metrics.md").read_text(), re.M)
    return dict(rows)


def test_every_error_code_is_documented_with_its_status_and_type() -> None:
    rows = {
        row[0]: (int(row[1]), row[2], row[3])
        for row in re.findall(
            r"^\| `(\w+)` \| (\d+) \| `(\w+)` \| .* \| (\w+) \|$", (DOCS / "errors.md").read_text(), re.MULTILINE
        )
    }
    assert rows == {code: (kind.status, kind.type, kind.hapax_type) for code, kind in KINDS.items()}


def test_every_error_code_can_be_raised() -> None:
    code = "".join(path.read_text() for path in (DOCS.parent / "proxy").rglob("*.py") if path.name != "errors.py")
    assert [name for name in KINDS if f'"{name}"' not in code] == []


async def test_every_metric_is_documented(gateway: GatewayFactory, tmp_path: Path) -> None:
    running = await gateway(
        {
            "store": {"url": f"sqlite:///{tmp_path}/hapax.db"},
            "queue": {"enabled": True, "state_path": str(tmp_path / "queue.state")},
            "tracing": {"otlp_endpoint": "http://127.0.0.1:1"},
        }
    )
    # As in a process of its own, which writes its log itself.
    running.listener.gateway.logs = logs = Logs(Logging())
    families = {
        family.name + ("_total" if family.type == "counter" else "")
        for family in running.listener.gateway.metrics.registry.collect()
    }
    logs.stop()
    of_the_client = {name for name in families if re.match(r"(llm_router_)?process_(?!heap)", name)}
    assert of_the_client
    assert families - of_the_client == set(first_column("metrics.md"))


def test_every_figure_says_what_it_counts() -> None:
    kinds = figures()
    assert set(kinds) == set(first_column("metrics.md"))
    assert set(kinds.values()) == {"calls", "attempts", "probes", "requests", "gateway"}


async def test_every_route_is_documented(gateway: GatewayFactory) -> None:
    running = await gateway()
    assert set(running.listener.gateway.under_way.routes) == set(first_column("http.md"))


def test_every_command_has_help_with_an_example() -> None:
    group = typing.cast(typing.Any, typer.main.get_command(command.app))
    assert group.commands
    for name, each in commands(group):
        assert "Example" in (each.help or ""), f"hapax {name} shows no example"


def test_every_command_is_documented() -> None:
    page = (DOCS / "cli.md").read_text()
    names = [name for name, _ in commands(typing.cast(typing.Any, typer.main.get_command(command.app)))]
    assert {"serve", "keys create", "backup"} <= set(names)
    assert [name for name in names if f"`hapax {name}" not in page] == []


def commands(group: typing.Any, path: str = "") -> typing.Iterator[tuple[str, typing.Any]]:
    """Every command and sub-command by its whole name."""
    for name, each in group.commands.items():
        yield f"{path}{name}", each
        if hasattr(each, "commands"):
            yield from commands(each, f"{path}{name} ")
