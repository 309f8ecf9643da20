"""Numbers that may be set at any time, and the penalties whose weights are such numbers."""

import math
from typing import Any

import keras
import tensorflow as tf

from aelib._checks import number


class Setting:
    """A number of a layer, model or loss that takes effect whenever it is set.

    A compiled step would keep the value that it was traced with, so it reads a variable. That is no
    weight: `get_weights`, `count_params` and files do not hold it; `get_config` does.

    Args: those of `aelib._checks.number`.
    """

    def __init__(self, low: float = 0.0, high: float = math.inf, **excluded: bool):
        self.limits, self.excluded = (low, high), excluded

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def checked(self, instance: Any, value: Any) -> Any:
        """The value, if it is a good one."""
        return number(self.name, value, *self.limits, **self.excluded)

    def __set__(self, instance: Any, value: Any) -> None:
        value = self.checked(instance, value)
        settings = instance.__dict__.setdefault("_settings", {})
        if self.name in settings:
            variable = settings[self.name][1]
            variable.assign(value)
        else:
            with tf.init_scope():
                variable = keras.Variable(
                    value, dtype="float32", trainable=False, autocast=False, name=self.name
                )
        settings[self.name] = value, variable

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        if instance is None:
            return self
        settings = instance.__dict__.get("_settings", {})
        if self.name not in settings:
            raise AttributeError(self.name)  # as Keras expects of what it is about to set
        value, variable = settings[self.name]
        return variable if tf.inside_function() else value


class Penalty:
    """Mixed into a layer that adds `weight` times a penalty to the loss, in the loss's unit."""

    penalises = True
    weight = Setting()

    def __init__(self, *args: Any, weight: float, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.weight = weight
        self._metric = keras.metrics.Mean(name=self.name)  # type: ignore[attr-defined]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "weight": self.weight}  # type: ignore[misc]
