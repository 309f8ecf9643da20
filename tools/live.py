"""Writes the live pictures that no lesson stores: `python tools/live.py`, needs the real MNIST.

Each is one file in docs/live/, which the site shows. Lessons store the others in their outputs.
"""

from pathlib import Path

import aelib
from aelib import data, plots, weights

FOLDER = Path(__file__).parents[1] / "docs/live"
EXAMPLES = (3, 8, 5, 0, 7, 4)  # digits to start from: the first of each
CODES = 800  # on the plane


def main() -> None:
    aelib.start(seed=0)
    test = data.load("mnist").test
    first = [(test.y == digit).argmax() for digit in EXAMPLES]
    model = weights.load("mnist_2d")
    pictures = {
        "draw": plots.drawing(
            model,
            test.x[first],
            codes=model.encode(test.x[:CODES]),
            labels=test.y[:CODES],
            title="Draw a digit: it becomes two numbers, and is drawn from them again",
        ),
        "denoise": plots.drawing(
            weights.load("mnist_denoiser"),
            test.x[first],
            noise=0.5,
            title="Draw a digit: noise covers it, and the network takes the noise away",
        ),
    }
    FOLDER.mkdir(exist_ok=True)
    for name, picture in pictures.items():
        (FOLDER / f"{name}.html").write_text(f"{picture}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
