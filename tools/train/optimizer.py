"""The optimiser: Muon for the filters, AdamW for the rest."""

from __future__ import annotations

from typing import Any


def muon(learning_rate: float, weight_decay: float) -> Any:
    """Muon (Jordan et al., 2024), scaled so that AdamW's rates fit it (Liu et al., 2025).

    Keras's own takes matrices only; here a convolution's kernel is the matrix of its filters.
    """
    import keras
    from keras import ops

    class Filters(keras.optimizers.Muon):  # type: ignore[misc]
        def _should_use_adamw(self, variable: Any) -> bool:
            return len(variable.shape) != 4 or 1 in variable.shape[2:]

        def _muon_update_step(self, gradient: Any, variable: Any, lr: Any, momentum: Any) -> None:
            self.assign_add(momentum, gradient + momentum * (self.momentum - 1))
            ahead = gradient + self.momentum * momentum
            filters = ops.reshape(ahead, (-1, variable.shape[-1]))
            update = self.lr_adjust(lr * self.zeropower_via_newtonschulz5(filters, self.ns_steps))
            self.assign_sub(variable, ops.reshape(update, variable.shape))

    return Filters(learning_rate, weight_decay=weight_decay, adam_weight_decay=weight_decay)
