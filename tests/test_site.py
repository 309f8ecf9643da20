"""The site as a reader meets it: built, linked, searched, and opened without a network."""

import contextlib
import csv
import http.server
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import numpy as np
import pytest

import aelib
from aelib import weights

ROOT = Path(__file__).parents[1]
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
PHONE, DESKTOP = {"width": 390, "height": 844}, {"width": 1280, "height": 900}
# One of each kind: axe takes some seconds for each.
KINDS = [
    "docs/index",
    "docs/claims",
    "docs/glossary",
    "docs/live",
    "docs/api/aelib.variational",
    "notebooks/00_start_here",
    "notebooks/10_smile_vector",
    "studies/samples/report",
    "search",
]
# Live pictures: page, kept model, kind of input.
LIVE = [
    ("docs/index", "mnist_2d", "plane"),
    ("notebooks/00_start_here", "mnist_2d", "plane"),
    ("notebooks/09_variational", "mnist_vae_2d", "plane"),
    ("notebooks/10_smile_vector", "faces_64", "sliders"),
]


class Page(HTMLParser):
    """The links, anchors, pictures and formulas of one page."""

    def __init__(self, path: Path):
        super().__init__()
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.pictures: list[dict[str, str | None]] = []
        self.feed(path.read_text("utf-8"))

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.anchors |= {found[name] for name in ("id", "name") if found.get(name)}
        self.links += [found[name] for name in ("href", "src") if found.get(name)]
        if tag == "img":
            self.pictures.append(found)


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """Built afresh; a warning is an error."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-c", "docs"]
    built = subprocess.run(
        [*command, "-d", folder / "doctrees", ".", folder / "html"],
        cwd=ROOT,
        env=os.environ | {"CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0, built.stderr
    return folder / "html"


@pytest.fixture(scope="module")
def pages(site) -> dict[str, Page]:
    paths = sorted(site.rglob("*.html"))
    found = {path.relative_to(site).as_posix(): path for path in paths}
    return {name: Page(path) for name, path in found.items() if not name.startswith("_")}


@pytest.fixture(scope="module")
def browser() -> Iterator:
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        pytest.skip("there is no Chromium on this machine")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(scope="module")
def server(site) -> Iterator[str]:
    """Its address. Only where there is a server does the search show excerpts."""
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=site)
    handler.func.log_message = lambda *ignored: None
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


@pytest.fixture
def open_page(browser, site, server) -> Iterator[Callable]:
    """A function that opens a page, from the folder or served. A complaint fails the test."""
    with contextlib.ExitStack() as stack:
        complaints: list[str] = []

        def opened(name: str, served: bool = False, **context):
            made = browser.new_context(**{"viewport": DESKTOP} | context)
            stack.callback(made.close)
            page = made.new_page()
            page.set_default_timeout(120_000)
            page.on("pageerror", lambda error: complaints.append(f"{page.url}: {error}"))
            page.on(
                "console",
                lambda told: told.type == "error" and complaints.append(f"{page.url}: {told.text}"),
            )
            page.on(
                "request",
                lambda sent: (
                    urlsplit(sent.url).scheme in ("file", "data", "blob")
                    or sent.url.startswith(server)
                    or complaints.append(f"{page.url} asks for {sent.url}")
                ),
            )
            page.goto(f"{server if served else site.as_uri()}/{name}.html")
            return page

        yield opened
        assert not complaints


def test_it_holds_everything(pages):
    lessons = {f"notebooks/{path.stem}.html" for path in (ROOT / "notebooks").glob("*.ipynb")}
    solutions = (ROOT / "notebooks/solutions").glob("*.ipynb")
    reports = {path.parent.name for path in (ROOT / "studies").glob("*/report.ipynb")}
    expected = lessons | {f"notebooks/solutions/{path.stem}.html" for path in solutions}
    expected |= {f"studies/{name}/{kind}.html" for name in reports for kind in ("report", "run")}
    documents = (path.relative_to(ROOT) for path in (ROOT / "docs").rglob("*.md"))
    expected |= {path.with_suffix(".html").as_posix() for path in documents}
    assert expected <= set(pages)


def test_every_public_module_is_described(pages):
    public = {name for name in aelib.MODULES if not name.startswith("_")}
    described = {name.split(".")[1] for name in pages if name.startswith("docs/api/")}
    assert described == public


def test_links_lead_somewhere(site, pages):
    dead = []
    for name, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc or not (parts.path or parts.fragment):
                continue
            path = (site / name).parent / unquote(parts.path) if parts.path else site / name
            target = path.resolve().relative_to(site).as_posix() if path.exists() else ""
            anchor = unquote(parts.fragment)
            in_page = target in pages and anchor
            if not target or (in_page and anchor not in pages[target].anchors):
                dead.append(f"{name}: {link}")
    assert not dead


def test_every_picture_says_what_it_shows(pages):
    silent = [
        f"{name}: {picture.get('src', '')[:60]}"
        for name, page in pages.items()
        for picture in page.pictures
        if not (picture.get("alt") or "").strip() or (picture["alt"] or "").startswith("../")
    ]
    assert not silent


def test_it_is_small(site):
    """In bytes: with MathJax, the theme, and the live pictures."""
    assert sum(path.stat().st_size for path in site.rglob("*") if path.is_file()) < 40e6


def test_every_claim_is_on_one_page(site):
    with (ROOT / "results/margins.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    text = (site / "docs/claims.html").read_text("utf-8")
    assert len(re.findall('<tr class="row-(?:even|odd)"><td', text)) == len(rows)


def test_pages_open_without_complaint(site, pages, open_page):
    """On a phone: nothing in the console, nothing from elsewhere, no scrolling sideways."""
    page, wide = open_page("docs/index", viewport=PHONE), []
    for name in pages.keys() - {"index.html"}:  # which moves on to the front page
        page.goto((site / name).as_uri())
        if page.evaluate("document.documentElement.scrollWidth") > PHONE["width"]:
            wide.append(name)
    assert not wide


def test_the_address_alone_leads_to_the_front_page(open_page):
    page = open_page("index")
    page.wait_for_url("**/docs/index.html")


def test_formulas_are_set(open_page):
    page = open_page("notebooks/01_entropy_and_kl")
    page.wait_for_selector("mjx-container")
    assert page.locator(".math").count() and not page.locator("mjx-merror").count()


def test_search_finds(open_page):
    page = open_page("search", served=True)
    page.goto(f"{page.url}?q=posterior+collapse")
    page.wait_for_selector("#search-results li a")
    found = page.locator("#search-results li a").evaluate_all("all => all.map(one => one.href)")
    assert any("09_variational" in address for address in found)


@pytest.mark.parametrize("name, model, kind", LIVE)
def test_a_live_picture_draws_what_keras_decodes(site, open_page, name, model, kind):
    """After the keys, and after the pointer: within one grey level."""
    source = (site / f"{name}.html").read_text("utf-8")
    settings = {
        key: np.array(json.loads(re.search(rf'"{key}":(\[[^a-z"]*\])', source)[1]))
        for key in ("limits", "origin", "directions")
    }
    page = open_page(name)
    host = page.locator("[data-aelib-explorer]").first
    host.scroll_into_view_if_needed()
    area = host.locator(".plane") if kind == "plane" else host.locator("input").first
    said = {host.locator("output").inner_text()}

    area.focus()
    for key in ("ArrowRight", "ArrowUp", "Shift+ArrowRight"):
        page.keyboard.press(key)
    said.add(host.locator("output").inner_text())
    assert difference(host, settings, model, kind) <= 1

    box = area.bounding_box()
    page.mouse.click(box["x"] + 0.3 * box["width"], box["y"] + 0.4 * box["height"])
    said.add(host.locator("output").inner_text())
    assert difference(host, settings, model, kind) <= 1
    assert len(said) == 3  # each time it says something else


def difference(host, settings: dict[str, np.ndarray], model: str, kind: str) -> int:
    """The largest one between the canvas and Keras's image of the same code, in grey levels."""
    low, high = settings["limits"].T
    if kind == "plane":
        style = host.locator(".point").evaluate("one => [one.style.left, one.style.top]")
        left, top = (float(text.removesuffix("%")) / 100 for text in style)
        values = low + np.array([left, 1 - top]) * (high - low)
    else:
        values = np.array(host.locator("input").evaluate_all("all => all.map(one => +one.value)"))
    code = settings["origin"] + values @ settings["directions"]
    image = weights.load(model).decode(code[None].astype("float32"))[0].clip(0, 1)
    levels = np.rint(255 * (1 - image if model.startswith("mnist") else image))
    shown = host.locator("canvas").evaluate(
        "one => [...one.getContext('2d').getImageData(0, 0, one.width, one.height).data]"
    )
    shown = np.array(shown).reshape(*image.shape[:2], 4)[..., : image.shape[2]]
    return int(np.abs(shown - levels).max())


def test_live_pictures_are_small(site):
    """All together, in bytes: those of lessons, counted once, and those to draw on."""
    text = (site / "docs/live.html").read_text("utf-8")
    pictures = re.findall(r"(?s)<div data-aelib-explorer.*?</script>", text)
    assert len(pictures) == 5 and sum(map(len, pictures)) < 3e6


@pytest.mark.parametrize("which", ["Draw a digit: it becomes", "Draw a digit: noise"])
def test_what_is_drawn_is_answered(open_page, which):
    """By pointer, by keys, and by a button: each time the network draws something else."""
    page = open_page("docs/live")
    host = page.locator("[data-aelib-explorer]").filter(has_text=which)
    paper, answer = host.locator(".paper"), host.locator("figure canvas").last
    seen = [answer.evaluate("one => one.toDataURL()")]

    def changed() -> bool:
        seen.append(answer.evaluate("one => one.toDataURL()"))
        return seen[-1] != seen[-2]

    host.get_by_role("button").nth(3).click()
    assert changed()
    host.get_by_role("button", name="Clear").click()
    paper.scroll_into_view_if_needed()
    box = paper.bounding_box()
    at = [
        (box["x"] + a * box["width"], box["y"] + b * box["height"])
        for a, b in ((0.6, 0.2), (0.4, 0.8))
    ]
    page.mouse.move(*at[0])
    page.mouse.down()
    page.mouse.move(*at[1], steps=5)
    page.mouse.up()
    assert changed()
    paper.focus()
    page.keyboard.press("Space")
    for _ in range(6):
        page.keyboard.press("ArrowRight")
    assert changed()


@pytest.mark.parametrize("name, model, kind", LIVE)
def test_without_scripts_there_is_a_picture(open_page, name, model, kind):
    page = open_page(name, java_script_enabled=False)
    picture = page.locator("[data-aelib-explorer] img").first
    assert picture.is_visible() and "that the decoder draws" in picture.get_attribute("alt")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", KINDS)
def test_axe_finds_nothing_serious(open_page, name, scheme):
    from axe_playwright_python.sync_playwright import Axe

    page = open_page(name, color_scheme=scheme)
    found = Axe().run(page, options={"preload": False}).response["violations"]
    serious = {
        rule["id"]: [node["html"][:150] for node in rule["nodes"]][:3]
        for rule in found
        if rule["impact"] in ("serious", "critical")
    }
    assert not serious


def test_the_dark_keeps_figures_bright(open_page):
    page = open_page("notebooks/00_start_here", color_scheme="dark")
    figure = page.locator(".cell_output img").first
    assert figure.evaluate("one => getComputedStyle(one).filter") == "none"
