"""The entry point of the `aelib` command: says what to install where its packages are missing."""

import sys


def main() -> None:
    if sys.argv[1:] == ["doctor"]:  # which tells of missing packages, and needs none
        from aelib.runner.doctor import main as examine

        sys.exit(examine())
    try:
        from aelib.runner.commands import main as command
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("aelib"):
            raise
        needed = f"`aelib` needs the package {error.name}: pip install 'aelib[run]'"
        print(needed, file=sys.stderr)
        sys.exit(2)
    command()


if __name__ == "__main__":
    main()
