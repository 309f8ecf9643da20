"""The command line: `aelib run | list | report | data | doctor`."""

import signal
import sys
from pathlib import Path

import click

from aelib.runner import Refused


class _Commands(click.Group):
    """Shows what is refused as one plain message."""

    def invoke(self, context: click.Context):
        try:
            return super().invoke(context)
        except Refused as refusal:
            raise click.UsageError(str(refusal)) from None


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
@click.option("-p", "pairs", nargs=2, multiple=True, metavar="NAME VALUE", help="A parameter.")
@click.option("--jobs", type=click.IntRange(1), default=1, help="How many notebooks at a time.")
@click.option("--out", type=click.Path(path_type=Path), help="Default: runs/PROFILE.")
@click.option("--force", is_flag=True, help="Run again what is done already.")
@click.option("--cell-timeout", type=click.IntRange(1), hidden=True)
def run(notebooks, profile, pairs, jobs, out, force, cell_timeout) -> None:
    """Runs notebooks, each a number, a name, a file or a folder; all of them if none is named.

    What is done already, and has not changed, is not run again. The exit status is 0 if every
    notebook finished and every claim holds.
    """
    from aelib.runner.notebooks import checkout, choose
    from aelib.runner.plan import make_plans, resolve_data_folder
    from aelib.runner.runs import run as run_plans
    from aelib.runner.table import claims_table

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    resolve_data_folder()
    root = checkout()
    plans = make_plans(choose(notebooks, root), profile, pairs)
    out = out or (root or Path.cwd()) / "runs" / profile
    cell_timeout = cell_timeout or (600 if profile == "quick" else 7200)
    outcomes = run_plans(plans, out, jobs=jobs, force=force, cell_timeout=cell_timeout)
    click.echo(claims_table(outcomes))
    sys.exit(0 if all(outcome.ok for outcome in outcomes) else 1)


if __name__ == "__main__":
    main()
