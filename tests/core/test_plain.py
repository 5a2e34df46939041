"""Text from elsewhere as a terminal may show it."""

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from proxy.core.plain import in_lines, on_one_line


def test_what_a_terminal_obeys_is_replaced_and_other_scripts_are_left_as_they_are() -> None:
    assert in_lines("a\x1b[2Jb\x9b31mc\x07\x00\x7f") == "a\ufffd[2Jb\ufffd31mc\ufffd\ufffd\ufffd"
    assert in_lines("one\r\n\ttwo\rthree") == "one\n\ttwothree"
    assert in_lines("user\u202eimda\u2066\u2028") == "user\ufffdimda\ufffd\ufffd"
    for text in ("Grüße, 你好。\u3000", "\U0001f469\u200d\U0001f4bb", "שלום\u200f!", "1\u00a0000\u202f€", "مرحبا"):
        assert in_lines(text) == text


def test_a_name_stays_on_its_line() -> None:
    assert on_one_line("gpt\r\n4\to\u2028\x1b[31m") == "gpt\ufffd\ufffd4\ufffdo\ufffd\ufffd[31m"
    assert on_one_line("llama 3.1 ü") == "llama 3.1 ü"


@given(st.text())
def test_no_control_is_left_but_the_ends_of_lines_and_tabs(text: str) -> None:
    assert {letter for letter in in_lines(text) if unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp")} <= {
        "\n",
        "\t",
    }
    assert on_one_line(text).isprintable()
