"""Two workers of one core each, or one of two: which runs the lessons sooner?

    python benchmarks/workers.py [NOTEBOOK]... [--turns N]

Each turn runs the notebooks (all of them if none is named) both ways, in alternating order, and
prints the seconds and their ratio: above 1, two workers are the faster.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time


def seconds(notebooks: list[str], jobs: int) -> float:
    """How long the command takes that `make run` calls, with so many jobs."""
    with tempfile.TemporaryDirectory() as out:
        command = [sys.executable, "-m", "aelib", "run", *notebooks, "--out", out]
        start = time.perf_counter()
        subprocess.run([*command, "--jobs", str(jobs)], capture_output=True)
        return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("notebooks", nargs="*")
    parser.add_argument("--turns", type=int, default=1)
    arguments = parser.parse_args()
    ratios = []
    for turn in range(arguments.turns):
        order = (1, 2) if turn % 2 else (2, 1)
        found = {jobs: seconds(arguments.notebooks, jobs) for jobs in order}
        ratios.append(found[1] / found[2])
        print(f"one worker {found[1]:.0f} s, two {found[2]:.0f} s, ratio {ratios[-1]:.2f}")
    print(f"median ratio {statistics.median(ratios):.2f}")


if __name__ == "__main__":
    main()
