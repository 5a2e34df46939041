"""
The gateway that `hapax top` looks at: its pages, and the time of its clock.

It keeps nothing of what it is told; `follow` feeds the model. What is wrong is raised as a sentence that says what to
do.
"""

import time
from contextlib import suppress
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from proxy.cli import gateway
from proxy.cli.gateway import Place

if TYPE_CHECKING:
    from aiohttp import ClientResponse, ClientSession

WITHIN = 10.0
"""Seconds a page may take: every worker is asked for it."""
CLOSE = 1.5
"""Seconds by which two clocks may differ to be taken for one: the date of an answer is in whole seconds."""


class Refused(Exception):
    """The key does not open the gateway; the sentence says what to do."""


class Away(Exception):
    """No gateway answers, or not as one does; the sentence says why."""


class Missing(Exception):
    """The gateway has no such page, or none now."""


class Source:
    """It."""

    def __init__(self, place: Place, session: "ClientSession") -> None:
        """*session* sends the headers of *place*, and judges certificates as that does."""
        self.place = place
        self.session = session
        self._ahead = 0.0
        """Seconds by which the gateway's clock is ahead of this one."""

    def now(self) -> float:
        """Seconds since 1970, by the gateway's clock."""
        return time.time() + self._ahead

    async def page(self, path: str, **query: str) -> Any:
        """The JSON that *path* answers with. Raises Refused, Away and Missing."""
        import aiohttp

        try:
            timeout = aiohttp.ClientTimeout(total=WITHIN)
            # The key is for this address, and for none that it leads to.
            get = self.session.get(self.place.url + path, params=query, timeout=timeout, allow_redirects=False)
            async with get as answer:
                self._set_clock(answer)
                status, body = answer.status, await answer.json(content_type=None)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Away(type(error).__name__) from None
        except ValueError:
            raise Away("its answer is no JSON") from None
        if status in (401, 403):
            raise Refused(self._advice(status))
        if status != 200:
            raise Missing(gateway.words(body) or f"It answered {status}.")
        return body

    async def page_if_there(self, path: str, **query: str) -> Any:
        """The same, and None where the gateway has no such page, or not now, as without a store."""
        with suppress(Missing):
            return await self.page(path, **query)
        return None

    def _advice(self, status: int) -> str:
        give = "give its auth.admin_key in HAPAX_ADMIN_KEY or with --admin-key"
        if self.place.key is None:
            return f"The gateway at {self.place.url} asks for its admin key: {give}"
        if status == 401:
            return f"The gateway at {self.place.url} does not know this key: {give}"
        return f"This is not the admin key of the gateway at {self.place.url}: {give}"

    def _set_clock(self, answer: "ClientResponse") -> None:
        with suppress(ValueError):
            # Its fraction is cut off, which is half a second on average.
            ahead = parsedate_to_datetime(answer.headers.get("Date", "")).timestamp() + 0.5 - time.time()
            self._ahead = ahead if abs(ahead) > CLOSE else 0.0
