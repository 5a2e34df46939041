"""Names that lead nowhere: models, settings of other gateways, paths, variables."""

from pathlib import Path

import pytest

from proxy.settings import load
from tests.field.operator import KNOWN, NO_STORE, REAL_LOOK, checked, one_provider

pytestmark = pytest.mark.usefixtures("quiet_machine")


NAMES = [
    ("models: {m: {fallbacks: [nn]}}", "models.m.fallbacks[0]: no provider serves `nn`"),
    ("models: {m: {context_fallbacks: [bigger]}}", "models.m.context_fallbacks[0]: no provider serves `bigger`"),
    ("models: {m: {targets: [a/other]}}", "models.m.targets[0]: `other` is not in providers.a.models"),
    ("models: {m: {fallbacks: [a/m]}}", "models.m.fallbacks[0]: is written like a target"),
    ("models: {m: {targets: []}}", "models.m.targets: is empty"),
    ("models: {fast: {balance: round_robin}}", "models.fast: has no targets and is in no provider's models"),
    ("models: {m: {targets: [b/m]}}", "models.m.targets[0]: there is no provider `b`; configured: a"),
    ("models: {m: {fallbacks: [m]}}", "models.m.fallbacks: come back to where they began: m -> m"),
    ("auth: {keys: [{name: k, key: hpx_k1_3f9a81c7d2e5, models: [mm]}]}", "auth.keys[0].models[0]: no provider serves"),
    ("auth: {keys: [{name: k, key: hpx_k1_3f9a81c7d2e5, models: ['gpt-*']}]}", "auth.keys[0].models[0]: no provider"),
    ("limits: {models: {mn: {concurrent: 1}}}", "limits.models.mn: no provider serves `mn`; did you mean `m`?"),
]


@pytest.mark.parametrize(("text", "words"), NAMES)
def test_a_name_that_no_provider_serves_is_told_where_that_can_be_known(text: str, words: str) -> None:
    code, said = checked(KNOWN + text + NO_STORE)
    assert words in said
    assert code == 2 or "Warning: " in said


@pytest.mark.parametrize(
    "text",
    [
        # The second provider is asked for its list: any name may be on it.
        KNOWN.replace("}}\n", "}, b: {type: simulator}}\n") + "models: {m: {fallbacks: [nn]}}",
        KNOWN + "models: {m: {fallbacks: [big-one, alias]}, alias: {targets: [a/m]}}",
        KNOWN + "auth: {keys: [{name: k, key: hpx_k1_3f9a81c7d2e5, models: [m, 'big-*', '*', big-one]}]}",
    ],
)
def test_a_name_that_may_be_served_is_no_mistake(text: str, tmp_path: Path) -> None:
    (tmp_path / "given.yaml").write_text(text)
    assert load(tmp_path / "given.yaml", {}).warnings == []


FOREIGN = [
    # https://docs.litellm.ai/docs/proxy/config_settings
    ("model_list: [{model_name: m, litellm_params: {model: openai/m}}]", "model_list", "`models` (targets"),
    ("litellm_settings: {drop_params: true}", "litellm_settings", "`failover`"),
    ("general_settings: {master_key: sk-1234}", "general_settings", "`auth.admin_key`"),
    ("router_settings: {routing_strategy: least-busy}", "router_settings", "`models.<name>.balance`"),
    ("environment_variables: {A: b}", "environment_variables", "${VAR}"),
    (one_provider("type: openai, litellm_params: {model: m}"), "providers.p.litellm_params", "`providers.<name>`"),
    (one_provider("type: openai, api_base: x"), "providers.p.api_base", "`base_url`"),
    ("limits: {default: {rpm: 5}}", "limits.default.rpm", "`requests_per_minute`"),
    # https://portkey.ai/docs/api-reference/inference-api/config-object
    ("strategy: {mode: fallback}", "strategy", "`models.<name>.targets`"),
    ("targets: [{virtual_key: x}]", "targets", "`models.<name>.targets`"),
    ("virtual_key: openai-1", "virtual_key", "`providers.<name>.api_key`"),
    ("retry: {attempts: 3}", "retry", "`failover`"),
    # https://docs.getbifrost.ai/deployment-guides/config-json
    ("config_store: {enabled: false}", "config_store", "`store.url`"),
    (one_provider("type: openai, keys: [{value: x}]"), "providers.p.keys", "`api_keys`"),
    (one_provider("type: openai, network_config: {}"), "providers.p.network_config", "`base_url` and `timeouts`"),
    # https://openrouter.ai/docs/features/provider-routing
    ("provider: {order: [openai]}", "provider", "`provider_preference`"),
]


@pytest.mark.parametrize(("text", "path", "here"), [pytest.param(*row, id=row[1]) for row in FOREIGN])
def test_another_gateways_setting_is_told_what_it_is_called_here(text: str, path: str, here: str) -> None:
    code, said = checked(text)
    assert code == 2
    line = next(line for line in said.splitlines() if line.strip().startswith(f"{path}: "))
    assert "is not a setting" in line
    assert here in line


@pytest.mark.parametrize(
    ("written", "here"),
    [
        ("azure-openai", "azure"),
        ("Azure_OpenAI", "azure"),
        ("google", "gemini"),
        ("claude", "anthropic"),
        ("openai-compatible", "compatible"),
        ("openai_like", "compatible"),
        ("vLLM", "compatible"),
        ("groq", "compatible"),
        ("LM Studio", "compatible"),
        ("llama.cpp", "compatible"),
    ],
)
def test_a_type_that_is_called_otherwise_elsewhere_is_told_with_ours(written: str, here: str) -> None:
    code, said = checked(one_provider(f"type: {written}, base_url: 'http://127.0.0.1:9/v1', api_key: {REAL_LOOK}"))
    assert code == 2
    assert f"what you mean is `{here}` here" in said


def test_what_was_judged_without_the_wrong_part_is_not_told_as_well() -> None:
    text = (
        "models: {a: {targets: [m]}, b: {targets: [{provider: a}]}, c: {fallback: [m]}, d: {model: m}}\n"
        "server: {host: 0.0.0.0}\nauth: {keys: [{name: k, key: '${NOT_SET}'}]}\n"
    )
    code, said = checked(KNOWN + text)
    assert code == 2
    assert "Warning" not in said


def test_a_database_that_cannot_be_opened_is_told_with_all_else() -> None:
    code, said = checked("providers: {p: {type: simulator, modles: []}}\nstore: {url: 'sqlite:////no/such/hapax.db'}\n")
    assert code == 2
    assert "providers.p.modles: is not a setting" in said
    assert "store.url: the folder /no/such does not exist" in said


OLD = """
llm:
  provider: ollama
  model: llama2
  endpoint: http://localhost:11434
  max_context_tokens: 16384
  system_prompt: You are helpful.
  options: {temperature: 0.7}
  retry: {max_retries: 5, initial_delay: 100ms, max_delay: 5s, multiplier: 1.5, retryable_errors: [timeout]}
  backup_providers:
    - {provider: anthropic, model: claude-3-haiku, api_key: '${ANTHROPIC_API_KEY}'}
    - {provider: openai, model: gpt-3.5-turbo, api_key: '${OPENAI_API_KEY}'}
"""


def test_the_llm_section_of_earlier_releases_still_works_and_fails_over(tmp_path: Path) -> None:
    (tmp_path / "given.yaml").write_text(OLD)
    loaded = load(tmp_path / "given.yaml", {"ANTHROPIC_API_KEY": "a" + REAL_LOOK, "OPENAI_API_KEY": "o" + REAL_LOOK})
    settings = loaded.settings
    assert settings.models["llama2"].targets == ("ollama/llama2", "anthropic/claude-3-haiku", "openai/gpt-3.5-turbo")
    assert settings.preferred_order == ("ollama", "anthropic", "openai")
    assert settings.providers["ollama"].base_url == "http://localhost:11434/v1"
    assert settings.providers["openai"].keys[0].get_secret_value() == "o" + REAL_LOOK
    assert (settings.failover.retries, settings.failover.initial_delay, settings.failover.multiplier) == (5, 0.1, 1.5)
    told = [warning.partition(":")[0] for warning in loaded.warnings]
    assert told == [
        *("llm", "llm.backup_providers", "llm.retry"),
        *("llm.system_prompt", "llm.options", "llm.max_context_tokens", "llm.retry.retryable_errors"),
    ]
    assert "context_length_exceeded" in loaded.warnings[5]


def test_two_accounts_of_one_kind_in_the_llm_section_stay_two(tmp_path: Path) -> None:
    (tmp_path / "given.yaml").write_text(
        "llm: {provider: openai, model: m, api_key: one,"
        " backup_providers: [{provider: openai, model: m, api_key: two}]}"
    )
    settings = load(tmp_path / "given.yaml", {}).settings
    assert {name: each.keys[0].get_secret_value() for name, each in settings.providers.items()} == {
        "openai": "one",
        "openai-2": "two",
    }
    assert settings.models["m"].targets == ("openai/m", "openai-2/m")


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        (
            "limits: {routes: {/v1/chat/completion: {}}}",
            "limits.routes./v1/chat/completion: %s `/v1/chat/completions`?",
        ),
        ("limits: {routes: {/v1/embedings: {}}}", "limits.routes./v1/embedings: %s `/v1/embeddings`?"),
        ("limits: {routes: {/chat/completions: {}}}", "limits.routes./chat/completions: %s `/v1/chat/completions`?"),
        ("limits: {routes: {/v1/messages/: {}}}", "limits.routes./v1/messages/: %s `/v1/messages`?"),
        ("routes: [{path: /v1/chat/completionss, handler: relay}]", "routes[0].path: %s `/v1/chat/completions`?"),
        (
            "auth: {keys: [{name: k, key: hpx_k1_3f9a81c7d2e5, routes: [/v1/response]}]}",
            "auth.keys[0].routes[0]: %s `/v1/responses`?",
        ),
    ],
)
def test_a_misspelt_path_is_told_with_the_one_that_was_meant(text: str, warning: str, tmp_path: Path) -> None:
    (tmp_path / "given.yaml").write_text(text)
    assert load(tmp_path / "given.yaml", {}).warnings == [warning % "no call has this path; did you mean"]


def test_paths_that_calls_have_are_no_mistake(tmp_path: Path) -> None:
    (tmp_path / "given.yaml").write_text(
        "limits: {routes: {/v1/chat/completions: {}, /v1/completion: {}, '/v1/files/*': {}, '/v1/*': {}}}\n"
        "auth: {keys: [{name: k, key: hpx_k1_3f9a81c7d2e5, routes: [/v1/embed*, '*', '/v1/files/*', /v1/score]}]}\n"
    )
    assert load(tmp_path / "given.yaml", {}).warnings == []


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("HAPAX_SERVER_PORT", "HAPAX_SERVER__PORT?"),
        ("HAPAX_SEVER__PORT", "HAPAX_SERVER__PORT?"),
        ("HAPAX_LOGGING_LEVEL", "HAPAX_LOGGING__LEVEL?"),
        ("HAPAX_STORE_URI", "HAPAX_STORE__URL?"),
        ("HAPAX_PROVIDERS_OPENAI_API_KEY", "HAPAX_PROVIDERS__..."),
        ("HAPAX_CONFIG", "CONFIG_PATH"),
        ("HAPAX_DATABASE_URL", "HAPAX_STORE__URL?"),
        ("HAPAX_LOG_LEVEL", "LOG_LEVEL?"),
        ("HAPAX_SOMETHING", "is ignored"),
    ],
)
def test_a_variable_that_names_no_setting_is_told(name: str, hint: str) -> None:
    [warning] = load(environ={name: "x"}).warnings
    assert warning.startswith(f"{name} names no setting and is ignored")
    assert warning.endswith(hint)


def test_variables_that_are_meant_otherwise_are_no_mistake(tmp_path: Path) -> None:
    environ = {
        "HAPAX_ENV": "staging",
        "HAPAX_ADMIN_KEY": "x",
        "HAPAX_MINE": REAL_LOOK + REAL_LOOK[::-1],
        # What Kubernetes gives each pod for a Service called hapax, and for one called hapax-redis.
        "HAPAX_SERVICE_HOST": "10.0.0.1",
        "HAPAX_PORT": "tcp://10.0.0.1:8080",
        "HAPAX_PORT_8080_TCP_ADDR": "10.0.0.1",
        "HAPAX_REDIS_SERVICE_PORT": "6379",
        "HAPAX_REDIS_PORT": "tcp://10.0.0.2:6379",
    }
    (tmp_path / "given.yaml").write_text("auth: {admin_key: '${HAPAX_MINE}'}")
    assert load(tmp_path / "given.yaml", environ).warnings == []
