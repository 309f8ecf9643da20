"""How long the embedded datasets take to draw.

    python benchmarks/drawing_speed.py

10,000 faces of 64 x 64 in less than 20 seconds, and all digits in less than 5.
"""

import statistics
import time

from aelib.data import digits, faces


def seconds(draw) -> float:
    """Median of three."""
    taken = []
    for _ in range(3):
        start = time.perf_counter()
        draw()
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)


few = faces.sample(1_000, seed=0)
print(f"10,000 faces: {10 * seconds(lambda: faces.render(few)):.1f} s")
count = digits.TRAIN + digits.TEST
print(f"{count:,} digits: {seconds(lambda: digits.generate(count, seed=0)):.1f} s")
