"""Copies the picture of README.md out of notebook 00's stored outputs.

python tools/picture.py
"""

import base64
import json
from pathlib import Path

ROOT = Path(__file__).parents[1]
NOTEBOOK = ROOT / "notebooks" / "00_start_here.ipynb"
PICTURE = ROOT / "docs" / "two_numbers.png"


def picture(notebook: dict) -> bytes:
    """The PNG that the cell `readme-picture` shows."""
    for cell in notebook["cells"]:
        if cell["id"] == "readme-picture":
            for output in cell["outputs"]:
                if "image/png" in output.get("data", {}):
                    return base64.b64decode(output["data"]["image/png"])
    raise SystemExit(f"No stored picture in the cell readme-picture of {NOTEBOOK.name}.")


if __name__ == "__main__":
    PICTURE.parent.mkdir(exist_ok=True)
    PICTURE.write_bytes(picture(json.loads(NOTEBOOK.read_text())))
    print(f"{PICTURE.relative_to(ROOT)} is notebook 00's")
