"""The examples of docstrings, README and the how-to pages run as they stand."""

import ast
import re
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def docstrings(path: Path) -> list[str]:
    """The docstrings of a module, its classes and functions, read without importing it."""
    kinds = ast.Module | ast.ClassDef | ast.FunctionDef
    nodes = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, kinds)]
    return [text for node in nodes if (text := ast.get_docstring(node))]


def examples(text: str) -> list[str]:
    return [textwrap.dedent(code) for code in re.findall(r"(?ms)^ *```python\n(.*?)^ *```", text)]


def found() -> dict[str, list[str]]:
    texts = {
        str(path.relative_to(ROOT)): docstrings(path)
        for path in sorted((ROOT / "aelib").rglob("*.py"))
    }
    texts["README.md"] = [(ROOT / "README.md").read_text()]
    codes = {name: [c for text in all_ for c in examples(text)] for name, all_ in texts.items()}
    return {name: code for name, code in codes.items() if code}


EXAMPLES = found()
ONE_BY_ONE = [(name, code) for name, codes in EXAMPLES.items() for code in codes]


@pytest.mark.parametrize(("name", "code"), ONE_BY_ONE, ids=[name for name, _ in ONE_BY_ONE])
def test_an_example_runs(name, code, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(compile(code, name, "exec"), {"__name__": "__main__"})


PAGES = sorted((ROOT / "docs").rglob("*.md"))  # those without code have nothing to run
HOW_TO = [page for page in PAGES if examples(page.read_text())]


@pytest.mark.parametrize("page", HOW_TO, ids=[page.name for page in HOW_TO])
def test_a_page_runs_from_top_to_bottom(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    namespace = {"__name__": "__main__"}  # one for all blocks: each goes on from the last
    for number, code in enumerate(examples(page.read_text()), 1):
        exec(compile(code, f"{page.name}, block {number}", "exec"), namespace)


def test_there_are_examples_and_each_is_fenced():
    not_run = {"a_cluster.md"}  # it needs a cluster
    how_to = {page.name for page in PAGES if page.parent.name == "how_to"}
    assert "folder_of_images.md" in how_to
    assert how_to - not_run <= {page.name for page in HOW_TO}
    assert {"README.md", "aelib/autoencoder.py", "aelib/variational.py"} <= EXAMPLES.keys()
    for path in sorted((ROOT / "aelib").rglob("*.py")):
        for text in docstrings(path):
            if re.search(r"(?m)^Examples?:", text):
                assert examples(text), f"{path.name}: an example without ```python"


def test_a_block_is_found_wherever_it_is_indented():
    text = (
        "a\n\n    ```python\n    x = 1\n    if x:\n        y = 2\n    ```\n```python\nz = 3\n```\n"
    )
    assert examples(text) == ["x = 1\nif x:\n    y = 2\n", "z = 3\n"]
