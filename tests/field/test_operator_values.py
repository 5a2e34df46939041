"""Variables in other tools' forms, keys that are none, and mistyped addresses: each is told with what to write."""

from pathlib import Path

import pytest

from proxy.settings import SettingsError, load
from tests.field.operator import NO_STORE, REAL_LOOK, checked, one_provider

pytestmark = pytest.mark.usefixtures("quiet_machine")


VARIABLES = [
    # How other tools write a variable: their documentation stands beside each form in proxy/settings/variables.py.
    ("$OPENAI_API_KEY", "${OPENAI_API_KEY}", "a shell"),
    ("$env:OPENAI_API_KEY", "${OPENAI_API_KEY}", "PowerShell"),
    ("$(OPENAI_API_KEY)", "${OPENAI_API_KEY}", "Kubernetes"),
    ("%OPENAI_API_KEY%", "${OPENAI_API_KEY}", "Windows"),
    ("{{OPENAI_API_KEY}}", "${OPENAI_API_KEY}", "a template"),
    ("{{ .Values.openai.key }}", "${VAR}", "Helm"),
    ("{$OPENAI_API_KEY}", "${OPENAI_API_KEY}", "Caddy"),
    ("{env.OPENAI_API_KEY}", "${OPENAI_API_KEY}", "Caddy's other form"),
    ("os.environ/OPENAI_API_KEY", "${OPENAI_API_KEY}", "LiteLLM"),
    ('os.environ["OPENAI_API_KEY"]', "${OPENAI_API_KEY}", "Python"),
    ("process.env.OPENAI_API_KEY", "${OPENAI_API_KEY}", "Node.js"),
    ("env.OPENAI_API_KEY", "${OPENAI_API_KEY}", "Bifrost"),
    ("env::OPENAI_API_KEY", "${OPENAI_API_KEY}", "TensorZero"),
    ("${{ secrets.OPENAI_API_KEY }}", "${VAR}", "GitHub"),
    ("${env:OPENAI_API_KEY}", "${OPENAI_API_KEY}", "VS Code"),
    ("$key", "${VAR}", "a shell, in small letters"),
]


@pytest.mark.parametrize(("written", "meant", "whose"), [pytest.param(*row, id=row[2]) for row in VARIABLES])
def test_a_variable_in_another_tools_form_is_no_key(written: str, meant: str, whose: str) -> None:
    code, said = checked(f"providers: {{openai: {{api_key: '{written}'}}}}{NO_STORE}")
    assert code == 2
    assert f"write {meant} (line 1, column 22)" in said
    code, said = checked(one_provider(f"type: simulator, headers: {{Authorization: 'Bearer {written}'}}"))
    assert code == 2
    assert "providers.p.headers.Authorization: is taken as it stands, which is the form of " in said


def test_a_key_is_written_without_the_word_before_it() -> None:
    code, said = checked(f"providers: {{openai: {{api_key: Bearer {REAL_LOOK}}}}}{NO_STORE}")
    assert code == 2
    assert "providers.openai.api_key: must be the key alone" in said


@pytest.mark.parametrize(
    ("text", "path"),
    [
        (one_provider("type: compatible, base_url: 'http://$LLAMA_HOST:8000/v1'"), "providers.p.base_url"),
        (one_provider("type: compatible, base_url: $LLAMA_URL"), "providers.p.base_url"),
        ("server: {port: $PORT}", "server.port"),
        ("auth: {admin_key: $ADMIN_KEY}", "auth.admin_key"),
        ("auth: {keys: [{name: a, key: '%WEB_KEY%'}]}", "auth.keys[0].key"),
        ("logging: {dir: $LOG_ROOT/hapax, level: info}", "logging.dir"),
        ("store: {url: 'postgresql://hapax:$DB_PASSWORD@db/hapax'}", "store.url"),
    ],
)
def test_a_variable_is_found_wherever_it_stands(text: str, path: str) -> None:
    code, said = checked(text)
    assert f"{path}: " in said
    assert "write ${" in said
    assert code == 2 or "Warning: " in said


def test_our_own_form_and_templates_of_prompts_are_no_mistake(tmp_path: Path) -> None:
    text = "processing: {request_templates: {default: 'Say {{.Input}} for $PRICE'}}\nserver: {host: '${H:-127.0.0.1}'}"
    (tmp_path / "given.yaml").write_text(text)
    assert load(tmp_path / "given.yaml", {}).warnings == []


def test_a_variables_value_is_not_filled_in_a_second_time() -> None:
    with pytest.raises(SettingsError, match="filled in within a file only"):
        load(environ={"HAPAX_PROVIDERS__OPENAI__API_KEY": "${OPENAI_API_KEY}"})


@pytest.mark.parametrize(
    "key",
    [
        *(
            "sk-...",
            "sk-xxxx",
            "sk-XXXXXXXXXXXX",
            "sk-proj-xxxxxxxx",
            "sk-ant-...",
        ),
        *(
            "YOUR_API_KEY",
            "your-api-key",
            "your_openai_key",
            "<your-key>",
            "[your key here]".replace(" ", "-"),
            "my-api-key",
        ),
        *("<OPENAI_API_KEY>", "OPENAI_API_KEY", "API_KEY_HERE", "sk-your-key-here", "insert-key-here", "replace-me"),
        *(
            "changeme",
            "CHANGE_ME",
            "placeholder",
            "dummy",
            "fake-key",
            "test_123",
            "sk-test",
            "sk-1234",
            "sk-123456789",
        ),
        *("none", "null", "EMPTY", "not-needed", "xxx", "********", "paste-token", "todo", "redacted"),
    ],
)
def test_what_manuals_write_in_a_keys_place_is_no_key(key: str) -> None:
    _, said = checked(f"providers: {{openai: {{api_key: '{key}'}}}}{NO_STORE}")
    assert "Warning: providers.openai.api_key: looks like a placeholder (" in said


@pytest.mark.parametrize(
    "key",
    [
        "sk-proj-Zx8Kq2vLw7Rt4Yb9Nm3Pc6Hd1Jf5Gs0A-TuVeWiXo_QaSdFgHjKl",
        "sk-ant-api03-k2J8vQ_xR7mW4nT9pL3bY6cD1fG5hS0aZ-eUiO",
        "9f3c81e7d2b54a60c7e1",
        "k",
    ],
)
def test_a_real_key_is_no_placeholder(key: str, tmp_path: Path) -> None:
    provider = "anthropic" if "ant" in key else "openai"
    (tmp_path / "given.yaml").write_text(f"providers: {{{provider}: {{api_key: {key}}}}}")
    assert load(tmp_path / "given.yaml", {}).warnings == []


def test_a_local_server_that_wants_some_word_gets_one(tmp_path: Path) -> None:
    # https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html says `api_key="EMPTY"`.
    (tmp_path / "given.yaml").write_text(
        one_provider("type: compatible, base_url: 'http://127.0.0.1:8000/v1', api_key: EMPTY")
    )
    assert load(tmp_path / "given.yaml", {}).warnings == []


@pytest.mark.parametrize(("key", "whose"), [("sk-ant-api03-" + REAL_LOOK, "anthropic"), ("gsk_" + REAL_LOOK, "Groq")])
def test_a_key_of_another_vendor_is_named(key: str, whose: str) -> None:
    _, said = checked(f"providers: {{openai: {{api_key: {key}}}}}{NO_STORE}")
    assert f"begins like a key of {whose}, and this provider is of type openai" in said
    assert key not in said


ADDRESSES = [
    # (type, base_url, words); the vendors' pages stand in proxy/settings/addresses.py.
    ("compatible", "http://127.0.0.1:9/v1/completions", "leave off `/completions`"),
    ("compatible", "http://127.0.0.1:9/v1/chat/completions/", "leave off `/chat/completions`"),
    ("compatible", "http://127.0.0.1:9/v1/chat", "leave off `/chat`"),
    ("compatible", "http://127.0.0.1:9/v1/responses", "leave off `/responses`"),
    ("compatible", "http://127.0.0.1:9/v1/embeddings", "leave off `/embeddings`"),
    ("compatible", "http://127.0.0.1:9/v1/models", "leave off `/models`"),
    ("compatible", "http://127.0.0.1:9/v1/audio/transcriptions", "leave off `/audio/transcriptions`"),
    ("compatible", "http://127.0.0.1:9/x/responses", "leave off `/responses`"),
    ("compatible", "http://127.0.0.1:8000", "end in /v1"),
    ("compatible", "http://localhost:8080/v1", "the gateway's own address"),
    ("compatible", "https://api.groq.com/v1", "write https://api.groq.com/openai/v1"),
    ("compatible", "https://api.mistral.ai", "write https://api.mistral.ai/v1"),
    ("compatible", "https://api.fireworks.ai/v1", "write https://api.fireworks.ai/inference/v1"),
    ("compatible", "https://platform.openai.com/v1", "write https://api.openai.com/v1"),
    ("compatible", "https://r.openai.azure.com/openai/v1", "`type: azure`"),
    ("compatible", "http://llm.example.org/v1", "write https://"),
    ("compatible", "https://llm.example.org/v1/v1", "version twice"),
    ("compatible", "https://llm.example.org/v1?key=x", "query"),
    ("openai", "https://api.openai.com", "write https://api.openai.com/v1"),
    ("anthropic", "https://api.anthropic.com/v1/messages", "leave off `/messages`"),
    ("anthropic", "https://api.anthropic.com", "write https://api.anthropic.com/v1"),
    ("gemini", "https://generativelanguage.googleapis.com/v1beta", "/v1beta/openai"),
    ("gemini", "https://generativelanguage.googleapis.com/v1beta/models/gemini-2.5-pro:generateContent", "leave off"),
    ("openrouter", "https://openrouter.ai/v1", "write https://openrouter.ai/api/v1"),
    ("azure", "https://r.openai.azure.com/openai/deployments/gpt-4o", "names a deployment"),
    ("azure", "https://{resource}.openai.azure.com", "holds brackets"),
    ("azure", "https://<your-resource>.openai.azure.com", "holds brackets"),
    ("azure", "https://YOUR_RESOURCE.openai.azure.com", "to be filled in"),
    ("compatible", "http://127.0.0.1:9/v1/{model}", "holds brackets"),
    ("compatible", "http://127.0.0.1:9//v1", "a slash too many"),
    ("compatible", "http://127.0.0.1:9/docs", "documentation"),
    ("compatible", "http://127.0.0.1:9/v1/responses/compact", "leave off `/responses/compact`"),
    ("azure", "https://r.openai.azure.com/openai", "ends in the middle"),
    ("azure", "https://r.openai.azure.com/v1", "below /openai/v1"),
    ("ollama", "http://127.0.0.1:11434", "lacks /v1"),
    ("ollama", "http://127.0.0.1:11434/api/chat", "leave off `/api/chat`"),
]


@pytest.mark.parametrize(
    ("kind", "url", "words"), [pytest.param(*row, id=f"{row[0]} at {row[1].partition('//')[2]}") for row in ADDRESSES]
)
def test_an_address_that_cannot_be_right_is_told(kind: str, url: str, words: str) -> None:
    code, said = checked(one_provider(f"type: {kind}, base_url: '{url}', api_key: {REAL_LOOK}"))
    assert "providers.p.base_url: " in said
    assert words in said
    assert code == 2 or "Warning: " in said


@pytest.mark.parametrize(
    ("kind", "url"),
    [
        ("compatible", "https://api.groq.com/openai/v1"),
        ("compatible", "https://api.deepinfra.com/v1/openai"),
        ("compatible", "https://api.perplexity.ai"),
        ("compatible", "https://models.github.ai/inference"),
        ("compatible", "http://vllm:8000/v1"),
        ("compatible", "http://10.0.0.7:8000/v1/"),
        ("compatible", "https://gateway.ai.cloudflare.com/v1/account/gateway/compat"),
        ("azure", "https://r.openai.azure.com"),
        ("azure", "https://r.openai.azure.com/openai/v1/"),
        ("azure", "https://r.services.ai.azure.com"),
        ("deepseek", "https://api.deepseek.com"),
        ("ollama", "http://ollama:11434/v1"),
    ],
)
def test_an_address_as_its_vendor_documents_it_is_no_mistake(kind: str, url: str, tmp_path: Path) -> None:
    (tmp_path / "given.yaml").write_text(one_provider(f"type: {kind}, base_url: '{url}', api_key: {REAL_LOOK}"))
    assert load(tmp_path / "given.yaml", {}).warnings == []


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("0.0.0.0:8080", "the port is `server.port`"),
        ("localhost:", "the port is `server.port`"),
        ("http://0.0.0.0", "without http://"),
        ("localhost/", "without http://"),
        ("*", "0.0.0.0 for all addresses"),
        ("local host", "a name of this machine"),
    ],
)
def test_a_host_that_is_no_address_is_told_before_it_is_listened_on(written: str, words: str) -> None:
    code, said = checked(f"server: {{host: '{written}'}}{NO_STORE}")
    assert code == 2
    assert words in said


@pytest.mark.parametrize("written", ["::1", "[::1]", "127.0.0.1", "localhost"])
def test_an_address_of_this_machine_is_no_mistake(written: str) -> None:
    assert checked(f"server: {{host: '{written}'}}{NO_STORE}") == (0, "")


def test_one_port_for_two_listeners_is_told() -> None:
    code, said = checked(f"server: {{port: 8080}}\nmetrics: {{port: 8080}}{NO_STORE}")
    assert code == 2
    assert "metrics.port: is also server.port" in said
