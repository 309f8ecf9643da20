"""Runs the scripts of live pictures, by Node.js or a browser, on as much of a page as they use."""

import importlib.util
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = {path.stem: path.read_text() for path in (ROOT / "aelib").glob("*.js")}

# As much of a page as live pictures use: `host.shadowRoot` holds what they have built.
PAGE = """
class Node {
  constructor(tag) {
    Object.assign(this, { tag, attributes: {}, children: [], style: {}, listeners: {} });
  }
  setAttribute(name, value) { this.attributes[name] = String(value); }
  appendChild(child) { this.children.push(child); return child; }
  append(text) { this.textContent = text; }
  addEventListener(name, listener) { this.listeners[name] = listener; }
  setPointerCapture() {}
  attachShadow() { return (this.shadowRoot = new Node("root")); }
  getBoundingClientRect() { return { left: 0, bottom: 100, width: 100, height: 100 }; }
  getContext() { return { putImageData: (image) => (this.pixels = Array.from(image.data)) }; }
  all(tag) { return this.children.flatMap((c) => (c.tag === tag ? [c] : []).concat(c.all(tag))); }
}
class ImageData {
  constructor(width, height) { this.data = new Uint8ClampedArray(4 * width * height); }
}
const host = new Node("div");
const document = {
  querySelectorAll: (selector) => (selector === SELECTOR ? [host] : []),
  createElementNS: (space, tag) => new Node(tag),
};
const find = (tag) => host.shadowRoot.all(tag);
const active = () => find("div").find((node) => node.attributes.role === "application");
const press = (key, shiftKey = false) => {
  let kept = false;
  active().listeners.keydown({ key, shiftKey, preventDefault: () => (kept = true),
                               stopPropagation() {} });
  return kept;
};
const pointer = (type, pointerType, clientX, clientY, buttons = 0) =>
  active().listeners[type]({ type, pointerType, clientX, clientY, buttons });
const shown = () => ({ pixels: find("canvas")[0].pixels, text: find("output")[0].textContent,
                       alt: find("canvas")[0].attributes["aria-label"] });
"""


def run(program: str):
    """What `program` gives, a JavaScript expression or a function's body with `return`."""
    script = f"JSON.stringify((() => {{ {program} }})())"
    if shutil.which("node"):
        command = ["node", "-e", f"console.log({script})"]
        if len(script) > 100_000:
            command[1:] = ["-"]
        done = subprocess.run(
            command, input=f"console.log({script})", capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr[-2000:]
        return json.loads(done.stdout)
    if importlib.util.find_spec("playwright"):
        from playwright.sync_api import sync_playwright

        with sync_playwright() as browsers:
            return json.loads(browsers.chromium.launch().new_page().evaluate(script))
    pytest.skip("there is neither Node.js nor Playwright")


def config(live) -> dict:
    (text,) = re.findall(r"start\(host, (\{.*\})\);", str(live))
    return json.loads(text)


def in_page(live, actions: str):
    """Runs the picture's own script on a page with its host, then `actions`."""
    (script,) = re.findall(r"(?s)<script>(.*)</script>", str(live))
    (identity,) = re.findall(r'data-aelib-explorer="([\w-]+)"', str(live).split("<script>")[0])
    selector = json.dumps(f'[data-aelib-explorer="{identity}"]')
    return run(f"const SELECTOR = {selector};\n{PAGE}\n{script}\n{actions}")
