"""
The query of a path that is answered here: each parameter once, and only known ones.

The guard has seen to its characters; of a call that is relayed, `query` says what may pass.
"""

import re
from collections.abc import Collection
from urllib.parse import parse_qsl

from proxy.accounts.asked import AskedWrongly
from proxy.core.errors import ProxyError
from proxy.http.request import Request

MOST = 20
"""Parameters looked at."""
_DIGITS = re.compile(r"[0-9]{1,18}", re.ASCII)


def parameters(request: Request, known: Collection[str]) -> dict[str, str]:
    """The parameters of *request* by name; `ProxyError` 400 for one that is not *known*, comes twice or is no UTF-8."""
    query = request.target.partition("?")[2]
    try:
        pairs = parse_qsl(query, keep_blank_values=True, errors="strict", max_num_fields=MOST)
    except ValueError:
        raise ProxyError("invalid_parameter", "The query cannot be read.") from None
    found: dict[str, str] = {}
    for name, value in pairs:
        if name not in known:
            names = ", ".join(sorted(known))
            raise ProxyError("invalid_parameter", f"Parameters known here are: {names}.", param=name[:64])
        if name in found:
            raise ProxyError("invalid_parameter", "A parameter came twice.", param=name)
        found[name] = value
    return found


def refused(error: AskedWrongly) -> ProxyError:
    """The error for a caller that asked wrongly."""
    return ProxyError("invalid_parameter", str(error), param=error.param or None)


def number(value: object) -> object:
    """A parameter that is a whole number, for a field of one; what is none is left to the field to refuse."""
    return int(value) if isinstance(value, str) and _DIGITS.fullmatch(value) else value
