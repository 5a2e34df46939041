"""What another configuration changes, what of it waits for a restart, and where each value came from."""

from pathlib import Path
from typing import Any

import pytest

from proxy.settings import Loaded, Settings, SettingsError, load
from proxy.settings.reload import changed, combined, held_back, waiting

KEYS = {"auth": {"keys": [{"name": "a", "key": "hpx_k1_3f9a81c7d2e5"}]}}


def settings(**sections: Any) -> Settings:
    return Settings.model_validate(sections)


@pytest.mark.parametrize(
    ("before", "after", "fixed"),
    [
        ({}, {}, []),
        ({}, {"server": {"port": 1}}, ["server.port"]),
        ({}, {"server": {"host": "::1", "read_timeout": "1s"}}, ["server.host"]),
        ({}, {"store": {"url": "", "retention": "30d"}}, ["store.url"]),
        ({}, {"state": {"url": "redis://a"}}, ["state.url"]),
        ({}, {"server": {"workers": 2}}, ["server.workers"]),
        ({"server": {"workers": 2}}, {"server": {"workers": 5}}, []),
        ({"server": {"workers": 2}}, {}, ["server.workers"]),
        ({}, {"metrics": {"port": 9090}, "queue": {"enabled": True}, "logging": {"dir": "logs"}}, []),
    ],
)
def test_what_sockets_and_calls_under_way_are_bound_to_waits(
    before: dict[str, Any], after: dict[str, Any], fixed: list[str]
) -> None:
    old, new = settings(**before), settings(**after)
    assert waiting(old, new) == fixed
    held = held_back(old, new)
    assert waiting(old, held) == []
    # Nothing else is held back.
    assert [path for path in changed(held, new) if path not in fixed] == []


def test_every_value_that_differs_is_named() -> None:
    before = settings(providers={"a": {"type": "compatible", "base_url": "http://a", "api_keys": ["k1", "k2"]}})
    after = settings(
        providers={
            "a": {"type": "compatible", "base_url": "http://a", "api_keys": ["k1", "k3"]},
            "b": {"type": "simulator"},
        },
        server={"tls": {"cert_file": "c", "key_file": "k"}},
        models={"m": {"targets": ["a/x"]}},
    )
    found = changed(before, after)
    assert {"providers.a.api_keys[1]", "providers.b.type", "server.tls.cert_file", "models.m.targets"} <= set(found)
    assert "providers.a.api_keys[0]" not in found
    assert changed(after, after) == []


def test_a_half_that_makes_no_sense_with_what_stays_is_refused() -> None:
    before = Loaded(settings(server={"host": "0.0.0.0"}, store={"url": ""}, **KEYS), "file", None, [])
    after = Loaded(settings(server={"host": "127.0.0.1"}, store={"url": ""}), "file", None, [])
    with pytest.raises(SettingsError, match=r"server\.host stays as it was until a restart"):
        combined(before, after)


def test_what_waits_keeps_its_value_and_its_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    file = Path("hapax.yaml")
    file.write_text("server: {port: 8081}\nproviders: {simulator: {}}\n")
    before = load(environ={})
    file.write_text("providers: {simulator: {}}\n\nserver: {read_timeout: 5s,\n  port: 8082}\n")
    both, fixed = combined(before, load(environ={}))
    assert fixed == ["server.port"]
    assert (both.settings.server.port, both.settings.server.read_timeout) == (8081, 5.0)
    assert (both.sources["server.port"], both.sources["server.read_timeout"]) == ("hapax.yaml:1", "hapax.yaml:3")


def test_every_value_tells_where_it_came_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("admin").write_text("hpx_admin_3f9a81c7d2e5aa\n")
    Path("hapax.yaml").write_text(
        "server:\n"
        "  port: 8081\n"
        "  readTimeout: 5s\n"
        "providers:\n"
        "  openai: {models: [a, b]}\n"
        "  local-llama:\n"
        "    type: compatible\n"
        '    base_url: "http://${HOST_A}:${PORT_A:-1}"\n'
        '    headers: {X-Key: "${file:admin}"}\n'
        'auth: {admin_key: "${file:admin}"}\n'
        "routes:\n"
        "  - {path: /v1/embeddings, handler: relay, limits: {requests_per_minute: 5}}\n"
    )
    environ = {
        "OPENAI_API_KEY": "sk-proj-1",
        "HOST_A": "127.0.0.1",
        "HAPAX_SERVER__MAX_REQUESTS": "2",
        "HAPAX_PROVIDERS__LOCAL_LLAMA__WEIGHT": "3",
        "LOG_LEVEL": "error",
    }
    loaded = load(environ=environ, overrides={"server.host": "127.0.0.1"})
    told = {path: source for path, source in loaded.sources.items() if not path.startswith(("routes", "limits"))}
    assert told == {
        "server.host": "command line",
        "server.port": "hapax.yaml:2",
        "server.max_requests": "HAPAX_SERVER__MAX_REQUESTS",
        "server.read_timeout": "hapax.yaml:3",
        "providers.openai.api_key": "OPENAI_API_KEY",
        "providers.openai.models": "hapax.yaml:5",
        "providers.local-llama.type": "hapax.yaml:7",
        "providers.local-llama.base_url": "hapax.yaml:8 (HOST_A, PORT_A)",
        "providers.local-llama.headers.X-Key": "hapax.yaml:9 (file:admin)",
        "providers.local-llama.weight": "HAPAX_PROVIDERS__LOCAL_LLAMA__WEIGHT",
        "auth.admin_key": "hapax.yaml:10 (file:admin)",
        "logging.level": "LOG_LEVEL",
    }
    assert loaded.sources["routes[0].limits.requests_per_minute"] == "hapax.yaml:12"
    assert loaded.sources["limits.routes./v1/embeddings.requests_per_minute"] == "routes"
    assert list(loaded.files) == ["hapax.yaml", "admin"]


def test_what_the_environment_or_nothing_named_says_so() -> None:
    assert load(environ={"OPENAI_API_KEY": "sk-proj-1"}).sources == {
        "providers.openai.type": "OPENAI_API_KEY",
        "providers.openai.api_key": "OPENAI_API_KEY",
    }
    assert load(environ={}).sources == {"providers.simulator.type": "the embedded simulator"}


def test_a_configuration_that_is_refused_tells_which_files_it_was_read_from(tmp_path: Path) -> None:
    file, prices = tmp_path / "hapax.yaml", tmp_path / "prices.yaml"
    file.write_text(
        f'store: {{prices: {prices}}}\nauth: {{admin_key: "${{file:{tmp_path}/admin}}"}}\nserver: {{port: -1}}\n'
    )
    with pytest.raises(SettingsError) as refused:
        load(file, environ={})
    assert refused.value.files.keys() == {str(file), str(prices), f"{tmp_path}/admin"}
    # Of those that can be read it is known what they hold.
    assert [path for path, digest in refused.value.files.items() if digest] == [str(file)]
