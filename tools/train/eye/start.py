"""Begin training from an exported eye, when its checkpoint is gone.

Example: `begin_from(network, Path("eye.tflite").read_bytes(), scenes)`.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from ai_edge_litert import schema_py_generated as schema
from torch import nn
from torch.utils.hooks import RemovableHandle

from tools.train.data.datasets import DataError
from tools.train.eye.network import Eye, NormedConvolution

_CONVOLUTIONS = (schema.BuiltinOperator.CONV_2D, schema.BuiltinOperator.DEPTHWISE_CONV_2D)


def begin_from(network: Eye, content: bytes, batches: Iterable[torch.Tensor]) -> None:
    """Give `network` the weights of an exported eye, with norms that fit the `batches` (n, 1, h, w).

    The network answers as the file does. The file holds no norms, since each is folded into its convolution:
    they are measured. Raises DataError where the file is of another network.
    """
    convolutions = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    exported = _weights_of(content)
    if [c.weight.shape for c in convolutions] != [weight.shape for weight, _ in exported]:
        raise DataError("The exported eye to begin from is of another network than the one to train.")
    normed = {id(_last(module.convolution)): module for module in network.modules() if _is_normed(module)}
    with torch.no_grad():
        for convolution, (weight, bias) in zip(convolutions, exported, strict=True):
            convolution.weight.copy_(weight)
            if id(convolution) in normed:
                norm = normed[id(convolution)].norm
                norm.weight.fill_(1)
                norm.bias.copy_(bias)
                norm.running_mean.zero_()
                norm.running_var.fill_(1 - norm.eps)
            elif convolution.bias is not None:
                convolution.bias.copy_(bias)
    _measure(network, list(normed.values()), batches)


def _is_normed(module: nn.Module) -> bool:
    return isinstance(module, NormedConvolution)


def _last(module: nn.Module) -> nn.Module:
    return module[-1] if isinstance(module, nn.Sequential) else module


def _weights_of(content: bytes) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Kernels (outputs, inputs / groups, k, k) and biases of a `.tflite` file's convolutions, in order."""
    model = schema.ModelT.InitFromPackedBuf(content)
    graph = model.subgraphs[0]
    found = []
    for operator in graph.operators:
        code = model.operatorCodes[operator.opcodeIndex]
        kind = max(code.builtinCode, code.deprecatedBuiltinCode)
        if kind not in _CONVOLUTIONS:
            continue
        kernel, bias = (graph.tensors[number] for number in operator.inputs[1:3])
        layout = (3, 0, 1, 2) if kind == schema.BuiltinOperator.DEPTHWISE_CONV_2D else (0, 3, 1, 2)
        parts = []
        for tensor in (kernel, bias):
            data = model.buffers[tensor.buffer].data
            parts.append(np.frombuffer(bytes(bytearray(data)), "<f4").reshape(tensor.shape))
        found.append((torch.tensor(parts[0].transpose(layout).copy()), torch.tensor(parts[1].copy())))
    return found


def _measure(network: Eye, normed: list[NormedConvolution], batches: Iterable[torch.Tensor]) -> None:
    """Put each norm's statistics to those of the batches, without changing what the network answers."""
    sums = {id(module): (torch.zeros(1), torch.zeros(1), 0) for module in normed}

    def note(module: NormedConvolution) -> RemovableHandle:
        def hook(_: nn.Module, __: object, output: torch.Tensor) -> None:
            total, squares, count = sums[id(module)]
            sums[id(module)] = (
                total + output.sum((0, 2, 3)),
                squares + (output**2).sum((0, 2, 3)),
                count + output.numel() // output.shape[1],
            )

        return _last(module.convolution).register_forward_hook(hook)

    hooks = [note(module) for module in normed]
    network.eval()
    with torch.no_grad():
        for batch in batches:
            network(batch)
        for module in normed:
            total, squares, count = sums[id(module)]
            mean = total / count
            variance = (squares / count - mean**2).clamp_min(1e-6)
            module.norm.running_mean.copy_(mean)
            module.norm.running_var.copy_(variance)
            module.norm.weight.copy_(torch.sqrt(variance + module.norm.eps))
            module.norm.bias.add_(mean)
    for hook in hooks:
        hook.remove()
