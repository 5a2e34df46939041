"""The page and its files, as docs/http.md lists them; what the page asks for stands in `api` and `admin`."""

from proxy.middleware.route import GET, Access, Route
from proxy.settings import Settings
from proxy.ui.files import Files


def ui_routes(settings: Settings) -> list[Route]:
    """The routes the settings allow."""
    if not settings.ui.enabled:
        return []
    files = Files()
    return [Route("/ui", GET, files.page, Access.OPEN), Route("/ui/*", GET, files.file, Access.OPEN)]
