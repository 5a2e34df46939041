"""curl, as a user types it, with no configuration of this machine's."""

import json
import shutil
from typing import Any

from .process import Finished, run


def curl_command(url: str, *options: str, body: dict[str, Any] | None = None) -> list[str]:
    curl = shutil.which("curl")
    assert curl, "no curl: run scripts/setup-tests.sh"
    # -q: no ~/.curlrc. Errors are shown, the progress bar is not.
    command = [curl, "-q", "--silent", "--show-error", "--no-buffer", "--noproxy", "*", "--max-time", "20", *options]
    if body is not None:
        command += ["--header", "Content-Type: application/json", "--data-binary", json.dumps(body)]
    return [*command, url]


async def curl(url: str, *options: str, body: dict[str, Any] | None = None) -> Finished:
    return await run(*curl_command(url, *options, body=body))
