"""Training the eye: the exported file answers as the network does, a run goes on, what is missing is told."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from tests.tools.train.training import small_data
from tools.terminal.problems import Problem
from tools.train.cli import app
from tools.train.data.datasets import DataError

HERE = importlib.util.find_spec("torch") is not None
needs_torch = pytest.mark.skipif(not HERE, reason="PyTorch, which trains the eye, is not installed")


@pytest.mark.skipif(HERE, reason="PyTorch is installed here")
def test_training_the_eye_without_pytorch_names_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(Problem, match=r"pip install 'smartcar\[eye\]'"):
        CliRunner().invoke(app, ["--eye", "--data", str(tmp_path)], catch_exceptions=False)


@needs_torch
def test_a_folder_without_the_sets_is_told(tmp_path: Path) -> None:
    arguments = ["--eye", "--data", str(tmp_path), "--run", str(tmp_path / "run"), "--minutes", "0.1"]
    with pytest.raises(Problem, match="is missing"):
        CliRunner().invoke(app, arguments, catch_exceptions=False)


@needs_torch
@pytest.mark.parametrize(("height", "width"), [(96, 64), (480, 640)])
def test_the_exported_file_answers_as_the_network_for_every_size(height: int, width: int) -> None:
    import torch

    from tools.train.eye.export import export
    from tools.train.eye.network import HEADS

    network = _used_network()
    picture = np.random.default_rng(0).uniform(-1, 1, (1, height, width, 1)).astype(np.float32)
    with torch.inference_mode():
        ink, centre, offset = network(torch.from_numpy(picture.transpose(0, 3, 1, 2)))
    wanted = {4: torch.sigmoid(ink), 1: torch.sigmoid(centre), 3: offset}
    answers = _answers(export(network), picture)
    assert sorted(answers) == sorted(HEADS.values())
    for channels, answer in answers.items():
        assert answer.shape == (1, height // 4, width // 4, channels)
        np.testing.assert_allclose(answer.transpose(0, 3, 1, 2), wanted[channels].numpy(), atol=1e-4)


@needs_torch
def test_the_network_is_small_enough_for_the_car() -> None:
    from tools.train.eye.export import export
    from tools.train.eye.network import multiply_adds

    network = _used_network()
    assert multiply_adds(network) <= 120e6
    assert len(export(network)) <= 400_000


@needs_torch
def test_a_run_that_was_stopped_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    from tools.train.eye.fit import CHECKPOINT, EXPORTED, Trainer
    from tools.train.eye.grounds import Grounds
    from tools.train.eye.ink import InkSource
    from tools.train.eye.lettering import Lettering
    from tools.train.eye.pool import ScenePool
    from tools.train.eye.scenes import SceneMaker

    ink = InkSource(small_data(tmp_path / "data"))
    maker = SceneMaker(ink, Grounds(folders=(), drawn=1), Lettering(count=10), seed=1)
    pool = ScenePool(maker, seed=1, fewest=12)
    said: list[str] = []
    try:
        first = Trainer(tmp_path)
        first.train(pool, 1.0, lambda: "judged", said.append)
        again = Trainer(tmp_path)
        assert again.at.step == first.at.step > 0
        again.train(pool, again.at.seconds + 1.0, lambda: "judged", said.append)
    finally:
        pool.close()
    assert again.at.step > first.at.step
    assert said[-1] == "judged"
    assert (tmp_path / CHECKPOINT).is_file()
    answers = _answers((tmp_path / EXPORTED).read_bytes(), np.zeros((1, 64, 64, 1), np.float32))
    assert all(np.isfinite(answer).all() for answer in answers.values())


@needs_torch
def test_training_begins_with_an_exported_eye_that_answers_as_before() -> None:
    import torch

    from tools.train.eye.export import export
    from tools.train.eye.network import Eye
    from tools.train.eye.start import begin_from

    before = _used_network()
    batches = [torch.rand(2, 1, 64, 96) * 2 - 1 for _ in range(2)]
    network = Eye()
    begin_from(network, export(before), batches)
    with torch.inference_mode():
        for answer, wanted in zip(network(batches[0]), before(batches[0]), strict=True):
            torch.testing.assert_close(answer, wanted, atol=1e-4, rtol=1e-3)
        network.train()
        for answer, wanted in zip(network(torch.cat(batches)), before(torch.cat(batches)), strict=True):
            torch.testing.assert_close(answer, wanted, atol=0.3, rtol=0.1)


@needs_torch
def test_an_eye_of_another_network_is_no_start() -> None:
    from tools.train.eye.export import export
    from tools.train.eye.network import Eye
    from tools.train.eye.start import begin_from

    with pytest.raises(DataError, match="another network"):
        begin_from(Eye((8, 16, 24, 32, 40)), export(_used_network()), [])


def _used_network() -> Any:
    """A network whose norms are not as they began, in its evaluation mode."""
    import torch

    from tools.train.eye.network import Eye

    torch.manual_seed(0)
    network = Eye()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.normal_(module.running_mean, std=0.1)
            torch.nn.init.uniform_(module.running_var, 0.5, 1.5)
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
    return network.eval()


def _answers(content: bytes, picture: np.ndarray[Any, Any]) -> dict[int, np.ndarray[Any, Any]]:
    """What LiteRT makes of the picture, by the output's channels."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=content, num_threads=1)
    (taken,) = interpreter.get_input_details()
    interpreter.resize_tensor_input(taken["index"], picture.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(taken["index"], picture)
    interpreter.invoke()
    outputs = [interpreter.get_tensor(output["index"]) for output in interpreter.get_output_details()]
    return {int(output.shape[3]): output for output in outputs}
