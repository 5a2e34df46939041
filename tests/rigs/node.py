"""Runs one scenario of tests/clients/node with the openai SDK for JavaScript, and hands back the JSON it printed."""

import json
import shutil
from pathlib import Path
from typing import Any

from .process import run

CLIENTS = Path(__file__).parent.parent / "clients"
MODULES = CLIENTS / "node_modules"
SCENARIOS = CLIENTS / "node"


def node() -> str:
    """The Node that npm installed beside the SDK; on a platform without that package, the one of the system."""
    if not (MODULES / "openai").is_dir():
        raise RuntimeError("the JavaScript clients are not installed: run scripts/setup-tests.sh")
    installed = MODULES / ".bin" / "node"
    found = str(installed) if installed.exists() else shutil.which("node")
    if found is None:
        raise RuntimeError("no node: run scripts/setup-tests.sh")
    return found


async def run_scenario(name: str, *, timeout: float = 60, **options: Any) -> Any:
    """`options` reach the script as one JSON argument. A script that fails shows its stderr in the test's failure."""
    done = await run(node(), str(SCENARIOS / f"{name}.mjs"), json.dumps(options), env={}, timeout=timeout)
    assert done.code == 0, f"{name}.mjs ended with {done.code}:\n{done.stderr.decode(errors='replace')}"
    return json.loads(done.stdout)
