"""
How a body that is no JSON is taken in: a form is read until its route is known, anything else is passed on as it comes.

Where the model of a form comes late, what came before it is kept, so that neither the route nor what a key may use
depends on how large a file is. It chooses no route.
"""

from collections.abc import Callable

from proxy.core.errors import ProxyError
from proxy.core.peek import Peek
from proxy.http.inbound import Inbound
from proxy.http.multipart import Form, boundary_of
from proxy.http.spool import IN_MEMORY, Spool
from proxy.relay.endpoints import Operation
from proxy.relay.question import Upload
from proxy.settings.server import Server


async def receive(inbound: Inbound, asked: Operation, server: Server) -> tuple[Upload, Peek]:
    """
    The body to be passed on, which its taker closes, and what it says of its model. *server* says how much of a form is
    kept until its model comes, and where. `ProxyError` 400 for a form that
    cannot be read, 413 and 503 for one that cannot be kept, 415 for what a restricted key must not send.
    """
    request = inbound.request
    # A model in the path overrules the form's, and is judged by itself.
    restricted = inbound.principal.restricted and request.method == "POST" and not inbound.location.deployment
    if inbound.content_type != "multipart/form-data":
        if restricted:
            # A body that cannot be read here may name any model.
            raise ProxyError("unsupported_media_type")
        await inbound.welcome_body()
        start = await inbound.read_part()
        return Upload(start, None, None, request.content_length, inbound.read_part), Peek(None, False)
    boundary = boundary_of(request.headers.get("content-type", ""))
    if boundary is None:
        raise ProxyError("invalid_multipart", "The Content-Type must name one boundary.")
    await inbound.welcome_body()
    # What asks no model is not kept waiting for one.
    form = Form(boundary, routes_by_model=not asked.free)
    spool = Spool(server.max_spool_bytes, server.spool_dir)
    rest = _Rest(inbound, form, inbound.principal.may_use if restricted else None)
    try:
        while not form.settled and not form.ended:
            if form.into_part > IN_MEMORY and (form.model is not None or asked.free):
                # What comes now has no file name, but is as long as a file.
                break
            piece = await rest.read()
            if not piece:
                break
            await spool.add(piece)
        held = await spool.whole()
    except BaseException:
        spool.close()
        raise
    kept = spool if held is None else None
    return Upload(held or b"", kept, form.span, request.content_length, rest.read), Peek(form.model, form.stream)


class _Rest:
    """What of a form is still to come, judged before it goes on."""

    def __init__(self, inbound: Inbound, form: Form, may_use: Callable[[str], bool] | None) -> None:
        """*may_use*: the models its sender is restricted to; None: to none."""
        self._inbound = inbound
        self._form = form
        self._may_use = may_use
        self._ended = False

    async def read(self) -> bytes:
        """The next bytes, empty at the end; `ProxyError` when they must not reach a provider."""
        piece = await self._inbound.read_part()
        form = self._form
        if piece:
            form.feed(piece)
        elif not self._ended:
            self._ended = True
            form.end()
        if self._may_use is not None and form.named is not None and not self._may_use(form.named):
            raise ProxyError("model_not_allowed", param="model", close=True)
        return piece
