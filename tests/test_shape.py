"""The house keeps its shape: a room imports only from the floors below it, and siblings leave each other alone."""

import ast
from pathlib import Path

import pytest

from tests.conftest import LONG

PACKAGE = Path(__file__).parent.parent / "proxy"

FLOORS = {
    "core": 1,
    "settings": 1,
    "accounts": 2,
    "limits": 2,
    "providers": 2,
    "simulator": 2,
    "upstream": 2,
    "relay": 3,
    "cache": 4,
    "http": 4,
    "observe": 4,
    "admission": 5,
    "http3": 5,
    "middleware": 6,
    "admin": 7,
    "api": 7,
    "health": 7,
    "ui": 7,
    "gateway": 8,
    "app": 9,
    "process": 10,
    "cli": 11,
    "__main__": 12,
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


def modules_of(path: Path) -> set[str]:
    """The modules the file at *path* may import, wherever in it, and names in them."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def methods_of(found: ast.ClassDef, name: str) -> list[ast.stmt]:
    """The methods of that *name* which the class has itself."""
    return [
        each for each in found.body if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef) and each.name == name
    ]


def fields_that_are_none(found: ast.ClassDef) -> set[str]:
    """What its constructor sets to None and annotates with more than that."""
    return {
        node.target.attr
        for method in methods_of(found, "__init__")
        for node in ast.walk(method)
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Attribute)
        if isinstance(node.value, ast.Constant) and node.value.value is None
    }


def fields_that_start_sets(found: ast.ClassDef) -> set[str]:
    return {
        node.attr
        for method in methods_of(found, "start")
        for node in ast.walk(method)
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)
    }


FILES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_room_imports_only_from_the_floors_below_it(path: Path) -> None:
    room = room_of(path)
    for imported in imports_of(path) - {room}:
        assert FLOORS[imported] < FLOORS[room], f"{room} imports its sibling or superior {imported}"
        assert room != "simulator" or imported == "core", "the simulator stands on facts alone"


def test_nothing_but_the_application_lies_loose() -> None:
    assert {path.name for path in PACKAGE.glob("*.py")} == {"__init__.py", "__main__.py", "app.py"}
    assert {room_of(path) for path in FILES} == FLOORS.keys()


def test_no_modules_import_each_other_in_a_circle() -> None:
    modules = {".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts): path for path in FILES}
    left = {name: {each for each in modules_of(path) if each in modules} - {name} for name, path in modules.items()}
    # Whatever imports nothing that is left cannot be part of a circle.
    while ends := {name for name, imported in left.items() if not imported & left.keys()}:
        left = {name: imported for name, imported in left.items() if name not in ends}
    assert sorted(left) == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_every_file_says_what_it_is(path: Path) -> None:
    if path.name == "__init__.py" and not path.read_text().strip():
        return
    assert ast.get_docstring(ast.parse(path.read_text())), "no module docstring"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_what_must_be_so_is_said_by_a_type_or_raised_by_name_and_never_asserted(path: Path) -> None:
    """An assertion is where a type says too little, and `python -O` leaves it out."""
    asserted = [
        node.lineno
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Assert) or (isinstance(node, ast.Name) and node.id == "AssertionError")
    ]
    assert asserted == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_field_is_none_until_its_object_is_started(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ClassDef):
            assert fields_that_are_none(node) & fields_that_start_sets(node) == set(), node.name


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_file_outgrows_one_noun(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 300


def test_the_files_that_begin_first_are_there() -> None:
    """One that was renamed would come last, alone."""
    assert [name for name in LONG if not (PACKAGE.parent / name).is_file()] == []
