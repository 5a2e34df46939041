"""What reaches standard error, whichever logger wrote it."""

import json
import subprocess
import sys

LIBRARY = """
import logging
from proxy.observe.log import Logs
from proxy.settings import Logging
logs = Logs(Logging())
logs.take_over()
try:
    raise ValueError("a text that may quote a request")
except ValueError:
    logging.getLogger("some.library").error("it broke", exc_info=True)
    logging.getLogger("sqlalchemy.pool.impl").error("Exception terminating connection", exc_info=True)
logging.getLogger("some.library").info("news nobody asked for")
logging.getLogger("hapax").info("ours: %s waits, sk-abcdefghijklmnop", 1)
about = {"event": "e", "stage": "s", "in": [{"a": "sk-abcdefghijkl"}]}
logging.getLogger("hapax").info("theirs", extra={"fields": about})
logs.stop()
"""


def test_a_librarys_error_is_one_line_in_our_form_without_its_text() -> None:
    run = subprocess.run([sys.executable, "-c", LIBRARY], capture_output=True, text=True, timeout=60, check=True)
    broke, ours, theirs = (json.loads(line) for line in run.stderr.splitlines())
    assert (broke["level"], broke["logger"], broke["message"]) == ("error", "some.library", "it broke")
    assert broke["error"] == "ValueError at <string>:8 <module>"
    assert (ours["level"], ours["message"]) == ("info", "ours: 1 waits, [REDACTED]")
    # Every line says what it is about, one that names it and one that does not.
    assert (broke["event"], broke["stage"]) == ("library", "library")
    assert (ours["event"], ours["stage"]) == ("ours_waits_redacted", "gateway")
    assert (theirs["event"], theirs["stage"], theirs["in"]) == ("e", "s", [{"a": "[REDACTED]"}])
