"""The house keeps its shape: a room imports only from the floors below it, and siblings leave each other alone."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "proxy"

FLOORS = {
    "settings": 1,
    "errors": 1,
    "exchange": 1,
    "headers": 1,
    "json_faults": 1,
    "lenient": 1,
    "masking": 1,
    "peek": 1,
    "places": 1,
    "sse": 1,
    "stream_facts": 1,
    "dialect": 1,
    "error_events": 1,
    "finishes": 1,
    "progress_events": 1,
    "said": 1,
    "clock": 1,
    "tasks": 1,
    "loop": 1,
    "others": 1,
    "usage": 1,
    "traceparent": 1,
    "providers": 2,
    "upstream": 2,
    "limits": 2,
    "accounts": 2,
    "cache": 2,
    "relay": 3,
    "web": 4,
    "observe": 4,
    "app": 5,
    "state": 5,
    "upstreams": 5,
    "vitals": 5,
    "channel": 5,
    "crew": 5,
    "sockets": 5,
    "certificate": 5,
    "hangups": 5,
    "server": 5,
    "worker": 5,
    "supervisor": 5,
    "cli": 5,
    "__main__": 5,
}


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports_of(path: Path) -> set[str]:
    """The rooms of ours that the file at *path* imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            assert node.level == 0, f"{path}: relative import"
            names = [node.module]
            if node.module == "proxy":
                names = [f"proxy.{alias.name}" for alias in node.names]
        for name in names:
            package, _, rest = name.partition(".")
            if package == "proxy" and rest:
                found.add(rest.partition(".")[0])
    return found - {"__version__"}


FILES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_room_imports_only_from_the_floors_below_it(path: Path) -> None:
    room = room_of(path)
    for imported in imports_of(path) - {room}:
        if room == "simulator":
            assert FLOORS[imported] == 1, f"the simulator stands on facts alone, not on {imported}"
        elif imported == "simulator":
            assert FLOORS[room] == 5, f"only the process may start the simulator, not {room}"
        elif FLOORS[room] in (1, 5):
            # Facts may build on facts, and the process wires everyone.
            assert FLOORS[imported] <= FLOORS[room], f"{room} imports {imported} from a floor above"
        else:
            assert FLOORS[imported] < FLOORS[room], f"{room} imports its sibling or superior {imported}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_every_file_says_what_it_is(path: Path) -> None:
    if path.name == "__init__.py" and not path.read_text().strip():
        return
    assert ast.get_docstring(ast.parse(path.read_text())), "no module docstring"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_file_outgrows_one_noun(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 400
