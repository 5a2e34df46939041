"""
The certificate clients are shown, as the ssl module wants it. When its files are read again is decided in `server`.
"""

import ssl

from proxy.settings.server import Tls


def tls_of(files: Tls | None) -> ssl.SSLContext | None:
    """
    What connections are made with; None for plain HTTP. `OSError`, `ssl.SSLError` among them, when the files cannot be
    read or do not fit together.
    """
    if files is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(files.cert_file, files.key_file)
    return context
