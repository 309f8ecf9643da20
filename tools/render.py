"""Makes the stored outputs: `python tools/render.py [NOTEBOOK]...`, which `make render` calls.

Executes notebooks and their solutions in the quick profile and writes them back in place,
in a form that depends on nothing but the source, the data and the library.
"""

import sys
from pathlib import Path

import click
import nbformat

from aelib._files import write_whole
from aelib.runner import UsageError
from aelib.runner.notebooks import Notebook, checkout, choose
from aelib.runner.plan import make_plans, resolve_data_folder
from aelib.runner.progress import Progress
from aelib.runner.results import Result
from aelib.runner.runs import Folder, locked, on_this_machine, run

DATASETS = {"mnist", "faces"}  # stored outputs show the real MNIST and the embedded faces
OF_REPORTS = DATASETS | {"smiles"}  # whose tables and curves show no image
LARGEST = 1_000_000  # bytes
WIDGET = "application/vnd.jupyter.widget-view+json"


def normalised(
    source: nbformat.NotebookNode, executed: nbformat.NotebookNode
) -> nbformat.NotebookNode:
    """`source` with the outputs of `executed`, counted from 1, without litter.

    Raises:
        UsageError: if the two have different cells, or an output is an error.
    """
    before, after = ([(cell.id, cell.source) for cell in nb.cells] for nb in (source, executed))
    if before != after:
        raise UsageError("it was changed while it ran")
    # As JupyterLab writes it: a notebook that says less is marked as changed when it is opened.
    names = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
    language = executed.metadata.language_info
    source.metadata = nbformat.from_dict({"kernelspec": names, "language_info": language})
    count = 0
    for cell, result in zip(source.cells, executed.cells, strict=True):
        for key in ("papermill", "execution"):
            cell.metadata.pop(key, None)
        if cell.cell_type != "code":
            continue
        count += bool(cell.source.strip())
        cell.execution_count = count if cell.source.strip() else None
        cell.outputs = _outputs(result.outputs, cell.execution_count)
    return source


def _outputs(outputs: list, count: int | None) -> list:
    kept: list[nbformat.NotebookNode] = []
    for output in outputs:
        if output.output_type == "error":
            raise UsageError(f"cell [{count}] stores an error: {output.ename}")
        if output.get("name") == "stderr" or WIDGET in output.get("data", {}):
            continue
        if output.output_type == "execute_result":
            output.execution_count = count
        if output.output_type == "stream" and kept and kept[-1].output_type == "stream":
            kept[-1].text += output.text
        else:
            kept.append(output)
    for output in kept:
        if output.output_type == "stream":
            # Of a line that was drawn over, as progress bars do, only the last state stays.
            lines = output.text.split("\n")
            output.text = "\n".join(line.rstrip("\r").rpartition("\r")[2] for line in lines)
    return kept


def write_back(notebook: Notebook, result: Result, executed: Path) -> None:
    """Replaces the notebook's file by its rendered form, or says why not."""
    if not result.ok:
        raise UsageError("it did not finish, or a claim does not hold")
    used = set(result.dataset)
    if not used or not used <= (OF_REPORTS if notebook.path.name == "report.ipynb" else DATASETS):
        named = " and ".join(sorted(used)) or "none, as far as claims.begin() was told"
        raise UsageError(f"stored outputs come from the real MNIST. Data used: {named}")
    rendered = normalised(nbformat.read(notebook.path, 4), nbformat.read(executed, 4))
    text = nbformat.writes(rendered) + "\n"
    if len(text.encode()) >= LARGEST:
        raise UsageError(f"it has {len(text.encode()):,} bytes, {LARGEST:,} are too many")
    write_whole(notebook.path, text)


@click.command()
@click.argument("names", nargs=-1, metavar="[NOTEBOOK]...")
@click.option("--jobs", type=click.IntRange(1), default=1, help="How many notebooks at a time.")
@click.option("--out", type=click.Path(path_type=Path), help="Default: runs/render.")
def main(names, jobs, out) -> None:
    """Executes notebooks, and their solutions, and stores their outputs in place."""
    root = checkout()
    out = (out or (root or Path.cwd()) / "runs" / "render").absolute()
    try:
        resolve_data_folder()
        notebooks = choose(names, root)
        for notebook in tuple(notebooks):
            solutions = notebook.path.parent / "solutions" / notebook.path.name
            named = [other.path.resolve() for other in notebooks]
            if solutions.is_file() and solutions.resolve() not in named:
                notebooks.append(Notebook(solutions))
        plans = make_plans(notebooks, "quick", [])
        with Progress(plans) as progress, locked(out):
            with on_this_machine(jobs, 600, None, progress) as start:
                results = run(plans, out, start, progress, force=False)
    except UsageError as refusal:
        raise click.UsageError(str(refusal)) from None
    refusals = 0
    for plan, result in zip(plans, results, strict=True):
        try:
            write_back(plan.notebook, result, Folder(out, plan).executed)
            click.echo(f"✓ {plan.name}")
        except UsageError as refusal:
            refusals += 1
            click.echo(f"✗ {plan.name} is left as it was: {refusal}")
    sys.exit(1 if refusals else 0)


if __name__ == "__main__":
    main()
