"""
The query of a call that is relayed: it passes as it came, unless a name in it chooses a destination or carries a key.

It reads names, never values but that of `model`, and changes no byte: what a provider does not know, the provider
refuses.
"""

from urllib.parse import unquote_plus

from proxy.core.errors import ProxyError

REFUSED = {
    # Credentials. A client's own must not reach a provider, and one in a target stands in every log on the way.
    "access_key": "a key, as object stores call it",
    "access_token": "a bearer token in the query (RFC 6750 section 2.3)",
    "api_key": "a key, as Azure's `api-key` and others take it",
    "api_token": "a token, as Replicate and Cloudflare call it",
    "app_key": "a key of an application",
    "aws_access_key_id": "AWS, signature version 2 in the query",
    "auth": "a token (Firebase, REST authentication)",
    "auth_token": "a token (new-api, one-api)",
    "authorization": "the header of that name (ElevenLabs and others take it for WebSockets)",
    "bearer": "a bearer token",
    "bearer_token": "the same",
    "client_secret": "OAuth 2.0 (RFC 6749 section 2.3.1)",
    "id_token": "OpenID Connect (Core 1.0 section 3.2.2.5)",
    "jwt": "a JSON Web Token",
    "key": "Google APIs, system parameters; Gemini's `?key=`",
    "oauth_token": "Google APIs, system parameters",
    "ocp_apim_subscription_key": "Azure API Management, subscriptions",
    "password": "a credential (RFC 6749 section 4.3.2)",
    "private_key": "a credential",
    "refresh_token": "OAuth 2.0 (RFC 6749 section 6)",
    "secret": "a credential",
    "secret_key": "a credential",
    "session_token": "a credential for a while (AWS)",
    "sig": "Azure Storage, shared access signatures",
    "signature": "AWS, signature version 2 in the query; Google Cloud Storage, signed URLs",
    "subscription_key": "Azure API Management and Azure AI services: the query form of the header",
    "token": "a token (Hugging Face, Deepgram and others take it for WebSockets)",
    "x_amz_credential": "AWS, signature version 4 in the query",
    "x_amz_security_token": "AWS, signature version 4 in the query",
    "x_amz_signature": "AWS, signature version 4 in the query",
    "x_auth_token": "the header of that name (OpenStack)",
    # Destinations, by which other gateways let a request choose where it goes or with whose key (CVE-2024-6587).
    "api_base": "LiteLLM, request parameters",
    "api_url": "a base URL under another name (many relays)",
    "azure_endpoint": "OpenAI's SDKs for Azure",
    "base_url": "LiteLLM and OpenAI's SDKs",
    "custom_host": "Portkey, `x-portkey-custom-host`",
    "endpoint_url": "AWS's SDKs",
    "extra_body": "LiteLLM, request parameters",
    "extra_headers": "LiteLLM, request parameters",
    "headers": "LiteLLM, request parameters",
    "proxy_url": "where a relay is to pass the call on",
    "server_url": "Mistral's SDKs",
    "target_url": "Helicone, `Helicone-Target-Url`",
    "user_config": "LiteLLM, request parameters",
}
"""
Names that are refused, and why. They are compared unescaped, by their letters and digits alone (`apiKey`, `api-key`,
`API.KEY`), and without what stands in brackets or behind a NUL.
"""
ENDS = {
    "api_key": "a key under the name of its variable or header: OPENAI_API_KEY, x-api-key, xi-api-key, x-goog-api-key",
    "api_base": "an address under the name of its variable: OPENAI_API_BASE",
    "base_url": "an address under the name of its variable: OPENAI_BASE_URL",
}
"""Names are refused that end with these."""


def _letters(name: str) -> str:
    return "".join([each for each in name.lower() if each.isalnum()])


_REFUSED = frozenset(_letters(name) for name in REFUSED)
_ENDS = tuple(_letters(name) for name in ENDS)


def check(query: str) -> None:
    """`ProxyError` 400 `unsupported_parameter` when *query*, which may begin with `?`, names what is refused."""
    for name, _ in _pairs(query):
        plain = name.partition("[")[0].partition("\0")[0].strip()
        letters = _letters(plain)
        if letters in _REFUSED or letters.endswith(_ENDS):
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
