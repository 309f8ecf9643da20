"""What every notebook has in common, read from the file without running it."""

import ast
import json
import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
NUMBERED = sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))
SOLUTIONS = sorted((ROOT / "notebooks" / "solutions").glob("*.ipynb"))
every = pytest.mark.parametrize(
    "path", [*NUMBERED, *SOLUTIONS], ids=lambda path: "/".join(path.parts[-2:])
)
numbered = pytest.mark.parametrize("path", NUMBERED, ids=lambda path: path.stem)


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


def code(notebook):
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def source(cell):
    return "".join(cell["source"])


def tagged(notebook, tag):
    return [cell for cell in notebook["cells"] if tag in cell["metadata"].get("tags", ())]


def text_of(notebook, kind):
    return "\n".join(source(c) for c in notebook["cells"] if c["cell_type"] == kind)


@every
def test_the_head_is_in_order(path):
    notebook = read(path)
    first = notebook["cells"][0]
    assert first["cell_type"] == "markdown" and source(first).startswith("# ")
    assert "\n> " in source(first), "the question, as a quotation"
    (colab,) = tagged(notebook, "colab")
    (parameters,) = tagged(notebook, "parameters")
    order = [notebook["cells"].index(cell) for cell in (colab, parameters)]
    assert order == sorted(order) and order[1] == order[0] + 1
    assert code(notebook)[:2] == [colab, parameters]
    set_up = source(code(notebook)[2])
    assert "claims.begin(" in set_up and "load_or_embedded(dataset" in set_up


@every
def test_parameters_are_typed_commented_literals(path):
    (cell,) = tagged(read(path), "parameters")
    names = []
    for statement in ast.parse(source(cell)).body:
        assert isinstance(statement, ast.AnnAssign), "name: type = literal"
        ast.literal_eval(statement.value)
        names.append(statement.target.id)
    assert {"profile", "seed", "dataset"} <= set(names)
    assert all("  # " in line for line in source(cell).splitlines() if line.strip())
    assert 'profile: str = "quick"' in source(cell)


@numbered
def test_every_notebook_has_solutions_and_a_full_profile_with_known_names(path):
    assert (path.parent / "solutions" / path.name).exists()
    folder = path.parent / "profiles" / "full"
    assert (folder / f"{path.stem}.yaml").exists()
    (cell,) = tagged(read(path), "parameters")
    defaults = {s.target.id: ast.literal_eval(s.value) for s in ast.parse(source(cell)).body}
    for file in folder.glob(f"{path.stem}*.yaml"):
        full = yaml.safe_load(file.read_text())
        assert full["profile"] == "full" and full.keys() <= defaults.keys(), file.name
        for name, value in full.items():
            assert type(value) is type(defaults[name]), (file.name, name)


@numbered
def test_a_notebook_has_every_part(path):
    prose = text_of(read(path), "markdown")
    for part in ("What you will be able to do", "What you need first", "How long it takes"):
        assert part in prose
    for part in ("What to notice", "Exercises", "Summary", "Next"):
        assert part in prose
    assert "claims.paper_table()" in text_of(read(path), "code")


@every
def test_stored_outputs_are_those_of_one_clean_run(path):
    notebook = read(path)
    counts = [cell["execution_count"] for cell in code(notebook) if source(cell).strip()]
    assert counts == list(range(1, len(counts) + 1))
    assert not [
        output
        for cell in code(notebook)
        for output in cell["outputs"]
        if output["output_type"] == "error"
    ]
    assert set(notebook["metadata"]) == {"kernelspec", "language_info"}
    assert path.stat().st_size < 1_000_000
    ids = [cell["id"] for cell in notebook["cells"]]
    assert len(ids) == len(set(ids))


@every
def test_stored_outputs_show_the_real_mnist_or_drawn_faces(path):
    """`make render` refuses anything else; this says so of what is stored."""
    printed = json.dumps([output for cell in code(read(path)) for output in cell["outputs"]])
    shown = "faces: " if path.name.startswith("10_") else "mnist: "  # never photographs of people
    assert shown in printed and "digits: " not in printed and "smiles: " not in printed


@every
def test_cells_are_short_and_say_what_they_do(path):
    for cell in code(read(path)):
        lines = [line for line in source(cell).splitlines() if line.strip()]
        assert len(lines) <= 35, f"{cell['id']} has {len(lines)} lines"
    assert "verbose=1" not in text_of(read(path), "code")


@numbered
def test_claims_are_made_and_recorded(path):
    text = text_of(read(path), "code")
    assert len(re.findall(r"claims\.claim\(", text)) >= 3
    assert "claims.record(" in text
