"""Training speed of `Autoencoder.fit` beside what a user would pick instead.

    python benchmarks/fit_speed.py
    python benchmarks/fit_speed.py --networks vae --competitors keras torch --repeats 3

In one process and in turns, each network at each batch size is trained by all competitors, from
the same weights. The table gives the median speed of each, how many times faster `Autoencoder.fit`
is (median, least and most over the turns), and the loss at the end. Losses must agree within 2 %
(a VAE's within 5 %, since each draws its own noise). Run it on an idle machine: PyTorch's threads
wait for each other in busy loops, so another program slows it several times.
"""

import aelib.losses  # noqa: F401, I001  (first: TensorFlow starts without its log)
from competitors import COMPETITORS, EPOCHS, Competitor, Turn
from networks import NETWORKS, Network

import argparse
import os
import statistics
import time
from dataclasses import dataclass, field
from importlib.metadata import version
from importlib.util import find_spec

import tensorflow as tf


@dataclass
class Result:
    """What the turns of one competitor took.

    Args:
        competitor: who.
        train: trains for a turn and gives the loss; None if it does not compile here.
        fault: why not.
        seconds: of each timed turn.
        loss: at the end of the last one.
    """

    competitor: Competitor
    train: Turn | None = None
    fault: str = ""
    seconds: list[float] = field(default_factory=list)
    loss: float = float("nan")

    def prepare(self, network: Network, batch_size: int, x) -> None:
        """Makes it and trains once: tracing, compiling and first touch are not timed."""
        try:
            self.train = self.competitor.make(network, batch_size, x)
            self.train()
        except Exception as error:  # what does not compile raises some ten kinds
            if not self.competitor.compiles:
                raise
            self.train, self.fault = None, f"{type(error).__name__}: {error}".splitlines()[0][:80]

    def take_turn(self) -> None:
        start = time.perf_counter()
        self.loss = self.train()
        self.seconds.append(time.perf_counter() - start)


def measure(network: Network, batch_size: int, x, competitors, repeats: int) -> list[Result]:
    results = [Result(one) for one in competitors if one.installed and one.suits(network)]
    for result in results:
        result.prepare(network, batch_size, x)
    for _ in range(repeats):
        for result in results:
            if result.train is not None:
                result.take_turn()
    return results


LARGEST_BATCH = max(size for group in NETWORKS.values() for n in group for size in n.batch_sizes)
COLUMNS = ("network, batch", "competitor", "steps/s", "ours is", "least - most", "final loss")


def lines(name: str, steps: int, results: list[Result]) -> list[tuple[str, ...]]:
    """The rows of the table that belong to one network."""
    own = results[0].seconds
    table = []
    for result in results:
        label = result.competitor.label
        if result.train is None:
            table.append((name, label, "does not compile here", "", "", ""))
            continue
        ratios = [theirs / mine for theirs, mine in zip(result.seconds, own, strict=True)]
        speed = f"{steps / statistics.median(result.seconds):.1f}"
        ratio, spread = (
            f"{statistics.median(ratios):.2f} x",
            f"{min(ratios):.2f} - {max(ratios):.2f}",
        )
        loss = f"{result.loss:.2f}" if result.competitor.trains else ""
        both = ("", "") if result is results[0] else (ratio, spread)
        table.append((name, label, speed, *both, loss))
    return table


def warnings(name: str, network: Network, results: list[Result]) -> list[str]:
    """What a reader of the table must know: losses that differ, competitors that failed."""
    losses = [r.loss for r in results if r.train is not None and r.competitor.trains]
    apart, allowed = max(losses) / min(losses) - 1, 0.05 if network.variational else 0.02
    found = [f"{name}: {r.competitor.label}: {r.fault}" for r in results if r.fault]
    if not apart <= allowed:
        found.append(f"{name}: final losses differ by {apart:.1%}, more than {allowed:.0%}")
    return found


def as_text(table: list[tuple[str, ...]]) -> str:
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    pad = [str.ljust, str.ljust, str.rjust, str.rjust, str.rjust, str.rjust]
    return "\n".join(
        "  ".join(to(cell, width) for to, cell, width in zip(pad, row, widths, strict=True))
        for row in table
    )


def as_markdown(table: list[tuple[str, ...]]) -> str:
    rows = [table[0], ("---", "---", "---:", "---:", "---:", "---:"), *table[1:]]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def machine(repeats: int) -> str:
    packages = [name for name in ("tensorflow", "keras", "torch", "jax") if find_spec(name)]
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    return f"{os.cpu_count()} cores, {versions}; {repeats} turns of {EPOCHS} epochs"


def load() -> float:
    """How many processes ran or wanted to run in the last minute."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    others = [name for name in COMPETITORS if name != "ours"]
    parser.add_argument(
        "--competitors", nargs="+", choices=others, default=others, help="beside `Autoencoder.fit`"
    )
    parser.add_argument("--repeats", type=int, default=7, help="timed turns of each")
    parser.add_argument("--images", type=int, help="in an epoch; each network has its own number")
    parser.add_argument("--markdown", action="store_true", help="the table of README.md")
    given = parser.parse_args()
    if given.images is not None and given.images < LARGEST_BATCH:
        parser.error(f"--images must be >= {LARGEST_BATCH}. Received: {given.images}")
    return given


def main() -> None:
    tf.get_logger().setLevel("ERROR")  # it warns of many models in one process
    given = arguments()
    competitors = [COMPETITORS[name] for name in ("ours", *given.competitors)]
    table, remarks = [COLUMNS], []
    if load() > 0.5:
        remarks.append(f"The machine was busy (load {load():.1f}), which slows PyTorch most.")
    for network in (network for group in given.networks for network in NETWORKS[group]):
        x = network.draw(given.images or network.count)
        for batch_size in network.batch_sizes:
            batches = len(x) // batch_size  # whole ones: a smaller last one compiles anew
            results = measure(
                network, batch_size, x[: batches * batch_size], competitors, given.repeats
            )
            name = f"{network.name}, {batch_size}"
            rows = lines(name, EPOCHS * batches, results)
            remarks += warnings(name, network, results)
            table += rows
            if not given.markdown:
                print(as_text([COLUMNS, *rows]), end="\n\n", flush=True)
    print(machine(given.repeats))
    print("\n".join(remarks) or "All losses agree.")
    if given.markdown:
        print(as_markdown(table))


if __name__ == "__main__":
    main()
