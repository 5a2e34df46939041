"""
`make suites`: each SDK's own calls against the mock alone and through the gateway, and the table of docs/clients.md.

Exits with 1 when a request arrives otherwise than without the gateway, a test fails that passes without it, or a list
does not end.
"""

import argparse
import asyncio
import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.rigs.hapax import hapax
from tests.rigs.node import SCENARIOS, node
from tests.suites.compare import Row, compared, outcomes, table
from tests.suites.mock import Known, Mock, Recorded

ROOT = Path(__file__).parents[2]
HERE = ROOT / ".suites"
INSIDE = Path(__file__).parent / "inside"
PAGE = ROOT / "docs" / "clients.md"
BEGIN, END = "<!-- suites: begin -->\n", "<!-- suites: end -->\n"
MOST_PAGES = 20
"""See the plugin: a list that is this long is taken for endless."""
KEY = "sk-mock-4d8f1c07ab2e"
PROVIDERS = {"openai": "openai", "anthropic": "anthropic", "node": "openai"}
"""Whose API each suite is of: one learns from the other what is answered."""
SHOWN = 20
"""Differences that are printed of each suite."""


@dataclass
class Ran:
    """One pass of a suite."""

    recorded: list[Recorded]
    outcomes: dict[str, str]
    lists: dict[str, int]


@dataclass
class Suite:
    """What came of one SDK."""

    name: str
    rows: list[Row]
    failed: list[str]
    """Tests that pass without the gateway only."""
    passed: int
    endless: list[str]
    lists: int

    @property
    def good(self) -> bool:
        return not self.failed and not self.endless and not any(row.different for row in self.rows)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.suites")
    parser.add_argument("suites", nargs="*", default=["openai", "anthropic", "node"])
    parser.add_argument("--only", default="", help="tests of the SDKs to run, as pytest's -k takes it")
    parser.add_argument("--write", action="store_true", help=f"put the tables into {PAGE.relative_to(ROOT)}")
    given = parser.parse_args()
    known: dict[str, Known] = {}
    found = []
    for name in given.suites:
        api = PROVIDERS[name]
        if api not in known:
            known[api] = Known(HERE / f"answers-{api}.json")
        found.append(suite(name, given.only, known[api]))
        known[api].keep()
    for each in found:
        show(each)
    if given.write:
        write(found)
    return 0 if all(each.good for each in found) else 1


def suite(name: str, only: str, known: Known) -> Suite:
    """Run one suite twice."""
    run = _node if name == "node" else _python
    with Mock(known) as mock:
        direct = run(name, mock, mock.url, only)
        with gateway(name, mock) as url:
            through = run(name, mock, url, only)
    return Suite(
        _title(name),
        compared(direct.recorded, through.recorded),
        outcomes(direct.outcomes, through.outcomes),
        sum(outcome == "passed" for outcome in through.outcomes.values()),
        sorted(test for test, pages in through.lists.items() if pages >= MOST_PAGES),
        len(through.lists),
    )


@contextlib.contextmanager
def gateway(name: str, mock: Mock) -> Iterator[str]:
    """A gateway in a process of its own, with the mock as its only provider."""
    kind = "anthropic" if name == "anthropic" else "compatible"
    settings: dict[str, Any] = {
        "providers": {"mock": {"type": kind, "base_url": f"{mock.url}/v1", "api_key": KEY, "models": ["*"]}},
        # Each call is to arrive once, whatever is thought of its answer.
        "failover": {"retries": 0},
        "circuit_breaker": {"failure_threshold": 1_000_000},
        "store": {"url": ""},
        "server": {"drain_delay": "0s", "shutdown_timeout": "1s"},
    }
    loop = asyncio.new_event_loop()
    with tempfile.TemporaryDirectory() as folder:
        running = hapax(Path(folder), settings)
        process = loop.run_until_complete(running.__aenter__())
        try:
            yield f"http://127.0.0.1:{process.port}"
        finally:
            loop.run_until_complete(running.__aexit__(None, None, None))
            loop.close()


def _python(name: str, mock: Mock, url: str, only: str) -> Ran:
    """The SDK's generated tests, as its source distribution has them."""
    source = next(HERE.glob(f"{name}-*/tests/api_resources"), None)
    if source is None:
        raise SystemExit(f"{name}'s tests are not there: run scripts/setup-suites.sh")
    with tempfile.NamedTemporaryFile(suffix=".json") as results:
        environment = {
            **{key: os.environ[key] for key in ("PATH", "HOME", "LANG") if key in os.environ},
            "SUITES_SDK": name,
            "SUITES_CONTROL": mock.url,
            "SUITES_RESULTS": results.name,
            # Paths of one SDK begin with the version, those of the other do not.
            "TEST_API_BASE_URL": f"{url}/v1" if name == "openai" else url,
            "PYTHONPATH": str(INSIDE),
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        options = ["--noconftest", "-p", "hapax_suites", "-p", "no:cacheprovider", "-o", "addopts=", "--tb=no", "-q"]
        options += ["-o", "asyncio_mode=auto", "-o", "filterwarnings=ignore", "--continue-on-collection-errors"]
        command = [HERE / "venv" / "bin" / "python", "-m", "pytest", *options, "tests/api_resources"]
        subprocess.run(
            [*command, *(["-k", only] if only else [])],
            cwd=source.parents[1],
            env=environment,
            check=False,
            stdout=subprocess.DEVNULL,
        )
        found = json.loads(Path(results.name).read_text())
    return Ran(mock.taken(), found["outcomes"], found["lists"])


def _node(name: str, mock: Mock, url: str, only: str) -> Ran:
    """The methods of openai-node, with the parameters of the examples that stand beside them in the package."""
    program = [
        node(),
        str(SCENARIOS / "methods.mjs"),
        json.dumps({"base_url": f"{url}/v1", "control": mock.url, "only": only}),
    ]
    done = subprocess.run(program, check=False, capture_output=True, cwd=ROOT / "tests" / "clients")
    if done.returncode:
        raise SystemExit(done.stderr.decode(errors="replace"))
    found = json.loads(done.stdout)
    return Ran(mock.taken(), found["outcomes"], found["lists"])


def _title(name: str) -> str:
    if name == "node":
        package = ROOT / "tests" / "clients" / "node_modules" / "openai" / "package.json"
        return f"openai-node {json.loads(package.read_text())['version']}"
    source = next(HERE.glob(f"{name}-*/tests/api_resources")).parents[1]
    return source.name.replace("-", " (Python) ")


def show(found: Suite) -> None:
    """On standard output."""
    print(f"\n{found.name}: {found.passed} pass, {found.lists} lists end\n\n{table(found.rows)}")
    different = [each for row in found.rows for each in row.different]
    # All of them, to be mended from.
    (HERE / f"differences-{found.name.split()[0]}.txt").write_text("".join(f"{line}\n" for line in different))
    for title, lines in (
        ("different", different),
        ("fails with the gateway", found.failed),
        ("endless", found.endless),
    ):
        for line in lines[:SHOWN]:
            print(f"  {title}: {line}")
        if len(lines) > SHOWN:
            print(f"  {title}: and {len(lines) - SHOWN} more")


def write(suites: list[Suite]) -> None:
    """The tables into the page, between their marks."""
    before, _, rest = PAGE.read_text().partition(BEGIN)
    after = rest.partition(END)[2]
    parts = [before, BEGIN]
    for each in suites:
        calls = sum(row.calls for row in each.rows)
        parts.append(f"\n### {each.name}\n\n{calls} requests, {each.passed} tests pass, {each.lists} lists end.\n\n")
        parts.append(table(each.rows))
        reasons = sorted({reason for row in each.rows for reason in row.excepted})
        parts += [f"\nAnswered here: {reason}.\n" for reason in reasons]
    PAGE.write_text("".join([*parts, "\n", END, after]))


if __name__ == "__main__":
    sys.exit(main())
