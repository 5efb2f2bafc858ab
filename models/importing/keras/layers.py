"""The layers that the car knows: the allow-list, by the class's name in Keras."""

from __future__ import annotations

from models.importing.keras.activations import ACTIVATION_LAYERS
from models.importing.keras.graph import Apply
from models.importing.keras.merging_layers import MERGING_LAYERS
from models.importing.keras.shape_layers import SHAPE_LAYERS
from models.importing.keras.weighted_layers import WEIGHTED_LAYERS

LAYERS: dict[str, Apply] = {**ACTIVATION_LAYERS, **SHAPE_LAYERS, **WEIGHTED_LAYERS}
"""Of one input."""
NESTED = frozenset({"Functional", "Model", "Sequential"})
"""Models as layers of a model."""
KNOWN = sorted([*LAYERS, *MERGING_LAYERS, *NESTED, "InputLayer"])
