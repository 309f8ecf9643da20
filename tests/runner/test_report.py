"""`aelib report`: the page, and files that are none of ours."""

import base64
import io
import json
import os
import re
from types import SimpleNamespace

import nbformat.v4
import pytest
from PIL import Image
from tiny_notebooks import RESULTS, aelib

from aelib.runner.notebooks import Notebook
from aelib.runner.plan import Plan
from aelib.runner.report import read_run, write_index
from aelib.runner.results import Result
from aelib.runner.table import data_found


def test_writes_a_page_from_either_layout_and_escapes_what_it_shows(results, tmp_path):
    status, output = aelib("report", results, cwd=tmp_path)
    assert status == 0 and "leave little" in output and "29.35" in output
    page = (results / "index.html").read_text()
    assert "&lt;b&gt;numbers" in page and "<b>numbers" not in page
    assert "2.1 min" in page and "52.7<" in page and "recounted on MNIST" in page
    assert not re.search(r"(src|href)=\"(https?:)?//", page), "it needs nothing from elsewhere"

    (results / "02_pca").mkdir()
    (results / "02_pca.json").rename(results / "02_pca" / "results.json")
    assert aelib("report", results, cwd=tmp_path)[0] == 0
    assert (results / "index.html").read_text() == page


def test_a_results_file_from_elsewhere_sends_nothing_to_the_terminal(results, tmp_path):
    claim = {**RESULTS["claims"][0], "statement": "a\x1b]0;t\x07b", "unit": "\x9bm", "holds": False}
    names = {"notebook": "\x1b]0;n\x07", "dataset": ["\x1b]0;d\x07"]}
    content = {**RESULTS, **names, "claims": [claim]}
    (results / "02_pca.json").write_text(json.dumps(content))
    status, output = aelib("report", results, cwd=tmp_path)
    assert status == 0 and r"a\x1b]0;t\x07b" in output
    assert all(c.isprintable() or c == "\n" for c in output)
    (line,) = data_found([SimpleNamespace(parameters={"dataset": "\x1b]0;d\x07.npz"})])
    assert line == r"\x1b]0;d\x07.npz: your own data"


def png(width=40, height=30, alt=None):
    """The output of a cell that shows a picture."""
    file = io.BytesIO()
    Image.effect_noise((width, height), 100).save(file, "PNG")
    data = {"image/png": base64.b64encode(file.getvalue()).decode()}
    metadata = {"image/png": {"alt": alt}} if alt else {}
    return nbformat.v4.new_output("display_data", data, metadata=metadata)


def executed(results, *cells, name="02_pca/02_pca.ipynb"):
    """An executed notebook beside the results."""
    path = results / name
    path.parent.mkdir(exist_ok=True)
    first = nbformat.v4.new_markdown_cell("# 02 `PCA` in $d_z$\n\n> What is *kept* of $\\lambda$?")
    nbformat.write(nbformat.v4.new_notebook(cells=[first, *cells]), path)
    return path


def code_cell(*outputs, **metadata):
    return nbformat.v4.new_code_cell("1", outputs=list(outputs), metadata=metadata)


def page_of(results):
    """The page as `aelib report` writes it."""
    return write_index(results, read_run(results)).read_text()


def alts(page):
    return re.findall(r'alt="([^"]*)"', page)


def test_shows_the_first_pictures_and_scales_large_ones_down(results):
    large = png(1600, 1200, alt="six steps to the first axis")
    heading = nbformat.v4.new_markdown_cell(r"## The `six` steps: $d(\alpha\, e + e')$, $\lambda$")
    executed(results, heading, code_cell(png()), *[code_cell(large)] * 5)
    page = page_of(results)
    plain = "The six steps: d(α e + e&#39;), λ"
    assert alts(page) == [plain, *["six steps to the first axis"] * 3]
    assert re.findall(r"<figcaption>(.*?)<", page) == alts(page), "what a picture says of itself"
    assert "02 PCA in d_z" in page and "What is kept of λ?" in page and "$" not in page
    assert len(page) < 4 * len(large.data["image/png"]) / 2


def test_pictures_of_cells_tagged_report_come_first(results):
    cells = [code_cell(png(alt=str(i)), tags=["report"] if i > 4 else []) for i in range(7)]
    executed(results, *cells)
    assert alts(page_of(results)) == ["5", "6", "0", "1"]


def test_a_wide_picture_has_the_whole_width(results):
    executed(results, code_cell(png(230, 100, alt="wide"), png(210, 100, alt="narrow")))
    figures = re.findall(r'<figure( class="wide")? style="--aspect:([\d.]+)">', page_of(results))
    assert figures == [(' class="wide"', "2.3"), ("", "2.1")]


def test_links_to_an_html_of_the_executed_notebook_made_once(results):
    path = executed(results, code_cell(png(alt="seen < here")), name="02_pca/0 2#.ipynb")
    assert 'href="02_pca/0%202%23.html"' in page_of(results)
    html = path.with_suffix(".html")
    assert "data:image/png;base64," in html.read_text() and "seen &lt; here" in html.read_text()
    before = html.stat().st_mtime_ns
    page_of(results)
    assert html.stat().st_mtime_ns == before, "not made again"
    os.utime(path, ns=(before + 10**9, before + 10**9))
    page_of(results)
    assert html.stat().st_mtime_ns != before, "the notebook is newer"


def test_a_notebook_that_cannot_be_converted_is_linked_itself(results):
    path = executed(results, code_cell(nbformat.v4.new_output("stream", text="*a* " * 200_000)))
    assert 'href="02_pca/02_pca.ipynb"' in page_of(results), "too long to convert"
    executed(results)
    path.with_suffix(".html").mkdir()
    assert 'href="02_pca/02_pca.ipynb"' in page_of(results), "its place is taken"


def test_of_results_and_a_fault_the_fault_is_shown_with_its_notebook(results):
    executed(results, code_cell(png(alt="before")))
    (results / "02_pca.json").rename(results / "02_pca" / "results.json")
    executed(results, code_cell(png(alt="broken off")), name="02_pca/fault.ipynb")
    assert alts(page_of(results)) == ["before"]
    fault = {"reason": "Boom", "cell": 3, "source": "x", "last_lines": "", "again": False}
    content = {**RESULTS, "binding": True, "fault": fault}
    (results / "02_pca" / "fault.json").write_text(json.dumps(content))
    page = page_of(results)
    assert alts(page) == ["broken off"] and 'href="02_pca/fault.html"' in page
    assert "0 of 1 notebooks finished" in page and "Boom" in page


def test_runs_of_one_notebook_are_told_apart(tmp_path):
    runs = []
    for seed in (0, 1):
        notebook = Notebook(tmp_path / "02_pca.ipynb")
        plan = Plan(notebook, "quick", {"seed": seed, "k": [1]}, in_grid=True)
        plan.notebook.__dict__["cells"] = []
        executed(tmp_path, code_cell(png(alt=f"of seed {seed}")), name=f"{plan.id}/02_pca.ipynb")
        runs.append(Result(plan.name, "quick", plan.parameters))
    page = write_index(tmp_path, runs).read_text()
    assert re.findall(r"seed \d", page) == [
        "seed 0",
        *["of seed 0"[3:]] * 2,
        "seed 1",
        *["seed 1"] * 2,
    ]
    assert "k [1]" not in page, "they share it"
    anchors = re.findall(r'<article id="([^"]*)"', page)
    assert len(set(anchors)) == 2 and re.findall(r'href="#([^"]*)"', page) == anchors


DAMAGED = {
    "cells null": lambda nb: nb.update(cells=None),
    "a cell null": lambda nb: nb["cells"].insert(0, None),
    "outputs no list": lambda nb: nb["cells"][1].update(outputs=3),
    "an output null": lambda nb: nb["cells"][1].update(outputs=[None]),
    "source a number": lambda nb: nb["cells"][0].update(source=7),
    "metadata null": lambda nb: nb["cells"][0].update(metadata=None),
    "tags null": lambda nb: nb["cells"][1]["metadata"].update(tags=None),
    "data a list": lambda nb: nb["cells"][1]["outputs"][0].update(data=["image/png"]),
    "alt a list": lambda nb: nb["cells"][1]["outputs"][0].update(metadata={"image/png": [1]}),
    "a list": lambda nb: nb.clear(),
}


@pytest.mark.parametrize("damage", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_notebook_costs_its_own_pictures_and_never_the_page(results, damage):
    path = executed(results, code_cell(png()))
    content = json.loads(path.read_text())
    damage(content)
    path.write_text(json.dumps(content))
    _shows_the_rest(results)


def test_a_damaged_notebook_leaves_nothing_on_the_terminal(results):
    executed(results, code_cell(png())).write_text("{")
    executed(results, code_cell(png()), name="03_other/03_other.ipynb")
    (results / "03_other.json").write_text(json.dumps({**RESULTS, "notebook": "03_other"}))
    status, output = aelib("report", results, cwd=results)
    assert status == 0 and output.count("\n\n") == 3
    assert output.splitlines()[-2] == "2 of 2 notebooks finished"


@pytest.mark.parametrize("content", ["", "[]", "{", "[" * 200_000, '{"a":' * 900 + "1" + "}" * 900])
def test_a_file_that_is_no_notebook_never_costs_the_page(results, content):
    executed(results).write_text(content)
    _shows_the_rest(results)


def _shows_the_rest(results):
    other = {**RESULTS, "notebook": "03_other"}
    (results / "03_other.json").write_text(json.dumps(other))
    executed(results, code_cell(png(alt="of another")), name="03_other/03_other.ipynb")
    page = page_of(results)
    assert "of another" in page and page.count("leave little") == 2
    assert '<a href="02_pca/02_pca.' in page


@pytest.mark.parametrize(
    "picture",
    [
        b"",
        b"no picture",
        b"\x89PNG\r\n\x1a\n" + b"\0" * 50,
        base64.b64decode(png().data["image/png"])[:-30],
    ],
    ids=["empty", "text", "a header", "cut"],
)
def test_a_png_that_is_none_costs_that_picture_alone(results, picture):
    output = png()
    output.data["image/png"] = base64.b64encode(picture).decode()
    executed(results, code_cell(output), *[code_cell(png(alt=str(i))) for i in range(4)])
    assert alts(page_of(results)) == ["0", "1", "2", "3"]


def test_a_heading_of_ten_megabytes_is_cut(results):
    path = executed(results, code_cell(png()))
    text = path.read_text().replace("# 02", "# 02 " + "long " * 2_000_000)
    path.write_text(text)
    page = page_of(results)
    assert "02 long long" in page and len(page) < 100_000


def test_a_name_leads_nowhere_out_of_the_folder(results):
    executed(results, name="../outside/x.ipynb")
    (results / "02_pca.json").write_text(json.dumps({**RESULTS, "notebook": "../outside"}))
    assert "x.html" not in page_of(results)
    assert not (results / "../outside/x.html").exists()


@pytest.mark.parametrize(
    ("changes", "grey"),
    [({}, False), ({"profile": "quick"}, True), ({"dataset": ["digits"]}, True)],
)
def test_published_numbers_are_grey_where_the_data_or_the_size_differ(results, changes, grey):
    records = [{"name": "judge_accuracy", "value": 0.7, "unit": ""}, *RESULTS["records"]]
    (results / "02_pca.json").write_text(json.dumps({**RESULTS, "records": records, **changes}))
    page = page_of(results)
    paper = re.findall(r'<td class="number([^"]*)" data-name="in the paper">([\d.]+)', page)
    assert paper == [(" other", "0.916"), (" other" if grey else "", "29.35")]
    assert "In grey" in page
    names = re.findall(r"<code>(\w+)</code>", page)
    assert names == ["judge_accuracy", "pca_sse_8", "own"], "in the order of the notebook"


@pytest.mark.parametrize(
    ("holds", "binding", "state", "verdict"),
    [
        (True, True, "good", "holds"),
        (False, True, "bad", "missed"),
        (False, False, "open", "only reported"),
    ],
)
def test_a_claim_on_its_bound_is_told_from_a_miss(results, holds, binding, state, verdict):
    claim = {"measured": 0.8, "relation": ">=", "bound": 0.8, "baseline": 1.192e-07}
    content = {**RESULTS, "claims": [{**RESULTS["claims"][0], **claim, "holds": holds}]}
    (results / "02_pca").mkdir()
    (results / "02_pca" / "results.json").write_text(json.dumps(content))
    (results / "02_pca" / "done.json").write_text(json.dumps({"binding": binding}))
    (results / "02_pca.json").unlink()
    page = page_of(results)
    assert f'<td class="mark {state}"><span role="img" aria-label="{verdict}">' in page
    drawn = page.index(f'<span class="strip {state}" aria-hidden="true">')
    kinds = re.findall(r'<i class="(\w+)"', page[drawn : page.index("</td>", drawn)])
    assert kinds == ["met", "baseline", "measured", "bound"], "the bound is drawn over the dot"
    assert ".strip:not(.good) .measured" in page, "a miss is a cross"
    assert "≥ 0.8<" in page and "1.192 × 10<sup>-7</sup>" in page and "0.8000<" not in page


def test_only_what_failed_is_a_switch_that_needs_no_script(results):
    other = {**RESULTS, "notebook": "03_other"}
    (results / "03_other.json").write_text(json.dumps(other))
    assert "<input" not in page_of(results), "nothing failed"
    other["claims"] = [{**RESULTS["claims"][0], "holds": False}]
    (results / "03_other.json").write_text(json.dumps(other))
    page = page_of(results)
    assert '<label><input type="checkbox" id="failed">only what failed</label>' in page
    assert "main:has(#failed:checked) .whole { display: none; }" in page
    assert '<article id="02_pca" class="whole">' in page and '<article id="03_other">' in page
    assert "<script" not in page and "<th></th>" not in page


def tampered(**changes) -> str:
    """Results with other values; those of a claim where it has the key."""
    claim = {**RESULTS["claims"][0], **{k: v for k, v in changes.items() if k in CLAIM}}
    rest = {key: value for key, value in changes.items() if key not in CLAIM}
    return json.dumps({**RESULTS, "claims": [claim], **rest})


CLAIM = RESULTS["claims"][0].keys()
DAMAGED = [
    "{",
    "[]",
    "{}",
    "[" * 100_000,
    json.dumps({"claims": 1}),
    tampered(extra=1),
    tampered(dataset=[1]),
    tampered(dataset="mnist"),
    tampered(relation="~"),
    tampered(measured=10**400),
    tampered(measured="1"),
    tampered(holds=1),
    tampered(bound=float("nan")),
    tampered(seconds=None),
    tampered(records=[{"name": "a", "value": None, "unit": ""}]),
]


@pytest.mark.parametrize("content", DAMAGED, ids=range(len(DAMAGED)))
def test_names_a_file_that_is_no_results(results, tmp_path, content):
    (results / "03_other.json").write_text(content)
    status, output = aelib("report", results, cwd=tmp_path)
    assert status == 2 and "03_other.json" in output and "Traceback" not in output
