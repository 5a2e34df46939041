"""
Other settings put in force by all workers together: each makes what they ask for, and only when all could do so, each
begins to use it.

What the settings are is decided in `reloader`; what a worker makes of them, in `listener`.
"""

import socket
from itertools import cycle

from proxy.observe.log import Logs
from proxy.process.ipc import packed
from proxy.process.sockets import Sockets, Unservable, metrics_socket, moves_metrics
from proxy.process.worker import COMMIT, DISCARD, PREPARE
from proxy.process.workers import Workers
from proxy.settings import Problem, Settings, SettingsError


class Together:
    """The workers of a supervisor, and what it keeps for them."""

    def __init__(self, workers: Workers, sockets: Sockets, logs: Logs) -> None:
        """*sockets* are those that workers are born with, *logs* the supervisor's own."""
        self._workers = workers
        self._sockets = sockets
        self._logs = logs
        self._marks = cycle(range(256))
        """By which a worker knows for which message a socket was handed to it."""

    async def apply(self, before: Settings, after: Settings) -> None:
        """Put *after* in force in the place of *before*, or, where one worker cannot, nowhere: `SettingsError`."""
        moves = moves_metrics(before.metrics, after.metrics)
        metrics: socket.socket | None = None
        mark: int | None = None
        try:
            logs = self._logs.opened(after.logging)
        except OSError as error:
            raise SettingsError([Problem("logging.dir", error.strerror or str(error))]) from None
        try:
            if moves and after.metrics.port:
                metrics, mark = self._opened(after), next(self._marks)
                self._hand_out(metrics, mark)
            await self._prepare(after, mark)
        except BaseException:
            self._logs.discard(logs)
            if metrics is not None:
                metrics.close()
            raise
        self._logs.obey(logs)
        if moves:
            former, self._sockets.metrics = self._sockets.metrics, metrics
            if former is not None:
                former.close()
        await self._workers.tell_all(COMMIT)

    def _opened(self, settings: Settings) -> socket.socket:
        """Another socket for metrics."""
        try:
            return metrics_socket(settings)
        except Unservable as obstacle:
            raise SettingsError([Problem(*str(obstacle).split(": ", 1))]) from None

    def _hand_out(self, metrics: socket.socket, mark: int) -> None:
        """Give it to every worker: none of them could open it beside the others."""
        for member in self._workers.serving:
            try:
                socket.send_fds(member.hand, [bytes([mark])], [metrics.fileno()])
            except OSError:
                # It has ended, or takes nothing and will say that it has got none.
                continue

    async def _prepare(self, settings: Settings, mark: int | None) -> None:
        found = await self._workers.tell_all(PREPARE, {"settings": packed(settings), "handed": mark})
        told = [Problem(*each) for answer in found.values() for each in answer or ()]
        # One that died meanwhile is replaced by one with the settings in force by then.
        silent = [each.pid for each, answer in found.items() if answer is None and not each.exited.done()]
        told += [Problem("", f"worker {pid} does not answer") for pid in silent]
        if told:
            await self._workers.tell_all(DISCARD)
            raise SettingsError(list(dict.fromkeys(told)))
