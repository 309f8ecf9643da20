"""`aelib report`: the page, the table in README.md, and files that are none of ours."""

import base64
import io
import json
import re

import nbformat.v4
import pytest
from PIL import Image
from tiny_notebooks import aelib

RESULTS = {
    "notebook": "02_pca",
    "profile": "full",
    "parameters": {"seed": 0},
    "dataset": ["mnist"],
    "device": "CPU",
    "versions": {"keras": "3.15.1"},
    "seconds": 125.0,
    "claims": [
        {
            "statement": "Eight <b>numbers</b> | leave little",
            "measured": 29.351,
            "relation": "<=",
            "bound": 29.4,
            "baseline": 52.7,
            "unit": "squared error",
            "source": "",
            "holds": True,
        }
    ],
    "records": [
        {"name": "pca_sse_8", "value": 29.351, "unit": "squared error"},
        {"name": "own", "value": 0.5, "unit": "a|b"},
    ],
}


@pytest.fixture
def results(tmp_path):
    """The tracked folder of results: one file for each notebook."""
    folder = tmp_path / "results"
    folder.mkdir()
    (folder / "02_pca.json").write_text(json.dumps(RESULTS))
    return folder


def test_writes_a_page_from_either_layout_and_escapes_what_it_shows(results, tmp_path):
    status, output = aelib("report", results, cwd=tmp_path)
    assert status == 0 and "leave little" in output and "29.35" in output
    page = (results / "index.html").read_text()
    assert "&lt;b&gt;numbers" in page and "<b>numbers" not in page
    assert "2.1 min" in page and "52.70" in page and "recounted on MNIST" in page
    assert not re.search(r"(src|href)=\"(https?:)?//", page), "it needs nothing from elsewhere"

    (results / "02_pca").mkdir()
    (results / "02_pca.json").rename(results / "02_pca" / "results.json")
    assert aelib("report", results, cwd=tmp_path)[0] == 0
    assert (results / "index.html").read_text() == page


def test_a_results_file_from_elsewhere_sends_nothing_to_the_terminal(results, tmp_path):
    claim = {**RESULTS["claims"][0], "statement": "a\x1b]0;t\x07b", "unit": "\x9bm", "holds": False}
    content = {**RESULTS, "dataset": ["\x1b]0;d\x07"], "claims": [claim]}
    (results / "02_pca.json").write_text(json.dumps(content))
    status, output = aelib("report", results, cwd=tmp_path)
    assert status == 0 and r"a\x1b]0;t\x07b" in output
    assert all(c.isprintable() or c == "\n" for c in output)


def test_shows_the_first_pictures_and_scales_large_ones_down(results, tmp_path):
    noise = Image.effect_noise((1600, 1200), 100)
    file = io.BytesIO()
    noise.save(file, "PNG")
    data = {"image/png": base64.b64encode(file.getvalue()).decode()}
    alt = {"image/png": {"alt": "six steps to the first axis"}}
    output = nbformat.v4.new_output("display_data", data, metadata=alt)
    cells = [
        nbformat.v4.new_markdown_cell("# 02 PCA\n\n> What is *kept*?"),
        nbformat.v4.new_markdown_cell("## The `six` steps"),
        *[nbformat.v4.new_code_cell("1", outputs=[output]) for _ in range(6)],
    ]
    (results / "02_pca").mkdir()
    nbformat.write(nbformat.v4.new_notebook(cells=cells), results / "02_pca" / "02_pca.ipynb")
    assert aelib("report", results, cwd=tmp_path)[0] == 0
    page = (results / "index.html").read_text()
    assert page.count("<img") == 4 and "What is kept?" in page and "The six steps" in page
    assert page.count('alt="six steps to the first axis"') == 4
    assert len(page) < 4 * len(data["image/png"]) / 2


def test_rewrites_the_table_in_a_readme_and_nothing_else(results, tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text("before\n<!-- results -->\nold\n<!-- /results -->\nafter | \\1\n")
    assert aelib("report", results, "--readme", readme, cwd=tmp_path)[0] == 0
    text = readme.read_text()
    assert "| 02_pca | `pca_sse_8` | squared error | 29.35 | 29.35 | recounted on MNIST |" in text
    assert "| a\\|b | 0.5000 |  |  |" in text and "old" not in text
    assert text.startswith("before\n") and text.endswith("after | \\1\n")
    assert aelib("report", results, "--readme", readme, cwd=tmp_path)[0] == 0
    assert readme.read_text() == text

    readme.write_text("no place for it")
    status, output = aelib("report", results, "--readme", readme, cwd=tmp_path)
    assert status == 2 and "<!-- results -->" in output


@pytest.mark.parametrize(
    "content", ["{", "[]", "{}", json.dumps({**RESULTS, "extra": 1}), json.dumps({"claims": 1})]
)
def test_names_a_file_that_is_no_results(results, tmp_path, content):
    (results / "03_other.json").write_text(content)
    status, output = aelib("report", results, cwd=tmp_path)
    assert status == 2 and "03_other.json" in output and "Traceback" not in output
