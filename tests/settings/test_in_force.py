"""How the configuration in force is told: redacted, with hashes that tell equal secrets from others and no more."""

import datetime
import hashlib
import json

from proxy.settings import Loaded, Settings
from proxy.settings.in_force import InForce, Reload

SECRETS = ("sk-proj-9fQxW2", "hpx_admin_3f9a81c7d2e5aa", "s3cret-of-postgres", "Bearer-of-otlp")
NOW = datetime.datetime(2026, 11, 30, 12, 0, tzinfo=datetime.UTC)


def in_force(key: str = SECRETS[0]) -> InForce:
    settings = Settings.model_validate(
        {
            "providers": {
                "a": {"type": "compatible", "base_url": "http://a", "api_key": key},
                "b": {"type": "compatible", "base_url": "http://b", "api_keys": [SECRETS[0], "sk-proj-other"]},
            },
            "auth": {"admin_key": SECRETS[1]},
            "store": {"url": f"postgresql://me:{SECRETS[2]}@db/hapax"},
            "tracing": {"otlp_endpoint": "http://c", "headers": {"Authorization": SECRETS[3]}},
        }
    )
    return InForce(Loaded(settings, "hapax.yaml", None, [], sources={"auth.admin_key": "hapax.yaml:3"}), NOW)


def test_no_secret_is_told_and_equal_ones_have_one_hash() -> None:
    told = in_force().told()
    text = json.dumps(told)
    assert [secret for secret in SECRETS if secret in text] == []
    values = told["values"]
    assert values["providers.a.api_key"]["value"] == "**********"
    assert values["providers.a.api_key"]["hash"] == values["providers.b.api_keys[0]"]["hash"]
    assert values["providers.a.api_key"]["hash"] != values["providers.b.api_keys[1]"]["hash"]
    assert values["store.url"]["value"] == "postgresql://me:**********@db/hapax"
    assert values["auth.admin_key"]["source"] == "hapax.yaml:3"
    assert values["server.port"] == {"value": 8080, "source": "default", "hash": values["server.port"]["hash"]}
    assert told["since"] == "2026-11-30T12:00:00.000Z"


def test_a_hash_cannot_be_made_by_who_guesses_the_secret() -> None:
    shown = in_force().told()["values"]["auth.admin_key"]["hash"]
    guesses = [guess for secret in SECRETS for guess in (secret, repr(secret))]
    made = [hashlib.new(kind, guess.encode()).hexdigest() for kind in ("sha256", "sha1", "md5") for guess in guesses]
    assert not any(shown in digest for digest in made)


def test_the_hash_of_all_changes_with_a_secret_alone() -> None:
    assert in_force().told()["hash"] == in_force().told()["hash"]
    assert in_force().told()["hash"] != in_force("sk-proj-9fQxW3").told()["hash"]


def test_what_was_refused_is_told_beside_what_stays() -> None:
    standing = in_force()
    standing.refuse(Reload("now", "watch", "refused", ("server.port: must be at most 65535",)), ["hapax.yaml", "new"])
    told = standing.told()
    assert (told["last_reload"]["outcome"], told["files"]) == ("refused", ["hapax.yaml", "new"])
    standing.take(standing.loaded, Reload("later", "watch", "applied", needs_restart=("server.port",)), NOW)
    told = standing.told()
    assert (told["last_reload"]["at"], told["needs_restart"], told["files"]) == ("later", ["server.port"], [])
