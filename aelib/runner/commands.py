"""The command line: `aelib run | list | report | data | doctor`."""

import signal
import sys
from pathlib import Path

import click

from aelib.runner import UsageError


class _Commands(click.Group):
    """Shows a mistake of the user, and a package that is missing, as one plain message."""

    def invoke(self, context: click.Context):
        try:
            return super().invoke(context)
        except UsageError as refusal:
            raise click.UsageError(str(refusal)) from None
        except ModuleNotFoundError as error:
            if (error.name or "aelib").startswith("aelib"):
                raise
            message = f"The package {error.name} is missing: pip install 'aelib[run]'"
            raise click.UsageError(message) from None


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="aelib")
def main() -> None:
    """Runs the notebooks of the collection and reports what they claim."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a console that cannot print a ✓


@main.command()
@click.argument("notebooks", nargs=-1, metavar="[NOTEBOOK]...")
@click.option("--profile", type=click.Choice(["quick", "full"]), default="quick", show_default=True)
@click.option(
    "--part", default="", metavar="NAME", help="A long experiment of its own (full only)."
)
@click.option("-p", "pairs", nargs=2, multiple=True, metavar="NAME VALUE", help="A parameter.")
@click.option("--jobs", type=click.IntRange(1), default=1, help="How many notebooks at a time.")
@click.option("--out", type=click.Path(path_type=Path), help="Default: runs/PROFILE.")
@click.option("--force", is_flag=True, help="Run again what is done already.")
@click.option("--cell-timeout", type=click.IntRange(1), hidden=True)
def run(notebooks, profile, part, pairs, jobs, out, force, cell_timeout) -> None:
    """Runs notebooks, each a number, a name, a file or a folder; all of them if none is named.

    What is done already, and has not changed, is not run again. The exit status is 0 if every
    notebook finished and every claim holds.
    """
    from aelib.runner.notebooks import checkout, choose
    from aelib.runner.plan import make_plans, resolve_data_folder
    from aelib.runner.report import read_run, write_index
    from aelib.runner.runs import run as run_plans
    from aelib.runner.table import claims_table, data_found, run_summary

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    resolve_data_folder()
    root = checkout()
    plans = make_plans(choose(notebooks, root), profile, pairs, part)
    for line in data_found(plans):
        click.echo(line)
    out = out or (root or Path.cwd()) / "runs" / profile
    cell_timeout = cell_timeout or (600 if profile == "quick" else 7200)
    try:
        outcomes = run_plans(plans, out, jobs=jobs, force=force, cell_timeout=cell_timeout)
    except KeyboardInterrupt:
        click.echo("Stopped. The same command goes on from what has finished.", err=True)
        sys.exit(130)
    click.echo(f"{claims_table(outcomes)}\n\n{run_summary(outcomes)}")
    try:
        click.echo(f"The report is {write_index(out, read_run(out))}")
    except UsageError as refusal:  # the notebooks have run: no fault of the command line
        raise click.ClickException(str(refusal)) from None
    sys.exit(0 if all(outcome.ok for outcome in outcomes) else 1)


@main.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--readme", type=click.Path(path_type=Path), help="Rewrite the table in this file.")
def report(folder, readme) -> None:
    """Makes index.html from the results in FOLDER again and prints the table of claims.

    With --readme it also rewrites the table "here / in the paper" that stands in that Markdown
    file between the lines `<!-- results -->` and `<!-- /results -->`.
    """
    from aelib.runner.report import read_run, update_readme, write_index
    from aelib.runner.table import claims_table, run_summary

    outcomes = read_run(folder)
    if readme:
        update_readme(readme, outcomes)
    click.echo(f"{claims_table(outcomes)}\n\n{run_summary(outcomes)}")
    click.echo(f"The report is {write_index(folder, outcomes)}")


@main.command("list")
def list_notebooks() -> None:
    """Lists the notebooks: title, question, parameters, and minutes where they are known."""
    from aelib.runner.notebooks import checkout, choose
    from aelib.runner.results import read_results

    root = checkout() or Path.cwd()
    for notebook in choose((), root):
        title, question = notebook.heading
        results = root / "runs" / "quick" / notebook.name / "results.json"
        minutes = f" ({read_results(results)['seconds'] / 60:.1f} min)" if results.is_file() else ""
        click.echo(f"{click.style(title, bold=True)}{minutes}")
        if question:
            click.echo(f"    {question}")
        for parameter in notebook.parameters.values():
            click.echo(f"      {parameter}")
        click.echo()


@main.group("data")
def data_commands() -> None:
    """Says which datasets are here, and fetches them."""


@data_commands.command("list")
def list_data() -> None:
    """Lists the datasets and where they are."""
    from aelib import data
    from aelib.runner.plan import resolve_data_folder

    resolve_data_folder()
    for item in data.status():
        place = f": {item.path}" if item.path else ""
        click.echo(f"{item.name:15}{item.kind:10}{item.note}{place}")


@data_commands.command()
@click.argument("name")
def fetch(name) -> None:
    """Downloads the dataset NAME, unless it is here already."""
    from aelib import data
    from aelib.runner.plan import resolve_data_folder

    resolve_data_folder()
    try:
        click.echo(f"{name} is in {data.fetch(name)}")
    except ValueError as error:
        raise UsageError(str(error)) from None
    except data.DatasetUnavailable as error:
        raise click.ClickException(str(error)) from None


@main.command()
def doctor() -> None:
    """Says what works on this machine, and what to do about what does not."""
    from aelib.runner.doctor import examine

    checks = examine()
    for check in checks:
        mark = "✓" if check.ok else "✗" if check.needed else "○"
        click.echo(f"{mark} {check.what}" + (f"\n    {check.remedy}" if not check.ok else ""))
    sys.exit(0 if all(check.ok or not check.needed for check in checks) else 1)
