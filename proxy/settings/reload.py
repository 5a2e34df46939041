"""
Whether a configuration that was read again may take the place of the one in force.

What is wrong with it by itself load.py says; here is what only the comparison shows.
"""

from proxy.settings.load import Loaded
from proxy.settings.problems import Problem, SettingsError


def accepted(before: Loaded, after: Loaded) -> Loaded:
    """
    *after*; `SettingsError` where it would quietly send calls elsewhere: its file is gone, or it names no provider any
    more and the environment, a local Ollama or the simulator would answer instead.
    """
    if before.path is not None and after.path is None:
        raise SettingsError([Problem("", f"{before.path} is gone; put it back, or restart to go on without a file")])
    switched = after.providers_from not in ("settings", before.providers_from)
    if switched and before.providers_from != "simulator":
        message = (
            f"are not named any more, and {after.source} would answer instead; name them, or restart if that is meant"
        )
        raise SettingsError([Problem("providers", message)])
    return after
