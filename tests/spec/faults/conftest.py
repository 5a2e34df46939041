"""The world of the catalogue, built once, in an event loop of its own thread: it outlives every test."""

import asyncio
import threading
from collections.abc import Coroutine, Iterator
from typing import Any, TypeVar

import pytest

from .catalogue import FAULTS
from .play import ask_node
from .words import trials
from .world import World, world

T = TypeVar("T")
LONGEST = 120.0
"""Seconds any one trial may take."""
ALL_AT_ONCE = 240.0
"""Seconds Node may take for all of its trials, when it has just been installed and the disk is slow."""


class Stage:
    """Runs coroutines in the world's loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def run(self, work: Coroutine[Any, Any, T], longest: float = LONGEST) -> T:
        return asyncio.run_coroutine_threadsafe(asyncio.wait_for(work, longest), self._loop).result()


@pytest.fixture(scope="session")
def stage() -> Iterator[Stage]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="world")
    thread.start()
    yield Stage(loop)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


@pytest.fixture(scope="session")
def made(stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    found = trials(FAULTS)
    context = world(tmp_path_factory.mktemp("world"), found)
    yield stage.run(context.__aenter__())  # type: ignore[arg-type]
    stage.run(context.__aexit__(None, None, None))  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def node(stage: Stage, made: World) -> None:
    stage.run(ask_node(made, trials(FAULTS)), ALL_AT_ONCE)
