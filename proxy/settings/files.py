"""
The files a configuration is made of, and what tells whether one has changed.

It compares contents, so that a file that was touched, copied over itself or reached by another link is the same.
"""

import hashlib
from collections.abc import Iterable, Mapping

from proxy.settings.whole import Settings

Digests = Mapping[str, str]
"""By path, what tells one content of a file from another; empty for one that cannot be read."""


def digests(paths: Iterable[str]) -> dict[str, str]:
    """Those of the files as they are now."""
    return {path: digest(path) for path in paths}


def digest(path: str) -> str:
    """That of one file."""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except (OSError, ValueError):
        return ""


def named(settings: Settings) -> list[str]:
    """The files that settings name and whose content is part of them: prices and certificates."""
    tls, http3 = settings.server.tls, settings.server.http3
    found = [settings.store.prices, http3.tls_cert_file, http3.tls_key_file]
    found += [tls.cert_file, tls.key_file] if tls is not None else []
    return [each for each in found if each]
