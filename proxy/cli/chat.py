"""
`hapax chat`: a streaming chat with a running gateway, at the prompt or for one question.

It decides what is asked of whom, and the exit code; a conversation is held in `chat_prompt`.
"""

import asyncio
import os
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from proxy.cli import gateway, show
from proxy.cli.check import Config
from proxy.cli.gateway import Url
from proxy.cli.store import FAILED, readable, refusal

if TYPE_CHECKING:
    from proxy.cli.chat_client import Client


def chat(
    model: Annotated[
        str | None, typer.Argument(metavar="MODEL", help="Omitted: the first that the gateway lists.")
    ] = None,
    question: Annotated[
        str | None, typer.Argument(metavar="QUESTION", help="Ask this alone and exit; else it is read.")
    ] = None,
    url: Url = None,
    key: Annotated[
        str | None,
        typer.Option(
            metavar="KEY", envvar="HAPAX_CLIENT_KEY", show_envvar=True, help="Omitted: the first of auth.keys, if any."
        ),
    ] = None,
    admin_key: Annotated[
        str | None,
        typer.Option(
            metavar="KEY",
            envvar="HAPAX_ADMIN_KEY",
            show_envvar=True,
            help="Opens what an answer cost; omitted: auth.admin_key.",
        ),
    ] = None,
    config: Config = None,
) -> None:
    """
    Chat with a model of a running gateway. A question that is given, or comes through a pipe, is answered once; then
    the exit code is 0 for a whole answer and 1 for any other.

    Example: hapax chat gpt-4o "What is a gateway?"
    """
    settings = readable(config)
    place = gateway.place(settings, url, admin_key)
    gateway.refuse_what_is_no_key("--key", key)
    if question is None and not sys.stdin.isatty():
        question = typer.get_text_stream("stdin", errors="replace").read().rstrip("\n")
    if question is not None and not question.strip():
        raise refusal('There is no question; give one, such as hapax chat MODEL "Hello", or start it at a terminal')
    if key is None and settings.auth.keys:
        key = settings.auth.keys[0].key.get_secret_value()
    # Imported here: other commands need no HTTP client.
    from proxy.cli.chat_client import Client

    async def connected() -> Client:
        return Client(place.url, place.context(), key, place.key)

    with asyncio.Runner() as runner:
        try:
            client = runner.run(connected())
        except OSError as error:
            raise refusal(gateway.silent(place.url, type(error).__name__), FAILED) from None
        try:
            whole = _talk(runner, client, model, question)
        except BrokenPipeError:
            # Its reader has what it wanted.
            raise
        except OSError as error:
            # Python tries once more at its end, and would complain (its `signal` module, "Note on SIGPIPE").
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise refusal(f"The answer cannot be written: {error.strerror or error}", FAILED) from None
        finally:
            runner.run(client.close())
    raise typer.Exit(0 if whole else FAILED)


def _talk(runner: asyncio.Runner, client: "Client", model: str | None, question: str | None) -> bool:
    """Whether a single *question* got a whole answer; True of a conversation."""
    from proxy.cli.chat_client import Unanswered
    from proxy.cli.chat_prompt import Talk

    # A program that reads the answer gets nothing else.
    notes = show.out() if question is None else show.err()
    if model is None:
        try:
            names = runner.run(client.models())
        except Unanswered as error:
            raise refusal(show.plain(str(error)), FAILED) from None
        if not names:
            raise refusal(f"The gateway at {client.there} lists no model; name one: hapax chat MODEL", FAILED)
        model = names[0]
        first = f"the first of {len(names):,} models" if len(names) > 1 else "its only model"
        show.line(notes, f"{show.plain(model)}, {first} at {client.there}", show.dim())
    talk = Talk(client, runner, model, typer.get_text_stream("stdout", errors="replace"), notes)
    if question is not None:
        # What no UTF-8 can hold, which a shell may pass on, could not be sent.
        return talk.ask(question.encode("utf-8", "replace").decode())
    show.line(notes, "/help says what can be typed; Ctrl-D ends.", show.dim())
    talk.go_on()
    return True
