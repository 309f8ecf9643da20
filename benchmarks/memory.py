"""Memory and time that `fit` takes on large arrays, beside plain Keras.

    python benchmarks/memory.py
    python benchmarks/memory.py --share 0.1 --repeats 1

Each measurement has a process of its own. *Memory* is how far `fit` raises the peak of the process
above what it held before, the array among it: what `fit` needs beside your array. *Seconds* are
those of an epoch, checks and shuffling included, and without tracing. Linux only.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

GIGABYTE = 10**9
EPOCHS = 2
SIDES = {"ours": "Autoencoder.fit", "keras": "plain Keras"}


@dataclass(frozen=True)
class Case:
    """Data, and the network and batch size to train on them.

    Args:
        name: as the table shows it.
        draw: an array of so many rows, made without a copy.
        rows: how many.
        sizes: widths of the encoder, which the decoder mirrors.
        batch_size: of `fit`.
    """

    name: str
    draw: Callable[[np.random.Generator, int], np.ndarray]
    rows: int
    sizes: tuple[int, ...]
    batch_size: int


def byte_images(rng: np.random.Generator, rows: int) -> np.ndarray:
    return rng.integers(0, 256, (rows, 784), "uint8")


def float_images(rng: np.random.Generator, rows: int) -> np.ndarray:
    return rng.random((rows, 784), "float32")


def table(rng: np.random.Generator, rows: int) -> np.ndarray:
    return rng.random((rows, 5), "float32")


CASES = {
    "bytes": Case("1 GB of uint8", byte_images, GIGABYTE // 784, (784, 16), 1024),
    "floats": Case("1 GB of float32", float_images, GIGABYTE // (4 * 784), (784, 16), 1024),
    "table": Case("1,000,000 rows of 5 float32", table, 1_000_000, (5, 16, 2), 4096),
}


def held(line: str) -> float:
    """GB of this process: now (`VmRSS`), or the most so far (`VmHWM`)."""
    status = Path("/proc/self/status").read_text()
    kilobytes = status.split(f"{line}:")[1].split()[0]
    return int(kilobytes) * 1024 / GIGABYTE


def measure(case: Case, side: str, share: float) -> dict[str, float]:
    """GB and seconds of `fit`, in this process."""
    # Only here, so that the process that starts the others stays small.
    from aelib.losses import SquaredError  # isort: skip  (first: TensorFlow without its log)
    import keras
    from networks import dense

    from aelib.autoencoder import Autoencoder

    x = case.draw(np.random.default_rng(0), int(share * case.rows))
    halves = dense(*case.sizes)
    model = Autoencoder(*halves) if side == "ours" else keras.Sequential(halves)
    model.compile(keras.optimizers.Adam(), SquaredError())

    def fit(x: np.ndarray, epochs: int) -> None:
        data = (x,) if side == "ours" else (x, x)
        model.fit(*data, epochs=epochs, batch_size=case.batch_size, verbose=0)

    fit(x[: 2 * case.batch_size], epochs=1)  # traces
    before, start = held("VmRSS"), time.perf_counter()
    fit(x, epochs=EPOCHS)
    seconds = (time.perf_counter() - start) / EPOCHS
    return {"seconds": seconds, "memory": held("VmHWM") - before}


def in_new_process(name: str, side: str, share: float) -> dict[str, float]:
    command = [sys.executable, __file__, "--measure", name, side, "--share", str(share)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def row(name: str, share: float, repeats: int) -> str:
    """A line of the table; the sides take turns."""
    measured = {side: [] for side in SIDES}
    for _ in range(repeats):
        for side, results in measured.items():
            results.append(in_new_process(name, side, share))
    cells = [CASES[name].name + (f" x {share:g}" if share != 1 else "")]
    for unit, digits in (("memory", 2), ("seconds", 1)):
        for results in measured.values():
            cells.append(f"{statistics.median(result[unit] for result in results):.{digits}f}")
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--share", type=float, default=1.0, help="of the rows, to try it out")
    parser.add_argument("--repeats", type=int, default=3, help="processes of each kind")
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        name, side = given.measure
        print(json.dumps(measure(CASES[name], side, given.share)))
        return
    columns = [f"{unit}, {side}" for unit in ("GB", "s an epoch") for side in SIDES.values()]
    print("| data | " + " | ".join(columns) + " |")
    print("| --- |" + " ---: |" * len(columns))
    for name in given.cases:
        print(row(name, given.share, given.repeats), flush=True)


if __name__ == "__main__":
    main()
