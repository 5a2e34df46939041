"""Who asks for a change over HTTP, as the audit log tells it: the key's name, the address, and the request."""

from proxy.http.inbound import Inbound


def caller(inbound: Inbound) -> dict[str, str]:
    """The fields of an audit line that say who."""
    exchange = inbound.exchange
    return {
        "by": inbound.principal.name,
        "client_ip": exchange.client_ip,
        "request_id": exchange.id,
        "correlation_id": exchange.correlation_id,
    }
