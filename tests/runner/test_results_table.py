"""`python tools/results_table.py`: the table "here / in the paper" in a Markdown file."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_notebooks import RESULTS

from aelib.runner.report import read_run

TOOLS = Path(__file__).parents[2] / "tools"
sys.path.insert(0, str(TOOLS))

from results_table import update_readme  # noqa: E402


def table(folder: Path, readme: Path) -> subprocess.CompletedProcess:
    command = [sys.executable, TOOLS / "results_table.py", folder, readme]
    return subprocess.run(command, capture_output=True, text=True)


def test_rewrites_the_table_in_a_readme_and_nothing_else(results, tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text("before\n<!-- results -->\nold\n<!-- /results -->\nafter | \\1\n")
    assert table(results, readme).returncode == 0
    text = readme.read_text()
    assert "| 02_pca | `pca_sse_8` | squared error | 29.35 | 29.35 | recounted on MNIST |" in text
    assert "| a\\|b | 0.5000 |  |  |" in text and "old" not in text
    assert text.startswith("before\n") and text.endswith("after | \\1\n")
    assert table(results, readme).returncode == 0
    assert readme.read_text() == text

    for text in ("no place for it", "<!-- results -->\n<!-- /results -->\n" * 2):
        readme.write_text(text)
        done = table(results, readme)
        assert done.returncode == 1 and "<!-- results -->" in done.stderr
        assert readme.read_text() == text
    for damaged in (lambda: readme.write_bytes(b"\xff"), readme.unlink):
        damaged()
        done = table(results, readme)
        assert done.returncode == 1 and "README.md" in done.stderr
        assert "Traceback" not in done.stderr


BREAKING = ["a\nb", "a\r\n| b |", "a|b", "a\\|b", "a\\", "<!-- /results -->", "\u2028", "\ud800"]


@pytest.mark.parametrize("text", BREAKING)
@pytest.mark.parametrize("place", ["unit", "name", "notebook"])
def test_no_text_breaks_the_table_in_a_readme(results, tmp_path, text, place):
    content = json.loads(json.dumps(RESULTS))
    (content if place == "notebook" else content["records"][0])[place] = text
    readme = tmp_path / "README.md"
    readme.write_text("before\n<!-- results -->\n<!-- /results -->\nafter\n")
    (results / "02_pca.json").write_text(json.dumps(content))
    run = read_run(results)
    update_readme(readme, run)
    once = readme.read_text()
    update_readme(readme, run)
    assert readme.read_text() == once and len(once.splitlines()) == 8
    cells = [re.split(r"(?<!\\)(?:\\\\)*\|", line) for line in once.splitlines()[2:6]]
    assert [len(row) for row in cells] == [8] * 4


def test_a_readme_keeps_its_line_ends_its_link_and_its_mode(results, tmp_path):
    readme, link = tmp_path / "README.md", tmp_path / "link.md"
    readme.write_bytes(b"before\r\n<!-- results -->\r\nold\r\n<!-- /results -->\r\nafter\n")
    readme.chmod(0o640)
    link.symlink_to("README.md")
    update_readme(link, read_run(results))
    content = readme.read_bytes()
    assert b"pca_sse_8" in content and content.count(b"\r\n") == content.count(b"\n") - 1
    assert link.is_symlink() and readme.stat().st_mode & 0o777 == 0o640
