"""Training on a few labelled and many unlabelled images: one encoder, two tasks.

An unlabelled image has the label -1, or NaN where the label is a value. The loss of a batch is

    mean reconstruction loss of all its images
        + weight * mean prediction loss of its labelled images, 0 if it has none.

Labels that fit neither task, sample weights and other invalid arguments raise `ValueError`.
"""

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from aelib._checks import layer
from aelib._partly_labelled import PartlyLabelled, refuse_weights
from aelib._partly_labelled import mixed_rows as mixed_rows  # public here
from aelib._settings import Setting
from aelib.ladder import LadderNetwork as LadderNetwork  # public here
from aelib.training import in_batches


@keras.saving.register_keras_serializable(package="aelib")
class SemiSupervisedAutoencoder(PartlyLabelled):
    """An autoencoder whose code must also predict the labels, as far as there are any.

    The loss given to `compile` is that of the reconstruction. The prediction loss is the
    cross-entropy in nats where labels are integers, the squared error summed over the values where
    they are floating-point numbers.

    `fit` and `evaluate` show `loss`, `reconstruction`, `prediction` and `accuracy` (or
    `mean_absolute_error`); the last two are means over the labelled images, 0 if there are none.
    None of them depends on how the images are split into batches.

    Args:
        encoder: layer or model from images `(batch, ...)` to codes.
        decoder: layer or model from codes to images.
        predictor: layer or model from codes to logits `(batch, classes >= 2)` or values
            `(batch, k)`.
        weight: float >= 0, in units of the reconstruction loss per unit of prediction loss. The
            attribute can be set at any time.
        corruption: see `Autoencoder`. Encoder and predictor see the corrupted image; the target
            of the decoder is the clean one.

    Call arguments:
        x: `(batch, ...)`, images.

    Output: a dictionary of what the decoder gives, `reconstruction`, and the predictor,
    `prediction`.

    Example:

    ```python
    import keras
    import numpy as np
    from aelib import losses, recipes, semi_supervised

    x = np.random.default_rng(0).random((64, 8, 8, 1), "float32")
    labels = np.where(np.arange(64) < 10, np.arange(64) % 3, -1)  # 54 are unknown
    model = semi_supervised.SemiSupervisedAutoencoder(
        *recipes.dense((8, 8, 1), [16], 4), keras.layers.Dense(3), weight=10.0
    )
    model.compile("adam", losses.SquaredError())
    model.fit(x, labels, epochs=2, verbose=0)
    classes = model.classify(x)
    ```

    Reference: Ranzato & Szummer, "Semi-supervised learning of compact document representations
    with deep networks", 2008 (the joint loss); Vincent et al. 2010 for the corruption.
    """

    weight = Setting()

    def __init__(self, encoder, decoder, predictor, weight, corruption=None, **kwargs):
        super().__init__(encoder, decoder, corruption, **kwargs)
        self.predictor = layer("predictor", predictor)
        self.weight = weight
        self._predictor_graph = tf.function(lambda x: predictor(encoder(x)), reduce_retracing=True)

    def call(self, x, training=None):
        z = self.encoder(x)
        return {"reconstruction": self.decoder(z), "prediction": self.predictor(z)}

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        refuse_weights(sample_weight)
        clean, labels = y if isinstance(y, tuple) else (x, y)  # the latter in a user's own step
        unsupervised = super().compute_loss(x, clean, y_pred["reconstruction"], None, training)
        if self._distributed and not isinstance(y, tuple) and not training:
            return unsupervised  # Keras builds the loss, from means of the replicas' labels
        prediction = self.prediction_loss(labels, y_pred["prediction"])
        whole = unsupervised * self.distribute_strategy.num_replicas_in_sync  # Keras has divided it
        self.record(whole - sum(self.losses), whole, ops.shape(keras.tree.flatten(x)[0])[0])
        return unsupervised + self.weight * prediction

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        clean = y[0] if isinstance(y, tuple) else x
        return super().compute_metrics(x, clean, y_pred["reconstruction"])

    def as_images(self, output):
        if not isinstance(output, dict):
            return super().as_images(output)
        return {**output, "reconstruction": super().as_images(output["reconstruction"])}

    def regress(self, x) -> np.ndarray:
        """The predicted values: `(n, ...)` to float32 `(n, k)`."""
        return self.predict_labels(x)

    def predict_labels(self, x) -> np.ndarray:
        """What the predictor gives, logits or values: `(n, ...)` to float32 `(n, k)`."""
        return in_batches(self._predictor_graph, self._checked("x", x))

    def outputs_for(self, x) -> int:
        self._build_on(x)
        return self.predictor(self.encoder(x[:1])).shape[-1]

    def get_config(self):
        predictor = keras.saving.serialize_keras_object(self.predictor)
        return {**super().get_config(), "predictor": predictor, "weight": self.weight}

    @classmethod
    def from_config(cls, config):
        predictor = keras.saving.deserialize_keras_object(config["predictor"])
        return super().from_config({**config, "predictor": predictor})
