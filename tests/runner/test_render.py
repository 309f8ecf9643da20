"""`python tools/render.py`: what is stored, and what is refused."""

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest
from tiny_notebooks import BEGIN, write_notebook

TOOL = Path(__file__).parents[2] / "tools" / "render.py"
SOURCES = [
    BEGIN,
    "import sys\nprint('litter', file=sys.stderr)\nprint('0 %\\r100 %')\nprint('kept')\n1 + 1",
    "",
]
ON_MNIST = 'profile: str = "quick"\nseed: int = 0\ndataset: str = "mnist"'


def render(folder) -> tuple[int, str]:
    command = [sys.executable, TOOL, "--jobs", "2"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)
    return done.returncode, done.stdout + done.stderr


def test_stores_outputs_without_litter_and_refuses_what_is_not_from_mnist(tmp_path):
    notebooks = tmp_path / "notebooks"
    good = write_notebook(notebooks / "01_good.ipynb", *SOURCES, parameters=ON_MNIST)
    refused = {
        "02_on_digits": ([BEGIN], 'dataset: str = "digits"', "Data used: digits"),
        "03_unnamed": (["1"], ON_MNIST, "Data used: none"),
        "04_fails": ([BEGIN, "1 / 0"], ON_MNIST, "did not finish"),
        "05_large": ([BEGIN, "print('x' * 1_100_000)"], ON_MNIST, "bytes"),
    }
    paths = {
        name: write_notebook(notebooks / f"{name}.ipynb", *sources, parameters=parameters)
        for name, (sources, parameters, _) in refused.items()
    }
    solution = write_notebook(
        notebooks / "solutions" / "01_good.ipynb", BEGIN, parameters='dataset: str = "digits"'
    )
    before = {path: path.read_bytes() for path in (*paths.values(), solution)}
    status, output = render(tmp_path)
    assert status == 1
    for name, (_, _, reason) in refused.items():
        line = next(line for line in output.splitlines() if f"✗ {name}" in line)
        assert reason in line
    assert "✗ 01_good_solutions" in output
    assert all(path.read_bytes() == content for path, content in before.items())

    notebook = nbformat.read(good, 4)
    nbformat.validate(notebook)
    assert set(notebook.metadata) == {"kernelspec", "language_info"}
    assert [cell.id for cell in notebook.cells] == ["c00", "c01", "c02", "c03", "c04"]
    assert [cell.get("execution_count") for cell in notebook.cells] == [None, 1, 2, 3, None]
    assert notebook.cells[1].metadata == {"tags": ["parameters"]}
    assert notebook.cells[3].metadata == {}
    stream, result = notebook.cells[3].outputs
    assert stream.text == "100 %\nkept\n"
    assert (result.data["text/plain"], result.execution_count) == ("2", 3)

    stored = good.read_bytes()
    for path in (*paths.values(), solution):
        path.unlink()
    status, output = render(tmp_path)
    assert status == 0, output
    assert good.read_bytes() == stored


@pytest.mark.parametrize("change", ["source", "id"])
def test_refuses_a_notebook_that_was_changed_while_it_ran(change):
    from aelib.runner import UsageError

    spec = importlib.util.spec_from_file_location("render", TOOL)
    render = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(render)

    cell = nbformat.v4.new_code_cell("1")
    before = nbformat.v4.new_notebook(cells=[cell])
    after = nbformat.v4.new_notebook(cells=[{**cell, change: "2"}])
    with pytest.raises(UsageError):
        render.normalised(before, nbformat.from_dict(after))


def test_photographs_may_be_counted_in_a_report_and_in_no_lesson(tmp_path):
    spec = importlib.util.spec_from_file_location("render", TOOL)
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    result = SimpleNamespace(ok=True, dataset=["smiles"])
    for name in ("report", "10_faces"):
        path = write_notebook(tmp_path / f"{name}.ipynb", BEGIN, parameters=ON_MNIST)
        notebook = SimpleNamespace(path=path)
        if name == "report":
            tool.write_back(notebook, result, path)
            continue
        with pytest.raises(tool.UsageError, match="Data used: smiles"):
            tool.write_back(notebook, result, path)
