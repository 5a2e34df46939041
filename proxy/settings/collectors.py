"""
Rules about what goes to collectors of metrics and traces.

That they are there is not looked at: one that is away costs no call anything.
"""

import re
from collections.abc import Iterator

from proxy.settings.problems import Problem
from proxy.settings.whole import Settings

_NAME = re.compile(r"[0-9a-z_.-]+")
_VALUE = re.compile(r"[ -~]*")
"""Of metadata that is text: https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md, Custom-Metadata"""


def problems(settings: Settings) -> Iterator[Problem]:
    """Headers that gRPC cannot carry."""
    otlp, tracing = settings.metrics.otlp, settings.tracing
    for path, protocol, headers in (
        ("metrics.otlp.headers", otlp.protocol, otlp.headers),
        ("tracing.headers", tracing.otlp_protocol, tracing.headers),
    ):
        for name, value in headers.items() if protocol == "grpc" else ():
            if not _NAME.fullmatch(name.lower()):
                yield Problem(f"{path}.{name}", "is no name for gRPC: letters, digits, `_`, `-` and `.` alone")
            elif name.lower().endswith("-bin"):
                yield Problem(f"{path}.{name}", "would hold bytes for gRPC, and is a text; another name will do")
            elif not _VALUE.fullmatch(value.get_secret_value()):
                yield Problem(f"{path}.{name}", "must be printable ASCII for gRPC")
