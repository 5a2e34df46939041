"""
Internal errors told to an error tracker that speaks Sentry's protocol: which type, and where in the code.

A report is made here from nothing else: no message's text, no local variable, no request. It is sent by a thread of
the SDK's own; one that cannot be sent is forgotten.
"""

import asyncio
import logging
import traceback
from types import TracebackType
from typing import TYPE_CHECKING, Any

from proxy import __version__
from proxy.core.headers import PSEUDONYM
from proxy.settings.extras import lacking

if TYPE_CHECKING:
    from sentry_sdk.types import Event, Hint

LOGGERS = ("hapax", "asyncio")
"""Whose errors are reported: ours, and what the event loop says about exceptions that were not caught."""
MOST_FRAMES = 50
"""Innermost frames of an exception in a report."""
MOST_CAUSES = 5
"""Exceptions in a report: the one that was raised, and those it came from."""
STOP_WITHIN = 2.0
"""Seconds `stop` may take to send what is left."""

_KEPT = frozenset(
    ("environment", "event_id", "exception", "level", "logger", "logentry", "platform", "release", "sdk", "timestamp")
)
"""Of what the SDK makes of a report, all that leaves the process."""


class ErrorReports(logging.Handler):
    """Reports what is logged with an exception."""

    def __init__(self, dsn: str, environment: str) -> None:
        """`ValueError` where the SDK is not installed, or *dsn* is none."""
        super().__init__(logging.ERROR)
        self.failures_total = 0
        """Reports that could not be made."""
        try:
            import sentry_sdk
            from sentry_sdk.utils import BadDsn
        except ImportError:
            raise ValueError(f"tracing.sentry_dsn: {lacking('sentry', 'sentry_sdk')}") from None
        try:
            self._client = sentry_sdk.Client(
                dsn=dsn,
                release=f"{PSEUDONYM}@{__version__}",
                environment=environment,
                # Nothing is gathered behind our back, and nothing is gathered that could quote a request.
                default_integrations=False,
                auto_enabling_integrations=False,
                auto_session_tracking=False,
                send_client_reports=False,
                include_local_variables=False,
                include_source_context=False,
                max_breadcrumbs=0,
                max_request_body_size="never",
                before_send=_scrubbed,
            )
        except BadDsn:
            # Its text quotes the DSN.
            raise ValueError("tracing.sentry_dsn is not a DSN") from None

    def start(self) -> None:
        """Begin to report."""
        for name in LOGGERS:
            logging.getLogger(name).addHandler(self)

    async def stop(self) -> None:
        """Send what is left, within `STOP_WITHIN` seconds."""
        for name in LOGGERS:
            logging.getLogger(name).removeHandler(self)
        await asyncio.to_thread(self._client.close, timeout=STOP_WITHIN)

    def emit(self, record: logging.LogRecord) -> None:
        """Report the exception that came with *record*, if one did; never raises and never waits."""
        if record.exc_info is None or record.exc_info[1] is None:
            return
        try:
            self._client.capture_event(_event(record.exc_info[1], record))
        except Exception:
            # `logging` would print a traceback to standard error, locals or not; the error itself is in the log.
            self.failures_total += 1


def _event(error: BaseException, record: logging.LogRecord) -> "Event":
    """What is reported of *error*."""
    event: Event = {
        "level": "error",
        "logger": record.name,
        "platform": "python",
        "exception": {"values": [_exception(each) for each in reversed(_chain(error))]},
    }
    if record.name.startswith("hapax"):
        # The text before its arguments are put in, which come from requests; the loop's own texts quote exceptions.
        event["logentry"] = {"message": str(record.msg)}
    return event


def _chain(error: BaseException) -> list[BaseException]:
    """*error*, and what it came from."""
    chain: list[BaseException] = []
    following: BaseException | None = error
    while following is not None and following not in chain and len(chain) < MOST_CAUSES:
        chain.append(following)
        following = following.__cause__ or (None if following.__suppress_context__ else following.__context__)
    return chain


def _exception(error: BaseException) -> dict[str, Any]:
    kind = type(error)
    return {
        "type": kind.__name__,
        "module": kind.__module__,
        "stacktrace": {"frames": _frames(error.__traceback__)},
    }


def _frames(trace: TracebackType | None) -> list[dict[str, Any]]:
    """Where an exception was raised, the outermost call first, without the code and the paths of this machine."""
    return [
        {
            "module": (module := frame.f_globals.get("__name__", "")),
            "filename": frame.f_code.co_filename.rpartition("/")[2],
            "function": frame.f_code.co_qualname,
            "lineno": line,
            "in_app": module.partition(".")[0] == "proxy",
        }
        for frame, line in list(traceback.walk_tb(trace))[-MOST_FRAMES:]
    ]


def _scrubbed(event: "Event", hint: "Hint") -> "Event | None":
    """Only what we put in ourselves: the SDK adds the host's name and whatever its next release thinks of."""
    for name in event.keys() - _KEPT:
        del event[name]  # type: ignore[misc]  # a TypedDict by any key
    return event
