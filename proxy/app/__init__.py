"""
The gateway, put together: `build` makes it from settings, `create_app` an application of aiohttp's of it.

The one place that knows all rooms. It listens on nothing.
"""

from proxy.app.application import GATEWAY, create_app
from proxy.app.gateway import Gateway, build

__all__ = ["GATEWAY", "Gateway", "build", "create_app"]
