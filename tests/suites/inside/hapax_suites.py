"""
A pytest plugin for the SDKs' own tests: clients for them, and the mock told what to answer before each request.

It stands in place of their conftest, which starts other mocks; the tests themselves are run as they were published.
"""

import asyncio
import http.client
import importlib
import itertools
import json
import os
from collections.abc import AsyncIterator, Iterator
from typing import Any
from unittest.mock import MagicMock
from urllib.parse import urlsplit

import pytest
import shapes

SDK = os.environ["SUITES_SDK"]
CONTROL = urlsplit(os.environ["SUITES_CONTROL"])
RESULTS = os.environ["SUITES_RESULTS"]
MOST_PAGES = 20
"""Pages after which a list is taken for endless."""

package = importlib.import_module(SDK)
base_client = importlib.import_module(f"{SDK}._base_client")
results: dict[str, str] = {}
lists: dict[str, int] = {}
current = ""
_connection = http.client.HTTPConnection(CONTROL.netloc, timeout=10)


def pytest_configure(config: pytest.Config) -> None:
    for name in ("respx", "respx2"):
        config.addinivalue_line("markers", f"{name}: of a mock inside the process, which is not used here")
    _hook_sync(base_client.SyncAPIClient)
    _hook_async(base_client.AsyncAPIClient)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Strict and aiohttp variants send the same requests, and so do other ways to read the same answer."""
    items[:] = [item for item in items if not any(each in item.name for each in ("strict", "aiohttp", "path_params"))]
    items[:] = [
        item
        for item in items
        if "::TestAsync" not in item.nodeid or "_response_" not in item.nodeid.rpartition("::")[2]
    ]
    for item in items:
        if asyncio.iscoroutinefunction(getattr(item, "function", None)):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    global current
    current = item.nodeid


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.when == "call" or report.outcome != "passed":
        results[report.nodeid] = report.outcome


def pytest_sessionfinish() -> None:
    with open(RESULTS, "w") as file:
        json.dump({"outcomes": results, "lists": lists}, file)


def _client_arguments() -> dict[str, Any]:
    arguments: dict[str, Any] = {"base_url": os.environ["TEST_API_BASE_URL"], "api_key": "My API Key", "max_retries": 0}
    if SDK == "openai":
        arguments["admin_api_key"] = "My Admin API Key"
    return {**arguments, "_strict_response_validation": False}


@pytest.fixture(scope="session")
def client() -> Iterator[Any]:
    made = getattr(package, "OpenAI" if SDK == "openai" else "Anthropic")
    with made(**_client_arguments()) as running:
        yield running


@pytest.fixture(scope="session")
async def async_client() -> AsyncIterator[Any]:
    made = getattr(package, "AsyncOpenAI" if SDK == "openai" else "AsyncAnthropic")
    async with made(**_client_arguments()) as running:
        yield running


@pytest.fixture
def respx2_mock() -> MagicMock:
    """In its place the real mock answers, with the bytes that those tests expect."""
    return MagicMock()


respx_mock = pytest.fixture(name="respx_mock")(lambda: MagicMock())


def _told(cast_to: Any, options: Any, stream: bool, stream_cls: Any) -> None:
    query = str(options.url) + str(options.params or "")
    first = not any(
        name in query for name in ("after", "page_token", "page_2", "'page'", "before_id", "item_1", "cursor")
    )
    stream_of = shapes.get_args(stream_cls)[0] if stream_cls is not None and shapes.get_args(stream_cls) else {}
    status, content_type, body = shapes.answer(cast_to, str(options.url), stream, stream_of, first)
    _connection.request(
        "POST",
        "/__next",
        json.dumps({"test": current, "status": status, "content_type": content_type, "body": body}),
        {"Content-Type": "application/json"},
    )
    _connection.getresponse().read()


def _hook_sync(client: Any) -> None:
    real = client.request

    def request(self: Any, cast_to: Any, options: Any, *, stream: bool = False, stream_cls: Any = None) -> Any:
        _told(cast_to, options, stream, stream_cls)
        found = real(self, cast_to, options, stream=stream, stream_cls=stream_cls)
        if isinstance(found, base_client.BasePage) and not getattr(self, "_paging", False):
            self._paging = True
            try:
                lists[current] = sum(1 for _ in itertools.islice(found.iter_pages(), MOST_PAGES))
            finally:
                self._paging = False
        return found

    client.request = request


def _hook_async(client: Any) -> None:
    real = client.request

    async def request(self: Any, cast_to: Any, options: Any, *, stream: bool = False, stream_cls: Any = None) -> Any:
        _told(cast_to, options, stream, stream_cls)
        found = await real(self, cast_to, options, stream=stream, stream_cls=stream_cls)
        if isinstance(found, base_client.BasePage) and not getattr(self, "_paging", False):
            self._paging = True
            try:
                count = 0
                async for _ in found.iter_pages():
                    count += 1
                    if count >= MOST_PAGES:
                        break
                lists[current] = count
            finally:
                self._paging = False
        return found

    client.request = request
