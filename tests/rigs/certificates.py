"""Certificates that live as long as a test."""

import subprocess
from pathlib import Path


def issue(folder: Path, name: str) -> None:
    """`server.pem` and `server.key` of localhost in *folder*, signed by themselves; *name* tells one from another."""
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-keyout", "new.key", "-out", "new.pem", "-days", "2", "-subj", f"/CN={name}"),
            *("-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"),
        ],
        check=True,
        capture_output=True,
        cwd=folder,
    )
    for kind in ("key", "pem"):
        (folder / f"new.{kind}").rename(folder / f"server.{kind}")


def expire(folder: Path) -> None:
    """Make of `server.pem` in *folder* a certificate of the same key that was good until yesterday."""
    # Its beginning is today, so that it is good at no time.
    command = ("openssl", "x509", "-in", "server.pem", "-signkey", "server.key", "-days", "-1", "-out", "server.pem")
    subprocess.run(command, check=True, capture_output=True, cwd=folder)
