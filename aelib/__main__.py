"""`python -m aelib` is the `aelib` command."""

from aelib.runner.cli import main

main()
