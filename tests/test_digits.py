"""The embedded digits: the same every time, drawn as MNIST was made, and read as digits.

`python tests/test_digits.py` prints the numbers of `data/README.md`.
"""

from pathlib import Path

import numpy as np
import pytest

from aelib.data import _mnist, _store, digits

TRAIN = 12_000


@pytest.fixture(scope="module")
def drawn():
    images, labels = digits.generate(TRAIN, seed=0)
    return images / np.float32(255), labels


@pytest.fixture
def own_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(_store, "cache_folder", lambda: tmp_path / "own")
    return tmp_path / "own"


def arrays(raw):
    return raw.x, raw.y, raw.x_test, raw.y_test


def centre_of_mass(images):
    rows, columns = np.mgrid[:28, :28]
    mass = images.sum((1, 2))
    return (images * rows).sum((1, 2)) / mass, (images * columns).sum((1, 2)) / mass


def floor(images):
    """What the Bernoulli cross-entropy of gray pixels cannot go below, nats per image."""
    p = np.clip(images, 1e-7, 1 - 1e-7)
    return float(-(p * np.log(p) + (1 - p) * np.log(1 - p)).sum((1, 2)).mean(dtype=float))


def pca_error(images, sizes):
    """Squared error per image that PCA with each number of components leaves, on `images`."""
    flat = images.reshape(len(images), -1).astype(float)
    variance = np.linalg.eigvalsh(np.cov(flat.T, bias=True))[::-1]
    return [float(variance[k:].sum()) for k in sizes]


class TestDrawing:
    def test_the_same_bytes_on_every_run_and_others_for_another_seed(self):
        for one, two in zip(
            digits.generate(500, seed=3), digits.generate(500, seed=3), strict=True
        ):
            assert one.tobytes() == two.tobytes()
        assert (
            digits.generate(500, seed=4)[0].tobytes() != digits.generate(500, seed=3)[0].tobytes()
        )

    def test_ten_classes_equally_often_in_random_order(self, drawn):
        _, labels = drawn
        assert set(np.bincount(labels)) == {TRAIN // 10}
        assert all(np.bincount(labels[-2000:], minlength=10) > 100)

    def test_no_image_twice(self, drawn):
        images, _ = drawn
        assert len({image.tobytes() for image in images}) == len(images)

    def test_ink_is_centred_and_fits_the_box_as_in_mnist(self, drawn):
        images, _ = drawn
        for centre in centre_of_mass(images):
            assert abs(centre - 13.5).max() < 1.0 and abs(centre - 13.5).mean() < 0.15
        ink = images > 0.5
        sides = np.stack([ink.any(axis).sum(1) for axis in (1, 2)])
        assert 17 <= np.quantile(sides.max(0), 0.01) and np.quantile(sides.max(0), 0.99) <= 22
        assert 18.5 < sides.max(0).mean() < 20.5

    def test_flat_ink_with_soft_edges_as_in_mnist(self, drawn):
        images, _ = drawn
        assert 0.12 < images.mean() < 0.15  # MNIST 0.1307
        assert 40 < floor(images) < 50  # MNIST 45.8

    def test_as_hard_for_pca_as_mnist(self, drawn):
        left = pca_error(drawn[0][:4000], (0, 8))
        assert 48 < left[0] < 58  # MNIST 52.7
        assert 26 < left[1] < 33  # MNIST 29.7

    def test_hands_differ_in_slant_width_and_pen(self, drawn):
        images, labels = drawn
        ones = images[labels == 1]
        rows, columns = np.mgrid[:28, :28] - 13.5
        slant = -(ones * rows * columns).sum((1, 2)) / (ones * rows**2).sum((1, 2))
        assert slant.std() > 0.2 and slant.mean() > 0.05
        zeros = images[labels == 0] > 0.5
        assert zeros.any(1).sum(1).std() > 2
        assert images[labels == 3].mean((1, 2)).std() > 0.03

    def test_every_way_of_writing_passes_through_its_points(self):
        for ways in digits.STROKES.values():
            for _, strokes in ways:
                points, curve, pen_down = digits._curve(strokes)
                np.testing.assert_allclose(curve.sum(1), 1, atol=1e-6)  # moves with the points
                path = curve @ points
                gap = np.linalg.norm(path[:, None] - points, axis=2).min(0)
                assert gap.max() < 0.06
                assert (pen_down == 0).sum() == strokes.count(";") + 1

    def test_at_least_twelve_thousand(self):
        assert digits.TRAIN + digits.TEST >= 12_000


class TestKeeping:
    def test_drawn_once_then_read(self, own_folder, monkeypatch):
        first = arrays(digits.read())
        monkeypatch.setattr(digits, "generate", None)
        for one, two in zip(first, arrays(digits.read()), strict=True):
            assert one.dtype == two.dtype and one.tobytes() == two.tobytes()
        assert sorted(path.name for path in own_folder.iterdir()) == [".digits.lock", "digits.npz"]

    @pytest.mark.parametrize("damage", ["cut", "garbage", "flipped", "empty", "other version"])
    def test_a_damaged_or_outdated_file_is_drawn_again(self, own_folder, monkeypatch, damage):
        monkeypatch.setattr(digits, "TRAIN", 300)
        monkeypatch.setattr(digits, "TEST", 100)
        first = arrays(digits.read())
        path = own_folder / "digits.npz"
        whole = path.read_bytes()
        middle = len(whole) // 2
        path.write_bytes(
            {
                "cut": whole[:middle],
                "garbage": b"garbage",
                "flipped": whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :],
                "empty": b"",
                "other version": whole,
            }[damage]
        )
        if damage == "other version":
            monkeypatch.setattr(digits, "_SOURCES", (Path(__file__),))
        for one, two in zip(first, arrays(digits.read()), strict=True):
            assert one.tobytes() == two.tobytes()
        with np.load(path) as file:
            assert file["recipe"] == _store.recipe(digits._SOURCES)

    def test_without_a_folder_to_write_they_are_drawn_each_time(self, tmp_path, monkeypatch):
        (tmp_path / "file").touch()
        monkeypatch.setattr(_store, "cache_folder", lambda: tmp_path / "file" / "below")
        monkeypatch.setattr(digits, "TRAIN", 300)
        monkeypatch.setattr(digits, "TEST", 100)
        assert digits.read().x.shape == (300, 28, 28)
        assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_classifier_that_saw_only_digits_reads_mnist(drawn):
    if _mnist.MNIST.find() is None:
        pytest.skip("the real mnist.npz is not on this machine: set AELIB_DATA_DIR")
    accuracy = read_mnist_after_learning(*drawn, seed=0)
    print(f"accuracy on the test set of MNIST: {accuracy:.4f}")
    assert accuracy > 0.88


def read_mnist_after_learning(images, labels, *, seed: int) -> float:
    """Accuracy on MNIST's 10,000 test images of a small network trained on `images` alone."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(seed)
    network = keras.Sequential(
        [
            layers.Input((28, 28, 1)),
            layers.Conv2D(16, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(32, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dropout(0.3),
            layers.Dense(10),
        ]
    )
    network.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    network.fit(images[..., None], labels, batch_size=128, epochs=5, verbose=0)
    mnist = _mnist.MNIST.read()
    guesses = network.predict(mnist.x_test[..., None] / np.float32(255), batch_size=500, verbose=0)
    return float((guesses.argmax(1) == mnist.y_test).mean())


if __name__ == "__main__":
    own, labels = digits.generate(TRAIN, seed=0)
    own = own / np.float32(255)
    mnist = _mnist.MNIST.read().x / np.float32(255)
    for name, images in (("digits", own), ("MNIST", mnist)):
        numbers = [images.mean(dtype=float), floor(images), *pca_error(images, (0, 8, 30))]
        print(f"{name}: mean pixel, floor, PCA-0, -8, -30:", *(f"{n:.4f}" for n in numbers))
    for seed in range(3):
        accuracy = read_mnist_after_learning(own, labels, seed=seed)
        print(f"seed {seed}: accuracy on MNIST's test set {accuracy:.4f}", flush=True)
