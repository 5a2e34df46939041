"""
What a YAML parser stumbled over, in words that say what to do, and what it reads differently than it looks.

Tables only; the file is read in yamlfile.py. No word of the file is repeated: it may be a key.
"""

import re

_QUOTES = "put the value in quotes"

MISTAKES: tuple[tuple[str, str], ...] = (
    # (what PyYAML says, in lower case; what it means and what to do)
    (
        r"scanning an alias|undefined alias",
        "a `*` at the beginning of a value is an alias in YAML; " + _QUOTES + ', such as ["*"]',
    ),
    (r"scanning an anchor", "a `&` at the beginning of a value is an anchor in YAML; " + _QUOTES),
    (r"'\\t' that cannot start", "a tab; YAML is indented by spaces only, so replace it"),
    (
        r"'%' that cannot start",
        "a `%` cannot begin a value; write ${VAR} for an environment variable, and "
        + _QUOTES
        + " if it is meant as it is",
    ),
    (r"'[@`]' that cannot start", "an @ or a backtick cannot begin a value; " + _QUOTES),
    (
        r"unhashable key",
        "braces or brackets where a name is expected; write ${VAR} for an environment variable, and "
        + _QUOTES
        + " if they are meant as they are",
    ),
    (
        r"constructor for the tag",
        "a word with `!` is a tag, and none is known here; write ${VAR} for an environment variable, and "
        + _QUOTES
        + " if it is meant as it is",
    ),
    (
        r"mapping values are not allowed",
        "a `:` where none may stand: the line is indented too far, the line above lacks a space behind its colon, or "
        "the value has a colon and needs quotes",
    ),
    (
        r"could not find expected ':'|'<document start>'",
        "a line without `: `; a name needs a colon and a space behind it",
    ),
    (r"stream end|unexpected end of stream", "the file ends inside a quote or bracket; close it"),
    (r"expected ',' or", "a list in brackets or a mapping in braces is not closed, or lacks a comma"),
    (r"quoted scalar|escape", 'a backslash inside "..." begins an escape; put the value in single quotes'),
    (
        r"sequence entries are not allowed",
        "a `- ` where no list can begin; begin the list on a line of its own, or write [one, two]",
    ),
    (r"'<block mapping start>'", "a line that is indented like no line above it; line it up with its neighbours"),
    (r"'<scalar>'", "something stands behind a closing quote; use the other kind of quotes around the whole value"),
    (r"'[\]}]'", "a bracket or brace is closed that was not opened"),
    (r"block scalar", "a `|` or `>` is followed by text; begin the text on the next line, or " + _QUOTES),
    (r"single document", "a second document begins at `---`; keep one"),
    (r"for merging", "`<<:` needs a mapping or an alias of one"),
)

OCTAL = re.compile(r"[-+]?0[0-7_]+")
"""A whole number that YAML 1.1 reads by eights (https://yaml.org/type/int.html)."""
BASE_60 = re.compile(r"[-+]?[1-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?")
"""A number that YAML 1.1 reads by sixties (https://yaml.org/type/int.html, .../float.html)."""

LOOKALIKES = re.compile("[\\u00a0\\u200b\\u2009\\u202f\\u3000\\u201c\\u201d\\u2018\\u2019]")
"""Spaces and quotes of web pages, which YAML takes for letters."""


def explained(error: str) -> str:
    """What to do about what the parser says, its context included."""
    lowered = error.lower()
    for pattern, words in MISTAKES:
        if re.search(pattern, lowered):
            return words
    # The parser quotes what it stumbled over, and that may be a key.
    return re.sub(r"""(['"]).{3,}?\1""", "something", error) + "; check indentation and quotes"


def surprising(tag: str, text: str) -> str | None:
    """Why the plain scalar *text*, which YAML gave *tag*, is not the number it looks like; None where it is."""
    if tag == "tag:yaml.org,2002:int" and OCTAL.fullmatch(text):
        return "begins with 0, so YAML reads it as an octal number; leave the 0 out, or put text in quotes"
    if tag in ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float") and BASE_60.fullmatch(text):
        return "has a colon between digits, which YAML reads as a number of base 60; put it in quotes"
    return None
