"""The page and its files, as docs/http.md lists them; what the page asks for stands in `api` and `admin`."""

from proxy.middleware.described import Media, get
from proxy.middleware.route import GET, Access, Route
from proxy.settings import Settings
from proxy.ui.files import TYPES, Files


def ui_routes(settings: Settings) -> list[Route]:
    """The routes the settings allow."""
    if not settings.ui.enabled:
        return []
    files = Files()
    page = get("The page for people", Media(TYPES[".html"]))
    file = get("A file of that page", tuple(map(Media, TYPES.values())), path="/ui/{file}")
    return [
        Route("/ui", GET, files.page, Access.OPEN, operations=(page,)),
        Route("/ui/*", GET, files.file, Access.OPEN, operations=(file,)),
    ]
