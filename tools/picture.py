"""Copies the picture of README.md out of notebook 00's stored outputs.

python tools/picture.py
"""

import base64
import json
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
PICTURE = ROOT / "docs" / "two_numbers.png"


def picture(notebook: dict) -> bytes:
    """The PNG that the cell `readme-picture` shows."""
    for cell in notebook["cells"]:
        if cell["id"] == "readme-picture":
            for output in cell["outputs"]:
                if "image/png" in output.get("data", {}):
                    return base64.b64decode(output["data"]["image/png"])
    raise SystemExit("The cell readme-picture of that notebook shows no picture.")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit("Use: python tools/picture.py EXECUTED_NOTEBOOK")
    PICTURE.parent.mkdir(exist_ok=True)
    PICTURE.write_bytes(picture(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))))
