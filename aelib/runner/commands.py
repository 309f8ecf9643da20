"""The command line: `aelib get | run | grid | list | report | data | doctor`."""

import errno
import os
import re
import signal
import sys
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any

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
            extra = "cluster" if error.name in ("dask", "distributed", "dask_jobqueue") else "run"
            message = f"The package {error.name} is missing: pip install 'aelib[{extra}]'"
            raise click.UsageError(message) from None
        except OSError as error:
            if error.errno == errno.EPIPE:  # `| head` has read enough
                raise
            raise click.ClickException(f"A file cannot be read or written: {error}") from None


class _Assignments(click.Command):
    """Takes `-p NAME=VALUE` for `-p NAME VALUE`."""

    def parse_args(self, context: click.Context, arguments: list[str]) -> list[str]:
        split: list[str] = []
        for argument in arguments:
            match = re.fullmatch(r"(?:-p)?([^\W\d]\w*)=(.*)", argument, re.DOTALL)
            if match and argument.startswith("-p"):
                split += ["-p", match[1], match[2]]
            else:
                split += match.groups() if match and split[-1:] == ["-p"] else [argument]
        return super().parse_args(context, split)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="aelib")
def main() -> None:
    """Runs the notebooks of the collection and reports what they claim."""
    sys.stderr = sys.stderr or open(os.devnull, "w")  # closed, as by 2>&-
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a console that cannot print a ✓
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))


_PARAMETER = click.option(
    "-p",
    "pairs",
    nargs=2,
    multiple=True,
    metavar="NAME VALUE",
    help='A parameter: -p epochs 3, -p epochs=3, -p units "[32, 8]".',
)
_OUT = click.option("--out", type=click.Path(path_type=Path), help="Default: in runs/.")
_FORCE = click.option("--force", is_flag=True, help="Run again what is done already.")
_CELL_TIMEOUT = click.option("--cell-timeout", type=click.IntRange(1), hidden=True)


@main.command(cls=_Assignments, short_help="Run notebooks and hold what they claim.")
@click.argument("notebooks", nargs=-1, metavar="[NOTEBOOK]...")
@click.option("--profile", type=click.Choice(["quick", "full"]), default="quick", show_default=True)
@_PARAMETER
@click.option("--jobs", type=click.IntRange(1), default=1, help="How many at a time share the CPU.")
@_OUT
@_FORCE
@_CELL_TIMEOUT
def run(notebooks, profile, pairs, jobs, out, force, cell_timeout) -> None:
    """Runs notebooks, each a number, a name, a file or a folder; all of them if none is named.

    What is done already, and has not changed, is not run again. The exit status is 0 if every
    notebook finished and every claim holds.
    """
    from aelib.runner.notebooks import checkout, choose
    from aelib.runner.plan import make_plans, resolve_data_folder
    from aelib.runner.progress import Progress
    from aelib.runner.runs import on_this_machine
    from aelib.runner.table import claims_table, data_found, run_summary

    resolve_data_folder()
    root = checkout()
    plans = make_plans(choose(notebooks, root), profile, pairs)
    _say(data_found(plans))
    out = (out or (root or Path.cwd()) / "runs" / profile).absolute()
    timeout = cell_timeout or (600 if profile == "quick" else 7200)
    threads = max(1, (os.cpu_count() or 1) // jobs) if jobs > 1 else None
    with Progress(plans) as progress:
        starts = on_this_machine(jobs, timeout, threads, progress)
        results = _run(plans, out, starts, progress, force=force)
    click.echo(f"{claims_table(results)}\n\n{run_summary(results)}")
    _write_page(out, results)
    sys.exit(0 if all(result.ok for result in results) else 1)


@main.command(cls=_Assignments, short_help="Run every combination of values, on many cores.")
@click.argument("targets", nargs=-1, required=True, metavar="NOTEBOOK...|STUDY")
@click.option("--profile", help="quick (default) or full; of a study smoke (default) or full.")
@_PARAMETER
@click.option("--on", default="local", help="local, slurm, or a scheduler: tcp://HOST:PORT.")
@click.option("--jobs", type=click.IntRange(1), default=os.cpu_count(), help="Default: cores.")
@click.option("--dry-run", is_flag=True, help="List what would run.")
@_OUT
@_FORCE
@_CELL_TIMEOUT
def grid(targets, profile, pairs, on, jobs, dry_run, out, force, cell_timeout) -> None:
    """Runs every combination of the values that -p gives, as `-p seed 0:5 -p dataset digits`.

    A name that comes again has one more value, 0:5 is 0, 1, 2, 3, 4. Of a folder with run.ipynb,
    grid.yaml and report.ipynb, its grid is run and its report made. Runs that are whole are not
    run again; a run that was lost is tried three times.
    """
    from aelib.runner import grid as tables
    from aelib.runner.cluster import on_dask, slurm_cluster
    from aelib.runner.notebooks import Notebook, checkout, choose, study
    from aelib.runner.plan import Plan, make_plans, prefetch, resolve_data_folder
    from aelib.runner.progress import Progress
    from aelib.runner.runs import on_this_machine
    from aelib.runner.table import data_found, run_summary

    resolve_data_folder()
    root = checkout()
    found = study(targets[0], root) if len(targets) == 1 else None
    profile = profile or ("smoke" if found else "quick")
    plans = make_plans([found] if found else choose(targets, root), profile, pairs, grid=True)
    if dry_run:
        _say([f"{plan.id}  {plan.shown}" for plan in plans])
        click.echo(f"{len(plans)} runs, {jobs} at a time")
        _say([slurm_cluster().job_script()] if on == "slurm" else [])
        return
    _say(data_found(plans))
    prefetch(plans)
    place = Path("studies") / f"{found.name}-{profile}" if found else Path("grid")
    out = (out or (root or Path.cwd()) / "runs" / place).absolute()
    with Progress(plans) as progress:
        starts = on_dask(on, jobs, cell_timeout or (7200 if profile == "full" else 600), progress)
        results = _run(plans, out, starts, progress, force=force, tries=3)
    rows = out / "runs.csv"
    tables.write_rows(rows, plans, results)
    if found:
        report = Plan(Notebook(found.path.with_name("report.ipynb")), profile, {"rows": str(rows)})
        with Progress([report]) as progress:
            starts = on_this_machine(1, 600, None, progress)
            reported = _run([report], out, starts, progress, force=True)
        _write_page(out, reported)
        results += reported
    else:
        margins = tables.margins(results)
        click.echo(tables.margins_table(margins))
        tables.keep_margins(out / "margins.csv", margins)
    click.echo(f"\n{run_summary(results)}\nThe table of runs is {rows}")
    sys.exit(0 if all(result.ok for result in results) else 1)


def _say(lines: list[str]) -> None:
    for line in lines:
        click.echo(line)


def _run(plans, out: Path, starts: AbstractContextManager, progress, **how) -> list[Any]:
    from aelib.runner.runs import locked, run

    try:
        with locked(out), starts as start:
            return run(plans, out, start, progress, **how)
    except KeyboardInterrupt:
        click.echo("Stopped. The same command goes on from what has finished.", err=True)
        sys.exit(130)


def _write_page(out: Path, results: list[Any]) -> None:
    from aelib.runner.report import write_index

    try:
        click.echo(f"The report is {write_index(out, results)}")
    except UsageError as refusal:  # the notebooks have run: no fault of the command line
        raise click.ClickException(str(refusal)) from None


@main.command(short_help="Make the page of a finished run again.")
@click.argument("folder", type=click.Path(path_type=Path))
def report(folder) -> None:
    """Makes index.html from the results in FOLDER again and prints the table of claims."""
    from aelib.runner.report import read_run
    from aelib.runner.table import claims_table, run_summary

    results = read_run(folder)
    click.echo(f"{claims_table(results)}\n\n{run_summary(results)}")
    _write_page(folder, results)


@main.command(short_help="Fetch the lessons into a folder.")
@click.argument("folder", required=False)
@click.argument("lessons", nargs=-1, metavar="[LESSON]...")
@click.option("--force", is_flag=True, help="Replace files that you have changed, too.")
def get(folder, lessons, force) -> None:
    """Copies lessons with their solutions, and the studies, into FOLDER (aelib-lessons).

    Each LESSON is a number or a name; without one all are copied. What you have changed since is
    kept; what you have not is brought up to the installed version. No network is needed.
    """
    from aelib.runner.lessons import copy, read_arguments, summary

    place, chosen = read_arguments(folder, lessons)
    click.echo(summary(place, chosen, copy(place, chosen, force=force)))


@main.command("list", short_help="List notebooks, and the parameters of those named.")
@click.argument("notebooks", nargs=-1, metavar="[NOTEBOOK]...")
def list_notebooks(notebooks) -> None:
    """Lists title, question, and minutes where they are known; parameters of those named."""
    from aelib.runner.notebooks import checkout, choose
    from aelib.runner.results import read_result

    root = checkout() or Path.cwd()
    for notebook in choose(notebooks, root):
        title, question = notebook.heading
        minutes = ""
        with suppress(UsageError):  # it has not run yet, or left a damaged file
            results = root / "runs" / "quick" / notebook.name / "results.json"
            minutes = f" ({read_result(results).seconds / 60:.1f} min)"
        click.echo(f"{click.style(title, bold=True)}{minutes}")
        _say([f"    {question}"] if question else [])
        _say([f"      {item}" for item in notebook.parameters.values()] if notebooks else [])


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


@main.command(short_help="Say what works on this machine, and what to do.")
def doctor() -> None:
    """Says what works on this machine, and what to do about what does not."""
    from aelib.runner.doctor import main as examine

    sys.exit(examine())
