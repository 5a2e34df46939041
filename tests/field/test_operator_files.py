"""Files that are no configuration: each is told with what to do, and a reload to it changes nothing."""

import signal
from pathlib import Path

import pytest
from typer.testing import CliRunner

from proxy.cli.command import app
from proxy.settings import Loaded, SettingsError, load
from proxy.settings.reload import accepted
from tests.field.operator import KNOWN, NO_STORE, REAL_LOOK, checked
from tests.field.play import exchange, request_bytes
from tests.field.provider import scripted
from tests.rigs.hapax import hapax

pytestmark = pytest.mark.usefixtures("quiet_machine")


FILES = [
    pytest.param(b"", "is empty", id="no byte at all"),
    pytest.param(b"\n\n  \n", "is empty", id="blank lines"),
    pytest.param(b"---\n", "is empty", id="a mark of a document and nothing behind it"),
    pytest.param(b"\xef\xbb\xbf", "is empty", id="a byte order mark alone, as Notepad leaves it"),
    pytest.param(b"{}\n", "is empty", id="an empty mapping"),
    pytest.param(b"null\n", "is empty", id="null"),
    pytest.param(b"server:\nauth:\n# port: 1\n", "nothing below", id="sections whose settings are commented out"),
    pytest.param(b"providers: {}\nserver: {port: 1}\n", "providers: has nothing below it", id="no provider in braces"),
    pytest.param(b"providers: []\nserver: {port: 1}\n", "providers: has nothing below it", id="a list of no provider"),
    pytest.param(b"- openai\n", "it is a list", id="a list at the top"),
    pytest.param(b"openai\n", "one piece of text", id="a word at the top"),
    pytest.param("server: {port: 1}".encode("utf-16-le"), "UTF-16", id="UTF-16 without its mark"),
    pytest.param("# é\nserver: {host: é}".encode("latin-1"), "line 1 holds", id="Latin-1"),
    pytest.param(b"server:\n\tport: 1\n", "line 2, column 1: is not valid YAML: a tab", id="a tab"),
    pytest.param(
        b"providers:\n  ollama:\n    models: [*]\n", 'put the value in quotes, such as ["*"]', id="a bare star"
    ),
    pytest.param(
        b"auth: {keys: [{models: *}]}\n", 'put the value in quotes, such as ["*"]', id="a bare star in braces"
    ),
    pytest.param(b"models: [gpt-4, *-mini]\n", "is an alias in YAML", id="a glob that begins with a star"),
    pytest.param(b"a: !ENV KEY\n", "write ${VAR}", id="a tag for a variable"),
    pytest.param(b"a: %KEY%\n", "write ${VAR}", id="a Windows variable without quotes"),
    pytest.param(b"a: {{KEY}}\n", "write ${VAR}", id="a template without quotes"),
    pytest.param(b"a: @me\n", "put the value in quotes", id="an at sign"),
    pytest.param(b"server:\n  port:8080\n  host: x\n", "lacks a space behind its colon", id="no space behind a colon"),
    pytest.param(b"server:\n  port: 1\n host: x\n", "line it up", id="a line that is indented by one space less"),
    pytest.param(b'logging: {dir: "C:\\logs\\x"}\n', "single quotes", id="a Windows path in double quotes"),
    pytest.param("server:\u00a0{port: 1}\n".encode(), "it holds a no-break space", id="a no-break space"),
    pytest.param("a: \u201cx\nb: [\n".encode(), "line 1 holds a no-break space or a curly quote", id="curly quotes"),
    pytest.param(b"server: {port: 1\n", "close it", id="a brace that is not closed"),
    pytest.param(
        b"server: {port: 1}\nserver: {port: 2}\n", "given twice, on lines 1 and 2", id="a section given twice"
    ),
    pytest.param(
        b"server: {port: 08080}\nlogging: {level: on}\n", "'warn' or 'error'; on, off", id="a word YAML reads"
    ),
    pytest.param(b"server: {port: 010000}\n", "octal number", id="a port that begins with 0"),
    pytest.param(b"server: {read_timeout: 1:30}\n", "base 60", id="minutes and seconds with a colon"),
    pytest.param(b"server: {read_timeout: 30000}\n", "30000ms or 30s", id="milliseconds without a unit"),
    pytest.param(b"store: {retention: 90, url: ''}\n", "90d or 90h", id="days without a unit"),
]


@pytest.mark.parametrize(("content", "words"), FILES)
def test_a_file_that_is_no_configuration_is_told_with_what_to_do(content: bytes, words: str) -> None:
    code, said = checked(content)
    assert words in said
    assert code == 2 or "Warning: " in said


@pytest.mark.parametrize("command", ["check", "serve"])
def test_a_folder_and_a_missing_file_are_no_configuration(command: str, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "empty.yaml").write_text("# nothing yet\n")
    for name, words in (
        ("folder", "it is a folder"),
        ("missing.yaml", "does not exist"),
        ("empty.yaml", "is empty, or has comments alone"),
    ):
        result = CliRunner().invoke(app, [command, "--config", name], prog_name="hapax")
        assert result.exit_code == 2
        assert words in result.stderr


def test_a_byte_order_mark_before_a_configuration_is_no_mistake() -> None:
    for encoding in ("utf-8-sig", "utf-16"):
        assert checked(f"server: {{port: 1}}{NO_STORE}".encode(encoding))[0] == 0


def _loaded(text: str, environ: dict[str, str] | None = None) -> Loaded:
    Path("given.yaml").write_text(text)
    return load(Path("given.yaml"), environ or {})


def test_a_reload_never_goes_over_to_the_simulator_or_the_environment() -> None:
    named = _loaded(KNOWN)
    for environ, instead in (({}, "the embedded simulator"), ({"OPENAI_API_KEY": REAL_LOOK}, "the environment")):
        with pytest.raises(SettingsError, match=f"providers: are not named any more, and .*{instead}"):
            accepted(named, _loaded("server: {port: 1}", environ))
    ollama = load(environ={}, ollama_answers=lambda: True)
    with pytest.raises(SettingsError, match="the embedded simulator would answer instead"):
        accepted(ollama, load(environ={}, ollama_answers=lambda: False))
    with pytest.raises(SettingsError, match=r"given\.yaml is gone"):
        accepted(_loaded("server: {port: 1}"), load(environ={}))


def test_a_reload_that_names_providers_is_accepted() -> None:
    simulated, named = _loaded("server: {port: 1}"), _loaded(KNOWN)
    assert accepted(simulated, named) is named
    assert accepted(named, again := _loaded(KNOWN + "server: {port: 2}")) is again
    assert accepted(simulated, again := _loaded("server: {port: 2}")) is again


HELLO = (
    '{"id":"c1","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":'
    '{"role":"assistant","content":"Hello"},"finish_reason":"stop"}]}'
)
PROVIDER = {
    "a": {
        "models": ["m"],
        "rules": [
            {
                "when": {"method": "POST"},
                "answer": [
                    f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(HELLO)}\r\n\r\n{HELLO}"
                ],
            }
        ],
    }
}


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_running_gateway_keeps_its_provider_whatever_becomes_of_its_file(tmp_path: Path, workers: int) -> None:
    call = {"request": "POST /v1/chat/completions", "body": {"model": "m", "messages": []}}
    async with scripted(PROVIDER) as providers:
        settings = {
            "providers": {"a": {"type": "compatible", "base_url": f"{providers['a'].url}/v1", "models": ["m"]}},
            "server": {"drain_delay": "0s", "workers": workers},
            "store": {"url": ""},
        }
        async with hapax(tmp_path, settings) as process:
            file, said = tmp_path / "hapax.yaml", b""
            assert process.process.stderr is not None
            for content, wrong in (
                (b"# providers:\n", b"which is no configuration"),
                (b"providers:\nstore: {url: ''}\n", b"has nothing below it"),
                (b"server:\n\tport: 1", b"by spaces only"),
                (b"store: {url: ''}\n", b"the embedded simulator would answer instead"),
            ):
                file.write_bytes(content)
                process.signal(signal.SIGHUP)
                while wrong not in (said := await process.process.stderr.readline()):
                    assert said
                assert b"reload refused" in said
            got = await exchange(process.port, request_bytes(call, process.port))
    assert got.body == HELLO.encode()
