"""Copies the picture of README.md out of lesson 00's stored outputs: `python tools/picture.py`."""

import base64
import json
from pathlib import Path

ROOT = Path(__file__).parents[1]
NOTEBOOK = ROOT / "notebooks" / "00_start_here.ipynb"
PICTURE = ROOT / "docs" / "the_map_while_it_learns.png"


def picture(notebook: dict) -> bytes:
    """The PNG that the cell `readme-picture` shows."""
    for cell in notebook["cells"]:
        if cell["id"] == "readme-picture":
            for output in cell["outputs"]:
                if "image/png" in output.get("data", {}):
                    return base64.b64decode(output["data"]["image/png"])
    raise SystemExit("The cell readme-picture of that notebook shows no picture.")


if __name__ == "__main__":
    PICTURE.write_bytes(picture(json.loads(NOTEBOOK.read_text(encoding="utf-8"))))
