"""`hapax doctor --online`: each key is asked one cheap question, and no word of the answer shows a key."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from proxy.cli.command import app
from proxy.cli.online import judged, own_words
from tests.field.provider import Asked, Provider, Rule, fits

FIRST, SECOND = "sk-field-one-Jm4Zr8TqWv2K", "sk-field-two-Qx7Bn3LpYc9D"
LIST = '{"object":"list","data":[{"id":"a"},{"id":"b"}]}'
DONE = '{"id":"c","object":"chat.completion","choices":[]}'


class ByRules(Provider):
    """One whose list of models is subject to its rules as well: it depends on the key."""

    def _rule(self, asked: Asked) -> Rule:
        return next(rule for rule in self.rules if fits(rule["when"], asked))


def answer(status: str, body: str, kind: str = "application/json") -> list[str]:
    return [f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n{body}"]


def refused(message: str) -> str:
    return json.dumps({"error": {"message": message, "type": "invalid_request_error"}})


async def doctor(folder: Path, rules: list[Rule], *more: str, **entry: Any) -> tuple[int, str, list[Asked]]:
    """Exit code, all that was printed, and what the provider was asked."""
    provider = ByRules({"rules": rules})
    await provider.start()
    settings = {
        "providers": {"a": {"type": "compatible", "base_url": f"{provider.url}/v1", **entry}},
        "store": {"url": ""},
    }
    (folder / "hapax.yaml").write_text(yaml.safe_dump(settings))
    arguments = ["doctor", "--online", "--config", str(folder / "hapax.yaml"), *more]
    try:
        result = await asyncio.to_thread(CliRunner().invoke, app, arguments)
    finally:
        await provider.stop()
    for key in (FIRST, SECOND):
        assert key not in result.output
        assert key[-4:] not in result.output
    return result.exit_code, result.output, provider.requests


def of_keys(output: str) -> dict[str, dict[str, str]]:
    """The items that tell of keys, by name."""
    return {item["name"]: item for item in json.loads(output) if ", key " in item["name"]}


async def test_each_key_is_asked_for_the_models_and_told_by_its_number(tmp_path: Path) -> None:
    rules = [
        {
            "when": {"key": FIRST},
            "answer": answer("401 Unauthorized", refused(f"Incorrect key {FIRST[:5]}***{FIRST[-4:]}.")),
        },
        {"when": {"key": SECOND}, "answer": answer("200 OK", LIST)},
    ]
    code, output, asked = await doctor(tmp_path, rules, "--json", api_keys=[FIRST, SECOND])
    assert code == 1
    items = of_keys(output)
    assert items["a, key 1"]["state"] == "missing"
    assert items["a, key 1"]["found"].startswith("401 in ")
    assert items["a, key 1"]["found"].endswith(": the key is not accepted")
    assert items["a, key 1"]["advice"] == "make a new key at the provider, or correct the setting"
    assert items["a, key 2"]["state"] == "ok"
    assert items["a, key 2"]["found"].endswith(", 2 models")
    assert sorted((each.method, each.target, each.key) for each in asked) == [
        ("GET", "/v1/models", FIRST),
        ("GET", "/v1/models", SECOND),
    ]


async def test_the_table_has_a_line_for_each_key(tmp_path: Path) -> None:
    rules = [{"when": {}, "answer": answer("402 Payment Required", refused("Top up your account."))}]
    code, output, _ = await doctor(tmp_path, rules, api_keys=[FIRST, SECOND])
    assert code == 1
    lines = [line.split() for line in output.splitlines() if line.split()[:1] == ["a"]]
    assert [line[:4] for line in lines] == [["a", "1", "missing", "402"], ["a", "2", "missing", "402"]]
    assert output.count("the account has no money left: Top up your account.") == 2


@pytest.mark.parametrize(
    ("listed", "completed", "state", "found"),
    [
        (answer("403 Forbidden", "{}"), answer("200 OK", DONE), "ok", "200 in "),
        (answer("404 Not Found", "no"), answer("200 OK", DONE), "ok", "200 in "),
        (answer("200 OK", "<html>", "text/html"), answer("200 OK", DONE), "ok", "200 in "),
        (answer("403 Forbidden", "{}"), answer("401 Unauthorized", "{}"), "missing", "the key is not accepted"),
        (
            answer("404 Not Found", "{}"),
            answer("404 Not Found", "{}"),
            "warn",
            "the model it was asked for is not there",
        ),
        (answer("503 Down", "{}"), answer("503 Down", "{}"), "missing", "the provider has a fault"),
    ],
)
async def test_where_there_is_no_list_one_token_is_asked_for(
    tmp_path: Path, listed: list[str], completed: list[str], state: str, found: str
) -> None:
    rules = [{"when": {"method": "GET"}, "answer": listed}, {"when": {"method": "POST"}, "answer": completed}]
    code, output, asked = await doctor(tmp_path, rules, "--json", api_key=FIRST, models=["gpt-*", "m"])
    item = of_keys(output)["a, key 1"]
    assert item["state"] == state
    assert found in item["found"]
    assert code == 1
    assert [each.target for each in asked] == ["/v1/models", "/v1/chat/completions"]
    assert asked[1].json == {"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": "Hello"}]}


async def test_a_page_in_a_lists_place_is_told_where_no_model_is_known(tmp_path: Path) -> None:
    rules = [{"when": {}, "answer": answer("200 OK", "<html>Welcome</html>", "text/html")}]
    _, output, _ = await doctor(tmp_path, rules, "--json", api_key=FIRST)
    item = of_keys(output)["a, key 1"]
    assert (item["state"], item["found"].partition(": ")[2]) == ("warn", "the answer is no list of models")
    assert "base_url is the API's" in item["advice"]


async def test_a_provider_that_cannot_be_reached_fails_and_one_without_a_key_has_none(tmp_path: Path) -> None:
    (tmp_path / "hapax.yaml").write_text(
        "providers: {gone: {type: compatible, base_url: 'http://127.0.0.1:1/v1'}, simulator: {}}\nstore: {url: ''}\n"
    )
    arguments = ["doctor", "--online", "--json", "--config", str(tmp_path / "hapax.yaml")]
    result = await asyncio.to_thread(CliRunner().invoke, app, arguments)
    items = of_keys(result.stdout)
    assert result.exit_code == 1
    assert items["gone, key -"]["state"] == "missing"
    assert items["gone, key -"]["found"].startswith("no answer: cannot be reached")
    assert items["simulator, key -"]["state"] == "ok"


@pytest.mark.parametrize(
    ("status", "body", "state", "wrong"),
    [
        # https://platform.openai.com/docs/guides/error-codes
        (
            429,
            b'{"error":{"message":"You exceeded your current quota","code":"insufficient_quota"}}',
            "missing",
            "money",
        ),
        (429, b'{"error":{"message":"Rate limit reached"}}', "warn", "too many calls"),
        # https://docs.anthropic.com/en/api/errors
        (529, b'{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}', "warn", "overloaded"),
        (301, b"", "missing", "leads elsewhere"),
        (400, b'{"detail":"max_tokens is not supported"}', "warn", "not for its key: max_tokens is not supported"),
        (500, b"<html>", "missing", "has a fault"),
    ],
)
def test_an_answer_is_judged_by_its_status_and_words(status: int, body: bytes, state: str, wrong: str) -> None:
    found = judged(status, body, [FIRST])
    assert found[0] == state
    assert wrong in found[1]
    assert found[2]


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("Project is archived.", "Project is archived."),
        ("Incorrect API key provided: sk-field***Wv2K.", ""),
        ("Key ...v2K is blocked", ""),
        (f"Bad key {FIRST}", ""),
        ("No access for Jm4Z", ""),
        ("line\none  two", "line one two"),
        ("x" * 200, "x" * 160),
    ],
)
def test_a_providers_words_are_shown_only_where_they_hold_nothing_of_a_key(message: str, shown: str) -> None:
    assert own_words(json.dumps({"error": {"message": message}}).encode(), [FIRST, SECOND]) == shown
    assert own_words(json.dumps({"message": message}).encode(), [FIRST, SECOND]) == shown


@pytest.mark.parametrize(
    "body",
    ["<html>Welcome</html>", "{}", '{"error":{"message":"No."}}', '{"choices":null}'],
    ids=["a page", "an empty object", "an error", "no choices"],
)
async def test_a_200_that_holds_no_answer_is_no_good_key(tmp_path: Path, body: str) -> None:
    rules: list[Rule] = [
        {"when": {}, "answer": answer("200 OK", body, "text/html" if body[0] == "<" else "application/json")}
    ]
    code, output, _ = await doctor(tmp_path, rules, "--json", api_key=FIRST, models=["m"])
    assert code == 1
    [item] = of_keys(output).values()
    assert item["state"] == "missing"
    assert "the answer is no answer of a model" in item["found"]
