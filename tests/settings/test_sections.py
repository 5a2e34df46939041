"""Every section as typed values, and its secrets unseen."""

import json

import pytest
from pydantic import ValidationError

from proxy.settings import Settings, most_specific, split_target
from proxy.settings.routes import RouteSettings
from proxy.settings.shape import every_field, nested

EVERYTHING = """
server:
  host: 127.0.0.1
  port: 1
  workers: 1
  read_timeout: 1s
  write_timeout: 2s
  max_header_bytes: 3
  max_body_bytes: 4KiB
  shutdown_timeout: 0s
  http3: {enabled: false, port: 4433, idle_timeout: 1s, allow_0rtt_replay: true}
  cors: {allow_origins: ["*"], allow_methods: [GET], allow_headers: [a], expose_headers: [b], max_age: 5}
providers:
  openai:
    api_keys: [secret-a, secret-b]
    models: ["gpt-*"]
    weight: 3
    max_concurrency: 4
    timeouts: {connect: 1s, first_token: 2s, idle: 3s, total: 4s}
    headers: {X-Team: secret-c}
    prefill: false
  azure: {base_url: https://r.openai.azure.com/openai/v1/, api_key: secret-d}
provider_preference: [azure, openai]
models:
  gpt-4o:
    {targets: [openai/gpt-4o, azure/org/gpt], balance: weighted, fallbacks: [m], context_fallbacks: [l], resume: true}
failover: {retries: 1, initial_delay: 1ms, max_delay: 1s, multiplier: 3, budget: 0.5}
circuit_breaker: {max_requests: 1, interval: 2s, timeout: 3s, failure_threshold: 4}
health_check: {enabled: true, interval: 1s, timeout: 2s, failure_threshold: 3, probe: completion}
auth:
  keys:
    - {name: web, key: secret-e-3f9a81c7d2, models: [gpt-4o], limits: {concurrent: 5}, budget: {usd: 25, per: week}}
  admin_key: secret-f-b07d44e9a6
limits: {default: {requests_per_minute: 1}, routes: {/v1/embeddings: {tokens_per_minute: 2}}}
store: {url: "postgresql://user:secret-g@host/db"}
state: {url: "redis://:secret-h@host:6379/0"}
queue: {enabled: true, max_running: 1, initial_size: 2, max_wait: 3s, state_path: q, save_interval: 4s}
deduplication: {mode: off}
cache: {enabled: true, ttl: 1h, max_size: 1MiB}
processing:
  request_templates: {default: "{{.Input}}!", chat: "{{- range .Messages -}}{{.Content}}{{end}}", function: x}
  response_formatting: {clean_json: true, trim_whitespace: false, max_length: 8192}
logging: {level: debug, format: text, dir: d, redact_pii: true, log_content: true, max_bytes: 1, backup_count: 0}
metrics: {enabled: true, prometheus: {enabled: false}, auth: false, port: 9, statsd: {address: "a:1"}, otlp: {endpoint: "http://e"}}
tracing: {otlp_endpoint: "http://t:4318", sample_ratio: 0.5}
routes:
  - path: /v1/completions
    handler: completion
    version: v1
    methods: [post, OPTIONS]
    headers: {X-Tenant: secret-i}
    middleware: [auth]
    limits: {concurrent: 1}
    timeout: 9s
    health_check: {enabled: true, interval: 1s, timeout: 1s, threshold: 1, checks: {api: http, latency: threshold}}
"""
SECRETS = [f"secret-{letter}" for letter in "abcdefghi"]


def test_every_section_is_read(configured) -> None:
    settings = configured(EVERYTHING).settings
    assert settings.server.max_body_bytes == 4096
    assert settings.server.cors.max_age == 5.0
    openai, azure = settings.providers["openai"], settings.providers["azure"]
    assert openai.base_url == "https://api.openai.com/v1"
    assert [key.get_secret_value() for key in openai.keys] == ["secret-a", "secret-b"]
    assert openai.headers["X-Team"].get_secret_value() == "secret-c"
    assert (openai.timeouts.first_token, openai.prefill) == (2.0, False)
    assert azure.base_url == "https://r.openai.azure.com/openai/v1"
    assert split_target(settings.models["gpt-4o"].targets[1]) == ("azure", "org/gpt")
    assert settings.failover.retries == 1
    assert settings.circuit_breaker.timeout == 3.0
    assert settings.health_check.probe == "completion"
    key = settings.auth.keys[0]
    assert (key.limits.requests_per_minute, key.limits.concurrent) == (None, 5)
    assert key.budget is not None
    assert (key.budget.usd, key.budget.per) == (25.0, "week")
    assert settings.limits.routes["/v1/embeddings"].tokens_per_minute == 2
    assert settings.store.url.get_secret_value() == "postgresql://user:secret-g@host/db"
    assert settings.queue.initial_size == 2
    assert settings.deduplication.mode == "off"
    assert settings.cache.ttl == 3600.0
    assert settings.processing.response_formatting.max_length == 8192
    assert settings.logging.backup_count == 0
    assert settings.metrics.prometheus.enabled is False
    assert settings.tracing.sample_ratio == 0.5
    route = settings.routes[0]
    assert route.methods == ("POST", "OPTIONS")
    assert route.health_check is not None
    assert route.health_check.checks == {"api": "http", "latency": "threshold"}


def test_secrets_appear_in_nothing_that_prints(configured) -> None:
    loaded = configured(EVERYTHING)
    settings = loaded.settings
    shown = [repr(loaded), str(settings), repr(settings), str(settings.model_dump()), settings.model_dump_json()]
    shown += [json.dumps(settings.masked()), repr(loaded.warnings), repr(settings.providers["openai"].keys)]
    for text in shown:
        assert not [secret for secret in SECRETS if secret in text]
    assert settings.masked()["store"]["url"] == "postgresql://user:**********@host/db"
    assert settings.masked()["auth"]["keys"][0]["name"] == "web"


def test_secrets_appear_in_no_problem(refused) -> None:
    # Each section broken once, the keys left where they are or put where they do not belong.
    broken = EVERYTHING.replace("port: 1", "port: secret-a").replace("secret-b", '"secret-b x"')
    broken = broken.replace("type: 1", "type: secret-c").replace("level: debug", "level: secret-d")
    broken = broken.replace("secret-g@host", "secret-g@ho st").replace("redis://", "rediss:/")
    broken = broken.replace("weight: 3", "weight: secret-e-3f9a81c7d2").replace(
        "X-Team: secret-c", 'X-Team: "secret-c\\n"'
    )
    broken = broken.replace("ttl: 1h", "ttl: secret-f-b07d44e9a6").replace("max_size: 1MiB", "max_size: secret-h")
    problems = refused(broken)
    assert len(problems) >= 7
    assert not [secret for secret in SECRETS for problem in problems if secret in str(problem)]


@pytest.mark.parametrize(
    "text",
    [
        "api_key: *secret-anchor",
        "api_key: !secret-tag x",
        "a: 'secret-open",
        "secret: [",
        "a: @secret-at",
        "a: b: secret-c",
    ],
)
def test_a_syntax_error_does_not_quote_the_file(refused, text: str) -> None:
    assert "secret" not in " ".join(str(problem) for problem in refused(text))


def test_a_model_made_without_a_file_hides_its_input_too() -> None:
    with pytest.raises(ValidationError) as caught:
        Settings.model_validate({"providers": {"openai": {"api_key": "sk hidden", "weight": "sk hidden"}}})
    assert "hidden" not in str(caught.value)


def test_settings_are_frozen(configured) -> None:
    settings = configured("").settings
    with pytest.raises(ValidationError):
        settings.server.port = 1


def test_every_setting_is_described_and_has_a_default_or_is_required() -> None:
    for path, info in every_field(Settings):
        assert info.description, path
        assert info.description.endswith("."), path
        assert "\n" not in info.description, path


@pytest.mark.parametrize(
    ("name", "winner"),
    [("gpt-4o", "gpt-4o"), ("gpt-4o-mini", "gpt-4o-*"), ("gpt-3", "gpt-*"), ("other", "*"), ("[odd", "*")],
)
def test_the_most_specific_entry_speaks_for_a_name(name: str, winner: str) -> None:
    assert most_specific(name, ["*", "gpt-*", "gpt-4o-*", "gpt-4o"]) == winner


def test_no_entry_speaks_for_a_name_nothing_matches() -> None:
    assert most_specific("claude", ["gpt-*"]) is None


def test_limits_of_a_route_stand_where_all_limits_of_paths_do(configured) -> None:
    settings = configured(
        """
        limits: {routes: {/v1/rerank: {concurrent: 1}}}
        routes: [{path: /embeddings, handler: relay, limits: {tokens_per_minute: 2}}, {path: /health, handler: health}]
        """
    ).settings
    assert {path: rates.model_dump(exclude_defaults=True) for path, rates in settings.limits.routes.items()} == {
        "/v1/rerank": {"concurrent": 1},
        "/v1/embeddings": {"tokens_per_minute": 2},
    }


@pytest.mark.parametrize(
    ("path", "version", "full"),
    [
        ("/chat/completions", "v1", "/v1/chat/completions"),
        ("/v1/chat/completions", "v1", "/v1/chat/completions"),
        ("/completions", "v2", "/v2/completions"),
        ("/v2/completions", "v1", "/v2/completions"),
        ("/beta/completions", "beta", "/beta/completions"),
        ("/health", "v1", "/health"),
        ("/metrics/json", "v1", "/metrics/json"),
    ],
)
def test_a_version_stands_in_front_once(path: str, version: str, full: str) -> None:
    assert RouteSettings(path=path, handler="relay", version=version).full_path == full


def test_every_field_of_the_tree_is_reached() -> None:
    paths = [path for path, _ in every_field(Settings)]
    assert "providers.<name>.timeouts.idle" in paths
    assert "auth.keys[].budget.usd" in paths
    assert len(paths) == len(set(paths))
    assert sum(1 for _, info in every_field(Settings) if nested(info) is None) > 100
