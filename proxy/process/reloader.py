"""
A reload from its cause to its end: the configuration is read, compared, put in force as a whole or not at all, and what
became of it is told.

How it is put in force in a process, or in several, is handed in.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from proxy.core import clock, tasks
from proxy.core.audit import audit
from proxy.settings import Loaded, SettingsError
from proxy.settings.files import Digests, digests
from proxy.settings.in_force import By, InForce, Reload, shown
from proxy.settings.reload import accepted, changed, combined

_log = logging.getLogger("hapax")

Aside = Callable[..., Awaitable[Any]]
"""Calls a function with arguments."""
REFUSED = "reload refused, the old configuration stays"


class Reloader:
    """Reloads, one at a time."""

    def __init__(
        self,
        in_force: InForce,
        read: Callable[[], Loaded],
        apply: Callable[[Loaded], Awaitable[None]],
        aside: Aside = asyncio.to_thread,
    ) -> None:
        """
        *read* loads the settings as they are now; *apply* puts them in force. Both raise `SettingsError`, and nothing
        has changed then. *aside* calls what reads files, which may be slow or never come back.
        """
        self._in_force = in_force
        self._read = read
        self._apply = apply
        self._aside = aside
        self._turn = asyncio.Lock()
        self._seen: Digests = in_force.loaded.files
        """The files as they were before they were read last, whatever came of it."""

    async def reload(self, by: By, who: Mapping[str, str] | None = None) -> Reload:
        """
        Read the configuration and put it in force; what became of that. It goes on when the caller leaves. *who*: the
        operator that asks, for the audit log; None where none did by name.
        """
        return await asyncio.shield(tasks.start(self._in_turn(by, who or {"by": by}), "reload"))

    async def _in_turn(self, by: By, who: Mapping[str, str]) -> Reload:
        async with self._turn:
            return await self._reload(by, who)

    async def changed(self) -> Reload | None:
        """
        Perhaps a file has changed: reload where one really has; None where none has. A configuration that was refused
        is not tried again, nor logged again, until it is another one.
        """
        async with self._turn:
            if await self._aside(digests, self._in_force.files) != self._seen:
                return await self._reload("watch", {"by": "watch"})
            return None

    async def _reload(self, by: By, who: Mapping[str, str]) -> Reload:
        in_force, before = self._in_force, self._in_force.loaded.files
        seen = await self._aside(digests, in_force.files)
        read_from: Digests = {}
        problems: list[str] | None = None
        try:
            loaded = await self._aside(self._read)
            read_from = loaded.files
            loaded, fixed = combined(in_force.loaded, accepted(in_force.loaded, loaded))
            await self._apply(loaded)
        except SettingsError as error:
            problems, read_from = [str(problem) for problem in error.problems], error.files or read_from
        except Exception as error:
            # Whatever it is, a gateway that serves goes on.
            _log.error("a reload failed: %s", type(error).__name__, exc_info=error)
            problems = [f"an internal error, see the log: {type(error).__name__}"]
        now = clock.wall()
        if problems is not None:
            told = Reload(clock.iso(now), by, "refused", problems=tuple(problems))
            in_force.refuse(told, read_from)
            known = {**seen, **read_from}
            self._seen = {path: known[path] for path in in_force.files}
            refused = {"event": "reload_refused", "stage": "reload", **who, "cause": by}
            _log.error(REFUSED, extra={"fields": {**refused, "problems": list(told.problems)}})
        else:
            former, digest = in_force.loaded.settings, in_force.hash
            differs = changed(former, loaded.settings)
            files = [path for path, digest in loaded.files.items() if before.get(path) != digest]
            told = Reload(clock.iso(now), by, "applied", (), tuple(differs), tuple(files), tuple(fixed))
            in_force.take(loaded, told, now)
            self._seen = loaded.files
            if loaded.warnings:
                # At the start they are printed; after it the log is where an operator looks.
                warned = {"event": "reload_warnings", "stage": "reload", "warnings": loaded.warnings}
                _log.warning("the new configuration has warnings", extra={"fields": warned})
            audit(
                "configuration_reloaded",
                "configuration reloaded",
                who,
                {"hash": digest, **shown(former, differs)},
                {"hash": in_force.hash, **shown(loaded.settings, differs)},
                cause=by,
                source=loaded.source,
                changed=differs,
                files=files,
                needs_restart=fixed,
            )
        in_force.counts[told.outcome] += 1
        return told


async def at_once(function: Callable[..., Any], *arguments: Any) -> Any:
    """An `Aside` of a process that must not have a second thread."""
    return function(*arguments)
