"""The hourglass of an autoencoder, drawn from the model itself."""

import base64
import html
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from aelib._checks import layer

_WIDTH, _LOW, _HIGH, _MIDDLE = 16, 14, 150, 112  # of a block, its heights, where its middle is
# Colours in attributes are the light ones, for programs that read no style sheets.
_SVG = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} 236" \
width="{width:.0f}" height="236" role="img" aria-label="{alt}" \
font-family="system-ui, sans-serif" font-size="13" text-anchor="middle">
<style>@media (prefers-color-scheme: dark) {{ .ae-paper {{ fill: #1b1e23 }}
.ae-ink {{ fill: #eee }} .ae-faint {{ fill: #b4b9c2 }} .ae-line {{ stroke: #eee }}
.ae-layer {{ fill: #4aa8de }} .ae-code {{ fill: #f58b3c }} }}</style>
<rect class="ae-paper" fill="#fff" width="100%" height="100%" rx="6"/>
{body}
</svg>
"""
_LOOKS = {
    "image": 'class="ae-line" fill="none" stroke="#222"',
    "layer": 'class="ae-layer" fill="#0072b2" rx="3"',
    "code": 'class="ae-code" fill="#d55e00" rx="3"',
    "between": 'class="ae-layer" fill="#0072b2" fill-opacity="0.16"',
    "grid": 'class="ae-line" stroke="#222" stroke-opacity="0.25"',
    "size": 'class="ae-ink" fill="#222" font-weight="600"',
    "about": 'class="ae-faint" fill="#666"',
}


@dataclass(frozen=True)
class Diagram:
    """What `diagram` gives: notebooks show it, `str` is SVG; `alt` says what is drawn."""

    alt: str
    svg: str

    def __str__(self) -> str:
        return self.svg

    def save(self, path: str | Path) -> None:
        """Writes the SVG."""
        Path(path).write_text(self.svg, encoding="utf-8")

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        # JupyterLab shows SVG without an alternative text, and not before the notebook is trusted.
        data = base64.b64encode(self.svg.encode()).decode()
        image = f'<img src="data:image/svg+xml;base64,{data}" alt="{html.escape(self.alt)}"'
        image += ' style="max-width: max(100%, 512px)">'  # narrower, its text is too small
        page = f'<div tabindex="0" style="overflow-x: auto">{image}</div>'
        return {"text/html": page, "text/plain": self.alt}


class _Block(NamedTuple):
    shape: tuple[int, ...]
    about: str  # kind of layer and activation
    look: str = "layer"

    @property
    def units(self) -> int:
        return math.prod(self.shape)

    @property
    def size(self) -> str:
        grey = len(self.shape) == 3 and self.shape[-1] == 1
        return " × ".join(map(str, self.shape[:-1] if grey else self.shape))


class _Box(NamedTuple):
    block: _Block
    middle: float
    left: float
    right: float
    top: float
    bottom: float
    end: float  # of the room for its labels


def diagram(model: Any, decoder: Any = None) -> Diagram:
    """A block for each layer, as tall as the logarithm of its units, and the code in the middle.

    Layers that neither have weights nor change the number of units are left out.

    Args:
        model: an autoencoder with an `encoder` and a `decoder`, or an encoder.
        decoder: of the encoder, if that is what `model` is.

    Raises:
        ValueError: also if encoder or decoder is not built, or has several inputs or outputs.
    """
    encoder = layer("encoder", getattr(model, "encoder", model))
    decoder = layer("decoder", getattr(model, "decoder", decoder))
    (first, *before), (code, *after) = _blocks("encoder", encoder), _blocks("decoder", decoder)
    if before and before[-1].units == code.units:
        before.pop()  # its output is the code
    last = _Block(_shape("decoder", decoder, "output_shape"), "output")
    if after and after[-1].units == last.units:
        about = after.pop().about.replace("linear", "").strip()
        last = last._replace(about=", ".join(filter(None, ["output", about])))
    first, last = (
        end._replace(look="image" if len(end.shape) == 3 else "layer") for end in (first, last)
    )
    code = code._replace(about="code", look="code")
    boxes = list(_placed([first._replace(about="input"), *before, code, *after, last]))
    inner = [", ".join(block.size for block in blocks) or "none" for blocks in (before, after)]
    alt = (
        f"Diagram of an autoencoder. Input: {first.size}. Layers of the encoder: {inner[0]}. "
        f"Code: {code.size}. Layers of the decoder: {inner[1]}. Output: {last.size}."
    )
    body = "\n".join(_drawn(boxes, boxes[len(before) + 1]))
    return Diagram(alt, _SVG.format(width=boxes[-1].end, alt=html.escape(alt), body=body))


def chain(part: Any) -> list:
    """The layers inside a model, at any depth, in order; of a layer itself."""
    if type(part).__name__ == "InputLayer":
        return []
    inside = getattr(part, "layers", None)
    return [part] if inside is None else [one for child in inside for one in chain(child)]


def _blocks(name: str, part: Any) -> list[_Block]:
    """The input, and every layer that has weights or changes the number of units."""
    blocks = [_Block(_shape(name, part, "input_shape"), "")]
    for one in chain(part):
        shape = _shape(name, one, "output")
        if one.count_params() or math.prod(shape) != blocks[-1].units:
            kind = re.sub(r"^Dense$|\dD.*", "", type(one).__name__).lower()
            activation = getattr(getattr(one, "activation", None), "__name__", "")
            blocks.append(_Block(shape, f"{kind} {activation}".strip()))
    return blocks


def _shape(name: str, part: Any, attribute: str) -> tuple[int, ...]:
    """The shape of one input or output, without the batch."""
    shape = getattr(part, attribute, None)
    shape = getattr(shape, "shape", shape)
    if not isinstance(shape, tuple) or not all(isinstance(size, int) for size in shape[1:]):
        expected = f"`{name}` must be built and have one input and one output of known sizes"
        raise ValueError(f"{expected}. Received: {attribute}={shape} of {part.name!r}")
    return shape[1:]


def _placed(blocks: list[_Block]) -> Iterator[_Box]:
    """Side by side, each with room for its labels."""
    tallest = math.log(max(2, *(block.units for block in blocks)))
    place = 8.0
    for block in blocks:
        height = _LOW + (_HIGH - _LOW) * math.log(block.units) / tallest
        width = height * block.shape[1] / block.shape[0] if block.look == "image" else _WIDTH
        room = 14 + max(
            width, 8 * len(block.size), 6.8 * len(block.about), 110 * (block.look == "code")
        )
        middle, top = place + room / 2, _MIDDLE - height / 2
        left, right, place = middle - width / 2, middle + width / 2, place + room
        yield _Box(block, middle, left, right, top, top + height, end=place + 8)


def _drawn(boxes: list[_Box], code: _Box) -> Iterator[str]:
    for a, b in pairwise(boxes):
        edges = (a.right, a.top), (b.left, b.top), (b.left, b.bottom), (a.right, a.bottom)
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in edges)
        yield f'<polygon points="{points}" {_LOOKS["between"]}/>'
    for box in boxes:
        block, width, height = box.block, box.right - box.left, box.bottom - box.top
        place = f'x="{box.left:.1f}" y="{box.top:.1f}" width="{width:.1f}" height="{height:.1f}"'
        yield f"<rect {place} {_LOOKS[block.look]}/>"
        if block.look == "image":
            share = [line / 7 for line in range(1, 7)]
            down = [f"M{box.left + width * s:.1f} {box.top:.1f}v{height:.1f}" for s in share]
            across = [f"M{box.left:.1f} {box.top + height * s:.1f}h{width:.1f}" for s in share]
            yield f'<path d="{"".join(down + across)}" {_LOOKS["grid"]}/>'
        yield _text(box.middle, 209, block.size, "size")
        yield _text(box.middle, 226, block.about, "about")
    yield _text((boxes[0].right + code.left) / 2, 22, "encoder", "about")
    yield _text((code.right + boxes[-1].left) / 2, 22, "decoder", "about")


def _text(x: float, y: float, text: str, look: str) -> str:
    return f'<text x="{x:.1f}" y="{y}" {_LOOKS[look]}>{html.escape(text)}</text>'
