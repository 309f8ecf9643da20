// What the live pictures share: their look, nodes, images and a plane of codes.

const STYLE = `
  :host { display: block; max-width: 800px; line-height: 1.4 }
  .box { display: flex; flex-wrap: wrap; gap: 12px 24px; align-items: flex-start }
  .title, output, .hint { flex: 1 0 100% }
  .title { font-weight: bold }
  .hint { font-size: 0.9em; opacity: 0.8 }
  .plane { position: relative; flex: 1 1 256px; max-width: 416px; aspect-ratio: 1 }
  .plane, canvas { border: 1px solid rgb(128 128 128 / 0.6); border-radius: 4px }
  .plane svg { display: block; width: 100%; height: 100%; overflow: visible }
  .plane circle { fill-opacity: 0.6 }
  .plane text { font: bold 36px sans-serif; text-anchor: middle; dominant-baseline: central }
  .plane .disc { fill: white; fill-opacity: 1; stroke-width: 5 }
  .point { position: absolute; width: 14px; height: 14px; margin: -10px; border: 3px solid black;
           outline: 3px solid white; border-radius: 50%; will-change: left, top }
  .pointed { touch-action: none; cursor: crosshair }
  input { display: block; width: 100%; margin: 0; accent-color: #2b8fd6 }
  canvas { image-rendering: pixelated }
  :focus-visible { outline: 3px solid #2b8fd6; outline-offset: 2px }
`;

function add(parent, tag, attributes = {}, text = "") {
  const isSvg = ["svg", "circle", "text"].includes(tag);
  const space = `http://www.w3.org/${isSvg ? "2000/svg" : "1999/xhtml"}`;
  const node = parent.appendChild(document.createElementNS(space, tag));
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(text);
  return node;
}

// The box that a live picture fills, under its title; it hides the static picture.
function opened(host, title, style) {
  const root = host.attachShadow({ mode: "open" });
  add(root, "style", {}, STYLE + style);
  const box = add(root, "div", { class: "box", role: "group", "aria-label": title });
  add(box, "div", { class: "title" }, title);
  return box;
}

function show(canvas, values, [height, width, channels], paper) {
  const pixels = values.map((value) => 255 * (paper ? 1 - value : value));
  const image = new ImageData(width, height); // clips to 0..255
  for (let p = 0; p < width * height; p++)
    for (let c = 0; c < 4; c++)
      image.data[4 * p + c] = c === 3 ? 255 : pixels[channels * p + (channels === 3 ? c : 0)];
  canvas.getContext("2d").putImageData(image, 0, 0);
}

// A square with codes in the colours of their classes, and a point on it. `put` moves the point to
// shares of the width, from the left, and of the height, from below.
function plane(parent, { points, classes, limits }, attributes) {
  const area = add(parent, "div", attributes);
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
  const shares = (values) => values.map((v, i) => (v - limits[i][0]) / (limits[i][1] - limits[i][0]));
  return {
    area,
    put(values) {
      const [x, y] = shares(values).map((share) => Math.min(Math.max(share, 0), 1));
      point.style.left = `${100 * x}%`;
      point.style.top = `${100 - 100 * y}%`;
    },
    // Words on the class of the nearest code; none if codes have no classes.
    nearest(values) {
      if (!points.length || !classes[0].name) return "";
      const [x, y] = shares(values);
      const far = ([a, b]) => (a - 1000 * x) ** 2 + (b - 1000 + 1000 * y) ** 2;
      const point = points.reduce((best, other) => (far(other) < far(best) ? other : best));
      return `; the nearest code is of class ${classes[point[2]].name}`;
    },
  };
}
