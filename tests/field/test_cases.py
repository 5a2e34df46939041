"""Every case from the field: what real providers, clients and operators send, and what becomes of it."""

import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.field.play import Play, exchange, filled, request_bytes
from tests.field.provider import scripted
from tests.field.rights import body_of, check
from tests.rigs.built import python_path
from tests.rigs.hapax import Hapax, hapax
from tests.rigs.process import run

CASES = {case["id"]: case for case in json.loads(Path(__file__).with_name("cases.json").read_text())}
LITERAL_ONLY = "F21.chat"
"""Its 45 seconds of silence are played in the soak; here its decision is tested, see `tests/relay/test_watch.py`."""
SCALED = {"F21.configured": 0.1, "F21.short": 0.1}
"""Cases whose seconds are played as tenths of seconds."""


def sentences(ids: list[str]) -> list[Any]:
    return [pytest.param(CASES[id], id=f"{id}: {CASES[id]['title']}") for id in ids]


PLAYED = [id for id in CASES if not id.startswith("F90") and id != LITERAL_ONLY]
CHECKED = [id for id, case in CASES.items() if "command" in case["client"][0]]
RELOADED = [id for id in CASES if id.startswith("F90.reload")]


@pytest.mark.parametrize("case", sentences(PLAYED))
async def test_a_call_becomes_what_is_right(case: dict[str, Any], play: Play) -> None:
    factor = SCALED.get(case["id"])
    if factor is not None:
        case = json.loads(_scaled(case, factor))
    check(case, await play(case["configuration"], case["providers"], case["client"]))


@pytest.mark.parametrize("case", sentences(CHECKED))
async def test_check_tells_the_operator_what_is_wrong(case: dict[str, Any], tmp_path: Path) -> None:
    [step] = case["client"]
    file = tmp_path / "hapax.yaml"
    file.write_text(step["file"].replace("{tmp}", str(tmp_path)))
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG")}
    env = {**kept, **step.get("environment", {}), "PYTHONPATH": python_path()}
    done = await run(sys.executable, "-m", "proxy", "check", "--config", str(file), env=env)
    said = (done.stdout + done.stderr).decode()
    assert done.code == 2 or "warning" in said.lower(), said


@pytest.mark.parametrize("case", sentences(RELOADED))
async def test_a_reload_takes_what_is_a_configuration(case: dict[str, Any], tmp_path: Path) -> None:
    before, becomes, after = case["client"]
    async with scripted(case["providers"]) as providers:
        places = {name: each.url for name, each in providers.items()}
        settings = filled({"store": {"url": ""}, "server": {"drain_delay": "0s"}, **case["configuration"]}, places)
        async with hapax(tmp_path, {"logging": {"level": "info"}, **settings}) as process:
            assert (await exchange(process.port, request_bytes(before, process.port))).status == 200
            text = filled(becomes["configuration_file_becomes"], {**places, "port": str(process.port)})
            (tmp_path / "hapax.yaml").write_text(text)
            process.signal(signal.SIGHUP)
            said = await _said_of_the_reload(process)
            got = await exchange(process.port, request_bytes(after, process.port))
            process.process.terminate()
    if "repeat" in after:
        assert got.body == body_of(case["providers"]["b"]["rules"][0]["answer"])
    else:
        assert b"refused" in said, said
        assert got.body == body_of(case["providers"]["a"]["rules"][0]["answer"])


async def _said_of_the_reload(process: Hapax) -> bytes:
    """The line of the log that tells what became of it."""
    assert process.process.stderr is not None
    async with asyncio.timeout(30):
        while b"reload" not in (line := (await process.process.stderr.readline()).lower()):
            assert line, "the log says nothing of the reload"
    return line


def _scaled(value: Any, factor: float) -> str:
    """*value* as JSON with its seconds multiplied: pauses are numbers, settings are texts that end in `s`."""

    def walk(part: Any, name: str = "") -> Any:
        if isinstance(part, dict):
            return {key: walk(each, key) for key, each in part.items()}
        if isinstance(part, list):
            return [walk(each, name) for each in part]
        if name == "pause":
            return part * factor
        if name in ("patience", "first_token"):
            return f"{round(float(part[:-1]) * factor * 1000)}ms"
        return part

    return json.dumps(walk(value))
