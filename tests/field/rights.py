"""
What right looks like, as checks: one function for each sentence that `cases.json` says it in.

A check reads a case and what came of playing it. It knows no case by name.
"""

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl, unquote

from tests.field.play import Got, Played
from tests.field.provider import Asked

Case = dict[str, Any]
Check = Callable[[Case, Played], None]
HINTS = (b"Jm4Zr8TqWv2K", b"Xc7Bn5LpHd9S", b"Wv2K", b"sk-field", b"sk***")


def body_of(answer: list[Any]) -> bytes:
    """The body that an answer's pieces carry, without its framing."""
    raw = b"".join(piece.encode("latin-1") for piece in answer if isinstance(piece, str))
    head, _, rest = raw.partition(b"\r\n\r\n")
    if b"transfer-encoding: chunked" not in head.lower():
        return rest
    body = b""
    while True:
        size, _, rest = rest.partition(b"\r\n")
        length = int(size.partition(b";")[0], 16)
        if not length:
            return body
        body, rest = body + rest[:length], rest[length + 2 :]


def _rule(case: Case, provider: str, place: int = -1) -> list[Any]:
    answer: list[Any] = case["providers"][provider]["rules"][place]["answer"]
    return answer


def _steps(case: Case) -> list[str]:
    return [step["step"] for step in case["client"] if "step" in step]


def _words_of(answer: list[Any]) -> str:
    """The longest text an error says, wherever it stands."""
    raw = body_of(answer)
    found: list[str] = []

    def walk(value: Any, name: str = "") -> None:
        if isinstance(value, dict):
            for key, each in value.items():
                walk(each, key)
        elif isinstance(value, list):
            for each in value:
                walk(each, name)
        elif isinstance(value, str) and name in ("message", "error", "msg", "detail"):
            found.append(value)

    walk(json.loads(raw))
    return max(found, key=len)


def _shows_no_key(got: Got) -> None:
    for hint in HINTS:
        assert hint not in got.body, got.body


def refused_for_this_call(case: Case, played: Played) -> None:
    first, *later = _steps(case)
    got = played[first]
    assert 400 <= got.status < 500, got
    words = _words_of(_rule(case, "a", 0))
    assert words.split(".")[0] in got.error["message"]
    _shows_no_key(got)
    for step in later:
        assert played[step].status == 200, (step, played[step])
        assert len(played.asked("a", step)) == 1


def page_is_no_answer(case: Case, played: Played) -> None:
    got = played["blocked"]
    if got.status == 200:
        assert got.body == body_of(_rule(case, "b"))
    else:
        assert got.status in (502, 503), got
        assert got.error
    assert played["next"].status == 200
    assert played["again"].status == 200
    assert played.asked("a", "again")


def key_is_parked(case: Case, played: Played) -> None:
    for step in _steps(case):
        assert played[step].status == 200, (step, played[step])
        _shows_no_key(played[step])
    bad = case["providers"]["a"]["rules"][0]["when"]["key"]
    assert sum(asked.key == bad for asked in played.asked("a")) == 1


def refused_in_openais_shape(case: Case, played: Played) -> None:
    got, answer = played["call"], _rule(case, "a")
    assert got.status == int(answer[0].split(" ")[1])
    words = _words_of(answer)
    assert (words.split(" with API key ")[0]) in got.error["message"], got.body
    _shows_no_key(got)


def answered_by_the_longer_model(case: Case, played: Played) -> None:
    assert played["call"].status == 200, played["call"]
    assert played["call"].body == body_of(_rule(case, "b"))
    assert len(played.asked("a")) == 1


def refusal_is_passed_on(case: Case, played: Played) -> None:
    assert played["call"].status == 400
    assert played["call"].body == body_of(_rule(case, "a"))
    assert not played.asked("b")


def usage_is_hidden(case: Case, played: Played) -> None:
    got = played["call"]
    events = body_of(_rule(case, "a", 0)).split(b"\n\n")
    assert got.whole
    assert got.body == b"\n\n".join(each for each in events if b'"usage"' not in each)


def bytes_pass(case: Case, played: Played) -> None:
    for step in _steps(case):
        got = played[step]
        assert got.status == 200, got
        assert got.whole
        asked = played.asked("a", step)
        assert len(asked) == 1
        answer = _answer_to(case, "a", asked[0])
        assert got.body == body_of(answer)


def bytes_pass_without_empty_events(case: Case, played: Played) -> None:
    got, raw = played["call"], body_of(_rule(case, "a"))
    assert got.status == 200
    assert got.whole
    assert len(played.asked("a")) == 1
    kept = [each for each in raw.split(b"\n\n") if each.rstrip() not in (b"data:", b"event: ping\ndata:")]
    assert got.body in (raw, b"\n\n".join(kept))


def _answer_to(case: Case, provider: str, asked: Asked) -> list[Any]:
    from tests.field.provider import fits

    rules = case["providers"][provider]["rules"]
    answer: list[Any] = next(rule["answer"] for rule in rules if fits(rule["when"], asked))
    return answer


def stays_usable(case: Case, played: Played) -> None:
    for step in ("first", "later"):
        assert played[step].body == body_of(_rule(case, "a"))
    assert played["ready"].status == 200


def asked_for_that_name(case: Case, played: Played) -> None:
    wanted = case["client"][0]["body"]["model"]
    assert [asked.model for asked in played.asked("a")] == [wanted]
    answer = _rule(case, "a")
    got = played["call"]
    assert got.status == int(answer[0].split(" ")[1])
    assert got.body == body_of(answer)


def only_its_provider(case: Case, played: Played) -> None:
    assert played["call"].status == 200
    assert not played.asked("a")
    assert len(played.asked("b")) == 1


def form_arrives(case: Case, played: Played) -> None:
    from tests.field.play import request_bytes

    sent = request_bytes(case["client"][0], 1).partition(b"\r\n\r\n")[2]
    got = played["upload"]
    name = "cloud" if "cloud" in played.providers else "a"
    if name == "cloud":
        assert not played.asked("local")
    if got.status != 200:
        assert 400 <= got.status < 500
        assert "model" in got.error["message"]
        return
    [asked] = played.asked(name)
    assert asked.body == sent
    assert asked.complete


def second_model_is_refused(case: Case, played: Played) -> None:
    assert 400 <= played["upload"].status < 500
    assert played["upload"].error
    assert not any(asked.complete for asked in played.asked("a"))


def goes_to_the_owner(case: Case, played: Played) -> None:
    for step in _steps(case):
        assert played[step].status == 200, (step, played[step])


def no_other_answers_for_the_owner(case: Case, played: Played) -> None:
    assert played["make"].status == 200
    got = played["read"]
    assert got.status in (502, 503, 504), got
    assert "rovider" in got.error["message"]
    assert played["well"].status == 200


def ledger_counts_what_was_generated(case: Case, played: Played) -> None:
    raw = body_of(_rule(case, "a"))
    usages: list[dict[str, int]] = []

    def walk(value: Any) -> None:
        if isinstance(value, dict):
            usages.extend(each for name, each in value.items() if name == "usage" and isinstance(each, dict))
            for each in value.values():
                walk(each)
        elif isinstance(value, list):
            for each in value:
                walk(each)

    for text in [raw] if raw.startswith(b"{") else [each[6:] for each in raw.split(b"\n\n") if b"{" in each]:
        walk(json.loads(text))
    usage = usages[-1]
    prompt, completion = usage["prompt_tokens"], usage["completion_tokens"]
    [row] = played["ledger"].json["lines"]
    assert row["prompt_tokens"] == prompt
    assert row["estimated"] == 0
    assert row["completion_tokens"] == max(completion, usage["total_tokens"] - prompt)


def next_provider_answers(case: Case, played: Played) -> None:
    got = played["call"]
    assert got.status == 200, got
    assert got.whole
    assert got.body == body_of(_rule(case, "b"))
    assert len(played.asked("a")) == 1


def ends_as_a_cut(case: Case, played: Played) -> None:
    got = played["call"]
    assert got.status == 200
    assert b'"content":"Hello"' in got.body
    assert not got.whole
    assert b"[DONE]" not in got.body
    assert b'"error"' in got.events[-1] or b'"error":{' in got.body


def caller_is_told(case: Case, played: Played) -> None:
    raw = body_of(_rule(case, "a")).split(b"\n\n")[0]
    told = json.loads(raw.partition(b": ")[2])
    told = told.get("error", told)
    got = played["call"]
    assert got.status == told["code"]
    assert told["message"] in got.error["message"]
    assert len(played.asked("a")) == 1


def key_is_parked_by_an_event(case: Case, played: Played) -> None:
    for step in _steps(case):
        assert played[step].status == 200
        assert played[step].body == body_of(_rule(case, "b"))
        _shows_no_key(played[step])
    assert len(played.asked("a")) == 1


def same_as_by_status(case: Case, played: Played) -> None:
    by_status, by_event = played["status"], played["event"]
    assert by_event.status == by_status.status
    assert by_event.error["code"] == by_status.error["code"]


def model_is_deleted_there(case: Case, played: Played) -> None:
    [asked] = played.asked("a")
    assert played["call"].status == 200
    assert asked.method == "DELETE"
    assert unquote(asked.path) == "/v1/models/ft:gpt-4o-mini:acme::abc"


def entry_of_that_model(case: Case, played: Played) -> None:
    assert played["call"].status == 200
    assert played["call"].json["id"] == "llama3:8b"


def names_v1(case: Case, played: Played) -> None:
    for step in _steps(case):
        got = played[step]
        if got.status != 200:
            assert "/v1" in got.error["message"], got.body


def call_works(case: Case, played: Played) -> None:
    for step in _steps(case):
        got = played[step]
        assert got.status == 200, (step, got)
        asked = played.asked("a", step)
        assert got.body == body_of(_answer_to(case, "a", asked[-1]))


def exactly_that_name(case: Case, played: Played) -> None:
    for step in case["client"]:
        got = played[step["step"]]
        if step["step"] == "list":
            assert "claude-sonnet-4-5[1m]" in [entry["id"] for entry in got.json["data"]]
        elif step["step"] == "call":
            assert got.status == 200
        else:
            assert got.status == 404
            assert got.error
    assert [asked.model for asked in played.asked("a")] == ["claude-sonnet-4-5[1m]"]


def one_is_asked(case: Case, played: Played) -> None:
    assert played["call"].body == body_of(_rule(case, "a"))
    assert played["call"].whole
    assert not played.asked("b")


def first_to_speak_wins(case: Case, played: Played) -> None:
    assert played["call"].body == body_of(_rule(case, "b"))
    assert len(played.asked("a")) == len(played.asked("b")) == 1


def page_never_passes(case: Case, played: Played) -> None:
    got = played["call"]
    if "b" in played.providers:
        assert got.body == body_of(_rule(case, "b"))
    else:
        assert got.status in (502, 503, 504)
        assert got.error


def query_arrives(case: Case, played: Played) -> None:
    for step in case["client"]:
        got, asked = played[step["step"]], played.asked("a", step["step"])
        if 400 <= got.status < 500:
            assert got.error
            continue
        assert got.status == 200
        sent = step["request"].partition("?")[2]
        assert parse_qsl(asked[0].target.partition("?")[2]) == parse_qsl(sent)


def refused_for_strangers(case: Case, played: Played) -> None:
    for step in _steps(case):
        if step == "own":
            assert played[step].status == 200
        else:
            assert 400 <= played[step].status < 500, (step, played[step])
            assert played[step].error
            assert not played.asked("a", step)


def relayed_or_refused(case: Case, played: Played) -> None:
    assert played["call"].status == 200 or (400 <= played["call"].status < 500 and played["call"].error)
    assert played["after"].status == 200


def messages_pass(case: Case, played: Played) -> None:
    said = [each["send"] for each in case["providers"]["a"]["rules"][0]["conversation"] if isinstance(each, dict)]
    talk = case["client"][0]
    got = played["talk"]
    assert got.status == 101, got
    assert got.messages == said[: talk["conversation"].count("receive")]
    [asked] = played.asked("a")
    assert asked.messages[: len(asked.messages)] == [
        each["send"] for each in talk["conversation"] if isinstance(each, dict) and "send" in each
    ]
    assert asked.key == "sk-field-a1-Jm4Zr8TqWv2K"
    assert not any("hpx_" in value for _, value in asked.headers)
    assert asked.target.partition("?")[2] == talk["websocket"].partition("?")[2]
    for name, value in talk.get("headers", []):
        assert asked.header(name.lower()) == value


def one_row_with_the_tokens(case: Case, played: Played) -> None:
    [row] = played["ledger"].json["lines"]
    assert (row["prompt_tokens"], row["completion_tokens"]) == (30, 12)
    assert row["requests"] == 1


def upgrade_is_refused(case: Case, played: Played) -> None:
    assert played["talk"].status == 401
    assert played["talk"].error
    assert not played.asked("a")


def no_upgrade(case: Case, played: Played) -> None:
    assert played["talk"].status >= 400
    assert played["talk"].error


RIGHTS: dict[str, Check] = {
    "The caller gets the refusal (4xx) in the provider's words, or the answer of the next": refused_for_this_call,
    "That caller gets a refusal (4xx) in the provider's words.": refused_for_this_call,
    "A page is not an answer of the API": page_is_no_answer,
    "The key is parked": key_is_parked,
    "The client gets the provider's status and an error in OpenAI's shape": refused_in_openais_shape,
    "The model has `context_fallbacks`": answered_by_the_longer_model,
    "A wrong parameter is the caller's to mend": refusal_is_passed_on,
    "The client did not ask for usage": usage_is_hidden,
    "The client asked for usage": bytes_pass,
    "The stream passes, byte for byte": bytes_pass,
    "The bytes pass unchanged": bytes_pass,
    "The model list says nothing about calls": stays_usable,
    "No provider's list holds the name": asked_for_that_name,
    "Where a list holds the name it decides": only_its_provider,
    "The call reaches the provider that serves the model": form_arrives,
    "Every call that names an id goes to the provider": goes_to_the_owner,
    "The owner is asked and nobody else can answer for it": no_other_answers_for_the_owner,
    "The ledger counts what was generated": ledger_counts_what_was_generated,
    "The ledger has the provider's own counts": ledger_counts_what_was_generated,
    "It is a failure of the provider": next_provider_answers,
    "The client has seen content, so the answer ends as a cut one": ends_as_a_cut,
    "It is a good answer and passes unchanged": bytes_pass,
    "The request itself is at fault": caller_is_told,
    "As with that HTTP status the key is parked": key_is_parked_by_an_event,
    "It is judged like an answer with that HTTP status": same_as_by_status,
    "The stream passes, unchanged or with the empty events": bytes_pass_without_empty_events,
    "The call is relayed to the provider that serves the model": model_is_deleted_there,
    "The entry of that model": entry_of_that_model,
    "An error in OpenAI's shape whose message names /v1": names_v1,
    "The header is not one the gateway uses": call_works,
    "The answer passes": call_works,
    "Accepted as SDKs accept it": call_works,
    "Brackets in a name stand for themselves": exactly_that_name,
    "A second provider would be paid for the same answer": one_is_asked,
    "Where it is configured the second provider is asked": first_to_speak_wins,
    "Each stream passes unchanged": bytes_pass,
    "The option was the gateway's": call_works,
    "Not an answer of the API": page_never_passes,
    "No choice ever finished": ends_as_a_cut,
    "Nothing was said yet": next_provider_answers,
    "A whole stream passes unchanged": bytes_pass,
    "A file's content is content": form_arrives,
    "Refused with a 4xx; no provider gets the whole form": second_model_is_refused,
    "Each key of the query arrives": query_arrives,
    "Refused with a 4xx in OpenAI's shape, and no provider is asked": refused_for_strangers,
    "Works: these are names of this machine": call_works,
    "The upgrade succeeds (101)": messages_pass,
    "The provider gets the gateway's key for it": messages_pass,
    "One row in the ledger": one_row_with_the_tokens,
    "The upgrade is judged like any call": upgrade_is_refused,
    "The client gets an error in OpenAI's shape and no 101": no_upgrade,
    "Relayed as they are": call_works,
    "Relayed, or refused with a 4xx": relayed_or_refused,
}
"""By the beginning of the sentence."""


def check(case: Case, played: Played) -> None:
    """Assert that what came of *case* is right."""
    [found] = [right for words, right in RIGHTS.items() if case["right"].startswith(words)]
    found(case, played)
