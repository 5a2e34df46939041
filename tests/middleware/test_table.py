"""Which route a path finds."""

import pytest
from aiohttp import web

from proxy.middleware.route import GET, Route
from proxy.middleware.table import Table


async def nothing(request: web.Request) -> web.StreamResponse:
    raise NotImplementedError


TABLE = Table(
    [
        Route(path, GET, nothing)
        for path in ("/", "/v1/models", "/v1/models/*", "/v1/*", "/health", "/health/*", "/v1/*")
    ]
)


@pytest.mark.parametrize(
    ("path", "template"),
    [
        ("/", "/"),
        ("/v1/models", "/v1/models"),
        ("/v1/models/", "/v1/models"),
        ("/v1/models/org/name:tag", "/v1/models/*"),
        ("/v1/chat/completions", "/v1/*"),
        ("/v1/chat/completions/", "/v1/*"),
        ("/v1/modelsx", "/v1/*"),
        ("/health", "/health"),
        ("/health/provider/a", "/health/*"),
        ("/v1", None),
        ("/v1/", None),
        ("/v2/models", None),
        ("/healthy", None),
    ],
)
def test_a_path_finds_its_own_route_or_the_longest_it_lies_below(path: str, template: str | None) -> None:
    found = TABLE.find(path)
    assert (found.template if found is not None else None) == template


def test_of_two_routes_with_one_path_the_first_counts() -> None:
    first, second = Route("/a", GET, nothing), Route("/a", GET, nothing, page=True)
    assert Table([first, second]).find("/a") is first
