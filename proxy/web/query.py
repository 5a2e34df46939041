"""
The query of a call that is relayed: it passes as it came, unless a name in it chooses a destination or carries a key.

It reads names, never values but that of `model`, and changes no byte: what a provider does not know, the provider
refuses.
"""

from urllib.parse import unquote_plus

from proxy.errors import ProxyError

REFUSED = {
    # Credentials. A client's own must not reach a provider, and one that stands in a target stands in everyone's logs.
    "access_token": "a bearer token in the query (RFC 6750 section 2.3)",
    "api_key": "a key, as Azure's `api-key` and others take it",
    "apikey": "the same in one word (OpenSearch, Elastic, many relays)",
    "auth": "a token (Firebase, REST authentication)",
    "auth_token": "a token (new-api, one-api)",
    "authorization": "the header of that name (ElevenLabs and others take it for WebSockets)",
    "bearer": "a bearer token",
    "client_secret": "OAuth 2.0 (RFC 6749 section 2.3.1)",
    "key": "Google APIs, system parameters; Gemini's `?key=`",
    "oauth_token": "Google APIs, system parameters",
    "ocp_apim_subscription_key": "Azure API Management, subscriptions",
    "openai_api_key": "a key under the name of its variable",
    "password": "a credential (RFC 6749 section 4.3.2)",
    "secret": "a credential",
    "subscription_key": "Azure API Management and Azure AI services: the query form of the header",
    "token": "a token (Hugging Face, Deepgram and others take it for WebSockets)",
    "x_amz_credential": "AWS, signature version 4 in the query",
    "x_amz_security_token": "AWS, signature version 4 in the query",
    "x_amz_signature": "AWS, signature version 4 in the query",
    "x_api_key": "the header of that name (Anthropic)",
    "x_goog_api_key": "the header of that name (Gemini)",
    "xi_api_key": "the header of that name (ElevenLabs)",
    # Destinations, by which other gateways let a request choose where it goes or with whose key (CVE-2024-6587).
    "api_base": "LiteLLM, request parameters",
    "base_url": "LiteLLM and OpenAI's SDKs",
    "baseurl": "the same in one word",
    "custom_host": "Portkey, `x-portkey-custom-host`",
    "extra_headers": "LiteLLM, request parameters",
    "openai_api_base": "an address under the name of its variable",
    "target_url": "Helicone, `Helicone-Target-Url`",
    "user_config": "LiteLLM, request parameters",
}
"""
Names that are refused, and why. They are compared without case, with `-` as `_`, unescaped, and without what stands in
brackets behind them.
"""


def check(query: str) -> None:
    """`ProxyError` 400 `unsupported_parameter` when *query*, which may begin with `?`, names what is refused."""
    for name, _ in _pairs(query):
        plain = name.partition("[")[0].strip()
        if plain.lower().replace("-", "_") in REFUSED:
            raise ProxyError(
                "unsupported_parameter",
                "The query names a destination or carries a credential: only the operator chooses those, and a key of "
                "this gateway goes in a header.",
                param=plain,
            )


def models(query: str) -> list[str]:
    """The values of `model` in *query*: some servers prefer it to the body's."""
    return [unquote_plus(value) for name, value in _pairs(query) if name == "model"]


def _pairs(query: str) -> list[tuple[str, str]]:
    """Names, unescaped, and values, as they came. A semicolon separates too: some servers still read it so."""
    pairs = []
    for part in query.removeprefix("?").replace(";", "&").split("&"):
        name, _, value = part.partition("=")
        pairs.append((unquote_plus(name), value))
    return pairs
