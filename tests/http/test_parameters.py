"""The query of a path that is answered here."""

import pytest
from aiohttp.test_utils import make_mocked_request

from proxy.accounts.asked import AskedWrongly
from proxy.core.errors import ProxyError
from proxy.http.parameters import parameters, refused
from proxy.http.request import Request

KNOWN = ("by", "since", "until", "key", "team")


def ask(query: str) -> dict[str, str]:
    """What comes of a GET with *query*."""
    return parameters(Request(make_mocked_request("GET", f"/admin/usage{query}")), KNOWN)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", {}),
        ("?", {}),
        ("?by=key", {"by": "key"}),
        ("?by=key&since=7d", {"by": "key", "since": "7d"}),
        ("?by=", {"by": ""}),
        ("?by", {"by": ""}),
        ("?&by=key&", {"by": "key"}),
        ("?key=a%2Bb%26c%3Dd", {"key": "a+b&c=d"}),
        ("?key=%C3%A4", {"key": "ä"}),
        ("?team=web=team", {"team": "web=team"}),
        ("?b%79=day", {"by": "day"}),
        ("?team=a?b", {"team": "a?b"}),
        # A + is a space in a query, as ever.
        ("?since=2026-11-01T12:00:00+02:00", {"since": "2026-11-01T12:00:00 02:00"}),
    ],
)
def test_parameters_are_read(query: str, expected: dict[str, str]) -> None:
    assert ask(query) == expected


@pytest.mark.parametrize(
    ("query", "message", "param"),
    [
        ("?by=key&by=key", "A parameter came twice.", "by"),
        ("?by=key&b%79=day", "A parameter came twice.", "by"),
        ("?sort=cost", "Parameters known here are: by, key, since, team, until.", "sort"),
        ("?BY=key", "Parameters known here are: by, key, since, team, until.", "BY"),
        ("?=key", "Parameters known here are: by, key, since, team, until.", ""),
        ("?" + "x" * 1000, "Parameters known here are: by, key, since, team, until.", "x" * 64),
        ("?by=%FF", "The query cannot be read.", None),
        ("?%FF=key", "The query cannot be read.", None),
        ("?by=%ED%A0%80", "The query cannot be read.", None),
        ("?" + "&".join(["by=key"] * 21), "The query cannot be read.", None),
    ],
)
def test_whatever_cannot_be_meant_is_refused(query: str, message: str, param: str | None) -> None:
    with pytest.raises(ProxyError) as raised:
        ask(query)
    error = raised.value
    assert (error.status, error.code, error.message, error.param) == (400, "invalid_parameter", message, param)


@pytest.mark.parametrize(("param", "told"), [("limits.concurrent", "limits.concurrent"), ("", None)])
def test_who_asked_wrongly_is_told_where(param: str, told: str | None) -> None:
    error = refused(AskedWrongly(param, "That cannot be."))
    assert (error.status, error.code, error.message, error.param) == (400, "invalid_parameter", "That cannot be.", told)
