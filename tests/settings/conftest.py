"""A configuration written as text, or none, loaded in an empty directory with a chosen environment."""

import textwrap
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from proxy.settings import Loaded, Problem, SettingsError, load

Configured = Callable[..., Loaded]
Refused = Callable[..., list[Problem]]


@pytest.fixture(autouse=True)
def _empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def configured(tmp_path: Path) -> Configured:
    def write_and_load(
        text: str = "", environ: Mapping[str, str] | None = None, overrides: Mapping[str, object] | None = None
    ) -> Loaded:
        if not text:
            return load(None, environ or {}, overrides)
        file = tmp_path / "given.yaml"
        file.write_text(textwrap.dedent(text), encoding="utf-8")
        return load(file, environ or {}, overrides)

    return write_and_load


@pytest.fixture
def refused(configured: Configured) -> Refused:
    def problems(text: str, environ: Mapping[str, str] | None = None) -> list[Problem]:
        with pytest.raises(SettingsError) as caught:
            configured(text, environ)
        return caught.value.problems

    return problems
