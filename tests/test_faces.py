"""The embedded faces: the same every time, one factor at a time, and read as faces.

`python tests/test_faces.py` prints the numbers of `data/README.md`.
"""

import time
from pathlib import Path

import numpy as np
import pytest

import aelib.data as data
from aelib.data import _portrait, _smiles, _store, faces
from aelib.data._geometry import Face

COUNT = 120


@pytest.fixture(scope="module")
def factors():
    return faces.sample(COUNT, seed=5)


@pytest.fixture(scope="module")
def portraits():
    """The average person, in even light, once for each of 40 people."""
    return average(40) | {
        name: values
        for name, values in faces.sample(40, seed=6).items()
        if name in faces.IDENTITY and not name.startswith("hair")
    }


@pytest.fixture
def own_folder(tmp_path, monkeypatch):
    monkeypatch.delenv(_store.DATA_VARIABLE, raising=False)
    monkeypatch.setattr(_store, "cache_folder", lambda: tmp_path / "own")
    return tmp_path / "own"


@pytest.fixture
def fewer(monkeypatch):
    monkeypatch.setattr(faces, "TRAIN", 40)
    monkeypatch.setattr(faces, "TEST", 20)


def average(count: int) -> faces.Factors:
    middle = {name: (low + high) / 2 for name, (low, high) in faces.FACTORS.items()}
    middle |= {"glasses": 0, "beard": 0, "speech": 0, "softness": 0, "hair_line": -1}
    return {name: np.full(count, value, np.float32) for name, value in middle.items()}


def area(images, top, bottom, left, right):
    """Mean gray level of a rectangle, in 64ths of the picture, `(n,)`."""
    scale = images.shape[1] / 64
    rows, columns = (
        slice(round(a * scale), round(b * scale)) for a, b in ((top, bottom), (left, right))
    )
    return images[:, rows, columns].mean((1, 2, 3))


class TestSample:
    def test_the_same_for_the_same_seed(self, factors):
        again, other = faces.sample(COUNT, seed=5), faces.sample(COUNT, seed=6)
        assert list(again) == list(factors) == list(faces.FACTORS)
        for name, values in factors.items():
            assert values.dtype == np.float32 and values.shape == (COUNT,)
            assert values.tobytes() == again[name].tobytes() != other[name].tobytes()

    def test_every_factor_fills_its_range_and_goes_with_no_other(self):
        many = faces.sample(20_000, seed=1)
        for name, (low, high) in faces.FACTORS.items():
            assert low <= many[name].min() < low + 0.1 * (high - low)
            assert high - 0.1 * (high - low) < many[name].max() <= high
        together = np.corrcoef(list(many.values())) - np.eye(len(many))
        assert abs(together).max() < 0.035  # 5 standard deviations of chance
        smiles = faces.labels(many)
        assert 0.48 < smiles.mean() < 0.52 and smiles.dtype == np.int64
        np.testing.assert_array_equal(smiles == 1, many["smile"] >= np.float32(faces.SMILING))
        for name, share in faces.SHARES.items():
            assert abs((many[name] > 0).mean() - share) < 0.02
        assert set(np.unique(many["glasses"])) == {0, 1}

    @pytest.mark.parametrize("name", ["glasses", "beard"])
    @pytest.mark.parametrize("strength", [0.6, -0.4, 0.8])
    def test_an_unbalanced_set_has_the_correlation_that_was_asked_for(self, name, strength):
        balanced = faces.sample(20_000, seed=1)
        tilted = faces.sample(20_000, seed=1, correlation={name: strength})
        has = tilted[name] > 0
        assert abs(np.corrcoef(has, faces.labels(tilted))[0, 1] - strength) < 0.02
        assert abs(has.mean() - faces.SHARES[name]) < 0.02
        for other in set(faces.FACTORS) - {name}:
            assert tilted[other].tobytes() == balanced[other].tobytes()

    def test_calm_faces_are_the_same_people_seen_alike(self):
        wild, some, calm = (faces.sample(2_000, seed=1, nuisance=n) for n in (1, 0.25, 0))
        for name in faces.FACTORS:
            if name not in faces.NUISANCE:
                np.testing.assert_array_equal(some[name], wild[name])
                np.testing.assert_array_equal(calm[name], wild[name])
            else:
                np.testing.assert_array_equal(calm[name], np.float32(faces.CALM[name]))
                away, near = (f[name] - faces.CALM[name] for f in (wild, some))
                np.testing.assert_allclose(near, 0.25 * away, rtol=0, atol=1e-6)
                assert away.std() > 0.1

    @pytest.mark.parametrize("bad", [-0.1, 1.1, np.nan, "0.5", None])
    def test_a_nuisance_that_cannot_be(self, bad):
        with pytest.raises(ValueError, match="`nuisance` must be"):
            faces.sample(10, seed=0, nuisance=bad)

    @pytest.mark.parametrize(
        "bad", [{"hair_color": 0.5}, {"glasses": 0.9}, {"beard": -1}, {"glasses": float("nan")}]
    )
    def test_a_correlation_that_cannot_be(self, bad):
        with pytest.raises(ValueError, match="Received: correlation="):
            faces.sample(10, seed=0, correlation=bad)

    @pytest.mark.parametrize("bad", [0, -1, 2.5, True, None])
    def test_a_count_that_cannot_be(self, bad):
        with pytest.raises(ValueError, match="Received: count="):
            faces.sample(bad, seed=0)


class TestRender:
    def test_form_and_the_same_bytes_on_every_run(self, factors):
        images = faces.render(factors)
        assert images.shape == (COUNT, 64, 64, 1) and images.dtype == np.float32
        assert 0 <= images.min() < 0.05 and 0.85 < images.max() <= 1
        assert images.tobytes() == faces.render(factors).tobytes()
        assert len({image.tobytes() for image in images}) == COUNT

    def test_an_image_depends_on_its_own_factors_alone(self, factors):
        """Neither on its neighbours nor on how many are drawn together."""
        images = faces.render(factors)
        for chosen in (slice(3, 4), slice(5, 30), np.arange(COUNT)[::-1]):
            few = {name: values[chosen] for name, values in factors.items()}
            np.testing.assert_allclose(faces.render(few), images[chosen], atol=1e-5)

    def test_the_order_of_names_and_single_numbers_do_not_matter(self, factors):
        reversed_names = dict(reversed(factors.items()))
        assert faces.render(factors).tobytes() == faces.render(reversed_names).tobytes()
        one, each = factors | {"smile": 0.8}, factors | {"smile": np.full(COUNT, 0.8)}
        assert faces.render(one).tobytes() == faces.render(each).tobytes()
        alone = {name: float(values[0]) for name, values in factors.items()}
        np.testing.assert_allclose(faces.render(alone), faces.render(factors)[:1], atol=1e-5)

    @pytest.mark.parametrize("name", faces.FACTORS)
    def test_every_factor_is_seen_and_moves_the_picture_smoothly(self, name):
        low, high = faces.FACTORS[name]
        steps = np.linspace(low, high, 33)
        base = average(33) | {"smile": 0.5, "light_side": 0.6, "beard": 0.5, "glasses": 0.5}
        if name == "hair_part":
            base["hair_line"] = np.zeros(33)
        images = faces.render(base | {name: steps}).astype(float)
        jumps = np.sqrt(((images[1:] - images[:-1]) ** 2).sum((1, 2, 3)))
        whole = np.sqrt(((images[-1] - images[0]) ** 2).sum())
        assert whole > 0.35, "ends too alike"
        assert jumps.max() < 0.3 * whole + 0.25, "a jump"

    @pytest.mark.parametrize("size", [16, 32, 48, 128])
    def test_other_sizes_show_the_same_face(self, factors, size):
        few = {name: values[:30] for name, values in factors.items()}
        drawn, usual = faces.render(few, size)[..., 0], faces.render(few)[..., 0]
        assert drawn.shape == (30, size, size)
        side = min(size, 16)
        shrunk = [
            x.reshape(30, side, x.shape[1] // side, side, -1).mean((2, 4)) for x in (drawn, usual)
        ]
        assert np.abs(shrunk[0] - shrunk[1]).mean() < (0.025 if size == 16 else 0.008)
        assert np.corrcoef(shrunk[0].ravel(), shrunk[1].ravel())[0, 1] > 0.97

    def test_mirrored_factors_give_the_mirror_image(self, factors):
        odd = [
            "yaw", "tilt", "shift_x", "light_side", "gaze", "background_slope", "hair_part",
        ]  # fmt: skip
        flipped = factors | {name: -factors[name] for name in odd}
        flipped["hair_part"] = factors["hair_part"] = np.zeros(COUNT)
        there, back = faces.render(factors), faces.render(flipped)[:, :, ::-1]
        assert np.abs(there - back).mean() < 0.012  # grain and strands are not symmetrical

    def test_soft_edges(self, factors):
        """Hard edges would leave more steps of half the range from pixel to pixel."""
        images = faces.render(factors)
        steps = np.abs(np.diff(images, axis=2))
        assert (steps > 0.45).mean() < 0.002

    @pytest.mark.parametrize(
        "bad",
        [
            {"smile": 1.2},
            {"glasses": -0.1},
            {"yaw": float("nan")},
            {"beard": float("inf")},
            {"mood": 1.0},
            {"smile": np.zeros(7)},
            {"smile": np.zeros((COUNT, 1))},
        ],
    )
    def test_what_is_no_face(self, factors, bad):
        with pytest.raises(ValueError, match="Received"):
            faces.render(factors | bad)
        with pytest.raises(ValueError, match=r"missing=\['smile'\]"):
            faces.render({name: values for name, values in factors.items() if name != "smile"})

    @pytest.mark.parametrize("bad", [7, 0, -64, 64.0, True, None])
    def test_a_size_that_cannot_be(self, factors, bad):
        with pytest.raises(ValueError, match="Received: size="):
            faces.render(factors, bad)


def test_every_part_returns_layers_that_fit_the_picture(factors):
    few = {name: values[:8, None, None] for name, values in factors.items()}
    face = Face(few | {"glasses": np.ones((8, 1, 1), np.float32)}, 32)
    parts = (_portrait._beard, _portrait._mouth, _portrait._brows, _portrait._eyes)
    for part in (*parts, _portrait._glasses):
        for layer in part(face):
            area = face.x[:, layer.rows]
            for value in (*layer.cover, layer.colour, layer.shade, layer.height, layer.light):
                if value is not None:
                    assert np.broadcast_shapes(np.shape(value), area.shape) == area.shape
            for factor in (*layer.cover, layer.shade):
                assert np.min(factor) >= 0 and np.max(factor) <= 1
    bare = Face(few | {"beard": np.zeros(1), "glasses": np.zeros(1)}, 32)
    assert _portrait._beard(bare) == _portrait._glasses(bare) == []


class TestFactorsMeanWhatTheySay:
    """What a person sees, read off the pixels, at the places where the average face has it."""

    def at(self, portraits, **changed):
        return faces.render(portraits | {name: np.float32(v) for name, v in changed.items()})

    def test_a_laugh_shows_teeth_between_lifted_corners(self, portraits):
        sad, neutral, glad, laugh = (self.at(portraits, smile=s) for s in (-1, 0, 0.4, 1))
        teeth = [area(x, 48, 53, 28, 36) for x in (sad, neutral, laugh)]
        assert (teeth[2] > teeth[1] + 0.1).all() and (teeth[2] > teeth[0] + 0.1).all()

        def corners(images):  # the darkest row where the corner of the mouth is
            columns = images[:, 40:60, 21:24, 0].mean(2)
            weights = np.maximum(columns.mean(1, keepdims=True) - columns, 0) ** 2
            return (weights * np.arange(40, 60)).sum(1) / weights.sum(1)

        assert np.median(corners(glad) - corners(sad)) < -1.5  # up is negative

    def test_a_smile_keeps_to_the_face(self, portraits):
        neutral, laugh = self.at(portraits, smile=0), self.at(portraits, smile=1)
        changed = np.abs(neutral - laugh).mean((0, 3))
        assert changed[:6].max() < 0.01 < 0.1 < changed[44:56, 20:44].max()
        assert changed[:, :2].max() < 0.01 and changed[:, -2:].max() < 0.01

    def test_beard_glasses_and_skin(self, portraits):
        plain = self.at(portraits, skin_tone=0.7, hair_color=0.1)
        bearded = self.at(portraits, skin_tone=0.7, hair_color=0.1, beard=1, beard_style=1)
        glasses = self.at(portraits, skin_tone=0.7, hair_color=0.1, glasses=1)
        below = area(plain, 56, 62, 26, 38) - area(bearded, 56, 62, 26, 38)
        assert (below > 0.1).all()
        np.testing.assert_allclose(bearded[:, :24], plain[:, :24], atol=0.05)
        changed = np.abs(glasses - plain).mean((0, 3))
        assert changed[8:28].mean() > 10 * changed[34:].mean()
        dark, pale = self.at(portraits, skin_tone=0.1), self.at(portraits, skin_tone=0.9)
        assert (area(pale, 25, 35, 18, 46) > area(dark, 25, 35, 18, 46) + 0.15).all()

    def test_light_comes_from_where_it_says(self, portraits):
        left = self.at(portraits, light_side=-1, light_strength=1)
        right = self.at(portraits, light_side=1, light_strength=1)
        for images, sign in ((left, 1), (right, -1)):
            both = area(images, 26, 36, 12, 24) - area(images, 26, 36, 40, 52)
            assert (sign * both > 0.05).all()

    @pytest.mark.parametrize("name,axis", [("shift_x", 2), ("shift_y", 1)])
    def test_shifts_move_the_picture(self, portraits, name, axis):
        flat = {"background": 0.5, "background_slope": 0}
        here = self.at(portraits, **flat, **{name: -0.5})
        there = self.at(portraits, **flat, **{name: 0.5})
        moved = np.roll(here, 3, axis=axis)[:, 8:56, 8:56]
        assert np.abs(moved - there[:, 8:56, 8:56]).mean() < 0.01

    def test_a_turned_head_moves_nose_and_eyes(self, portraits):
        """To the right: the nearer half of the face, on the left, grows."""
        images = self.at(portraits, yaw=0.8, skin_tone=0.7) - self.at(
            portraits, yaw=0, skin_tone=0.7
        )
        mirrored = self.at(portraits, yaw=-0.8, skin_tone=0.7)[:, :, ::-1] - self.at(
            portraits, yaw=0, skin_tone=0.7
        )
        assert np.abs(images).mean() > 0.02
        assert np.corrcoef(images.ravel(), mirrored.ravel())[0, 1] > 0.9


class TestLoading:
    def test_form(self, own_folder, fewer):
        loaded = data.load("faces", validation=10)
        assert str(loaded) == "faces: 30 train, 10 valid, 20 test images of 64 x 64 x 1"
        begin = 0
        whole = faces.sample(60, seed=0)
        for split in (loaded.train, loaded.valid, loaded.test):
            part = slice(begin, begin + len(split.x))
            assert list(split.factors) == list(faces.FACTORS)
            for name, values in split.factors.items():
                np.testing.assert_array_equal(values, whole[name][part])
            np.testing.assert_array_equal(split.y, faces.labels(split.factors))
            np.testing.assert_allclose(split.x, faces.render(split.factors), atol=0.51 / 255)
            begin += len(split.x)

    def test_ten_thousand(self):
        assert faces.TRAIN + faces.TEST == 10_000

    @pytest.mark.parametrize("size", [64, 24])
    def test_fewer_and_smaller_are_the_first_of_the_whole(self, own_folder, fewer, size):
        few = data.load("faces", validation=10, size=size, limit=4)
        assert not own_folder.exists()  # too few to keep
        whole = data.load("faces", validation=10, size=size)
        kept = data.load("faces", validation=10, size=size, limit=4)
        assert whole.image_shape == (size, size, 1)
        for part in ("train", "valid", "test"):
            for other in (few, kept):
                one, all_ = getattr(other, part), getattr(whole, part)
                assert one.x.tobytes() == all_.x[:4].tobytes()
                assert one.y.tobytes() == all_.y[:4].tobytes()
                for name, values in one.factors.items():
                    assert values.tobytes() == all_.factors[name][:4].tobytes()

    def test_drawn_once_then_read(self, own_folder, fewer, monkeypatch):
        first, small = data.load("faces", validation=10), data.load("faces", validation=10, size=32)
        assert sorted(path.name for path in own_folder.glob("*.npz")) == [
            "faces-32.npz", "faces.npz",
        ]  # fmt: skip
        monkeypatch.setattr(faces, "render", None)
        for size, drawn in ((None, first), (32, small)):
            again = data.load("faces", validation=10, size=size)
            assert again.train.x.tobytes() == drawn.train.x.tobytes()

    @pytest.mark.parametrize("damage", ["cut", "garbage", "flipped", "other version"])
    def test_a_damaged_or_outdated_file_is_drawn_again(
        self, own_folder, fewer, monkeypatch, damage
    ):
        first = data.load("faces", validation=10)
        path = own_folder / "faces.npz"
        whole = path.read_bytes()
        middle = len(whole) // 2
        flipped = whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :]
        changed = {"cut": whole[:middle], "garbage": b"garbage", "flipped": flipped}
        path.write_bytes(changed.get(damage, whole))
        if damage == "other version":
            monkeypatch.setattr(faces, "_SOURCES", (Path(__file__),))
        assert data.load("faces", validation=10).train.x.tobytes() == first.train.x.tobytes()
        with np.load(path) as file:
            assert file["recipe"] == _store.recipe(faces._SOURCES)

    def test_without_a_folder_to_write_they_are_drawn_each_time(self, tmp_path, fewer, monkeypatch):
        (tmp_path / "file").touch()
        monkeypatch.setattr(_store, "cache_folder", lambda: tmp_path / "file" / "below")
        assert len(data.load("faces", validation=10).train.x) == 30
        assert [path.name for path in tmp_path.iterdir()] == ["file"]

    def test_status(self, own_folder, fewer):
        def status():
            return next(item for item in data.status() if item.name == "faces")

        assert (status().kind, status().path) == ("embedded", None)
        data.load("faces", validation=10)
        assert status().path == str(own_folder / "faces.npz")
        with pytest.raises(ValueError, match="embedded"):
            data.fetch("faces")


def test_a_classifier_that_saw_only_drawn_faces_reads_real_smiles():
    if _smiles.SMILES.find() is None:
        pytest.skip("SMILEsmileD.zip is not on this machine: set AELIB_DATA_DIR")
    factors = faces.sample(2_000, seed=0)
    real = data.load("smiles", validation=0, limit=3_000).train
    auc = read_smiles_after_learning(
        faces.render(factors), faces.labels(factors), real.x, real.y, seed=0, epochs=6
    )
    print(f"area under the ROC curve on 3,000 real faces: {auc:.4f}")
    assert auc > 0.80  # 0.5 is chance; the issue asks for 0.75, with all the drawn faces


def read_smiles_after_learning(images, labels, real, smiling, *, seed: int, epochs: int) -> float:
    """Area under the ROC curve on real faces of a small network that saw drawn ones alone."""
    import keras
    from keras import layers
    from sklearn.metrics import roc_auc_score

    keras.utils.set_random_seed(seed)
    network = keras.Sequential(
        [
            layers.Input((32, 32, 1)),
            layers.RandomTranslation(0.06, 0.06, fill_mode="nearest"),
            layers.RandomZoom(0.1, fill_mode="nearest"),
            layers.GaussianNoise(0.25),
            layers.Conv2D(24, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(48, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(64, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dropout(0.5),
            layers.Dense(1),
        ]
    )
    network.compile("adam", keras.losses.BinaryCrossentropy(from_logits=True))
    network.fit(standardised(images), labels, batch_size=64, epochs=epochs, verbose=0)
    scores = network.predict(standardised(real), batch_size=1000, verbose=0)
    return float(roc_auc_score(smiling, scores[:, 0]))


def standardised(images):
    """At half the size, each image with mean 0 and standard deviation 1."""
    small = images.reshape(len(images), 32, 2, 32, 2, 1).mean((2, 4))
    small = small - small.mean((1, 2, 3), keepdims=True)
    return small / (small.std((1, 2, 3), keepdims=True) + 1e-3)


def look(images, smiling):
    """Statistics to hold drawn and real faces against each other."""
    images = images[..., 0].astype(float)
    difference = images[smiling == 1].mean(0) - images[smiling == 0].mean(0)
    numbers = [images.mean(), images.std((1, 2)).mean(), images.mean((1, 2)).std()]
    return numbers, images.mean(0), difference


if __name__ == "__main__":
    begin = time.process_time()
    factors = faces.sample(faces.TRAIN + faces.TEST, seed=0)
    drawn, labels = faces.render(factors), faces.labels(factors)
    print(f"{len(drawn):,} faces drawn in {time.process_time() - begin:.1f} s of one core")
    whole = data.load("smiles", validation=0)
    real = np.concatenate([whole.train.x, whole.test.x])
    smiling = np.concatenate([whole.train.y, whole.test.y])
    (ours, mean, difference), (theirs, real_mean, real_difference) = (
        look(drawn, labels),
        look(real, smiling),
    )
    for name, numbers in (("drawn", ours), ("real", theirs)):
        print(f"{name}: mean pixel, contrast, spread of means:", *(f"{n:.3f}" for n in numbers))
    for name, one, two in (
        ("mean faces", mean, real_mean),
        ("smiling minus not", difference, real_difference),
    ):
        print(f"correlation of the {name}: {np.corrcoef(one.ravel(), two.ravel())[0, 1]:.3f}")
    for seed in range(3):
        begin = time.monotonic()
        auc = read_smiles_after_learning(drawn, labels, real, smiling, seed=seed, epochs=5)
        seconds = time.monotonic() - begin
        print(
            f"seed {seed}: AUC on {len(real):,} real faces {auc:.4f}, {seconds:.0f} s", flush=True
        )
