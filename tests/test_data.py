"""Every dataset in one form, wherever it comes from; every bad input named."""

import hashlib
import os
import subprocess
import sys
import zipfile

import numpy as np
import pytest

import aelib.data as data
from aelib.data import _mnist, _own, _store

rng = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    """Every test has an empty data folder of its own, and no network."""
    monkeypatch.delenv(_store.DATA_VARIABLE, raising=False)
    monkeypatch.setattr(_store, "cache_folder", lambda: tmp_path / "own")
    for address in ("BASE_URL", "MNIST_MIRROR", "FASHION_MIRROR"):
        monkeypatch.setattr(_mnist, address, "http://127.0.0.1:9/")
    return tmp_path / "own"


@pytest.fixture(scope="module")
def mnist_folder():
    """The folder of the real MNIST on this machine."""
    folder = _mnist.MNIST.find()
    if folder is None:
        pytest.skip("the real mnist.npz is not on this machine: set AELIB_DATA_DIR")
    return folder


@pytest.fixture
def write(tmp_path):
    """Writes an `.npz` of 50 training and 10 test images, changed as the test asks."""

    def write(**changed) -> str:
        arrays = {
            "x_train": rng.integers(0, 256, (50, 6, 8, 3), dtype=np.uint8),
            "y_train": np.arange(50) // 5,
            "x_test": rng.integers(0, 256, (10, 6, 8, 3), dtype=np.uint8),
            "y_test": np.arange(10),
        }
        arrays.update(changed)
        path = tmp_path / "mine.npz"
        np.savez(path, **{key: array for key, array in arrays.items() if array is not None})
        return str(path)

    return write


def small_mnist() -> dict[str, np.ndarray]:
    """In MNIST's layout, 60 training and 12 test images."""
    return {
        "x_train": rng.integers(0, 256, (60, 28, 28), dtype=np.uint8),
        "y_train": np.arange(60, dtype=np.uint8) % 10,
        "x_test": rng.integers(0, 256, (12, 28, 28), dtype=np.uint8),
        "y_test": np.arange(12, dtype=np.uint8) % 10,
    }


def expect_as_mnist(monkeypatch, arrays: dict[str, np.ndarray]) -> None:
    hashes = {key: hashlib.sha256(array.tobytes()).hexdigest() for key, array in arrays.items()}
    monkeypatch.setattr(_mnist, "_MNIST_ARRAYS", hashes)


class TestForm:
    def test_digits(self):
        digits = data.load("digits")
        assert str(digits) == "digits: 10,000 train, 2,000 valid, 2,000 test images of 28 x 28 x 1"
        for split in (digits.train, digits.valid, digits.test):
            assert split.x.dtype == np.float32 and split.x.shape[1:] == digits.image_shape
            assert split.x.min() == 0 and split.x.max() == 1
            assert split.y.dtype == np.int64 and split.y.shape == (len(split.x),)
            assert set(split.y) == set(range(10))

    def test_mnist_is_the_file_in_its_own_order(self, mnist_folder, monkeypatch):
        monkeypatch.setenv(_store.DATA_VARIABLE, str(mnist_folder))
        mnist = data.load("mnist")
        assert str(mnist) == "mnist: 50,000 train, 10,000 valid, 10,000 test images of 28 x 28 x 1"
        with np.load(mnist_folder / "mnist.npz") as file:
            x, y = file["x_train"], file["y_train"]
            np.testing.assert_array_equal(np.rint(mnist.valid.x[..., 0] * 255), x[50_000:])
            np.testing.assert_array_equal(mnist.train.y, y[:50_000])
            np.testing.assert_array_equal(
                np.rint(mnist.test.x[:9, ..., 0] * 255), file["x_test"][:9]
            )

    def test_a_dataset_cannot_be_changed_by_accident(self):
        with pytest.raises(AttributeError):
            data.load("digits", limit=10).train = None

    def test_names(self):
        assert data.names() == ["mnist", "fashion_mnist", "digits", "faces", "smiles", "celeba"]

    def test_importing_is_light(self):
        heavy = "{'tensorflow', 'keras', 'matplotlib', 'certifi', 'tqdm', 'PIL', 'filelock'}"
        code = f"import sys, aelib.data; print(sorted({heavy} & set(sys.modules)))"
        run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert run.stdout == "[]\n", run.stderr


class TestSplits:
    def test_validation_is_a_number_or_a_share(self, write):
        path = write()
        for validation, expected in [
            (None, 5),
            (0, 0),
            (7, 7),
            (0.3, 15),
            (0.0, 0),
            (np.int64(3), 3),
        ]:
            images = data.load(path, validation=validation)
            assert len(images.valid.x) == len(images.valid.y) == expected
            assert len(images.train.x) == 50 - expected
            assert len(images.test.x) == 10

    @pytest.mark.parametrize(
        "bad", [50, 51, -1, True, False, 1.0, 1.5, -0.1, float("nan"), "0.1", [1], 0.999]
    )
    def test_validation_that_cannot_be(self, write, bad):
        with pytest.raises(ValueError, match="Received: validation="):
            data.load(write(), validation=bad)

    def test_no_image_is_in_two_splits_and_none_is_lost(self, write):
        images = data.load(write(), validation=0.4)
        kept = {image.tobytes() for image in np.concatenate([images.train.x, images.valid.x])}
        assert len(kept) == 50
        assert not kept & {image.tobytes() for image in images.test.x}

    def test_limit_takes_the_first_of_each_split(self):
        whole, few = data.load("digits"), data.load("digits", limit=70)
        for name in ("train", "valid", "test"):
            np.testing.assert_array_equal(getattr(few, name).x, getattr(whole, name).x[:70])
            np.testing.assert_array_equal(getattr(few, name).y, getattr(whole, name).y[:70])

    @pytest.mark.parametrize("argument", ["size", "limit"])
    @pytest.mark.parametrize("bad", [0, -3, 1.5, True, "9"])
    def test_size_and_limit_are_at_least_one(self, argument, bad):
        with pytest.raises(ValueError, match=f"Received: {argument}={bad!r}"):
            data.load("digits", **{argument: bad})


class TestSize:
    def test_a_constant_stays_constant(self, write):
        path = write(x_train=np.full((50, 6, 8, 3), 77, np.uint8))
        for size in (3, 6, 40):
            resized = data.load(path, size=size)
            assert resized.image_shape == (size, size, 3)
            np.testing.assert_allclose(resized.train.x, 77 / 255, rtol=1e-6)

    def test_shrinking_averages_rather_than_drops(self, write):
        stripes = np.zeros((10, 32, 32), np.uint8)
        stripes[:, :, ::2] = 255  # dropping every other column would leave only black or white
        path = write(x_train=stripes, y_train=np.arange(10), x_test=stripes)
        shrunk = data.load(path, size=8).train.x
        np.testing.assert_allclose(shrunk[:, :, 1:-1], 0.5, atol=0.05)

    def test_channels_are_not_mixed_and_pixels_stay_in_range(self, write):
        red = np.zeros((50, 6, 8, 3), np.float32)
        red[..., 0] = rng.integers(0, 2, (50, 6, 8))
        resized = data.load(write(x_train=red), size=5).train.x
        assert resized[..., 1:].max() == 0
        assert resized.min() >= 0 and 0.5 < resized.max() <= 1

    def test_the_mean_is_kept(self):
        small, whole = data.load("digits", limit=500, size=14), data.load("digits", limit=500)
        means = small.train.x.mean((1, 2, 3)), whole.train.x.mean((1, 2, 3))
        np.testing.assert_allclose(*means, atol=0.003)


class TestOwnImages:
    @pytest.mark.parametrize("shape", [(6, 8), (6, 8, 1), (6, 8, 3)])
    @pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64, np.float16])
    def test_every_form_gives_the_same_images(self, write, shape, dtype):
        def made(count):
            whole = rng.integers(0, 2, (count, *shape)).astype(np.uint8)
            return whole * 255 if dtype == np.uint8 else whole.astype(dtype)

        path = write(x_train=made(50), x_test=made(10))
        images = data.load(path)
        assert images.name == path
        assert images.image_shape == (6, 8, shape[2] if len(shape) == 3 else 1)
        for split in (images.train, images.valid, images.test):
            assert split.x.dtype == np.float32 and set(np.unique(split.x)) == {0.0, 1.0}

    def test_shuffled_once_so_that_a_sorted_file_gives_mixed_splits(self, write):
        x = np.repeat(np.arange(50, dtype=np.uint8), 48).reshape(50, 6, 8)
        path = write(x_train=x, x_test=x[:10])
        images = data.load(path, validation=0.5)
        assert len(set(images.valid.y)) > 5  # 5 if the last 25 of the sorted file were taken
        for split in (images.train, images.valid):  # each image keeps its label
            np.testing.assert_array_equal(np.rint(split.x[:, 0, 0, 0] * 255) // 5, split.y)
        np.testing.assert_array_equal(images.valid.x, data.load(path, validation=0.5).valid.x)
        np.testing.assert_array_equal(images.test.y, np.arange(10))  # the test set keeps its order

    def test_labels_may_stand_in_a_column(self, write):
        images = data.load(write(y_train=np.full((50, 1), 7), y_test=np.full((10, 1), 7, np.uint8)))
        assert images.train.y.shape == (45,) and set(images.test.y) == {7}

    def test_the_name_stays_as_given(self, write, monkeypatch):
        path = write()
        monkeypatch.chdir(os.path.dirname(path))
        assert data.load("mine.npz").name == "mine.npz"

    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, -0.01, 1.01, 255.0])
    @pytest.mark.parametrize("key", ["x_train", "x_test"])
    def test_one_bad_pixel_is_enough(self, write, key, value):
        x = rng.random((50 if key == "x_train" else 10, 6, 8, 3))
        x[-1, -1, -1, -1] = value
        with pytest.raises(ValueError, match=f"Received: .*{key}"):
            data.load(write(**{key: x}), limit=1)

    @pytest.mark.parametrize(
        "changed",
        [
            {"x_train": np.zeros((50, 48), np.uint8)},  # a table beside images
            {"x_train": np.zeros((50, 6, 8, 4), np.uint8)},
            {"x_train": np.zeros((50, 6, 8, 3, 1), np.uint8)},
            {"x_train": np.zeros((0, 6, 8, 3), np.uint8), "y_train": np.zeros(0, int)},
            {"x_test": np.zeros((10, 0, 8, 3), np.uint8)},
            {"x_train": np.zeros((50, 6, 8, 3), int)},
            {"x_train": np.zeros(50)},
            {"x_train": np.zeros((50, 6, 8, 3), complex)},
            {"x_test": np.zeros((10, 8, 6, 3), np.uint8)},
            {"x_test": np.zeros((10, 6, 8), np.uint8)},
            {"y_train": np.arange(49)},
            {"y_test": np.arange(11)},
            {"y_test": np.eye(10, dtype=int)},
            {"y_test": np.linspace(0, 1, 10)},
            {"y_train": np.array(["a"] * 50)},
            {"y_train": np.array(3)},
        ],
        ids=lambda changed: ",".join(f"{k}{v.shape}{v.dtype}" for k, v in changed.items()),
    )
    def test_wrong_arrays(self, write, changed):
        with pytest.raises(ValueError, match=f"Received: .*{next(iter(changed))}"):
            data.load(write(**changed))

    def test_missing_keys_are_named(self, write):
        with pytest.raises(ValueError, match=r"'images'.*'x_test'.*Received: name="):
            data.load(write(x_test=None, images=np.zeros(3)))

    def test_objects_are_refused_and_never_unpickled(self, write, tmp_path):
        class Trap:
            def __reduce__(self):
                return os.mkdir, (str(tmp_path / "sprung"),)

        with pytest.raises(ValueError, match="Received: name="):
            data.load(write(x_train=np.array([Trap()] * 50, dtype=object)))
        assert not (tmp_path / "sprung").exists()

    @pytest.mark.parametrize("content", [b"", b"not a zip", b"PK\x03\x04 cut", b"\x93NUMPY"])
    def test_what_is_no_npz(self, tmp_path, content):
        path = tmp_path / "broken.npz"
        path.write_bytes(content)
        with pytest.raises(ValueError, match="Received: name="):
            data.load(path)

    def test_an_npz_that_unpacks_to_too_much_is_not_unpacked(self, write, monkeypatch):
        black = np.zeros((50, 600, 800, 3), np.uint8)
        path = write(x_train=black, x_test=black[:10])
        monkeypatch.setattr(_own, "_UNPACKED", 2_000_000)
        assert len(data.load(path, validation=0, limit=1).train.x) == 1  # its size on the disk
        np.savez_compressed(path, **np.load(path))
        monkeypatch.setattr(np, "load", None)
        with pytest.raises(ValueError, match=r"unpacks to 0.1 GB.*Received: name="):
            data.load(path)

    def test_an_entry_that_is_no_array(self, write):
        path = write(y_test=None)
        assert set(data.load(path).test.y) == {-1}
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr("y_test", "ten labels")
        with pytest.raises(ValueError, match="y_test is not an array"):
            data.load(path)

    def test_words(self, write, tmp_path):
        (tmp_path / "text.npz").write_text("no zip")
        with pytest.raises(ValueError) as caught:
            data.load(tmp_path / "text.npz")
        assert "allow_pickle" not in str(caught.value)
        x = np.zeros((10, 6, 8, 3))
        x[0] = 1.0001
        with pytest.raises(ValueError, match=r"x_test from 0 to 1.0001 "):
            data.load(write(x_test=x))

    def test_a_cut_npz_never_loads(self, write):
        path = write()
        with open(path, "rb") as file:
            whole = file.read()
        for length in np.linspace(0, len(whole) - 1, 60).astype(int):
            with open(path, "wb") as file:
                file.write(whole[:length])
            with pytest.raises(ValueError, match="Received: name="):
                data.load(path)

    def test_a_missing_file(self, tmp_path):
        with pytest.raises(ValueError, match="no such file"):
            data.load(str(tmp_path / "absent.npz"))


class TestWhere:
    @pytest.mark.parametrize("bad", ["cifar", "MNIST", "", None, 3, ["mnist"]])
    def test_unknown_names_get_the_list(self, bad):
        with pytest.raises(ValueError, match=r"mnist, fashion_mnist, digits.*Received: name="):
            data.load(bad)

    def test_the_given_folder_comes_first_and_is_never_written(
        self, tmp_path, own_folder, monkeypatch
    ):
        first, second = small_mnist(), small_mnist()
        given = tmp_path / "given"
        for folder, arrays in ((given, first), (own_folder, second)):
            folder.mkdir()
            np.savez_compressed(folder / "mnist.npz", **arrays)  # packed as you like
        monkeypatch.setenv(_store.DATA_VARIABLE, str(given))
        before = sorted(given.iterdir())

        expect_as_mnist(monkeypatch, first)
        images = data.load("mnist", validation=6)
        np.testing.assert_array_equal(np.rint(images.test.x[..., 0] * 255), first["x_test"])
        data.load("digits", limit=1)
        with pytest.raises(data.DatasetUnavailable):
            data.load("fashion_mnist")
        assert sorted(given.iterdir()) == before
        assert data.fetch("mnist") == str(given / "mnist.npz")

        (given / "mnist.npz").unlink()  # then the own folder has its turn
        expect_as_mnist(monkeypatch, second)
        images = data.load("mnist", validation=6)
        np.testing.assert_array_equal(np.rint(images.test.x[..., 0] * 255), second["x_test"])

    def test_a_relative_folder_is_made_absolute(self, tmp_path, monkeypatch):
        (tmp_path / "given").mkdir()
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv(_store.DATA_VARIABLE, "given")
        assert _store.user_data_folder() == tmp_path / "given"

    @pytest.mark.parametrize("name", ["mnist", "digits"])
    def test_a_given_folder_that_is_missing_is_an_error(self, tmp_path, monkeypatch, name):
        monkeypatch.setenv(_store.DATA_VARIABLE, str(tmp_path / "absent"))
        for call in (data.load, data.load_or_embedded, data.fetch):
            with pytest.raises(ValueError, match="Received"):
                call(name)
        with pytest.raises(ValueError, match=f"Received: {_store.DATA_VARIABLE}="):
            data.status()

    def test_status_says_what_is_there_without_touching_anything(
        self, tmp_path, own_folder, monkeypatch
    ):
        assert {item.name: item.path for item in data.status()} == dict.fromkeys(data.names())
        assert not own_folder.exists()
        data.load("digits", limit=1)
        given = tmp_path / "given"
        given.mkdir()
        (given / "mnist.npz").touch()
        monkeypatch.setenv(_store.DATA_VARIABLE, str(given))
        mnist, fashion, digits, *_ = data.status()
        assert (mnist.kind, mnist.path) == ("download", str(given / "mnist.npz"))
        assert _store.DATA_VARIABLE in mnist.note
        assert fashion.path is None and "aelib data fetch fashion_mnist" in fashion.note
        assert (digits.kind, digits.path) == ("embedded", str(own_folder / "digits.npz"))

    @pytest.mark.parametrize("name", ["digits", "cifar", "my.npz", None])
    def test_only_downloads_are_fetched(self, name):
        with pytest.raises(ValueError, match=r"mnist, fashion_mnist.*Received: name="):
            data.fetch(name)
