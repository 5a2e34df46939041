"""
Provider keys that are none: what manuals and examples put in a key's place, and keys of another vendor.

Tables with the reason of each row, and two looks at a key; no word repeats it. Client keys are judged in secrets.py.
"""

import re

SHAPES: tuple[tuple[str, str], ...] = (
    # (of a whole key, in lower case; the reason). A key of 160 random characters fits by chance less than once in 10^4.
    (r"<.*>|\[.*\]|\{.*\}|\(.*\)", "it stands in brackets"),
    (r".*(\.{3}|\u2026).*", "it has dots in place of the rest"),
    (r".*(x{5}|\*{3}|#{4}|_{4}|0{9}).*|(\w+-)*x{3,}", "one letter fills it"),
    (r".*(123456789|abcdefgh).*|(\w+-)*(1234|12345|123456|abc123|abcdef?)", "it counts or spells"),
    (
        r".*(changeme|change[-_ ]me|replace[-_ ]?(me|this|with)|fill[-_ ]?(me|in)|fixme|todo[-_ ]).*",
        "it says that it is to be replaced",
    ),
    (
        r"(.*[-_ .:/])?(your|my|insert|enter|paste|put|add)[-_ ]?"
        r"(own|real|actual|openai|anthropic|gemini|azure|groq|api|key|secret|token|provider|personal|private|the)s?"
        r"([-_ .].*|key|token)?",
        "it says what belongs there",
    ),
    (
        r".*(api[-_ ]?key[-_ ]?here|key[-_ ]here|token[-_ ]here|goes[-_ ]here|secret[-_ ]?key|api[-_ ]key).*",
        "it says what belongs there",
    ),
    (
        r".*(placeholder|example|redacted|removed-for|not[-_ ]a[-_ ]real|notreal|not-used|unused).*",
        "it says that it is none",
    ),
    (
        r"(sk-)?(test|fake|dummy|sample|demo|mock|foo|bar|baz|invalid)([-_].*|key|token|[0-9]*)?",
        "it is a word for trying things out",
    ),
    (
        r"(sk-)?(none|null|nil|undefined|empty|n/a|na|tbd|todo|key|apikey|api|secret|token|password|string|value|no-?key|no-?key-?required"
        r"|not-?needed|not-?required|anything|whatever|lm-studio|ollama|vllm|llama-?cpp|hidden|proxy|sk|false|true|bearer)",
        "it is a word, not a key",
    ),
)
_SHAPES = tuple((re.compile(shape, re.DOTALL), reason) for shape, reason in SHAPES)
_A_NAME = re.compile(
    r"(?!(YOUR|MY|INSERT|ENTER|PASTE|PUT|ADD)_)[A-Z][A-Z0-9]*(_[A-Z0-9]+)*_(KEY|TOKEN|SECRET|PASSWORD|CREDENTIALS?)(_?[A-Z0-9]+)?"
)

PREFIXES: tuple[tuple[str, str], ...] = (
    # (how its keys begin, whose they are); from the vendors' own consoles and secret scanners:
    # https://docs.github.com/code-security/secret-scanning/introduction/supported-secret-scanning-patterns
    ("sk-ant-", "anthropic"),
    ("sk-or-", "openrouter"),
    ("sk-proj-", "openai"),
    ("sk-svcacct-", "openai"),
    ("AIza", "gemini"),
    ("xai-", "xai"),
    ("gsk_", "Groq"),
    ("hf_", "Hugging Face"),
    ("nvapi-", "NVIDIA"),
    ("pplx-", "Perplexity"),
    ("csk-", "Cerebras"),
    ("fw_", "Fireworks"),
    ("r8_", "Replicate"),
    ("ghp_", "GitHub"),
    ("github_pat_", "GitHub"),
    ("hpx_", "this gateway's own clients"),
)


def placeholder(key: str) -> str | None:
    """Why *key* is no key, as half a sentence; None where nothing speaks against it."""
    if _A_NAME.fullmatch(key):
        return f"it is the name of a variable, whose value ${{{key}}} would be"
    lowered = key.lower()
    return next((reason for shape, reason in _SHAPES if shape.fullmatch(lowered)), None)


def owner(key: str) -> str | None:
    """Whose keys begin like *key*: a provider type or a vendor's name; None where that cannot be told."""
    return next((whose for prefix, whose in PREFIXES if key.startswith(prefix)), None)
