"""
`python -m bench.guard`: whether a request has come to cost more than it did, told in some ten seconds.

It measures the CPU per request of the gateway as deployed beside that of the control, in short turns, and compares the
least of each: whatever else runs on the machine only ever adds. The figures people quote come from `bench` itself.
"""

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import uvloop
from rich.console import Console

from bench import subjects
from bench.load import Load, request
from bench.subjects import Subject

EXPECTED = 1.38
"""
What a request costs in terms of the control: 1.36 to 1.42 with a Python built without optimisations, on a machine where
the control takes 145 us. That it is to cost less is for the limits of `bench` to say.
"""
TOLERANCE = 1.14
"""How much more fails: less than the 15 % that must be noticed, more than machines differ and noise leaves."""
TURNS, MORE = 10, 3
"""Turns of each; and how often so many more are taken before a ratio that is too high is believed."""
SECONDS, WARM = 0.25, 0.08
CONNECTIONS = 16
MODEL = "sim-fast:bytes=375"
ASKING = request(MODEL, stream=False)


async def measure(scratch: Path) -> float:
    """The ratio; at most `MORE` times `TURNS` turns are needed for it."""
    subject_core, load_core = subjects.cores()
    with (
        subjects.on_core(load_core),
        subjects.provider(load_core, scratch) as provider,
        subjects.gateway(provider.url, subject_core, scratch) as gateway,
        subjects.control(provider.url, subject_core, scratch) as control,
    ):
        least = {gateway: float("inf"), control: float("inf")}
        for _ in range(MORE):
            for _ in range(TURNS):
                for subject in least:
                    least[subject] = min(least[subject], await turn(subject))
            ratio = least[gateway] / least[control]
            if not exceeds(ratio):
                break
        return ratio


def exceeds(ratio: float) -> bool:
    """Whether *ratio* is a loss."""
    return ratio > EXPECTED * TOLERANCE


async def turn(subject: Subject, asking: bytes | Sequence[bytes] = ASKING) -> float:
    """Seconds of CPU per request; of several requests *asking*, each in its turn."""
    async with Load(subject.port, asking, CONNECTIONS) as load:
        await load.keep_asking(WARM)
        answers, cpu = load.tally.answers, subject.cpu()
        await load.keep_asking(SECONDS)
        answers, cpu = load.tally.answers - answers, subject.cpu() - cpu
        await load.stop_asking()
    # A machine that stood still for so long says nothing.
    return cpu / answers if answers else float("inf")


def main() -> int:
    """The command: 0 when nothing was lost, 1 otherwise."""
    with tempfile.TemporaryDirectory(prefix="hapax-guard-") as scratch:
        ratio = uvloop.run(measure(Path(scratch)))
    verdict = "more than" if exceeds(ratio) else "within"
    told = f"CPU per request: {ratio:.2f} times the control's, {verdict} {EXPECTED} + {TOLERANCE - 1:.0%}"
    Console().print(told, highlight=False)
    return 1 if exceeds(ratio) else 0


if __name__ == "__main__":
    sys.exit(main())
