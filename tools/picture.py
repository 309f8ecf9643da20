"""The moving picture of README.md and the site, from kept weights: `python tools/picture.py`.

Left a walk over the map of lesson 00, in the middle the digit that the decoder draws there, right
a face of lesson 10 to which the vectors of a smile and of glasses are added. The walk is closed, so
the picture repeats without a jump. Beside it a still, for those who want nothing to move.
"""

from pathlib import Path

import aelib

aelib.start(0)

import matplotlib.pyplot as plt  # noqa: E402
import numpy as np  # noqa: E402
from matplotlib.font_manager import findfont  # noqa: E402
from PIL import Image, ImageDraw, ImageFont  # noqa: E402
from scipy.interpolate import CubicSpline  # noqa: E402

from aelib import data, latent, plots, weights  # noqa: E402
from aelib.data import faces  # noqa: E402
from aelib.explorer import densest  # noqa: E402

DOCS = Path(__file__).parents[1] / "docs"
PICTURE, STILL = DOCS / "two_numbers_and_a_smile.webp", DOCS / "two_numbers_and_a_smile_still.webp"
CARD, GAP, CAPTION = 260, 24, 40  # pixels
STEPS = 12  # from one digit to the next
MILLISECONDS = 130  # of each frame
ATTRIBUTES = ("smile", "glasses")
GREY = (128, 128, 128)  # of the captions: to be read on white and on black


def eased(t: np.ndarray) -> np.ndarray:
    """From 0 to 1, slow at both ends."""
    t = np.clip(t, 0, 1)
    return t * t * (3 - 2 * t)


def walk(codes: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """A closed smooth way past the densest place of each digit, which lingers there."""
    places = np.stack([densest(codes[labels == c], codes.std(axis=0)) for c in range(10)])
    away = places - places.mean(axis=0)
    places = places[np.arctan2(away[:, 1], away[:, 0]).argsort()]
    around = CubicSpline(range(11), [*places, places[0]], bc_type="periodic")
    whole, part = np.divmod(np.arange(10 * STEPS), STEPS)
    return around(whole + eased(part / STEPS))


def edits(count: int) -> np.ndarray:
    """How much of the smile and of the glasses each frame has: `(count, 2)`."""
    t = np.arange(count) / count
    out = eased((t - 0.8) / 0.16)
    return np.stack([eased((t - 0.12) / 0.2), eased((t - 0.44) / 0.18)], axis=1) - out[:, None]


def face(shares: np.ndarray) -> np.ndarray:
    """A person whom the model has not seen, edited as in lesson 10."""
    model, known = weights.load("faces_64"), faces.sample(2_000, seed=3, nuisance=0.3)
    codes = model.encode(faces.render(known, 64))
    vectors = [latent.attribute_vector(codes, known[name] >= faces.SMILING) for name in ATTRIBUTES]
    person = {name: values[[5]] for name, values in faces.sample(100, seed=2, nuisance=0.3).items()}
    person |= {name: np.zeros(1, "float32") for name in (*ATTRIBUTES, "beard")}
    return model.decode(model.encode(faces.render(person, 64)) + shares @ (1.2 * np.stack(vectors)))


def map_card(codes: np.ndarray, labels: np.ndarray, way: np.ndarray):
    """The map as a card, and the way over it in pixels of the card."""
    figure = plt.figure(figsize=(CARD / 105, CARD / 105), dpi=105, layout="none")
    axes = plots.code_map(figure.add_axes((0, 0, 1, 1)), codes, labels, title="")
    axes.axis("off")
    low, high = np.percentile(np.concatenate([codes, way]), [0.5, 99.5], axis=0)
    axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]))
    figure.canvas.draw()
    card = Image.fromarray(np.asarray(figure.canvas.buffer_rgba())).convert("RGB")
    across, up = axes.transData.transform(way).T
    plt.close(figure)
    return card, np.stack([across, CARD - up], axis=1)


def card_of(image: np.ndarray) -> Image.Image:
    grey = Image.fromarray(np.rint(255 * image[..., 0].clip(0, 1)).astype("uint8"))
    return grey.resize((CARD, CARD), Image.BICUBIC).convert("RGB")


def disc(size: int) -> Image.Image:
    """A black point with a white rim."""
    large = Image.new("RGBA", (4 * size, 4 * size))
    pen = ImageDraw.Draw(large)
    pen.ellipse((0, 0, 4 * size - 1, 4 * size - 1), "white")
    pen.ellipse((12, 12, 4 * size - 13, 4 * size - 13), "black")
    return large.resize((size, size), Image.LANCZOS)


def frame(cards: list[Image.Image], shares: np.ndarray) -> Image.Image:
    """Three cards with rounded corners on nothing, a caption under each."""
    page = Image.new("RGBA", (3 * CARD + 2 * GAP, CARD + CAPTION))
    rounded = Image.new("L", (CARD, CARD))
    ImageDraw.Draw(rounded).rounded_rectangle((0, 0, CARD - 1, CARD - 1), 10, 255)
    pen, font = ImageDraw.Draw(page), ImageFont.truetype(findfont("DejaVu Sans"), 15)
    lefts, line = [column * (CARD + GAP) for column in range(3)], CARD + CAPTION // 2 + 4
    for left, card in zip(lefts, cards, strict=True):
        page.paste(card, (left, 0), rounded)
        pen.rounded_rectangle((left, 0, left + CARD - 1, CARD - 1), 10, outline="#b0b0b0")
    for left, caption in zip(lefts, ("two numbers", "what the decoder draws"), strict=False):
        pen.text((left + CARD // 2, line), caption, GREY, font, "mm")
    for left, name, share in zip((lefts[2], lefts[2] + 124), ATTRIBUTES, shares, strict=True):
        pen.text((left, line), name, GREY, font, "lm")
        start = left + pen.textlength(name, font) + 8
        pen.rectangle((start, line - 4, start + 54, line + 4), "#b0b0b0")
        pen.rectangle((start, line - 4, start + 54 * share, line + 4), plots.BLUE)
    return page


def frames() -> list[Image.Image]:
    model, images = weights.load("mnist_2d"), data.load("mnist").test
    codes, labels = model.encode(images.x[:1_500]), images.y[:1_500]
    way = walk(codes, labels)
    plain, points = map_card(codes, labels, way)
    digits, shares = 1 - model.decode(way), edits(len(way))
    point, made = disc(20), []
    for place, digit, person, share in zip(points, digits, face(shares), shares, strict=True):
        card = plain.copy()
        card.paste(point, tuple(np.rint(place - 10).astype(int)), point)
        made.append(frame([card, card_of(digit), card_of(person)], share))
    return made


if __name__ == "__main__":
    first, *others = frames()
    moving = {"save_all": True, "append_images": others, "duration": MILLISECONDS, "loop": 0}
    first.save(PICTURE, quality=30, method=4, kmin=500, kmax=999, **moving)
    others[len(others) // 2].save(STILL, quality=80, method=6)
