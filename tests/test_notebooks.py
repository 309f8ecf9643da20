"""What every notebook has in common, read from the file without running it."""

import ast
import builtins
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

LONGEST = 25  # lines of a cell; 20 in a lesson
STUDIES = sorted((ROOT / "studies").glob("*/"))
CLAIMS = {"claim", "record", "same"}
LANGUAGE = {
    "codemirror_mode": {"name": "ipython", "version": 3},
    "file_extension": ".py",
    "mimetype": "text/x-python",
    "name": "python",
    "nbconvert_exporter": "python",
    "pygments_lexer": "ipython3",
}
FOLDED = {"jupyter": {"source_hidden": True}, "tags": ["hide-input"]}


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


def calls(tree, module, names):
    """Whether `module.name(...)` is called anywhere in a syntax tree, for one of the names."""
    return any(
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id == module
        and node.func.attr in names
        for node in ast.walk(tree)
    )


def claims_only(statement):
    """A claim, or a loop or a condition that holds nothing but claims and what they need."""
    if isinstance(statement, ast.For | ast.If):
        inner = [*statement.body, *statement.orelse]
        return all(claims_only(one) or trivial(one) for one in inner) and any(
            map(claims_only, inner)
        )
    return isinstance(statement, ast.Expr) and calls(statement, "claims", CLAIMS)


def trivial(statement):
    """An assignment that calls nothing of the notebook's or the library's own."""
    if not isinstance(statement, ast.Assign):
        return isinstance(statement, ast.Assert)
    named = {
        node.func.id
        for node in ast.walk(statement)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    owners = {node.id for node in ast.walk(statement) if isinstance(node, ast.Name)}
    return named <= set(dir(builtins)) and not owners & {"metrics", "recipes", "losses", "keras"}


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
    assert "remove-cell" in colab["metadata"]["tags"]
    assert colab["metadata"]["jupyter"] == {"source_hidden": True}
    set_up = source(code(notebook)[2])
    assert "claims.begin(" in set_up and "load_or_embedded(dataset" in set_up


@every
def test_the_set_up_starts_the_library_before_tensorflow_and_sets_the_style(path):
    notebook = read(path)
    set_up, text = source(code(notebook)[2]), text_of(notebook, "code")
    if re.search(r"(?m)^ *(import|from) (keras|tensorflow)", text):
        (first,) = re.findall(r"\A(?:try:\n    )?import aelib\n\n *(.+)\n", set_up)
        assert first == "aelib.start(seed)"
        assert "get_logger" not in text and "noqa" not in text
    if "plt." in text or "plots.image" in text:
        assert "\nplots.use_style()\n" in set_up
    own = r'rcParams|"tab:|\bDARK\b|"k[-:.osD^vx*]+"'
    assert not re.findall(own, text), "the style and the palette are those of aelib.plots"


@every
def test_the_last_cell_counts_the_claims(path):
    notebook = read(path)
    last = notebook["cells"][-1]
    assert (last["id"], last["cell_type"], source(last)) == ("finish", "code", "claims.finish()")
    assert text_of(notebook, "code").count("claims.finish(") == 1
    assert "stops=" not in text_of(notebook, "code")


@every
def test_cells_that_only_claim_are_folded_and_no_others(path):
    _, *cells = code(read(path))  # the first is for Colab, and once stamped no plain Python
    for cell in cells:
        statements = ast.parse(source(cell)).body
        claiming = [claims_only(statement) for statement in statements]
        if any(claiming) and all(
            c or trivial(s) for c, s in zip(claiming, statements, strict=True)
        ):
            assert cell["metadata"] == FOLDED, cell["id"]
        elif "hide-input" in cell["metadata"].get("tags", ()):
            assert calls(ast.parse(source(cell)), "claims", CLAIMS), cell["id"]


@every
def test_a_cell_whose_text_is_compared_makes_no_claims(path):
    """A difference of 1e-8 is another number on another machine."""
    for cell in tagged(read(path), "nbval-check-output"):
        assert not calls(ast.parse(source(cell)), "claims", CLAIMS), cell["id"]


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
    solutions = read(path.parent / "solutions" / path.name)
    title, of_solutions = (source(nb["cells"][0]).splitlines()[0] for nb in (read(path), solutions))
    assert of_solutions == f"{title}: solutions"
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
    for part in (
        r"\*\*What you will be able to do\.?\*\*",
        r"\*\*What you need first\.\*\*",
        r"\*\*How long it takes\.\*\*",
        r"\*\*What to notice[^*\n]*\*\*",
        r"##+ Here and in the papers?$",
        r"##+ Exercises$",
        r"##+ Summary$",
        r"##+ Next$|\*\*Next\.\*\*",
    ):
        assert re.search(rf"(?m)^(?:{part})", prose), part
    assert "claims.paper_table()" in text_of(read(path), "code")


@numbered
def test_a_notebook_asks_three_questions_and_answers_them(path):
    """Markdown and formulas inside `details` render only between empty lines."""
    cells = read(path)["cells"]
    (place,) = [i for i, cell in enumerate(cells) if cell["id"] == "questions"]
    text = source(cells[place])
    assert text.startswith("## Questions\n")
    assert source(cells[place + 1]).startswith("## Exercises\n")
    answer = r"<details><summary>Answer</summary>\n\n(.*?)\n\n</details>"
    answers = re.findall(rf"(?ms)^\*\*(\d)\. .+?\n\n{answer}", text)
    assert [number for number, _ in answers] == ["1", "2", "3"]
    assert all(written.strip() for _, written in answers)
    assert text.count("<details>") == text.count("</details>") == 3
    contents = [source(cell) for cell in cells if "**Contents**" in source(cell)]
    assert all("](#Questions)" in links for links in contents)


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
    # What JupyterLab writes, or it marks the notebook as changed when it is opened.
    assert set(notebook["metadata"]) == {"kernelspec", "language_info"}
    assert notebook["metadata"]["kernelspec"] == {
        "display_name": "Python 3 (ipykernel)",
        "language": "python",
        "name": "python3",
    }
    assert {key: notebook["metadata"]["language_info"].get(key) for key in LANGUAGE} == LANGUAGE
    assert path.stat().st_size < 1_000_000
    ids = [cell["id"] for cell in notebook["cells"]]
    assert len(ids) == len(set(ids))


@every
def test_stored_outputs_show_the_real_mnist_or_drawn_faces(path):
    """`make render` refuses anything else; this says so of what is stored."""
    outputs = [output for cell in code(read(path)) for output in cell["outputs"]]
    printed = json.dumps([output.get("text") for output in outputs])
    shown = "faces: " if path.name.startswith("10_") else "mnist: "  # never photographs of people
    assert shown in printed and "digits: " not in printed and "smiles: " not in printed


@every
def test_every_stored_figure_has_an_alternative_text(path):
    for cell in code(read(path)):
        for output in cell["outputs"]:
            if "image/png" in output.get("data", ()):
                alt = output["metadata"].get("image/png", {}).get("alt", "")
                assert len(alt.split()) >= 4, (cell["id"], alt)


@every
def test_cells_are_short(path):
    notebook = read(path)
    parameters = tagged(notebook, "parameters")
    cells = [cell for cell in code(notebook) if cell not in parameters]
    assert not [cell["id"] for cell in cells if lines_of(cell) > LONGEST]
    assert "verbose=1" not in text_of(notebook, "code")


def lines_of(cell):
    return sum(bool(line.strip()) for line in source(cell).splitlines())


@numbered
def test_a_lesson_is_short(path):
    notebook = read(path)
    (parameters,) = tagged(notebook, "parameters")
    assert len(ast.parse(source(parameters)).body) <= 12
    assert sum(map(lines_of, code(notebook))) <= 300
    assert not [c["id"] for c in code(notebook) if lines_of(c) > 20 and c is not parameters]


@numbered
def test_a_lesson_leads_on(path):
    """Contents, references and neighbours are links, and what they lead to is there."""
    prose = text_of(read(path), "markdown")
    headings = {h.replace(" ", "-") for h in re.findall(r"(?m)^#+ (.+)$", prose)}
    links = re.findall(r"\]\(([^)\s]+)\)", prose)
    inside = [link[1:] for link in links if link.startswith("#")]
    sections = re.findall(r"(?m)^## (\d+\. .+)$", prose)
    wanted = [section.replace(" ", "-") for section in sections]
    assert [link for link in inside if link in wanted] == wanted, "the contents"
    assert set(inside) <= headings
    files = [link for link in links if not link.startswith(("#", "http"))]
    assert all((path.parent / link).is_file() for link in files), files
    number = int(path.stem[:2])
    beside = {one.name for one in NUMBERED if abs(int(one.stem[:2]) - number) == 1}
    assert beside <= set(files) and f"solutions/{path.name}" in files
    references = prose.partition("\n## References\n")[2].partition("\n## ")[0]
    entries = re.findall(r"(?m)^[-*] .+$", references)
    assert len(entries) >= 3 and all("](http" in entry for entry in entries)


@pytest.mark.parametrize("folder", STUDIES, ids=lambda folder: folder.name)
def test_a_study_runs_one_configuration_and_reports_on_all(folder):
    run, report = read(folder / "run.ipynb"), read(folder / "report.ipynb")
    grid = yaml.safe_load((folder / "grid.yaml").read_text())
    assert {"smoke", "full"} <= grid.keys()
    assert sum(map(lines_of, code(run))) <= 100
    assert "claims.record(" in text_of(run, "code") and "claims.claim(" not in text_of(run, "code")
    text = text_of(report, "code")
    assert f'claims.evidence(rows or "{folder.name}")' in text and "claims.claim(" in text
    assert "does not show" in text_of(report, "markdown")
    for notebook in (run, report):
        (parameters,) = tagged(notebook, "parameters")
        names = [statement.target.id for statement in ast.parse(source(parameters)).body]
        assert {"profile", "seed", "dataset"} <= set(names)
        assert source(notebook["cells"][-1]) == "claims.finish()"
        assert not [cell["id"] for cell in code(notebook) if lines_of(cell) > 20 + 10]


@numbered
def test_claims_are_made_and_recorded(path):
    text = text_of(read(path), "code")
    assert len(re.findall(r"claims\.claim\(", text)) >= 3
    assert "claims.record(" in text
