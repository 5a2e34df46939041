"""
A page of our own: JSON, made at once. What every answer carries besides is put on it by the middleware.
"""

from collections.abc import Mapping
from typing import Any

import orjson
from aiohttp import web


def json_page(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """The answer that holds *value*."""
    return web.json_response(body=orjson.dumps(value), status=status, headers=headers)
