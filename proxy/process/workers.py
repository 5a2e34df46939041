"""
The workers of a supervisor: started, listened to, asked for one another, and killed when they stand still.

It knows which live and what they said; whether one that has gone is replaced is decided in `supervisor`.
"""

import asyncio
import logging
import os
import signal
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from itertools import count
from typing import Any

from proxy.core import clock, tasks
from proxy.core.peers import ACT, DRAINED, LIVE, METRICS
from proxy.observe.merged import Merged, Snapshot
from proxy.process.ipc import Channel
from proxy.process.member import Birth, Member, NotStarted
from proxy.process.worker import BEAT, Place
from proxy.settings.in_force import By, Reload
from proxy.settings.live import LiveChange

READY_WITHIN = 60.0
"""Seconds a new worker gets until it serves."""
ANSWER_WITHIN = 1.0
"""Seconds a worker gets for a question; see `worker.ANSWERS_WITHIN`, which must be longer."""
DONE_WITHIN = 10.0
"""Seconds a worker gets to do as it was told."""
LOOK = 0.5
"""Seconds between two looks at whether all of them live."""
STACK_WITHIN = 1.0
"""Seconds a worker that stands still gets to write down where."""

_log = logging.getLogger("hapax")


class Workers:
    """The workers that live, and what they said."""

    def __init__(
        self,
        lost: Callable[[Member, str], None],
        leaves: Callable[[Member], None],
        own: Callable[[], Snapshot],
        changed: Callable[[], Coroutine[Any, Any, None]],
        reload: Callable[[By, Mapping[str, str]], Awaitable[Reload]],
        live: Callable[[LiveChange], None],
    ) -> None:
        """
        *lost* is told of a member that served and ended by itself, and how; *leaves* of one that asks to be replaced;
        *own* gives the supervisor's metrics. *changed* is called when a file of the configuration may have changed,
        *reload* when an operator asks; *live* is told what an operator changes beside it.
        """
        self.members: list[Member] = []
        self.births: asyncio.Queue[Birth] = asyncio.Queue()
        """The supervisor takes them from here, and forks."""
        self.closed = False
        """All are to end: a worker that is being born is told so at once."""
        self._unborn: set[asyncio.Task[Member]] = set()
        self._lost = lost
        self._leaves = leaves
        self._own = own
        self._changed = changed
        self._reload = reload
        self._live = live
        self._gone = Merged()
        self._drained: set[str] = set()
        """Providers that an operator has drained, for workers that are yet to come."""
        self._asked: dict[int, asyncio.Future[Any]] = {}
        self._numbers = count()

    @property
    def serving(self) -> list[Member]:
        """Those that serve and have not been told to end."""
        return [each for each in self.members if each.serves and not each.leaving]

    def of(self, slot: int) -> Member | None:
        """Who serves there and has not been told to end."""
        return next((each for each in self.serving if each.place.slot == slot), None)

    async def start(self, place: Place) -> Member:
        """A new worker that serves; `NotStarted` when it does not come to that."""
        birth = Birth(place, asyncio.get_running_loop().create_future())
        self.births.put_nowait(birth)
        born: asyncio.Task[Member] = tasks.start(self._born(birth), f"birth of worker {place.slot}")
        self._unborn.add(born)
        born.add_done_callback(self._unborn.discard)
        # The task that waits may give up, and the child that has been forked must be looked after all the same.
        member = await asyncio.shield(born)
        try:
            async with asyncio.timeout(READY_WITHIN):
                await asyncio.shield(member.ready)
        except TimeoutError:
            member.leaving = True
            member.kill(signal.SIGKILL)
            raise NotStarted(f"it did not serve within {READY_WITHIN:g} s") from None
        return member

    async def _born(self, birth: Birth) -> Member:
        pid, end, hand, crash = await birth.born
        member = Member(birth.place, pid, await Channel.over(end), hand, crash)
        self.members.append(member)
        self.reap()
        tasks.start(self._attend(member), f"worker {pid}")
        if self.closed:
            member.drain(0.0)
        return member

    def reap(self) -> None:
        """Take note of those that have ended; to be called at SIGCHLD."""
        for member in self.members:
            if not member.exited.done():
                pid, status = os.waitpid(member.pid, os.WNOHANG)
                if pid:
                    member.exited.set_result(os.waitstatus_to_exitcode(status))

    async def empty(self) -> None:
        """Wait until all of them have ended."""
        while self.members or self._unborn:
            ends: list[asyncio.Future[Any]] = [member.exited for member in self.members]
            await asyncio.wait([*ends, *self._unborn])
            # Those who attend them have their turn now.
            await asyncio.sleep(0)

    async def watch(self, timeout_now: Callable[[], float]) -> None:
        """Kill those whose loop has not turned for as many seconds as *timeout_now* says, for ever."""
        looked = clock.now()
        while True:
            await asyncio.sleep(LOOK)
            now = clock.now()
            if now - looked > 2 * LOOK:
                # It is the whole machine that stood still, and what they said meanwhile is not read yet.
                for member in self.members:
                    member.beat = now
            looked, timeout = now, timeout_now()
            for member in self.members:
                if member.serves and now - member.beat > timeout and not member.stuck:
                    member.stuck = True
                    tasks.start(self._end_stuck(member, timeout), f"end of {member.pid}")

    async def _end_stuck(self, member: Member, timeout: float) -> None:
        _log.error(
            "a worker stands still and is killed", extra={"fields": {"worker_pid": member.pid, "seconds": timeout}}
        )
        # Its last words are where it stands: see `faulthandler`.
        member.kill(signal.SIGABRT)
        await asyncio.wait([member.exited], timeout=STACK_WITHIN)
        member.kill(signal.SIGKILL)

    async def _attend(self, member: Member) -> None:
        """Listen to *member* until it is gone, and clear away after it, whatever it says."""
        try:
            await self._listen(member)
        except Exception as error:
            # It is of no use any more, and is killed as one that has closed its channel is.
            told = {"worker_pid": member.pid, "error": type(error).__name__}
            _log.error("a worker cannot be understood", extra={"fields": told}, exc_info=error)
        if not (await asyncio.wait([member.exited], timeout=STACK_WITHIN))[0]:
            member.kill(signal.SIGKILL)
        code = await member.exited
        await member.channel.close()
        self.members.remove(member)
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        if not member.ready.done():
            member.ready.set_exception(NotStarted(member.why or f"it ended with {how}"))
            # The task that waited may have given up.
            member.ready.exception()
        elif not member.leaving:
            self._lost(member, how)
        member.crash.close()
        member.hand.close()
        self._gone.add(member.told, gone=True)

    async def _listen(self, member: Member) -> None:
        """Do as *member* says, until it says no more."""
        async for message in member.channel.messages():
            kind = message["kind"]
            if kind == "beat":
                member.beat = clock.now()
            elif kind == "counted":
                member.told = message["families"]
            elif kind == "answer":
                waiting = self._asked.get(message["number"])
                if waiting is not None and not waiting.done():
                    waiting.set_result(message["found"])
            elif kind == "changed":
                tasks.start(self._changed(), f"change seen by {member.pid}")
            elif kind == "reload":
                tasks.start(self._reload_for(member, message), f"reload for {member.pid}")
            elif kind == "ask":
                tasks.start(self._ask_others(member, message), f"question of {member.pid}")
            elif kind == "ready":
                member.beat = clock.now()
                member.ready.set_result(message["banner"])
            elif kind == "leaving":
                self._leaves(member)
            elif kind == "failed":
                member.why = message["why"]

    async def tell_all(self, what: str, of: Any = None) -> dict[Member, Any]:
        """
        Have every worker that serves do *what*; by worker what it answers, None for one that does not within
        `DONE_WITHIN` seconds.
        """
        numbers = {each: next(self._numbers) for each in self.serving}
        answers: dict[Member, asyncio.Future[Any]] = {}
        for member, number in numbers.items():
            answers[member] = self._asked[number] = asyncio.get_running_loop().create_future()
            member.channel.say("order", number=number, what=what, of=of)
        if answers:
            ended = [tasks.start(_either(answer, member.exited), "order") for member, answer in answers.items()]
            await asyncio.wait(ended, timeout=DONE_WITHIN)
            for each in ended:
                each.cancel()
        for number in numbers.values():
            del self._asked[number]
        return {member: answer.result() if answer.done() else None for member, answer in answers.items()}

    async def _reload_for(self, member: Member, message: dict[str, Any]) -> None:
        done = await self._reload(message["by"], message["who"])
        member.channel.say("answers", number=message["number"], found=[done.told()])

    async def _ask_others(self, asker: Member, message: dict[str, Any]) -> None:
        what = message["what"]
        found: list[Any] = []
        if what == METRICS:
            # What was shown once must not be forgotten: a counter that falls is read as one that began anew.
            asker.told = message["of"]
            found = [self._gone.snapshot(), self._own()]
        elif what == DRAINED:
            asker.channel.say("answers", number=message["number"], found=[sorted(self._drained)])
            return
        elif what in (ACT, LIVE):
            self._take_note(asker, what, message["of"])
        others = [each for each in self.members if each is not asker and each.serves]
        asked: dict[Member, asyncio.Future[Any]] = {}
        for each in others:
            if clock.now() - each.beat < 4 * BEAT:
                asked[each] = self._ask(each, what, None if what == METRICS else message["of"])
            elif what == METRICS:
                found.append(each.told)
            elif what in (ACT, LIVE):
                # It lasts, so a worker that is slow does it later; its answer is not waited for.
                each.channel.say("question", number=next(self._numbers), what=what, of=message["of"])
        if asked:
            await asyncio.wait(asked.values(), timeout=ANSWER_WITHIN)
        for each, answer in asked.items():
            if answer.done() and what == METRICS:
                each.told = answer.result()
            if what == METRICS:
                found.append(each.told)
            elif answer.done():
                found.append(answer.result())
        for number in [number for number, waiting in self._asked.items() if waiting in asked.values()]:
            del self._asked[number]
        asker.channel.say("answers", number=message["number"], found=found)

    def _take_note(self, asker: Member, what: str, of: dict[str, Any]) -> None:
        """An operator has something done that lasts: those that do not serve yet are told as well, for then."""
        if what == LIVE:
            self._live(LiveChange(**of))
        elif of["action"] in ("drain", "enable"):
            (self._drained.add if of["action"] == "drain" else self._drained.discard)(of["provider"])
        else:
            return
        for member in self.members:
            if member is not asker and not member.serves:
                member.channel.say("question", number=next(self._numbers), what=what, of=of)

    def _ask(self, member: Member, what: str, of: Any) -> "asyncio.Future[Any]":
        number = next(self._numbers)
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        member.channel.say("question", number=number, what=what, of=of)
        self._asked[number] = answer
        return answer


async def _either(one: "asyncio.Future[Any]", other: "asyncio.Future[Any]") -> None:
    """Until one of them is done."""
    await asyncio.wait((one, other), return_when=asyncio.FIRST_COMPLETED)
