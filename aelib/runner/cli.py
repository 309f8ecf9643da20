"""The entry point of the `aelib` command: says what to install where its packages are missing."""

import functools
import sys
from typing import Any


def _say_missing(package: str) -> None:
    print(f"`aelib` needs the package {package}: pip install 'aelib[run]'", file=sys.stderr)
    sys.exit(2)


main: Any
try:
    from aelib.runner import commands
except ModuleNotFoundError as error:
    if error.name is None or error.name.startswith("aelib"):
        raise
    main = functools.partial(_say_missing, error.name)
else:
    main = commands.main

if __name__ == "__main__":
    main()
