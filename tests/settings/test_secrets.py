"""Which secrets an attacker could guess."""

import secrets
import string

import pytest

from proxy.settings.secrets import weakness


@pytest.mark.parametrize(
    "secret",
    [
        "changeme",
        "CHANGEME-CHANGEME-1234",
        "your-api-key-goes-here",
        "hpx_your_key_0123456789ab",
        "sk-placeholder-0123456789",
        "an-example-of-a-key-123",
        "my-secret-key-for-hapax",
        "<put the key of the web app here>",
        "${WEB_APP_KEY_UNEXPANDED}",
        "{{ web_app.key.value }}",
        "$WEB_APP_KEY_UNEXPANDED",
        "test_abcdefGHIJ0192837465",
        "todo: a key of 16 letters",
        "P@ssw0rd-Passw0rd-2026",
    ],
)
def test_a_placeholder_is_refused(secret: str) -> None:
    assert weakness(secret) == "looks like a placeholder"


@pytest.mark.parametrize("secret", ["", "k", "good-key", "q7Gz0fKp2LxW9aB"])
def test_a_short_secret_is_refused(secret: str) -> None:
    assert weakness(secret) == "has fewer than 16 characters"


@pytest.mark.parametrize(
    "secret",
    ["a" * 40, "abcabcabcabcabcabc", "0101010101010101010101", "q7Gz0fKpq7Gz0fKpq7Gz0fKp", "aaaabbbbccccddddeeee"],
)
def test_a_secret_that_repeats_itself_is_refused(secret: str) -> None:
    assert (weakness(secret) or "").startswith("repeats itself")


@pytest.mark.parametrize(
    "make",
    [
        lambda: "hpx_" + secrets.token_urlsafe(32),
        lambda: secrets.token_hex(16),
        lambda: secrets.token_urlsafe(16),
        lambda: "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(32)),
        lambda: "correct horse battery staple"[::-1].replace(" ", "-"),
    ],
)
def test_a_random_secret_is_taken(make) -> None:
    refused = [secret for secret in (make() for _ in range(1000)) if weakness(secret) is not None]
    # By chance one in a hundred thousand.
    assert len(refused) <= 1


def test_the_reason_never_repeats_the_secret() -> None:
    for secret in ("hunter2-changeme", "hunter2", "h" * 20):
        assert secret not in (weakness(secret) or secret)
