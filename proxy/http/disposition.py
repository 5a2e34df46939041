"""
The headers of one part of a form: what field it may be taken for, and whether it is a file.

Servers differ in how they read them, and a form is judged here and obeyed elsewhere. So every usual reading counts: a
part is taken for a field if any server would. It knows no boundaries and no contents.
"""

import re
from dataclasses import dataclass
from urllib.parse import unquote

_ESCAPED = re.compile(r""";\s*([^\s;="]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^;]*))""")
_PLAIN = re.compile(r""";\s*([^\s;="]+)\s*=\s*(?:"([^"]*)"|([^;]*))""")
_QUOTED_PAIR = re.compile(r"\\(.)")
_IDENTITY = ("", "7bit", "8bit", "binary")
"""Transfer codings that change no byte (RFC 2045 section 6.2)."""


@dataclass(slots=True)
class Disposition:
    """What the headers of a part say."""

    names: set[str]
    """The names of the field it may be."""
    is_file: bool
    """It has a file name."""
    may_be_field: bool
    """Some server takes the content for a field's value, because it sees no file name."""
    encoded: bool
    """The content is in a transfer coding, which some servers undo (RFC 7578 section 4.7 deprecates it)."""


def disposition(lines: list[str]) -> Disposition:
    """What *lines* say, the header lines of a part."""
    names: set[str] = set()
    is_file, seen_by_all, encoded = False, True, False
    for line in _unfolded(lines):
        name, _, value = line.partition(":")
        name = name.strip().lower()
        if name == "content-disposition":
            # Browsers leave a backslash as it is, others escape with it (RFC 7578 section 4.2).
            readings = [(_ESCAPED, True), (_PLAIN, False)] if "\\" in value else [(_PLAIN, False)]
            for pattern, escapes in readings:
                parameters = _parameters(value, pattern, escapes)
                names.update(_values(parameters, "name"))
                is_file = is_file or any(_values(parameters, "filename"))
                # Some know no extended form, and Go takes an empty one for none.
                seen_by_all = seen_by_all and any(value for key, value in parameters if key == "filename")
        elif name == "content-transfer-encoding":
            encoded = encoded or value.strip().lower() not in _IDENTITY
    return Disposition(names, is_file, not (is_file and seen_by_all), encoded)


def _unfolded(lines: list[str]) -> list[str]:
    """A line that begins with white space goes on with the one before (RFC 5322 section 2.2.3)."""
    whole: list[str] = []
    for line in lines:
        if whole and line[:1] in (" ", "\t"):
            whole[-1] += line
        else:
            whole.append(line)
    return whole


def _parameters(value: str, pattern: re.Pattern[str], escapes: bool) -> list[tuple[str, str]]:
    pairs: list[tuple[str, str]] = []
    for match in pattern.finditer(value if value.lstrip()[:1] == ";" else ";x=" + value):
        quoted = match.group(2)
        text = (match.group(3) or "").strip('" \t') if quoted is None else quoted
        pairs.append((match.group(1).lower(), _QUOTED_PAIR.sub(r"\1", text) if escapes and quoted else text))
    return pairs


def _values(parameters: list[tuple[str, str]], name: str) -> list[str]:
    """The values of *name*: as it is, in the extended form `name*`, and in pieces `name*0` (RFC 2231, RFC 8187)."""
    values = [value for key, value in parameters if key == name]
    values += [_extended(value) for key, value in parameters if key == f"{name}*"]
    pieces: list[tuple[int, str]] = []
    for key, value in parameters:
        number = key.removeprefix(f"{name}*").removesuffix("*")
        if key.startswith(f"{name}*") and number.isdigit() and len(number) <= 4:
            coded = key.endswith("*")
            pieces.append((int(number), (_extended(value) if number == "0" else unquote(value)) if coded else value))
    if pieces:
        values.append("".join([piece for _, piece in sorted(pieces)]))
    return values


def _extended(value: str) -> str:
    """The text of `charset'language'value`."""
    _, quote, rest = value.partition("'")
    return unquote(rest.partition("'")[2] if quote else value)
