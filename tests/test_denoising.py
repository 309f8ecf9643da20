"""Corruptions against their distributions, over pixels, images and steps."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from aelib.autoencoder import Autoencoder, load_model
from aelib.denoising import GaussianCorruption, MaskingCorruption, SaltAndPepperCorruption
from aelib.losses import SquaredError

ALL = [
    (GaussianCorruption, {"stddev": 0.5}),
    (GaussianCorruption, {"stddev": 3.0}),
    (MaskingCorruption, {"rate": 0.3}),
    (SaltAndPepperCorruption, {"rate": 0.3}),
]
every = pytest.mark.parametrize(
    "cls, arguments", ALL, ids=[f"{c.__name__}{next(iter(a.values()))}" for c, a in ALL]
)
shapes = [(50, 20, 30, 1), (50, 20, 10, 3)]


def gray(shape):
    """Images whose pixels all differ from 0 and 1, so that replaced ones are known."""
    return np.random.default_rng(0).uniform(0.2, 0.8, shape).astype("float32")


def corrupted(layer, x, training=True):
    return keras.ops.convert_to_numpy(layer(x, training=training))


def close_to(share, expected, count):
    """Within five standard deviations of a share of `count` independent draws."""
    return abs(share - expected) <= 5 * np.sqrt(expected * (1 - expected) / count) + 1e-12


@pytest.mark.parametrize("shape", shapes)
@pytest.mark.parametrize("stddev", [0.0, 0.1, 1.0, 2.5])
def test_gaussian_noise_has_its_mean_deviation_and_shape(shape, stddev):
    x = gray(shape)
    noise = (corrupted(GaussianCorruption(stddev, seed=1), x).astype("float64") - x).ravel()
    if stddev == 0:
        assert not noise.any()
        return
    assert abs(noise.mean()) < 5 * stddev / np.sqrt(noise.size)
    assert abs(noise.std() / stddev - 1) < 5 / np.sqrt(2 * noise.size)
    assert stats.kstest(noise / stddev, "norm").pvalue > 1e-3


def test_gaussian_noise_is_not_clipped():
    noisy = corrupted(GaussianCorruption(0.5, seed=1), np.ones((4, 50, 50, 1), "float32"))
    assert close_to((noisy > 1).mean(), 0.5, noisy.size)
    assert noisy.max() > 2


@pytest.mark.parametrize("shape", shapes)
@pytest.mark.parametrize("rate", [0.0, 0.01, 0.25, 0.9, 1.0])
def test_masking_zeroes_its_share_and_does_not_rescale_the_rest(shape, rate):
    x = gray(shape)
    noisy = corrupted(MaskingCorruption(rate, seed=1), x)
    zero = noisy == 0
    assert close_to(zero.mean(), rate, zero.size)
    np.testing.assert_array_equal(noisy[~zero], x[~zero])


@pytest.mark.parametrize("shape", shapes)
@pytest.mark.parametrize("rate", [0.0, 0.01, 0.25, 0.9, 1.0])
def test_salt_and_pepper_share_their_rate_equally(shape, rate):
    x = gray(shape)
    noisy = corrupted(SaltAndPepperCorruption(rate, seed=1), x)
    pepper, salt = noisy == 0, noisy == 1
    assert close_to(pepper.mean(), rate / 2, x.size)
    assert close_to(salt.mean(), rate / 2, x.size)
    rest = ~pepper & ~salt
    np.testing.assert_array_equal(noisy[rest], x[rest])


def test_a_masked_pixel_is_zero_even_where_the_image_is_not_finite():
    x = np.full((2, 8, 8, 1), np.inf, "float32")
    noisy = corrupted(MaskingCorruption(0.5, seed=1), x)
    assert set(np.unique(noisy)) == {0, np.inf}


@every
class TestEveryCorruption:
    def test_inference_leaves_the_image_alone(self, cls, arguments):
        x, layer = gray((4, 6, 5, 1)), cls(**arguments)
        for training in (False, None):
            np.testing.assert_array_equal(corrupted(layer, x, training), x)
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(layer(x)), x)

    def test_pixels_images_and_steps_are_independent(self, cls, arguments):
        """What each pixel of the same gray got: no correlation along any axis, nor in time."""
        x, layer = np.full((60, 16, 16, 3), 0.3, "float32"), cls(**arguments, seed=1)
        first, second = (corrupted(layer, x).astype("float64") for _ in range(2))
        pairs = [
            *((np.roll(first, 1, axis), first) for axis in range(4)),
            (first, second),
        ]
        for a, b in pairs:
            assert abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) < 5 / np.sqrt(x.size)

    def test_a_seed_repeats_the_sequence_and_another_does_not(self, cls, arguments):
        x = gray((4, 6, 5, 1))
        one, two, other = cls(**arguments, seed=7), cls(**arguments, seed=7), cls(**arguments)
        for _ in range(3):
            np.testing.assert_array_equal(corrupted(one, x), corrupted(two, x))
        assert (corrupted(other, x) != corrupted(two, x)).any()

    def test_the_seed_of_the_notebook_repeats_it_too(self, cls, arguments):
        x, results = gray((4, 6, 5, 1)), []
        for _ in range(2):
            keras.utils.set_random_seed(3)
            results.append(corrupted(cls(**arguments), x))
        np.testing.assert_array_equal(*results)

    @pytest.mark.parametrize("jit_compile", [True, False])
    def test_compiled_steps_draw_fresh_noise_of_the_same_distribution(
        self, cls, arguments, jit_compile
    ):
        x, layer = tf.fill((40, 20, 20, 1), 0.3), cls(**arguments, seed=1)
        step = tf.function(lambda x: layer(x, training=True), jit_compile=jit_compile)
        first, second = step(x).numpy(), step(x).numpy()
        assert abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]) < 0.04
        eager = corrupted(cls(**arguments, seed=2), x)
        assert stats.ks_2samp(first.ravel(), eager.ravel()).pvalue > 1e-3

    @pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "float16", "bfloat16"])
    def test_half_precision_keeps_its_type_and_its_distribution(self, cls, arguments, policy):
        layer = cls(**arguments, seed=1, dtype=policy)
        noisy = layer(np.full((40, 20, 20, 1), 0.5, "float32"), training=True)
        assert keras.backend.standardize_dtype(noisy.dtype) == layer.compute_dtype
        full = corrupted(cls(**arguments, seed=1), np.full((40, 20, 20, 1), 0.5, "float32"))
        np.testing.assert_allclose(keras.ops.cast(noisy, "float32"), full, rtol=0.02, atol=0.02)

    @pytest.mark.parametrize("jit_compile", [True, False])
    def test_training_noise_is_fresh_and_validation_noise_fixed(
        self, cls, arguments, jit_compile, images, make_parts
    ):
        model = Autoencoder(*make_parts(), corruption=cls(**arguments, seed=1))
        # Without learning the loss changes only with the noise.
        model.compile(keras.optimizers.SGD(0.0), SquaredError(), jit_compile=jit_compile)
        history = model.fit(
            images, epochs=3, batch_size=20, shuffle=False, validation_data=images, verbose=0
        ).history
        assert len(set(history["loss"])) == 3
        assert len(set(history["val_loss"])) == 1
        assert model.evaluate(images, batch_size=20, verbose=0) == history["val_loss"][0]
        clean = Autoencoder(model.encoder, model.decoder)
        clean.compile("sgd", SquaredError(), jit_compile=jit_compile)
        assert clean.evaluate(images, batch_size=20, verbose=0) != history["val_loss"][0]

    def test_a_saved_model_has_the_same_outputs_and_losses(
        self, cls, arguments, images, make_parts, tmp_path
    ):
        model = Autoencoder(*make_parts(), corruption=cls(**arguments, seed=5))
        model.compile("adam", SquaredError())
        model.fit(images, epochs=1, verbose=0)
        model.save(tmp_path / "model.keras")
        loaded = load_model(tmp_path / "model.keras")
        assert loaded.corruption.get_config() == model.corruption.get_config()
        assert loaded.corruption.seed == 5
        np.testing.assert_array_equal(loaded.reconstruct(images), model.reconstruct(images))
        assert loaded.evaluate(images, verbose=0) == model.evaluate(images, verbose=0)


def test_a_small_rate_is_not_rounded_up_in_half_precision():
    """bfloat16 draws multiples of 1/128: below a rate of 0.001 lies 0 alone, 8 times too often."""
    x = np.ones((50, 100, 100, 1), "float32")
    for cls in (MaskingCorruption, SaltAndPepperCorruption):
        noisy = cls(0.002, seed=1, dtype="bfloat16")(0.5 * x, training=True)
        share = float(np.mean(keras.ops.cast(noisy, "float32") != 0.5))
        assert close_to(share, 0.002, x.size)


@pytest.mark.parametrize("stddev", [-0.1, float("inf"), float("nan"), "1", None, True])
def test_a_deviation_is_a_finite_number_of_at_least_0(stddev):
    with pytest.raises(ValueError, match=r"Received: stddev=\S+$"):
        GaussianCorruption(stddev)


@pytest.mark.parametrize("cls", [MaskingCorruption, SaltAndPepperCorruption])
@pytest.mark.parametrize("rate", [-0.1, 1.1, float("nan"), "1", None, True])
def test_a_rate_is_a_number_between_0_and_1(cls, rate):
    with pytest.raises(ValueError, match=r"Received: rate=\S+$"):
        cls(rate)


@pytest.mark.parametrize("cls", [GaussianCorruption, MaskingCorruption, SaltAndPepperCorruption])
@pytest.mark.parametrize("seed", [-1, 0.5, "1", True])
def test_a_seed_is_an_integer_of_at_least_0(cls, seed):
    with pytest.raises(ValueError, match=r"`seed` must be an integer >= 0. Received: seed=\S+$"):
        cls(0.1, seed=seed)
