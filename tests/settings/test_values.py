"""Durations, sizes and URLs as they are written and as they are kept."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.settings.values import masked_url, parse_duration, parse_size


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("250ms", 0.25),
        ("15s", 15),
        ("1m", 60),
        ("24h", 86400),
        ("1m30s", 90),
        ("1.5h", 5400),
        ("3ms", 0.003),
        ("2d", 172800),
        ("0", 0),
        ("30", 30),
        (30, 30),
        (0.5, 0.5),
        (" 5s ", 5),
        ("0s", 0),
    ],
)
def test_a_duration_is_a_number_with_units_or_seconds(written: object, seconds: float) -> None:
    assert parse_duration(written) == seconds


@pytest.mark.parametrize(
    "written",
    [
        "",
        "s",
        "5 s",
        "5x",
        "-5s",
        "1e3s",
        "5s5",
        "s5",
        "soon",
        True,
        None,
        [],
        -1,
        -0.5,
        float("nan"),
        float("inf"),
        10**400,
        "9" * 400,
        "100000d",
        "\u0665s",
    ],
)
def test_what_is_no_duration_is_refused(written: object) -> None:
    with pytest.raises(ValueError, match="must"):
        parse_duration(written)


@given(st.text() | st.integers() | st.floats() | st.booleans() | st.none())
def test_whatever_is_given_as_a_duration_is_a_number_of_seconds_or_refused(written: object) -> None:
    try:
        seconds = parse_duration(written)
    except ValueError:
        return
    assert 0 <= seconds <= 4e8


@pytest.mark.parametrize(
    ("written", "bytes_"),
    [
        ("10MiB", 10 << 20),
        ("64KiB", 65536),
        ("1GiB", 1 << 30),
        ("10MB", 10**7),
        ("5kB", 5000),
        ("12B", 12),
        ("65536", 65536),
        (65536, 65536),
        ("1.5KiB", 1536),
        ("1 MiB", 1 << 20),
        ("1mib", 1 << 20),
        (0, 0),
    ],
)
def test_a_size_is_a_number_with_a_unit_or_bytes(written: object, bytes_: int) -> None:
    assert parse_size(written) == bytes_


@pytest.mark.parametrize(
    "written", ["", "MiB", "10MiBs", "-1", -1, 1.5, True, None, "0.1B", "1e6", "9" * 50, "9" * 30, 2**60, "\u0665"]
)
def test_what_is_no_size_is_refused(written: object) -> None:
    with pytest.raises(ValueError, match="must"):
        parse_size(written)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("sqlite:///hapax.db", "sqlite:///hapax.db"),
        ("memory://", "memory://"),
        ("redis://host:6379/0", "redis://host:6379/0"),
        ("postgresql://u:pw@h/db", "postgresql://u:**********@h/db"),
        ("redis://:pw@h:1", "redis://:**********@h:1"),
        ("postgresql://pw@h/db", "postgresql://**********@h/db"),
        ("postgresql://h/db?password=pw", "postgresql://h/db?**********"),
        ("postgresql://u:p/w@h/db", "**********"),
        ("postgresql://u:p#w@h/db", "**********"),
        ("postgresql://[u:pw@h/db", "**********"),
    ],
)
def test_a_url_is_shown_without_its_password(url: str, shown: str) -> None:
    assert masked_url(url) == shown
