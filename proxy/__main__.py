"""`python -m proxy`: the same as the `hapax` command."""

from proxy.cli import main

main()
