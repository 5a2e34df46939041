"""${VAR} and ${VAR:-default}, in the cases the seeds' configurations rely on and beyond."""

from pathlib import Path

import pytest

from proxy.settings import SettingsError
from proxy.settings.expansion import ExpansionError, expand, expand_tree

ENVIRON = {"A": "one", "B": "two", "URL": "${A}/${B}", "EMPTY": "", "LOOP": "${LOOP}", "ODD": "x${y", "a": "lower"}


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        ("${A}", "one"),
        ("http://${A}.${B}/v1", "http://one.two/v1"),
        ("${NOPE:-three}", "three"),
        ("${EMPTY:-three}", "three"),
        ("${NOPE:-${B}}", "two"),
        ("${NOPE:-${ALSO:-deep}}!", "deep!"),
        ("https://${URL}", "https://one/two"),
        ("${a}${A}", "lowerone"),
        ("${NOPE}", ""),
        ("${NOPE:-}", ""),
        ("${NOPE:-a:-b}", "a:-b"),
        ("${ODD}", "x${y"),
        ("$A $ {A} }", "$A $ {A} }"),
    ],
)
def test_a_reference_stands_for_the_variable(text: str, expanded: str) -> None:
    assert expand(text, ENVIRON)[0] == expanded


@pytest.mark.parametrize(
    "text", ["${A", "${", "x${A:-${B}", "${}", "${1}", "${A-b}", "${A B}", "${LOOP}", "${N:-" * 3000 + "}" * 3000]
)
def test_a_reference_that_cannot_be_understood_is_refused(text: str) -> None:
    with pytest.raises(ExpansionError):
        expand(text, ENVIRON)


def test_empty_variables_without_a_default_are_named() -> None:
    assert expand("${EMPTY}${NOPE}${A}${X:-}", ENVIRON) == ("one", ("EMPTY", "NOPE"))


def test_special_characters_in_a_variable_are_kept() -> None:
    key = "sk-ant-!@#$%^&*()_+={}[]: '\""
    assert expand_tree({"k": "${K}"}, {"K": key}).value == {"k": key}


def test_a_variable_cannot_inject_yaml(configured) -> None:
    loaded = configured("providers: {simulator: {models: ['${M}']}}", {"M": "a]\nauth: {keys: []}".replace("\n", " ")})
    assert loaded.settings.providers["simulator"].models == ("a] auth: {keys: []}",)


def test_values_inside_lists_expand(configured) -> None:
    loaded = configured("providers: {simulator: {models: ['${A}', 'x-${B}']}}", ENVIRON)
    assert loaded.settings.providers["simulator"].models == ("one", "x-two")


def test_an_expanded_value_may_become_any_type(configured) -> None:
    loaded = configured(
        """
        server: {port: "${PORT}", read_timeout: "${T}", max_body_bytes: "${S}"}
        failover: {multiplier: "${M}"}
        metrics: {auth: "${NO}"}
        providers: {simulator: {prefill: "${YES}"}}
        """,
        {"PORT": "9000", "T": "7s", "S": "1KiB", "M": "1.5", "NO": "false", "YES": "true"},
    )
    settings = loaded.settings
    assert (settings.server.port, settings.server.read_timeout, settings.server.max_body_bytes) == (9000, 7.0, 1024)
    assert settings.failover.multiplier == 1.5
    assert settings.metrics.auth is False
    assert settings.providers["simulator"].prefill is True


def test_a_value_that_comes_out_empty_keeps_its_default(configured) -> None:
    loaded = configured("server: {port: '${PORT}', host: '${HOST:-}'}\nlogging: {level: '${LEVEL}'}")
    assert loaded.settings.server.port == 8080
    assert loaded.settings.server.host == "127.0.0.1"
    assert loaded.settings.logging.level == "info"


def test_an_unclosed_reference_is_reported_with_its_path(configured) -> None:
    with pytest.raises(SettingsError) as caught:
        configured("providers: {openai: {api_key: '${KEY'}}", {"KEY": "sk-1"})
    assert [problem.path for problem in caught.value.problems] == ["providers.openai.api_key"]
    assert "closing }" in caught.value.problems[0].message


def test_a_file_stands_for_what_it_holds_without_the_line_break_at_its_end(tmp_path: Path) -> None:
    secret = tmp_path / "openai"
    secret.write_text("sk-proj-4fQ ${A}\r\n\n")
    expanded = expand_tree(
        {"k": f"Bearer ${{file:{secret}}}", "j": "${file:${FOLDER}/openai}"}, {"FOLDER": str(tmp_path)}
    )
    # What looks like a reference in it is none.
    assert expanded.value == {"k": "Bearer sk-proj-4fQ ${A}", "j": "sk-proj-4fQ ${A}"}
    assert list(expanded.files) == [str(secret)]
    assert expanded.references == {("k",): (f"file:{secret}",), ("j",): ("FOLDER", f"file:{secret}")}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "which cannot be read: No such file or directory"),
        (b"", "which is empty"),
        (b"\r\n", "which is empty"),
        (b"\xffhidden", "which is not text in UTF-8"),
        (b"hidden" * 200_000, "which is larger than 1 MiB and so no single value"),
    ],
    ids=["missing", "empty", "a line break", "bytes", "large"],
)
def test_a_file_that_is_no_value_is_a_problem_of_the_setting(content: bytes | None, words: str, tmp_path: Path) -> None:
    path = tmp_path / "secret"
    if content is not None:
        path.write_bytes(content)
    expanded = expand_tree({"auth": {"admin_key": f"${{file:{path}}}"}}, {})
    assert expanded.problems == [(("auth", "admin_key"), f"refers to the file {path}, {words}")]
    # It is watched all the same: once it is there, the configuration is good.
    assert list(expanded.files) == [str(path)]


@pytest.mark.parametrize("reference", ["${file:}", "${file:\0}", "${file:${NOPE}}"])
def test_a_reference_to_no_file_is_refused(reference: str) -> None:
    with pytest.raises(ExpansionError):
        expand(reference, {})


def test_a_variables_content_is_not_read_while_it_is_only_looked_at(tmp_path: Path) -> None:
    assert expand("${A}", {"A": f"${{file:{tmp_path}/nowhere}} ${{"})[0] == f"${{file:{tmp_path}/nowhere}} ${{"


def test_a_variable_of_ours_holds_no_reference_to_a_file(configured) -> None:
    with pytest.raises(SettingsError, match="filled in within a file only"):
        configured("providers: {simulator: {}}", {"HAPAX_AUTH__ADMIN_KEY": "${file:/run/secrets/admin}"})
