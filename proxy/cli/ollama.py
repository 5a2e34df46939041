"""
Whether an Ollama answers on this machine, asked once when nothing else says which provider to use.

One short request to the default address; where Ollama listens otherwise is a matter for the configuration.
"""

import http.client

ADDRESS = ("127.0.0.1", 11434)
PATIENCE = 0.3  # seconds


def ollama_answers(address: tuple[str, int] = ADDRESS) -> bool:
    """Whether GET /api/version is answered as Ollama answers it."""
    connection = http.client.HTTPConnection(*address, timeout=PATIENCE)
    try:
        connection.request("GET", "/api/version")
        response = connection.getresponse()
        return response.status == 200 and b'"version"' in response.read(4096)
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
