"""
Every refusal and failure a client can be told about, and the JSON it is told in.

The table `KINDS` is the whole list: a code, the HTTP answer that goes with it, and words that never repeat what the
client or the provider sent. docs/errors.md holds the same list for readers; a test compares the two.
"""

from dataclasses import dataclass
from typing import Any

import orjson


@dataclass(frozen=True, slots=True)
class Kind:
    """What a code stands for."""

    status: int
    type: str
    """OpenAI's `type` string."""
    hapax_type: str
    """The type name the native API documents; it travels in `details.hapax_type`."""
    message: str


_INVALID = "invalid_request_error"
_VALIDATION = "ValidationError"

KINDS: dict[str, Kind] = {
    # What the client can mend.
    "bad_request": Kind(400, _INVALID, _VALIDATION, "The request is not valid HTTP/1.1."),
    "invalid_json": Kind(400, _INVALID, _VALIDATION, "The body is not a JSON object this gateway accepts."),
    "invalid_multipart": Kind(400, _INVALID, _VALIDATION, "The multipart body cannot be read."),
    "missing_required_parameter": Kind(400, _INVALID, _VALIDATION, "A required parameter is missing."),
    "invalid_type": Kind(400, _INVALID, _VALIDATION, "A parameter has the wrong type."),
    "unsupported_parameter": Kind(
        400, _INVALID, _VALIDATION, "The request names a destination or a credential; only the operator chooses those."
    ),
    "function_description_too_large": Kind(400, _INVALID, _VALIDATION, "The function description exceeds 5 KiB."),
    "input_too_large": Kind(400, _INVALID, _VALIDATION, "The input exceeds 512 KiB."),
    "context_length_exceeded": Kind(400, _INVALID, _VALIDATION, "The prompt is too long for the model's context."),
    "missing_api_key": Kind(
        401,
        _INVALID,
        "AuthenticationError",
        "No API key was given. Send it as 'Authorization: Bearer KEY', 'X-API-Key: KEY' or 'api-key: KEY'.",
    ),
    "invalid_api_key": Kind(401, _INVALID, "AuthenticationError", "The API key is not valid."),
    "model_not_allowed": Kind(403, "permission_error", "AuthenticationError", "This key may not use that model."),
    "route_not_allowed": Kind(403, "permission_error", "AuthenticationError", "This key may not use that path."),
    "price_unknown": Kind(
        403,
        "permission_error",
        "AuthenticationError",
        "This key has a budget in US dollars and the model has no known price.",
    ),
    "admin_key_required": Kind(403, "permission_error", "AuthenticationError", "This path needs the admin key."),
    "origin_not_allowed": Kind(
        403, "permission_error", "AuthenticationError", "This origin is not among server.cors.allow_origins."
    ),
    "host_not_allowed": Kind(
        403,
        "permission_error",
        "AuthenticationError",
        "Without keys, this gateway answers only to names of this machine, such as localhost and 127.0.0.1.",
    ),
    "model_not_found": Kind(404, _INVALID, _VALIDATION, "No provider serves that model; GET /v1/models lists them."),
    "unknown_url": Kind(404, _INVALID, _VALIDATION, "There is nothing at this path."),
    "object_not_found": Kind(404, _INVALID, _VALIDATION, "No such object."),
    "method_not_allowed": Kind(405, _INVALID, _VALIDATION, "Method not allowed."),
    "key_not_found": Kind(404, _INVALID, _VALIDATION, "There is no key of that name."),
    "reload_refused": Kind(409, _INVALID, _VALIDATION, "The configuration as it is now cannot be put in force."),
    "key_exists": Kind(409, _INVALID, _VALIDATION, "There is a key of that name already."),
    "invalid_parameter": Kind(400, _INVALID, _VALIDATION, "A parameter has a value that is not allowed."),
    "request_timeout": Kind(408, _INVALID, _VALIDATION, "The request did not arrive in time."),
    "request_too_large": Kind(413, _INVALID, _VALIDATION, "The body is larger than this gateway accepts."),
    "unsupported_media_type": Kind(
        415, _INVALID, _VALIDATION, "The Content-Type is not one this path takes; send application/json."
    ),
    "unsupported_content_encoding": Kind(
        415, _INVALID, _VALIDATION, "Compressed request bodies are not accepted; send the body as it is."
    ),
    "expectation_failed": Kind(417, _INVALID, _VALIDATION, "The only expectation met here is 100-continue."),
    "upgrade_not_supported": Kind(
        426, _INVALID, _VALIDATION, "Only HTTP/1.1 is spoken at this path; no protocol upgrade."
    ),
    "too_early": Kind(
        425, _INVALID, _VALIDATION, "A call in early data could be another's copy of it; send it after the handshake."
    ),
    "headers_too_large": Kind(431, _INVALID, _VALIDATION, "The request line or headers are too large."),
    # What the operator, a provider or time can mend.
    "rate_limit_exceeded": Kind(429, "rate_limit_error", "RateLimitError", "The provider's rate limit is reached."),
    "insufficient_quota": Kind(429, "insufficient_quota", "RateLimitError", "The provider's quota is used up."),
    "internal_error": Kind(500, "server_error", "InternalError", "An internal error occurred."),
    "transfer_encoding_not_implemented": Kind(501, _INVALID, _VALIDATION, "The only transfer coding taken is chunked."),
    "upstream_connect_error": Kind(502, "server_error", "ProcessingError", "The provider could not be reached."),
    "upstream_protocol_error": Kind(502, "server_error", "ProcessingError", "The provider's answer was malformed."),
    "upstream_redirect": Kind(502, "server_error", "ProcessingError", "The provider answered with a redirect."),
    "upstream_auth_error": Kind(502, "server_error", "ProcessingError", "The provider refused the gateway's key."),
    "upstream_error": Kind(502, "server_error", "ProcessingError", "The provider failed."),
    "upstream_refused": Kind(502, "server_error", "ProcessingError", "The provider does not serve this call."),
    "upstream_truncated": Kind(502, "server_error", "ProcessingError", "The provider's answer broke off."),
    "upstream_unavailable": Kind(503, "server_error", "ProcessingError", "No provider can take this request now."),
    "provider_drained": Kind(
        503, "server_error", "ProcessingError", "The operator has taken every provider of this model out of service."
    ),
    "object_owner_unavailable": Kind(
        503, "server_error", "ProcessingError", "The provider that holds this object cannot be asked now."
    ),
    "queue_full": Kind(503, "server_error", "InternalError", "Queue is full; try again."),
    "queue_timeout": Kind(503, "server_error", "InternalError", "The request waited in the queue for too long."),
    "store_unavailable": Kind(
        503, "server_error", "InternalError", "The key store cannot be reached, and the key is not known yet."
    ),
    "overloaded": Kind(503, "server_error", "InternalError", "The gateway has all the calls it can carry; try again."),
    "shutting_down": Kind(503, "server_error", "InternalError", "The gateway is shutting down; try again."),
    "upstream_connect_timeout": Kind(504, "server_error", "ProcessingError", "The provider did not connect in time."),
    "upstream_timeout": Kind(504, "server_error", "ProcessingError", "The provider did not answer in time."),
    "http_version_not_supported": Kind(505, _INVALID, _VALIDATION, "Only HTTP/1.0 and HTTP/1.1 are spoken here."),
    "loop_detected": Kind(508, _INVALID, _VALIDATION, "The request has passed through this gateway already."),
}


class ProxyError(Exception):
    """A refusal or failure with its HTTP answer decided where it is raised; `web.answers` renders it."""

    def __init__(
        self,
        code: str,
        message: str | None = None,
        *,
        status: int | None = None,
        param: str | None = None,
        details: dict[str, Any] | None = None,
        headers: tuple[tuple[str, str], ...] = (),
        close: bool = False,
    ) -> None:
        """
        *code* is a key of `KINDS`. *message* replaces its words: our own, which must not contain anything the caller
        sent, or a provider's, for this client alone and in no log. *status* replaces the status of the code.
        *close* ends the connection after the answer: framing can no longer be trusted.
        """
        kind = KINDS[code]
        super().__init__(code)
        self.code = code
        self.kind = kind
        self.status = status or kind.status
        self.message = message or kind.message
        self.param = param
        self.details = details or {}
        self.headers = headers
        self.close = close

    def body(self, request_id: str) -> bytes:
        """The OpenAI error object, as JSON."""
        return orjson.dumps(
            {
                "error": {
                    "message": self.message,
                    "type": self.kind.type,
                    "param": self.param,
                    "code": self.code,
                    "request_id": request_id,
                    "details": {"hapax_type": self.kind.hapax_type, **self.details},
                }
            }
        )

    def generate_body(self, request_id: str) -> bytes:
        """The error of `/api/generate`: one sentence, beside `success`."""
        return orjson.dumps({"success": False, "error": self.message, "code": self.code, "request_id": request_id})

    def native_body(self, request_id: str) -> bytes:
        """The error object of the native API: its own type names and a numeric code."""
        return orjson.dumps(
            {
                "error": {
                    "type": self.kind.hapax_type,
                    "message": self.message,
                    "code": self.status,
                    "request_id": request_id,
                    "details": {"code": self.code, **self.details},
                }
            }
        )
