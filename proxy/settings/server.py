"""
The `server` section: where the gateway listens and what it lets a client take.

It does not open anything; whether the named certificate files exist is asked in checks.py.
"""

import ipaddress
import re
from typing import Annotated

from pydantic import AfterValidator, Field

from proxy.settings.values import Duration, DurationOrZero, Section, Size, Text, duration, section, size


def _origin(origin: str) -> str:
    if origin != "*" and not re.fullmatch(r"[a-z][a-z0-9+.-]*://[^/?#@\s]+", origin):
        raise ValueError('must be an origin such as https://app.example.com, without a path, or "*"')
    return origin


def _host(host: str) -> str:
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    try:
        ipaddress.ip_address(bare)
    except ValueError:
        pass
    else:
        return host
    if host == "*":
        raise ValueError("must be 0.0.0.0 for all addresses, or :: with IPv6")
    if "/" in host:
        raise ValueError("must be an address alone, such as 127.0.0.1, without http:// and without a path")
    if re.search(r":[0-9]*$", host):
        raise ValueError("must be an address alone; the port is `server.port`")
    if not re.fullmatch(r"[A-Za-z0-9_.-]+", host):
        raise ValueError("must be an address or a name of this machine, such as 127.0.0.1 or localhost")
    return host


Host = Annotated[Text, AfterValidator(_host)]
Port = Annotated[int, Field(ge=0, le=65535)]
Origin = Annotated[str, AfterValidator(_origin)]


class Tls(Section):
    """TLS on the listener; the files are read again when they change."""

    cert_file: Text = Field(description="PEM file with the certificate and its chain.")
    key_file: Text = Field(description="PEM file with the private key, without a passphrase.")


class Http3(Section):
    """The HTTP/3 listener beside the HTTP/1.1 one; it needs the extra `http3`, and one worker serves it."""

    enabled: bool = Field(False, description="Listen for HTTP/3 as well.")
    port: Port = Field(443, description="UDP port; 0 lets the system choose.")
    tls_cert_file: str = Field("", description="PEM file with the certificate and its chain.")
    tls_key_file: str = Field("", description="PEM file with the private key, without a passphrase.")
    idle_timeout: DurationOrZero = duration(
        "30s", "A connection silent for this long is closed, unless a call is under way on it. 0s: 30s."
    )
    max_bi_streams_concurrent: int = Field(
        100, ge=0, description="Requests a client may have open on a connection; more of them wait. 0: 100."
    )
    max_uni_streams_concurrent: int = Field(
        100, ge=0, description="Unidirectional streams a client may have open, of which HTTP/3 needs 3. 0: 100."
    )
    max_stream_receive_window: Size = size("6MiB", "Bytes of one request that may be on their way, not read yet.")
    max_connection_receive_window: Size = size("15MiB", "The same of all requests of one connection.")
    enable_0rtt: bool = Field(True, description="Accept early data from clients that come back.")
    max_0rtt_size: int = Field(
        16384, ge=0, le=1048576, description="Early data accepted of a connection, in bytes; the rest comes later."
    )
    allow_0rtt_replay: bool = Field(
        False, description="Serve early data that may be a copy, whatever it asks; otherwise only GET, HEAD, OPTIONS."
    )
    udp_receive_buffer_size: Size = size("8MiB", "Receive buffer of the UDP socket, as far as the system allows.")


class Cors(Section):
    """Which browser applications may call; off until an origin is listed."""

    allow_origins: tuple[Origin, ...] = Field((), description='Origins that may call, or "*"; empty: none.')
    allow_methods: tuple[Text, ...] = Field(
        ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"), description="Methods a preflight allows."
    )
    allow_headers: tuple[Text, ...] = Field(
        (
            "accept",
            "anthropic-*",
            "api-key",
            "authorization",
            "baggage",
            "cache-control",
            "content-type",
            "http-referer",
            "idempotency-key",
            "last-event-id",
            "openai-*",
            "traceparent",
            "tracestate",
            "user-agent",
            "x-api-key",
            "x-client-request-id",
            "x-correlation-id",
            "x-csrf-token",
            "x-goog-api-client",
            "x-goog-api-key",
            "x-ms-useragent",
            "x-openrouter-*",
            "x-request-id",
            "x-requested-with",
            "x-stainless-*",
            "x-title",
        ),
        description="Request headers a preflight allows; a trailing * stands for any ending.",
    )
    expose_headers: tuple[Text, ...] = Field(
        (
            "age",
            "content-disposition",
            "openai-processing-ms",
            "openai-version",
            "request-id",
            "retry-after",
            "retry-after-ms",
            "x-hapax-attempts",
            "x-hapax-cache",
            "x-hapax-provider",
            "x-hapax-queue-position",
            "x-ratelimit-limit",
            "x-ratelimit-limit-requests",
            "x-ratelimit-limit-tokens",
            "x-ratelimit-remaining",
            "x-ratelimit-remaining-requests",
            "x-ratelimit-remaining-tokens",
            "x-ratelimit-reset",
            "x-ratelimit-reset-requests",
            "x-ratelimit-reset-tokens",
            "x-request-id",
            "x-response-time",
            "x-should-retry",
            "x-upstream-request-id",
        ),
        description="Response headers a script may read.",
    )
    max_age: DurationOrZero = duration("600s", "How long a browser may keep a preflight's answer.")


def _network(text: str) -> str:
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise ValueError("must be an address or a network such as 10.0.0.0/8") from None
    return text


Network = Annotated[str, AfterValidator(_network)]


class Server(Section):
    """Where the gateway listens, and its limits towards clients."""

    host: Host = Field("127.0.0.1", description="Address to listen on; anything but loopback needs auth.keys.")
    port: Port = Field(8080, description="TCP port; 0 lets the system choose.")
    workers: int = Field(
        1, ge=1, le=1024, description="Worker processes; more than one are watched, and replaced when they die."
    )
    worker_timeout: Duration = duration("15s", "A worker whose event loop stands still for this long is replaced.")
    read_timeout: Duration = duration("30s", "A request's head and body must have arrived within this.")
    write_timeout: Duration = duration(
        "45s", "A client that accepts no byte for this long is dropped; never a limit on a stream's length."
    )
    max_header_bytes: Size = size("64KiB", "Largest request head.")
    max_body_bytes: Size = size("32MiB", "Largest JSON body; uploads are streamed.")
    max_buffered: Size = size(
        "512MiB", "JSON bodies of all calls under way together; what does not fit waits, for read_timeout, then 503."
    )
    max_spool_bytes: Size = size(
        "256MiB", "Of a form whose model stands behind its files, as much is kept until it comes; beyond: 413."
    )
    spool_dir: str = Field("", description="Folder for what of that exceeds 1 MiB; empty: the system's temporary one.")
    drain_delay: DurationOrZero = duration(
        "5s", "After SIGTERM, keep accepting for this long while /ready says no, so that load balancers can turn away."
    )
    shutdown_timeout: DurationOrZero = duration("30s", "After that delay, streams may finish for this long.")
    max_requests: int = Field(
        0, ge=0, description="Calls under way at once; more are refused with 503. 0: what file descriptors allow."
    )
    max_connections: int = Field(
        0,
        ge=0,
        description="Connections of clients at once; beyond, the one that has waited longest without a request makes "
        "room, or else the new one is closed. 0: what file descriptors allow.",
    )
    max_connections_per_address: int = Field(
        0, ge=0, description="Connections of one client address, unless it is a trusted proxy's. 0: no limit."
    )
    trusted_proxies: tuple[Network, ...] = Field(
        (),
        description="Addresses or networks whose X-Forwarded-For is believed: the last hop in it that is none of them "
        "is the client.",
    )
    tls: Tls | None = Field(None, description="Serve HTTPS with this certificate; omitted: plain HTTP.")
    http3: Http3 = section(Http3, "HTTP/3 beside HTTP/1.1.")
    cors: Cors = section(Cors, "Calls from browser applications.")
