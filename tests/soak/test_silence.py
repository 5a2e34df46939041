"""The field's case of forty-five seconds of silence, second by second and with nothing configured."""

import json
from pathlib import Path

import pytest

from tests.field import play as field
from tests.field.play import Play, play
from tests.field.rights import check

__all__ = ["play"]

pytestmark = pytest.mark.timeout(120)

CASES = Path(field.__file__).with_name("cases.json")


async def test_in_forty_five_seconds_of_silence_one_provider_is_asked_and_its_answer_arrives_whole(
    play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(field, "PATIENCE", 90.0)
    [case] = [case for case in json.loads(CASES.read_text()) if case["id"] == "F21.chat"]
    check(case, await play(case["configuration"], case["providers"], case["client"]))
