"""Writes environment.yml from requirements.txt, so that there is one lock.

python tools/environment.py > environment.yml
"""

from pathlib import Path

ROOT = Path(__file__).parents[1]


def environment(lock: str) -> str:
    """The text of environment.yml for the text of requirements.txt."""
    pins = [line for line in lock.splitlines() if line.strip() and not line.startswith("#")]
    lines = [
        "# Made from requirements.txt by tools/environment.py; a test holds the two together.",
        "name: aelib",
        "dependencies:",
        "  - python=3.11",
        "  - pip",
        "  - pip:",
        *(f"      - {pin.replace(' ; ', '; ')}" for pin in pins),
        "      - -e .",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(environment((ROOT / "requirements.txt").read_text()), end="")
