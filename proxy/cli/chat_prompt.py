"""
A conversation of `hapax chat`: what was said so far, and the prompt at which it goes on.

Ctrl-C ends an answer and not the program. What is typed is kept in memory alone, since prompts are private.
"""

import asyncio
import contextlib
import io
import sys
from collections.abc import Sequence
from typing import TextIO

from rich.console import Console

from proxy.cli import show
from proxy.cli.chat_answer import Answer
from proxy.cli.chat_client import Client, Message, Unanswered
from proxy.core import clock
from proxy.core.plain import in_lines

HELP = """\
/model NAME    another model from the next question on; /model alone lists what there is
/system TEXT   what the model is told before all else; /system alone takes it away
/new           forget what was said
/exit          end, as does Ctrl-D or Ctrl-C twice; once it stops an answer
A question that begins with a slash is typed with a space before it."""
_HOW_TO_END = "Ctrl-C again, Ctrl-D or /exit ends the program."
LISTED = 50
"""Models that are listed at once."""


class Talk:
    """One conversation with one model at a time."""

    def __init__(self, client: Client, runner: asyncio.Runner, model: str, out: TextIO, notes: Console) -> None:
        """*out*: where answers go; *notes*: where what is said about them goes."""
        self.model = model
        self._client = client
        self._runner = runner
        self._out = out
        self._notes = notes
        self._system = ""
        self._said: list[Message] = []
        self._on_terminal = out.isatty()

    def ask(self, question: str) -> bool:
        """
        Put a question and print the answer as it comes; whether it is whole. One that is not is said not to be, on a
        line of its own. `KeyboardInterrupt` with what came so far kept.
        """
        messages = [*self._said, {"role": "user", "content": question}]
        if self._system:
            messages.insert(0, {"role": "system", "content": self._system})
        answer = Answer(clock.now())
        printed = _Printed(self._out, self._on_terminal)
        try:
            self._runner.run(self._client.ask(self.model, messages, answer, printed.more))
        except Unanswered as refusal:
            show.line(self._notes, show.plain(str(refusal)), "red")
            return False
        finally:
            printed.end()
            if answer.text:
                # Also where it broke off: it was read, and the next question may be about it.
                self._said += [messages[-1], {"role": "assistant", "content": answer.text}]
        if answer.trouble:
            show.line(self._notes, f"The answer is not whole: {show.plain(answer.trouble)}", "red")
        self._runner.run(self._client.find_cost(answer))
        if answer.figures:
            self._note(show.plain(answer.figures))
        return not answer.trouble

    def go_on(self) -> None:
        """Read questions and commands until the user has no more."""
        # Moving in the line and calling back earlier ones; there is none on some systems.
        with contextlib.suppress(ImportError):
            import readline  # noqa: F401 - `input` finds it
        if isinstance(sys.stdin, io.TextIOWrapper):
            sys.stdin.reconfigure(errors="replace")
        interrupted = False
        while True:
            try:
                typed = input("> ")
            except EOFError:
                self._out.write("\n")
                return
            except KeyboardInterrupt:
                self._out.write("\n")
                if interrupted:
                    return
                interrupted = True
                self._note(_HOW_TO_END)
                continue
            interrupted = False
            try:
                if typed.startswith("/"):
                    if not self._obey(*typed[1:].partition(" ")[::2]):
                        return
                elif typed.strip():
                    self.ask(typed.strip())
            except KeyboardInterrupt:
                interrupted = True
                self._note(f"Stopped. {_HOW_TO_END}")

    def _obey(self, command: str, rest: str) -> bool:
        """Do what *command* says; whether the conversation goes on."""
        rest = rest.strip()
        if command in ("exit", "quit"):
            return False
        if command == "new":
            self._said.clear()
            self._note("What was said is forgotten.")
        elif command == "system":
            self._system = rest
            self._note("From now on the model is told that." if rest else "The model is told nothing of itself.")
        elif command == "model":
            if rest:
                self.model = rest
                self._note(f"The next answer is {show.plain(rest)}'s.")
            else:
                self._list()
        elif command == "help":
            self._note(HELP)
        else:
            self._note(f"There is no /{show.plain(command)}; /help says what there is.")
        return True

    def _list(self) -> None:
        try:
            names: Sequence[str] = self._runner.run(self._client.models())
        except Unanswered as refusal:
            show.line(self._notes, show.plain(str(refusal)), "red")
            return
        self._note("\n".join(show.plain(name) for name in names[:LISTED]) or "There is none.")
        if len(names) > LISTED:
            self._note(f"and {len(names) - LISTED:,} more")

    def _note(self, text: str) -> None:
        show.line(self._notes, text, show.dim())


class _Printed:
    """An answer as it is printed, piece by piece; on a terminal without anything that a terminal would obey."""

    def __init__(self, out: TextIO, on_terminal: bool) -> None:
        self._out = out
        self._on_terminal = on_terminal
        self._thinking = False
        self._last = ""
        """The last letter that was printed; empty at the beginning."""

    def more(self, thought: str, said: str) -> None:
        """Print more of it. What was thought is shown to people alone, who would wait for nothing meanwhile."""
        if self._on_terminal:
            thought, said = in_lines(thought), in_lines(said)
        else:
            thought = ""
        if thought:
            if not self._thinking:
                self._thinking = True
                self._put("(thinking) ")
            self._put(thought)
        if said:
            if self._thinking:
                self._thinking = False
                self._put("\n\n")
            self._put(said)
        self._out.flush()

    def end(self) -> None:
        """What comes next begins on a line of its own."""
        if self._last not in ("", "\n"):
            self._put("\n")
        self._out.flush()

    def _put(self, text: str) -> None:
        self._out.write(text)
        self._last = text[-1:]
