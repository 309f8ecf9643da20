"""What a short training costs: seconds of a first `fit` of two epochs, beside plain Keras.

    python benchmarks/first_fit.py

Most of it is tracing, which `fit_speed.py` leaves out. Every turn makes new models; the table gives
medians, and of the ratio, which is taken within a turn, also the range.
"""

import aelib.losses  # noqa: F401, I001  (first: TensorFlow starts without its log)
from competitors import ours, plain_keras
from networks import NETWORKS

import time
from itertools import chain
from statistics import median

BATCH, IMAGES, TURNS = 128, 2_560, 7


def first_fit(make, network, x) -> float:
    train = make(network, BATCH, x)
    start = time.perf_counter()
    train()
    return time.perf_counter() - start


def main() -> None:
    print("| network | Autoencoder.fit, s | plain Keras, s | ours is | least - most |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for network in chain(*NETWORKS.values()):
        x = network.draw(IMAGES)
        first_fit(ours, network, x)  # what TensorFlow does once
        pairs = [
            [first_fit(make, network, x) for make in (ours, plain_keras)] for _ in range(TURNS)
        ]
        a, b = (median(times) for times in zip(*pairs, strict=True))
        ratios = [theirs / own for own, theirs in pairs]
        spread = f"{min(ratios):.2f} - {max(ratios):.2f}"
        print(f"| {network.name} | {a:.2f} | {b:.2f} | {median(ratios):.2f} x | {spread} |")


if __name__ == "__main__":
    main()
