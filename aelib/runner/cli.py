"""The entry point of the `aelib` command: says what to install where its packages are missing."""

import sys
from collections.abc import Callable

main: Callable[..., None]

try:
    from aelib.runner.commands import main
except ModuleNotFoundError as error:
    missing = error.name or ""
    if missing.startswith("aelib"):
        raise

    def main() -> None:
        """Prints one line, and what to type."""
        print(f"`aelib` needs the package {missing}: pip install 'aelib[run]'", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
