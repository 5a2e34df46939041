"""`hapax chat` with a gateway that runs: one question for a script, and a conversation at a terminal."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from proxy.simulator.completion import TEXT
from tests.conftest import GatewayFactory, RunningGateway
from tests.rigs.gated import DONE, HEAD, STREAM, Gated, framed
from tests.rigs.process import Finished
from tests.rigs.simulator import Simulator
from tests.rigs.terminal import END_OF_FILE, INTERRUPT, Terminal, environment, in_terminal

KEY, ADMIN = "hapax-client-4b1e9d7730aa65c2", "hapax-admin-9f2b6c1de04a7788"
AUTH = {"keys": [{"name": "web", "key": KEY}], "admin_key": ADMIN}
HOSTILE = b'data: {"id":"c1","choices":[{"index":0,"delta":{"content":"\\u001b[2J\\u009b31m\\u0007red"}}]}\n\n'
FINISHED = b'data: {"id":"c1","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'


def command(running: RunningGateway | None, *arguments: str) -> list[str]:
    url = () if running is None else ("--url", running.url)
    return [sys.executable, "-m", "proxy", "chat", *arguments, *url]


async def once(
    running: RunningGateway | None, folder: Path, *arguments: str, typed: bytes = b"", **variables: str
) -> Finished:
    """The command with pipes at all its ends."""
    process = await asyncio.create_subprocess_exec(
        *command(running, *arguments),
        cwd=folder,
        env=environment(**variables),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(60):
            stdout, stderr = await process.communicate(typed)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode is not None
    return Finished(process.returncode, stdout, stderr)


@asynccontextmanager
async def chatting(running: RunningGateway, folder: Path, *arguments: str, **variables: str) -> AsyncIterator[Terminal]:
    """A terminal at which it waits for the first question."""
    async with in_terminal(*command(running, *arguments), cwd=folder, env=environment(**variables), width=120) as shown:
        await shown.writes("/help says what can be typed; Ctrl-D ends.")
        await shown.writes("> ")
        yield shown


def said(provider: Gated) -> list[list[tuple[str, str]]]:
    """The messages of each question that the provider was asked."""
    return [
        [(each["role"], each["content"]) for each in json.loads(body)["messages"]]
        for body in provider.requests
    ]  # fmt: skip


async def test_a_question_is_answered_once_and_nothing_else_is_on_standard_output(
    gateway: GatewayFactory, simulator: Simulator, tmp_path: Path
) -> None:
    running = await gateway()
    answered = await once(running, tmp_path, "sim-fast", "Hello?")
    assert (answered.code, answered.stdout) == (0, TEXT.encode() + b"\n")
    words = len(TEXT.split())
    assert answered.stderr.startswith(b"first token ")
    assert answered.stderr.endswith(f" · 1 tokens in, {words} out · $0.000000 · sim, 1 attempt\n".encode())
    assert answered.stderr.count(b"\n") == 1
    assert b"\x1b" not in answered.stderr


async def test_a_question_from_a_pipe_goes_to_the_first_model_which_is_told(
    gateway: GatewayFactory, simulator: Simulator, tmp_path: Path
) -> None:
    running = await gateway({"models": {"a-first": {"targets": ["sim/sim-echo"]}}})
    answered = await once(running, tmp_path, typed="What is\n\ta gateway? ü\n".encode())
    assert (answered.code, answered.stdout) == (0, "What is\n\ta gateway? ü\n".encode())
    assert answered.stderr.startswith(f"a-first, the first of 7 models at {running.url}\n".encode())


async def test_an_answer_that_cannot_be_written_is_a_failure(
    gateway: GatewayFactory, simulator: Simulator, tmp_path: Path
) -> None:
    running = await gateway()
    with open("/dev/full", "wb") as full:  # noqa: ASYNC230 - a device that takes nothing
        process = await asyncio.create_subprocess_exec(
            *command(running, "sim-fast", "Hello?"),
            cwd=tmp_path,
            env=environment(),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=full,
            stderr=asyncio.subprocess.PIPE,
        )
        _, stderr = await process.communicate()
    assert (process.returncode, stderr) == (1, b"The answer cannot be written: No space left on device\n")


async def test_no_question_is_no_call(gateway: GatewayFactory, simulator: Simulator, tmp_path: Path) -> None:
    running = await gateway()
    for arguments in (("sim-fast",), ("sim-fast", " ")):
        answered = await once(running, tmp_path, *arguments, typed=b" \n")
        assert (answered.code, answered.stdout) == (2, b"")
        assert answered.stderr.startswith(b"There is no question")
    assert running.metric("hapax_exchanges_total", outcome="ok") == 0


@pytest.mark.parametrize(
    ("model", "part", "why"),
    [
        ("sim-fault:rst@3", "The simulator", "upstream_"),
        ("sim-fault:error@3", "The simulator", "The answer is not whole: "),
        ("sim-fault:end@3", "The simulator", "The answer is not whole: "),
    ],
)
async def test_an_answer_that_breaks_off_never_passes_for_a_whole_one(
    gateway: GatewayFactory, simulator: Simulator, tmp_path: Path, model: str, part: str, why: str
) -> None:
    running = await gateway({"failover": {"retries": 0}})
    answered = await once(running, tmp_path, model, "Hello?")
    assert (answered.code, answered.stdout.decode()) == (1, part + "\n")
    first, figures = answered.stderr.decode().splitlines()
    assert first.startswith("The answer is not whole: ")
    assert why in first
    assert figures.startswith("first token ")


async def test_what_the_gateway_refuses_is_said(gateway: GatewayFactory, simulator: Simulator, tmp_path: Path) -> None:
    running = await gateway({"failover": {"retries": 0}})
    refused = await once(running, tmp_path, "gpt-\x1b[31m", "Hello?")
    assert (refused.code, refused.stdout) == (1, b"")
    assert refused.stderr.startswith(b"The gateway answered 404: ")
    assert refused.stderr.endswith(b"(model_not_found)\n")
    assert b"\x1b" not in refused.stderr
    failed = await once(running, tmp_path, "sim-fault:status=503", "Hello?")
    assert (failed.code, failed.stdout) == (1, b"")
    assert failed.stderr.startswith(b"The gateway answered 503: ")


async def test_a_gateway_that_is_not_there_is_said(tmp_path: Path, unused_tcp_port: int) -> None:
    for arguments in (("sim-fast", "Hello?"), ()):
        url = f"http://127.0.0.1:{unused_tcp_port}"
        answered = await once(None, tmp_path, *arguments, "--url", url, typed=b"Hello?")
        assert (answered.code, answered.stdout) == (1, b"")
        assert answered.stderr.startswith(f"There is no gateway that answers at {url} (Client".encode())
    answered = await once(None, tmp_path, "sim-fast", "Hello?", "--url", "127.0.0.1")
    assert (answered.code, b"--url must be a URL" in answered.stderr) == (2, True)


async def test_a_key_is_taken_from_the_option_the_environment_or_the_configuration(
    gateway: GatewayFactory, simulator: Simulator, tmp_path: Path
) -> None:
    running = await gateway({"auth": AUTH})
    without = await once(running, tmp_path, "sim-fast", "Hello?")
    assert (without.code, without.stdout) == (1, b"")
    assert without.stderr.startswith(b"The gateway answered 401: ")
    assert b"Name a key with --key or HAPAX_CLIENT_KEY" in without.stderr
    configured = {"server": {"port": running.port}, "auth": AUTH, "store": {"url": ""}}
    (tmp_path / "of-the-gateway.yaml").write_text(yaml.safe_dump(configured))
    ways: list[tuple[RunningGateway | None, list[str], dict[str, str]]] = [
        (running, ["--key", KEY], {}),
        (running, [], {"HAPAX_CLIENT_KEY": KEY}),
        (None, ["--config", "of-the-gateway.yaml"], {}),
    ]
    for there, arguments, variables in ways:
        answered = await once(there, tmp_path, "sim-fast", "Hello?", *arguments, **variables)
        assert (answered.code, answered.stdout) == (0, TEXT.encode() + b"\n"), answered.stderr
        assert KEY.encode() not in answered.stderr


async def test_what_can_be_no_key_is_refused_without_being_shown(tmp_path: Path) -> None:
    refused = await once(None, tmp_path, "sim-fast", "Hello?", "--key", KEY + "\n")
    assert (refused.code, refused.stderr) == (2, b"--key holds what no key does, such as the end of a line\n")


async def test_what_it_cost_is_told_where_the_caller_may_know_it(
    gateway: GatewayFactory, simulator: Simulator, tmp_path: Path
) -> None:
    prices = {"ours": {"source": "us", "as_of": "2026-11-30", "models": {"sim-fast": {"input": 1000, "output": 1000}}}}
    (tmp_path / "prices.yaml").write_text(yaml.safe_dump(prices))
    store = {"url": f"sqlite:///{tmp_path}/hapax.db", "prices": str(tmp_path / "prices.yaml")}
    running = await gateway({"auth": AUTH, "store": store})
    cost = f"${(1 + len(TEXT.split())) / 1000:.6f}".encode()
    for arguments, told in (((), False), (("--admin-key", ADMIN), True)):
        answered = await once(running, tmp_path, "sim-fast", "Hello?", "--key", KEY, *arguments)
        assert answered.code == 0
        assert (cost in answered.stderr) is told, answered.stderr


async def test_a_program_gets_an_answer_as_it_is_and_a_terminal_nothing_it_would_obey(
    gateway: GatewayFactory, tmp_path: Path
) -> None:
    pieces = (HEAD + framed(HOSTILE), framed(FINISHED, DONE) + b"0\r\n\r\n")
    async with Gated(pieces, open_pieces=2) as provider:
        running = await gateway({"providers": {"p": provider.settings()}})
        piped = await once(running, tmp_path, "m", "Hello?")
        assert (piped.code, piped.stdout) == (0, "\x1b[2J\x9b31m\x07red\n".encode())
        async with chatting(running, tmp_path, "m") as shown:
            shown.press("Hello?\r")
            await shown.writes("Hello?")
            assert (await shown.writes("red")).lstrip("\r\n").endswith("\ufffd[2J\ufffd31m\ufffdred")
            await shown.writes("1 attempt")


async def test_a_conversation_streams_remembers_what_was_said_and_obeys(
    gateway: GatewayFactory, tmp_path: Path
) -> None:
    async with Gated(STREAM) as provider:
        running = await gateway({"providers": {"p": provider.settings()}})
        async with chatting(running, tmp_path, "m") as shown:
            shown.press("Hello?\r")
            provider.let(0)
            # The rest is not said yet.
            await shown.writes("Good ")
            provider.let(1)
            await shown.writes("day")
            provider.let(2)
            await shown.writes("p, 1 attempt")
            shown.press("/system Be short.\r")
            await shown.writes("the model is told that")
            shown.press("/model another\r")
            await shown.writes("another's")
            shown.press("And now?\r")
            await shown.writes("p, 1 attempt")
            shown.press("/new\r")
            await shown.writes("forgotten")
            shown.press("/system\r")
            await shown.writes("told nothing")
            shown.press(" /etc/passwd?\r")
            await shown.writes("p, 1 attempt")
            shown.press("/etc/passwd\r")
            await shown.writes("There is no /etc/passwd; /help says what there is.")
            shown.press("/help\r")
            await shown.writes("/model NAME")
            shown.press("/exit\r")
            assert await shown.ended() == 0
        assert said(provider) == [
            [("user", "Hello?")],
            [("system", "Be short."), ("user", "Hello?"), ("assistant", "Good day"), ("user", "And now?")],
            [("user", "/etc/passwd?")],
        ]
        asked: list[Any] = [json.loads(body)["model"] for body in provider.requests]
        assert asked == ["m", "another", "another"]


async def test_ctrl_c_stops_an_answer_and_a_second_one_the_program(gateway: GatewayFactory, tmp_path: Path) -> None:
    async with Gated(STREAM, open_pieces=1) as provider:
        running = await gateway({"providers": {"p": provider.settings()}})
        async with chatting(running, tmp_path, "m") as shown:
            shown.press("Hello?\r")
            await shown.writes("Good ")
            shown.press(INTERRUPT)
            await shown.writes("Stopped. Ctrl-C again")
            await shown.writes("> ")
            async with asyncio.timeout(30):
                while provider.left < 1:  # noqa: ASYNC110 - a look now and then is all there is
                    await asyncio.sleep(0.01)
            # It goes on where it was stopped.
            shown.press("Go on.\r")
            await shown.writes("Good ")
            shown.press(INTERRUPT)
            await shown.writes("> ")
            await shown.interrupts(shown.ended)
            assert await shown.ended() == 0
            assert "Traceback" not in shown.written
        assert said(provider)[1] == [("user", "Hello?"), ("assistant", "Good "), ("user", "Go on.")]


async def test_the_end_of_the_input_ends_the_program_and_one_ctrl_c_at_the_prompt_does_not(
    gateway: GatewayFactory, simulator: Simulator, tmp_path: Path
) -> None:
    running = await gateway()
    async with chatting(running, tmp_path) as shown:
        assert f"sim-1, the first of 6 models at {running.url}" in shown.written
        shown.press("half a question")
        # Read by the program: Ctrl-C takes away what was not, for which readline would wait on.
        await shown.writes("half a question")
        await shown.interrupts(lambda: shown.writes("Ctrl-C again, Ctrl-D or /exit ends the program."))
        shown.press("/model sim-echo\r")
        await shown.writes("sim-echo's")
        shown.press("Hello?\r")
        await shown.writes("sim, 1 attempt")
        shown.press("/model sim-nothing\r/model\r")
        await shown.writes("sim-fault")
        shown.press("Hello?\r")
        await shown.writes("The gateway answered 404: ")
        await shown.writes("> ")
        shown.press(END_OF_FILE)
        assert await shown.ended() == 0
        assert "Traceback" not in shown.written


async def test_no_colour_is_shown_where_none_is_wanted(
    gateway: GatewayFactory, simulator: Simulator, tmp_path: Path
) -> None:
    running = await gateway()
    for variables, coloured in (({}, True), ({"NO_COLOR": "1"}, False)):
        async with chatting(running, tmp_path, "sim-echo", **variables) as shown:
            shown.press("Hello?\r")
            await shown.writes("sim, 1 attempt")
            await shown.writes("> ")
            assert ("\x1b[2m" in shown.written) is coloured
            shown.press(END_OF_FILE)
            assert await shown.ended() == 0
