"""Certificates on disk, and configurations no operator would write: refused or loaded, never a crash."""

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proxy.settings import Loaded, Settings, SettingsError, load
from proxy.settings.shape import every_field

TLS = "server: {tls: {cert_file: cert.pem, key_file: key.pem}}"


def _make_pair(directory: Path, *, passphrase: str = "") -> None:
    protection = ["-passout", f"pass:{passphrase}"] if passphrase else ["-nodes"]
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-days",
        "1",
        "-subj",
        "/CN=localhost",
        "-keyout",
        "key.pem",
        "-out",
        "cert.pem",
    ]
    subprocess.run([*command, *protection], cwd=directory, check=True, capture_output=True)


def test_a_certificate_with_its_key_is_accepted(configured, tmp_path: Path) -> None:
    _make_pair(tmp_path)
    tls = configured(TLS).settings.server.tls
    assert (tls.cert_file, tls.key_file) == ("cert.pem", "key.pem")


def test_a_key_with_a_passphrase_is_refused_without_asking_for_it(refused, tmp_path: Path) -> None:
    _make_pair(tmp_path, passphrase="hidden")
    assert "passphrase" in refused(TLS)[0].message


def test_a_file_that_is_no_certificate_is_refused(refused, tmp_path: Path) -> None:
    (tmp_path / "cert.pem").write_text("hello")
    (tmp_path / "key.pem").write_text("hello")
    [problem] = refused(TLS)
    assert problem.path == "server.tls.cert_file"
    assert "PEM" in problem.message


def test_http3_needs_a_certificate_of_its_own(configured, tmp_path: Path) -> None:
    _make_pair(tmp_path)
    loaded = configured("server: {http3: {enabled: true, tls_cert_file: cert.pem, tls_key_file: key.pem}}")
    assert loaded.settings.server.http3.enabled


def test_http3_takes_three_streams_for_itself(refused, tmp_path: Path) -> None:
    _make_pair(tmp_path)
    files = "tls_cert_file: cert.pem, tls_key_file: key.pem"
    [problem] = refused(f"server: {{http3: {{enabled: true, {files}, max_uni_streams_concurrent: 2}}}}")
    assert problem.path == "server.http3.max_uni_streams_concurrent"
    assert "itself takes 3" in problem.message


PATHS = [path.replace("<name>", "openai").replace("[]", "") for path, _ in every_field(Settings)]
_SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(["${X}", "${"])
)
_VALUES = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5) | st.integers(), inner, max_size=3),
    max_leaves=6,
)


def _ended_well(loading: Callable[[], Loaded]) -> bool:
    """Settings, or a list of problems that says something; any other exception is the test's failure."""
    try:
        return bool(loading().source)
    except SettingsError as error:
        return bool(error.problems) and all(problem.message for problem in error.problems)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.sampled_from(PATHS), _VALUES, min_size=1, max_size=6))
def test_whatever_stands_at_a_setting_it_loads_or_is_a_problem(tmp_path: Path, given_: dict[str, Any]) -> None:
    tree: dict[str, Any] = {}
    for path, value in given_.items():
        *above, last = path.split(".")
        section = tree
        for step in above:
            below = section.setdefault(step, {})
            if not isinstance(below, dict):
                below = section[step] = {}
            section = below
        section[last] = value
    file = tmp_path / "any.yaml"
    file.write_text(yaml.safe_dump(tree, allow_unicode=True), encoding="utf-8")
    assert _ended_well(lambda: load(file, {"OPENAI_API_KEY": "sk-1"}))


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=60) | st.text(alphabet="a:-[]{}&*!|>'\"%@ \n\t#,?<", max_size=40).map(str.encode))
def test_whatever_the_file_holds_it_loads_or_is_a_problem(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "any.yaml"
    file.write_bytes(content)
    assert _ended_well(lambda: load(file, {}))


@settings(max_examples=200, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from([f"HAPAX_{path.replace('.', '__').upper()}" for path in PATHS]), st.text(max_size=12)
    )
)
def test_whatever_the_variables_hold_it_loads_or_is_a_problem(environ: dict[str, str]) -> None:
    assert _ended_well(lambda: load(environ=environ))
