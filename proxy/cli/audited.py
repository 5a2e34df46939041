"""
What a command has changed, in the audit log of the gateway whose configuration it works with.

The line goes to `audit.log` in `logging.dir`, beside the gateway's own. Without a directory those go to the gateway's
standard error, which another process cannot reach; this one then goes to the command's.
"""

import getpass
import os
import sys
from pathlib import Path
from typing import Any

from proxy.core import clock
from proxy.core.audit import entry
from proxy.settings import Settings


def audit(settings: Settings, event: str, message: str, before: Any, after: Any, **more: Any) -> None:
    """As `proxy.core.audit.audit`, by the user of this system who runs the command; it cannot fail."""
    from proxy.observe.lines import Form, Json, Text
    from proxy.observe.sink import DirectSink, File

    rules = settings.logging
    if "audit" not in rules.streams:
        return
    form: Form = Json() if rules.format == "json" else Text()
    fields = entry(event, _who(), before, after, **more)
    line = form.line(clock.iso(clock.wall()), "info", "hapax.audit", message, fields)
    if rules.dir:
        path = Path(rules.dir, "audit.log")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            there = path.exists()
            sink = DirectSink(File(path, rules.max_bytes, rules.backup_count))
            if not there:
                _give_to_its_folders_owner(path)
        except OSError:
            pass
        else:
            sink.put(line)
            sink.stop()
            if not sink.dropped_total:
                return
    sys.stderr.write(line.decode(errors="replace"))


def _who() -> dict[str, str]:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        # A container may run as a number that no file names.
        user = str(os.getuid())
    return {"by": "command line", "user": user}


def _give_to_its_folders_owner(path: Path) -> None:
    """The gateway must be able to write to it, also where the administrator runs a command first."""
    if os.geteuid() == 0:
        folder = path.parent.stat()
        os.chown(path, folder.st_uid, folder.st_gid)
