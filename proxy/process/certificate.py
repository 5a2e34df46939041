"""
When the certificates expire that clients are shown, read from their files.

It checks nothing: whether a certificate can be used is found out by the ssl module, in `tls`.
"""

import re
import ssl
from datetime import UTC, datetime
from pathlib import Path

from proxy.settings.server import Server

_PEM = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
_VERSION, _UTC_TIME = 0xA0, 0x17
"""Tags of DER: the optional first field of a certificate, and a date whose year has two digits."""


def expiries(server: Server) -> dict[str, float]:
    """
    Seconds since 1970 until which the certificate of `https` and that of `http3` are good, for each that is served.
    `OSError` when a file cannot be read.
    """
    files = {}
    if server.tls is not None:
        files["https"] = server.tls.cert_file
    if server.http3.enabled:
        files["http3"] = server.http3.tls_cert_file
    found = {name: expiry(Path(file).read_text("latin-1")) for name, file in files.items()}
    return {name: moment for name, moment in found.items() if moment is not None}


def expiry(text: str) -> float | None:
    """
    The end of validity of the first certificate in PEM *text*, which is the server's own, in seconds since 1970
    (RFC 5280 sections 4.1 and 4.1.2.5); None where there is none, or where its date is not as these sections have it.
    """
    pem = _PEM.search(text)
    if pem is None:
        return None
    try:
        return _not_after(ssl.PEM_cert_to_DER_cert(pem.group()))
    except (ValueError, IndexError):
        return None


def _not_after(der: bytes) -> float:
    # Certificate, TBSCertificate: its version, serial number, signature and issuer lie before the validity.
    at = _inside(der, _inside(der, 0))
    for _ in range(4 if der[at] == _VERSION else 3):
        at = _behind(der, at)
    not_after = _behind(der, _inside(der, at))
    date = der[_inside(der, not_after) : _behind(der, not_after)].decode("ascii")
    if der[not_after] == _UTC_TIME:
        date = ("19" if date >= "50" else "20") + date
    if len(date) != len("YYYYMMDDHHMMSSZ"):
        raise ValueError("a date without seconds, or with parts of them, which `strptime` would read as another")
    return datetime.strptime(date, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC).timestamp()


def _inside(der: bytes, at: int) -> int:
    """Where the content begins of the element at *at*."""
    length = der[at + 1]
    return at + 2 + (length & 0x7F if length & 0x80 else 0)


def _behind(der: bytes, at: int) -> int:
    """Where the element at *at* ends."""
    inside, length = _inside(der, at), der[at + 1]
    return inside + (int.from_bytes(der[at + 2 : inside], "big") if length & 0x80 else length)
