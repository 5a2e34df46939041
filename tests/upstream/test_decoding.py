"""Undoing a content coding nobody asked for: the plain bytes at any split, and no bomb."""

import gzip
import zlib
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.upstream.decoding import MAX_OUTPUT_PER_READ, Decoder, DecodingError


@given(st.binary(max_size=200), st.lists(st.integers(0, 220), max_size=5), st.sampled_from([b"gzip", b"deflate"]))
def test_any_split_gives_the_plain_bytes(plain: bytes, cuts: list[int], coding: bytes) -> None:
    coded = gzip.compress(plain) if coding == b"gzip" else zlib.compress(plain)
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


@pytest.mark.parametrize("more", [gzip.compress(b"world"), b"junk"])
def test_bytes_after_the_end_are_never_silently_missing(more: bytes) -> None:
    with pytest.raises(DecodingError):
        Decoder(b"gzip").feed(gzip.compress(b"hello") + more)
    decoder = Decoder(b"gzip")
    assert decoder.feed(gzip.compress(b"hello")) == b"hello"
    with pytest.raises(DecodingError):
        decoder.feed(more)
