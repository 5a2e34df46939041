"""Undoing a content coding the gateway did not ask for: the plain bytes at any split, and no bomb."""

import gzip
import zlib
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.upstream.decoding import MAX_OUTPUT_PER_READ, Decoder, DecodingError, coding_of


def coded_as(coding: bytes, plain: bytes) -> bytes:
    if coding == b"gzip":
        return gzip.compress(plain[:50]) + gzip.compress(plain[50:])
    if coding == b"deflate":
        return zlib.compress(plain)
    # Without a frame, as old servers send deflate.
    bare = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return bare.compress(plain) + bare.flush()


@given(
    st.binary(max_size=200), st.lists(st.integers(0, 220), max_size=5), st.sampled_from([b"gzip", b"deflate", b"bare"])
)
def test_any_split_gives_the_plain_bytes(plain: bytes, cuts: list[int], coding: bytes) -> None:
    """Of one member or of two, and of deflate with a frame or without."""
    coded = coded_as(coding, plain)
    coding = coding.replace(b"bare", b"deflate")
    decoder = Decoder(coding)
    marks = [0, *sorted(min(cut, len(coded)) for cut in cuts), len(coded)]
    parts = [decoder.feed(coded[start:end]) for start, end in pairwise(marks)]
    assert b"".join(parts) == plain
    assert decoder.whole


def test_a_coding_that_breaks_off_is_not_whole() -> None:
    coded = gzip.compress(b"hello" * 100)
    for cut in range(len(coded)):
        decoder = Decoder(b"gzip")
        decoder.feed(coded[:cut])
        assert not decoder.whole


@pytest.mark.parametrize("coding", [b"br", b"zstd", b"compress", b"gzip, gzip", b""])
def test_a_coding_that_cannot_be_undone_is_an_error(coding: bytes) -> None:
    with pytest.raises(DecodingError):
        Decoder(coding)


def test_corrupt_data_is_an_error() -> None:
    coded = bytearray(gzip.compress(b"hello" * 100))
    coded[12] ^= 0xFF
    with pytest.raises(DecodingError):
        Decoder(b"gzip").feed(bytes(coded))
    with pytest.raises(DecodingError):
        Decoder(b"gzip").feed(b"hello")


def test_a_bomb_is_an_error() -> None:
    bomb = gzip.compress(bytes(MAX_OUTPUT_PER_READ + 1))
    with pytest.raises(DecodingError):
        Decoder(b"gzip").feed(bomb)
    assert len(Decoder(b"gzip").feed(gzip.compress(bytes(MAX_OUTPUT_PER_READ)))) == MAX_OUTPUT_PER_READ


@pytest.mark.parametrize("more", [b"junk", b"\x00\x00", zlib.compress(b"world")])
def test_bytes_after_the_end_are_never_silently_missing(more: bytes) -> None:
    with pytest.raises(DecodingError):
        Decoder(b"gzip").feed(gzip.compress(b"hello") + more)
    decoder = Decoder(b"gzip")
    assert decoder.feed(gzip.compress(b"hello")) == b"hello"
    with pytest.raises(DecodingError):
        decoder.feed(more)


def test_a_second_member_that_breaks_off_is_not_whole() -> None:
    first, second = gzip.compress(b"hello"), gzip.compress(b"world")
    for cut in range(1, len(second)):
        decoder = Decoder(b"gzip")
        decoder.feed(first + second[:cut])
        assert not decoder.whole


@pytest.mark.parametrize(
    ("header", "coding"),
    [
        (None, b""),
        (b"", b""),
        (b"identity", b""),
        (b"None", b""),
        (b"utf-8", b""),
        (b"GZIP", b"gzip"),
        (b"identity, gzip", b"gzip"),
        (b"gzip, gzip", b"gzip, gzip"),
        (b"br", b"br"),
        (b"foo", b"foo"),
    ],
)
def test_names_that_are_no_coding_are_none(header: bytes | None, coding: bytes) -> None:
    assert coding_of(header) == coding
