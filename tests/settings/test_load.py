"""Where a configuration is found, what wins over what, and what the environment alone gives."""

import os
from pathlib import Path

import pytest

from proxy.settings import SettingsError, load
from proxy.settings.providers import PRESETS


def test_without_anything_the_simulator_answers() -> None:
    loaded = load(environ={})
    assert loaded.source == "the embedded simulator"
    assert loaded.path is None
    assert {name: provider.type for name, provider in loaded.settings.providers.items()} == {"simulator": "simulator"}


@pytest.mark.parametrize(
    ("variable", "name"),
    [
        ("OPENAI_API_KEY", "openai"),
        ("ANTHROPIC_API_KEY", "anthropic"),
        ("GEMINI_API_KEY", "gemini"),
        ("GOOGLE_API_KEY", "gemini"),
        ("OPENROUTER_API_KEY", "openrouter"),
        ("DEEPSEEK_API_KEY", "deepseek"),
        ("XAI_API_KEY", "xai"),
    ],
)
def test_a_key_in_the_environment_makes_its_provider(variable: str, name: str) -> None:
    loaded = load(environ={variable: "sk-1"})
    provider = loaded.settings.providers[name]
    assert list(loaded.settings.providers) == [name]
    assert [key.get_secret_value() for key in provider.keys] == ["sk-1"]
    assert provider.base_url == PRESETS[name].base_url
    assert loaded.source == f"the environment ({variable})"


def test_several_keys_make_several_providers() -> None:
    loaded = load(environ={"OPENAI_API_KEY": "a", "GEMINI_API_KEY": "b", "GOOGLE_API_KEY": "c", "XAI_API_KEY": ""})
    assert list(loaded.settings.providers) == ["openai", "gemini"]
    assert loaded.source == "the environment (OPENAI_API_KEY, GEMINI_API_KEY)"


def test_a_local_ollama_is_asked_for_only_when_nothing_else_is_there() -> None:
    assert load(environ={}, ollama_answers=lambda: True).source == "the local Ollama"
    assert list(load(environ={}, ollama_answers=lambda: True).settings.providers) == ["ollama"]
    assert list(load(environ={}, ollama_answers=lambda: False).settings.providers) == ["simulator"]

    def never() -> bool:
        raise AssertionError

    assert list(load(environ={"XAI_API_KEY": "k"}, ollama_answers=never).settings.providers) == ["xai"]


def test_a_file_without_providers_takes_them_from_the_environment(configured) -> None:
    loaded = configured("server: {port: 9}", {"OPENAI_API_KEY": "k"})
    assert list(loaded.settings.providers) == ["openai"]
    assert loaded.source.endswith("given.yaml and the environment (OPENAI_API_KEY)")


def test_the_file_is_the_given_one_else_the_variable_else_the_default_name(tmp_path: Path) -> None:
    for port, name in ((1, "given.yaml"), (2, "variable.yaml"), (3, "hapax.yaml")):
        (tmp_path / name).write_text(f"server: {{port: {port}}}")
    environ = {"CONFIG_PATH": "variable.yaml"}
    assert load(Path("given.yaml"), environ).settings.server.port == 1
    assert load(None, environ).settings.server.port == 2
    assert load(None, {}).settings.server.port == 3
    assert load(None, {}).path == Path("hapax.yaml")
    assert load(None, {"CONFIG_PATH": ""}).settings.server.port == 3


def test_a_file_that_is_not_there_is_a_problem(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"nope\.yaml does not exist"):
        load(Path("nope.yaml"), {})
    with pytest.raises(SettingsError, match=r"CONFIG_PATH: nope\.yaml does not exist"):
        load(None, {"CONFIG_PATH": "nope.yaml"})
    with pytest.raises(SettingsError, match="cannot be read"):
        load(tmp_path, {})


def test_workers_that_store_answers_each_for_itself_are_warned_of(configured) -> None:
    shared = "state: {url: 'redis://127.0.0.1:6379/0'}"
    for rules, count in (
        ("server: {workers: 2}\ncache: {enabled: true}", 1),
        (f"server: {{workers: 2}}\ncache: {{enabled: true}}\n{shared}", 0),
        ("server: {workers: 1}\ncache: {enabled: true}", 0),
        ("server: {workers: 2}", 0),
    ):
        warnings = configured(rules).warnings
        assert [warning.partition(":")[0] for warning in warnings] == ["cache.enabled"] * count


def test_a_file_that_is_not_text_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "hapax.yaml").write_bytes(b"server: \xff\xfe\x00")
    with pytest.raises(SettingsError, match="UTF-8"):
        load(environ={})


FILE, OLD, NEW, LINE = (
    "server: {port: 1}",
    {"HAPAX_PORT": "2"},
    {"HAPAX_SERVER__PORT": "3"},
    {"server.port": 4},
)


@pytest.mark.parametrize(
    ("text", "environ", "overrides", "port"),
    [
        ("", {}, {}, 8080),
        (FILE, {}, {}, 1),
        (FILE, OLD, {}, 2),
        (FILE, NEW, {}, 3),
        (FILE, OLD | NEW, {}, 3),
        (FILE, {}, LINE, 4),
        (FILE, OLD | NEW, LINE, 4),
        ("", OLD, {}, 2),
        ("", NEW, {"server": {"port": 5}}, 5),
        (FILE, {"HAPAX_SERVER__PORT": ""}, {}, 1),
        (FILE, {"hapax_server__port": "6"}, {}, 6),
    ],
)
def test_the_command_line_wins_over_the_environment_over_the_file(configured, text, environ, overrides, port) -> None:
    assert configured(text, environ, overrides).settings.server.port == port


def test_older_variables_still_work(configured) -> None:
    environ = {"HAPAX_HOST": "::1", "HAPAX_PORT": "9", "LOG_LEVEL": "WARNING", "LOG_FORMAT": "TEXT"}
    settings = configured("", environ).settings
    assert (settings.server.host, settings.server.port) == ("::1", 9)
    assert (settings.logging.level, settings.logging.format) == ("warn", "text")


def test_the_port_variable_of_a_kubernetes_service_is_not_ours(configured) -> None:
    assert configured("", {"HAPAX_PORT": "tcp://10.0.0.1:8080"}).settings.server.port == 8080


def test_variables_reach_every_kind_of_setting(configured) -> None:
    settings = configured(
        "providers: {local-llama: {type: compatible, base_url: http://a/v1}}",
        {
            "HAPAX_PROVIDERS__LOCAL_LLAMA__BASE_URL": "http://b/v1",
            "HAPAX_PROVIDERS__LOCAL_LLAMA__TIMEOUTS__IDLE": "7s",
            "HAPAX_PROVIDERS__LOCAL_LLAMA__MODELS": "a, b",
            "HAPAX_PROVIDER_PREFERENCE": '["local-llama"]',
            "HAPAX_AUTH__KEYS": '[{"name": "me", "key": "hpx_k1_3f9a81c7d2e5"}]',
            "HAPAX_SERVER__CORS__ALLOW_ORIGINS": "http://a,http://b",
            "HAPAX_METRICS__AUTH": "false",
            "HAPAX_LIMITS": '{"routes": {"/v1/embeddings": {"concurrent": 3}}}',
        },
    ).settings
    provider = settings.providers["local-llama"]
    assert list(settings.providers) == ["local-llama"]
    assert (provider.base_url, provider.timeouts.idle, provider.models) == ("http://b/v1", 7.0, ("a", "b"))
    assert settings.provider_preference == ("local-llama",)
    assert settings.auth.keys[0].name == "me"
    assert settings.server.cors.allow_origins == ("http://a", "http://b")
    assert settings.metrics.auth is False
    assert settings.limits.routes["/v1/embeddings"].concurrent == 3


def test_a_problem_in_a_variable_names_the_variable() -> None:
    with pytest.raises(SettingsError) as caught:
        load(environ={"HAPAX_SERVER__PORT": "x", "LOG_LEVEL": "loud", "HAPAX_SERVER__PROT": "1"})
    problems = {problem.path: problem.message for problem in caught.value.problems}
    assert problems["server.port"].endswith("(set by HAPAX_SERVER__PORT)")
    assert problems["logging.level"].endswith("(set by LOG_LEVEL)")
    assert problems["server.prot"].endswith("did you mean `port`? (set by HAPAX_SERVER__PROT)")


def test_an_unreadable_variable_is_a_problem_without_its_value() -> None:
    with pytest.raises(SettingsError) as caught:
        load(environ={"HAPAX_AUTH__KEYS": '[{"key": "sk-hidden"'})
    assert caught.value.problems[0].path == "HAPAX_AUTH__KEYS"
    assert "sk-hidden" not in str(caught.value)


def test_a_variable_for_the_admin_key_is_no_section() -> None:
    loaded = load(environ={"HAPAX_ADMIN_KEY": "a", "HAPAX_ENV": "b"})
    assert loaded.warnings == []
    assert loaded.settings.auth.admin_key is None


def test_a_misspelt_section_in_a_variable_is_warned_about() -> None:
    assert load(environ={"HAPAX_SEVER__PORT": "1"}).warnings == [
        "HAPAX_SEVER__PORT names no setting and is ignored; did you mean HAPAX_SERVER__PORT?"
    ]


def test_camel_case_is_accepted_with_a_warning(configured) -> None:
    loaded = configured(
        """
        circuitBreaker: {maxRequests: 7, failureThreshold: 9, interval: 1s}
        providerPreference: [simulator]
        healthCheck: {failureThreshold: 4}
        providers: {simulator: {maxConcurrency: 3}}
        """
    )
    settings = loaded.settings
    assert (settings.circuit_breaker.max_requests, settings.circuit_breaker.failure_threshold) == (7, 9)
    assert settings.provider_preference == ("simulator",)
    assert settings.health_check.failure_threshold == 4
    assert settings.providers["simulator"].max_concurrency == 3
    assert len(loaded.warnings) == 7
    assert "circuit_breaker.maxRequests: is now written `max_requests`" in loaded.warnings[1]


def test_an_empty_key_below_an_old_name_still_names_its_variable(configured) -> None:
    with pytest.raises(SettingsError, match="K is not set"):
        configured("providers: {xai: {apiKey: '${K}'}}")


def test_names_the_user_chose_are_left_alone(configured) -> None:
    loaded = configured("providers: {myLlama: {type: simulator, headers: {xFoo: a}}}\nmodels: {gptBig: {}}")
    assert list(loaded.settings.providers) == ["myLlama"]
    assert list(loaded.settings.providers["myLlama"].headers) == ["xFoo"]
    assert list(loaded.settings.models) == ["gptBig"]
    assert loaded.warnings == []


def test_a_preference_for_providers_that_are_not_there_is_filtered(configured) -> None:
    loaded = configured("providers: {openai: {api_key: k}, simulator: }\nprovider_preference: [nope, simulator]")
    assert loaded.settings.provider_preference == ("simulator",)
    assert loaded.settings.preferred_order == ("simulator", "openai")
    assert loaded.warnings == ["provider_preference: there is no provider `nope`; it is skipped"]
    default = configured("providers: {openai: {api_key: k}}")
    assert default.settings.provider_preference == ("openai",)
    assert default.warnings == []


def test_a_named_provider_without_a_key_uses_its_types_variable(configured) -> None:
    loaded = configured("providers: {main: {type: openai}}", {"OPENAI_API_KEY": "sk-1"})
    assert [key.get_secret_value() for key in loaded.settings.providers["main"].keys] == ["sk-1"]


@pytest.mark.parametrize(
    "entry", ["{type: openai, base_url: 'https://elsewhere/v1'}", "{type: openai, api_key: '${K}'}"]
)
def test_a_types_key_goes_to_no_other_address_and_replaces_no_other_key(configured, entry: str) -> None:
    with pytest.raises(SettingsError, match=r"providers\.main\.api_key"):
        configured(f"providers: {{main: {entry}}}", {"OPENAI_API_KEY": "sk-1"})


def test_a_server_that_needs_no_key_may_have_none(configured) -> None:
    loaded = configured("providers: {x: {type: compatible, base_url: 'http://h/v1/', api_key: '${K}'}}")
    assert loaded.settings.providers["x"].keys == ()
    assert loaded.settings.providers["x"].base_url == "http://h/v1"
    assert loaded.warnings == ["providers.x.api_key: K is empty, so calls are sent without a key"]


@pytest.mark.parametrize("key", ["changeme", "my-PLACEHOLDER-key", "sk-example", "test_123"])
def test_a_placeholder_for_a_providers_key_is_warned_about(configured, key: str) -> None:
    [warning] = configured(f"providers: {{openai: {{api_key: {key}}}}}").warnings
    assert warning.startswith("providers.openai.api_key: looks like a placeholder (")
    assert warning.endswith(
        "); the provider will refuse it: put its key in its place, best as ${OPENAI_API_KEY}, with OPENAI_API_KEY set "
        "in the environment"
    )


def test_an_address_others_reach_may_get_its_keys_from_the_store(configured) -> None:
    [warning] = configured("server: {host: 0.0.0.0}").warnings
    assert warning.startswith("auth.keys: is empty while server.host (0.0.0.0) is reachable from other machines")
    assert "`hapax keys create NAME`" in warning


def test_a_missing_admin_key_is_warned_about(configured) -> None:
    assert configured("auth: {admin_key: '${A}'}").warnings == ["auth.admin_key: A is empty, so there is no admin key"]


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "[::1]", "localhost"])
def test_loopback_needs_no_key(configured, host: str) -> None:
    assert configured(f"server: {{host: '{host}'}}").settings.server.host == host


def test_any_address_is_served_with_a_key(configured) -> None:
    assert (
        configured("server: {host: 0.0.0.0}\nauth: {keys: [{name: a, key: hpx_k1_3f9a81c7d2e5}]}").settings.server.host
        == "0.0.0.0"
    )


def test_a_glob_that_covers_its_own_fallback_is_no_circle(configured) -> None:
    settings = configured("models: {'gpt-*': {fallbacks: [gpt-4o-mini]}}").settings
    assert settings.models["gpt-*"].fallbacks == ("gpt-4o-mini",)


def test_the_environment_of_the_process_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("HAPAX_", "LOG_", "CONFIG_PATH")) or name.endswith("_API_KEY"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HAPAX_SERVER__PORT", "12")
    assert load().settings.server.port == 12
