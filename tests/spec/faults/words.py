"""
What an entry of the catalogue consists of: a fault, the ways it is brought about, and what must be seen then.

Data only; `play` does what it says.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.rigs.simulator import Step

if TYPE_CHECKING:
    from .world import World

CHAT = "/v1/chat/completions"


@dataclass(frozen=True, slots=True)
class Error:
    """The client gets one OpenAI error object."""

    status: int
    code: str
    wait: tuple[int, int] | None = None
    """The bounds of `Retry-After` in seconds; None when there must be none."""
    final: bool = True
    """`x-should-retry: false` is there."""

    def __str__(self) -> str:
        return f"{self.status} `{self.code}`"


@dataclass(frozen=True, slots=True)
class Refusal:
    """The provider's own words about the request reach the client, once."""

    status: int
    code: Any

    def __str__(self) -> str:
        return f"{self.status}, the provider's words"


@dataclass(frozen=True, slots=True)
class Cut:
    """The answer had begun: whole events, then the error event, and an end without the terminating chunk."""

    code: str
    announced: bool = False
    """The provider said so itself; its error event is the only one."""

    def __str__(self) -> str:
        return "its own error event, once, then a broken end" if self.announced else f"error event `{self.code}`"


@dataclass(frozen=True, slots=True)
class First:
    """The provider's answer is good enough: its bytes, and nothing else."""

    def __str__(self) -> str:
        return "200, unchanged"


@dataclass(frozen=True, slots=True)
class Second:
    """Only the second provider's whole answer."""

    def __str__(self) -> str:
        return "200, only the second's"


Outcome = Error | Refusal | Cut | First | Second
SECOND = Second()
FIRST = First()


@dataclass(frozen=True, slots=True)
class Case:
    """One way to bring a fault about."""

    how: str
    """In words; a simulator directive or what the literal bytes are."""
    alone: Outcome
    """What the client sees when there is no other target."""
    pair: Outcome | None = SECOND
    """What it sees when there is a second, healthy provider; None: not played."""
    directives: str = ""
    steps: tuple[Step, ...] = ()
    """Literal bytes instead of directives."""
    at: str = "upstream"
    """Which upstream: a name of `world.UPSTREAMS`."""
    stream: tuple[bool, ...] = (False, True)
    path: str = CHAT
    body: Mapping[str, object] = field(default_factory=dict)
    """More fields of the request."""
    timed: bool = False
    """A clock of the gateway has to run out: the clocks are half a second."""
    gone: bool = False
    """The gateway must have closed the provider's connection in the end."""
    blameless: bool = False
    """The failure must not count against the provider."""
    fault: str = ""
    """The code the failed attempt has in the decision trail, where it is not the final one."""
    sdk: bool = True
    """Played with both SDKs as well."""


@dataclass(frozen=True, slots=True)
class Check:
    """A fault that takes more than one call to show; the function asserts."""

    how: str
    """What is done, in words."""
    seen: str
    """What is seen, in words."""
    run: Callable[["World"], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Fault:
    """One row."""

    id: str
    words: str
    right: str
    """What has to happen."""
    cases: tuple[Case | Check, ...] = ()
    missing: str = ""
    """What is not shown, and why; plain words."""


@dataclass(frozen=True, slots=True, eq=False)
class Trial:
    """A case as it is played once."""

    fault: Fault
    case: Case
    number: int
    """Which case of its fault."""
    stream: bool
    paired: bool
    client: str = "wire"
    """`wire` for literal bytes, else the name of an SDK."""

    @property
    def expected(self) -> Outcome:
        if self.paired:
            assert self.case.pair is not None
            return self.case.pair
        return self.case.alone

    @property
    def key(self) -> str:
        """Its public model, its provider's name and its request id: nothing is shared between trials."""
        kind = "stream" if self.stream else "whole"
        return f"{self.fault.id.lower()}-{self.number}-{kind}-{'pair' if self.paired else 'alone'}-{self.client}"

    @property
    def model(self) -> str:
        """What the provider is asked for."""
        if self.case.steps:
            return f"literal-{self.fault.id.lower()}-{self.number}"
        return f"sim-fault:id=FIRST,{self.case.directives}".removesuffix(",")

    @property
    def gateway(self) -> str:
        """An answer that is not streamed shows nothing until its end, so there only patience helps."""
        return "impatient" if self.case.timed and not self.stream and self.paired else "main"

    def __str__(self) -> str:
        return f"{self.key} {self.case.how}"


def trials(faults: tuple[Fault, ...]) -> list[Trial]:
    """Every case in every variant."""
    found = []
    for fault in faults:
        for number, case in enumerate(fault.cases):
            if isinstance(case, Check):
                continue
            for stream in case.stream:
                found.append(Trial(fault, case, number, stream, paired=False))
                if case.pair is not None:
                    found.append(Trial(fault, case, number, stream, paired=True))
                # An SDK has nothing to add to a call that only takes its time to fail.
                if case.sdk and case.path == CHAT and not (case.timed and not stream):
                    found += [Trial(fault, case, number, stream, False, client) for client in ("python", "node")]
    return found
