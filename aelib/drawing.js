// A network that answers to a drawing. aelib/drawing.py puts this after network.js and page.js.

const SIDE = 28; // of the paper and of MNIST's images, in pixels
const BOX = 20; // the longer side of a digit in them
const BRUSH = 1.4; // from the middle of a line to where it is half as dark

const DRAWING = `
  figure { margin: 0; flex: 1 1 144px; max-width: 192px }
  figure.large { flex-basis: 256px; max-width: 288px }
  figure canvas { display: block; box-sizing: border-box; width: 100%; aspect-ratio: 1 }
  figcaption { margin-top: 6px; font-size: 0.9em }
  .paper { position: relative; touch-action: none; user-select: none;
           cursor: crosshair }
  .pen { position: absolute; display: none; width: 10px; height: 10px; margin: -8px;
         border: 3px solid #d55e00; border-radius: 50% }
  .paper:focus-visible .pen { display: block }
  .down { background: #d55e00 }
  .tools { flex: 1 0 100%; display: flex; flex-wrap: wrap; gap: 8px; align-items: center }
  .tools label { flex: 1 1 192px; max-width: 320px }
  button { font: inherit; color: inherit; min-width: 40px; min-height: 40px; padding: 0 10px;
           background: transparent; border: 1px solid rgb(128 128 128 / 0.8);
           border-radius: 4px; cursor: pointer }
  button:has(canvas) { padding: 3px }
  button canvas { display: block; width: 32px; height: 32px; border: 0 }
`;

// Darkens `ink` along a line; points are (across, downwards) from the upper left corner.
function brush(ink, [x, y], [x1, y1]) {
  const [dx, dy] = [x1 - x, y1 - y];
  const squared = dx * dx + dy * dy || 1;
  for (let p = 0; p < ink.length; p++) {
    const [a, b] = [(p % SIDE) + 0.5 - x, Math.floor(p / SIDE) + 0.5 - y];
    const along = Math.min(Math.max((a * dx + b * dy) / squared, 0), 1);
    const far = Math.hypot(a - along * dx, b - along * dy);
    ink[p] = Math.max(ink[p], Math.min(Math.max(BRUSH + 0.5 - far, 0), 1));
  }
}

// For each of `count` pixels the weights of the `length` pixels that they replace: a triangle, as
// wide as two pixels of the coarser grid.
function triangles(length, count) {
  const ratio = length / count;
  return Array.from({ length: count }, (_, i) => {
    const far = (k) => Math.abs(k + 0.5 - (i + 0.5) * ratio) / Math.max(ratio, 1);
    const weights = Array.from({ length }, (_, k) => Math.max(0, 1 - far(k)));
    const sum = weights.reduce((a, b) => a + b);
    return weights.map((weight) => weight / sum);
  });
}

// The drawing as MNIST's images are: the longer side of its box has 20 pixels, and the pixel (14, 14)
// is its centre of mass. Null if nothing is drawn.
function prepared(ink) {
  const lines = Array.from({ length: SIDE }, (_, i) => i);
  const rows = lines.filter((i) => lines.some((j) => ink[SIDE * i + j] > 0));
  const columns = lines.filter((j) => lines.some((i) => ink[SIDE * i + j] > 0));
  if (!rows.length) return null;
  const [top, left] = [rows[0], columns[0]];
  const [height, width] = [rows.at(-1) - top + 1, columns.at(-1) - left + 1];
  const scaled = (length) => Math.max(1, Math.round((length * BOX) / Math.max(height, width)));
  const down = triangles(height, scaled(height));
  const across = triangles(width, scaled(width));
  const narrow = lines.slice(0, height).map((i) =>
    across.map((w) => w.reduce((sum, v, j) => sum + v * ink[SIDE * (top + i) + left + j], 0)));
  const digit = down.map((w) =>
    across.map((_, j) => w.reduce((sum, v, i) => sum + v * narrow[i][j], 0)));
  let [mass, y, x] = [0, 0, 0];
  digit.forEach((row, i) => row.forEach((v, j) => { mass += v; y += i * v; x += j * v; }));
  const place = (at, size) => Math.min(Math.max(Math.round(SIDE / 2 - at / mass), 0), SIDE - size);
  const [above, before] = [place(y, digit.length), place(x, digit[0].length)];
  const image = new Float64Array(SIDE * SIDE);
  digit.forEach((row, i) => image.set(row, SIDE * (above + i) + before));
  return image;
}

const gauss = () =>
  Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());

// Peak signal-to-noise ratio in decibels, pixels cut off at 0 and 1.
function psnr(image, other) {
  const clipped = other.map((value) => Math.min(Math.max(value, 0), 1));
  const squared = image.reduce((sum, value, p) => sum + (value - clipped[p]) ** 2, 0);
  return -10 * Math.log10(squared / image.length);
}

// Fills `host` with a paper to draw on, what the network gets and gives, and the plane of codes.
function start(host, config) {
  const [encode, decode] = [network(config.encoder), network(config.decoder)];
  const noisy = config.noise !== null;
  const box = opened(host, config.title, DRAWING);
  const hint = "Draw with the mouse or a finger, or with the arrow keys (with Shift: longer steps); the space bar puts the pen down and lifts it.";
  const ink = new Float64Array(SIDE * SIDE);
  let pen = [SIDE / 2, SIDE / 2];
  let isDown = false;
  let isSample = true; // shown before the reader has done anything: the first line clears it

  const [paper, drawn] = sheet();
  const given = figure(noisy ? "With noise" : "As the network gets it: 20 pixels, centred");
  const answer = figure("What the network makes of it");
  const tools = add(box, "div", { class: "tools" });
  const live = add(box, "output", { "aria-live": "polite" });
  const map = config.points ? plane(box, config, { class: "plane", role: "img" }) : null;
  add(box, "div", { class: "hint" }, hint);
  button("Clear", () => ink.fill(0));
  for (const [i, text] of config.examples.entries()) {
    const image = Float64Array.from(new Uint8Array(bytes(text)), (value) => value / 255);
    const chosen = button("", () => ink.set(image), { "aria-label": `Example ${i + 1}` });
    show(canvas(chosen, { "aria-hidden": true }), image, [SIDE, SIDE, 1], true);
    if (i === 0) ink.set(image);
  }
  const range = noisy ? slider() : null;

  function canvas(parent, attributes) {
    return add(parent, "canvas", { width: SIDE, height: SIDE, ...attributes });
  }

  function figure(caption) {
    const around = add(box, "figure");
    const image = canvas(around, { role: "img" });
    add(around, "figcaption", {}, caption);
    return { image, caption };
  }

  function button(text, act, attributes = {}) {
    const node = add(tools, "button", { type: "button", ...attributes }, text);
    node.addEventListener("click", () => {
      isSample = false;
      act();
      update();
    });
    return node;
  }

  function slider() {
    const label = add(tools, "label", {}, "Standard deviation of the noise");
    const range = add(label, "input", { type: "range", min: 0, max: 1, step: 0.05 });
    range.value = config.noise;
    range.addEventListener("input", () => update());
    button("New noise", () => {});
    return range;
  }

  function sheet() {
    const around = add(box, "figure", { class: "large" });
    const told = { role: "application", "aria-roledescription": "paper to draw on" };
    const paper = add(around, "div", { class: "paper", tabindex: 0, ...told, "aria-label": hint });
    const image = canvas(paper, { "aria-hidden": true });
    add(around, "figcaption", {}, "Draw here");
    paper.addEventListener("pointerdown", (event) => {
      if (event.button) return;
      paper.setPointerCapture(event.pointerId);
      pen = place(event);
      line(pen);
    });
    paper.addEventListener("pointermove", (event) => {
      if (event.buttons) line(place(event));
    });
    paper.addEventListener("keydown", (event) => {
      const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
      if (event.key !== " " && !(event.key in steps)) return;
      event.preventDefault();
      event.stopPropagation();
      if (event.key === " ") isDown = !isDown;
      const far = event.shiftKey ? 4 : 1;
      const step = steps[event.key] ?? [0, 0];
      const to = pen.map((at, i) => Math.min(Math.max(at + far * step[i], 0), SIDE));
      if (isDown) line(to);
      pen = to;
      update();
    });
    return [add(paper, "div", { class: "pen" }), image];

    function place({ clientX, clientY }) {
      const { left, bottom, width, height } = paper.getBoundingClientRect();
      return [(SIDE * (clientX - left)) / width, SIDE - (SIDE * (bottom - clientY)) / height];
    }
  }

  function line(to) {
    if (isSample) ink.fill(0);
    isSample = false;
    brush(ink, pen, to);
    pen = to;
    update();
  }

  function draw({ image, caption }, values) {
    show(image, values, [SIDE, SIDE, 1], true);
    image.setAttribute("aria-label", caption);
  }

  function update() {
    paper.setAttribute("class", isDown ? "pen down" : "pen");
    [paper.style.left, paper.style.top] = pen.map((at) => `${(100 * at) / SIDE}%`);
    show(drawn, ink, [SIDE, SIDE, 1], true);
    const image = prepared(ink);
    const amount = range ? Number(range.value) : 0;
    const input = (image ?? ink).map((value) => value + (image ? amount * gauss() : 0));
    const code = encode(input);
    const output = image ? decode(code) : input;
    draw(given, input);
    draw(answer, output);
    const place = map && image ? placed(code) : "";
    live.textContent = image ? place + errors(image, input, output, amount) : "Nothing is drawn.";
    map?.area.setAttribute("aria-label", `The plane of codes. ${place}`);
  }

  function placed(code) {
    map.put(code);
    const numbers = Array.from(code, (z) => z.toFixed(1)).join(", ");
    return `Code: ${numbers}${map.nearest(code)}. `;
  }

  function errors(image, input, output, amount) {
    const [before, after] = [input, output].map((other) => psnr(image, other).toFixed(1));
    const noise = `${before} dB with noise of standard deviation ${amount}, `;
    return `Peak signal-to-noise ratio: ${amount ? noise : ""}${after} dB after the network.`;
  }

  update();
}
