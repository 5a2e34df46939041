"""
What a command has changed, in the audit log of the gateway whose configuration it works with.

The line goes to `audit.log` in `logging.dir`, beside the gateway's own. Without a directory those go to the gateway's
standard error, which another process cannot reach; this one then goes to the command's.
"""

import os
import pwd
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from proxy.core import clock
from proxy.core.audit import entry
from proxy.settings import Settings


def audit(settings: Settings, event: str, message: str, before: Any, after: Any, **more: Any) -> None:
    """As `proxy.core.audit.audit`, by the user of this system who runs the command; it cannot fail."""
    from proxy.observe.log import form_of
    from proxy.observe.sink import DirectSink, File

    rules = settings.logging
    if "audit" not in rules.streams:
        return
    fields = entry(event, _who(), before, after, **more)
    # What is no line of a file goes to this command's standard error, wherever the gateway's own lines go.
    form = form_of(rules.model_copy(update={"output": "stderr"}))
    line = form.line(clock.iso(clock.wall()), "info", "hapax.audit", message, fields)
    if rules.dir:
        path = Path(rules.dir, "audit.log")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            sink = DirectSink(File(path, rules.max_bytes, rules.backup_count))
        except OSError:
            pass
        else:
            sink.put(line)
            sink.stop()
            # Only now: to write may have rotated the file, and the one that has its name then is new.
            _give_to_its_folders_owner(path)
            if not sink.dropped_total:
                return
    sys.stderr.write(line.decode(errors="replace"))


def _who() -> dict[str, str]:
    """The user this process runs as, by the system's list of users: LOGNAME and its like say what one likes."""
    number = os.getuid()
    try:
        user = pwd.getpwuid(number).pw_name
    except KeyError:
        # A container may run as a number that no file names.
        user = str(number)
    return {"by": "command line", "user": user}


def _give_to_its_folders_owner(path: Path) -> None:
    """The gateway must be able to write to it, also where the administrator's command has made it."""
    if os.geteuid() != 0:
        return
    # Where a file system forbids it the line is written all the same.
    with suppress(OSError):
        folder = path.parent.stat()
        if path.lstat().st_uid == 0 != folder.st_uid:
            # Who may write to the folder may have put a link there, to a file that is not theirs.
            os.chown(path, folder.st_uid, folder.st_gid, follow_symlinks=False)
