"""The models that lessons show, trained for longer than a lesson could and kept with a card each.

`NAME.keras` is the model, `NAME.json` its card; `make weights` makes both.
"""

import json
from pathlib import Path
from typing import Any

import aelib
from aelib._checks import one_of

_FOLDER = Path(__file__).parent


def names() -> list[str]:
    """The names of the kept models, sorted."""
    return sorted(path.stem for path in _FOLDER.glob("*.keras"))


def card(name: str) -> dict[str, Any]:
    """What is known about a kept model.

    Args:
        name: one of `names()`.

    Returns:
        `name`, `about`, `lesson`, `dataset`, `recipe` (all that training it again takes), `date`,
        `versions`, `seconds`, `file` (`bytes` and `sha256`), and `measured`: on the test images,
        each a `value` of four digits and its `unit`.
    """
    return json.loads(_path(name, "json").read_text(encoding="utf-8"))


def load(name: str):
    """The kept model, without optimiser or loss; no network is needed.

    Args:
        name: one of `names()`.

    Example:

    ```python
    import aelib

    model = aelib.weights.load("mnist_2d")
    image = model.decode([[0.0, 0.0]])  # (1, 28, 28, 1)
    ```
    """
    return aelib.load_model(_path(name, "keras"))


def _path(name: str, suffix: str) -> Path:
    return _FOLDER / f"{one_of('name', name, names())}.{suffix}"
