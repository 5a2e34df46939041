"""How a test of operators' mistakes sees them: `hapax check` on a file, in a directory without anything else."""

from pathlib import Path

from typer.testing import CliRunner

from proxy.cli.command import app

NO_STORE = "\nstore: {url: ''}\n"
REAL_LOOK = "9f3c81e7d2b54a60c7"
"""A key that looks like one."""
KNOWN = "providers: {a: {type: compatible, base_url: 'http://a/v1', models: [m, 'big-*']}}\n"
"""A provider whose models are all named."""


def checked(content: str | bytes) -> tuple[int, str]:
    """Exit code of `hapax check` on a file, and what it says to the operator."""
    Path("mine.yaml").write_bytes(content if isinstance(content, bytes) else content.encode())
    result = CliRunner().invoke(app, ["check", "--config", "mine.yaml"], prog_name="hapax")
    assert "Traceback" not in result.output
    return result.exit_code, result.stderr


def one_provider(setting: str) -> str:
    """A file with one provider called p."""
    return f"providers: {{p: {{{setting}}}}}{NO_STORE}"
