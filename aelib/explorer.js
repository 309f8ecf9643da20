// A decoder that answers in the page. aelib/explorer.py puts this after network.js and page.js.

const EXPLORER = `
  .sliders { flex: 1 1 256px; max-width: 416px; display: grid; gap: 8px }
  canvas { flex: 0 1 288px; min-width: 192px; width: 288px }
`;

// Fills `host` with a plane (two directions) or sliders, and the image of
// code = origin + sum of value * direction.
function start(host, config) {
  const { names, limits, origin, directions, shape, paper } = config;
  const decode = network(config.layers);
  const values = [...config.start];
  const box = opened(host, config.title, EXPLORER);
  const hint = `Across: ${names[0]}. Upwards: ${names[1]}. Point with the mouse or a finger, or use the arrow keys (with Shift: longer steps).`;
  const map = names.length === 2 ? moved() : null;
  const inputs = map ? [() => map.put(values)] : sliders();
  const [height, width] = shape;
  const size = { width, height, role: "img" };
  const canvas = add(box, "canvas", { ...size, style: `aspect-ratio: ${width} / ${height}` });
  const live = add(box, "output", { "aria-live": "polite" });
  if (map) add(box, "div", { class: "hint" }, hint);

  function move(i, value) {
    values[i] = Math.min(Math.max(value, limits[i][0]), limits[i][1]);
  }

  function moved() {
    const label = `${names[0]} and ${names[1]}. ${hint}`;
    const told = { role: "application", "aria-roledescription": "slider in two dimensions" };
    const attributes = { class: "plane pointed", tabindex: 0, ...told, "aria-label": label };
    const map = plane(box, config, attributes);
    const follow = (event) => {
      if (event.type === "pointermove" && event.pointerType !== "mouse" && !event.buttons) return;
      const { left, bottom, width, height } = map.area.getBoundingClientRect();
      const [x, y] = [(event.clientX - left) / width, (bottom - event.clientY) / height];
      [x, y].forEach((at, i) => move(i, limits[i][0] + at * (limits[i][1] - limits[i][0])));
      update();
    };
    map.area.addEventListener("pointerdown", follow);
    map.area.addEventListener("pointermove", follow);
    map.area.addEventListener("keydown", (event) => {
      const keys = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowDown: [1, -1], ArrowUp: [1, 1] };
      if (!(event.key in keys)) return;
      const [i, sign] = keys[event.key];
      const step = (limits[i][1] - limits[i][0]) / (event.shiftKey ? 10 : 50);
      move(i, values[i] + sign * step);
      event.preventDefault();
      event.stopPropagation();
      update();
    });
    return map;
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

  function update() {
    inputs.forEach((move) => move());
    const code = origin.map((at, d) => directions.reduce((z, v, i) => z + values[i] * v[d], at));
    show(canvas, decode(code), shape, paper);
    const numbers = values.map((value, i) => `${names[i]}: ${Number(value.toPrecision(3))}`);
    live.textContent = numbers.join(", ") + (map ? map.nearest(values) : "");
    canvas.setAttribute("aria-label", `The image that the decoder draws at ${live.textContent}`);
  }

  update();
}
