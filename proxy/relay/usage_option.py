"""
The usage option: a provider is asked for a stream's token counts on our own account, and the client never sees that.

It adds one member to a question and takes what that brought out of the answer again. Whether a provider is asked is
decided in `attempts`; what the counts are worth, in `counts`.
"""

import re
from collections.abc import Iterator

from proxy.core.lenient import loads
from proxy.core.peek import span_with_comma
from proxy.core.sse import Dialect, Scanner
from proxy.relay.question import Question

_NAME = b'"usage"'
_NULLS = (b',"usage":null', b', "usage": null')
_OBJECTS = (b'"usage":{', b'"usage": {')
_BOM = b"\xef\xbb\xbf"
_BOUNDARY = re.compile(rb"(?>\r\n|\n|\r)(?>\r\n|\n|\r)")
_LINE = re.compile(rb"([^\r\n]*)((?>\r\n|\n|\r))")
_FIELD = re.compile(rb"(?:data|event|id|retry)(?=[:\r\n])")
_LOOSE_FIELD = re.compile(rb"(?:\A|[\r\n])(?:id|retry)[:\r\n]")
# The last of them may lack the LF that belongs to its CR.
_ENDS = (b"\n\n", b"\r\r", b"\n\r\n", b"\n\r")


def is_missing(question: Question) -> bool:
    """Whether *question* is for a stream that will not tell its token counts, but would if it were asked to."""
    if not question.stream or type(question.body) is not bytes:
        return False
    if question.operation.dialect is not Dialect.CHAT and question.operation.dialect is not Dialect.COMPLETIONS:
        return False
    options = question.value.get("stream_options")
    if options is None:
        return True
    # Whatever else stands there is the client's mistake, for the provider to name.
    return type(options) is dict and (options.get("include_usage") is None or options["include_usage"] is False)


def is_named(words: bytes) -> bool:
    """Whether a refusal in these *words* may be about the option, however they spell it (`streamOptions`)."""
    plain = words.lower().translate(None, b"_- ")
    return b"streamoptions" in plain or b"includeusage" in plain


class UsageFilter:
    """
    Takes out of a stream what a provider adds when asked for usage: the chunk that tells it and has no choices
    (an empty list at OpenAI, null at MiniMax, none at others), and the `usage`, null or told, in every other. All other
    bytes pass as they are.
    """

    def __init__(self, scanner: Scanner) -> None:
        """*scanner* has read whatever is fed."""
        self._scanner = scanner
        self._nulls = 0
        """How many chunks with a null `usage` have been fed."""
        self._midway = False
        """Part of an event has passed whose rest is to follow."""
        self._edge = b""
        """Its last two bytes: the blank line that ends it may come in two parts."""
        self._swallow = False
        """What was taken out ended with a CR, whose LF may follow."""
        self._tail = b""
        """Lines of an event whose data has yet to come, held because they go with it if it goes."""

    def feed(self, ready: bytes, whole: bool) -> bytes:
        """What of *ready* the client may have. *whole*: nothing of it belongs to an event whose end has not come."""
        nulls = self._scanner.null_usages
        if nulls != self._nulls:
            if whole and not self._midway:
                ready = _without_nulls(ready, nulls - self._nulls)
            self._nulls = nulls
        plain = _NAME not in ready and whole and ready.endswith(_ENDS)
        if plain and not (self._midway or self._swallow or self._tail):
            return ready
        if self._swallow:
            self._swallow = False
            ready = ready.removeprefix(b"\n")
        if self._tail:
            ready, self._tail = self._tail + ready, b""
        shown: list[bytes] = []
        at = 0
        if self._midway:
            edged = self._edge + ready
            found = _BOUNDARY.search(edged)
            if found is None:
                self._midway, self._edge = not whole, edged[-2:]
                return ready
            at = found.end() - len(self._edge)
            shown.append(ready[:at])
            self._midway = False
        for end in _ends_of(ready, at):
            self._swallow = False
            shown.append(self._shown(ready[at:end]))
            at = end
        self._swallow = self._swallow and at == len(ready)
        tail = ready[at:]
        if whole and _LOOSE_FIELD.search(tail):
            self._tail = tail
        else:
            shown.append(tail)
            self._midway, self._edge = not whole and bool(tail), tail[-2:]
        return b"".join(shown)

    def rest(self, held: bytes) -> bytes:
        """What the client may have of the last bytes of a stream: an event that nothing ends."""
        held, self._tail = self._tail + held, b""
        if not held or self._midway:
            return held
        end = b"\n" if held.endswith((b"\n", b"\r")) else b"\n\n"
        return self._shown(held + end).removesuffix(end)

    def _shown(self, event: bytes) -> bytes:
        """One whole event as the client may see it."""
        if _NAME not in event:
            return event
        if event.startswith(_BOM):
            return _BOM + self._shown(event[3:])
        if event.startswith(b"data: {") and event.find(b"\n") == len(event) - 2 and b"\r" not in event:
            values = [(6, len(event) - 2)]
            data = event[6:-2]
        else:
            values = _values_of(event)
            data = b"\n".join([event[start:end] for start, end in values])
        try:
            value = loads(data)
        except ValueError:
            return event
        if type(value) is not dict or "usage" not in value or value.get("error"):
            return event
        usage = value["usage"]
        if usage is None:
            return _without_usage(event, values, data)
        if type(usage) is not dict:
            return event
        if value.get("choices"):
            # Beside a finish: the chunk would have come unasked, and without it.
            return _without_usage(event, values, data)
        self._swallow = event.endswith(b"\r")
        lines = [line.group() for line in _LINE.finditer(event)]
        return b"".join([line for line in lines[:-1] if not _FIELD.match(line)])


def _without_nulls(ready: bytes, nulls: int) -> bytes:
    """
    *ready* without the null `usage` of *nulls* of its events, where all are spelled alike. The name stands in each of
    them once at least, so when it stands nowhere else, every one is the field at the top.
    """
    named = ready.count(_NAME)
    if named != nulls:
        named -= sum(map(ready.count, _OBJECTS))
    if named == nulls:
        for spelled in _NULLS:
            if ready.count(spelled) == nulls:
                return ready.replace(spelled, b"")
    return ready


def _ends_of(ready: bytes, at: int) -> Iterator[int]:
    """Where each event that is whole in *ready* from *at* on ends."""
    if b"\r" in ready:
        for boundary in _BOUNDARY.finditer(ready, at):
            yield boundary.end()
    else:
        while (found := ready.find(b"\n\n", at)) >= 0:
            at = found + 2
            yield at


def _values_of(event: bytes) -> list[tuple[int, int]]:
    """Where the values of its data lines stand."""
    values = []
    for line in _LINE.finditer(event):
        text = line.group(1)
        if text.startswith(b"data:"):
            values.append((line.start() + (6 if text[5:6] == b" " else 5), line.end(1)))
        elif text == b"data":
            values.append((line.end(1), line.end(1)))
    return values


def _without_usage(event: bytes, values: list[tuple[int, int]], data: bytes) -> bytes:
    """*event* without the top-level `usage` of its *data*, whose lines stand at *values*."""
    first, last = span_with_comma(data, "usage")
    start, end = _place(values, first), _place(values, last)
    lines = len(_LINE.findall(event, start, end))
    if lines == data.count(b"\n", first, last):
        return event[:start] + event[end:]
    # A comment stands between its lines, which is none of our business.
    kept, at = [], 0
    for value_start, value_end in values:
        if max(value_start, start) < min(value_end, end):
            kept.append(event[at : max(value_start, start)])
            at = min(value_end, end)
    return b"".join([*kept, event[at:]])


def _place(values: list[tuple[int, int]], offset: int) -> int:
    """Where in the event the byte stands that stands at *offset* in its data."""
    for start, end in values:
        if offset <= end - start:
            return start + offset
        offset -= end - start + 1
    raise IndexError("beyond the data")
