"""Forms as clients send them: routed by their model wherever it stands, and their files are nothing but files."""

import asyncio
import errno
import os
from pathlib import Path
from typing import Any

import pytest

from proxy.http import spool
from tests.conftest import GatewayFactory
from tests.field.build import answer
from tests.field.play import Play
from tests.field.provider import scripted
from tests.rigs.nameless import nameless, until_nameless
from tests.spec.wire import connect

HEARD = answer(200, {"text": "heard you"})
NO_FORMS = answer(404, {"error": {"message": "No.", "type": "invalid_request_error", "param": None, "code": None}})
KEY = "hpx_Fd7kQ2mZ9xWc4Tn8Rb1Lp6Vy3Hs5Jg0A"
TYPE = "multipart/form-data; boundary=field-boundary-7f3a"
END = "--field-boundary-7f3a--\r\n"
TWO = {
    "local": {"models": ["llama3"], "rules": [{"when": {}, "answer": NO_FORMS}]},
    "cloud": {"models": ["whisper-1"], "rules": [{"when": {"method": "POST"}, "answer": HEARD}]},
}


def field(name: str, value: str) -> str:
    return f'--field-boundary-7f3a\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'


def file(size: int, content: str = "U", name: str = "file") -> list[Any]:
    head = f'Content-Disposition: form-data; name="{name}"; filename="a.bin"\r\nContent-Type: audio/mpeg\r\n\r\n'
    return [f"--field-boundary-7f3a\r\n{head}", {"repeat": content, "times": size}, "\r\n"]


def bytes_of(parts: list[Any]) -> bytes:
    return b"".join(
        each.encode("latin-1") if isinstance(each, str) else each["repeat"].encode("latin-1") * each["times"]
        for each in parts
    )


def configuration(**more: Any) -> dict[str, Any]:
    return {
        "providers": {
            name: {"type": "compatible", "base_url": f"{{{name}}}/v1", "models": TWO[name]["models"]} for name in TWO
        },
        "provider_preference": ["local", "cloud"],
        **more,
    }


RESTRICTED = configuration(auth={"keys": [{"name": "restricted", "key": KEY, "models": ["whisper-1"]}]})


async def upload(
    play: Play,
    parts: list[Any],
    path: str = "/v1/audio/transcriptions",
    kind: str = TYPE,
    settings: dict[str, Any] | None = None,
    providers: dict[str, Any] = TWO,
) -> Any:
    step = {"step": "upload", "request": f"POST {path}", "content_type": kind, "body": parts}
    return await play(settings or configuration(), providers, [step | {"authorization": f"Bearer {KEY}"}])


LF = [part.replace("\r\n", "\n") if isinstance(part, str) else part for part in file(2_000_000)]


@pytest.mark.parametrize(
    ("path", "parts"),
    [
        pytest.param(
            "/v1/audio/translations",
            [*file(1_200_000), field("response_format", "json"), field("model", "whisper-1"), END],
            id="a translation",
        ),
        pytest.param(
            # curl's examples of OpenAI's reference name the pictures first
            "/v1/images/edits",
            [*file(700_000, name="image[]"), *file(700_000, name="image[]"), field("model", "whisper-1"), END],
            id="a picture made of two",
        ),
        pytest.param(
            "/v1/images/variations", [*file(10, name="image"), field("model", "whisper-1"), END], id="a variation"
        ),
        pytest.param(
            "/v1/videos",
            [*file(1_500_000, name="input_reference"), field("prompt", "x"), field("model", "whisper-1"), END],
            id="a video after a picture",
        ),
        pytest.param(
            "/v1/audio/transcriptions",
            [*file(1_500_000), field("model", "whisper-1"), *file(2_000_000, "V"), END],
            id="the model between two files",
        ),
        pytest.param(
            "/v1/audio/transcriptions",
            [field("prompt", "word " * 400_000), field("model", "whisper-1"), *file(9), END],
            id="the model behind a text of 2 MB",
        ),
        pytest.param(
            "/v1/audio/transcriptions",
            [*LF, field("model", "whisper-1").replace("\r\n", "\n"), END],
            id="lines that end with LF",
        ),
        pytest.param(
            "/v1/audio/transcriptions",
            [*file(300_000, '\r\n--field-boundary-7f3\r\nname="model"'), field("model", "whisper-1"), END],
            id="a file full of what resembles the boundary",
        ),
    ],
)
async def test_a_form_goes_to_the_provider_of_its_model_with_every_byte(
    play: Play, path: str, parts: list[Any]
) -> None:
    played = await upload(play, parts, path)
    assert (played["upload"].status, played["upload"].body) == (200, b'{"text":"heard you"}')
    [asked] = played.asked("cloud")
    assert asked.body == bytes_of(parts)
    assert asked.header("content-length") == str(len(asked.body))
    assert asked.header("content-type") == TYPE
    assert not played.asked("local")


async def test_a_boundary_in_quotes_may_hold_what_separates_parameters(play: Play) -> None:
    parts = [each.replace("field-boundary-7f3a", "a b;c=d") for each in (field("model", "whisper-1"), END)]
    played = await upload(play, parts, kind='multipart/form-data; charset=utf-8; boundary="a b;c=d"')
    assert played["upload"].status == 200
    assert played.asked("cloud")[0].body == bytes_of(parts)


@pytest.mark.parametrize("size", [10, 3_000_000])
async def test_the_model_behind_a_file_is_replaced_by_the_targets_name(play: Play, size: int) -> None:
    models = {"heard": {"targets": ["cloud/whisper-large-v3-turbo"]}}
    parts = [*file(size), field("model", "heard"), field("language", "en"), END]
    played = await upload(play, parts, settings=configuration(models=models))
    [asked] = played.asked("cloud")
    assert asked.body == bytes_of(parts).replace(b"\r\n\r\nheard\r\n", b"\r\n\r\nwhisper-large-v3-turbo\r\n")
    assert asked.header("content-length") == str(len(asked.body))
    assert asked.complete


async def test_what_was_kept_is_sent_again_when_the_first_provider_fails(play: Play) -> None:
    parts = [*file(3_000_000), field("model", "whisper-1"), END]
    away = {"models": ["whisper-1"], "rules": [{"when": {"method": "POST"}, "answer": answer(503, {})}]}
    providers = {"local": away, "cloud": TWO["cloud"]}
    settings = configuration(failover={"initial_delay": "1ms"})
    settings["providers"]["local"]["models"] = ["whisper-1"]
    played = await upload(play, parts, settings=settings, providers=providers)
    assert played["upload"].status == 200
    assert played["upload"].header("x-hapax-attempts") == "2"
    assert played.asked("cloud")[0].body == bytes_of(parts)


async def test_a_form_is_kept_to_its_end_though_its_model_came_before(gateway: GatewayFactory) -> None:
    body = bytes_of([*file(3_000_000), field("model", "whisper-1"), field("stream", "false"), END])
    before = len(nameless())
    away = {"models": ["whisper-1"], "rules": [{"when": {"method": "POST"}, "answer": answer(503, {})}]}
    async with scripted({"local": away, "cloud": TWO["cloud"]}) as providers:
        settings = configuration(failover={"initial_delay": "1ms"})
        for name, provider in settings["providers"].items():
            provider |= {"base_url": f"{providers[name].url}/v1", "models": ["whisper-1"]}
        running = await gateway(settings)
        async with connect(running.port) as wire:
            wire.send(head("/v1/audio/transcriptions", len(body)) + body[:-60])
            await until_nameless(before + 1)
            wire.send(body[-60:])
            assert (await wire.response()).status == 200
        assert [each.body == body for each in providers["cloud"].calls()] == [True]


async def test_a_long_field_behind_the_model_is_not_kept(gateway: GatewayFactory) -> None:
    # What some clients send as a file has no file name.
    body = bytes_of([field("model", "whisper-1"), field("file", "U" * 9_000_000), END])
    before = len(nameless())
    async with scripted({"cloud": TWO["cloud"]}) as providers:
        running = await gateway(configured(ONE, providers["cloud"].url) | {"server": {"max_spool_bytes": "2MiB"}})
        async with connect(running.port) as wire:
            wire.send(head("/v1/audio/transcriptions", len(body)) + body)
            assert (await wire.response()).status == 200
        assert [each.body == body for each in providers["cloud"].calls()] == [True]
    await until_nameless(before)


async def test_a_form_without_any_model_is_passed_on_whole(play: Play) -> None:
    parts = [*file(1_500_000), END]
    played = await upload(play, parts, settings=configuration(provider_preference=["cloud", "local"]))
    assert played["upload"].status == 200
    assert played.asked("cloud")[0].body == bytes_of(parts)


@pytest.mark.parametrize(
    ("parts", "status", "code", "param"),
    [
        pytest.param(
            [field("model", "whisper-1"), *file(3_000_000), field("model", "whisper-1"), END],
            400,
            "invalid_multipart",
            "model",
            id="the model twice, far apart",
        ),
        pytest.param([*file(10), field("model", ""), END], 400, "invalid_type", "model", id="an empty model"),
        pytest.param(
            [*file(10), field("model", "whisper-1")], 400, "invalid_multipart", None, id="no closing boundary"
        ),
        pytest.param(
            ["--field-boundary-7f3a\r\nX: ", {"repeat": "x", "times": 2_000_000}, "\r\n\r\n", END],
            400,
            "invalid_multipart",
            None,
            id="headers of two megabytes",
        ),
        pytest.param(
            [field("base_url", "http://example.com"), field("model", "whisper-1"), END],
            400,
            "unsupported_parameter",
            "base_url",
            id="a field that names a destination",
        ),
        pytest.param(
            [*file(2_000_000), field("model", "gone"), END],
            404,
            "model_not_found",
            "model",
            id="a model that no provider has",
        ),
    ],
)
async def test_a_form_that_cannot_be_passed_on_is_refused_and_no_provider_gets_all_of_it(
    play: Play, parts: list[Any], status: int, code: str, param: str | None
) -> None:
    played = await upload(play, parts)
    error = played["upload"].error
    assert (played["upload"].status, error["code"], error["param"]) == (status, code, param)
    assert not any(each.complete for name in TWO for each in played.asked(name))
    assert b"example.com" not in played["upload"].body


@pytest.mark.parametrize(
    ("path", "parts", "status", "code"),
    [
        pytest.param(
            "/v1/audio/transcriptions",
            [*file(3_000_000), field("model", "dear"), END],
            403,
            "model_not_allowed",
            id="another model behind the file",
        ),
        pytest.param(
            "/v1/audio/transcriptions",
            [*file(3_000_000), field("model", "whisper-1"), *file(3_000_000), field("model", "dear"), END],
            400,
            "invalid_multipart",
            id="another model behind the next file",
        ),
        pytest.param(
            "/v1/audio/transcriptions",
            [*file(3_000_000), END],
            400,
            "missing_required_parameter",
            id="no model at all",
        ),
        pytest.param(
            "/v1/images/edits", [*file(9), END], 400, "missing_required_parameter", id="no model of a picture"
        ),
        pytest.param(
            "/v1/files",
            [field("purpose", "batch"), *file(3_000_000), field("model", "dear"), END],
            403,
            "model_not_allowed",
            id="another model on a path that asks none",
        ),
        pytest.param(
            "/v1/audio/transcriptions",
            [field("model", "whisper-1"), *file(9), END, field("model", "dear"), END],
            400,
            "invalid_multipart",
            id="another model behind the end",
        ),
        pytest.param(
            "/v1/audio/transcriptions",
            [
                field("model", "whisper-1"),
                *file(2_000_000),
                field("model", "dear").replace('name="model"', "name*=UTF-8''mod%65l"),
                END,
            ],
            400,
            "invalid_multipart",
            id="another model under its extended name",
        ),
    ],
)
async def test_a_restricted_key_reaches_no_other_model_by_a_form(
    play: Play, path: str, parts: list[Any], status: int, code: str
) -> None:
    played = await upload(play, parts, path, settings=RESTRICTED)
    assert (played["upload"].status, played["upload"].error["code"]) == (status, code)
    assert not any(each.complete for name in TWO for each in played.asked(name))


@pytest.mark.parametrize(
    ("path", "parts"),
    [
        pytest.param(
            "/v1/files",
            [field("purpose", "user_data"), *file(3000, '<input name="model" value="dear">\r\n'), END],
            id="a web form of fields called model",
        ),
        pytest.param(
            "/v1/uploads/upload_1/parts",
            [*file(2000, 'Content-Disposition: form-data; name="model"\r\n\r\ndear\r\n', "data"), END],
            id="a part of an upload that holds other forms",
        ),
        pytest.param(
            "/v1/files", [*file(9), field("model", "whisper-1"), END], id="the model it may use, where none is asked"
        ),
        pytest.param(
            "/v1/audio/transcriptions",
            [*file(9, "dear", "model"), *file(9), field("model", "whisper-1"), END],
            id="a file called model",
        ),
    ],
)
async def test_a_restricted_key_sends_files_of_any_content(play: Play, path: str, parts: list[Any]) -> None:
    settings = {**RESTRICTED, "provider_preference": ["cloud", "local"]}
    played = await upload(play, parts, path, settings=settings)
    assert played["upload"].status == 200
    assert played.asked("cloud")[0].body == bytes_of(parts)


LATE = [*file(1_500_000), field("model", "whisper-1"), END]


async def test_more_than_is_kept_is_a_413_that_says_what_helps(play: Play, tmp_path: Path) -> None:
    settings = configuration(server={"max_spool_bytes": "1200KiB", "spool_dir": str(tmp_path)})
    played = await upload(play, LATE, settings=settings)
    assert (played["upload"].status, played["upload"].error["code"]) == (413, "request_too_large")
    assert "send 'model' before the file" in played["upload"].error["message"]
    assert not played.asked("local") + played.asked("cloud")
    again = await upload(play, [LATE[3], *LATE[:3], END], settings=settings)
    assert again["upload"].status == 200


async def test_a_disk_that_is_full_is_a_503_and_leaks_nothing(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write

    def full(where: int, what: bytes) -> int:
        if len(what) > 64 * 1024:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(where, what)

    monkeypatch.setattr(spool.os, "write", full)
    before = len(nameless())
    played = await upload(play, LATE)
    assert (played["upload"].status, played["upload"].error["code"]) == (503, "overloaded")
    assert "send 'model' before the file" in played["upload"].error["message"]
    assert played["upload"].header("retry-after")
    assert not played.asked("local") + played.asked("cloud")
    await until_nameless(before)


def head(path: str, length: int | None) -> bytes:
    framing = "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}"
    return f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {TYPE}\r\n{framing}\r\n\r\n".encode()


ONE: dict[str, Any] = {
    "providers": {"cloud": {"type": "compatible", "base_url": "{cloud}/v1", "models": ["whisper-1"]}}
}


async def test_a_client_that_leaves_takes_its_file_along(gateway: GatewayFactory) -> None:
    before = len(nameless())
    async with scripted({"cloud": TWO["cloud"]}) as providers:
        settings = configured(ONE, providers["cloud"].url)
        running = await gateway(settings)
        async with connect(running.port) as wire:
            wire.send(head("/v1/audio/transcriptions", 9_000_000) + bytes_of(file(3_000_000)))
            await until_nameless(before + 1)
            wire.abort()
            await until_nameless(before)
        await running.listener.gateway.under_way.idle.wait()
        assert providers["cloud"].calls() == []


async def test_a_file_for_a_path_that_asks_no_model_goes_on_while_it_comes(gateway: GatewayFactory) -> None:
    body = bytes_of([field("purpose", "batch"), *file(2_000_000), END])
    async with scripted({"cloud": TWO["cloud"]}) as providers:
        running = await gateway(configured(ONE, providers["cloud"].url))
        async with connect(running.port) as wire:
            wire.send(head("/v1/files", len(body)) + body[:300_000])
            async with asyncio.timeout(30):
                while not providers["cloud"].calls():  # noqa: ASYNC110 - its head arrives before the file is whole
                    await asyncio.sleep(0.005)
            wire.send(body[300_000:])
            assert (await wire.response()).status == 200
        assert providers["cloud"].calls()[0].body == body


async def test_chunks_without_a_length_are_kept_and_sent_on_as_chunks(gateway: GatewayFactory) -> None:
    body = bytes_of(LATE)
    before = len(nameless())
    async with scripted({"cloud": TWO["cloud"]}) as providers:
        running = await gateway(configured(ONE, providers["cloud"].url))
        async with connect(running.port) as wire:
            wire.send(head("/v1/audio/transcriptions", None))
            for start in range(0, len(body), 100_000):
                wire.send(b"%x\r\n%b\r\n" % (len(body[start : start + 100_000]), body[start : start + 100_000]))
            wire.send(b"0\r\n\r\n")
            assert (await wire.response()).status == 200
        [asked] = providers["cloud"].calls()
        assert asked.body == body
        assert asked.header("transfer-encoding") == "chunked"
    await until_nameless(before)


def configured(settings: dict[str, Any], url: str) -> dict[str, Any]:
    [(name, provider)] = settings["providers"].items()
    return {"providers": {name: {**provider, "base_url": f"{url}/v1"}}}
