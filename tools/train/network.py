"""The network: three pairs of 3×3 convolutions, two residual steps, then one filter for each channel."""

from __future__ import annotations

from typing import Any

LABELS = tuple("0123456789")

RESIDUAL = "residual"
"""Names the layers of the residual steps (He et al., 2016), which begin as nothing (Goyal et al., 2017)."""


def build(width: int, seed: int, dtype: str | None = None) -> Any:
    """A Keras model from (28, 28, 1) in 0…1 to 10 logits; its channels are `width`, twice and six times that.

    Batch normalisation (Ioffe, Szegedy, 2015) folds into the convolutions on export. Where global average
    pooling would forget the place of a loop or a foot, a depthwise 7×7 convolution weighs it.

    With `dtype`, a Keras policy, it is the network as it is trained: the same weights in the same order in
    layers of `tools.train.faster`. `mixed_bfloat16` computes in half the bits and keeps float32 weights.
    """
    import keras
    from keras import layers

    keras.utils.set_random_seed(seed)
    usual = keras.config.dtype_policy()
    if dtype is None:
        normalisation, weighing = layers.BatchNormalization, layers.DepthwiseConv2D(7, use_bias=False)
    else:
        from tools.train.faster import Normalisation, WeightedSum

        keras.config.set_dtype_policy(dtype)
        normalisation, weighing = Normalisation, WeightedSum()

    def pair(x: Any, channels: int) -> Any:
        for _ in range(2):
            x = layers.Conv2D(channels, 3, padding="same", use_bias=False)(x)
            x = layers.ReLU()(normalisation(momentum=0.97)(x))
        return x

    def step(x: Any, name: str) -> Any:
        change = layers.Conv2D(x.shape[-1], 3, padding="same", use_bias=False, name=f"{name}_filters")(x)
        change = normalisation(momentum=0.97, gamma_initializer="zeros", name=f"{name}_normalisation")(change)
        return layers.ReLU()(layers.Add()([x, change]))

    try:
        picture = layers.Input((28, 28, 1))
        x = pair(picture, width)
        x = layers.SpatialDropout2D(0.05)(layers.MaxPooling2D()(x))
        x = pair(x, 2 * width)
        x = layers.SpatialDropout2D(0.1)(layers.MaxPooling2D()(x))
        x = pair(x, 6 * width)
        for number in (1, 2):
            x = step(x, f"{RESIDUAL}_{number}")
        x = weighing(layers.SpatialDropout2D(0.1)(x))
        x = layers.ReLU()(normalisation(momentum=0.97)(x))
        x = layers.GlobalAveragePooling2D()(x)  # of one pixel: drops the two dimensions, for any batch
        x = layers.Dropout(0.25)(x)
        return keras.Model(picture, layers.Dense(len(LABELS), dtype="float32")(x))
    finally:
        keras.config.set_dtype_policy(usual)
