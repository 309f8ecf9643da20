"""Sparsity layers against their formulas, on any split into batches, and the k largest units."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from scipy.special import rel_entr

import aelib
from aelib import losses
from aelib.autoencoder import Autoencoder
from aelib.sparse import KLSparsity, KSparse, L1Sparsity

EVERY = {
    "l1": lambda: L1Sparsity(0.3),
    "kl": lambda: KLSparsity(0.1, 2.0),
    "kl, moving": lambda: KLSparsity(0.1, 2.0, momentum=0.9),
    "k": lambda: KSparse(3),
}
every = pytest.mark.parametrize("make", EVERY.values(), ids=EVERY)
penalty = pytest.mark.parametrize("make", list(EVERY.values())[:3], ids=list(EVERY)[:3])


@pytest.fixture
def codes() -> np.ndarray:
    """Forty codes of eight activations in (0, 1), rarely on."""
    return (np.random.default_rng(0).random((40, 8)) ** 3).astype("float32")


@pytest.fixture
def autoencoder(images):
    """A function that places layers on a sigmoid code and compiles."""

    def make(*sparsity, **kwargs):
        keras.utils.set_random_seed(0)
        encoder = keras.Sequential(
            [keras.Input((12, 10, 1)), layers.Flatten(), layers.Dense(8, "sigmoid"), *sparsity]
        )
        decoder = keras.Sequential(
            [
                keras.Input((8,)),
                layers.Dense(120, dtype="float32"),
                layers.Reshape((12, 10, 1), dtype="float32"),
            ]
        )
        model = Autoencoder(encoder, decoder)
        model.compile(keras.optimizers.Adam(1e-2), losses.SquaredError(), **kwargs)
        return model

    return make


def cost(layer, z, training=False) -> float:
    layer(z, training=training)
    (value,) = layer.losses
    assert value.shape == () and value.dtype == "float32"
    return float(value)


def bernoulli_kl(target, mean):
    """In nats, from SciPy's p log(p / q)."""
    return rel_entr(target, mean) + rel_entr(1 - target, 1 - mean)


class TestL1:
    def test_it_is_the_sum_over_units_averaged_over_images(self, codes):
        z = codes - 0.5
        expected = 0.3 * np.mean([np.abs(image).sum() for image in z])
        assert cost(L1Sparsity(0.3), z) == pytest.approx(expected, rel=1e-6)

    def test_it_is_the_same_on_any_split_into_batches(self, autoencoder, images):
        model = autoencoder(L1Sparsity(0.3, name="l1"))
        z = model.encode(images)
        expected = 0.3 * np.abs(z).sum(axis=1).mean()
        error = ((images - model.reconstruct(images)) ** 2).sum(axis=(1, 2, 3)).mean()
        for batch_size in (1, 7, 16, 40):
            shown = model.evaluate(images, batch_size=batch_size, verbose=0, return_dict=True)
            assert shown["l1"] == pytest.approx(expected, rel=1e-5)
            assert shown["loss"] == pytest.approx(error + expected, rel=1e-5)

    def test_every_axis_but_the_first_counts_as_units(self, codes):
        layer = L1Sparsity(0.3)
        assert cost(layer, codes.reshape(40, 2, 2, 2)) == pytest.approx(cost(layer, codes))

    def test_masked_steps_have_no_activity(self, codes):
        z, seen = codes.reshape(10, 4, 8), np.arange(4) < 1 + np.arange(10)[:, None] % 4
        layer = L1Sparsity(0.3)
        layer(z, mask=tf.constant(seen))
        expected = 0.3 * (z.sum(axis=-1) * seen).sum(axis=-1).mean()
        assert float(layer.losses[0]) == pytest.approx(expected, rel=1e-6)

    def test_its_gradient_is_the_sign_over_the_number_of_images(self, codes):
        z, layer = tf.Variable(codes - 0.5), L1Sparsity(0.3)
        with tf.GradientTape() as tape:
            layer(z)
            loss = layer.losses[0]
        np.testing.assert_allclose(tape.gradient(loss, z), 0.3 * np.sign(z) / 40, rtol=1e-6)


class TestKL:
    def test_it_is_the_divergence_of_the_mean_activations(self, codes):
        expected = 2 * bernoulli_kl(0.1, codes.astype("float64").mean(axis=0)).sum()
        assert cost(KLSparsity(0.1, 2.0), codes) == pytest.approx(expected, rel=1e-5)

    def test_it_is_zero_at_the_target_alone(self):
        layer = KLSparsity(0.2, 1.0)
        assert cost(layer, np.full((5, 8), 0.2, "float32")) == pytest.approx(0, abs=1e-6)
        for mean in (0.1, 0.19, 0.21, 0.8):
            assert cost(layer, np.full((5, 8), mean, "float32")) > 1e-4

    @pytest.mark.parametrize("momentum", [0, 0.9])
    def test_a_repeated_batch_costs_the_same(self, codes, momentum):
        layer = KLSparsity(0.1, 2.0, momentum)
        once = cost(layer, codes, training=True)
        assert cost(layer, np.tile(codes, (10, 1)), training=True) == pytest.approx(once, rel=1e-6)
        assert cost(layer, codes, training=True) == pytest.approx(once, rel=1e-6)

    def test_its_gradient_is_the_slope_over_the_number_of_images(self, codes):
        z, layer = tf.Variable(codes), KLSparsity(0.1, 2.0)
        with tf.GradientTape() as tape:
            layer(z)
            loss = layer.losses[0]
        mean = codes.mean(axis=0)
        slope = 2 * (0.9 / (1 - mean) - 0.1 / mean)
        np.testing.assert_allclose(
            tape.gradient(loss, z), np.tile(slope / 40, (40, 1)), rtol=1e-4, atol=1e-6
        )

    def test_silent_and_saturated_units_cost_a_finite_number(self):
        for value in (0.0, 1.0, -3.0, 7.0):
            z = np.full((5, 8), value, "float32")
            assert 1 < cost(KLSparsity(0.1, 1.0), z) < 8 * 17

    def test_one_image_is_a_batch_and_none_costs_nothing(self, codes):
        """A replica may be left without images: the moving average then stays as it is."""
        one = 2 * bernoulli_kl(0.1, codes[0].astype("float64")).sum()
        for momentum in (0.0, 0.9):
            layer = KLSparsity(0.1, 2.0, momentum)
            assert cost(layer, codes[:1], training=True) == pytest.approx(one, rel=1e-5)
            before = [weight.numpy() for weight in layer.weights]
            assert cost(layer, codes[:0], training=True) == 0
            for a, b in zip(before, layer.weights, strict=True):
                np.testing.assert_array_equal(a, b)

    @pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
    def test_its_mean_and_its_moving_average_are_float32_in_half_precision(self, codes, policy):
        """3,000 activations of 0.001 are 3, which float16 and bfloat16 cannot sum."""
        z = np.full((3000, 8), 1e-3)
        m = float(tf.cast(tf.cast(1e-3, policy[6:]), "float32"))
        for momentum in (0.0, 0.9):
            layer = KLSparsity(0.1, 1.0, momentum, dtype=policy)
            for _ in range(2):
                given = cost(layer, z, training=True)
                assert given == pytest.approx(8 * bernoulli_kl(0.1, m), rel=1e-4)
            assert all(weight.dtype == "float32" for weight in layer.weights)

    @pytest.mark.parametrize(("momentum", "shrinks"), [(0.0, 1), (0.9, 19)])
    def test_its_bias_on_small_batches_and_how_the_moving_average_shrinks_it(
        self, momentum, shrinks
    ):
        """At the target a unit should cost nothing. On random batches of n binary codes it costs
        1 / (2 n) to second order; a moving average counts as (1 + m) / (1 - m) batches."""
        z = (np.random.default_rng(0).random((400, 50, 500)) < 0.3).astype("float32")
        layer = KLSparsity(0.3, 1.0, momentum)
        costs = [cost(layer, batch, training=True) / 500 for batch in z]
        assert np.mean(costs[100:]) == pytest.approx(1 / (2 * 50 * shrinks), rel=0.1)

    def test_the_moving_average_is_the_weighted_mean_of_the_batches(self, codes):
        layer, batches = KLSparsity(0.1, 2.0, 0.8), codes.reshape(4, 10, 8)
        given = [cost(layer, batch, training=True) for batch in batches]
        for last, value in enumerate(given):
            weights = 0.8 ** np.arange(last, -1, -1)
            means = batches[: last + 1].mean(axis=1)
            mean = weights @ means / weights.sum()
            assert value == pytest.approx(2 * bernoulli_kl(0.1, mean).sum(), rel=1e-4)

    def test_the_gradient_flows_through_the_batch_with_the_slope_at_the_moving_average(self, codes):
        layer, (first, second) = KLSparsity(0.1, 2.0, 0.8), codes.reshape(2, 20, 8)
        layer(first, training=True)
        z = tf.Variable(second)
        with tf.GradientTape() as tape:
            layer(z, training=True)
            loss = layer.losses[0]
        mean = (0.8 * first.mean(axis=0) + second.mean(axis=0)) / 1.8
        slope = 2 * (0.9 / (1 - mean) - 0.1 / mean)
        np.testing.assert_allclose(
            tape.gradient(loss, z), np.tile(slope / 20, (20, 1)), rtol=1e-4, atol=1e-6
        )

    def test_the_average_stands_still_in_inference_and_is_saved(
        self, autoencoder, images, tmp_path
    ):
        layer = KLSparsity(0.1, 2.0, 0.8)
        model = autoencoder(layer)
        model.fit(images, batch_size=10, epochs=1, verbose=0)
        before = [w.numpy() for w in layer.non_trainable_weights]
        assert len(before) == 2 and not layer.trainable_weights
        model.evaluate(images, verbose=0)
        model.encode(images)
        for a, b in zip(before, layer.non_trainable_weights, strict=True):
            np.testing.assert_array_equal(a, b)
        model.save(tmp_path / "model.keras")
        again = aelib.load_model(tmp_path / "model.keras").encoder.layers[-1]
        for a, b in zip(before, again.non_trainable_weights, strict=True):
            np.testing.assert_array_equal(a, b)

    def test_the_metric_weighs_batches_by_their_images(self, autoencoder, images):
        model = autoencoder(KLSparsity(0.1, 2.0, name="kl"))
        z = model.encode(images)
        parts = [z[:16], z[16:32], z[32:]]
        costs = [2 * bernoulli_kl(0.1, part.mean(axis=0)).sum() for part in parts]
        shown = model.evaluate(images, batch_size=16, verbose=0, return_dict=True)
        assert shown["kl"] == pytest.approx(np.average(costs, weights=[16, 16, 8]), rel=1e-4)


class TestK:
    @pytest.mark.parametrize("k", [1, 3, 8])
    def test_it_keeps_the_k_largest_and_zeroes_the_rest(self, codes, k):
        z = codes - 0.5
        least = np.sort(z, axis=1)[:, -k][:, None]
        np.testing.assert_array_equal(KSparse(k)(z), np.where(z >= least, z, 0))

    def test_each_place_of_a_code_with_places_keeps_its_own_k(self, codes):
        z = codes.reshape(10, 8, 4)  # more places than units
        places = KSparse(3)(z.reshape(80, 4))
        np.testing.assert_array_equal(KSparse(3)(z), np.reshape(places, z.shape))
        with pytest.raises(ValueError, match="from 1 to 4. Received: k=5"):
            KSparse(5)(z)

    @pytest.mark.parametrize("jit_compile", [False, True])
    @pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
    def test_it_keeps_exactly_k_also_with_ties_and_the_first_of_them(self, jit_compile, dtype):
        z = np.random.default_rng(0).integers(1, 4, (200, 8)).astype("float32") - 6
        z[0] = -1
        layer = KSparse(3, dtype=dtype)
        output = tf.function(layer, jit_compile=jit_compile)(tf.cast(z, dtype)).numpy()
        first = np.argsort(-z, axis=1, kind="stable")[:, :3]
        expected = np.zeros_like(z)
        np.put_along_axis(expected, first, np.take_along_axis(z, first, 1), 1)
        np.testing.assert_array_equal(output.astype("float32"), expected)
        assert ((output != 0).sum(axis=1) == 3).all()

    def test_gradients_flow_through_the_kept_ones_only(self, codes):
        z, layer = tf.Variable(codes), KSparse(3)
        with tf.GradientTape() as tape:
            kept = layer(z)
        np.testing.assert_array_equal(tape.gradient(kept, z), (kept.numpy() != 0).astype("float32"))

    @pytest.mark.parametrize("jit_compile", [False, True])
    def test_a_compiled_function_sees_k_change(self, codes, jit_compile):
        layer = KSparse(6)
        compiled = tf.function(layer, jit_compile=jit_compile)
        for k in (6, 2, 4):
            layer.k = k
            assert layer.k == k
            np.testing.assert_array_equal((compiled(codes).numpy() != 0).sum(axis=1), k)

    @pytest.mark.parametrize("jit_compile", [False, True])
    def test_it_follows_a_schedule_and_keeps_its_k_in_a_file(
        self, autoencoder, images, tmp_path, jit_compile
    ):
        layer, on = KSparse(6), []
        model = autoencoder(layer, jit_compile=jit_compile)
        schedule = keras.callbacks.LambdaCallback(
            on_epoch_begin=lambda epoch, logs: setattr(layer, "k", 6 - 2 * epoch),
            on_epoch_end=lambda epoch, logs: on.append((model.encode(images) != 0).sum(axis=1)),
        )
        model.fit(images, epochs=3, batch_size=10, verbose=0, callbacks=[schedule])
        np.testing.assert_array_equal(on, np.tile([[6], [4], [2]], 40))
        model.save(tmp_path / "model.keras")
        again = aelib.load_model(tmp_path / "model.keras")
        assert again.encoder.layers[-1].k == 2
        np.testing.assert_array_equal(again.encode(images), model.encode(images))

    def test_a_unit_that_is_never_kept_never_learns(self, autoencoder, images):
        model = autoencoder(KSparse(2))
        dense = model.encoder.layers[1]
        dense.bias.assign([0.0] * 7 + [-50.0])
        before = dense.kernel.numpy()
        model.fit(images, epochs=3, batch_size=10, verbose=0)
        moved = np.abs(dense.kernel.numpy() - before).max(axis=0)
        assert moved[7] == 0 and moved.max() > 0


@penalty
def test_a_penalty_leaves_the_code_alone(make, codes):
    np.testing.assert_array_equal(make()(codes), codes)


@penalty
def test_a_penalty_is_in_the_loss_and_among_the_metrics(make, autoencoder, images):
    layer = make()
    model = autoencoder(layer)
    history = model.fit(images, batch_size=16, epochs=2, verbose=0, validation_data=images).history
    assert {"loss", layer.name, "val_loss", f"val_{layer.name}"} <= history.keys()
    shown = model.evaluate(images, batch_size=16, verbose=0, return_dict=True)
    error = ((images - model.reconstruct(images)) ** 2).sum(axis=(1, 2, 3)).mean()
    assert shown[layer.name] > 0
    assert shown["loss"] == pytest.approx(error + shown[layer.name], rel=1e-5)


@penalty
def test_training_lowers_the_penalty(make, autoencoder, images):
    layer = make()
    model = autoencoder(layer)
    history = model.fit(images, batch_size=20, epochs=30, verbose=0).history[layer.name]
    assert history[-1] < 0.9 * history[0]


@every
def test_a_file_gives_the_same_outputs_and_losses(make, autoencoder, images, tmp_path):
    model = autoencoder(make())
    model.fit(images, batch_size=16, epochs=2, verbose=0)
    model.save(tmp_path / "model.keras")
    again = aelib.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again.reconstruct(images), model.reconstruct(images))
    a, b = (m.evaluate(images, batch_size=16, verbose=0, return_dict=True) for m in (model, again))
    assert a == pytest.approx(b, rel=1e-6)


@every
def test_xla_gives_the_same_training(make, autoencoder, images):
    ends = []
    for jit_compile in (False, True):
        model = autoencoder(make(), jit_compile=jit_compile)
        model.fit(images, batch_size=10, epochs=3, verbose=0, shuffle=False)
        ends.append(model.evaluate(images, verbose=0))
    np.testing.assert_allclose(*ends, rtol=1e-4)


@every
@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_keeps_losses_finite_and_in_float32(make, autoencoder, images, policy):
    keras.config.set_dtype_policy(policy)
    try:
        layer = make()
        model = autoencoder(layer)
    finally:
        keras.config.set_dtype_policy("float32")
    history = model.fit(images, batch_size=10, epochs=2, verbose=0).history
    assert np.isfinite([value for values in history.values() for value in values]).all()
    z = np.ones((4, 70000))  # a sum that float16 cannot hold
    if isinstance(layer, L1Sparsity):
        assert cost(L1Sparsity(1.0, dtype=policy), z) == pytest.approx(z.shape[1])


@pytest.mark.parametrize(
    ("cls", "arguments"),
    [
        (cls, {**good, name: value})
        for cls, good, name, values in (
            (L1Sparsity, {}, "weight", (-0.1, float("inf"), float("nan"), "1", None, True)),
            (KLSparsity, {"weight": 1.0}, "target", (0, 1, -0.1, 1.5, float("nan"), "x", True)),
            (KLSparsity, {"target": 0.1}, "weight", (-1, float("inf"), None)),
            (KLSparsity, {"target": 0.1, "weight": 1.0}, "momentum", (1, -0.1, 1.5, "x")),
            (KSparse, {}, "k", (0, -1, 2.0, "3", None, True)),
        )
        for value in values
    ],
)
def test_arguments_are_checked(cls, arguments):
    with pytest.raises(ValueError, match=rf"Received: {list(arguments)[-1]}="):
        cls(**arguments)


def test_k_is_at_most_the_number_of_units_and_the_k_it_was_made_with(codes):
    with pytest.raises(ValueError, match="from 1 to 8. Received: k=9"):
        KSparse(9)(codes)
    layer = KSparse(5)
    for k in (0, 6, 2.0, True):
        with pytest.raises(ValueError, match=f"Received: k={k}"):
            layer.k = k
