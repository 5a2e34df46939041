"""What `make compiled` builds is this gateway: of today's sources, its hot path in C, which its sources are fit for."""

import ast
import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import proxy
from tests.rigs.built import BUILT, ROOT, SITE, is_compiled


def hook() -> ModuleType:
    """`scripts/compiled.py`, which is no module of a package."""
    spec = importlib.util.spec_from_file_location("compiled", ROOT / "scripts" / "compiled.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


MODULES: list[str] = hook().MODULES


def said(folder: Path, *arguments: str) -> list[bytes]:
    """What Python prints with *arguments*: where the gateway is compiled, and where it is not."""
    command = [sys.executable, *arguments]
    return [
        subprocess.run(command, cwd=folder, env={"PYTHONPATH": str(place)}, capture_output=True, check=True).stdout
        for place in (SITE, ROOT)
    ]


def test_the_compiled_gateway_is_made_of_todays_sources() -> None:
    assert is_compiled(), "run: make compiled"


def test_every_module_of_the_hot_path_is_a_library_beside_its_source() -> None:
    for module in MODULES:
        assert list((SITE / "proxy").glob(f"{module}.*.so")), module
        assert (SITE / "proxy" / f"{module}.py").read_bytes() == (ROOT / "proxy" / f"{module}.py").read_bytes()
    assert [wheel.name.count("-none-any") for wheel in BUILT.parent.glob("*.whl")] == [0]


def test_the_command_says_that_it_is_compiled(tmp_path: Path) -> None:
    told = said(tmp_path, "-m", "proxy", "--version")
    assert told == [f"hapax {proxy.__version__}, compiled\n".encode(), f"hapax {proxy.__version__}\n".encode()]


@pytest.mark.parametrize("module", MODULES)
def test_a_name_is_bound_by_one_kind_of_exception_in_a_function(module: str) -> None:
    # mypyc gives a variable the type of its first binding, and finds out about the second where it is bound.
    for function in ast.walk(ast.parse((ROOT / "proxy" / f"{module}.py").read_text())):
        if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        bound: dict[str, str] = {}
        for handler in ast.walk(function):
            if isinstance(handler, ast.ExceptHandler) and handler.name is not None and handler.type is not None:
                kind = ast.unparse(handler.type)
                assert bound.setdefault(handler.name, kind) == kind, f"{module}:{handler.lineno}"


@pytest.mark.parametrize("module", MODULES)
def test_no_coroutine_has_a_function_within(module: str) -> None:
    # Compiled, it is held by what it knows, and holds it: a circle for the garbage collector with each call.
    for outer in ast.walk(ast.parse((ROOT / "proxy" / f"{module}.py").read_text())):
        if isinstance(outer, ast.AsyncFunctionDef):
            within = [each for each in ast.walk(outer) if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)]
            assert within == [outer], f"{module}:{within[-1].lineno}"


def test_no_class_of_the_hot_path_has_heirs_outside_of_it() -> None:
    """A class of Python below one of C raises where it is made."""
    bases: dict[str, bool] = {}
    heirs: list[tuple[str, str, str]] = []
    for path in (ROOT / "proxy").rglob("*.py"):
        name = str(path.relative_to(ROOT / "proxy"))[:-3]
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                bases[node.name] = name in MODULES
                heirs += [(name, node.name, each.id) for each in node.bases if isinstance(each, ast.Name)]
    assert [(name, heir) for name, heir, base in heirs if bases.get(base) and name not in MODULES] == []
