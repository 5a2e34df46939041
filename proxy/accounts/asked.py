"""
What may be asked of keys and usage, in the words of a command line or an HTTP request, and whether it makes sense.

It checks and translates into values; it touches no store. No message made here repeats a text it refuses.
"""

import datetime
import json
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeAlias, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, ValidationInfo, WithJsonSchema

from proxy.settings import Budget, KeyLimits
from proxy.settings.access import MOST
from proxy.settings.checks import RESERVED_NAMES
from proxy.settings.problems import path_text, translated
from proxy.settings.values import DurationOrZero, Section, Text, parse_duration, section

By = Literal["key", "team", "model", "provider", "route", "day", "outcome"]
"""What usage can be added up by."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@+-]{0,63}", re.ASCII)
_SPAN = re.compile(r"([0-9]+(\.[0-9]+)?(ms|s|m|h|d))+", re.ASCII)
_DATE = r"(19[7-9][0-9]|2[01][0-9]{2})-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])"
_WRITTEN_MOMENT = {
    "type": "string",
    "pattern": rf"^([0-9]{{1,3}}(ms|s|m|h|d)|{_DATE}(T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]Z)?)$",
    "examples": ["7d", "2026-11-01", "2026-11-01T12:00:00Z"],
}
"""How a schema tells of a moment; other forms of ISO 8601 and longer durations are taken as well."""
_WRITTEN_EXPIRY = {"anyOf": [_WRITTEN_MOMENT, {"type": "null"}]}
_MOMENT_WORDS = "must be a duration such as 7d, a date such as 2026-11-01, or a time such as 2026-11-01T12:00:00Z"
_DECADES = (1970, 2200)
_WORDS = {
    "json_invalid": "must be Unicode text",
    "string_type": "must be text",
    "tuple_type": "must be a list of texts",
    "model_type": "must be an object",
    "model_attributes_type": "must be an object",
    "string_pattern_mismatch": "is not in the form it has to have",
}
"""Where the settings' own words speak of YAML."""

S = TypeVar("S", bound=Section)
Info: TypeAlias = "ValidationInfo[dict[str, datetime.datetime]]"
"""What `checked` gives to those that need the time. A text, for a pydantic whose type takes no argument yet."""


class AskedWrongly(Exception):
    """Something in a request cannot be; the message is a sentence for the caller."""

    def __init__(self, param: str, message: str) -> None:
        """*param* is the path of what is wrong, such as `limits.concurrent`."""
        super().__init__(message)
        self.param = param


def moment(text: str, now: datetime.datetime, *, ahead: bool = False) -> datetime.datetime:
    """
    The moment in UTC that *text* names: a duration counts back from *now* (on from it with *ahead*), a date means its
    first moment, a time without a zone is UTC. `ValueError` for anything else.
    """
    try:
        if _SPAN.fullmatch(text):
            span = datetime.timedelta(seconds=parse_duration(text))
            return now + span if ahead else now - span
        # A + in a query arrives as a space, and only a zone's can stand there.
        named = datetime.datetime.fromisoformat(re.sub(r" (?=[0-9]{2}:[0-9]{2}$)", "+", text) if "T" in text else text)
        named = named.replace(tzinfo=datetime.UTC) if named.tzinfo is None else named.astimezone(datetime.UTC)
    except (ValueError, OverflowError):
        raise ValueError(_MOMENT_WORDS) from None
    if not _DECADES[0] <= named.year < _DECADES[1]:
        raise ValueError(_MOMENT_WORDS)
    return named


def _name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ValueError("must be 1 to 64 letters, digits or any of _ . @ + - and begin with a letter or digit")
    if name.lower() in RESERVED_NAMES:
        raise ValueError("must not be admin or anonymous: the gateway counts calls under these names itself")
    return name


def _label(text: str) -> str:
    if len(text) > 64 or not text.isprintable():
        raise ValueError("must be printable text of at most 64 characters")
    return text


def _patterns(patterns: tuple[str, ...]) -> tuple[str, ...]:
    if not all(len(pattern) <= 256 and pattern.isprintable() for pattern in patterns):
        raise ValueError("must hold printable texts of at most 256 characters")
    return patterns


def _paths(paths: tuple[str, ...]) -> tuple[str, ...]:
    if not all(path.startswith(("/", "*")) for path in paths):
        raise ValueError("must hold paths or globs that begin with / or *")
    return paths


def _budget(budget: Budget) -> Budget:
    if budget.amount > MOST:
        raise ValueError(f"must be at most {MOST} tokens or {MOST // 10**6} US dollars")
    if budget.amount < 1:
        raise ValueError("must be at least a millionth of a US dollar")
    return budget


def _expiry(value: object, info: Info) -> object:
    if value is None:
        return None
    if not isinstance(value, str):
        raise ValueError(_MOMENT_WORDS)
    now = info.context["now"]
    expires = moment(value, now, ahead=True)
    if expires <= now:
        raise ValueError("must be in the future")
    return expires


def past(value: object, info: Info) -> object:
    """The moment a text names, for a field that may be None; durations count back."""
    if value is None:
        return None
    if not isinstance(value, str):
        raise ValueError(_MOMENT_WORDS)
    return moment(value, info.context["now"])


def filtering(text: str) -> str:
    """A text that may be looked for: names of keys, teams and models are no longer."""
    if len(text) > 256 or not text.isprintable():
        raise ValueError("must be printable text of at most 256 characters")
    return text


Moment = Annotated[datetime.datetime, BeforeValidator(past), WithJsonSchema(_WRITTEN_MOMENT)]
"""A moment that is named by a duration back from now, a date or a time."""


class NewKey(Section):
    """A key that is to be made."""

    name: Annotated[str, AfterValidator(_name), Field(json_schema_extra={"pattern": f"^{_NAME.pattern}$"})]
    team: Annotated[str, AfterValidator(_label)] = ""
    models: Annotated[tuple[Text, ...], Field(min_length=1), AfterValidator(_patterns)] = ("*",)
    routes: Annotated[tuple[Text, ...], Field(min_length=1), AfterValidator(_patterns), AfterValidator(_paths)] = ("*",)
    limits: KeyLimits = section(KeyLimits, "Its own limits.")
    budget: Annotated[Budget, AfterValidator(_budget)] | None = None
    expires: Annotated[datetime.datetime | None, BeforeValidator(_expiry), WithJsonSchema(_WRITTEN_EXPIRY)] = None
    cache: bool = True
    """Its calls may have stored answers."""


class Rotation(Section):
    """How a key is to be exchanged for a new one."""

    overlap: DurationOrZero = 0.0
    """Seconds for which the old secret stays good."""


class UsageQuestion(Section):
    """Whose usage the caller wants to see, from when to when, and by what it is to be added up."""

    by: By = Field("key", description="What it is added up by.")
    since: Moment = Field("30d", validate_default=True, description="The first moment that is asked for.")
    until: Moment | None = Field(None, description="The first moment that is not asked for; omitted: up to now.")
    key: Annotated[Text, AfterValidator(filtering)] | None = Field(None, description="The name of the only key.")
    team: Annotated[str, AfterValidator(filtering)] | None = Field(None, description="The only team.")


def usage_question(asked: Mapping[str, Any], now: datetime.datetime) -> UsageQuestion:
    """The question that *asked* puts; `AskedWrongly` for the first thing that is wrong with it."""
    question = checked(UsageQuestion, asked, now)
    if question.until is not None and question.until <= question.since:
        raise AskedWrongly("until", "until must be after since.")
    return question


def new_key(asked: Mapping[str, Any], now: datetime.datetime) -> NewKey:
    """The key described by *asked*, a JSON object; `AskedWrongly` for the first thing that is wrong with it."""
    return checked(NewKey, asked, now)


def rotation(asked: Mapping[str, Any], now: datetime.datetime) -> Rotation:
    """The rotation described by *asked*, a JSON object; `AskedWrongly` for the first thing that is wrong with it."""
    return checked(Rotation, asked, now)


def checked(form: type[S], asked: Mapping[str, Any], now: datetime.datetime) -> S:
    """*asked* as a *form*, durations counted from *now*; `AskedWrongly` for the first thing that is wrong with it."""
    try:
        # As JSON, since that is the form in which strictness still takes a list where a tuple is meant.
        return form.model_validate_json(json.dumps(asked), strict=True, context={"now": now})
    except ValidationError as error:
        (place, message), *_ = translated(error, form)
        kind, param = error.errors()[0]["type"], path_text(place)
        if kind == "extra_forbidden":
            raise AskedWrongly(param[:64], "That field is not known here.") from None
        raise AskedWrongly(param, f"{param or 'The request'} {_WORDS.get(kind, message)}.") from None
