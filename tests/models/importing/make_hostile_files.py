"""Make the HDF5 files that no one should send, and the tests do: `python make_hostile_files.py FOLDER`.

Needs h5py. Each is a small network that Keras could have written, with one thing wrong.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

KERNEL, BIAS = "dense/kernel:0", "dense/bias:0"


def config(units: int = 10, more: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    """GlobalAveragePooling2D and Dense, in Keras 2's words, and `more` layers before them."""
    layers: list[dict[str, Any]] = [
        {
            "class_name": "InputLayer",
            "config": {"batch_input_shape": [None, 28, 28, 1], "dtype": "float32", "name": "entrance"},
        },
        *(more or []),
        {"class_name": "GlobalAveragePooling2D", "config": {"name": "pool", "data_format": "channels_last"}},
        {"class_name": "Dense", "config": {"name": "dense", "units": units, "activation": "softmax"}},
    ]
    return {"class_name": "Sequential", "config": {"name": "sequential", "layers": layers}}


def write(
    path: Path,
    network: dict[str, Any] | None = None,
    kernel: Callable[[h5py.Group], None] | None = None,
    units: int = 10,
    value: float = 0.5,
    libver: str = "earliest",
) -> None:
    """A file with these weights, or with what `kernel` puts in the kernel's place."""
    with h5py.File(path, "w", libver=libver) as file:
        file.attrs["keras_version"] = "2.12.0"
        file.attrs["model_config"] = json.dumps(network or config(units))
        dense = file.create_group("model_weights").create_group("dense")
        dense.attrs["weight_names"] = [KERNEL, BIAS]
        if kernel is None:
            dense[KERNEL] = np.full((1, units), value, np.float32)
        else:
            kernel(dense)
        dense[BIAS] = np.zeros(units, np.float32)


def external_link(group: h5py.Group) -> None:
    group[KERNEL] = h5py.ExternalLink("/etc/other.h5", "/weights")


def soft_link(group: h5py.Group) -> None:
    group[KERNEL] = h5py.SoftLink("/model_weights/dense/elsewhere")


def virtual(group: h5py.Group) -> None:
    layout = h5py.VirtualLayout(shape=(1, 10), dtype="f4")
    layout[:] = h5py.VirtualSource("/etc/other.h5", "weights", shape=(1, 10))
    group.create_virtual_dataset(KERNEL, layout)


def external_storage(group: h5py.Group) -> None:
    group.create_dataset(KERNEL, (1, 10), "f4", external=[("/etc/passwd", 0, 40)])


def bomb(group: h5py.Group) -> None:
    group.create_dataset(KERNEL, (1, 1 << 22), "f4", compression="gzip", chunks=(1, 1 << 22))[:] = 0


def claims_terabytes(group: h5py.Group) -> None:
    group.create_dataset(KERNEL, (1 << 20, 1 << 20), "f4")


def other_floats(group: h5py.Group) -> None:
    kind = h5py.h5t.IEEE_F32LE.copy()
    kind.set_fields(31, 22, 9, 0, 22)
    space = h5py.h5s.create_simple((1, 10))
    parent = group.create_group("dense")
    h5py.h5d.create(parent.id, b"kernel:0", kind, space)


def in_a_circle(group: h5py.Group) -> None:
    group.create_group("dense")["kernel:0"] = group


def main() -> None:
    folder = Path(sys.argv[1])
    for kernel in (
        external_link,
        soft_link,
        virtual,
        external_storage,
        bomb,
        claims_terabytes,
        other_floats,
        in_a_circle,
    ):
        write(folder / f"{kernel.__name__}.h5", kernel=kernel)
    code = {"class_name": "Lambda", "config": {"name": "lambda", "function": ["4wEAAAAA", None, None]}}
    write(folder / "lambda_layer.h5", config(more=[code]))
    write(folder / "eleven.h5", units=11)
    write(folder / "nan.h5", value=float("nan"))
    write(folder / "sound.h5")
    write(folder / "newest_layout.h5", libver="latest")


if __name__ == "__main__":
    main()
