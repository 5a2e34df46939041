"""
A call and the stored answers: whether it may have one, and how it gets it.

It reads of the request what concerns them, and tells the client what came of it in `X-Hapax-Cache`. What is kept is
decided in the cache.
"""

from typing import Any

from proxy.admission.admission import Admission
from proxy.admission.keyless import holder_of
from proxy.cache.answer_cache import AnswerCache
from proxy.cache.cache_control import cache_control
from proxy.cache.lookup import CacheQuestion
from proxy.http.inbound import Inbound
from proxy.relay.endpoints import Operation


class StoredAnswers:
    """What the handlers of calls know of the cache."""

    def __init__(self, cache: AnswerCache, admission: Admission) -> None:
        self.cache = cache
        self._admission = admission

    def question(
        self, inbound: Inbound, path: str, headers: bytes, body: bytes | None, value: dict[str, Any]
    ) -> CacheQuestion | None:
        """
        What is asked of the cache for a generating call: its *path* below `/v1`, the *headers* a provider may see, and
        its *body*, read as *value*; None for a body that is not read here, or an answer that a provider keeps. None is
        returned for a call that neither gets a stored answer nor leaves one, and its client is told so.
        """
        model, principal = inbound.exchange.model, inbound.principal
        control = cache_control(inbound.request.every("cache-control"))
        if (
            body is None
            or control.no_store
            or not principal.cache
            or not self.cache.serves(model)
            or not self.cache.allows(value)
        ):
            inbound.answer.extra_lines += b"X-Hapax-Cache: bypass\r\n"
            return None
        holder = self.cache.holder(holder_of(inbound), principal.team)
        return CacheQuestion(holder, path, headers, body, value, model, principal.name, control.max_age)

    async def answer(self, inbound: Inbound, asked: Operation, question: CacheQuestion) -> bool:
        """
        Whether there was a stored answer to *question*, which the client has now. It counts as a request and not as
        tokens; `ProxyError` where the caller has no request left.
        """
        answer = await self.cache.find(question)
        if answer is None:
            inbound.answer.extra_lines += b"X-Hapax-Cache: miss\r\n"
            return False
        await self._admission.admit(inbound, asked, 0, 0, free=True)
        inbound.answer.extra_lines += b"X-Hapax-Cache: hit\r\nAge: %d\r\n" % self.cache.age_of(answer)
        await self.cache.send(answer, inbound.exchange, inbound.answer)
        return True
