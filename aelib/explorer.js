// A decoder that answers in the page. aelib/explorer.py writes the layers and puts this beside them.

const bytes = (text) => Uint8Array.from(atob(text), (byte) => byte.charCodeAt(0)).buffer;

// Abramowitz and Stegun, formula 7.1.26: within 1.5e-7.
function erf(x) {
  const t = 1 / (1 + 0.3275911 * Math.abs(x));
  const series = ((1.061405429 * t - 1.453152027) * t + 1.421413741) * t - 0.284496736;
  return Math.sign(x) * (1 - (series * t + 0.254829592) * t * Math.exp(-x * x));
}

const ACTIVATIONS = {
  linear: (x) => x,
  relu: (x) => Math.max(x, 0),
  gelu: (x) => 0.5 * x * (1 + erf(x * Math.SQRT1_2)),
  silu: (x) => x / (1 + Math.exp(-x)),
  tanh: Math.tanh,
  sigmoid: (x) => 1 / (1 + Math.exp(-x)),
  softplus: (x) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x))),
};

// What is common to layers with weights: `kernel` in steps, one step size and bias for each unit.
function parameters({ kernel, step, bias, bits, activation }) {
  const weights = new (bits === 8 ? Int8Array : Int16Array)(bytes(kernel));
  const [steps, biases] = [new Float32Array(bytes(step)), new Float32Array(bytes(bias))];
  const finish = (sums) => sums.map((sum, i) => {
    const unit = i % biases.length;
    return ACTIVATIONS[activation](sum * steps[unit] + biases[unit]);
  });
  return { weights, units: biases.length, finish };
}

// For each kind of layer, what makes a function of flat arrays of its description.
const LAYERS = {
  activation: ({ activation }) => (x) => x.map((value) => ACTIVATIONS[activation](value)),
  dense(layer) {
    const { weights, units, finish } = parameters(layer);
    return (x) => {
      const sums = new Float64Array(units);
      for (let i = 0, k = 0; i < x.length; i++)
        for (let j = 0; j < units; j++, k++) sums[j] += x[i] * weights[k];
      return finish(sums);
    };
  },
  // Each pixel of the input adds its multiple of the kernel (rows, columns, units, inputs) to the
  // output, `stride` further on for each step in the input.
  transposed(layer) {
    const { weights, units, finish } = parameters(layer);
    const [[height, width, inputs], [rows, columns], [down, across]] =
      [layer.shape, layer.size, layer.stride];
    const above = Math.floor(Math.max(rows - down, 0) / 2);
    const left = Math.floor(Math.max(columns - across, 0) / 2);
    return (x) => {
      const sums = new Float64Array(height * down * width * across * units);
      for (let p = 0; p < height * width; p++) {
        const [top, begin] = [Math.floor(p / width) * down - above, (p % width) * across - left];
        for (let a = 0, k = 0; a < rows; a++)
          for (let b = 0; b < columns; b++, k += units * inputs) {
            const [i, j] = [top + a, begin + b];
            if (i < 0 || i >= height * down || j < 0 || j >= width * across) continue;
            const at = (i * width * across + j) * units;
            for (let u = 0, w = k; u < units; u++) {
              let sum = 0;
              for (let c = p * inputs; c < (p + 1) * inputs; c++, w++) sum += x[c] * weights[w];
              sums[at + u] += sum;
            }
          }
      }
      return finish(sums);
    };
  },
  crop: ({ shape: [height, width, channels], by: [[top, bottom], [left, right]] }) => (x) =>
    x.filter((_, i) => {
      const [row, column] = [Math.floor(i / (width * channels)), Math.floor(i / channels) % width];
      return row >= top && row < height - bottom && column >= left && column < width - right;
    }),
};

function decoder(layers) {
  const functions = layers.map((layer) => LAYERS[layer.kind](layer));
  return (code) => functions.reduce((x, layer) => layer(x), Float64Array.from(code));
}

const STYLE = `
  :host { display: block; max-width: 800px; line-height: 1.4 }
  .box { display: flex; flex-wrap: wrap; gap: 12px 24px; align-items: flex-start }
  .title, output, .hint { flex: 1 0 100% }
  .title { font-weight: bold }
  .hint { font-size: 0.9em; opacity: 0.8 }
  .plane { position: relative; flex: 1 1 256px; max-width: 416px; aspect-ratio: 1;
           touch-action: none; cursor: crosshair }
  .plane, canvas { border: 1px solid rgb(128 128 128 / 0.6); border-radius: 4px }
  .plane svg { display: block; width: 100%; height: 100%; overflow: visible }
  .plane circle { fill-opacity: 0.6 }
  .plane text { font: bold 36px sans-serif; text-anchor: middle; dominant-baseline: central }
  .plane .disc { fill: white; fill-opacity: 1; stroke-width: 5 }
  .point { position: absolute; width: 14px; height: 14px; margin: -10px; border: 3px solid black;
           outline: 3px solid white; border-radius: 50%; will-change: left, top }
  .sliders { flex: 1 1 256px; max-width: 416px; display: grid; gap: 8px }
  .sliders input { display: block; width: 100%; margin: 0; accent-color: #2b8fd6 }
  :focus-visible { outline: 3px solid #2b8fd6; outline-offset: 2px }
  canvas { flex: 0 1 288px; min-width: 192px; width: 288px; image-rendering: pixelated }
`;

function add(parent, tag, attributes = {}, text = "") {
  const isSvg = ["svg", "circle", "text"].includes(tag);
  const space = `http://www.w3.org/${isSvg ? "2000/svg" : "1999/xhtml"}`;
  const node = parent.appendChild(document.createElementNS(space, tag));
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(text);
  return node;
}

// Fills `host` with a plane (two directions) or sliders, and the image of
// code = origin + sum of value * direction.
function explore(host, config) {
  const { names, limits, origin, directions, points, classes, paper } = config;
  const [height, width, channels] = config.shape;
  const decode = decoder(config.layers);
  const values = [...config.start];
  const root = host.attachShadow({ mode: "open" }); // hides the static picture
  add(root, "style", {}, STYLE);
  const box = add(root, "div", { class: "box", role: "group", "aria-label": config.title });
  add(box, "div", { class: "title" }, config.title);
  const inputs = names.length === 2 ? [plane()] : sliders();
  const size = { width, height, role: "img" };
  const canvas = add(box, "canvas", { ...size, style: `aspect-ratio: ${width} / ${height}` });
  const live = add(box, "output", { "aria-live": "polite" });
  if (names.length === 2) add(box, "div", { class: "hint" }, hint());

  function hint() {
    return `Across: ${names[0]}. Upwards: ${names[1]}. Point with the mouse or a finger, or use the arrow keys (with Shift: longer steps).`;
  }

  function share(value, i) {
    return (value - limits[i][0]) / (limits[i][1] - limits[i][0]); // 0 at the low end, 1 at the high
  }

  function move(i, value) {
    values[i] = Math.min(Math.max(value, limits[i][0]), limits[i][1]);
  }

  function plane() {
    const label = `${names[0]} and ${names[1]}. ${hint()}`;
    const told = { role: "application", "aria-roledescription": "slider in two dimensions" };
    const area = add(box, "div", { class: "plane", tabindex: 0, ...told, "aria-label": label });
    const svg = add(area, "svg", { viewBox: "0 0 1000 1000", "aria-hidden": true });
    const colour = (index) => classes[index].colour;
    for (const [x, y, c] of points) add(svg, "circle", { cx: x, cy: y, r: 5, fill: colour(c) });
    for (const { name, colour, place } of classes.filter((one) => one.place)) {
      const [x, y] = place;
      const r = 18 + 10 * name.length;
      add(svg, "circle", { class: "disc", cx: x, cy: y, r, stroke: colour });
      add(svg, "text", { x, y, fill: "black" }, name);
    }
    const point = add(area, "div", { class: "point" });
    const follow = (event) => {
      if (event.type === "pointermove" && event.pointerType !== "mouse" && !event.buttons) return;
      const { left, bottom, width, height } = area.getBoundingClientRect();
      const [x, y] = [(event.clientX - left) / width, (bottom - event.clientY) / height];
      [x, y].forEach((at, i) => move(i, limits[i][0] + at * (limits[i][1] - limits[i][0])));
      update();
    };
    area.addEventListener("pointerdown", follow);
    area.addEventListener("pointermove", follow);
    area.addEventListener("keydown", (event) => {
      const keys = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowDown: [1, -1], ArrowUp: [1, 1] };
      if (!(event.key in keys)) return;
      const [i, sign] = keys[event.key];
      const step = (limits[i][1] - limits[i][0]) / (event.shiftKey ? 10 : 50);
      move(i, values[i] + sign * step);
      event.preventDefault();
      event.stopPropagation();
      update();
    });
    return () => {
      point.style.left = `${100 * share(values[0], 0)}%`;
      point.style.top = `${100 - 100 * share(values[1], 1)}%`;
    };
  }

  function sliders() {
    const area = add(box, "div", { class: "sliders" });
    return names.map((name, i) => {
      const [min, max] = limits[i];
      const label = add(area, "label", {}, name);
      const range = add(label, "input", { type: "range", min, max, step: (max - min) / 100 });
      range.addEventListener("input", () => update(move(i, Number(range.value))));
      return () => (range.value = values[i]);
    });
  }

  function nearest() {
    const [x, y] = [1000 * share(values[0], 0), 1000 - 1000 * share(values[1], 1)];
    const far = ([a, b]) => (a - x) ** 2 + (b - y) ** 2;
    const point = points.reduce((best, other) => (far(other) < far(best) ? other : best));
    return classes[point[2]].name;
  }

  function update() {
    inputs.forEach((show) => show());
    const code = origin.map((at, d) => directions.reduce((z, v, i) => z + values[i] * v[d], at));
    const pixels = decode(code).map((value) => 255 * (paper ? 1 - value : value));
    const image = new ImageData(width, height); // clips to 0..255
    for (let p = 0; p < width * height; p++)
      for (let c = 0; c < 4; c++)
        image.data[4 * p + c] = c === 3 ? 255 : pixels[channels * p + (channels === 3 ? c : 0)];
    canvas.getContext("2d").putImageData(image, 0, 0);
    const numbers = values.map((value, i) => `${names[i]}: ${Number(value.toPrecision(3))}`);
    const near = points.length && classes[0].name ? `; the nearest code is of class ${nearest()}` : "";
    live.textContent = numbers.join(", ") + near;
    canvas.setAttribute("aria-label", `The image that the decoder draws at ${live.textContent}`);
  }

  update();
}
