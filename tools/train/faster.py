"""Two layers of the network as they are trained: the weights and answers of Keras's own, in fewer steps.

On a processor, Keras's batch normalisation is a dozen passes over the values and costs more than the filters
do; TensorFlow has it as one operation. A depthwise filter as large as its picture is a weighted sum.
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf


class Normalisation(keras.layers.Layer):  # type: ignore[misc]
    """`keras.layers.BatchNormalization`."""

    epsilon = 1e-3

    def __init__(self, momentum: float, gamma_initializer: str = "ones", **more: Any) -> None:
        super().__init__(autocast=False, **more)
        self._momentum = momentum
        self._gamma_initializer = gamma_initializer

    def build(self, shape: tuple[int | None, ...]) -> None:
        def weight(name: str, start: str, trainable: bool = True) -> Any:
            own = (shape[-1],)
            return self.add_weight(
                name=name, shape=own, dtype="float32", initializer=start, trainable=trainable
            )

        self._gamma, self._beta = weight("gamma", self._gamma_initializer), weight("beta", "zeros")
        self._mean = weight("moving_mean", "zeros", trainable=False)
        self._variance = weight("moving_variance", "ones", trainable=False)

    def call(self, inputs: Any, training: bool = False) -> Any:
        learned = {"scale": tf.convert_to_tensor(self._gamma), "offset": tf.convert_to_tensor(self._beta)}
        if not training:
            held = {
                "mean": tf.convert_to_tensor(self._mean),
                "variance": tf.convert_to_tensor(self._variance),
            }
            answer = tf.raw_ops.FusedBatchNormV3(
                x=inputs, **learned, **held, epsilon=self.epsilon, is_training=False
            )
            return answer.y
        none = tf.zeros([0], tf.float32)
        answer = tf.raw_ops.FusedBatchNormV3(
            x=inputs, **learned, mean=none, variance=none, epsilon=self.epsilon, is_training=True
        )
        for moving, now in ((self._mean, answer.batch_mean), (self._variance, answer.batch_variance)):
            moving.assign(moving * self._momentum + now * (1 - self._momentum))
        return answer.y


class WeightedSum(keras.layers.Layer):  # type: ignore[misc]
    """`keras.layers.DepthwiseConv2D` without a bias whose kernel is as large as the picture."""

    def build(self, shape: tuple[int | None, ...]) -> None:
        own = (*shape[1:], 1)
        self._kernel = self.add_weight(name="kernel", shape=own, initializer="glorot_uniform")

    def call(self, inputs: Any) -> Any:
        kernel = tf.convert_to_tensor(self._kernel)[..., 0]
        return tf.reduce_sum(inputs * tf.cast(kernel, inputs.dtype), axis=(1, 2), keepdims=True)
