"""
`hapax keys`: make, list, rotate and revoke the keys of the store.

A secret goes to standard output once, alone on its line; everything said about it goes to standard error.
"""

import re
import sys
from typing import TYPE_CHECKING, Annotated, Any

import orjson
import typer

from proxy.cli import show
from proxy.cli.audited import audit
from proxy.cli.check import Config
from proxy.cli.gateway import address
from proxy.cli.store import FAILED, refusal, settings_of, store_exists, with_store, without_store
from proxy.core import clock
from proxy.settings import Budget, KeyLimits, Settings
from proxy.settings.values import parse_duration

if TYPE_CHECKING:
    from datetime import datetime

    from proxy.accounts.keys import KeyRecord
    from proxy.accounts.store import Store

app = typer.Typer(
    help="Make, list, rotate and revoke client keys.\n\nExample: hapax keys create web-app --budget 25usd/day",
    no_args_is_help=True,
    rich_markup_mode=None,
)

_BUDGET = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?(usd|tokens)/(hour|day|week|month)", re.ASCII | re.IGNORECASE)

_HEADINGS = ("name", "key", "status", "team", "models", "routes", "limits", "budget", "cache", "expires", "last used")
_ALWAYS = ("name", "key", "status")

Name = Annotated[str, typer.Argument(metavar="NAME", help="Who holds the key; appears in logs, metrics and usage.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print the key and nothing else.")]


@app.command("create")
def create(
    name: Name,
    team: Annotated[str, typer.Option(help="Whom its usage is counted under besides its name.")] = "",
    model: Annotated[list[str] | None, typer.Option(metavar="GLOB", help="A model it may use; repeatable.")] = None,
    route: Annotated[list[str] | None, typer.Option(metavar="PATH", help="A path it may call; repeatable.")] = None,
    requests_per_minute: Annotated[int | None, typer.Option(min=0, help="0: no limit.")] = None,
    tokens_per_minute: Annotated[int | None, typer.Option(min=0, help="0: no limit.")] = None,
    concurrent: Annotated[int | None, typer.Option(min=0, help="Requests at once; 0: no limit.")] = None,
    budget: Annotated[str | None, typer.Option(help="Such as 25usd/day or 1000000tokens/month.")] = None,
    expires: Annotated[str | None, typer.Option(help="Such as 90d, or 2027-01-31 for the first moment of it.")] = None,
    cache: Annotated[bool, typer.Option("--cache/--no-cache", help="Whether its calls have stored answers.")] = True,
    json: Json = False,
    quiet: Quiet = False,
    config: Config = None,
) -> None:
    """
    Make a key and print it, this once.

    Example: hapax keys create web-app --team shop --model "gpt-*" --requests-per-minute 600 --budget 25usd/day
    """
    settings = settings_of(config)
    from proxy.accounts.asked import AskedWrongly, new_key
    from proxy.accounts.keys import KeyExists, Keys

    asked: dict[str, Any] = {
        "name": name,
        "team": team,
        "limits": {
            "requests_per_minute": requests_per_minute,
            "tokens_per_minute": tokens_per_minute,
            "concurrent": concurrent,
        },
        "expires": expires,
        "cache": cache,
    }
    if model:
        asked["models"] = model
    if route:
        asked["routes"] = route
    if budget is not None:
        asked["budget"] = _budget(budget)
    try:
        new = new_key(asked, clock.wall())
    except AskedWrongly as error:
        raise refusal(str(error)) from None
    _not_of_the_file(settings, new.name)

    async def work(store: "Store") -> "tuple[KeyRecord, str]":
        return await Keys(store).create(new)

    try:
        record, secret = with_store(settings, work, makes=True)
    except KeyExists:
        raise refusal(
            f"There is a key called {show.plain(name)} already; choose another name, or give it a new secret with "
            f"`hapax keys rotate {name}`",
            FAILED,
        ) from None
    _audit(settings, "created", None, record)
    _hand_over(record, secret, None, settings, json=json, quiet=quiet)


@app.command("list")
def listed(json: Json = False, config: Config = None) -> None:
    """
    Show every key with what it may do; never the keys themselves.

    Example: hapax keys list
    """
    settings = settings_of(config)
    from proxy.accounts.keys import Keys
    from proxy.accounts.shown import file_key_fields, key_fields

    filed = settings.auth.keys

    async def work(store: "Store") -> "tuple[list[KeyRecord], dict[str, datetime]]":
        records = await Keys(store).list()
        return records, await Keys(store).last_used([*(key.name for key in filed), *(key.name for key in records)])

    records: list[KeyRecord] = []
    used: dict[str, datetime] = {}
    if filed and not store_exists(settings):
        # There are keys all the same, those of the configuration.
        show.line(show.err(), without_store(settings))
    else:
        records, used = with_store(settings, work)
    shown = [key_fields(record, clock.wall(), used.get(record.name)) for record in records]
    shown += [file_key_fields(key, used.get(key.name)) for key in filed]
    shown.sort(key=lambda key: str(key["name"]))
    if json:
        typer.echo(orjson.dumps({"keys": shown}, option=orjson.OPT_INDENT_2))
        return
    if not shown:
        show.line(show.err(), "There are no keys yet; make one with `hapax keys create NAME`")
        return
    table = show.sheet()
    columns = list(zip(_HEADINGS, *(_row(key) for key in shown), strict=True))
    # A terminal is narrow: where no key says anything of its own there is no column.
    told = [column for column in columns if column[0] in _ALWAYS or not {"", "*"}.issuperset(column[1:])]
    for heading, *_ in told:
        table.add_column(heading, overflow="fold")
    for row in zip(*(texts for _, *texts in told), strict=True):
        table.add_row(*map(show.cell, row))
    show.table(show.out(), table)


@app.command("rotate")
def rotate(
    name: Name,
    overlap: Annotated[str, typer.Option(help="How long the old key stays good as well; 0s: not at all.")] = "24h",
    json: Json = False,
    quiet: Quiet = False,
    config: Config = None,
) -> None:
    """
    Give a key a new secret and print it, this once; the old one goes on working for a while.

    Example: hapax keys rotate web-app --overlap 24h
    """
    settings = settings_of(config)
    from proxy.accounts.keys import KeyNotFound, KeyRevoked, Keys

    try:
        seconds = parse_duration(overlap)
    except ValueError as error:
        raise refusal(f"--overlap {error}") from None
    _not_of_the_file(settings, name)

    async def work(store: "Store") -> "tuple[KeyRecord, KeyRecord, str, datetime | None]":
        # Asked before: the new secret must reach its owner, whatever happens to the store.
        used = (await Keys(store).last_used([name])).get(name)
        return *await Keys(store).rotate(name, seconds), used

    try:
        before, record, secret, used = with_store(settings, work)
    except KeyRevoked:
        raise refusal(f"The key {show.plain(name)} was revoked; make one of another name", FAILED) from None
    except KeyNotFound:
        raise _unknown(name) from None
    _audit(settings, "rotated", before, record)
    _hand_over(record, secret, used, settings, json=json, quiet=quiet)


@app.command("revoke")
def revoke(
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask; needed in scripts.")] = False,
    config: Config = None,
) -> None:
    """
    End a key for good. Every worker refuses it within a second.

    Example: hapax keys revoke web-app --yes
    """
    settings = settings_of(config)
    from proxy.accounts.keys import KeyNotFound, Keys

    _not_of_the_file(settings, name)
    if not yes and not sys.stdin.isatty():
        raise refusal("There is no terminal to ask at, and a key is revoked for good; say so with --yes")
    if not yes and not typer.confirm(f"Revoke {show.plain(name)} for good?", err=True):
        raise refusal("Nothing was revoked", FAILED)

    async def work(store: "Store") -> "tuple[KeyRecord, KeyRecord]":
        return await Keys(store).revoke(name)

    try:
        before, after = with_store(settings, work)
    except KeyNotFound:
        raise _unknown(name) from None
    if before.revoked is not None:
        show.line(show.err(), f"{show.plain(name)} was revoked before; nothing has changed")
        return
    _audit(settings, "revoked", before, after)
    show.line(show.err(), f"Revoked {show.plain(name)}")


def _budget(text: str) -> dict[str, Any]:
    match = _BUDGET.fullmatch(text.strip())
    if match is None:
        raise refusal("--budget must be an amount and a period, such as 25usd/day or 1000000tokens/month")
    amount, unit, per = match[1], match[2].lower(), match[3].lower()
    if unit == "tokens" and "." in amount:
        raise refusal("--budget must be a whole number of tokens")
    return {unit: float(amount) if unit == "usd" else int(amount), "per": per}


def _not_of_the_file(settings: Settings, name: str) -> None:
    if any(key.name == name for key in settings.auth.keys):
        raise refusal(f"The key {show.plain(name)} stands in the configuration (auth.keys); change it there", FAILED)


def _audit(settings: Settings, done: str, before: "KeyRecord | None", after: "KeyRecord") -> None:
    from proxy.accounts.shown import key_fields

    now = clock.wall()
    was = None if before is None else key_fields(before, now, None)
    audit(settings, f"key_{done}", f"key {after.name} {done}", was, key_fields(after, now, None), key=after.name)


def _unknown(name: str) -> typer.Exit:
    return refusal(f"The store has no key called {show.plain(name)}; `hapax keys list` shows all", FAILED)


def _hand_over(
    record: "KeyRecord", secret: str, used: "datetime | None", settings: Settings, *, json: bool, quiet: bool
) -> None:
    from proxy.accounts.shown import key_fields

    if json:
        typer.echo(orjson.dumps({**key_fields(record, clock.wall(), used), "key": secret}, option=orjson.OPT_INDENT_2))
        return
    typer.echo(secret)
    if quiet:
        return
    err = show.err()
    show.line(err, f"This is the key of {record.name}. Put it where it belongs now: it is not shown again.")
    if record.previous_expires is not None and record.previous_expires > clock.wall():
        show.line(err, f"The old one works until {clock.iso(record.previous_expires)}.")
    show.line(err, f'Try it: curl -H "Authorization: Bearer $KEY" {address(settings)}/v1/models')


def _row(key: dict[str, Any]) -> tuple[str, ...]:
    limits = KeyLimits.model_validate(key["limits"])
    words = [
        f"{value or 'no limit on'} {what}"
        for value, what in (
            (limits.requests_per_minute, "requests/min"),
            (limits.tokens_per_minute, "tokens/min"),
            (limits.concurrent, "at once"),
        )
        if value is not None
    ]
    budget = Budget.model_validate(key["budget"]) if key["budget"] else None
    return (
        key["name"],
        f"{key['prefix']}..." if key["prefix"] else "in the file",
        key["status"],
        key["team"],
        ", ".join(key["models"]),
        ", ".join(key["routes"]),
        ", ".join(words),
        "" if budget is None else f"{_amount(budget)} {budget.unit}/{budget.per}",
        "" if key["cache"] else "off",
        *((key[name] or "")[:16].replace("T", " ") for name in ("expires", "last_used")),
    )


def _amount(budget: Budget) -> str:
    if budget.usd is None:
        return f"{budget.tokens:,}"
    return f"{budget.usd:.6f}".rstrip("0").rstrip(".")
