"""
Text from elsewhere as a terminal may show it: names and answers are whatever a caller or a provider sent.

It replaces what a terminal would obey or show in another order than it was written; colours are its user's.
"""

import re

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
_OBEYED = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""
Controls of ASCII and Latin-1 but for tab and line feed (ECMA-48, sections 5.2 and 5.3), the separators and the
overriding and isolating marks of Unicode (UAX #9, section 2), and halves of surrogate pairs.
"""


def on_one_line(text: str) -> str:
    """*text* with each letter replaced that is not printable, line ends and tabs included."""
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else REPLACEMENT for letter in text)


def in_lines(text: str) -> str:
    """*text* with its line ends, which are all LF then, and tabs, and without any other control."""
    return _OBEYED.sub(REPLACEMENT, text.replace("\r", ""))
