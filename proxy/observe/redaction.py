"""
What must not be read in a log: secrets always, and personal data where that is asked for.

A documented set of patterns (docs/logs.md), each linear in the length of its text. It masks text that is about to be
written; it decides nothing about which text that is.
"""

import re

SECRET = "[REDACTED]"

# What looks like a key, wherever it stands. Every repetition is bounded or followed by what ends it.
_SECRETS = re.compile(
    r"""
      -----BEGIN\ [A-Z ]{0,30}PRIVATE\ KEY-----[^-]*(?:-----END\ [A-Z ]{0,30}PRIVATE\ KEY-----)?
    | \bey[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+          # a JSON web token
    | (?i:\b(?:bearer|basic)\s+)[A-Za-z0-9+/=._~-]{8,}
    | \b(?:sk|pk|rk|hpx|gsk|xai|hf|ghp|gho|ghs|glpat|xox[abprs])[-_][A-Za-z0-9_-]{8,}
    | \bAIza[A-Za-z0-9_-]{30,}
    | \b(?:AKIA|ASIA)[A-Z0-9]{12,}
    | (?<=://)[^\s/:@]{1,256}:[^\s/@]{1,256}(?=@)                        # a user and password in an address
    """,
    re.VERBOSE,
)

_EMAIL = re.compile(r"\b[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){1,8}\b")
_IBAN = re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b")
_CARD = re.compile(r"\b\d(?:[ -]?\d){12,18}\b")
_SSN = re.compile(r"\b\d{3}-\d{2}-\d{4}\b")
_IPV4 = re.compile(r"\b(?:\d{1,3}\.){3}\d{1,3}\b")
_IPV6 = re.compile(r"\b(?:[0-9A-Fa-f]{1,4}:){3,7}[0-9A-Fa-f]{0,4}\b")
_PHONE = re.compile(
    r"(?<![\w.])(?:\+|00)[1-9](?:[ ./()-]{0,2}\d){6,14}(?!\d)"
    r"|(?<![\w.])\(?0\d{1,5}\)?(?:[ ./-]\d{2,8}){1,4}(?!\w)"
    r"|(?<![\w.])\(?\d{3}\)?[ .-]\d{3}[ .-]\d{4}(?!\w)"
)


def without_secrets(text: str) -> str:
    """*text* with everything that looks like a key, a token or a password masked."""
    return _SECRETS.sub(SECRET, text)


def without_pii(text: str) -> str:
    """*text* with mail and network addresses, phone, card, account and social security numbers masked by their kind."""
    text = _EMAIL.sub("[EMAIL]", text)
    text = _IBAN.sub("[IBAN]", text)
    text = _CARD.sub(lambda found: "[CARD]" if _passes_luhn(found[0]) else found[0], text)
    text = _SSN.sub("[SSN]", text)
    text = _IPV4.sub("[IP]", text)
    text = _IPV6.sub("[IP]", text)
    return _PHONE.sub("[PHONE]", text)


def _passes_luhn(text: str) -> bool:
    """Whether the digits end in the check digit card numbers have (ISO/IEC 7812-1)."""
    digits = [int(letter) for letter in text if letter.isdigit()]
    odd, even = digits[-1::-2], digits[-2::-2]
    return (sum(odd) + sum(2 * digit - 9 * (digit > 4) for digit in even)) % 10 == 0
