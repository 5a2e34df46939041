"""Broken configurations: each is refused at the right path, in words that say what to do."""

import pytest

from proxy.settings import SettingsError

KEYS = {"OPENAI_API_KEY": "sk-env"}

BROKEN = [
    # (name, configuration, path of a problem, part of its message)
    ("not a mapping", "- a\n- b", "line 1, column 1", "must be a mapping"),
    ("plain text", "hello", "line 1, column 1", "must be a mapping"),
    ("bad indentation", "server:\n  port: 1\n host: x", "line 3, column 2", "not valid YAML"),
    ("tab", "server:\n\tport: 1", "line 2, column 1", "not valid YAML"),
    ("unclosed quote", 'server: {host: "x', "line 1", "not valid YAML"),
    ("two documents", "server: {}\n---\nserver: {}", "line", "not valid YAML"),
    ("a tag", "server: !thing {}", "line 1, column 9", "not valid YAML"),
    ("duplicate key", "server:\n  port: 1\n  port: 2", "server.port", "lines 2 and 3"),
    ("duplicate provider", "providers:\n  ollama: {}\n  ollama: {}", "providers.ollama", "lines 2 and 3"),
    ("self-containing anchor", "server: &a {x: *a}", "", "anchor"),
    ("impossible date", "logging: {dir: 2024-13-45}", "", "quotes"),
    ("unknown section", "sever: {port: 1}", "sever", "did you mean `server`?"),
    ("unknown key", "circuit_breaker: {failure_treshold: 3}", "circuit_breaker.failure_treshold", "failure_threshold"),
    ("key of another section", "cors: {}", "cors", "did you mean `server.cors`?"),
    ("an llm section without a provider", "llm: {model: m}", "llm", "`providers`"),
    ("negative port", "server: {port: -1}", "server.port", "must be at least 0, not -1"),
    ("port too large", "server: {port: 65536}", "server.port", "must be at most 65535"),
    ("port as a word", "server: {port: http}", "server.port", "whole number"),
    ("duration without sense", "server: {read_timeout: soon}", "server.read_timeout", "duration"),
    ("negative duration", "server: {write_timeout: -5}", "server.write_timeout", "negative"),
    ("zero duration", "providers: {simulator: {timeouts: {idle: 0s}}}", "providers.simulator.timeouts.idle", "more"),
    ("size without sense", "server: {max_body_bytes: big}", "server.max_body_bytes", "size"),
    ("unknown level", "logging: {level: loud}", "logging.level", "'debug', 'info', 'warn' or 'error'"),
    ("unknown format", "logging: {format: xml}", "logging.format", "'auto', 'json' or 'text'"),
    ("section as text", "server: here", "server", "must be a mapping"),
    ("list as text", "providers: {simulator: {models: gpt-4}}", "providers.simulator.models", "list"),
    ("number as text", "providers: {simulator: {models: [3.5]}}", "providers.simulator.models[0]", "quotes"),
    ("number as a name", "models: {4: {}}", "models.4", "quotes"),
    ("both spellings", "circuitBreaker: {}\ncircuit_breaker: {}", "circuit_breaker", "given twice"),
    ("unknown type", "providers: {x: {type: magic}}", "providers.x.type", "'openai'"),
    ("no type", "providers: {mine: {}}", "providers.mine.type", "is required"),
    ("slash in a provider's name", "providers: {a/b: {type: simulator}}", "providers.a/b", "letters"),
    ("azure without address", "providers: {azure: {api_key: k}}", "providers.azure.base_url", "is required"),
    ("compatible without address", "providers: {x: {type: compatible}}", "providers.x.base_url", "is required"),
    ("address of another scheme", "providers: {ollama: {base_url: 'ftp://x'}}", "providers.ollama.base_url", "http"),
    ("address without a host", "providers: {ollama: {base_url: 'http:///x'}}", "providers.ollama.base_url", "http"),
    ("address with a bad port", "providers: {ollama: {base_url: 'http://x:y'}}", "providers.ollama.base_url", "http"),
    ("address with a user", "providers: {ollama: {base_url: 'http://u:p@x'}}", "providers.ollama.base_url", "user"),
    ("address with a query", "providers: {ollama: {base_url: 'http://x?k=v'}}", "providers.ollama.base_url", "query"),
    ("one key and several", "providers: {openai: {api_key: a, api_keys: [b]}}", "providers.openai", "keep one"),
    ("no provider key", "providers: {anthropic: {}}", "providers.anthropic.api_key", "${ANTHROPIC_API_KEY}"),
    ("empty provider key", "providers: {xai: {api_key: '${K}'}}", "providers.xai.api_key", "K is not set"),
    ("empty key in a list", "providers: {xai: {api_keys: ['${K}']}}", "providers.xai.api_keys[0]", "K is empty"),
    ("key with a line break", 'providers: {xai: {api_key: "a\\nb"}}', "providers.xai.api_key", "line break"),
    ("forbidden header", "providers: {simulator: {headers: {Host: x}}}", "providers.simulator.headers.Host", "gateway"),
    ("header with a break", 'providers: {simulator: {headers: {A: "x\\ny"}}}', "providers.simulator.headers.A", "line"),
    ("header name", "providers: {simulator: {headers: {'a b': x}}}", "providers.simulator.headers.a b", "header name"),
    ("target without provider", "models: {a: {targets: [gpt-4]}}", "models.a.targets[0]", "provider/model"),
    ("target without its provider", "models: {a: {targets: [nope/x]}}", "models.a.targets[0]", "no provider `nope`"),
    ("fallback circle", "models: {a: {fallbacks: [b]}, b: {fallbacks: [a]}}", "models.a.fallbacks", "a -> b -> a"),
    ("fallback to itself", "models: {a: {fallbacks: [a]}}", "models.a.fallbacks", "a -> a"),
    (
        "circle through a context fallback",
        "models: {a: {context_fallbacks: [b-1]}, 'b-*': {fallbacks: [a]}}",
        "models.a.context_fallbacks",
        "a -> b-1 -> a",
    ),
    ("client key without a name", "auth: {keys: [{key: hpx_k1_3f9a81c7d2e5}]}", "auth.keys[0].name", "is required"),
    ("empty client key", "auth: {keys: [{name: a, key: '${K}'}]}", "auth.keys[0].key", "K is empty"),
    (
        "same name",
        "auth: {keys: [{name: a, key: hpx_k1_3f9a81c7d2e5}, {name: a, key: hpx_l2_b07d44e9a6c1}]}",
        "auth.keys[1].name",
        "auth.keys[0]",
    ),
    (
        "same key",
        "auth: {keys: [{name: a, key: hpx_k1_3f9a81c7d2e5}, {name: b, key: hpx_k1_3f9a81c7d2e5}]}",
        "auth.keys[1].key",
        "auth.keys[0].key",
    ),
    (
        "admin key of a client",
        "auth: {keys: [{name: a, key: hpx_k1_3f9a81c7d2e5}], admin_key: hpx_k1_3f9a81c7d2e5}",
        "auth.admin_key",
        "auth.keys[0].key",
    ),
    ("open to the world", "server: {host: 0.0.0.0}\nstore: {url: ''}", "auth.keys", "secrets.token_urlsafe"),
    ("open to the world by IPv6", "server: {host: '::'}\nstore: {url: ''}", "auth.keys", "127.0.0.1"),
    ("reserved name", "auth: {keys: [{name: Admin, key: hpx_k1_3f9a81c7d2e5}]}", "auth.keys[0].name", "choose another"),
    ("placeholder key", "auth: {keys: [{name: a, key: changeme}]}", "auth.keys[0].key", "looks like a placeholder"),
    ("short admin key", "auth: {admin_key: 8fj3k}", "auth.admin_key", "fewer than 16 characters"),
    (
        "workers that cannot keep limits",
        "server: {workers: 2}\nlimits: {default: {requests_per_minute: 5}}",
        "state.url",
        "limits.default cannot be kept",
    ),
    (
        "workers that cannot keep a route's limits",
        "server: {workers: 2}\nroutes: [{path: /rerank, handler: relay, limits: {concurrent: 5}}]",
        "state.url",
        "limits.routes./v1/rerank cannot be kept",
    ),
    (
        "workers that cannot keep a key's budget",
        "server: {workers: 2}\nauth: {keys: [{name: a, key: hpx_k1_3f9a81c7d2e5, budget: {usd: 1}}]}",
        "state.url",
        "redis://127.0.0.1:6379/0",
    ),
    (
        "workers with one memory of the queue",
        "server: {workers: 2}\nqueue: {enabled: true, state_path: queue.json}",
        "queue.state_path",
        "remembers the queue of one process",
    ),
    ("missing certificate", "server: {tls: {cert_file: c, key_file: k}}", "server.tls.cert_file", "cannot be read"),
    ("no such folder", "server: {spool_dir: /no/such/folder}", "server.spool_dir", "no folder that can be written to"),
    ("half of tls", "server: {tls: {cert_file: c}}", "server.tls.key_file", "is required"),
    ("http3 without certificate", "server: {http3: {enabled: true}}", "server.http3.tls_cert_file", "is required"),
    ("http3 window", "server: {http3: {max_stream_receive_window: 0}}", "server.http3.max_stream_receive_window", "0"),
    ("http3 streams", "server: {http3: {max_bi_streams_concurrent: -1}}", "server.http3.max_bi_streams", "not -1"),
    ("origin with a path", "server: {cors: {allow_origins: ['http://x/y']}}", "server.cors.allow_origins[0]", "origin"),
    ("template", "processing: {request_templates: {chat: '{{.Nope}}'}}", "processing.request_templates.chat", ".Input"),
    (
        "template never closed",
        "processing: {request_templates: {chat: '{{range .Messages}}'}}",
        "processing.request_templates.chat",
        "{{end}}",
    ),
    ("store", "store: {url: 'mysql://u:pw@h'}", "store.url", "postgresql://"),
    ("state", "state: {url: 'http://h'}", "state.url", "redis://"),
    ("route without handler", "routes: [{path: /v1/x}]", "routes[0].handler", "is required"),
    ("route with an empty version", "routes: [{path: /x, handler: relay, version: ''}]", "routes[0].version", "empty"),
    ("route with an unknown handler", "routes: [{path: /x, handler: h}]", "routes[0].handler", "'completion'"),
    (
        "an operators' page without a key",
        "routes: [{path: /admin/keys, handler: health, middleware: [logging]}]",
        "routes[0].middleware",
        "leaves out auth; only pages of health and metrics may be open to all",
    ),
    (
        "a path where providers are asked without a key",
        "routes: [{path: /v2/completions, handler: completion, middleware: [logging]}]",
        "routes[0].middleware",
        "leaves out auth; only pages of health and metrics may be open to all",
    ),
    (
        "route described twice",
        "routes: [{path: /embeddings, handler: relay}, {path: /v1/embeddings, handler: relay}]",
        "routes[1].path",
        "is also the path of routes[0]",
    ),
    (
        "route limited twice",
        "{limits: {routes: {/v1/embeddings: {concurrent: 1}}}, "
        "routes: [{path: /embeddings, handler: relay, limits: {concurrent: 2}}]}",
        "routes[0].limits",
        "is also given as limits.routes./v1/embeddings",
    ),
    (
        "relay where no provider is asked",
        "routes: [{path: /embeddings, version: v2, handler: relay}]",
        "routes[0].handler",
        "below /v1/ only",
    ),
    ("route path", "routes: [{path: x, handler: completion}]", "routes[0].path", "begins with /"),
    (
        "budget",
        "auth: {keys: [{name: a, key: hpx_k1_3f9a81c7d2e5, budget: {usd: -1}}]}",
        "auth.keys[0].budget.usd",
        "more than 0",
    ),
    ("sample ratio", "tracing: {sample_ratio: 2}", "tracing.sample_ratio", "at most 1"),
]


@pytest.mark.parametrize(("text", "path", "words"), [case[1:] for case in BROKEN], ids=[case[0] for case in BROKEN])
def test_a_broken_configuration_is_refused_where_it_is_broken(refused, text, path, words) -> None:
    problems = refused(text, KEYS)
    assert any(problem.path.startswith(path) and words in problem.message for problem in problems), problems
    # One mistake, one problem: nothing that merely follows from it. A pair of files is two.
    assert len(problems) == 1 or path.endswith("cert_file"), problems


def test_all_problems_are_reported_at_once(refused) -> None:
    problems = refused(
        """
        server: {port: -1, prot: 1, host: 0.0.0.0}
        store: {url: ""}
        circuitBreaker: {maxRequests: none}
        providers:
          openai: {api_key: "${NOPE}", timeouts: {idle: soon}}
          azure: {api_key: k}
        models:
          a: {targets: [openai/x, nope/y], fallbacks: [a]}
        """
    )
    assert {problem.path for problem in problems} == {
        "server.port",
        "server.prot",
        "auth.keys",
        "circuit_breaker.max_requests",
        "providers.openai.timeouts.idle",
        "providers.openai.api_key",
        "providers.azure.base_url",
        "models.a.targets[1]",
        "models.a.fallbacks",
    }


def test_a_broken_provider_is_still_known_to_the_models(refused) -> None:
    problems = refused("providers: {x: {type: magic}}\nmodels: {a: {targets: [x/y]}}")
    assert [problem.path for problem in problems] == ["providers.x.type"]


def test_a_broken_reference_is_told_once(refused) -> None:
    problems = refused("server: {port: '${P'}\nproviders: {simulator: {models: ['${M']}}")
    assert [problem.path for problem in problems] == ["server.port", "providers.simulator.models[0]"]


def test_the_text_of_the_error_lists_every_problem(configured) -> None:
    with pytest.raises(SettingsError) as caught:
        configured("server: {port: -1}\nlogging: {format: xml}")
    assert str(caught.value).splitlines() == [
        "server.port: must be at least 0, not -1 (line 1, column 10)",
        "logging.format: must be 'auto', 'json' or 'text' (line 2, column 11)",
    ]


@pytest.mark.parametrize("address", ["localhost", ":8125", "h:", "h:0", "h:70000", "h:eight"])
def test_the_address_for_metrics_names_a_host_and_a_port(refused, address: str) -> None:
    (problem,) = refused(f"metrics: {{statsd: {{address: '{address}'}}}}")
    assert (problem.path, problem.message) == (
        "metrics.statsd.address",
        "must be host:port, such as 127.0.0.1:8125",
    )
