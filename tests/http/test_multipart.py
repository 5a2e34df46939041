"""What is read of a multipart form, however it is spelled and however it is cut, and what is refused."""

from contextlib import suppress
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from proxy.core.errors import ProxyError
from proxy.core.peek import DESTINATIONS, MAX_MODEL
from proxy.http.multipart import MAX_HEADERS, Form, boundary_of

FILE = b'Content-Disposition: form-data; name="file"; filename="a.wav"\r\nContent-Type: audio/wav\r\n\r\n'
MODEL = b'Content-Disposition: form-data; name="model"\r\n\r\n'


def form(*parts: bytes, boundary: bytes = b"b") -> bytes:
    return b"".join(b"--%b\r\n%b\r\n" % (boundary, part) for part in parts) + b"--%b--\r\n" % boundary


def read(body: bytes, boundary: bytes = b"b", pieces: list[int] | None = None, routes_by_model: bool = True) -> Form:
    """The form as it was read, cut at *pieces*."""
    found = Form(boundary, routes_by_model)
    cuts = [0, *(pieces or []), len(body)]
    for start, end in pairwise(cuts):
        found.feed(body[start:end])
    found.end()
    return found


def refused(body: bytes, boundary: bytes = b"b") -> str:
    with pytest.raises(ProxyError) as caught:
        read(body, boundary)
    assert 400 <= caught.value.status < 500
    return caught.value.code


def told(found: Form) -> tuple[str | None, bool, tuple[int, int] | None, str | None, bool, bool]:
    return found.model, found.stream, found.span, found.named, found.settled, found.ended


@pytest.mark.parametrize(
    ("content_type", "boundary"),
    [
        ("multipart/form-data; boundary=abc", b"abc"),
        ('multipart/form-data; boundary="a b;c"', b"a b;c"),
        ('multipart/form-data; boundary="a\\"b\\\\c"', b'a"b\\c'),
        ("multipart/form-data;BOUNDARY=abc; charset=utf-8", b"abc"),
        ("multipart/form-data; charset=utf-8; boundary=abc", b"abc"),
        ("multipart/form-data; boundary = abc", b"abc"),
        ("multipart/form-data; boundary=" + "x" * 70, b"x" * 70),
        ("multipart/form-data; boundary=" + "x" * 250, b"x" * 250),
        ("multipart/form-data; boundary=" + "x" * 251, None),
        ("multipart/form-data; boundary=a; boundary=b", None),
        ("multipart/form-data", None),
        ("multipart/form-data; boundary=", None),
        ('multipart/form-data; boundary=""', None),
        ("multipart/form-data; notboundary=abc", None),
    ],
)
def test_the_boundary_is_found(content_type: str, boundary: bytes | None) -> None:
    assert boundary_of(content_type) == boundary


FORMS = {
    "the model after a file": form(FILE + b"RIFF", MODEL + b"whisper-1"),
    "the model after two files": form(FILE + b"RIFF", FILE + b"\r\n\r\n--\r\n-", MODEL + b"whisper-1"),
    "the model before a file": form(MODEL + b"whisper-1", FILE + b"RIFF"),
    "an empty file": form(FILE, MODEL + b"whisper-1"),
    "a part with neither headers nor content": b"--b\r\n\r\n" + form(MODEL + b"whisper-1"),
    "a preamble and an epilogue": b"This is a form.\r\n" + form(MODEL + b"whisper-1") + b"Bye -b --bye\r\n",
    "no end of the last line": form(MODEL + b"whisper-1")[:-2],
    "white space behind boundaries": form(MODEL + b"whisper-1").replace(b"--b\r", b"--b \t\r").replace(b"b--", b"b-- "),
    "lines that end with LF": form(FILE + b"RIFF", MODEL + b"whisper-1").replace(b"\r\n", b"\n"),
    "a file that has a field called model": form(FILE + b'<select name="model"><option>Golf', MODEL + b"whisper-1"),
    "a file that speaks of a field": form(FILE + MODEL + b"dear", MODEL + b"whisper-1"),
    "a file that is a form of another boundary": form(
        FILE + form(MODEL + b"dear", boundary=b"bb") + form(MODEL + b"dear", boundary=b"c"), MODEL + b"whisper-1"
    ),
    "a file that has the boundary within a line": form(FILE + b"x--b\r\n" + MODEL + b"dear", MODEL + b"whisper-1"),
    "a file that begins a line with a longer boundary": form(
        FILE + b"\r\n--b-\r\n\r\n--bX\r\n\r\n--b--X\r\n" + MODEL + b"dear", MODEL + b"whisper-1"
    ),
    "the name of a part in lower case": form(MODEL.lower() + b"whisper-1"),
    "a name without quotes": form(b"Content-Disposition: form-data; name=model\r\n\r\nwhisper-1"),
    "a name in capitals": form(b'CONTENT-DISPOSITION:FORM-DATA;NAME="model"\r\n\r\nwhisper-1'),
    "a name with escapes": form(b'Content-Disposition: form-data; name="mo\\del"\r\n\r\nwhisper-1'),
    "an extended name": form(b"Content-Disposition: form-data; name*=UTF-8''mod%65l\r\n\r\nwhisper-1"),
    "a name in pieces": form(b'Content-Disposition: form-data; name*0="mo"; name*1="del"\r\n\r\nwhisper-1'),
    "a folded header": form(b'Content-Disposition: form-data;\r\n name="model"\r\n\r\nwhisper-1'),
    "other headers": form(b"X-A: 1\r\n" + MODEL.replace(b"\r\n\r\n", b"\r\nContent-Type: text/plain\r\n\r\nwhisper-1")),
    "a file name that speaks of a name": form(
        b'Content-Disposition: form-data; name="file"; filename="a; name=model"\r\n\r\nx', MODEL + b"whisper-1"
    ),
    "a file called model": form(
        b'Content-Disposition: form-data; name="model"; filename="m.bin"\r\n\r\ndear', MODEL + b"whisper-1"
    ),
    "names that only resemble": form(
        b'Content-Disposition: form-data; name="my model"\r\n\r\ndear',
        b'Content-Disposition: form-data; name="model2"\r\n\r\ndear',
        b'Content-Disposition: form-data; xname="model"\r\n\r\ndear',
        b'Content-Disposition: form-data; name="prompt"\r\n\r\nname="model"\r\n\r\n',
        MODEL + b"whisper-1",
    ),
}


@pytest.mark.parametrize("body", FORMS.values(), ids=FORMS)
def test_the_model_is_the_field_of_that_name_wherever_the_form_is_cut(body: bytes) -> None:
    whole = read(body)
    assert whole.model == "whisper-1"
    assert whole.span is not None
    assert body[slice(*whole.span)] == b"whisper-1"
    for cut in range(len(body) + 1):
        assert told(read(body, pieces=[cut])) == told(whole), cut
    assert told(read(body, pieces=list(range(1, len(body))))) == told(whole)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        pytest.param(form(MODEL + b"a", FILE + b"x", MODEL + b"b"), "invalid_multipart", id="two models"),
        pytest.param(form(MODEL + b"a", MODEL + b"a"), "invalid_multipart", id="the same model twice"),
        pytest.param(
            form(MODEL + b"a", b"content-disposition: form-data; name*=utf-8''model\r\n\r\nb"),
            "invalid_multipart",
            id="a second one by its extended name",
        ),
        pytest.param(
            form(MODEL + b"a", b'Content-Disposition: form-data; name="model"; filename=""\r\n\r\nb'),
            "invalid_multipart",
            id="a second one with an empty file name, which Go takes for none",
        ),
        pytest.param(
            form(MODEL + b"a", b'Content-Disposition: form-data; name="x"; name="model"\r\n\r\nb'),
            "invalid_multipart",
            id="a second one with two names",
        ),
        pytest.param(
            form(MODEL + b"a", b'Content-Disposition: form-data; x="\\"; name="model"; filename="\r\n\r\nb'),
            "invalid_multipart",
            id="a second one behind a backslash",
        ),
        pytest.param(form(MODEL), "invalid_type", id="an empty model"),
        pytest.param(form(MODEL + b"\xff"), "invalid_type", id="a model that is no text"),
        pytest.param(form(MODEL + b"m" * (MAX_MODEL + 1)), "invalid_type", id="a long model"),
        pytest.param(form(MODEL + b"m" * 1_000_000), "invalid_type", id="a model that is a file"),
        pytest.param(
            form(b"Content-Transfer-Encoding: quoted-printable\r\n" + MODEL + b"=61"),
            "invalid_multipart",
            id="a model in a transfer coding, which Go undoes",
        ),
        pytest.param(form(MODEL + b"a")[:-6], "invalid_multipart", id="no closing boundary"),
        pytest.param(b"--b\r\n" + MODEL[:-3], "invalid_multipart", id="half of the headers"),
        pytest.param(b"", "invalid_multipart", id="nothing"),
        pytest.param(b'{"model": "a"}', "invalid_multipart", id="JSON"),
        pytest.param(form(b"X: " + b"x" * MAX_HEADERS + b"\r\n\r\n"), "invalid_multipart", id="huge headers"),
        pytest.param(b"--b\r\n" + b"x: y\r\n" * 10_000, "invalid_multipart", id="endless headers"),
        pytest.param(form(MODEL + b"a").replace(b"--b\r", b"--b" + b" " * 300 + b"\r"), "invalid_multipart", id="pad"),
        pytest.param(form(MODEL + b"a") + form(MODEL + b"b"), "invalid_multipart", id="a form behind the form"),
        pytest.param(
            form(MODEL + b"a", FILE + b"x\n--b\n" + MODEL.replace(b"\r\n", b"\n") + b"b\n--b--\n"),
            "invalid_multipart",
            id="a part that only a lenient server sees",
        ),
        pytest.param(
            form(MODEL + b"a", FILE + b"x\r--b\r" + MODEL + b"b"), "invalid_multipart", id="a boundary between two CR"
        ),
        pytest.param(
            form(b"X: y\n\nz\r\n" + MODEL + b"b", MODEL + b"a"), "invalid_multipart", id="headers that end twice"
        ),
        pytest.param(form(b"X: y\r\n--b\r\n" + MODEL + b"b"), "invalid_multipart", id="a boundary among the headers"),
        pytest.param(form(MODEL.replace(b"model", b"mod\0el") + b"b"), "invalid_multipart", id="a null in a name"),
    ],
)
def test_what_servers_could_read_in_two_ways_or_not_at_all_is_refused(body: bytes, code: str) -> None:
    assert refused(body) == code
    with pytest.raises(ProxyError) as caught:
        read(body, pieces=list(range(1, min(len(body), 30_000))))
    assert caught.value.code == code


@pytest.mark.parametrize("name", sorted(DESTINATIONS))
def test_a_form_cannot_say_where_it_goes(name: str) -> None:
    part = b'Content-Disposition: form-data; name="%b"' % name.encode()
    assert refused(form(MODEL + b"a", part + b"\r\n\r\nx")) == "unsupported_parameter"
    read(form(MODEL + b"a", part + b'; filename="x"\r\n\r\nx'))


STREAM = b'Content-Disposition: form-data; name="stream"\r\n\r\n'


@pytest.mark.parametrize(
    ("parts", "stream"),
    [
        ([MODEL + b"a", STREAM + b"true", FILE], True),
        ([FILE, MODEL + b"a", STREAM + b"True"], True),
        ([FILE, STREAM + b"1", MODEL + b"a"], True),
        ([MODEL + b"a", STREAM + b"false", FILE], False),
        ([MODEL + b"a", STREAM, FILE], False),
        ([MODEL + b"a", STREAM + b"true" * 1000, FILE], False),
        # Its call has been routed by then.
        ([MODEL + b"a", FILE, STREAM + b"true"], False),
    ],
)
def test_a_stream_is_asked_for_before_the_form_is_settled(parts: list[bytes], stream: bool) -> None:
    body = form(*parts)
    assert read(body).stream is stream
    assert read(body, pieces=list(range(1, len(body)))).stream is stream


@pytest.mark.parametrize(
    ("parts", "settled"),
    [
        ([MODEL + b"a", FILE], [True, True]),
        ([FILE, MODEL + b"a"], [False, True]),
        ([FILE, MODEL + b"a", FILE], [True, True]),
        ([MODEL + b"a"], [False, False]),
        ([b"Content-Disposition: form-data; name=file; filename*=UTF-8''%C3%BC.wav\r\n\r\nx"], [False, True]),
        ([b'Content-Disposition: form-data; name="prompt"\r\n\r\nx'], [False, False]),
    ],
)
def test_a_form_is_settled_by_a_file_once_its_model_is_known_where_one_is_asked(
    parts: list[bytes], settled: list[bool]
) -> None:
    assert [read(form(*parts), routes_by_model=asks).settled for asks in (True, False)] == settled


def test_a_model_behind_what_settled_the_form_is_named_and_routes_nothing() -> None:
    found = read(form(FILE, MODEL + b"late"), routes_by_model=False)
    assert (found.model, found.span, found.named) == (None, None, "late")


PIECES = [b"--b", b"--b--", b"\r\n", b"\n", b"\r", b"\r\n\r\n", MODEL, FILE, b"-", b"b", b" ", b"m", STREAM, b"true"]
CUTS = st.lists(st.integers(0, 400), max_size=6).map(sorted)


@settings(deadline=None, max_examples=400)
@example(b"--b\r\n\r\n--b--", [])
@given(st.binary(max_size=80) | st.lists(st.sampled_from(PIECES), max_size=14).map(b"".join), CUTS)
def test_any_way_to_cut_any_bytes_comes_to_the_same(body: bytes, cuts: list[int]) -> None:
    outcomes: list[object] = []
    for pieces in ([], [cut for cut in cuts if cut <= len(body)], list(range(1, len(body)))):
        outcome: object = None
        try:
            outcome = told(found := read(body, pieces=pieces))
        except ProxyError as error:
            outcome = error.code
        else:
            if found.span is not None:
                assert body[slice(*found.span)].decode() == found.model
        outcomes.append(outcome)
    assert outcomes[0] == outcomes[1] == outcomes[2]


@given(st.binary(max_size=200))
def test_no_file_upsets_the_reading(content: bytes) -> None:
    with suppress(ProxyError):
        boundary = b"field-boundary-7f3a"
        assert read(form(FILE + content, MODEL + b"m", boundary=boundary), boundary).model == "m"
