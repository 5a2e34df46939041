"""
The routes of one configuration, found by path.

A path that is a route's own comes first, then the longest one below which it lies. What stands there is in `route`.
"""

from collections.abc import Sequence

from proxy.middleware.route import Route


class Table:
    """All routes."""

    def __init__(self, routes: Sequence[Route]) -> None:
        """Of two routes with one path the first counts."""
        self.templates = [route.template for route in routes]
        """Every path there is."""
        self._exact: dict[str, Route] = {}
        self._below: dict[str, Route] = {}
        for route in routes:
            if route.template.endswith("/*"):
                self._below.setdefault(route.template[:-2], route)
            else:
                self._exact.setdefault(route.template, route)

    def find(self, path: str) -> Route | None:
        """The route of *path*; None where there is none. A slash at its end is none of it."""
        if len(path) > 1 and path.endswith("/"):
            path = path[:-1]
        route = self._exact.get(path)
        if route is not None:
            return route
        below = self._below
        while path:
            path = path.rpartition("/")[0]
            route = below.get(path)
            if route is not None:
                return route
        return None
