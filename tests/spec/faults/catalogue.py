"""
The table: F1 to F68 and M1 to M12, how each is brought about here, and what must come of it.

What begins with M stands in `meanings`. Simulator directives are explained in docs/simulator.md.
"""

from tests.rigs.simulator import Delay, Drip, Fin, Hold, Repeat, Send, Step

from . import checks, client_checks
from .meanings import MEANINGS
from .words import FIRST, Case, Check, Cut, Error, Fault, Refusal

STREAM, WHOLE = (True,), (False,)
JSON = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
SSE = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
GOOD = (
    b'{"id":"FIRST","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,'
    b'"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}]}'
)
CONNECT = Error(502, "upstream_connect_error")
NO_CONNECTION = Error(504, "upstream_connect_timeout")
SILENCE = Error(504, "upstream_timeout")
PROTOCOL = Error(502, "upstream_protocol_error")
TRUNCATED = Error(502, "upstream_truncated")
FAILED = Error(502, "upstream_error")
BUSY = Error(503, "upstream_unavailable", wait=(1, 10))
LIMITED = Error(429, "rate_limit_exceeded", wait=(1, 5), final=False)
SPENT = Error(429, "insufficient_quota")


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def event(text: str, *, index: int = 0, finish: str = "null") -> bytes:
    delta = '"content":"' + text + '"' if text else ""
    words = f'{{"id":"FIRST","choices":[{{"index":{index},"delta":{{{delta}}},"finish_reason":{finish}}}]}}'
    return f"data: {words}\n\n".encode()


def whole(body: bytes, more: bytes = b"") -> tuple[Step, ...]:
    """A JSON answer in good framing."""
    return (Send(JSON + more + b"Content-Length: %d\r\n\r\n" % len(body) + body),)


def stream(*parts: bytes, end: bool = True) -> tuple[Step, ...]:
    """An event stream in good framing."""
    return (Send(SSE + b"".join(chunk(part) for part in parts) + (b"0\r\n\r\n" if end else b"")),)


def each(alone: Error, *directives: str, **more: object) -> tuple[Case, ...]:
    """The same outcome for several directives."""
    return tuple(Case(f"`{words}`", alone, directives=words, **more) for words in directives)  # type: ignore[arg-type]


def good(*directives: str, **more: object) -> tuple[Case, ...]:
    """No fault at all after all: the answer passes as it is."""
    return tuple(Case(f"`{words}`", FIRST, FIRST, directives=words, **more) for words in directives)  # type: ignore[arg-type]


def cut(code: str, *directives: str, **more: object) -> tuple[Case, ...]:
    """A stream that breaks off after its first content."""
    return tuple(
        Case(f"`{words}`", Cut(code), Cut(code), directives=words, stream=STREAM, **more)  # type: ignore[arg-type]
        for words in directives
    )


CONNECTION = (
    Fault(
        "F1",
        "connection refused",
        "the next target, at once; final 502 `upstream_connect_error`",
        (
            Case("a closed port", CONNECT, at="closed"),
            Check("a closed port, the delay between the attempts", "the next one begins within 50 ms", checks.at_once),
        ),
    ),
    Fault(
        "F2",
        "SYN blackhole",
        "the connect timer, the next target; final 504",
        (Case("a listener whose queue is full", NO_CONNECTION, at="full", timed=True),),
    ),
    Fault(
        "F3",
        "accept, then silence before TLS",
        "the same timer covers the handshake",
        (Case("https to a listener that never speaks", NO_CONNECTION, at="tls mute", timed=True),),
    ),
    Fault(
        "F4",
        "TLS: expired, wrong host, self-signed, old version",
        "502, no byte of the request sent, the next target",
        (
            Case("a certificate that is good", FIRST, FIRST, at="tls good", directives="", sdk=False),
            Case("expired certificate", CONNECT, at="tls expired"),
            Case("a certificate for another host", CONNECT, at="tls elsewhere"),
            Case("a certificate signed by itself", CONNECT, at="tls own"),
            Case("TLS 1.1", CONNECT, at="tls old"),
            Check("all of these, the ledgers of the four servers", "no request arrived", checks.nothing_sent_past_tls),
        ),
    ),
    Fault(
        "F5",
        "TLS broken off in the handshake",
        "as F1",
        (
            Case("https, FIN on accept", CONNECT, at="tls hangs up"),
            Case("https, RST on accept", CONNECT, at="tls resets"),
            Case("https to a server that speaks another protocol", CONNECT, at="tls speaks first"),
        ),
    ),
    Fault(
        "F6",
        "DNS: NXDOMAIN, SERVFAIL, timeout",
        "the last known address if there is one, else the next target within the connect timer",
        (
            Check(
                "the resolver's function replaced, in process: both errors and silence, with and without an address",
                "`upstream_connect_error`, `upstream_connect_timeout`; with a known address the call is answered",
                checks.dns_failures,
            ),
            Check("a name that no resolver can be asked for", "502 in time, and the second's answer", checks.bad_name),
        ),
        missing="A resolver on the wire: the process reads the system's, which a test must not change.",
    ),
    Fault(
        "F7",
        "DNS gives a dead and a live address",
        "the live one within a second",
        (
            Check(
                "the resolver's function replaced, in process: a full listener on 127.0.0.2 before a live one",
                "connected to the live one in less than a second",
                checks.dead_and_live,
            ),
        ),
    ),
    Fault(
        "F8",
        "DNS changes to an inner address (rebinding)",
        "blocked by a check of the connected address",
        (
            Check(
                "the resolver's function replaced, in process: an https name that leads to another server",
                "the certificate is refused, no byte of the request is sent",
                checks.rebinding,
            ),
        ),
        missing="A check of the connected address: there is none. Plain http to a name trusts its resolver; only the "
        "operator names providers.",
    ),
    Fault(
        "F9",
        "keep-alive closed as the request arrives",
        "once more on a fresh connection; invisible, nobody blamed",
        (
            Check(
                "`keepalive_drop=fin`, twenty calls",
                "all answered, one attempt each, no failure counted",
                checks.stale_fin,
            ),
        ),
    ),
    Fault(
        "F10",
        "keep-alive reset, or the peer gone without a word",
        "RST: as F9; silence: the first-token timer, then the next target",
        (
            Check("`keepalive_drop=rst`, twenty calls", "as F9", checks.stale_rst),
            Check(
                "`keepalive_drop=silence`", "the second's answer; alone 504 `upstream_timeout`", checks.stale_silence
            ),
            Check("a provider's process stopped (SIGSTOP)", "the same", checks.frozen_provider),
        ),
    ),
    Fault(
        "F11",
        "no file descriptors left here",
        "503, no spinning, recovery; not charged to the provider",
        (
            Check(
                "a gateway that may open 64 files, told that it can carry more; all of them held",
                "503 `overloaded` with `Retry-After`; nothing counted against the provider; afterwards 200",
                checks.no_descriptors,
            ),
        ),
    ),
)

INTERIM = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
HEAD = (
    Fault(
        "F12",
        "interim answers, one or a storm of them",
        "swallowed, the timer runs on",
        (
            *good("interim=100", "interim=103", "interims=20"),
            Case(
                "interim answers for ever",
                SILENCE,
                steps=(Repeat((Send(INTERIM), Delay(0.02))),),
                timed=True,
                gone=True,
            ),
            Case("100 kB of interim answers", PROTOCOL, steps=(Send(INTERIM * 2500), Hold()), gone=True),
        ),
    ),
    Fault(
        "F13",
        "headers never come",
        "the first-token timer, the next target; final 504",
        each(SILENCE, "silence", timed=True, gone=True),
    ),
    Fault(
        "F14",
        "headers drip",
        "the timer is absolute",
        each(SILENCE, "trickle_head=40ms", timed=True, gone=True),
    ),
    Fault(
        "F15",
        "half a head, or none",
        "the next target for generation; otherwise 502",
        (
            *each(TRUNCATED, "head_cut", "fin", "rst"),
            Check(
                "`fin` on POST /v1/batches",
                "502, one attempt: what may have had an effect is not repeated",
                checks.not_repeated,
            ),
        ),
    ),
    Fault(
        "F16",
        "junk, an SSH banner, HTTP/0.9, bare LF",
        "502 protocol error and never 400; the next target",
        (
            *each(PROTOCOL, "junk", "http09", "bare_lf"),
            Case(
                "HTTP/2 frames",
                PROTOCOL,
                steps=(Send(b"\x00\x00\x12\x04\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00"), Fin()),
            ),
            Case("a banner as soon as it is connected", PROTOCOL, at="speaks first", fault="", sdk=False, stream=WHOLE),
        ),
    ),
    Fault(
        "F17",
        "long header lines, many headers, a head of a megabyte",
        "up to 64 KiB and 256 fields pass; above: 502",
        (
            *good("bighead=9000", "bighead=60000", "manyheads=200"),
            *each(PROTOCOL, "bighead=70000", "bighead=1000000", "manyheads=300", gone=True),
        ),
    ),
    Fault(
        "F18",
        "two lengths, length and chunks, an unknown transfer coding",
        "502, the connection is not used again",
        each(PROTOCOL, "cl_te", "two_cl", "bad_te", gone=True),
    ),
    Fault(
        "F19",
        "status 000, 099, 600, 999",
        "502",
        each(PROTOCOL, "status=000", "status=099", "status=600", "status=999"),
    ),
    Fault(
        "F20",
        "redirects",
        "502, never followed",
        (
            *each(
                Error(502, "upstream_redirect"), *(f"redirect,status={status}" for status in (301, 302, 303, 307, 308))
            ),
            Check("`redirect` to another server", "that server sees no connection", checks.no_redirect),
        ),
    ),
    Fault(
        "F21",
        "400, 404, 413, 422",
        "passed through once, nobody else asked, breaker unchanged",
        tuple(
            Case(f"`status={status}`", answer, answer, directives=f"status={status},code=some_code")
            for status in (400, 404, 413, 422)
            for answer in [Refusal(status, "some_code")]
        ),
    ),
    Fault(
        "F22",
        "401, 403",
        "401: the key is parked, the next target, final 502 `upstream_auth_error`; 403: it refuses this call alone",
        (
            *each(Error(502, "upstream_auth_error"), "status=401", blameless=True),
            Case(
                "`status=403`",
                Refusal(403, "unsupported_country_region_territory"),
                directives="status=403",
                blameless=True,
                fault="upstream_refused",
            ),
            Check("`status=401`, then the next call", "the key is parked and not used again", checks.parked_key),
        ),
    ),
    Fault(
        "F23",
        "408, 409, 425",
        "the caller's: passed through once, nobody else asked, breaker unchanged",
        tuple(
            Case(f"`status={status}`", answer, answer, directives=f"status={status},code=some_code")
            for status in (408, 409, 425)
            for answer in [Refusal(status, "some_code")]
        ),
    ),
    Fault(
        "F24",
        "429 with Retry-After in seconds, ms, as a date, absent, absurd",
        "the target rests so long (clamped), the next target; final 429 with our Retry-After",
        (
            *each(
                Error(429, "rate_limit_exceeded", wait=(40, 45), final=False),
                *("status=429,retry_after=45", "status=429,retry_after_ms=45000", "status=429,retry_after=44.5"),
                # Beyond the call's own deadline, so that it is told and not waited for.
                blameless=True,
            ),
            *each(
                Error(429, "rate_limit_exceeded", wait=(290, 3600)),
                *("status=429,retry_after=Fri 31 Dec 2099 23:59:59 GMT", "status=429,retry_after=99999999"),
                blameless=True,
            ),
            *each(
                LIMITED,
                "status=429",
                *(f"status=429,retry_after={text}" for text in ("nan", "inf", "-1", "1e999", "soon", "\uff11\uff12")),
                blameless=True,
            ),
            Check("`retry_after_ms=200` once, no other target", "the call waits and is answered", checks.short_rest),
            Check(
                "`retry_after=45`, then the next call", "the target is left alone, the second answers", checks.long_rest
            ),
        ),
    ),
    Fault(
        "F25",
        "429 `insufficient_quota`, `credit_balance_exhausted`; 402",
        "the key is parked for long, the next target; final 429 with `x-should-retry: false`",
        (
            *each(
                SPENT,
                *("code=insufficient_quota", "code=credit_balance_exhausted", "status=402"),
                blameless=True,
            ),
            Check("`code=insufficient_quota`, the SDK's own retries on", "one upstream call", checks.spent_once),
        ),
    ),
    Fault(
        "F26",
        "429 `slow_down`, 503 `server_is_overloaded`, 529",
        "a short rest, the next target",
        (
            *each(LIMITED, "status=429,code=slow_down", blameless=True),
            *each(BUSY, "status=503", "status=529"),
        ),
        missing="The adaptive limit (AIMD) towards a provider: there is none.",
    ),
    Fault(
        "F27",
        "500, 502, 503, 504, a CDN's HTML page",
        "the next target; final 502, 503 or 504 in OpenAI's JSON",
        (
            *each(FAILED, "status=500", "status=502", "status=520", "html", "html,status=500"),
            *each(BUSY, "status=503", "html,status=503"),
            *each(SILENCE, "status=504"),
            Case("an HTML page under 200", PROTOCOL, directives="html,status=200", stream=STREAM),
        ),
    ),
    Fault("F28", "200 with an empty body", "502, the next target", each(PROTOCOL, "empty", stream=WHOLE)),
    Fault(
        "F29",
        "`Set-Cookie`, `Server`, HSTS, `Alt-Svc`, headers named by `Connection`",
        "stripped",
        good("headers_p20", "setcookie"),
    ),
)

BODY = (
    Fault(
        "F30",
        "not streamed: broken JSON, half of it, not an object",
        "502, the next target",
        (
            *each(PROTOCOL, "badjson", "list", stream=WHOLE),
            Case("half of the JSON in good framing", PROTOCOL, steps=whole(GOOD[:60]), stream=WHOLE),
        ),
    ),
    Fault(
        "F31",
        "Content-Length too long or too short",
        "502, the next target; surplus bytes reach nobody",
        (
            *each(TRUNCATED, "badlength=+5", stream=WHOLE),
            *each(PROTOCOL, "badlength=-5", stream=WHOLE),
            Check("a whole answer and an HTTP response behind it", "the next call gets its own", checks.surplus),
        ),
    ),
    Fault(
        "F32",
        "chunked without the last chunk, a bad chunk size, a chunk cut",
        "before the first content the next target; after it the error event and a broken end",
        (
            *each(TRUNCATED, "fin@1", stream=STREAM),
            *each(PROTOCOL, "badchunk@1", stream=STREAM),
            Case(
                "whole JSON, no last chunk",
                TRUNCATED,
                steps=(Send(JSON + b"Transfer-Encoding: chunked\r\n\r\n" + chunk(GOOD)), Fin()),
                stream=WHOLE,
            ),
            *cut("upstream_truncated", "fin@5"),
            *cut("upstream_protocol_error", "badchunk@5"),
            Case(
                "content, no last chunk",
                Cut("upstream_truncated"),
                Cut("upstream_truncated"),
                steps=(*stream(event("a"), event("b"), end=False), Fin()),
                stream=STREAM,
            ),
        ),
    ),
    Fault(
        "F33",
        "a body until the connection closes ends early",
        "seen by the missing end of its content",
        (
            Case(
                "half of the JSON, no framing", PROTOCOL, steps=(Send(JSON + b"\r\n" + GOOD[:60]), Fin()), stream=WHOLE
            ),
            *each(TRUNCATED, "close_delimited_cut@1", stream=STREAM),
            *cut("upstream_truncated", "close_delimited_cut@5"),
            *good("close_delimited"),
        ),
    ),
    Fault(
        "F34",
        "gzip; corrupt; cut; codings nobody can undo",
        "decoded, or 502",
        (
            *good("gzip"),
            *each(PROTOCOL, "coding=foo", "coding=br", "coding=zstd"),
            *each(PROTOCOL, "gzip_corrupt", stream=WHOLE),
            *each(TRUNCATED, "gzip_cut", stream=WHOLE),
            *cut("upstream_truncated", "gzip_cut"),
        ),
    ),
    Fault(
        "F35",
        "200 with JSON although a stream was asked",
        "the status it should have had, the next target",
        (
            *each(BUSY, "error_for_stream", stream=STREAM),
            *each(PROTOCOL, "json_for_stream", stream=STREAM),
        ),
    ),
    Fault(
        "F36",
        "200, and the first event is an error",
        "the next target, the status it should have had",
        (
            *each(FAILED, "error@0", stream=STREAM),
            *(
                Case(
                    f"`{code}` as the first event",
                    answer,
                    steps=stream(b'data: {"error":{"type":"x","code":"%b","message":"FIRST"}}\n\n' % code.encode()),
                    stream=STREAM,
                    blameless=answer is not BUSY,
                )
                for code, answer in (
                    ("rate_limit_exceeded", LIMITED),
                    ("insufficient_quota", SPENT),
                    ("overloaded", BUSY),
                    ("invalid_api_key", Error(502, "upstream_auth_error")),
                )
            ),
        ),
    ),
    Fault(
        "F37",
        "200 and an immediate clean end",
        "the next target; never an empty 200",
        (
            *each(TRUNCATED, "end@0", "empty", stream=STREAM),
            Case("nothing but `[DONE]`", TRUNCATED, steps=stream(b"data: [DONE]\n\n"), stream=STREAM),
        ),
    ),
    Fault(
        "F38",
        "a preamble, then an error, a stall or an end",
        "only the second provider is seen",
        (
            *each(FAILED, "error@1", stream=STREAM),
            *each(TRUNCATED, "end@1", "rst@1", stream=STREAM),
            *each(SILENCE, "stall@1", stream=STREAM, timed=True, gone=True),
            Case(
                "`response.created`, then the end", TRUNCATED, directives="end@1", stream=STREAM, path="/v1/responses"
            ),
            Case("`message_start`, then the end", TRUNCATED, directives="end@1", stream=STREAM, path="/v1/messages"),
            Case("`response.created`, then RST", TRUNCATED, directives="rst@1", stream=STREAM, path="/v1/responses"),
        ),
    ),
    Fault(
        "F39",
        "the first token is late, or never comes",
        "the first-token timer; what is in time passes",
        (
            *each(SILENCE, "stall@0", stream=STREAM, timed=True, gone=True),
            *good("ttft=700ms", "headers=700ms", stream=STREAM),
        ),
        missing="A heartbeat before the first content: there is none.",
    ),
    Fault(
        "F40",
        "a stall in the middle",
        "short: nothing; at the idle limit the error event, the provider closed and blamed",
        (
            *good("stall@5=700ms", stream=STREAM),
            *cut("upstream_timeout", "stall@5", timed=True, gone=True),
        ),
        missing="Heartbeats while it lasts: there are none, and the client waits in silence.",
    ),
    Fault(
        "F41",
        "comments for ever, no events",
        "the progress timer",
        (
            *each(SILENCE, "comments_forever@1,pace=20ms", pair=None, stream=STREAM, timed=True, gone=True),
            Check(
                "`comments_forever@5,pace=20ms`",
                "the comments pass; at the total error event `upstream_timeout`, the provider closed",
                checks.comments_for_ever,
            ),
        ),
    ),
    Fault(
        "F42",
        "RST or FIN in the middle",
        "what came passes, then the error event and a broken end",
        (
            *cut("upstream_truncated", "rst@5", "fin@8"),
            Case(
                "the same, responses",
                Cut("upstream_truncated"),
                None,
                directives="fin@5",
                stream=STREAM,
                path="/v1/responses",
            ),
            Case(
                "the same, messages",
                Cut("upstream_truncated"),
                None,
                directives="fin@5",
                stream=STREAM,
                path="/v1/messages",
            ),
        ),
    ),
    Fault(
        "F43",
        "a clean end without `[DONE]`",
        "without `finish_reason` the error event; with it the answer is whole",
        (*cut("upstream_truncated", "end@5"), *good("nodone", stream=STREAM)),
    ),
    Fault(
        "F44",
        "data after `[DONE]`, or no end after it",
        "the client is finished at once",
        (
            Check(
                "`after_done`",
                "whole at `[DONE]`; the rest goes no further",
                checks.after_done,
            ),
            Check(
                "`hang_after_done`, no clock near", "whole within a second, the provider closed", checks.hang_after_done
            ),
        ),
    ),
    Fault(
        "F45",
        "an error event in the middle, then the end",
        "passed once, and the end is broken",
        (
            Case(
                "`error@5`",
                Cut("upstream_error", announced=True),
                Cut("upstream_error", announced=True),
                directives="error@5",
                stream=STREAM,
            ),
        ),
    ),
    Fault(
        "F46",
        "odd SSE: line ends, BOM, NUL, no space, no colon, no blank line",
        "bytes pass as they are, an event that cannot be read too; a stream that is one endless event is no answer",
        (
            *good("crlf", "cr", "nospace", "comments", stream=STREAM),
            *good("bom", "nul@3", "malformed@3", "malformed@0", stream=STREAM, sdk=False),
            Case(
                "`data` without a colon among the events",
                FIRST,
                FIRST,
                steps=stream(event("a"), b"data\n\n", event("b", finish='"stop"'), b"data: [DONE]\n\n"),
                stream=STREAM,
                sdk=False,
            ),
            *each(TRUNCATED, "noblank", stream=STREAM),
        ),
    ),
    Fault(
        "F47",
        "one event of 1, 15, 17 MiB",
        "up to 16 MiB intact; above the error event",
        (
            *good("bigevent=1048576", "bigevent=15728640", stream=STREAM, sdk=False),
            *cut("upstream_protocol_error", "bigevent=17825792", gone=True, sdk=False),
        ),
    ),
    Fault(
        "F48",
        "segments of one byte, 10 000 events in one, split UTF-8",
        "the same bytes",
        (
            *good("segment=1,tokens=20", sdk=False),
            *good("tokens=10000", stream=STREAM, sdk=False),
            Case(
                "multi-byte letters, one byte at a time",
                FIRST,
                FIRST,
                steps=(Drip(stream(event("añ漢😀"), event("", finish='"stop"'), b"data: [DONE]\n\n")[0].data, 1, 0),),  # type: ignore[union-attr]
                stream=STREAM,
            ),
        ),
    ),
    Fault(
        "F49",
        "invalid UTF-8, half a surrogate pair",
        "passed unchanged",
        (*good("badutf8@3", stream=STREAM, sdk=False), *good("surrogate@3", stream=STREAM)),
    ),
    Fault(
        "F50",
        "usage absent, zero, negative, huge, text, null",
        "passed unchanged, never a crash",
        good(
            *(f"usage={word}" for word in ("none", "zero", "negative", "huge", "text", "null")),
            sdk=False,
        ),
    ),
    Fault(
        "F51",
        "duplicate events, indices out of order, `[DONE]` twice",
        "passed",
        (
            *good("duplicate@3", stream=STREAM),
            Case(
                "choices out of order",
                FIRST,
                FIRST,
                steps=stream(
                    *(event("a", index=i) for i in (2, 0, 1, 0, 2)),
                    *(event("", index=i, finish='"stop"') for i in (1, 2, 0)),
                    b"data: [DONE]\n\n",
                ),
                stream=STREAM,
            ),
            Check("`done_twice`", "whole at the first; the other does not pass", checks.done_twice),
        ),
    ),
    Fault(
        "F52",
        "a provider that is faster than its client, for ever",
        "backpressure, bounded memory",
        (
            Check(
                "`forever`, a client that stops reading and goes on later",
                "the provider is paused with less than 16 MiB taken; memory grows by less than 8 MiB",
                client_checks.faster_than_client,
            ),
        ),
    ),
    Fault(
        "F53",
        "little bandwidth, much latency",
        "no false timeouts",
        (
            *good("tokens=4,rate=2000", sdk=False),
            *good("headers=600ms,ttft=300ms,tokens=4", sdk=False),
        ),
        missing="1 kB/s and 2 s for whole answers: the same clocks, and too slow for a test.",
    ),
)

CLIENT = (
    Fault(
        "F54",
        "the client leaves: while its body comes, while connecting, before the first token, in the middle, in a wait",
        "the provider is closed within a second or never called; nothing leaks, nobody is blamed",
        tuple(
            Check(f"RST {when}", "outcome `client_gone`, the provider closed or not called", run)
            for when, run in (
                ("before the body is complete", client_checks.leaves_in_body),
                ("while the gateway connects", client_checks.leaves_while_connecting),
                ("before the first token", client_checks.leaves_before_token),
                ("in the middle of a stream", client_checks.leaves_in_stream),
                ("while a resting target is waited for", client_checks.leaves_in_wait),
            )
        ),
        missing="Leaving a queue: in tests/spec/test_queueing.py.",
    ),
    Fault(
        "F55",
        "half-close after the request",
        "as a disconnect",
        (Check("`shutdown(SHUT_WR)`", "the provider is closed", client_checks.half_closes),),
    ),
    Fault(
        "F56",
        "the client vanishes without FIN",
        "the write-stall timer closes",
        (
            Check(
                "a client's process stopped (SIGSTOP) in a stream",
                "dropped after `write_timeout`",
                client_checks.frozen_client,
            ),
        ),
        missing="A pulled cable while nothing is being written: only TCP keep-alive of the system ends that, in hours.",
    ),
    Fault(
        "F57",
        "reads slowly, or never",
        "backpressure; the stall timer; bounded memory",
        (
            Check("never reads", "dropped after `write_timeout`", client_checks.never_reads),
            Check(
                "reads half a megabyte at a time, paused in between",
                "served for longer than `write_timeout`",
                client_checks.reads_slowly,
            ),
        ),
    ),
    Fault(
        "F58",
        "slowloris head, slow body, idle connections",
        "closed at absolute timers",
        (
            Check("a head that drips", "closed after `read_timeout`", client_checks.slow_head),
            Check("a body that drips", "408, `x-should-retry: false`", client_checks.slow_body),
            Check("200 connections without a byte", "all closed after `read_timeout`", client_checks.idle_flood),
        ),
        missing="A limit of connections per address: there is none.",
    ),
    Fault(
        "F59",
        "huge headers, 1000 headers, 2 GB announced, endless chunks",
        "431 or 400; 413 before reading, and while reading",
        (Check("each of them", "431, 400, 413, 413; the connection closes", client_checks.too_large),),
    ),
    Fault(
        "F60",
        "ambiguous framing; 10 000 pipelined requests",
        "400 and close; bounded and fair",
        (
            Check("every request of the framing tests", "one 400, the connection closes", client_checks.ambiguous),
            Check(
                "10 000 pipelined requests",
                "answered in order, another client is served meanwhile",
                client_checks.pipelined,
            ),
        ),
    ),
    Fault(
        "F61",
        "`Authorization`, `Content-Type`, `Host` twice",
        "400",
        (Check("each twice, equal and different", "400, the connection closes", client_checks.twice),),
    ),
    Fault(
        "F62",
        "bodies: bad UTF-8, UTF-16, BOM, NaN, keys twice, deep, long numbers, a list, none, another type",
        "400 or 415 in JSON, never 500",
        (Check("each of them", "400 `invalid_json` or 415, the provider not called", client_checks.bad_bodies),),
    ),
    Fault(
        "F63",
        "compressed requests, a bomb",
        "415",
        (Check("gzip, deflate, and 10 MB of zeros packed", "415, nothing inflated", client_checks.compressed),),
    ),
    Fault(
        "F64",
        "`Expect: 100-continue` with a bad key, or too large",
        "the final status without 100",
        (Check("both", "401 and 413 at once", client_checks.expecting),),
    ),
    Fault(
        "F65",
        "HTTP/1.0, HEAD, OPTIONS, TRACE, CONNECT, an HTTP/2 preface, TLS on the plain port",
        "defined answers, no traceback",
        (Check("each of them", "200, 405 or 400; nothing but JSON errors", client_checks.odd_protocols),),
    ),
    Fault(
        "F66",
        "retry storm: SDKs with their own retries during an outage",
        "upstream calls at most 1.2 times the requests; recovery",
        (
            Check(
                "200 calls of the Python SDK, its retries on, two providers that answer 503; then they are well",
                "at most 1.2 calls per request and the reserve of 20; afterwards 200",
                client_checks.retry_storm,
            ),
        ),
        missing="500 clients at once for minutes: too much for a test.",
    ),
    Fault(
        "F67",
        "10 000 idle keep-alive connections",
        "at most 20 kB each",
        (Check("2000 connections after one request each", "less than 20 kB each", client_checks.idle_keep_alives),),
        missing="A shorter idle time under pressure: there is none. 10 000: more descriptors than a test may take.",
    ),
    Fault(
        "F68",
        "a flood of bad keys",
        "401, cheap, in constant time",
        (
            Check(
                "1000 bad keys of many shapes",
                "401, and 429 after 600 of them in a minute; less than a second of CPU, no upstream call",
                client_checks.bad_keys,
            ),
        ),
    ),
)

FAULTS = (*CONNECTION, *HEAD, *BODY, *CLIENT, *MEANINGS)
