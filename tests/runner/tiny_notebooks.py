"""Tiny notebooks, made on the spot, and the command as a user starts it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat.v4
import psutil

PARAMETERS = """profile: str = "quick"  # "quick" or "full"
seed: int = 0
dataset: str = "digits"
epochs: int = 3
rate: float = 0.5  # a share
fast: bool = True
"""
BEGIN = "from aelib import claims\nclaims.begin(datasets=[dataset])"

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


def write_notebook(path: Path, *sources: str, parameters: str = PARAMETERS) -> Path:
    """A notebook with a title, a question, a `parameters` cell and `sources` as code cells."""
    cells = [
        nbformat.v4.new_markdown_cell(f"# {path.stem}\n\n> Does *it* run?"),
        nbformat.v4.new_code_cell(parameters, metadata={"tags": ["parameters"]}),
        *map(nbformat.v4.new_code_cell, sources),
    ]
    for index, cell in enumerate(cells):
        cell["id"] = f"c{index:02d}"
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=metadata), path)
    return path


def start(*arguments, cwd: Path, **environment) -> subprocess.Popen:
    """Starts `aelib` with `arguments`, its two streams in one, as from a terminal.

    A job in the background is started with Ctrl-C ignored, and its children inherit that.
    """
    hears_interrupts = None if sys.platform == "win32" else _hear_interrupts
    return subprocess.Popen(
        [sys.executable, "-m", "aelib.runner.cli", *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, "COLUMNS": "120", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        preexec_fn=hears_interrupts,
    )


def _hear_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def aelib(*arguments, cwd: Path, **environment) -> tuple[int, str]:
    """Runs `aelib` and returns its exit status and what it printed."""
    process = start(*arguments, cwd=cwd, **environment)
    output, _ = process.communicate(timeout=180)
    return process.returncode, output


def wait_for(condition, seconds: float = 60) -> None:
    """Waits until `condition()` is true."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.1)


def ended(pid: int) -> bool:
    """Whether a process is no more, or only waits to be counted as such."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
