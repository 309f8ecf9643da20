"""The moving picture of README.md and the site, from kept weights: `python tools/picture.py`.

Left a walk over the map of lesson 00, in the middle the digit that the decoder draws there, right
a face of lesson 10 to which the vectors of a smile and of glasses are added. The walk is closed, so
the picture repeats without a jump. Beside it a still, for those who want nothing to move.
"""

import struct
from collections.abc import Iterator
from io import BytesIO
from itertools import pairwise
from pathlib import Path

import aelib

aelib.start(0)

import matplotlib.pyplot as plt  # noqa: E402
import numpy as np  # noqa: E402
from matplotlib.font_manager import findfont  # noqa: E402
from PIL import Image, ImageChops, ImageDraw, ImageFont  # noqa: E402
from scipy.interpolate import CubicSpline  # noqa: E402

from aelib import data, latent, plots, weights  # noqa: E402
from aelib._page import densest  # noqa: E402
from aelib.data import faces  # noqa: E402

DOCS = Path(__file__).parents[1] / "docs"
PICTURE, STILL = DOCS / "two_numbers_and_a_smile.webp", DOCS / "two_numbers_and_a_smile_still.webp"
CARD, GAP, CAPTION = 320, 28, 48  # pixels
FACE = 2 * (CARD + GAP)  # where the third card begins
LINE = CARD + 28  # where the captions stand
BARS = [(FACE + left, LINE - 5, FACE + left + 66, LINE + 5) for left in (66, 248)]
STEPS = 14  # from one digit to the next
MILLISECONDS = 110  # of each frame
QUALITY = 55  # of 100
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
    figure = plt.figure(figsize=(CARD / 125, CARD / 125), dpi=125, layout="none")
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
    ImageDraw.Draw(rounded).rounded_rectangle((0, 0, CARD - 1, CARD - 1), 12, 255)
    pen, font = ImageDraw.Draw(page), ImageFont.truetype(findfont("DejaVu Sans"), 18)
    lefts = [column * (CARD + GAP) for column in range(3)]
    for left, card in zip(lefts, cards, strict=True):
        page.paste(card, (left, 0), rounded)
        pen.rounded_rectangle((left, 0, left + CARD - 1, CARD - 1), 12, outline="#b0b0b0")
    captions = ("two numbers", "what the decoder draws")
    places = [lefts[0] + CARD // 2, lefts[1] + CARD // 2]
    for place, caption in zip(places, captions, strict=True):
        pen.text((place, LINE), caption, GREY, font, "mm")
    for box, name, share in zip(BARS, ATTRIBUTES, shares, strict=True):
        pen.text((box[0] - 10, LINE), name, GREY, font, "rm")
        page.paste("#b0b0b0", box)
        page.paste(plots.BLUE, (*box[:2], round(box[0] + share * (box[2] - box[0])), box[3]))
    return page


def frames() -> list[Image.Image]:
    model, images = weights.load("mnist_2d"), data.load("mnist").test
    codes, labels = model.encode(images.x[:1_500]), images.y[:1_500]
    way = walk(codes, labels)
    plain, points = map_card(codes, labels, way)
    digits, shares = 1 - model.decode(way), edits(len(way))
    point, made = disc(24), []
    for place, digit, person, share in zip(points, digits, face(shares), shares, strict=True):
        card = plain.copy()
        card.paste(point, tuple(np.rint(place - 12).astype(int)), point)
        made.append(frame([card, card_of(digit), card_of(person)], share))
    return made


def regions() -> list[tuple[int, int, int, int]]:
    """What may change, opaque: the cards but for their rounded corners, and the bars."""
    inside = [column * (CARD + GAP) + 4 for column in range(3)]
    return [*((left, 4, left + CARD - 8, CARD - 4) for left in inside), *BARS]


def changes(before: Image.Image, after: Image.Image) -> Iterator[tuple[int, int, int, int]]:
    """The smallest box of each region that holds all its changes; it begins at even pixels."""
    difference = ImageChops.difference(before.convert("RGB"), after.convert("RGB"))
    for left, top, right, bottom in regions():
        if box := difference.crop((left, top, right, bottom)).getbbox():
            start = left + box[0] // 2 * 2, top + box[1] // 2 * 2
            yield *start, left + box[2], top + box[3]


def chunk(name: bytes, content: bytes) -> bytes:
    return name + struct.pack("<I", len(content)) + content + bytes(len(content) % 2)


def part(image: Image.Image, place: tuple[int, int], milliseconds: int) -> bytes:
    """One image of an animation, which replaces what was at its place."""
    file = BytesIO()
    image.save(file, "webp", quality=QUALITY, method=4)
    content, at, bits = file.getvalue(), 12, b""
    while at < len(content):
        (size,) = struct.unpack_from("<I", content, at + 4)
        if content[at : at + 4] != b"VP8X":  # the header of a file
            bits += content[at : at + 8 + size + size % 2]
        at += 8 + size + size % 2
    numbers = place[0] // 2, place[1] // 2, image.width - 1, image.height - 1, milliseconds
    head = b"".join(number.to_bytes(3, "little") for number in numbers)
    return chunk(b"ANMF", head + b"\x02" + bits)


def animation(pages: list[Image.Image]) -> bytes:
    """A WebP that moves, region by region. Pillow's own leaves traces of slow changes behind."""
    parts = [part(pages[0], (0, 0), MILLISECONDS)]
    for before, after in pairwise(pages):
        boxes = list(changes(before, after))
        parts += [
            part(after.crop(box).convert("RGB"), box[:2], MILLISECONDS // len(boxes))
            for box in boxes
        ]
    size = b"".join((side - 1).to_bytes(3, "little") for side in pages[0].size)
    head = chunk(b"VP8X", b"\x12\0\0\0" + size) + chunk(b"ANIM", bytes(6))  # for ever
    return chunk(b"RIFF", b"WEBP" + head + b"".join(parts))


if __name__ == "__main__":
    pages = frames()
    PICTURE.write_bytes(animation(pages))
    pages[len(pages) // 2].save(STILL, quality=80, method=4)
