"""What the process that starts says to the terminal: that it serves, how to look at it and try it, or why it cannot."""

from proxy import __version__
from proxy.app import Gateway
from proxy.middleware.authenticator import TERMINAL_TOKEN
from proxy.settings import Loaded, Settings


def banner(loaded: Loaded, gateway: Gateway, url: str) -> str:
    """What is printed once the gateway answers: where it is, whom it asks, its page, and a line that streams."""
    settings = loaded.settings
    providers = ", ".join(settings.preferred_order)
    model = next(iter(settings.models), "MODEL")
    if gateway.upstreams.simulates:
        model = "sim-1"
    state = gateway.accounting
    key = "" if state.principals.open else '-H "X-API-Key: $KEY" '
    lines = [
        f"hapax {__version__} listens on {url}",
        f"  configuration  {loaded.source}",
        f"  providers      {providers}",
    ]
    if gateway.served.udp_port:
        lines.append(f"  HTTP/3         at UDP port {gateway.served.udp_port}")
    if settings.store.url.get_secret_value():
        lines.append(f"  store          {settings.store.url}")
    if state.principals.open:
        lines.append("  keys           none: any program on this machine may call, with any key; a web page only where")
        lines.append(
            "                 server.cors.allow_origins names it, and no name but this machine's own is answered"
        )
        if state.store is not None and not state.principals.has_admin:
            lines.append(f"  admin          changes below /admin need this token: {TERMINAL_TOKEN}")
    elif state.watch is not None and not state.watch.reachable:
        lines.append("  keys           the store cannot be read, see the log: until it can, only keys of the file work")
    elif not len(state.principals):
        lines.append("  keys           none that works; make one with `hapax keys create NAME`")
    if settings.ui.enabled:
        lines += ["", f"Look at it: {url}/ui"]
    lines += [
        "",
        "Try it:",
        "",
        f"  curl -N {url}/v1/chat/completions {key}-H 'Content-Type: application/json' \\",
        f'    -d \'{{"model": "{model}", "stream": true, "messages": [{{"role": "user", "content": "Hello"}}]}}\'',
        "",
        f"Or set base_url={url}/v1 in any OpenAI client. Stop with Ctrl-C.",
    ]
    return "\n".join(lines)


def no_address(settings: Settings, error: OSError) -> str:
    """The sentence for an address that cannot be had."""
    return (
        f"cannot listen on {settings.server.host}:{settings.server.port}: {error.strerror or error}. "
        "Choose another with --port, or stop what listens there."
    )


def no_logs(error: OSError) -> str:
    """The sentence for logs that cannot be opened."""
    return f"logging.dir: {error.strerror or error}; name a directory that can be written."
